# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PostgreSQL wire protocol, as much as the oracles need.

libpq cannot choose the client's source address, cannot leave out the database name, and insists on a text encoding. The
tests need all three, so they speak protocol 3.0 themselves: startup, the four password exchanges, simple queries.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import ssl
import struct
import typing as t
from collections.abc import Iterator

SSL_REQUEST = 80877103
PROTOCOL_3 = 3 << 16
TIMEOUT = 20.0


class WireError(Exception):
    """The server ended the conversation without an answer that the protocol knows (it crashed, or it is not PostgreSQL)."""


class Answer(t.NamedTuple):
    """What one connection attempt came to."""

    asked: str
    """What the server asked for: ``nothing``, ``cleartext``, ``md5``, ``sasl``, or ``error`` when it refused before asking."""
    sqlstate: str | None
    """The refusal's SQLSTATE; None when the attempt got in."""
    message: str


class Query(t.NamedTuple):
    """A finished simple query: rows of raw column bytes (None is NULL), or an error."""

    rows: list[list[bytes | None]]
    sqlstate: str | None
    message: str


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


TLS = _context()


@contextlib.contextmanager
def acting_as(uid: int | None) -> Iterator[None]:
    """Have the effective user id ``uid`` (root only): what the kernel tells a server about its peer, and what files it may read."""
    if uid is None or uid == os.geteuid():
        yield
        return
    before = os.geteuid()
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(before)


class Connection:
    """One connection to a server, from ``connect`` to ``close``."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""

    @classmethod
    def open(
        cls,
        socket_path: str | None = None,
        address: tuple[str, int] | None = None,
        source: str | None = None,
        tls: bool = False,
        uid: int | None = None,
    ) -> Connection:
        """Connect over the Unix socket or to an address, from a source address, as another user; with TLS when asked."""
        if socket_path is not None:
            sock = socket.socket(socket.AF_UNIX)
            target: t.Any = socket_path
        else:
            assert address is not None
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            sock = socket.socket(family)
            target = address
            if source is not None:
                sock.bind((source, 0))
        try:
            sock.settimeout(TIMEOUT)
            with acting_as(uid):
                sock.connect(target)
            if socket_path is None:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else delayed acknowledgements cost 40 ms each
            connection = cls(sock)
            if tls:
                connection.start_tls()
        except BaseException:
            sock.close()
            raise
        return connection

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask_for_tls(self) -> bytes:
        """Send an SSLRequest and return the one-byte answer: ``S`` or ``N``."""
        self.sock.sendall(struct.pack("!ii", 8, SSL_REQUEST))
        return self._exactly(1)

    def start_tls(self) -> None:
        if self.ask_for_tls() != b"S":
            raise WireError("the server has no TLS")
        self.sock = TLS.wrap_socket(self.sock)

    def _exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            try:
                more = self.sock.recv(65536)
            except (ConnectionError, ssl.SSLError) as error:
                raise WireError(f"connection lost: {error}") from error
            if not more:
                raise WireError("the server closed the connection")
            self.buffer += more
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def receive(self) -> tuple[bytes, bytes]:
        """One message: its type byte and its body."""
        kind = self._exactly(1)
        (length,) = struct.unpack("!i", self._exactly(4))
        return kind, self._exactly(length - 4)

    def send(self, kind: bytes, body: bytes) -> None:
        try:
            self.sock.sendall(kind + struct.pack("!i", len(body) + 4) + body)
        except (ConnectionError, ssl.SSLError) as error:
            raise WireError(f"connection lost: {error}") from error

    def startup(self, user: bytes, database: bytes | None, replication: str | None = None) -> None:
        items = [b"user", user]
        if database is not None:
            items += [b"database", database]
        if replication is not None:
            items += [b"replication", replication.encode()]
        body = struct.pack("!i", PROTOCOL_3) + b"\0".join(items) + b"\0\0"
        self.send(b"", body)

    def log_in(self, user: bytes, database: bytes | None, replication: str | None = None, password: bytes = b"wrong") -> Answer:
        """Start up and answer whatever is asked with ``password``; cleartext only is ever meant to be right."""
        self.startup(user, database, replication)
        asked = "error"
        while True:
            kind, body = self.receive()
            if kind == b"E":
                fields = error_fields(body)
                return Answer(asked, fields.get("C", ""), fields.get("M", ""))
            if kind == b"Z":
                return Answer(asked, None, "")
            if kind == b"R":
                (code,) = struct.unpack("!i", body[:4])
                asked = self._answer(code, body[4:], asked, password)

    def _answer(self, code: int, body: bytes, asked: str, password: bytes) -> str:
        if code == 0:
            return "nothing" if asked == "error" else asked
        if code == 3:
            self.send(b"p", password + b"\0")
            return "cleartext"
        if code == 5:
            self.send(b"p", b"md5" + b"0" * 32 + b"\0")
            return "md5"
        if code == 10:
            mechanism = body.split(b"\0")[0]
            if mechanism == b"SCRAM-SHA-256-PLUS":
                mechanism = b"SCRAM-SHA-256"
            first = b"n,,n=,r=pgopsdifferential"
            self.send(b"p", mechanism + b"\0" + struct.pack("!i", len(first)) + first)
            return "sasl"
        if code == 11:
            nonce = body.split(b",")[0][2:]
            self.send(b"p", b"c=biws,r=" + nonce + b",p=" + base64.b64encode(bytes(32)))
            return asked
        if code == 12:
            return asked
        raise WireError(f"authentication request {code} is not known here")

    def query(self, sql: bytes) -> Query:
        """A simple query; raises :class:`WireError` when the server dies of it."""
        self.send(b"Q", sql + b"\0")
        rows: list[list[bytes | None]] = []
        sqlstate, message = None, ""
        while True:
            kind, body = self.receive()
            if kind == b"D":
                rows.append(data_row(body))
            elif kind == b"E":
                fields = error_fields(body)
                sqlstate, message = fields.get("C", ""), fields.get("M", "")
                if fields.get("S") in ("FATAL", "PANIC"):
                    raise WireError(message)
            elif kind == b"Z":
                return Query(rows, sqlstate, message)


def data_row(body: bytes) -> list[bytes | None]:
    """The columns of a DataRow message."""
    (count,) = struct.unpack("!h", body[:2])
    offset, columns = 2, []
    for _ in range(count):
        (length,) = struct.unpack("!i", body[offset : offset + 4])
        offset += 4
        columns.append(None if length < 0 else body[offset : offset + length])
        offset += max(length, 0)
    return columns


def error_fields(body: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse: S severity, C SQLSTATE, M message, D detail, …"""
    parts = body.split(b"\0")
    return {chr(part[0]): part[1:].decode("utf-8", "surrogateescape") for part in parts if part}
