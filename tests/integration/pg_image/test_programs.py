# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's three programs: which client is chosen, what the context's hash depends on, what a build is told about the host."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import FILES, ROOT, script

INFO = '{"ServerVersion": "24.0.1", "OperatingSystem": "Debian", "DockerRootDir": "/", "SecurityOptions": []}'


def client(folder: Path, name: str, version: str, info: str = INFO, buildx: bool = False) -> Path:
    """Write a program that answers like a Docker client of that version."""
    folder.mkdir()
    path = folder / name
    path.write_text(
        f'#!/bin/sh\ncase "$1 $2" in\n"info --format") echo {shlex.quote(info)} ;;\n"version --format") echo {version} ;;\n'
        f'"buildx version") {"exit 0" if buildx else "exit 1"} ;;\n"--version ") echo Docker version {version} ;;\n*) exit 9 ;;\nesac\n',
        encoding="utf-8",
    )
    path.chmod(0o755)
    return path


def find(tmp_path: Path, asked: str, *folders: Path) -> dict[str, dict[str, object]]:
    path = os.pathsep.join(str(folder) for folder in folders)
    found: dict[str, dict[str, object]] = script("find_engine.py", asked, str(tmp_path / "state"), env={"PATH": path})
    return found


def test_a_client_that_can_build_is_found_behind_one_that_cannot(tmp_path: Path) -> None:
    new = client(tmp_path / "a", "docker", "28.2.2")
    old = client(tmp_path / "b", "docker", "20.10.24+dfsg1")
    facts = find(tmp_path, "auto", new.parent, old.parent)["facts"]
    assert (facts["cli"], facts["build_cli"], facts["build_env"]) == (str(new), str(old), {"DOCKER_BUILDKIT": "1"})


def test_a_new_client_with_its_plugin_builds(tmp_path: Path) -> None:
    new = client(tmp_path / "a", "docker", "28.2.2", buildx=True)
    assert find(tmp_path, "docker", new.parent)["facts"]["build_cli"] == str(new)


@pytest.mark.parametrize(("version", "reason"), [("17.06.0", "older than 18.09"), ("23.0.0", "lacks the plugin buildx")])
def test_no_client_that_can_build(tmp_path: Path, version: str, reason: str) -> None:
    only = client(tmp_path / "a", "docker", version)
    facts = find(tmp_path, "docker", only.parent)["facts"]
    assert facts["build_cli"] == ""
    assert reason in str(facts["build_problem"])


def test_half_an_answer_is_none(tmp_path: Path) -> None:
    """What a client before 25 prints, with exit code 0, when its daemon is down."""
    down = client(tmp_path / "a", "docker", "20.10.24", '{"ServerErrors": ["Cannot connect to the Docker daemon"]}')
    found = find(tmp_path, "docker", down.parent)
    assert found["facts"] == {}
    assert "Cannot connect" in str(found["said"])


def test_podman_under_docker_s_name_is_not_docker(tmp_path: Path) -> None:
    alias = client(tmp_path / "a", "docker", "4.3.1", INFO.replace("Debian", "podman"))
    assert find(tmp_path, "docker", alias.parent)["facts"] == {}


def test_nothing_on_path(tmp_path: Path) -> None:
    found = find(tmp_path, "auto", tmp_path)
    assert found["facts"] == {}
    assert found["tried"] == []
    assert found["host"]["root"] == (os.geteuid() == 0)


# --- the context -------------------------------------------------------------------------------------------------------------


def context_hash(root: Path) -> str:
    command = [sys.executable, str(FILES / "context.py"), str(root), "Dockerfile", "rootfs", "missing"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    (tmp_path / "rootfs" / "run").write_text("x", encoding="utf-8")
    return tmp_path


def test_the_hash_sees_content_mode_and_names(context: Path) -> None:
    seen = {context_hash(context)}
    run = context / "rootfs" / "run"
    run.chmod(run.stat().st_mode | stat.S_IXUSR)
    seen.add(context_hash(context))
    run.write_text("y", encoding="utf-8")
    seen.add(context_hash(context))
    run.rename(context / "rootfs" / "walk")
    seen.add(context_hash(context))
    (context / "rootfs" / "new").touch()
    seen.add(context_hash(context))
    assert len(seen) == 5


def test_the_hash_does_not_see_times_litter_and_other_files(context: Path) -> None:
    before = context_hash(context)
    os.utime(context / "rootfs" / "run", (1, 1))
    (context / "rootfs" / "__pycache__").mkdir()
    (context / "rootfs" / "__pycache__" / "x.pyc").touch()
    (context / "README.md").touch()
    assert context_hash(context) == before


def test_every_path_that_the_dockerfile_takes_is_in_the_hash() -> None:
    """A source that the hash does not see would be a change that no build follows."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    copies = [words for line in text.splitlines() if line.startswith("COPY ") and "--from=" not in line for words in [line.split()[1:-1]]]
    sources = {word for words in copies for word in words if not word.startswith("--")}
    sources |= {
        match for mount in re.findall(r"--mount=(\S+)", text) if "type=bind" in mount for match in re.findall(r"source=([^,]+)", mount)
    }
    hashed = yaml.safe_load((ROOT / "roles/pg_image/vars/main.yml").read_text(encoding="utf-8"))["pg_image_context_paths"]
    assert sources
    assert [source for source in sorted(sources) if not any(source == path or source.startswith(path + "/") for path in hashed)] == []


# --- the host's settings -----------------------------------------------------------------------------------------------------


def test_pip_s_servers_go_into_the_build_and_local_directories_do_not(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://u:p@index.example/simple\nextra-index-url = file:///srv/wheels\ncert = /etc/x.pem\n",
        encoding="utf-8",
    )
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_TIMEOUT": "7"}
    found = script("host_settings.py", str(tmp_path / "build"), "bookworm", env=env)
    written = Path(found["pip_conf"])
    assert "index-url = https://u:p@index.example/simple\n" in written.read_text(encoding="utf-8")
    assert "timeout = 7\n" in written.read_text(encoding="utf-8")
    assert "cert" not in written.read_text(encoding="utf-8")
    assert "srv/wheels" not in written.read_text(encoding="utf-8")
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert stat.S_IMODE(written.parent.stat().st_mode) == 0o700


def test_proxies_of_the_environment_are_found(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "http_proxy": "http://proxy.example:3128"}
    assert script("host_settings.py", str(tmp_path / "build"), "bookworm", env=env)["proxy"] == {"http_proxy": "http://proxy.example:3128"}


def test_sources_are_this_host_s_own_or_none(tmp_path: Path) -> None:
    found = script("host_settings.py", str(tmp_path / "build"), "nosuchsuite", env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
    assert found["sources"] == []
