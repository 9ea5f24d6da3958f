# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""One file, lossless: logical lines whose spans cover every byte, edits that touch only their lines, and marked sections.

``Document.parse(raw, server).render() == raw`` for any bytes. An edit keeps every other byte, writes new lines with the line end that
most lines of the file have, completes a last line that has none, and never lets a line swallow what is inserted after it (a backslash
at its end, or a NUL byte, 14 and later). The result is read again, and an edit whose lines would not come out as meant is refused.

A section is one owner's block between two marker lines::

    # BEGIN pgops.access section: NAME
    # END pgops.access section: NAME

A position other than ``last`` is noted in the first marker (``…: NAME, position first``), so that sections of several owners end up in
the same order whoever comes first: sections of one position are ordered by name.
"""

from __future__ import annotations

import bisect
import re
import typing as t

from .errors import PlanError
from .lexer import LogicalLine, logical_lines
from .model import Server, encode

_MARK = "pgops.access section:"
_MARKER = re.compile(
    r"[ \t]*#[ \t]*(BEGIN|END) pgops\.access section: (?P<name>[^\s,]+)(?:, position (first|last|before:[^\s,]+|after:[^\s,]+))?\s*"
)
_DAMAGED = re.compile(r"[ \t]*#[ \t]*(?:BEGIN|END) pgops\.access section:")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")


class Section(t.NamedTuple):
    """A marked block; its lines are ``begin + 1`` to ``end - 1``."""

    name: str
    position: str
    """As noted in its marker: ``first``, ``last``, ``before:NAME`` or ``after:NAME``."""
    begin: int
    """Index of the line that begins it."""
    end: int
    """Index of the line that ends it."""


class Changes:
    """Edits of one document by line index; several may be collected and are made in one pass."""

    def __init__(self) -> None:
        self.removed: set[int] = set()
        self.replaced: dict[int, str] = {}
        self.inserted: dict[int, list[str]] = {}
        """New lines before the line of that index; the number of lines stands for the end."""

    def insert(self, index: int, texts: t.Iterable[str]) -> None:
        """Insert lines before a line, after those already to be inserted there."""
        self.inserted.setdefault(index, []).extend(texts)

    def __bool__(self) -> bool:
        return bool(self.removed or self.replaced or any(self.inserted.values()))


class Document:
    """One file as its logical lines. Values of this class are not changed; edits give a new one."""

    def __init__(self, raw: bytes, server: Server, lines: list[LogicalLine]) -> None:
        self.raw = raw
        self.server = server
        self.lines = lines
        crlf = raw.count(b"\r\n")
        self.newline = b"\r\n" if crlf * 2 > raw.count(b"\n") else b"\n"
        """The line end for new lines: what most lines have."""

    @classmethod
    def parse(cls, raw: bytes, server: Server) -> Document:
        """Any bytes as a document; never fails."""
        return cls(raw, server, logical_lines(raw, server))

    def render(self) -> bytes:
        """The bytes of the file, put together from the lines."""
        return b"".join([self.raw[line.start : line.end] for line in self.lines])

    def insert(self, index: int, texts: t.Iterable[str]) -> Document:
        """A document with lines inserted before line ``index``."""
        changes = Changes()
        changes.insert(index, texts)
        return self.edit(changes)

    def remove(self, *indexes: int) -> Document:
        """A document without these lines."""
        changes = Changes()
        changes.removed.update(indexes)
        return self.edit(changes)

    def replace(self, index: int, text: str) -> Document:
        """A document with one line's text replaced; its line end stays."""
        changes = Changes()
        changes.replaced[index] = text
        return self.edit(changes)

    def edit(self, changes: Changes) -> Document:
        """Make all edits in one pass and read the result. Raises PlanError when a line would not come out as meant."""
        writer = _Writer(self)
        for index, line in enumerate(self.lines):
            for text in changes.inserted.get(index, ()):
                writer.new(text)
            if index in changes.removed:
                continue
            if index in changes.replaced:
                writer.new(changes.replaced[index], _line_end(self.raw[line.start : line.end]))
            else:
                writer.old(self.raw[line.start : line.end], line.text)
        for text in changes.inserted.get(len(self.lines), ()):
            writer.new(text)
        return writer.document()

    def is_comment(self, index: int) -> bool:
        """Whether a line is a comment (not one behind a rule)."""
        return self.lines[index].text.lstrip(" \t\r,").startswith("#")

    def is_marker(self, index: int) -> bool:
        """Whether a line begins or ends a section, or looks as if it were meant to."""
        text = self.lines[index].text
        return _MARK in text and _DAMAGED.match(text) is not None

    def attached(self, index: int) -> int:
        """First line of the comments that stand directly above a line, without a blank line or a section's marker between."""
        while index > 0 and self.is_comment(index - 1) and not self.is_marker(index - 1):
            index -= 1
        return index

    def sections(self) -> tuple[Section, ...]:
        """The marked sections, in the file's order. Raises PlanError for markers that are damaged, nested, open or repeated."""
        if _MARK.encode() not in self.raw:
            return ()
        found: list[Section] = []
        opened: tuple[str, str, int] | None = None
        lines_of: dict[str, int] = {}
        for index, line in enumerate(self.lines):
            if not self.is_marker(index):
                continue
            match = _MARKER.fullmatch(line.text)
            if match is None or _NAME.fullmatch(match["name"]) is None:
                raise PlanError(f"line {line.line}: damaged section marker {line.text!r}")
            opened = self._marker(match, index, opened, found, lines_of)
        if opened is not None:
            raise PlanError(f"line {self.lines[opened[2]].line}: section {opened[0]} is begun but never ended")
        return tuple(found)

    def _marker(
        self, match: re.Match[str], index: int, opened: tuple[str, str, int] | None, found: list[Section], lines_of: dict[str, int]
    ) -> tuple[str, str, int] | None:
        """Take one marker; returns the section that is open after it."""
        name, number = match["name"], self.lines[index].line
        if match[1] == "BEGIN":
            if opened is not None:
                first = self.lines[opened[2]].line
                raise PlanError(f"line {number}: section {name} begins inside section {opened[0]}, which began on line {first}")
            if name in lines_of:
                raise PlanError(f"line {number}: section {name} is there a second time; the first began on line {lines_of[name]}")
            lines_of[name] = number
            return name, match[3] or "last", index
        if opened is None or opened[0] != name:
            raise PlanError(f"line {number}: section {name} ends without having begun" + (f" inside {opened[0]}" if opened else ""))
        found.append(Section(name, opened[1], opened[2], index))
        return None


