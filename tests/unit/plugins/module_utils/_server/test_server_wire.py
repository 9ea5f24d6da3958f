# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Protocol 3.0: what is built is what the documentation draws, and no bytes of a stranger do more than raise ProtocolError."""

from __future__ import annotations

import contextlib
import struct

import pytest
from ansible_collections.pgops.access.plugins.module_utils._server import wire
from ansible_collections.pgops.access.plugins.module_utils._server.errors import ProtocolError
from hypothesis import given
from hypothesis import strategies as st


def test_requests_for_encryption() -> None:
    assert wire.ssl_request() == bytes([0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2F])
    assert wire.gssenc_request() == bytes([0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x30])


def test_startup_packet() -> None:
    packet = wire.startup_packet({"user": "zoë", "database": "d"})
    assert packet == struct.pack("!i", 30) + b"\0\x03\0\0" + b"user\0zo\xc3\xab\0database\0d\0\0"
    assert len(packet) == 30


@pytest.mark.parametrize("value", ["a\0database\0other", "\0"])
def test_a_value_cannot_smuggle_in_parameters(value: str) -> None:
    with pytest.raises(ProtocolError, match="NUL"):
        wire.startup_packet({"user": value})


def test_names_that_are_not_utf8_go_out_as_they_came_in() -> None:
    assert b"user\0\xff\xe9\0" in wire.startup_packet({"user": b"\xff\xe9".decode("utf-8", "surrogateescape")})


def test_messages_of_the_client() -> None:
    assert wire.password_message(b"pw") == b"p\0\0\0\x07pw\0"
    assert wire.sasl_initial_response("M", b"abc") == b"p\0\0\0\x0dM\0\0\0\0\x03abc"
    assert wire.sasl_response(b"abc") == b"p\0\0\0\x07abc"
    assert wire.query("X") == b"Q\0\0\0\x06X\0"
    assert wire.terminate() == b"X\0\0\0\x04"


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"\0\0\0\0", "ok"),
        (b"\0\0\0\x03", "password"),
        (b"\0\0\0\x05salt", "md5"),
        (b"\0\0\0\x07", "gss"),
        (b"\0\0\0\x09", "sspi"),
        (b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", "sasl"),
        (b"\0\0\0\x0br=1", "sasl-continue"),
        (b"\0\0\0\x0cv=1", "sasl-final"),
        (b"\0\0\0\x63", "unknown-99"),
    ],
)
def test_authentication_requests(body: bytes, name: str) -> None:
    request = wire.authentication(body)
    assert request.name == name
    assert request.mechanisms == (("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256") if name == "sasl" else ())


def test_an_error_of_a_server_in_another_language() -> None:
    """As PostgreSQL 15.18 sent it, with LANGUAGE=de, for a reject rule."""
    body = (
        b"SFATAL\0VFATAL\0C28000\0"
        b"Mpg_hba.conf lehnt Verbindung ab f\xc3\xbcr Host \xc2\xbb127.0.0.1\xc2\xab\0"
        b"Fauth.c\0L480\0RClientAuthentication\0\0"
    )
    message = wire.server_message(body)
    assert (message.severity, message.sqlstate, message.routine) == ("FATAL", "28000", "ClientAuthentication")
    assert message.message == "pg_hba.conf lehnt Verbindung ab für Host »127.0.0.1«"
    assert wire.server_message(b"SFATAL\0Mf\xfcr\0\0").message == "für", "before the login the server's encoding may be anything"


def test_rows_and_parameters() -> None:
    assert wire.data_row(b"\0\x03" + b"\0\0\0\x02ab" + b"\xff\xff\xff\xff" + b"\0\0\0\0") == ("ab", None, "")
    assert wire.parameter_status(b"server_version\x0016.2\0") == ("server_version", "16.2")


@pytest.mark.parametrize(("header", "plain"), [(b"E\0\0\0\x50", False), (b"Ecoul", True), (b"E\0\0\0\x07", True), (b"Rcoul", False)])
def test_errors_of_protocol_2(header: bytes, plain: bool) -> None:
    assert wire.is_plain_error(header) is plain


@pytest.mark.parametrize("header", [b"HTTP/", b"SSH-2", b"R\0\0\0\x03", b"R\xff\xff\xff\xff"])
def test_lengths_that_no_server_sends(header: bytes) -> None:
    with pytest.raises(ProtocolError, match="not PostgreSQL"):
        wire.body_length(header)


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    for parse in (wire.authentication, wire.parameter_status, wire.data_row):
        with contextlib.suppress(ProtocolError):
            parse(body)  # type: ignore[operator]
    wire.server_message(body)
    with contextlib.suppress(ProtocolError):
        wire.body_length(body[:5].ljust(5, b"\0"))
