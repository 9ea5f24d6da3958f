# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exporter's way into the server: one rule, one role. Runs inside the server's container, whose engine and store it uses.

    python -I -c SCRIPT present|absent SUPERUSER < PASSWORD

The rule is a section of its own: TLS, this role, database postgres, from the container's own networks. The role may read statistics
(pg_monitor) and nothing else. A real login over the network decides whether anything has to be done for the role, and whether it was done.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time

sys.path.insert(0, "/usr/local/lib")

import psycopg2
import psycopg2.extensions
from pgops._hba import plan, spec
from pgops._hba.model import Server
from pgops._store import file

ROLE = "pgops_exporter"
SECTION = "pgops-exporter"
RULE = {
    "type": "hostssl", "databases": ["postgres"], "users": [ROLE], "address": "samenet", "method": "scram-sha-256",
    "comment": "metrics (role pg_node)",
}  # fmt: skip
PATIENCE = 5.0


def change_rule(cursor: psycopg2.extensions.cursor, state: str) -> bool:
    """Write or remove the section and have it loaded; whether the file changed."""
    cursor.execute("SELECT current_setting('hba_file'), current_setting('server_version_num')::int / 10000")
    path, major = cursor.fetchone()
    server = Server(major, ssl=True)
    if state == "present":
        request = plan.Request((spec.spec_from_dict(RULE, server),), section=SECTION, position="first")
    else:
        request = plan.Request(state="absent", section=SECTION)
    written = file.update(path, plan.planner(request, server)).written
    if written:
        cursor.execute("SELECT pg_reload_conf()")
    return bool(written)


def login(password: str) -> str:
    """Log in as the exporter does; what is missing, empty when it may and sees statistics."""
    try:
        connection = psycopg2.connect(
            host=socket.gethostname(), user=ROLE, password=password, dbname="postgres", sslmode="require", connect_timeout=5
        )
    except psycopg2.OperationalError as error:
        return str(error).strip()
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT pg_has_role('pg_monitor', 'USAGE')")
        return "" if cursor.fetchone()[0] else f"{ROLE} is no member of pg_monitor"


def settled_login(password: str) -> str:
    """`login`, once a reload has had its time."""
    deadline = time.monotonic() + PATIENCE
    while (missing := login(password)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return missing


def make_role(connection: psycopg2.extensions.connection, cursor: psycopg2.extensions.cursor, password: str) -> None:
    """Make the role, or give it what it lacks. The server gets a verifier and never the password."""
    verifier = psycopg2.extensions.encrypt_password(password, ROLE, connection, "scram-sha-256")
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,))
    verb = "ALTER" if cursor.fetchone() else "CREATE"
    cursor.execute(f"{verb} ROLE {ROLE} LOGIN CONNECTION LIMIT 5 PASSWORD %s", (verifier,))
    cursor.execute(f"ALTER ROLE {ROLE} SET statement_timeout = '10s'")
    cursor.execute(f"GRANT pg_monitor TO {ROLE}")


def drop_role(cursor: psycopg2.extensions.cursor) -> bool:
    """Drop the role; whether it was there."""
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,))
    there = cursor.fetchone() is not None
    cursor.execute(f"DROP ROLE IF EXISTS {ROLE}")
    return there


def main(state: str, superuser: str, password: str) -> int:
    """Do it; print whether anything changed."""
    connection = psycopg2.connect(host="/run/postgresql", user=superuser, dbname="postgres")
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        changed = change_rule(cursor, state)
        if state == "absent":
            changed = drop_role(cursor) or changed
        elif settled_login(password) if changed else login(password):
            make_role(connection, cursor, password)
            changed = True
            if missing := login(password):
                print(f"the exporter's role is made and its rule is loaded, but it cannot log in: {missing}", file=sys.stderr)
                return 1
    print(json.dumps({"changed": changed}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.stdin.read().strip("\r\n")))
