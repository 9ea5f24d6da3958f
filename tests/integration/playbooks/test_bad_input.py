# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input: one clear error that names the option and what to do, before anything is made; then the same command succeeds."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import typing as t
from pathlib import Path

import pytest

from .conftest import BIN, Node

# Each is one host of one run: variables of the role pg_node, and all that its one error must say.
REFUSED: dict[str, tuple[dict[str, t.Any], list[str]]] = {
    "typo": ({"pg_node_prot": 5433}, ["no variable pg_node_prot", "ansible-doc -t role pgops.access.pg_node"]),
    "type": ({"pg_node_pids_limit": "many"}, ["pg_node_pids_limit", "int"]),
    "type_list": ({"pg_node_mounts": {"a": "b"}}, ["pg_node_mounts", "list"]),
    "choice": ({"pg_node_external_access_tls": "perhaps"}, ["pg_node_external_access_tls", "allow, require"]),
    "engine": ({"pg_node_engine": "lxc"}, ["pg_node_engine", "auto, docker, podman"]),
    "port_word": ({"pg_node_port": "http"}, ["pg_node_port", "int"]),
    "port_zero": ({"pg_node_port": 0}, ["pg_node_port: 0 is no TCP port", "1 to 65535"]),
    "port_high": ({"pg_node_port": 65536}, ["pg_node_port: 65536 is no TCP port", "1 to 65535"]),
    "purge_word": ({"pg_node_purge": "perhaps"}, ["pg_node_purge", "bool"]),
    "file_missing": ({"pg_node_password_file": "/nowhere/pw"}, ["pg_node_password_file: /nowhere/pw", "missing", "Write the password"]),
    "file_empty": ({"pg_node_password_file": "EMPTY"}, ["pg_node_password_file", "empty", "Write the password"]),
    "file_blank": ({"pg_node_password_file": "BLANK"}, ["pg_node_password_file", "empty", "Write the password"]),
    "file_two_lines": ({"pg_node_password_file": "TWO"}, ["pg_node_password_file", "more than one line"]),
    "two_lines": ({"pg_node_password": "one\ntwo"}, ["pg_node_password", "more than one line"]),
    "both": ({"pg_node_password": "a", "pg_node_password_file": "EMPTY"}, ["pg_node_password and pg_node_password_file", "Keep one"]),
    "clash": ({"pg_node_env": {"POSTGRES_DB": "x", "TZ": "UTC"}}, ["pg_node_env: POSTGRES_DB is set by an option", "Use that option"]),
    "image": (
        {"pg_node_image": "pgops-itest/none:1"},
        ["pg_node_image: pgops-itest/none:1", "pgops.access.pg_image"],
    ),
    "network": ({"pg_node_extra_networks": ["pgops-itest-none"]}, ["pg_node_extra_networks", "pgops-itest-none", "network create"]),
    "mount": ({"pg_node_mounts": ["/nowhere/init:/x:ro"]}, ["pg_node_mounts", "/nowhere/init"]),
    "subnet": ({"pg_node_network_subnets": ["172.30.247.0/99"]}, ["pg_node_network_subnets", "172.30.247.0/99"]),
    "taken": ({"pg_node_port": "TAKEN"}, ["is already in use", "ss -ltnp", "pg_node_port"]),
}


@pytest.fixture(scope="module")
def errors(node: Node, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Every error of every case, from one run with a host for each."""
    folder = tmp_path_factory.mktemp("input")
    (folder / "EMPTY").touch()
    (folder / "BLANK").write_text("\n", encoding="utf-8")
    (folder / "TWO").write_text("one\ntwo\n", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as other:
        hosts = {}
        for case, (variables, _said) in REFUSED.items():
            given = dict(node.variables, pg_node_port=node.port, ansible_connection="local", ansible_python_interpreter=str(BIN / "python"))
            given |= variables
            if given["pg_node_port"] == "TAKEN":
                given["pg_node_port"] = other.getsockname()[1]
            if given.get("pg_node_password_file", "").isupper():
                given["pg_node_password_file"] = str(folder / given["pg_node_password_file"])
            hosts[case] = given
        (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
        (folder / "play.yml").write_text("- hosts: all\n  gather_facts: false\n  roles: [pgops.access.pg_node]\n", encoding="utf-8")
        env = {**node.env, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
        command = [str(BIN / "ansible-playbook"), "-i", str(folder / "hosts.json"), str(folder / "play.yml")]
        done = subprocess.run(command, cwd=node.folder, env=env, capture_output=True, text=True, timeout=300, check=False)
    answers = json.loads(done.stdout[done.stdout.index("{") :])
    found: dict[str, list[str]] = {case: [] for case in REFUSED}
    for task in answers["plays"][0]["tasks"]:
        for case, result in task["hosts"].items():
            if result.get("failed"):
                found[case].append(" ".join(str(result.get("msg", "")).split()) + " " + " ".join(result.get("argument_errors", [])))
    return found


@pytest.mark.parametrize("case", REFUSED)
def test_one_error_says_what_and_what_to_do(errors: dict[str, list[str]], case: str) -> None:
    assert len(errors[case]) == 1, errors[case]
    assert [said for said in REFUSED[case][1] if said not in errors[case][0]] == [], errors[case]


def test_nothing_was_made_by_any_of_them(node: Node, errors: dict[str, list[str]]) -> None:
    assert errors
    assert node.traces() == []


@pytest.fixture(scope="module")
def no_clients(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH with every program of this machine but the clients of container engines."""
    folder = tmp_path_factory.mktemp("bin")
    for place in (BIN, *map(Path, os.environ["PATH"].split(os.pathsep)), Path("/usr/bin"), Path("/bin")):
        for program in place.iterdir() if place.is_dir() else ():
            if not program.name.startswith(("docker", "podman")) and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    return str(folder)


def test_no_engine_is_installed(node: Node, no_clients: str) -> None:
    run = node.play("pgops.access.up", env={"PATH": no_clients}, pgops_engine="auto")
    assert run.code == 2
    assert "No container engine answers on localhost (asked for: auto; tried: none is installed)" in run.words
    assert "Run this, then the same command again" in run.words
    assert node.traces() == []


def test_the_engine_does_not_answer(node: Node) -> None:
    run = node.play("pgops.access.up", env={"DOCKER_HOST": f"unix://{node.folder}/dead.sock"})
    assert run.code == 2
    assert "No container engine answers" in run.words
    assert "dead.sock" in run.words
    assert "Run this, then the same command again" in run.words
    assert node.traces() == []


def test_the_disk_is_too_full_for_the_build(node: Node) -> None:
    run = node.play("pgops.access.up", pgops_image=f"{node.name}/new:1", pg_image_min_free_mb=10**9)
    assert run.code == 2
    assert "MB are free in" in run.words
    assert "image prune" in run.words
    assert node.traces() == []


def test_the_port_is_in_use_then_free(node: Node) -> None:
    """Refused before the image is even looked for, by check mode as well; the very same command succeeds once the port is free."""
    with socket.create_server(("::1", node.port), family=socket.AF_INET6):
        for options in ((), ("--check",)):
            run = node.play("pgops.access.up", *options, pgops_image=f"{node.name}/new:1")
            assert run.code == 2
            assert f"Port {node.port} of this host is already in use" in run.words
            assert f"make up PORT={node.port + 1}" in run.words
            assert node.traces() == []
            assert node.inspect("image", f"{node.name}/new:1") is None
    again = node.play("pgops.access.up")
    assert again.code == 0, again.output
    assert node.ask().startswith("in as")
    purged = node.play("pgops.access.down", pgops_purge=True)
    assert purged.code == 0, purged.output
