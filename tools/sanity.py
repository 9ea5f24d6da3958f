# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepares `ansible-test sanity`: what users get (the built collection), unpacked where ansible-test wants it.

ansible-test insists on …/ansible_collections/NAMESPACE/NAME and follows no link there, so the checkout itself will not do.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

from house import ROOT, STATE, VENV, Stop, ansible_env, say

WORK = STATE / "sanity"
TREE = WORK / "ansible_collections" / "pgops" / "access"
HOME = WORK / "home"
KEPT = ("tests/output",)  # ansible-test's own environments: they take a minute to make
TEST_FILES = ("tests/config.yml", "tests/sanity", "tests/unit")
GET_PIP = "https://ci-files.testing.ansible.com/ansible-test/get-pip-{}.py"

STAND_IN = '''\
"""Stands in for get-pip.py, which could not be downloaded: the pip that this Python carries fetches the one that is asked for."""
import ensurepip, glob, os, sys

places = (os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"), "/usr/share/python-wheels")
sys.path.insert(0, [wheel for place in places for wheel in glob.glob(os.path.join(place, "pip-*.whl"))][0])
from pip._internal.cli.main import main

sys.exit(main(["install", "--upgrade", "--force-reinstall"] + [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel")]))
'''


def environment() -> dict[str, str]:
    """Return the variables of the run: a home of its own, because ansible-test writes into ~/.ansible."""
    # ansible-test looks the interpreter up on PATH, and drops the variables that a version manager's shims need.
    real = os.path.dirname(os.path.realpath(VENV / "bin" / "python"))
    return {"HOME": str(HOME), "PATH": os.pathsep.join([str(VENV / "bin"), real, os.environ.get("PATH", os.defpath)])}


def make_home() -> None:
    """Make that home; pip's configuration is the user's."""
    HOME.mkdir(parents=True, exist_ok=True)
    for name in (".config", ".pip"):
        theirs, ours = Path.home() / name, HOME / name
        if theirs.exists() and not ours.exists():
            ours.symlink_to(theirs)


def provide_get_pip() -> None:
    """Put pip's bootstrap script where ansible-test caches it: the real one when its server answers, else the stand-in."""
    text = next(VENV.glob("lib/python*/site-packages/ansible_test/_internal/python_requirements.py")).read_text(encoding="utf-8")
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in sorted(set(re.findall(r"pip='([0-9.]+)'|pip=\"([0-9.]+)\"", text))):
        number = version[0] or version[1]
        target = cache / f"get_pip_{number.replace('.', '_')}.py"
        if target.exists():
            continue
        try:
            with urllib.request.urlopen(GET_PIP.format(number), timeout=5) as answer:  # noqa: S310  # a constant https address
                target.write_bytes(answer.read())
        except OSError:
            target.write_text(STAND_IN, encoding="utf-8")


def unpack() -> None:
    """Build the collection, unpack it in place of the last one, and add the files that only tests need."""
    build = ["ansible-galaxy", "collection", "build", "--force", "--output-path", str(WORK)]
    done = subprocess.run(build, cwd=ROOT, env=ansible_env(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Stop(f"the collection cannot be built:\n{done.stderr.strip()}")
    kept = WORK / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    for name in KEPT:
        if (TREE / name).exists():
            (kept / name).parent.mkdir(parents=True, exist_ok=True)
            (TREE / name).rename(kept / name)
    shutil.rmtree(TREE, ignore_errors=True)
    TREE.mkdir(parents=True)
    with tarfile.open(max(WORK.glob("pgops-access-*.tar.gz"), key=lambda path: path.stat().st_mtime)) as archive:
        archive.extractall(TREE)  # noqa: S202  # our own archive, made a second ago
    for name in TEST_FILES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, TREE / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.is_file():
            (TREE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, TREE / name)
    # A repository of its own: in ours the tree is ignored, and ansible-test would skip every file of it.
    subprocess.run(["git", "init", "--quiet", str(TREE)], check=True)
    (TREE / ".gitignore").write_text("/tests/output/\n", encoding="utf-8")
    for name in KEPT:
        if (kept / name).exists():
            (TREE / name).parent.mkdir(parents=True, exist_ok=True)
            (kept / name).rename(TREE / name)


def prepare() -> list[str]:
    """Make everything ready and return the command."""
    WORK.mkdir(parents=True, exist_ok=True)
    say("  preparing the tree for ansible-test (the first run also makes its environments: a minute or two)")
    make_home()
    provide_get_pip()
    unpack()
    # core's own Python only; the others are ansible-test's job in a release, and would take another minute each time.
    version = next(VENV.glob("lib/python3.*")).name[len("python") :]
    return ["ansible-test", "sanity", "--venv", "--python", version, "--color", "no"]


if __name__ == "__main__":
    sys.exit("run: tools/check sanity")
