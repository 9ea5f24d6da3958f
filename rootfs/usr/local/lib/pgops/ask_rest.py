# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health check's question to Patroni's REST API: `ask_rest.py watch.json`. Exit status 0 and the role, or 1 and the reason.

HTTP by hand, since the check has its own time limit: the library's modules take as long to load as all the rest.
"""

import json
import socket
import sys
import time

STORE_SECONDS = 30
"""A member that has heard nothing of its store for longer is told to be without; it looks every 10 s (loop_wait)."""
TIMEOUT_SECONDS = 1.0

with open(sys.argv[1], encoding="utf-8") as file:
    told = json.load(file)
scheme, where = told["url"].split("://", 1)
host, _colon, port = where.rpartition(":")


def connected() -> socket.socket:
    """A connection to our own process, on our own loopback: the certificate names other names than this one."""
    plain = socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_SECONDS)
    if scheme != "https":
        return plain
    import ssl  # noqa: PLC0415 - takes time

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if told["ctl"]["certfile"]:
        context.load_cert_chain(told["ctl"]["certfile"], told["ctl"]["keyfile"] or None, told["ctl"]["keyfile_password"] or None)
    return context.wrap_socket(plain)


def get(path: str) -> tuple[int, bytes]:
    """Status and body. Raises OSError, ValueError."""
    with connected() as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    if not answer:
        raise ConnectionError("it closes connections without an answer, as it does while its store is away")
    head, _empty, body = answer.partition(b"\r\n\r\n")
    return int(head.split(None, 2)[1]), body


try:
    status, body = get("/health")
    found = json.loads(body)
    role, state = found.get("role"), found.get("state")
    if status == 200 and role in ("primary", "master"):
        # Also without it the server answers: while a new cluster's users are made, and when this member is about to be demoted.
        status, _unused = get("/leader")
        state = state if status == 200 else f"{state}, without the leader lock"
    if found.get("failsafe_mode_is_active"):
        state = f"{state}; the store is away, failsafe mode"
    elif time.time() - found.get("dcs_last_seen", time.time()) > STORE_SECONDS:
        state = f"{state}; the store is away"
except (OSError, ValueError, IndexError) as error:
    sys.exit(f"rest: Patroni does not answer: {error or type(error).__name__}")
sys.stdout.write(f"{role}, {state}\n" if status == 200 else f"rest: {role}, {state}\n")
sys.exit(0 if status == 200 else 1)
