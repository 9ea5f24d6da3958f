# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCRAM-SHA-256 against the example of RFC 7677, MD5 against a hash made by OpenSSL, SASLprep against the examples of RFC 4013."""

from __future__ import annotations

import contextlib

import pytest
from ansible_collections.pgops.access.plugins.module_utils._server import scram
from ansible_collections.pgops.access.plugins.module_utils._server.errors import ProtocolError
from hypothesis import given
from hypothesis import strategies as st

NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def exchange() -> scram.Scram:
    """RFC 7677, section 3; its client names the user in n=, where PostgreSQL's clients leave it empty."""
    one = scram.Scram("pencil", NONCE)
    assert one.first() == b"n,,n=,r=" + NONCE.encode()
    one._bare = b"n=user,r=" + NONCE.encode()
    return one


def test_the_example_of_rfc_7677() -> None:
    one = exchange()
    assert one.final(SERVER_FIRST) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert not one.verified
    one.verify(SERVER_FINAL)
    assert one.verified


def test_a_server_that_does_not_know_the_password() -> None:
    one = exchange()
    one.final(SERVER_FIRST)
    with pytest.raises(ProtocolError, match="did not prove"):
        one.verify(b"v=" + b"A" * 43 + b"=")
    assert not one.verified


def test_a_signature_before_the_exchange_is_none() -> None:
    with pytest.raises(ProtocolError, match="did not prove"):
        scram.Scram("pencil").verify(b"v=")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"r=other,s=QQ==,i=4096", "nonce"),
        (b"r=rOprNGfwEbeRWgbNEkqO,s=QQ==,i=4096", "nonce"),
        (b"r=rOprNGfwEbeRWgbNEkqOx,s=QQ==,i=0", "iterations"),
        (b"r=rOprNGfwEbeRWgbNEkqOx,s=QQ==,i=2147483647", "iterations"),
        (b"r=rOprNGfwEbeRWgbNEkqOx,s=QQ==,i=\xc2\xb2", "iterations"),
        (b"r=rOprNGfwEbeRWgbNEkqOx,s=!!,i=4096", "base64"),
        (b"", "nonce"),
    ],
)
def test_what_a_server_may_not_send(message: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        scram.Scram("pencil", NONCE).final(message)


def test_two_exchanges_have_two_nonces() -> None:
    assert scram.Scram("x").first() != scram.Scram("x").first()


def test_md5() -> None:
    """printf %s pencilapp | openssl md5 → 06d7…; printf '%s\\1\\2\\3\\4' that | openssl md5 → the answer."""
    assert scram.md5_answer("app", "pencil", b"\1\2\3\4") == b"md54bfca4ca571b8df74c2fc2247888d96f"


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("\u0627\u0031", "\u0627\u0031"),
        ("\u0627x", "\u0627x"),
        ("e\u0007\u00e9", "e\u0007\u00e9"),
        ("\u00ad", "\u00ad"),
    ],
    ids=["mapped to nothing", "ascii", "case kept", "nfkc", "roman nine", "space", "bidi refused", "bidi mixed", "control", "nothing left"],
)
def test_saslprep(password: str, prepared: str) -> None:
    """RFC 4013, section 3; where it prohibits, PostgreSQL takes the bytes as they are."""
    assert scram.saslprep(password) == prepared.encode()


@given(st.text(max_size=30), st.binary(max_size=100))
def test_any_password_and_any_server(password: str, message: bytes) -> None:
    one = scram.Scram(password, NONCE)
    with contextlib.suppress(ProtocolError):
        one.final(message)
    with contextlib.suppress(ProtocolError):
        one.verify(message)
    assert not one.verified
