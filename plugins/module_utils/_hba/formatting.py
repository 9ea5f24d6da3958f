# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""A file with its rules in the canonical form: PostgreSQL's own columns, quotes exactly where needed, one line a rule, comments kept.

Only lines that hold a rule change. Comments, blank lines, include records, lines that the server refuses, line ends and the order stay.
"""

from __future__ import annotations

from .document import Changes, Document
from .edits import Entries, Entry, spec_of_entry
from .errors import HbaError
from .model import Server
from .render import rendered


def formatted(raw: bytes, server: Server) -> bytes:
    """The formatted bytes. Formatting twice is formatting once; what every line means stays. Never fails for what a file may hold."""
    document = Document.parse(raw, server)
    changes = Changes()
    for entry in Entries(document, ()).all():
        text = document.lines[entry.line].text
        line = _canonical(entry, text, server)
        if line != text:
            changes.replaced[entry.line] = line
    try:
        return document.edit(changes).raw if changes else raw
    except HbaError:
        return raw  # NUL bytes: the server joins lines in ways that no edit survives


def _canonical(entry: Entry, text: str, server: Server) -> str:
    if entry.rule is None:
        return text
    try:
        return rendered(spec_of_entry(entry, text), server)[0]
    except HbaError:
        return text  # a comment that cannot be written again, such as one with a carriage return
