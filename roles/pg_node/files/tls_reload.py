# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server presents the certificate that is mounted now: reloaded where it does not, never restarted. Runs inside its container.

    python -I -c SCRIPT reload|look SUPERUSER

Another certificate shows when one connects. Another key or authority does not, so files that changed after the server last read its
configuration count as well; the time of change (ctime) cannot be set, as that of modification can.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import signal
import socket
import ssl
import sys
import time

import psycopg2
import psycopg2.extensions

MOUNTED = "/etc/pgops/tls"
CERTIFICATE = f"{MOUNTED}/tls.crt"
AUTHORITY = f"{MOUNTED}/ca.crt"
SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
PATIENCE = 15.0
"""Seconds until the server has read its configuration."""
SETTLING = 2.0
"""Seconds from then until a new connection meets the certificate."""


def mounted() -> bytes:
    """The first certificate of the file, which is the server's own; as DER."""
    with open(CERTIFICATE, encoding="ascii", errors="replace") as file:
        text = file.read()
    begin, end = text.find("-----BEGIN CERTIFICATE-----"), text.find("-----END CERTIFICATE-----")
    if not 0 <= begin < end:
        raise ValueError("holds no certificate in PEM form")
    return ssl.PEM_cert_to_DER_cert(text[begin:end] + "-----END CERTIFICATE-----\n")


def served(port: int) -> bytes:
    """What the server shows to a client now; empty where it shows none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        plain.sendall(SSL_REQUEST)
        if plain.recv(1) != b"S":
            return b""
        with context.wrap_socket(plain) as wrapped:
            return wrapped.getpeercert(binary_form=True) or b""


def changed_after(loaded: datetime.datetime) -> bool:
    """Whether a mounted file changed after that moment."""
    names = [f"{MOUNTED}/{name}" for name in ("tls.crt", "tls.key", "ca.crt")]
    return any(os.stat(name).st_ctime > loaded.timestamp() for name in names if os.path.exists(name))


def ask(cursor: psycopg2.extensions.cursor) -> tuple[datetime.datetime, int, str]:
    """When the configuration was loaded, the port, and the file of the authority."""
    cursor.execute("SELECT pg_conf_load_time(), current_setting('port')::int, current_setting('ssl_ca_file')")
    loaded, port, authority = cursor.fetchone()
    return loaded, port, authority


def reload(cursor: psycopg2.extensions.cursor, before: datetime.datetime, port: int, wanted: bytes) -> bool:
    """Have the files read again; whether the server then presents `wanted`."""
    os.kill(1, signal.SIGHUP)
    deadline = time.monotonic() + PATIENCE
    while ask(cursor)[0] <= before and time.monotonic() < deadline:
        time.sleep(0.1)
    deadline = time.monotonic() + SETTLING
    while served(port) != wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def said(certificate: bytes) -> str:
    """A certificate, for people: what `openssl x509 -fingerprint -sha256` prints."""
    return hashlib.sha256(certificate).hexdigest().upper() if certificate else "none"


def main(task: str, superuser: str) -> int:
    """Look, and reload where it has to be; print what came of it."""
    try:
        wanted = mounted()
    except (OSError, ValueError) as error:
        print(f"{CERTIFICATE}: {error}", file=sys.stderr)
        return 1
    connection = psycopg2.connect(host="/run/postgresql", user=superuser, dbname="postgres")
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        loaded, port, authority = ask(cursor)
        before = served(port)
        needed = before != wanted or changed_after(loaded)
        if needed and task == "reload" and not reload(cursor, loaded, port, wanted):
            print(
                f"the server was asked to reload, and presents the certificate {said(served(port))}, not the mounted one, {said(wanted)}. "
                "Its log says why: a key that does not belong to the certificate, say. Clients meet the old certificate meanwhile",
                file=sys.stderr,
            )
            return 1
    if os.path.exists(AUTHORITY) and not authority:
        print(f"{AUTHORITY} was not there when the server started; clients' certificates are checked after a restart", file=sys.stderr)
        return 1
    print(json.dumps({"changed": needed, "before": said(before), "mounted": said(wanted)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
