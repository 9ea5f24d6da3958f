# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In a client's container: everybody logs in to every server, over and over, until it is told to stop. One JSON line a login."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import psycopg2

STOP, LOG = Path("/tmp/stop"), Path("/tmp/logins.jsonl")


def attempt(server: str, client: dict[str, str]) -> str:
    """Empty for a login that succeeds, else libpq's words."""
    more = {"replication": "true"} if client["replication"] else {"dbname": client["database"]}
    try:
        psycopg2.connect(
            host=server,
            user=client["user"],
            password=client["password"],
            sslmode="disable",
            connect_timeout=20,
            client_encoding="UTF8",
            **more,
        ).close()
    except psycopg2.Error as error:
        return " ".join(str(error).split()) or "?"
    return ""


def main() -> None:
    servers, clients = sys.argv[1].split(","), json.loads(Path("/tmp/clients.json").read_text())
    number = 0
    with LOG.open("w", buffering=1) as log:
        while not STOP.exists():
            for client in clients:
                for server in servers:
                    started = time.time()
                    reason = attempt(server, client)
                    log.write(json.dumps([number, started, time.time(), server, client["user"], reason]) + "\n")
                    if STOP.exists():
                        return
                    time.sleep(0.01 if number else 0)  # the first round is waited for; later ones leave the processors some time
            number += 1


if __name__ == "__main__":
    main()
