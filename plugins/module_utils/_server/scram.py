# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""What a client answers to a password request: MD5, SCRAM-SHA-256 (RFC 5802, RFC 7677) and SASLprep (RFC 4013). No I/O.

A conversation of our own, and not libpq's, because libpq tells neither what the server asked for nor lets a caller choose the
source address. The server's signature is checked: a server that does not know the password is told apart from a real one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import stringprep
import unicodedata

from .errors import ProtocolError

MECHANISM = "SCRAM-SHA-256"
MAX_ITERATIONS = 2_000_000
"""About a second of work. PostgreSQL's default is 4,096; a hostile server may ask for 2^31."""


def md5_answer(user: str, password: str, salt: bytes) -> bytes:
    """``md5`` + md5(md5(password + user) + salt), in hexadecimal (src/common/md5_common.c, pg_md5_encrypt)."""
    inner = hashlib.md5(_bytes(password) + _bytes(user), usedforsecurity=False).hexdigest().encode("ascii")
    return b"md5" + hashlib.md5(inner + salt, usedforsecurity=False).hexdigest().encode("ascii")


class Scram:
    """One SCRAM-SHA-256 exchange, without channel binding: ``first()``, ``final(server_first)``, ``verify(server_final)``."""

    def __init__(self, password: str, nonce: str | None = None) -> None:
        self._password = saslprep(password)
        self._nonce = nonce or base64.b64encode(secrets.token_bytes(18)).decode("ascii")
        self._bare = f"n=,r={self._nonce}".encode("ascii")  # PostgreSQL takes the user from the startup packet and ignores n=
        self._signature = b""
        self.verified = False

    def first(self) -> bytes:
        """The client-first-message; ``n``: this client does not do channel binding."""
        return b"n,," + self._bare

    def final(self, server_first: bytes) -> bytes:
        """The client-final-message with the proof. :class:`ProtocolError` when the server's part is malformed or not for this exchange."""
        fields = _attributes(server_first)
        nonce, iterations = fields.get("r", ""), fields.get("i", "")
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ProtocolError("the server's SCRAM nonce does not extend ours")
        if len(iterations) > 7 or not iterations.isdecimal() or not 1 <= int(iterations) <= MAX_ITERATIONS:
            raise ProtocolError(f"the server asks for {iterations[:20]!r} SCRAM iterations; 1 to {MAX_ITERATIONS} are accepted")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, _base64(fields.get("s", "")), int(iterations))
        client_key = _hmac(salted, b"Client Key")
        without_proof = f"c=biws,r={nonce}".encode()
        auth_message = self._bare + b"," + server_first + b"," + without_proof
        client_signature = _hmac(hashlib.sha256(client_key).digest(), auth_message)
        proof = bytes(a ^ b for a, b in zip(client_key, client_signature))
        self._signature = _hmac(_hmac(salted, b"Server Key"), auth_message)
        return without_proof + b",p=" + base64.b64encode(proof)

    def verify(self, server_final: bytes) -> None:
        """Checks the server's own proof; :class:`ProtocolError` when it does not know the password's verifier."""
        signature = _base64(_attributes(server_final).get("v", ""))
        if not self._signature or not hmac.compare_digest(signature, self._signature):
            raise ProtocolError("the server did not prove that it knows the password: it is not the server that it claims to be")
        self.verified = True


def saslprep(password: str) -> bytes:
    """The password as PostgreSQL hashes it: SASLprep where that is possible, else the bytes as they are (pg_saslprep's rule)."""
    raw = _bytes(password)
    if password.isascii():
        return raw
    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in password if not stringprep.in_table_b1(c))
    prepared = unicodedata.normalize("NFKC", mapped)
    if not prepared or any(_prohibited(c) for c in prepared) or not _bidi_is_sound(prepared):
        return raw
    return _bytes(prepared)


def _prohibited(character: str) -> bool:
    tables = (
        stringprep.in_table_a1,
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
    )
    return any(table(character) for table in tables)


def _bidi_is_sound(text: str) -> bool:
    """RFC 3454, section 6: right-to-left text has no left-to-right character, and begins and ends with a right-to-left one."""
    if not any(stringprep.in_table_d1(c) for c in text):
        return True
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return ends and not any(stringprep.in_table_d2(c) for c in text)


def _attributes(message: bytes) -> dict[str, str]:
    parts = message.decode("utf-8", "replace").split(",")
    return {part[0]: part[2:] for part in parts if part[1:2] == "="}


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii", "replace"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolError("the server's SCRAM message is not valid base64") from error


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