class _Writer:
    """Puts a document together, line by line, and knows what must be read back."""

    def __init__(self, document: Document) -> None:
        self.source = document
        self.parts: list[bytes] = []
        self.texts: list[str] = []

    def old(self, raw: bytes, text: str) -> None:
        """A line as it was."""
        self.parts.append(raw)
        self.texts.append(text)

    def new(self, text: str, end: bytes | None = None) -> None:
        """A new line, or a line with new text; the line before it is closed first."""
        if "\n" in text or "\0" in text:
            raise PlanError(f"a line cannot hold a line feed or NUL: {text!r}")
        self._close()
        self.parts.append(encode(text) + (self.source.newline if end is None else end))
        self.texts.append(text)

    def _close(self) -> None:
        """End the last line so that nothing after it becomes a part of it."""
        if not self.parts:
            return
        last = self.parts[-1]
        if not last.endswith(b"\n"):
            last = last + self.source.newline
        if last.rstrip(b"\r\n").endswith(b"\\") or b"\0" in last:
            after = logical_lines(last + b"x", self.source.server)
            if len(after) < 2 or after[-1].text != "x":
                last = last + self.source.newline  # an empty line is what the open line swallows
        self.parts[-1] = last

    def document(self) -> Document:
        """The new document, if its lines read as they were meant."""
        done = Document.parse(b"".join(self.parts), self.source.server)
        if [line.text for line in done.lines] != self.texts:
            number = next((a.line for a, b in zip(done.lines, self.texts) if a.text != b), len(done.lines))
            raise PlanError(f"line {number} cannot be edited safely: the server would join or break lines there (NUL byte, or too long)")
        return done


_LINE_END = re.compile(rb"(?:\r*\n|\r+)\Z")


def _line_end(raw: bytes) -> bytes:
    """The bytes that end a logical line's last physical line."""
    match = _LINE_END.search(raw)
    return match.group() if match is not None else b""


def check_position(position: str) -> None:
    """Raise PlanError for a position that is none of the four kinds."""
    kind, colon, anchor = position.partition(":")
    if position not in {"first", "last"} and not (kind in {"before", "after"} and colon and _NAME.fullmatch(anchor)):
        raise PlanError(f"position {position!r}: use first, last, before:SECTION or after:SECTION")


