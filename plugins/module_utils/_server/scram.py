# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""What a client answers to a password request over the wire: one SCRAM-SHA-256 exchange, and MD5. No I/O; the arithmetic is _auth's.

A conversation of our own, and not libpq's, because libpq tells neither what the server asked for nor lets a caller choose the
source address. The server's signature is checked: a server that does not know the password is told apart from a real one.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets

from .._auth import scram as primitives
from .._auth.scram import MAX_ITERATIONS, md5_answer, saslprep
from .errors import ProtocolError

MECHANISM = "SCRAM-SHA-256"

__all__ = ["MAX_ITERATIONS", "MECHANISM", "Scram", "md5_answer", "saslprep"]


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
        keys = primitives.keys(self._password, _base64(fields.get("s", "")), int(iterations))
        without_proof = f"c=biws,r={nonce}".encode()
        auth_message = self._bare + b"," + server_first + b"," + without_proof
        client_signature = primitives.mac(keys.stored_key, auth_message)
        proof = bytes(a ^ b for a, b in zip(keys.client_key, client_signature))
        self._signature = primitives.mac(keys.server_key, auth_message)
        return without_proof + b",p=" + base64.b64encode(proof)

    def verify(self, server_final: bytes) -> None:
        """Checks the server's own proof; :class:`ProtocolError` when it does not know the password's verifier."""
        signature = _base64(_attributes(server_final).get("v", ""))
        if not self._signature or not hmac.compare_digest(signature, self._signature):
            raise ProtocolError("the server did not prove that it knows the password: it is not the server that it claims to be")
        self.verified = True


def _attributes(message: bytes) -> dict[str, str]:
    parts = message.decode("utf-8", "replace").split(",")
    return {part[0]: part[2:] for part in parts if part[1:2] == "="}


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii", "replace"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolError("the server's SCRAM message is not valid base64") from error
