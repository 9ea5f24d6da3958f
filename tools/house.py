# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things lie in a checkout, and how Ansible is told: shared by tools/bootstrap, tools/play and tools/check.

Standard library only, and syntax that Python 3.7 can read: it runs before there is an environment, and an old Python must
get a sentence, not a traceback.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".pgops"
VENV = STATE / "venv"
COLLECTIONS = STATE / "collections"
CONFIG = STATE / "ansible.cfg"
LOGS = STATE / "logs"
LINK = COLLECTIONS / "ansible_collections" / "pgops" / "access"


def say(text: str) -> None:
    """Print one line at once, also into a pipe: people and CI watch it. In one piece, for steps run side by side."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Stop(Exception):
    """The user has to do something; the message says exactly what."""


def shown(path: Path) -> str:
    """Return `path` as the user would type it from the checkout."""
    try:
        return str(path.relative_to(ROOT))
    except ValueError:
        return str(path)


def ansible_env() -> dict[str, str]:
    """Return the environment in which every Ansible command of this checkout runs.

    The configuration file of the checkout replaces the user's: a test must mean the same on every machine. UTF-8 is asked
    for because ansible-core refuses to start without it, and a fresh Debian has no other locale than C and C.UTF-8.
    """
    env = dict(os.environ)
    env["PATH"] = str(VENV / "bin") + os.pathsep + env.get("PATH", os.defpath)
    env["VIRTUAL_ENV"] = str(VENV)
    env["ANSIBLE_CONFIG"] = str(CONFIG)
    env["ANSIBLE_COLLECTIONS_PATH"] = str(COLLECTIONS)
    # The docker and podman connections read this one, not [connection] pipelining of the file.
    env["ANSIBLE_PIPELINING"] = "true"
    env.setdefault("LC_ALL", "C.UTF-8")
    env.setdefault("PYTHONUNBUFFERED", "1")
    # Bytecode is written: nothing is compiled in advance (tools/bootstrap), and without it each of hundreds of processes compiles all.
    for name in ("PYTHONHOME", "PYTHONPATH", "PYENV_VERSION", "PYTHONDONTWRITEBYTECODE"):
        env.pop(name, None)
    return env


def main(run: object) -> int:
    """Call `run(arguments)`, and turn a `Stop` or Ctrl-C into one message and an exit code."""
    try:
        return int(run(sys.argv[1:]))  # type: ignore[operator]
    except Stop as stop:
        print(f"\n{stop}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr, flush=True)
        return 130