def marker_lines(name: str, position: str = "last") -> tuple[str, str]:
    """The two lines around a section. Raises PlanError for a name that a marker cannot hold."""
    if _NAME.fullmatch(name) is None:
        raise PlanError(f"section name {name!r}: use letters, digits, dots, underscores and hyphens, at most 63, a letter or digit first")
    check_position(position)
    note = "" if position == "last" else f", position {position}"
    return f"# BEGIN {_MARK} {name}{note}", f"# END {_MARK} {name}"


# ------------------------------------------------------------------------------------------------------------- places of sections


class Layout:
    """Where sections stand to each other, and where a new one goes. ``without`` names a section that is about to be moved."""

    def __init__(self, document: Document, contents: t.Sequence[int], without: str | None = None) -> None:
        """``contents`` are the indexes of all lines that are more than blanks and comments."""
        self.document = document
        self.sections = [section for section in document.sections() if section.name != without]
        moved = next((section for section in document.sections() if section.name == without), None)
        self.by_name = {section.name: number for number, section in enumerate(self.sections)}
        inside: set[int] = set()
        for section in self.sections if moved is None else [*self.sections, moved]:
            inside.update(range(section.begin, section.end + 1))
        self.loose = [index for index in contents if index not in inside]
        """Lines with content that stand in no section, nor in the one to be moved."""

    def place(self, position: str, name: str | None = None) -> int:
        """Index of the line before which something of this position goes. A ``name`` is a section's: it is put in order.

        Raises PlanError for a position that is none, or that names a section which is not there.
        """
        check_position(position)
        if position == "first":
            return self._first(name)
        if position == "last":
            return self._last(name)
        kind, _unused, anchor = position.partition(":")
        if anchor == name:
            raise PlanError(f"position {position!r}: a section cannot stand beside itself")
        if anchor not in self.by_name:
            there = ", ".join(section.name for section in self.sections) or "none"
            raise PlanError(f"position {position!r}: there is no section {anchor}; sections in this file: {there}")
        return self._before(anchor, name) if kind == "before" else self._after(anchor, name)

    def _path(self, number: int) -> tuple[str, ...]:
        """From the section that stands by itself, over those that stand beside it, to this one."""
        path: list[str] = []
        while True:
            section = self.sections[number]
            if section.name in path:
                break  # a circle of notes: somebody edited them
            path.append(section.name)
            number = self.by_name.get(section.position.partition(":")[2], -1)
            if number < 0:
                break
        return tuple(reversed(path))

    def _adjacent(self, earlier: int, later: int) -> bool:
        """Whether no line with content stands between two neighbours."""
        return not _between(self.loose, self.sections[earlier].end, self.sections[later].begin)

    def _first(self, name: str | None) -> int:
        first_loose = self.loose[0] if self.loose else len(self.document.lines)
        place: int | None = None
        for number, section in enumerate(self.sections if name is not None else ()):
            path = self._path(number)
            if section.begin > first_loose or self.sections[self.by_name[path[0]]].position != "first" or path[0] > (name or ""):
                break
            place = section.end + 1
        if place is not None:
            return place
        start = min([first_loose, *(section.begin for section in self.sections[:1])])
        return start if start == len(self.document.lines) else self.document.attached(start)

    def _last(self, name: str | None) -> int:
        place = len(self.document.lines)
        last_loose = self.loose[-1] if self.loose else -1
        for number in range(len(self.sections) - 1, -1, -1) if name is not None else ():
            section, path = self.sections[number], self._path(number)
            if section.end < last_loose or self.sections[self.by_name[path[0]]].position != "last" or path[0] < (name or ""):
                break
            place = section.begin
        return place

    def _after(self, anchor: str, name: str | None) -> int:
        number = self.by_name[anchor]
        while number + 1 < len(self.sections) and self._adjacent(number, number + 1):
            path = self._path(number + 1)
            if anchor not in path[:-1] or (name is not None and path[path.index(anchor) + 1] > name):
                break
            number += 1
        return self.sections[number].end + 1

    def _before(self, anchor: str, name: str | None) -> int:
        number = self.by_name[anchor]
        while number > 0 and self._adjacent(number - 1, number):
            path = self._path(number - 1)
            if anchor not in path[:-1] or (name is not None and path[path.index(anchor) + 1] < name):
                break
            number -= 1
        return self.sections[number].begin


def _between(ordered: t.Sequence[int], low: int, high: int) -> bool:
    at = bisect.bisect_right(ordered, low)
    return at < len(ordered) and ordered[at] < high
