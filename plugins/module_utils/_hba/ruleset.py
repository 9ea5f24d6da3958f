# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""A main file with everything that it includes → rows in load order, and both verdicts: what the view shows, whether the file loads.

:func:`read_lines` is shared with pg_ident.conf: it replaces ``@files``, follows includes (16 and later) and keeps each line's own file and
number. Source: ``tokenize_auth_file`` and its helpers in PostgreSQL's ``src/backend/libpq/hba.c``, ``GetConfFilesInDir`` in
``src/backend/utils/misc/conffiles.c``, ``load_hba``.
"""

from __future__ import annotations

import errno
import os
import typing as t

from . import catalog, collector
from .lexer import LogicalLine, logical_lines
from .model import Field, LineError, Row, Rule, Server, Token, decode, encode
from .parser import DEFAULT_HOST, Host, Place, line_reader, parse_fields
from .reader import DictReader, Reader

_MAX_UNBOUNDED_DEPTH = 100
"""Nested ``@files`` that we follow for 15 and earlier, which have no limit and die at some 250 to 330 levels."""

_MAX_PATH = 1023
"""Bytes of a path that the server keeps (MAXPGPATH)."""

_BUDGET_BYTES = 256 << 20
_BUDGET_TOKENS = 5_000_000
_BUDGET_LINES = 500_000
"""What inclusions may multiply to. Ten levels of files that each name the next ten times would keep a server busy for days.

Lines are those of files that are read a second time or more: one file of any length is read whole.
"""


class AuthLine(t.NamedTuple):
    """One line that is not blank, after ``@files`` were put in: what pg_hba.conf's and pg_ident.conf's parsers take."""

    file: str
    line: int
    last_line: int
    fields: tuple[Field, ...]
    raw: str
    error: str | None = None
    """The server's error, when the line could not be tokenized or includes what cannot be read; then no parser sees it."""


class Lines(t.NamedTuple):
    """The lines of a file and all that it includes."""

    lines: tuple[AuthLine, ...]
    unreadable: str | None = None
    """The server's message when the main file cannot be opened; the views raise it as an error."""
    files: tuple[str, ...] = ()
    """Every file that was read, the main file first, each once."""


class Ruleset(t.NamedTuple):
    """What a server makes of a pg_hba.conf."""

    rows: tuple[Row, ...]
    """One per line that is not blank, in load order: the rows of ``pg_hba_file_rules``."""
    rules: tuple[Rule, ...]
    """The rows that are rules, in load order: what the server matches, if it loads."""
    errors: tuple[LineError, ...]
    """All that keeps the file from loading. One of line 0 concerns the main file as a whole."""
    loads: bool
    unreadable: str | None = None
    """The server's message when the main file cannot be opened; the view raises it instead of showing rows."""
    files: tuple[str, ...] = ()
    """Every file that was read, the main file first."""


def load(path: str, reader: Reader, server: Server, host: Host = DEFAULT_HOST) -> Ruleset:
    """Read a pg_hba.conf as the server does. ``path`` should be absolute: relative names are resolved against it and errors show it.

    Never raises for what files hold or for files that are missing.
    """
    with collector.paused():
        loader = _Loader(reader, server, host)
        try:
            loader.add_file(path, 0)
        except _OpenFailed as failed:
            unreadable = _unreadable(path, failed, server)
            return Ruleset((), (), (LineError(unreadable, path),), False, unreadable)
        return loader.ruleset(path)


def parse_text(raw: bytes, server: Server, file: str = "pg_hba.conf", reader: Reader | None = None, host: Host = DEFAULT_HOST) -> Ruleset:
    """Read one text. What it includes is looked up through ``reader``; without one every inclusion is a missing file."""
    loader = _Loader(DictReader({}) if reader is None else reader, server, host)
    with collector.paused():
        loader.add_text(file, raw)
        return loader.ruleset(file)


def read_lines(path: str, reader: Reader, server: Server, *, usermap: bool = False) -> Lines:
    """Lines of a main file and what it includes. ``usermap`` only changes 15 and earlier's message for a missing file."""
    loader = _Loader(reader, server)
    try:
        loader.add_file(path, 0)
    except _OpenFailed as failed:
        return Lines((), _unreadable(path, failed, server, usermap))
    return loader.result()


