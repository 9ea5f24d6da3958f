# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each cell, from this host (psycopg2, through the published port) and from another container (psql, server's own addresses)."""

from __future__ import annotations

import shlex

import engine
import psycopg2
import pytest
from matrix import ADMITTED, CELLS, PASSWORDS, ROLES, Cell

FAMILIES = ["ipv4", "ipv6"]
CASES = [(role, password) for role in ROLES for password in PASSWORDS]


@pytest.fixture(params=CELLS, ids=lambda cell: cell.title)
def cell(request: pytest.FixtureRequest) -> Cell:
    return request.param


@pytest.mark.parametrize("family", FAMILIES)
def test_from_this_host(cell: Cell, family: str) -> None:
    seen = {}
    for role, password in CASES:
        expected = cell.expected(role, password)
        parameters = {
            "host": engine.published(cell.name)[family],
            "port": cell.port,
            "dbname": "app",
            "user": role,
            "password": password,
        }
        if expected in ADMITTED:
            # The client library refuses any other exchange, so success proves the method, not only the login.
            parameters["require_auth"] = expected
        try:
            with psycopg2.connect(**parameters, connect_timeout=30) as connection, connection.cursor() as cursor:
                cursor.execute("select session_user, family(inet_client_addr())")
                assert cursor.fetchone()[0] == role
            connection.close()
            seen[role, password] = expected if expected in ADMITTED else "admitted"
        except psycopg2.OperationalError as error:
            seen[role, password] = expected if expected in str(error) else str(error)
    assert seen == {case: cell.expected(*case) for case in CASES}


@pytest.mark.parametrize("family", FAMILIES)
def test_from_another_container(cell: Cell, family: str) -> None:
    host = engine.addresses(cell.name)[family]
    script = []
    for role, password in CASES:
        expected = cell.expected(role, password)
        dsn = f"host={host} port=5432 dbname=app user={role} password={password} connect_timeout=30"
        script.append(f"psql -XAtc 'select session_user, inet_client_addr(), {len(script)}' {shlex.quote(dsn)} 2>&1 | tr '\\n' ' '; echo")
    lines = engine.ask("exec", engine.CLIENT, "sh", "-c", "\n".join(script)).stdout.splitlines()
    own = engine.addresses(engine.CLIENT)[family]
    seen = {}
    for (role, password), line in zip(CASES, lines):
        expected = cell.expected(role, password)
        admitted = f"{role}|{own}|" in line
        seen[role, password] = expected if (admitted if expected in ADMITTED else expected in line and not admitted) else line
    assert seen == {case: cell.expected(*case) for case in CASES}
