# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of the environment that try to become rules: each is refused before anything is made, or is a name and nothing else."""

from __future__ import annotations

import pytest

RULE = "host all all 0.0.0.0/0 trust"
REFUSED = [
    ("EXTERNAL_ACCESS_DATABASES", f"all\n{RULE}"),
    ("EXTERNAL_ACCESS_USERS", f"app\r{RULE}"),
    ("EXTERNAL_ACCESS_USERS", f'"app" all 0.0.0.0/0 trust\n{RULE}'),
    ("EXTERNAL_ACCESS_ADDRESSES", "10.0.0.0/8 trust #"),
    ("EXTERNAL_ACCESS_ADDRESSES", "@/etc/passwd"),
    ("EXTERNAL_ACCESS_ADDRESSES", "0.0.0.0/0\\"),
    ("EXTERNAL_ACCESS_OPTIONS", f"clientcert=verify-full\n{RULE}"),
    ("EXTERNAL_ACCESS_USERS", 'a"b'),
    ("PGDATA", f"/var/lib/postgresql/data\n{RULE}"),
    ("POSTGRES_DB", f"app\n{RULE}"),
]
TAKEN_AS_NAMES = {
    "EXTERNAL_ACCESS_DATABASES": '"include","@/etc/passwd","a # b","x"" y"',
    "EXTERNAL_ACCESS_USERS": '"include_if_exists /etc/passwd","@/etc/passwd","/^.*$","all","+all","tab	less"',
    "EXTERNAL_ACCESS_METHOD": "trust # md5,include /etc/passwd,scram-sha-256",
    "POSTGRES_USER": 'robert\'); DROP ROLE "x" --',
}


@pytest.mark.parametrize(("variable", "value"), REFUSED)
def test_refused_before_anything_is_made(launch, variable: str, value: str) -> None:  # type: ignore[no-untyped-def]
    server = launch(environment={variable: value})
    assert server.wait() == 78
    assert server.last()["level"] == "error"
    assert variable in server.last()["message"]


def test_taken_as_names_and_nothing_else(launch) -> None:  # type: ignore[no-untyped-def]
    """The server itself says what it read; a tab in a name is refused, so it is left out here."""
    users = TAKEN_AS_NAMES["EXTERNAL_ACCESS_USERS"].rsplit(",", 1)[0]
    server = launch(environment={**TAKEN_AS_NAMES, "EXTERNAL_ACCESS_USERS": users}).healthy()
    query = "SELECT type, database, user_name, auth_method, error FROM pg_hba_file_rules WHERE address IN ('0.0.0.0', '::')"
    read = server.run("psql", "-XAtqU", TAKEN_AS_NAMES["POSTGRES_USER"], "-d", "postgres", "-c", query).stdout.splitlines()
    names = '{include,@/etc/passwd,"a # b","x\\" y"}'
    roles = '{"include_if_exists /etc/passwd",@/etc/passwd,/^.*$,all,+all}'
    assert read == [f"host|{names}|{roles}|scram-sha-256|"] * 2
    everything = "SELECT count(*) FILTER (WHERE error IS NOT NULL OR auth_method = 'trust') FROM pg_hba_file_rules"
    assert server.run("psql", "-XAtqU", TAKEN_AS_NAMES["POSTGRES_USER"], "-d", "postgres", "-c", everything).stdout == "0\n"
