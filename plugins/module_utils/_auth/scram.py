# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""The arithmetic behind PostgreSQL's passwords: SASLprep (RFC 4013), SCRAM-SHA-256's keys (RFC 5802, RFC 7677) and MD5. Pure.

Both sides use it: the login over the wire (``_server.scram``) and verifiers that are made and checked here (``verifier``).
"""

from __future__ import annotations

import hashlib
import hmac
import stringprep
import typing as t
import unicodedata

MAX_ITERATIONS = 2_000_000
"""About a second of work. PostgreSQL's default is 4,096; a hostile server, or a damaged verifier, may ask for 2^31."""


class Keys(t.NamedTuple):
    """What follows from a password, a salt and a number of iterations."""

    client_key: bytes
    stored_key: bytes
    server_key: bytes


def keys(prepared: bytes, salt: bytes, iterations: int) -> Keys:
    """The keys of RFC 5802, section 3. ``prepared``: the password after :func:`saslprep`."""
    salted = hashlib.pbkdf2_hmac("sha256", prepared, salt, iterations)
    client_key = mac(salted, b"Client Key")
    return Keys(client_key, hashlib.sha256(client_key).digest(), mac(salted, b"Server Key"))


def mac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256."""
    return hmac.new(key, data, hashlib.sha256).digest()


def md5_inner(user: str, password: str) -> str:
    """md5(password + user) in hexadecimal, the part that a server stores (src/common/md5_common.c, pg_md5_encrypt)."""
    return hashlib.md5(encode(password) + encode(user), usedforsecurity=False).hexdigest()


def md5_answer(user: str, password: str, salt: bytes) -> bytes:
    """``md5`` + md5(md5(password + user) + salt), what a client answers to an md5 request."""
    inner = md5_inner(user, password).encode("ascii")
    return b"md5" + hashlib.md5(inner + salt, usedforsecurity=False).hexdigest().encode("ascii")


def saslprep(password: str) -> bytes:
    """The password as PostgreSQL hashes it: SASLprep where that is possible, else the bytes as they are (pg_saslprep's rule).

    PostgreSQL, server and libpq alike, looks for prohibited and unassigned characters before the normalization and not, as RFC 4013
    says, after it (src/common/saslprep.c; 54,624 passwords hashed by a server 18 agree).
    """
    raw = encode(password)
    if password.isascii():
        return raw
    # U+200B is in both tables; PostgreSQL makes a blank of it.
    mapped = "".join(" " if stringprep.in_table_c12(c) else "" if stringprep.in_table_b1(c) else c for c in password)
    if not mapped or any(_prohibited(c) for c in mapped) or not _bidi_is_sound(mapped):
        return raw
    return encode(unicodedata.normalize("NFKC", mapped))


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


def encode(text: str) -> bytes:
    """Text as the bytes that are hashed; bytes that are not UTF-8 survive."""
    return text.encode("utf-8", "surrogateescape")
