# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tarball installs into an empty collections path, offline, and works from there by its fully qualified names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


def run(*argv: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_") and k != "PYTHONPATH"}
    return subprocess.run(argv, cwd=cwd, env={**clean, **env}, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="session")
def tarball(root: Path, tmp_path_factory: pytest.TempPathFactory, tracked: list[Path]) -> Path:
    """The collection built from what git knows, as a release would be."""
    work = tmp_path_factory.mktemp("build")
    for path in tracked:
        target = work / "src" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((root / path).read_bytes())
        target.chmod((root / path).stat().st_mode & 0o777)
    built = run(str(BIN / "ansible-galaxy"), "collection", "build", "--output-path", str(work), cwd=work / "src")
    assert built.returncode == 0, built.stderr
    return next(work.glob("pgops-access-*.tar.gz"))


@pytest.fixture(scope="session")
def installed(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An otherwise empty collections path with the tarball in it."""
    path = tmp_path_factory.mktemp("collections")
    done = run(str(BIN / "ansible-galaxy"), "collection", "install", "--offline", str(tarball), "-p", str(path), cwd=path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (path / "ansible_collections/pgops/access/MANIFEST.json").is_file()
    return path


def test_tarball_holds_the_product_and_no_more(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        names = set(archive.getnames())
    assert names >= {"Dockerfile", "LICENSE", "README.md", "requirements/image.txt", "playbooks/up.yml"}
    assert names >= {"rootfs/usr/local/bin/healthcheck.sh", "plugins/modules/pg_access_check.py", "roles/pg_node/tasks/main.yml"}
    assert not [n for n in names if n.split("/")[0] in {"tests", "molecule", "tools", ".git", ".pgops", ".ci"} or "__pycache__" in n]


@pytest.mark.parametrize("playbook", ["up", "down", "access", "report"])
def test_playbooks_are_found_by_name(installed: Path, tmp_path: Path, playbook: str) -> None:
    listed = run(
        str(BIN / "ansible-playbook"), f"pgops.access.{playbook}", "--syntax-check", cwd=tmp_path, ANSIBLE_COLLECTIONS_PATH=str(installed)
    )
    assert listed.returncode == 0, listed.stdout + listed.stderr
    assert str(installed / f"ansible_collections/pgops/access/playbooks/{playbook}.yml") in listed.stdout


def test_module_runs_from_the_installed_collection(installed: Path, tmp_path: Path) -> None:
    """A closed port: the module itself must run and say so (nothing listens on port 1 of the loopback)."""
    arguments = json.dumps({"clients": [{"user": "nobody", "host": "127.0.0.1", "port": 1}], "fail_on": "never"})
    done = run(
        str(BIN / "ansible"), "localhost", "-m", "pgops.access.pg_access_check", "-a", arguments, cwd=tmp_path,
        ANSIBLE_COLLECTIONS_PATH=str(installed), ANSIBLE_LOAD_CALLBACK_PLUGINS="1", ANSIBLE_STDOUT_CALLBACK="ansible.posix.json",
    )  # fmt: skip
    result = json.loads(done.stdout[done.stdout.index("{") :])["plays"][0]["tasks"][0]["hosts"]["localhost"]
    assert result["checks"][0]["outcome"] == "connection_refused", result


def test_engine_runs_from_the_installed_collection(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "pg_hba.conf").write_text("local all all peer\nhost all all 10.0.0.0/8 scram-sha-256\n")
    done = run(
        sys.executable, "-m", "ansible_collections.pgops.access.plugins.module_utils._hba", "load", "--postgres-version", "15",
        "pg_hba.conf", cwd=tmp_path, PYTHONPATH=str(installed),
    )  # fmt: skip
    assert json.loads(done.stdout) == {"loads": True, "errors": []}, done.stderr


@pytest.mark.parametrize("role", ["pg_image", "pg_node", "pg_access"])
def test_roles_document_themselves(installed: Path, tmp_path: Path, role: str) -> None:
    done = run(
        str(BIN / "ansible-doc"), "-t", "role", f"pgops.access.{role}", "--json", cwd=tmp_path, ANSIBLE_COLLECTIONS_PATH=str(installed)
    )
    assert f"pgops.access.{role}" in json.loads(done.stdout)
