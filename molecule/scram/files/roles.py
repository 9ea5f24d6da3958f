# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The 200 roles of the scenario: how each is stored, whether it can log in, and the SQL that makes them. Run: prints SQL or JSON."""

from __future__ import annotations

import json
import sys
import typing as t


class Kind(t.NamedTuple):
    """Several roles of one kind."""

    prefix: str
    many: int
    stored: str
    options: str = "login"
    replication: bool = False


KINDS = (
    Kind("app", 70, "md5", "login in role apps"),
    Kind("clerk", 30, "md5", "login in role team"),
    Kind("modern", 40, "scram-sha-256", "login"),
    Kind("replica", 5, "md5", "login replication in role replicators", True),
    Kind("plain", 5, "md5", "login"),
    Kind("owner", 10, "md5", "login"),
    Kind("later", 5, "md5", "login valid until '2099-01-01'"),
    Kind("limited", 3, "md5", "login connection limit 5"),
    Kind("keyless", 10, "", "login"),
    Kind("expired", 12, "md5", "login valid until '2001-01-01'"),
    Kind("shelf", 10, "md5", "nologin"),
)
GROUPS = ("apps", "staff", "team", "replicators")
DATABASES = ("owner_00", "owner_01")


def password(name: str) -> str:
    """A password that is in no other text; some are not ASCII."""
    return f"clear text of {name} \u00e4\u2168" if name.endswith("7") else f"clear text of {name}"


def names(kind: Kind) -> list[str]:
    return [f"{kind.prefix}_{number:02}" for number in range(kind.many)]


def with_password() -> dict[str, str]:
    """The vault: every md5 role that can log in today."""
    out = ("shelf", "expired", "keyless", "modern")
    return {name: password(name) for kind in KINDS if kind.prefix not in out for name in names(kind)}


def clients() -> list[dict[str, t.Any]]:
    """Everybody who tries to log in, those who cannot among them."""
    found = []
    for kind in KINDS:
        for name in names(kind):
            database = name if name in DATABASES else "postgres"
            found.append({"user": name, "password": password(name), "database": database, "replication": kind.replication})
    return found


def sql() -> str:
    """Roles and databases."""
    lines = ["\\set ON_ERROR_STOP 1", *(f"create role {group};" for group in GROUPS), "grant staff to team;"]
    for kind in KINDS:
        if kind.stored:
            lines.append(f"set password_encryption = '{kind.stored}';")
        for name in names(kind):
            lines.append(f"create role {name} {kind.options}" + (f" password '{password(name)}'" if kind.stored else "") + ";")
    return "\n".join([*lines, *(f"create database {name} owner {name};" for name in DATABASES)]) + "\n"


if __name__ == "__main__":
    print({"sql": sql, "clients": lambda: json.dumps(clients()), "vault": lambda: json.dumps(with_password())}[sys.argv[1]]())
