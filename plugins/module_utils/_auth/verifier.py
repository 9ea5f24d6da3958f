# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""What ``pg_authid.rolpassword`` holds: read, held against a password, and made here, so that no clear password goes to a server. Pure.

Source: ``get_password_type`` (src/backend/libpq/crypt.c), ``parse_scram_secret`` (auth-scram.c), ``scram_build_secret`` (scram-common.c).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
import typing as t

from . import scram

SCRAM, MD5, NONE, INVALID = "scram-sha-256", "md5", "none", "invalid"
KINDS = (SCRAM, MD5, NONE, INVALID)
DEFAULT_ITERATIONS = 4096
"""PostgreSQL's own until 15, and the default of ``scram_iterations`` (16 and later)."""
SALT_BYTES = 16
KEY_BYTES = 32
_MD5 = re.compile(r"md5[0-9a-f]{32}")
_SCRAM = re.compile(r"SCRAM-SHA-256\$([0-9]{1,10}):([^$:]*)\$([^$:]*):([^$:]*)")


class Verifier(t.NamedTuple):
    """A stored password. Its text is left out on purpose: whoever has it can guess passwords in peace."""

    kind: str
    """``scram-sha-256``, ``md5``, ``none`` (no password), or ``invalid``: nobody can log in with it by a password."""
    iterations: int | None = None
    """Only for SCRAM."""
    salt: bytes = b""
    stored_key: bytes = b""
    server_key: bytes = b""
    digest: str = ""
    """Only for md5."""

    def __repr__(self) -> str:
        return f"Verifier({self.kind!r}, iterations={self.iterations})"


def parse(text: str | None) -> Verifier:
    """A column's value. Never raises: what the server cannot use is ``invalid``."""
    if text is None:
        return Verifier(NONE)
    if _MD5.fullmatch(text):
        return Verifier(MD5, digest=text[3:])
    match = _SCRAM.fullmatch(text)
    if match is None:
        return Verifier(INVALID)
    iterations = int(match[1])
    try:
        salt, stored, server = (base64.b64decode(part.encode("ascii"), validate=True) for part in match.groups()[1:])
    except (binascii.Error, ValueError):
        return Verifier(INVALID)
    if len(stored) != KEY_BYTES or len(server) != KEY_BYTES or not 1 <= iterations < 1 << 31:
        return Verifier(INVALID)
    return Verifier(SCRAM, iterations, salt, stored, server)


def matches(verifier: Verifier, password: str, role: str) -> bool | None:
    """Whether a password is the stored one. None: nothing can be compared (no password, an invalid one, or absurdly many iterations)."""
    if verifier.kind == MD5:
        return hmac.compare_digest(scram.md5_inner(role, password), verifier.digest)
    if verifier.kind != SCRAM or verifier.iterations is None or verifier.iterations > scram.MAX_ITERATIONS:
        return None
    made = scram.keys(scram.saslprep(password), verifier.salt, verifier.iterations)
    return hmac.compare_digest(made.stored_key, verifier.stored_key) and hmac.compare_digest(made.server_key, verifier.server_key)


def make(password: str, iterations: int = DEFAULT_ITERATIONS, salt: bytes | None = None) -> str:
    """A SCRAM-SHA-256 verifier for ``ALTER ROLE … PASSWORD``: the server stores it as it is. A salt of our own unless one is given."""
    if not 1 <= iterations <= scram.MAX_ITERATIONS:
        raise ValueError(f"{iterations} iterations: 1 to {scram.MAX_ITERATIONS} are possible")
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    made = scram.keys(scram.saslprep(password), salt, iterations)
    first, second, third = (base64.b64encode(part).decode("ascii") for part in (salt, made.stored_key, made.server_key))
    return f"SCRAM-SHA-256${iterations}:{first}${second}:{third}"


def make_md5(password: str, role: str) -> str:
    """An md5 verifier, for comparisons and tests; nothing here stores one."""
    return "md5" + scram.md5_inner(role, password)
