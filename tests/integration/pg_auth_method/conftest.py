# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_auth_method on real servers: roles of every kind, rules that each can hit, and psycopg2 as the outsider who logs in."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import psycopg2
import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/integration")]

from ansible_collections.pgops.access.plugins.modules import pg_auth_method as module  # noqa: E402
from differential.servers import Server  # noqa: E402
from in_process import once  # noqa: E402
from pg_hba_info.conftest import reach, run, server  # noqa: E402

__all__ = ["Server", "reach", "run", "server"]
MODULE = "ansible_collections.pgops.access.plugins.modules.pg_auth_method"
RULES = b"""\
# who may come
local all postgres trust
host all app 127.0.0.1/32   md5 # the application
host all +staff 127.0.0.0/8 md5
host all modern all md5
host all all 192.0.2.0/24 password
local all all peer
"""
PASSWORDS = {"app": "pw of app", "anna": "pw of anna", "oldie": "p\u00e4ssword \u2168"}
ROLES = (
    "create role staff",
    "set password_encryption = 'md5'",
    *(f"create role {name} login password '{password}'" for name, password in PASSWORDS.items()),
    "create role asleep login password 'pw of asleep' valid until '2001-01-01'",
    "create role shelf password 'pw of shelf'",
    "create role keyless login",
    "grant staff to anna",
    "set password_encryption = 'scram-sha-256'",
    "create role modern login password 'pw of modern'",
    "reset password_encryption",
)


@pytest.fixture
def ready(server: Server) -> t.Iterator[Server]:
    """The roles as they are before anything has moved, the rules, and new passwords stored as md5."""
    server.switch()
    names = ("app", "anna", "oldie", "asleep", "shelf", "keyless", "modern", "staff", "auditor")
    for name in names:
        server.sql(f"drop role if exists {name}")
    for statement in ROLES:
        server.sql(statement)
    server.sql("alter system set password_encryption = 'md5'")
    rules(server, RULES)
    yield server
    server.sql("alter system reset password_encryption")
    for name in names:
        server.sql(f"drop role if exists {name}")


def rules(server: Server, text: bytes) -> Path:
    """Put rules in force."""
    path = server.data / "pg_hba.conf"
    path.write_bytes(text)
    server._give(path)
    server.reload()
    return path


def auth(server: Server, *, check: bool = False, **arguments: t.Any) -> dict[str, t.Any]:
    """One run in this process."""
    return once(module, reach(server, **arguments), check=check)


def move(server: Server, *, check: bool = False, **arguments: t.Any) -> dict[str, t.Any]:
    """One migration in this process."""
    return auth(server, check=check, state="migrated", **arguments)


def stored(server: Server) -> dict[str, str]:
    """What the server holds as passwords."""
    rows = server.sql("select rolname::text, coalesce(rolpassword, '') from pg_authid where rolname !~ '^pg_'")
    return {(name or b"").decode(): (text or b"").decode() for name, text in rows}


def setting(server: Server) -> str:
    """password_encryption of a new session."""
    connection = psycopg2.connect(host=str(server.sockets), port=server.port, user="postgres", dbname="postgres")
    try:
        with connection.cursor() as cursor:
            cursor.execute("show password_encryption")
            return str(cursor.fetchone()[0])
    finally:
        connection.close()


def enters(server: Server, user: str, password: str, **more: t.Any) -> bool:
    """Whether libpq gets in over TCP."""
    try:
        psycopg2.connect(
            host="127.0.0.1", port=server.port, user=user, password=password, dbname="postgres", sslmode="disable", **more
        ).close()
    except psycopg2.OperationalError:
        return False
    return True


def state_of(result: dict[str, t.Any]) -> dict[int, str]:
    """Line → state."""
    return {rule["line_number"]: rule["state"] for rule in result["rules"]}


def role_of(result: dict[str, t.Any], name: str) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", next(role for role in result["roles"] if role["name"] == name))
