# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Outsiders of the scenario: psql in the clients' containers, the servers' own views, and the playbook run again with another policy."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

NOTE = json.loads((Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "engine.json").read_text())
SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
PROJECT = SCENARIO.parents[1]
PASSWORD = "of a throw-away role"
SERVERS = ("image", "debian")
Policy = dict[str, t.Any]


@dataclass(frozen=True)
class Server:
    """One of the two servers, as outsiders see it."""

    name: str

    @property
    def container(self) -> str:
        return f"{NOTE['network']}-{self.name}"

    def docker(self, *arguments: str) -> str:
        """What the command says, whether it succeeds or not."""
        done = subprocess.run([NOTE["cli"], *arguments], capture_output=True, text=True, timeout=60, check=False)
        return (done.stdout + done.stderr).strip()

    def connect(self, client: str, user: str, database: str = "orders", password: str = PASSWORD) -> str:
        """A real connection from a client's container: who got in from where, or the refusal."""
        target = f"host={self.container} user={user} dbname={database} password='{password}' sslmode=disable"
        query = "SELECT session_user || ' from ' || host(inet_client_addr())"
        return self.docker("exec", f"{NOTE['network']}-{client}", "psql", "-XAtc", query, target)

    def become(self, system_user: str, role: str, database: str = "orders") -> str:
        """A connection through the socket, as a user of the server's operating system."""
        return self.docker(
            "exec", "-u", system_user, self.container, "psql", "-w", "-XAt", "-U", role, "-d", database, "-c", "SELECT session_user"
        )

    def ask(self, query: str) -> str:
        """The server's own view."""
        return self.docker("exec", "-u", "postgres", self.container, "psql", "-XAt", "-c", query)

    def rules(self) -> str:
        """Both files' text, owner, mode and time."""
        files = f"{self.ask('SHOW hba_file')} {self.ask('SHOW ident_file')}"
        return self.docker("exec", "-u", "postgres", self.container, "sh", "-c", f"cat {files}; stat -c '%U %a %Y' {files}")


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Server:
    return Server(request.param)


@pytest.fixture(scope="session")
def policy() -> Policy:
    """The scenario's policy, as it is written in the inventory."""
    return t.cast(Policy, yaml.safe_load((SCENARIO / "inventory/group_vars/servers.yml").read_text())["pg_access_policy"])


def play(policy: Policy, *options: str, playbook: str = "access") -> subprocess.CompletedProcess[str]:
    """A playbook, by its name, on both servers, with this policy."""
    command = ["ansible-playbook", f"pgops.access.{playbook}", "--inventory", f"{SCENARIO}/inventory/", *options]
    variables = json.dumps({"pgops_hosts": "servers", "pg_access_policy": policy})
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_") and name != "PYTHONPATH"}
    env |= {
        "ANSIBLE_CONFIG": str(PROJECT / ".pgops/ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": f"{PROJECT}/.pgops/collections",
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
        "ANSIBLE_FORKS": "8",
        "LC_ALL": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    return subprocess.run(
        [*command, "--extra-vars", variables], env=env, capture_output=True, text=True, timeout=300, check=False, cwd=SCENARIO
    )


@pytest.fixture
def changed(policy: Policy) -> Policy:
    """A copy to change."""
    return copy.deepcopy(policy)
