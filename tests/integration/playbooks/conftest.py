# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks up and down and the role pg_node, from the installed collection, on a real engine. Nothing is mocked.

What is asserted is asked of outsiders: the engine, psql, psycopg2, the file system as another user sees it.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import typing as t
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import pytest

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
IMAGE = "pgops/postgres:15-bookworm"
# A file of tests has a node of its own, and may run beside the others (../conftest.py).
SUBNETS = {
    "bad-input": ["172.30.247.0/26", "fd00:5067:6f70:45::/64"],
    "up-down": ["172.30.247.64/26", "fd00:5067:6f70:46::/64"],
    "variables": ["172.30.247.128/26", "fd00:5067:6f70:47::/64"],
}
EXTRA_SUBNET = "172.30.247.192/26"
# Settings of the caller that would make a run mean something else; PYTHONPATH may hold another copy of the collection.
FOREIGN = ("ANSIBLE_", "MOLECULE_", "PGOPS_", "PYTHONPATH", "PYTHONHOME", "PGSERVICE", "PGPASS", "PGHOST", "PGUSER", "PGSSL")


def environment(collections: Path, folder: Path) -> dict[str, str]:
    """The environment of `make up`, with another collections path; psql and psycopg2 get nothing from the caller's either."""
    (folder / "ansible.cfg").touch()  # an empty one: the caller's own settings must not count
    env = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return env | {
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_PIPELINING": "true",
        "LC_ALL": "C.UTF-8",
        "PATH": str(BIN) + os.pathsep + os.environ.get("PATH", os.defpath),
        "PWD": str(folder),
    }


