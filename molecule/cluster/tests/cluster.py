# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenario's cluster as outsiders see it: Docker, patronictl, psql in the clients' containers, psycopg2 through the entry point."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import threading
import time
import typing as t
import urllib.request
from pathlib import Path

import psycopg2
import yaml

NOTE = json.loads((Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "cluster.json").read_text())
MEMBERS: dict[str, str] = {node["name"]: node["address"] for node in NOTE["members"]}
PASSWORD = (Path(NOTE["secrets"]) / "superuser").read_text().strip()
REST_PASSWORD = (Path(NOTE["secrets"]) / "rest").read_text().strip()
CTL = ("/opt/pgops/venv/bin/patronictl", "-c", "/run/postgresql/pgops/patroni")
APP_PASSWORD = "of a throw-away role"
ENTRY: str = NOTE["entry"][0]["address"]


def docker(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """One command of the engine."""
    return subprocess.run([NOTE["cli"], *words], check=check, capture_output=True, text=True, timeout=150)


def listed() -> list[dict[str, t.Any]]:
    """The members, from the first one whose REST API answers; patronictl says the same, a second later."""
    for address in MEMBERS.values():
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            answer = urllib.request.urlopen(f"http://{address}:8008/cluster", timeout=3)
            return list(json.loads(answer.read())["members"])
    return []


def leader() -> str:
    """The member that leads; empty while none does."""
    return next((str(m["name"]) for m in listed() if m["role"] == "leader" and m["state"] == "running"), "")


def whole() -> bool:
    """One leads, the others follow it synchronously."""
    found = sorted((m["role"], m["state"]) for m in listed())
    return found == [("leader", "running")] + [("quorum_standby", "streaming")] * (len(MEMBERS) - 1)


def eventually(what: str, test: t.Callable[[], object], seconds: float = 90) -> None:
    """Wait for something, or fail with its name."""
    deadline = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < deadline, f"after {seconds:.0f} s: {what}; members: {listed()}"
        time.sleep(0.5)


def kill(name: str) -> None:
    """Kill the container's first process as the kernel would; the engine starts it again."""
    os.kill(int(docker("inspect", "--format", "{{.State.Pid}}", name).stdout), signal.SIGKILL)


def superuser(port: int = NOTE["port"]) -> psycopg2.extensions.connection:
    """A session of this host's through the entry point."""
    session = psycopg2.connect(host="127.0.0.1", port=port, user="postgres", password=PASSWORD, dbname="app", connect_timeout=3)
    session.autocommit = True
    return session


def ask(query: str, port: int = NOTE["port"]) -> t.Any:
    """One value, through the entry point."""
    session = superuser(port)
    try:
        cursor = session.cursor()
        cursor.execute(query)
        return cursor.fetchone()[0] if cursor.description else None
    finally:
        session.close()


def served() -> bool:
    """Whether the entry point leads to a primary; it asks the members by itself, so it knows a little later than they do."""
    try:
        return ask("SELECT pg_is_in_recovery()") is False
    except psycopg2.OperationalError:
        return False


def rules(name: str) -> list[str]:
    """The rules of one member, as its own server reads its file."""
    columns = "type, database, user_name, address, netmask, auth_method, options, error"
    query = f"SELECT concat_ws(' ', {columns}) FROM pg_hba_file_rules ORDER BY line_number"
    return docker("exec", name, "psql", "-XAtq", "-d", "postgres", "-c", query).stdout.splitlines()


def same_rules() -> bool:
    """Whether every member has the same rules and none an error."""
    found = [rules(name) for name in MEMBERS]
    return all(each == found[0] for each in found)


def client(name: str, host: str = "", port: int = 5432) -> str:
    """What psql in a client's container gets: ``app@ADDRESS``, the client's address as the server sees it, or the refusal."""
    host = host or ",".join(MEMBERS.values())
    target = "target_session_attrs=read-write" if "," in host else ""
    dsn = f"host={host} port={port} user=app dbname=app connect_timeout=2 {target}"
    words = ["exec", "--env", f"PGPASSWORD={APP_PASSWORD}", f"{NOTE['name']}-client-{name}", "psql", "-XAtqw", dsn]
    done = docker(*words, "-c", "SELECT current_user || '@' || host(inet_client_addr())", check=False)
    return done.stdout.strip() or done.stderr.strip()


class Knocking:
    """A client that connects again and again, in the background; ``answers`` are (time, answer)."""

    def __init__(self, name: str) -> None:
        self.answers: list[tuple[float, str]] = []
        self._name, self._stop = name, threading.Event()
        self._thread = threading.Thread(target=self._knock, daemon=True)

    def __enter__(self) -> Knocking:
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _knock(self) -> None:
        while not self._stop.is_set():
            self.answers.append((time.monotonic(), client(self._name)))
            self._stop.wait(0.2)


def change_access(tmp: Path, rules_wanted: str, *, unreachable: str = "refuse", attempts: int = 4) -> None:
    """The module pg_hba on the cluster, run by Ansible as its users run it; again while a failover is under way."""
    task = {
        "login_user": "postgres", "login_password": PASSWORD, "login_db": "postgres", "section": "clients", "rules": rules_wanted,
        "patroni": {
            "urls": [f"http://{address}:8008" for address in MEMBERS.values()], "username": "patroni", "password": REST_PASSWORD,
            "unreachable": unreachable,
        },
    }  # fmt: skip
    play = [
        {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [{"name": "Change", "pgops.access.pg_hba": task}]}
    ]
    play[0]["vars"] = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    (tmp / "play.yml").write_text(yaml.safe_dump(play))
    said = ""
    for _attempt in range(attempts):
        done = subprocess.run(["ansible-playbook", str(tmp / "play.yml")], capture_output=True, text=True, timeout=150, check=False)
        if done.returncode == 0:
            return
        said = done.stdout + done.stderr
        time.sleep(3)
    raise AssertionError(said)
