# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""PostgreSQL's frontend/backend protocol 3.0, the part that a login needs: bytes in, values out, no I/O.

Source: PostgreSQL documentation, "Frontend/Backend Protocol" (message formats), and ``src/include/libpq/pqcomm.h``
and ``protocol.h`` for the numbers.
"""

from __future__ import annotations

import struct
import typing as t

from .errors import ProtocolError

PROTOCOL_3_0 = 196608
SSL_REQUEST_CODE = 80877103
GSSENC_REQUEST_CODE = 80877104

MAX_MESSAGE = 1 << 20
"""Bytes; nothing that a login or our one-row query receives is near it, so more is another protocol or an attack."""
MAX_ERROR = 30000
"""Bytes; libpq's MAX_ERRLEN: an 'E' whose length field lies outside 8 … 30000 is an error in protocol 2 style (plain text)."""


class Message(t.NamedTuple):
    """One backend message: its type byte and its body without type and length."""

    type: bytes
    body: bytes


class AuthRequest(t.NamedTuple):
    """What an Authentication message asks for."""

    code: int
    name: str
    """``ok``, ``password`` (cleartext), ``md5``, ``gss``, ``gss-continue``, ``sspi``, ``sasl``, ``sasl-continue``, ``sasl-final``,
    or ``unknown-N``."""
    data: bytes = b""
    """The salt for md5, the server's part of the exchange for the SASL steps."""
    mechanisms: tuple[str, ...] = ()
    """For ``sasl``: what the server offers, in its order of preference."""


class ServerMessage(t.NamedTuple):
    """An ErrorResponse or NoticeResponse."""

    severity: str
    """Never translated where the server is 9.6 or later."""
    sqlstate: str
    message: str
    detail: str = ""
    hint: str = ""
    routine: str = ""
    """The server's C function: says what a translated message does not."""


_AUTH_NAMES = {0: "ok", 3: "password", 5: "md5", 7: "gss", 8: "gss-continue", 9: "sspi", 10: "sasl", 11: "sasl-continue", 12: "sasl-final"}


def ssl_request() -> bytes:
    """SSLRequest: answered by one byte, ``S`` or ``N`` (or an error from something that is no server)."""
    return struct.pack("!ii", 8, SSL_REQUEST_CODE)


def gssenc_request() -> bytes:
    """GSSENCRequest: answered by one byte, ``G`` or ``N``."""
    return struct.pack("!ii", 8, GSSENC_REQUEST_CODE)


def startup_packet(parameters: t.Mapping[str, str]) -> bytes:
    """StartupMessage. Names and values must hold no NUL: :class:`ProtocolError` otherwise, for the rest would be read as parameters."""
    body = struct.pack("!i", PROTOCOL_3_0)
    for name, value in parameters.items():
        body += c_string(name) + c_string(value)
    body += b"\0"
    return struct.pack("!i", len(body) + 4) + body


def c_string(text: str) -> bytes:
    """Text as a NUL-terminated string of the protocol."""
    raw = text.encode("utf-8", "surrogateescape")
    if b"\0" in raw:
        raise ProtocolError("a NUL character cannot be sent to a server")
    return raw + b"\0"


def frame(kind: bytes, body: bytes) -> bytes:
    """A frontend message: type, length (which counts itself), body."""
    return kind + struct.pack("!i", len(body) + 4) + body


def password_message(secret: bytes) -> bytes:
    """PasswordMessage with a cleartext password or an md5 answer."""
    return frame(b"p", secret + b"\0")


def sasl_initial_response(mechanism: str, data: bytes) -> bytes:
    """SASLInitialResponse: the chosen mechanism and the client's first message."""
    return frame(b"p", c_string(mechanism) + struct.pack("!i", len(data)) + data)


def sasl_response(data: bytes) -> bytes:
    """SASLResponse: every later client message."""
    return frame(b"p", data)


def query(sql: str) -> bytes:
    """A simple query."""
    return frame(b"Q", c_string(sql))


def terminate() -> bytes:
    """The polite end of a session."""
    return frame(b"X", b"")


def body_length(header: bytes) -> int:
    """Bytes that follow a five byte header; :class:`ProtocolError` when no server would have sent it."""
    (length,) = struct.unpack("!i", header[1:5])
    if not 4 <= length <= MAX_MESSAGE:
        raise ProtocolError(f"the answer is not PostgreSQL's protocol: it begins with {printable(header)}")
    return int(length) - 4


def is_plain_error(header: bytes) -> bool:
    """True for an error in protocol 2 style, which a postmaster that cannot fork sends: ``E``, text, NUL, no length."""
    return header[:1] == b"E" and not 8 <= struct.unpack("!i", header[1:5])[0] <= MAX_ERROR


def authentication(body: bytes) -> AuthRequest:
    """The body of an ``R`` message."""
    if len(body) < 4:
        raise ProtocolError("an authentication request is cut short")
    (code,) = struct.unpack("!i", body[:4])
    name = _AUTH_NAMES.get(code, f"unknown-{code}")
    data = body[4:]
    if name == "md5" and len(data) != 4:
        raise ProtocolError("an md5 request without its four bytes of salt")
    mechanisms: tuple[str, ...] = ()
    if name == "sasl":
        mechanisms = tuple(part.decode("ascii", "replace") for part in data.split(b"\0") if part)
    return AuthRequest(code, name, data, mechanisms)


def server_message(body: bytes) -> ServerMessage:
    """The body of an ``E`` or ``N`` message: fields of one type byte and a string; unknown ones are skipped, as the protocol asks."""
    fields: dict[str, str] = {}
    for part in body.split(b"\0"):
        if part:
            fields[part[:1].decode("latin-1")] = text(part[1:])
    return ServerMessage(
        severity=fields.get("V", fields.get("S", "")),
        sqlstate=fields.get("C", ""),
        message=fields.get("M", ""),
        detail=fields.get("D", ""),
        hint=fields.get("H", ""),
        routine=fields.get("R", ""),
    )


def parameter_status(body: bytes) -> tuple[str, str]:
    """The body of an ``S`` message: name and value."""
    name, found, rest = body.partition(b"\0")
    if not found:
        raise ProtocolError("a parameter without a value")
    return text(name), text(rest.partition(b"\0")[0])


def data_row(body: bytes) -> tuple[str | None, ...]:
    """The body of a ``D`` message in text format: one value a column, None for NULL."""
    try:
        (count,) = struct.unpack_from("!h", body)
        position = 2
        values: list[str | None] = []
        for _column in range(count):
            (length,) = struct.unpack_from("!i", body, position)
            position += 4
            values.append(None if length < 0 else text(body[position : position + length]))
            position += max(length, 0)
    except struct.error as error:
        raise ProtocolError("a row is cut short") from error
    return tuple(values)


def text(raw: bytes) -> str:
    """Server text for people: UTF-8 where it is, otherwise Latin-1 (before login the server's encoding is unknown)."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def printable(raw: bytes) -> str:
    """The first bytes of something unexpected, safe to show."""
    return repr(raw[:20])[1:]
