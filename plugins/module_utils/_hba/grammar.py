# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""What plans ask of a kind of file: pg_hba.conf (``edits.HBA``) or pg_ident.conf (``ident_edits.IDENT``).

Both are made of the same logical lines, comments and sections; they differ in what a line's fields mean. ``Spec`` stands for the values
that callers ask for (``spec.RuleSpec``, ``ident_edits.MappingSpec``), with ``comment`` and ``expires``; ``Meaning`` for comparable
values with a ``key``: whom an entry is about. Entries with one key and several meanings cannot all be in force.
"""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from .document import Document
    from .edits import Entries, Entry
    from .model import Server
    from .parser import Line

Spec = t.Any
Meaning = t.Any


class Grammar(t.Protocol):
    """One kind of file."""

    may_be_empty: bool
    """Whether the server loads a file without entries."""

    def line(self, spec: Spec, server: Server) -> tuple[str, Meaning]:
        """A wanted entry as it is written, and what it means. Raises ValueError."""

    def check(self, spec: Spec, server: Server, where: str) -> None:
        """Raise InvalidRule with the option's name when no line can hold it."""

    def read(self, line: Line, server: Server) -> tuple[object, Meaning]:
        """What was read from a line, and what it means; None twice for what is no entry, or one that the server refuses."""

    def about(self, keys: t.Sequence[t.Any]) -> t.Callable[[str], bool]:
        """Tells which lines, by their text, may be about one of the keys."""

    def changed(self, text: str, entry: Entry, spec: Spec, server: Server) -> str:
        """An entry's line, made to mean what an entry of the same key means."""

    def commented(self, text: str, comment: str | None, expires: str | None, server: Server) -> str:
        """A line with another comment or expiry; what it means stays."""

    def subtract(
        self, document: Document, entries: Entries, lines: t.Sequence[int], specs: t.Sequence[Spec]
    ) -> t.Iterator[tuple[Entry, list[str]]]:
        """Entries of these lines that lose something to the specs, each with the lines that are left of it (none: it goes)."""
