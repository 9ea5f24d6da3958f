# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""PgBouncer's ``auth_file``: whose passwords it holds, and in which form. Pure.

With an md5 entry PgBouncer can answer an md5 request of the server and nothing else: once the role's stored password is SCRAM, every
pooled connection of that role is refused. A SCRAM entry serves for the server only when it is the very one that the server stores;
a clear password serves for everything. Source: PgBouncer's documentation, "Authentication file format".
"""

from __future__ import annotations

import re
import typing as t

from . import verifier as verifiers

CLEAR = "clear"
_ENTRY = re.compile(r'\s*"((?:[^"]|"")*)"\s+"((?:[^"]|"")*)"')


class Entry(t.NamedTuple):
    """One user of the file."""

    user: str
    kind: str
    """``md5``, ``scram-sha-256``, ``clear`` or ``none``."""
    line: int
    verifier: verifiers.Verifier


class AuthFile(t.NamedTuple):
    """The file, read."""

    entries: tuple[Entry, ...]
    unreadable: tuple[int, ...]
    """Numbers of lines that are neither entries nor comments."""


def parse(text: str) -> AuthFile:
    """Lines ``"user" "secret"``; a quote in a value is doubled, lines that begin with ``;`` or ``#`` are comments."""
    entries, unreadable = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith((";", "#")):
            continue
        match = _ENTRY.match(line)
        if match is None:
            unreadable.append(number)
            continue
        user, secret = (part.replace('""', '"') for part in match.groups())
        found = verifiers.parse(secret or None)
        entries.append(Entry(user, CLEAR if found.kind == verifiers.INVALID else found.kind, number, found))
    return AuthFile(tuple(entries), tuple(unreadable))
