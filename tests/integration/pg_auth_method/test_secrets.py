# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clear passwords are in no log, no result, no difference and no process list, and with a superuser verifiers are in no log either."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import psycopg2
import pytest
from differential import fetch
from pg_hba_info.conftest import MAJORS

from .conftest import PASSWORDS, ROLES, RULES, Server, enters, move, reach, rules, stored


class Watch:
    """Looks at every process's command line and environment while something runs."""

    def __init__(self, needles: t.Iterable[str]) -> None:
        self._needles = [needle.encode() for needle in needles]
        self._end = threading.Event()
        self.looks = 0
        self.found: list[str] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(0.05):
            self.looks += 1
            for process in Path("/proc").glob("[0-9]*"):
                if process.name == str(os.getpid()):
                    continue
                for name in ("cmdline", "environ"):
                    try:
                        raw = (process / name).read_bytes()
                    except OSError:
                        continue
                    self.found += [f"{process}/{name}" for needle in self._needles if needle in raw]


def playbook(server: Server, folder: Path) -> str:
    """One migration, first in check mode, as people run it, with the loudest output; passwords from a file of variables."""
    (folder / "secrets.yml").write_text(json.dumps({"secrets": PASSWORDS}))
    arguments = reach(server, state="migrated", passwords="{{ secrets }}", backup=True)
    module = "pgops.access.pg_auth_method"
    tasks: list[dict[str, t.Any]] = [{module: arguments, "check_mode": True}, {module: arguments, "register": "done"}]
    tasks.append({"ansible.builtin.debug": {"var": "done"}})
    play = {"hosts": "localhost", "gather_facts": False, "vars_files": [str(folder / "secrets.yml")], "tasks": tasks}
    (folder / "play.yml").write_text(json.dumps([play]))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), str(folder / "play.yml"), "-vvvv", "--diff"]
    command += ["-e", f"ansible_python_interpreter={sys.executable}"]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_LOCALHOST_WARNING": "0"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_no_secret_anywhere(ready: Server, tmp_path: Path) -> None:
    if ready.major not in (MAJORS[0], MAJORS[-1]):
        pytest.skip("playbooks are slow: the oldest and the newest server will do")
    ready.switch(log_statement="'all'", log_min_duration_statement="0", log_min_error_statement="'debug5'")
    rules(ready, RULES)
    old = stored(ready)
    start = ready._log_size()
    with Watch(PASSWORDS.values()) as watch:
        shown = playbook(ready, tmp_path)
    log = ready._log_since(start).decode("utf-8", "replace")
    assert watch.looks > 5
    assert not watch.found
    assert "changed=2" in shown
    assert "rehashed" in shown
    assert "select" in log.lower()
    new = stored(ready)
    for name, password in PASSWORDS.items():
        assert new[name].startswith("SCRAM-SHA-256$")
        for secret in (password, json.dumps(password)[1:-1], old[name], new[name]):
            assert secret not in shown, name
            assert secret not in log, name
    assert "alter role" not in log.lower()
    assert enters(ready, "app", PASSWORDS["app"])


@pytest.fixture(scope="module")
def counting() -> t.Iterator[Server]:
    """A full build, which has pg_stat_statements."""
    server = Server(15, full=True)
    if not (Path("/usr/lib/postgresql/15/lib") / "pg_stat_statements.so").exists():
        pytest.skip("needs Debian's postgresql-15; the scenario scram looks into pg_stat_statements of the image")
    server.switches = {"shared_preload_libraries": "'pg_stat_statements'", "pg_stat_statements.track": "'all'"}
    try:
        server.start()
    except fetch.Unavailable as reason:
        pytest.skip(str(reason))
    try:
        yield server
    finally:
        server.stop()


def test_statistics_hold_no_secret(counting: Server) -> None:
    for statement in (*ROLES, "create extension pg_stat_statements", "alter system set password_encryption = 'md5'"):
        counting.sql(statement)
    rules(counting, RULES)
    counting.sql("select pg_stat_statements_reset()")
    result = move(counting, passwords=PASSWORDS)
    assert "failed" not in result, result.get("msg")
    connection = psycopg2.connect(host=str(counting.sockets), port=counting.port, user="postgres", dbname="postgres")
    with connection.cursor() as cursor:
        cursor.execute("select query from pg_stat_statements")
        queries = [row[0] for row in cursor.fetchall()]
    connection.close()
    assert any("pg_authid" in query for query in queries)
    for secret in (*PASSWORDS.values(), "SCRAM-SHA-256$"):
        assert not any(secret in query for query in queries)