def _unreadable(path: str, failed: _OpenFailed, server: Server, usermap: bool = False) -> str:
    what = "file" if server.major >= 16 else "usermap file" if usermap else "configuration file"
    return f'could not open {what} "{path}": {failed.reason}'


def lines_of_text(raw: bytes, server: Server, file: str, reader: Reader | None = None) -> Lines:
    """Lines of one text, as :func:`read_lines`."""
    loader = _Loader(DictReader({}) if reader is None else reader, server)
    loader.add_text(file, raw)
    return loader.result()


# ------------------------------------------------------------------------------------------------------------------- file names


def located(name: str, referrer: str, server: Server) -> str:
    """The full name of a file that a line of ``referrer`` names: absolute as it is, else in the referrer's directory, normalised."""
    if name.startswith("/"):
        return name
    while name.startswith("./") and server.major <= 14:
        name = name[2:]
    directory = referrer.rstrip("/").rpartition("/")[0].rstrip("/")
    if not directory and referrer.startswith("/"):
        directory = "/"
    joined = directory
    if name:
        joined = f"{directory.rstrip('/')}/{name}" if directory else name
    if len(joined) > _MAX_PATH // 4:
        joined = decode(encode(joined)[:_MAX_PATH])
    return _canonical(joined, everywhere=server.major >= 15)


def _canonical(path: str, everywhere: bool) -> str:
    """``canonicalize_path``: no double or trailing slashes; ``.`` and ``..`` resolved, by 14 and earlier only at the path's end."""
    absolute = path.startswith("/")
    parts = [part for part in path.split("/") if part]
    if everywhere:
        kept: list[str] = []
        for part in parts:
            _step(kept, part, absolute)
        parts = kept
    else:
        parts = _trim_end(parts, absolute)
    joined = "/".join(parts)
    return "/" + joined if absolute else joined or "."


def _step(kept: list[str], part: str, absolute: bool) -> None:
    if part == ".":
        return
    if part != "..":
        kept.append(part)
    elif kept and kept[-1] != "..":
        kept.pop()
    elif not absolute:
        kept.append(part)


def _trim_end(parts: list[str], absolute: bool) -> list[str]:
    """Dots at the end, each ``..`` taking a name away; dots in the middle stay."""
    pending = 0
    kept = list(parts)
    while kept:
        if kept[-1] == ".":
            kept.pop()
        elif kept[-1] == "..":
            kept.pop()
            pending += 1
        elif pending:
            kept.pop()
            pending -= 1
        else:
            break
    return kept if absolute or not pending else [*[".."] * pending, *kept]


# --------------------------------------------------------------------------------------------------------------------- loading


