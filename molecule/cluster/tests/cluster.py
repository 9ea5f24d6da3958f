# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenario's cluster as outsiders see it: Docker, patronictl, psql in the clients' containers, psycopg2 through the entry point."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import threading
import time
import typing as t
import urllib.error
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
TLS = ssl.create_default_context(cafile=NOTE["tls"]["ca_cert"])
TLS.load_cert_chain(NOTE["tls"]["client_cert"], NOTE["tls"]["client_key"])


def docker(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """One command of the engine."""
    return subprocess.run([NOTE["cli"], *words], check=check, capture_output=True, text=True, timeout=150)


def listed() -> list[dict[str, t.Any]]:
    """The members, from the first one whose REST API answers; patronictl says the same, a second later."""
    for url in NOTE["urls"]:
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            answer = urllib.request.urlopen(f"{url}/cluster", timeout=3, context=TLS)
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
    """A client that connects again and again, in the background; ``answers`` are (time of the answer, answer)."""

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
            answer = client(self._name)
            self.answers.append((time.monotonic(), answer))
            self._stop.wait(0.2)


def task(tmp: Path, module: str, options: dict[str, t.Any], *, unreachable: str = "refuse", attempts: int = 4) -> None:
    """A module on the cluster, run by Ansible as its users run it; again while a failover is under way."""
    login = {"login_user": "postgres", "login_password": PASSWORD, "login_db": "postgres"}
    patroni = {
        "urls": NOTE["urls"], "username": "patroni", "password": REST_PASSWORD, "unreachable": unreachable, **NOTE["tls"],
    }  # fmt: skip
    tasks = [{"name": "Change", f"pgops.access.{module}": {**login, "patroni": patroni, **options}}]
    interpreter = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": interpreter, "tasks": tasks}
    (tmp / "play.yml").write_text(yaml.safe_dump([play]))
    said = ""
    for _attempt in range(attempts):
        done = subprocess.run(["ansible-playbook", str(tmp / "play.yml")], capture_output=True, text=True, timeout=150, check=False)
        if done.returncode == 0:
            return
        said = done.stdout + done.stderr
        time.sleep(3)
    raise AssertionError(said)


def change_access(tmp: Path, rules_wanted: str, *, unreachable: str = "refuse") -> None:
    """One section of rules by the module pg_hba."""
    task(tmp, "pg_hba", {"section": "clients", "rules": rules_wanted}, unreachable=unreachable)


def dynamic() -> dict[str, t.Any]:
    """The dynamic configuration, from the first member that answers."""
    for url in NOTE["urls"]:
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            return dict(json.loads(urllib.request.urlopen(f"{url}/config", timeout=3, context=TLS).read()))
    return {}


LOGIN = {"Authorization": "Basic " + base64.b64encode(f"patroni:{REST_PASSWORD}".encode()).decode()}


def answer(url: str, context: ssl.SSLContext | None = None, headers: dict[str, str] | None = None, body: bytes | None = None) -> int:
    """The status code of a GET, or of a PATCH; 0 when the connection is refused or ends without one."""
    request = urllib.request.Request(url, body, headers or {}, method="PATCH" if body else "GET")
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as got:
            return int(got.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def patch(content: dict[str, t.Any]) -> None:
    """What somebody else writes into the dynamic configuration."""
    headers = {**LOGIN, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{NOTE['urls'][0]}/config", json.dumps(content).encode(), headers, method="PATCH")
    urllib.request.urlopen(request, timeout=10, context=TLS).close()


class Killing:
    """Kills a member's container in the moment in which the cluster's rules become other ones, while the task still waits for members."""

    def __init__(self, victim: str) -> None:
        self.seen = self.killed = 0.0
        self._victim, self._before = victim, dynamic()["postgresql"]["pg_hba"]
        self._pid = int(docker("inspect", "--format", "{{.State.Pid}}", victim).stdout)
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Killing:
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._thread.join(60)

    def _watch(self) -> None:
        while dynamic().get("postgresql", {}).get("pg_hba", self._before) == self._before:
            time.sleep(0.01)
        self.seen = time.monotonic()
        os.kill(self._pid, signal.SIGKILL)
        self.killed = time.monotonic()


def run_again(name: str, **environment: str) -> None:
    """Make a member's container anew on its volume with other variables, as somebody does by hand who forgets the other members."""
    found = json.loads(docker("inspect", name).stdout)[0]
    host = found["HostConfig"]
    variables = {**dict(entry.split("=", 1) for entry in found["Config"]["Env"]), **environment}
    words = [f"--env={variable}={value}" for variable, value in variables.items()]
    words += [f"--tmpfs={path}:{options}" for path, options in host["Tmpfs"].items()]
    for mount in host["Mounts"]:
        read_only = ",readonly" if mount.get("ReadOnly") else ""
        words.append(f"--mount=type={mount['Type']},source={mount['Source']},target={mount['Target']}{read_only}")
    words += ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", f"--hostname={name}", f"--name={name}"]
    words += [f"--network={NOTE['network']}", f"--ip={MEMBERS[name]}", "--restart=unless-stopped"]
    docker("rm", "--force", name)
    docker("run", "--detach", *words, found["Config"]["Image"])


def said(name: str, event: str) -> list[dict[str, t.Any]]:
    """The lines of a member's log with this event."""
    done = docker("logs", name)
    lines = [json.loads(line) for line in (done.stdout + done.stderr).splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == event]


def on_member(name: str, query: str) -> str:
    """One value from one member's own server, over its socket."""
    return docker("exec", name, "psql", "-XAtq", "-d", "postgres", "-c", query).stdout.strip()
