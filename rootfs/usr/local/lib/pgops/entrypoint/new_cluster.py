# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new cluster's first minute, on the member that makes it: the database of POSTGRES_DB, and the user's scripts.

Patroni runs this between initdb and taking the leader's lock, and gives the cluster up when it fails. The server runs with the cluster's
rules, so a script is the superuser over the socket (``peer``), and no other role gets in without its password. What is said goes to
stdout as JSON lines with a ``source``, which Patroni passes on to PID 1.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import typing as t

from . import init_scripts, logs, statistics
from .errors import StartError
from .redact import Redactor


class First(t.NamedTuple):
    """What the member that makes a cluster is told, through a file of the runtime directory."""

    user: str
    password: str
    database: str
    data: str


def run(path: str) -> int:
    """All of it; an exit status for Patroni."""
    with open(path, encoding="utf-8") as file:
        told = json.load(file)
    first = First(told["user"], told["password"], told["database"], told["data"])
    environment = init_scripts.environment({**os.environ, "PGPORT": _port(first.data)}, first.user, first.password, first.database)
    environment.pop("POSTGRES_DB_FILE", None)
    try:
        _prepare(first, environment)
        _run_scripts(environment)
    except StartError as error:
        _say("entrypoint", "error", f"{error}; Patroni gives the new cluster up, and the next start begins again")
        return 1
    return 0


def statement(database: str) -> str:
    """What makes the database; empty for those that are there."""
    name = database.replace('"', '""')
    return "" if database in init_scripts.BUILT_IN else f'CREATE DATABASE "{name}";\n'


def _prepare(first: First, environment: t.Mapping[str, str]) -> None:
    command = ["psql", "-XqwAt", "-v", "ON_ERROR_STOP=1", "-U", first.user, "-d", "postgres"]
    if statement(first.database):
        _must(command, environment, "entrypoint", f"POSTGRES_DB={first.database!r} could not be made", statement(first.database))


def _run_scripts(environment: t.Mapping[str, str]) -> None:
    for path in init_scripts.found():
        command = init_scripts.command(path)
        if command is None:
            _say("entrypoint", "info", f"{path} {init_scripts.IGNORED}")
            continue
        _say("entrypoint", "info", f"running {path}")
        _must(command, environment, "init-script", f"{path} failed")


def _must(command: t.Sequence[str], environment: t.Mapping[str, str], source: str, what: str, text: str = "") -> None:
    """Run a program to its end, and pass on what it says. Raises StartError."""
    redactor = Redactor([environment["POSTGRES_PASSWORD"]])
    words: list[str] = []
    try:
        process = subprocess.Popen(command, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        raise StartError(f"{what}: {error.strerror}") from None
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(text.encode("utf-8", "surrogateescape"))
            process.stdin.close()
    for line in process.stdout or ():
        if line.strip():
            made = logs.plain_record(source, line.rstrip(b"\r\n"), redactor)
            words = [*words[-2:], str(made["message"])]
            _say(source, str(made["level"]), str(made["message"]))
    status = process.wait()
    if status:
        how = f"status {status}" if status > 0 else f"signal {-status}"
        raise StartError(f"{what}, with {how}: {' / '.join(words) or 'it said nothing'}")


def _port(data: str) -> str:
    return statistics.address(data)[0] or "5432"


def _say(source: str, level: str, message: str) -> None:
    sys.stdout.write(json.dumps({"source": source, "level": level, "message": message}) + "\n")
    sys.stdout.flush()