@pytest.fixture(scope="session")
def docker() -> str:
    """A Docker client whose daemon answers and knows the image."""
    client = shutil.which("docker")
    if not client or subprocess.run([client, "info"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no Docker answers on this machine")
    if subprocess.run([client, "image", "inspect", IMAGE], capture_output=True, check=False).returncode != 0:
        pytest.skip(f"{IMAGE} is not built yet: run the stage image first")
    return client


@pytest.fixture(scope="session")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An otherwise empty collections path with the collection, built from what git knows and installed from its tarball."""
    work = tmp_path_factory.mktemp("build")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file():
            (work / "src" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, work / "src" / name)
    galaxy, env = str(BIN / "ansible-galaxy"), environment(work, work)
    subprocess.run([galaxy, "collection", "build", "--output-path", str(work)], cwd=work / "src", env=env, check=True, capture_output=True)
    path = tmp_path_factory.mktemp("collections")
    tarball = next(work.glob("pgops-access-*.tar.gz"))
    command = [galaxy, "collection", "install", "--offline", str(tarball), "-p", str(path)]
    subprocess.run(command, cwd=work, env=environment(path, work), check=True, capture_output=True)
    return path


@dataclass(frozen=True)
class Run:
    """What one ansible-playbook said."""

    code: int
    output: str

    @property
    def changed(self) -> int:
        """Changed tasks, from the recap."""
        return int(self.output.rsplit("changed=", 1)[1].split()[0])

    @property
    def words(self) -> str:
        """The output as one line: Ansible folds long messages."""
        return " ".join(self.output.split())

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Rows of the table of who may connect: client, to, seen as, method, TLS, outcome, judgement."""
        lines = [line.strip() for line in self.output.splitlines()]
        start = next(i for i, line in enumerate(lines) if line.startswith("client ") and line.endswith("outcome"))
        table = lines[start + 1 : lines.index("", start)]
        return [tuple(re.split(r" {2,}", line)) for line in table]


@dataclass
class Node:
    """One node of this test's own: names, port, network, working directory and the variables that say so."""

    name: str
    folder: Path
    collections: Path
    docker: str
    port: int
    variables: dict[str, t.Any] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        """The default state directory: .pgops where the command is typed."""
        return self.folder / ".pgops"

    @property
    def secret(self) -> Path:
        """The file with the password."""
        return self.state / "secrets" / self.name / "postgres_password"

    @property
    def env(self) -> dict[str, str]:
        """The environment of every command about this node."""
        return environment(self.collections, self.folder)

    def play(self, playbook: str, *options: str, env: dict[str, str] | None = None, **variables: t.Any) -> Run:
        """Run a playbook by its name, or by path."""
        command = [str(BIN / "ansible-playbook"), playbook, "--extra-vars", json.dumps({**self.variables, **variables}), *options]
        done = subprocess.run(
            command, cwd=self.folder, env={**self.env, **(env or {})}, capture_output=True, text=True, timeout=300, check=False
        )
        return Run(done.returncode, done.stdout + done.stderr)

    def role(self, *options: str, env: dict[str, str] | None = None, **variables: t.Any) -> Run:
        """Run the role pg_node alone."""
        playbook = self.folder / "node.yml"
        playbook.write_text("- hosts: localhost\n  gather_facts: false\n  roles: [pgops.access.pg_node]\n", encoding="utf-8")
        return self.play(str(playbook), *options, env=env, **variables)

    def engine(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Ask the engine."""
        return subprocess.run([self.docker, *arguments], capture_output=True, text=True, timeout=120, check=False)

    def inspect(self, kind: str = "container", name: str = "") -> dict[str, t.Any] | None:
        """What the engine knows of the container, network or volume; None when there is none."""
        done = self.engine(kind, "inspect", name or self.name)
        found: list[dict[str, t.Any]] = json.loads(done.stdout) if done.returncode == 0 else []
        return found[0] if found else None

    def identity(self) -> tuple[str, str]:
        """What changes when the container is made anew or started again."""
        container = self.inspect()
        return (container["Id"], container["State"]["StartedAt"]) if container else ("", "")

    def traces(self) -> list[str]:
        """Everything that this node has left on the machine."""
        held = [
            f"{kind} {line}"
            for kind, command in (("container", ["ps", "--all"]), ("network", ["network", "ls"]), ("volume", ["volume", "ls"]))
            for line in self.engine(*command, "--filter", f"name={self.name}", "--format", "{{json .}}").stdout.splitlines()
        ]
        return held + [str(path) for path in self.state.rglob("*")]

    def ask(self, host: str = "127.0.0.1", password: str | None = None, **options: t.Any) -> str:
        """Connect as an outsider with psycopg2; return the address that the server saw, or its refusal."""
        given = {"user": "postgres", "dbname": "app", "sslmode": "prefer", "connect_timeout": 10, **options}
        secret = self.secret.read_text(encoding="utf-8").rstrip("\n") if password is None else password
        try:
            connection = psycopg2.connect(host=host, port=self.port, password=secret, **given)
        except psycopg2.OperationalError as error:
            return str(error)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 'in as ' || host(inet_client_addr()) || CASE WHEN ssl THEN ' over TLS' ELSE '' END"
                               " FROM pg_stat_ssl WHERE pid = pg_backend_pid()")  # fmt: skip
                return str(cursor.fetchone()[0])
        finally:
            connection.close()

    def remove(self) -> None:
        """Take away whatever is left, whether or not the playbooks work."""
        self.engine("rm", "--force", self.name, f"{self.name}-client", f"{self.name}-exporter")
        self.engine("network", "rm", self.name, f"{self.name}-extra")
        self.engine("volume", "rm", "--force", f"{self.name}-data")
        self.engine("image", "rm", f"{self.name}/image:tag")


def free_port() -> int:
    """A port that nobody holds, below the range from which the kernel takes ports for outgoing connections."""
    for port in random.sample(range(20000, 30000), 50):
        with socket.socket(socket.AF_INET6) as listener:
            try:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                listener.bind(("::", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, collections: Path, docker: str) -> Iterator[Node]:
    """A node that does not exist yet. It runs a second name of the image, so that removing it leaves the image to the other tests."""
    part = request.module.__name__.rsplit("test_", 1)[1].replace("_", "-")
    name = f"pgops-itest-{part}"
    made = Node(name, tmp_path_factory.mktemp(name), collections, docker, free_port())
    made.folder.chmod(0o755)
    made.variables = {
        "pgops_port": made.port,
        "pgops_engine": "docker",
        "pgops_image": f"{name}/image:tag",
        "pg_image_engine_install": False,
        "pg_image_remove_base": False,
        "pg_node_name": name,
        "pg_node_network": name,
        "pg_node_network_subnets": SUBNETS[part],
        "pg_node_stop_timeout": 10,
    }
    made.remove()
    subprocess.run([docker, "tag", IMAGE, made.variables["pgops_image"]], check=True)
    yield made
    made.remove()


@pytest.fixture
def listener(node: Node) -> Iterator[socket.socket]:
    """Somebody else's program on the node's port."""
    with socket.create_server(("127.0.0.1", node.port)) as other:
        yield other