class _OpenFailed(Exception):
    """A file cannot be opened."""

    def __init__(self, reason: str, missing: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.missing = missing


class _Loader:
    """Collects the lines of a file and of all that it includes; with a host their rows, as pg_hba.conf."""

    def __init__(self, reader: Reader, server: Server, host: Host | None = None) -> None:
        self.reader = reader
        self.server = server
        self.host = host
        self.rows: list[Row] = []
        self.number = 1
        """The rule_number of the next rule."""
        self.includes = server.major >= catalog.INCLUDES_SINCE
        self.lines: list[AuthLine] = []
        self.contents: dict[str, bytes | OSError] = {}
        self.expansions: dict[tuple[str, str, int], tuple[Field, str | None]] = {}
        self.open: list[str] = []
        self.spent_bytes = 0
        self.spent_lines = 0
        self.spent_tokens = 0

    def result(self) -> Lines:
        return Lines(tuple(self.lines), None, tuple(self.contents))

    def ruleset(self, path: str) -> Ruleset:
        """What the server makes of the rows."""
        rows = tuple(self.rows)
        rules = tuple([row for row in rows if isinstance(row, Rule)])
        errors = tuple([row for row in rows if isinstance(row, LineError)])
        if not rows:
            errors = (LineError(f'configuration file "{path}" contains no entries', path),)
        return Ruleset(rows, rules, errors, not errors, None, tuple(self.contents))

    def add_text(self, file: str, raw: bytes) -> None:
        """Lines of a main file whose text is at hand."""
        self.contents[file] = raw
        self.open.append(file)
        self._lines_of(file, raw, 0, self.lines)
        self.open.pop()

    def add_file(self, path: str, depth: int, into: list[AuthLine] | None = None) -> None:
        """Lines of a file. Raises _OpenFailed."""
        target = self.lines if into is None else into
        raw = self._read(path, depth)
        if isinstance(raw, OSError):
            if self.server.major <= 13:
                self._take(AuthLine(path, 1, 1, (), "", f'could not read file "{path}": {_reason(raw)}'), target)
            return  # 14 and later only log it and go on with what they have: nothing
        self.open.append(path)
        try:
            self._lines_of(path, raw, depth, target)
        finally:
            self.open.pop()

    def _read(self, path: str, depth: int) -> bytes | OSError:
        """The content of a file, or why it cannot be read although it can be opened. Raises _OpenFailed."""
        if self.includes:
            if depth > catalog.MAX_INCLUDE_DEPTH:
                raise _OpenFailed("maximum nesting depth exceeded")
        elif depth > _MAX_UNBOUNDED_DEPTH or path in self.open:
            raise _OpenFailed(f"files include each other without end; PostgreSQL {self.server.major} has no limit and crashes")
        again = path in self.contents
        if not again:
            try:
                self.contents[path] = self.reader.read(path)
            except OSError as error:
                self.contents[path] = error
        content = self.contents[path]
        if isinstance(content, OSError):
            if content.errno not in {errno.EISDIR, errno.EIO}:
                raise _OpenFailed(_reason(content), content.errno == errno.ENOENT)
            return content
        if depth:
            self.spent_bytes += len(content)
            if again:
                self.spent_lines += content.count(b"\n") + 1
            if self.spent_bytes > _BUDGET_BYTES or self.spent_lines > _BUDGET_LINES:
                raise _OpenFailed(f"inclusions multiply to more than 256 MiB or {_BUDGET_LINES} lines, which are not read on")
        return content

    def _lines_of(self, file: str, raw: bytes, depth: int, target: list[AuthLine]) -> None:
        server, includes, read = self.server, self.includes, line_reader(self.server)
        rows = self.rows if self.host is not None and target is self.lines else None
        for logical in logical_lines(raw, server):
            text = logical.text
            if not text or (text[0] == "#" and logical.error is None):
                continue
            if logical.error is not None:
                self._take(_auth_line(file, logical, (), logical.error), target)
                continue
            line = read(text)
            if rows is not None:
                rule = line.rule(file, logical.line, logical.last_line, self.number)
                if rule is not None:
                    rows.append(rule)
                    if rule.number is not None:
                        self.number += 1
                    continue
            fields, error = line.scan()
            if "@" in text:
                fields, error = self._expand(fields, error, file, depth)
            if includes and error is None and len(fields) == 2 and fields[0][0].text in catalog.INCLUDE_WORDS:
                error = self._include(fields[0][0].text, fields[1][0].text, file, depth, target)
                if error is None:
                    continue
            if fields or error is not None:
                self._take(_auth_line(file, logical, fields, error), target)

    def _take(self, line: AuthLine, target: list[AuthLine]) -> None:
        """A line is read: it belongs to an ``@file``, to somebody who asked for lines, or it is a row."""
        if self.host is None or target is not self.lines:
            target.append(line)
            return
        file, number, last_line, fields, raw, error = line
        if error is not None:
            self.rows.append(LineError(error, file, number, raw=raw, last_line=last_line))
            return
        row = parse_fields(fields, self.server, Place(file, number, last_line, raw), self.number, self.host)
        if row.number is not None:
            self.number += 1
        self.rows.append(row)

    # ------------------------------------------------------------------------------------------------------------ @files

    def _expand(self, fields: tuple[Field, ...], error: str | None, file: str, depth: int) -> tuple[tuple[Field, ...], str | None]:
        """Put in the tokens of ``@files``; the first error in reading order wins, and a field that becomes empty is gone."""
        expanded: list[Field] = []
        for field in fields:
            if not any(_is_reference(token) for token in field):
                expanded.append(field)
                continue
            tokens: list[Token] = []
            for token in field:
                if not _is_reference(token):
                    tokens.append(token)
                    continue
                found, failure = self._tokens_of(token.text[1:], file, depth + 1)
                tokens.extend(found)
                if failure is not None:
                    return tuple(expanded), failure
            if tokens:
                expanded.append(tuple(tokens))
        return tuple(expanded), error

    def _tokens_of(self, name: str, referrer: str, depth: int) -> tuple[Field, str | None]:
        """All tokens of an ``@file``, and its first error."""
        path = located(name, referrer, self.server)
        key = (name, path, depth if self.includes else 0)  # errors tell the name as written
        known = self.expansions.get(key)
        if known is None:
            known = self._read_tokens(name, path, depth)
            self.expansions[key] = known
        self.spent_tokens += len(known[0])
        if self.spent_tokens > _BUDGET_TOKENS:
            return (), f'could not open file "{path}": inclusions multiply to more than {_BUDGET_TOKENS} tokens, which are not read on'
        return known

    def _read_tokens(self, name: str, path: str, depth: int) -> tuple[Field, str | None]:
        lines: list[AuthLine] = []
        try:
            self.add_file(path, depth, lines)
        except _OpenFailed as failed:
            if self.includes:
                return (), f'could not open file "{path}": {failed.reason}'
            return (), f'could not open secondary authentication file "@{name}" as "{path}": {failed.reason}'
        tokens: list[Token] = []
        for line in lines:
            if line.error is not None:
                return tuple(tokens), line.error
            for field in line.fields:
                tokens.extend(field)
        return tuple(tokens), None

    # ---------------------------------------------------------------------------------------------------------- includes

    def _include(self, word: str, name: str, file: str, depth: int, target: list[AuthLine]) -> str | None:
        """Follow an include record; the error of the including line, if any."""
        if word == "include_dir":
            return self._include_directory(name, file, depth, target)
        path = located(name, file, self.server)
        try:
            self.add_file(path, depth + 1, target)
        except _OpenFailed as failed:
            if failed.missing and word == "include_if_exists":
                return None
            return f'could not open file "{path}": {failed.reason}'
        return None

    def _include_directory(self, name: str, file: str, depth: int, target: list[AuthLine]) -> str | None:
        if not name.strip(" \t\r\n"):
            return "empty configuration directory name"
        paths = self._configuration_files(located(name, file, self.server))
        if isinstance(paths, str):
            return paths
        messages: list[str] = []
        error: str | None = None
        for path in paths:
            try:
                self.add_file(path, depth + 1, target)
            except _OpenFailed as failed:
                error = f'could not open file "{path}": {failed.reason}'
            if error is not None:  # never reset by the server: repeated for every file from here on
                messages.append(error)
        return "\n".join(messages) or None

    def _configuration_files(self, directory: str) -> list[str] | str:
        """Files that include_dir loads, in byte order of their names, or the server's error."""
        try:
            entries = self.reader.list_directory(directory)
        except OSError:
            return f'could not open directory "{directory}"'
        found: list[str] = []
        for entry in entries:
            name = entry.name
            if len(encode(name)) < 6 or name.startswith(".") or not name.endswith(".conf"):
                continue
            path = _canonical(f"{directory}/{name}", everywhere=True)
            if entry.broken:
                return f'could not stat file "{path}"'
            if not entry.is_directory:
                found.append(path)
        return sorted(found, key=encode)


def _is_reference(token: Token) -> bool:
    return not token.quoted and len(token.text) > 1 and token.text.startswith("@")


def _auth_line(file: str, logical: LogicalLine, fields: tuple[Field, ...], error: str | None) -> AuthLine:
    return AuthLine(file, logical.line, logical.last_line, fields, logical.text, error)


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno is not None else str(error)
