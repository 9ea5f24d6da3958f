# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Bytes of an authentication file → logical lines → fields of tokens, as the server's tokenizer sees them.

One tokenizer serves pg_hba.conf, pg_ident.conf, ``@files`` and included files. It differs between majors in four ways: backslash
continuation (14 and later), length limits (line: 13 and earlier; token: 15 and earlier), what a NUL byte hides, and whether a carriage
return separates fields (18 and earlier). Source: PostgreSQL's ``src/backend/libpq/hba.c`` (``tokenize_file``, ``next_token``) and
``src/common/pg_get_line.c``, and answers of servers 12 to 19.

Nothing here fails: any bytes give lines, and a line that breaks a limit carries the server's error.
"""

from __future__ import annotations

import itertools
import re
import typing as t
from functools import lru_cache

from .model import Field, Server, Token, decode, encode

LINE_TOO_LONG = "authentication file line too long"
TOKEN_TOO_LONG = "authentication file token too long"  # noqa: S105 - a message

_FIRST_LONG_MINOR = {12: 16, 13: 12, 14: 9, 15: 4}
"""Minor release (August 2023) since which a token may have 10,239 bytes instead of 255."""


class LogicalLine(t.NamedTuple):
    """One logical line: physical lines that continuations joined. Blank lines and comments are lines too."""

    text: str
    """Joined, without line ends; comment and leading blanks kept. This is what the server logs."""
    line: int
    """Number of the first physical line, from 1, as the server counts (a NUL byte makes 14 and later miscount)."""
    last_line: int
    """Number of the last physical line."""
    start: int
    """Offset of the first byte in the file."""
    end: int
    """Offset after the last byte, the line end included."""
    error: str | None = None
    """The server's error for the line as a whole: it is too long (13 and earlier)."""


class Scan(t.NamedTuple):
    """The fields of a logical line; ``@file`` tokens are not yet replaced."""

    fields: tuple[Field, ...]
    error: str | None = None
    """The server's error; ``fields`` then holds what came before it."""


def chunk_limit(server: Server) -> int | None:
    """Bytes that the server reads at once, so that a longer physical line is broken in two; None when lines are unlimited."""
    if server.major >= 14:
        return None
    return 20479 if _long_limits(server) else 8191


def token_limit(server: Server) -> int | None:
    """Longest token in bytes; None when unlimited (16 and later)."""
    if server.major >= 16:
        return None
    return 10239 if _long_limits(server) else 255


def _long_limits(server: Server) -> bool:
    return server.minor is None or server.minor >= _FIRST_LONG_MINOR.get(server.major, 0)


# --------------------------------------------------------------------------------------------------------------- logical lines


def logical_lines(raw: bytes, server: Server) -> list[LogicalLine]:
    """Split a file into logical lines; their spans cover every byte of ``raw``, in order and without overlap.

    The list may be shared with other callers: nobody changes it. A file is split for its document, for its rules and for what findings
    look up, before and after an edit.
    """
    return _of_long(raw, server.major, chunk_limit(server)) if len(raw) > 4096 else _logical_lines(raw, server.major, chunk_limit(server))


def _logical_lines(raw: bytes, major: int, limit: int | None) -> list[LogicalLine]:
    if b"\0" in raw:
        return _nul_glues(raw) if limit is None else _nul_hides_rest(raw, limit)
    physical = _plain_chunks(raw, limit) or _chunks(raw, limit)
    if major < 14 or b"\\" not in raw:
        return physical
    return _join_continuations(physical)


_of_long = lru_cache(maxsize=4)(_logical_lines)


def _plain_chunks(raw: bytes, limit: int | None) -> list[LogicalLine]:
    """:func:`_chunks` for most files: ASCII, and no line over the limit; empty for the others."""
    if not raw.isascii():
        return []
    texts = raw.decode("ascii").split("\n")
    if not texts[-1]:
        texts.pop()
    sizes = [len(text) + 1 for text in texts]
    if limit is not None and max(sizes, default=0) >= limit:
        return []
    ends = list(itertools.accumulate(sizes))
    if ends and not raw.endswith(b"\n"):
        ends[-1] -= 1
    if b"\r" in raw:
        texts = [text.rstrip("\r") for text in texts]
    numbers = range(1, len(texts) + 1)
    return list(map(LogicalLine, texts, numbers, numbers, [0, *ends[:-1]], ends))


def _chunks(raw: bytes, limit: int | None) -> list[LogicalLine]:
    """Physical lines of a file without NUL bytes; those over the limit are broken as ``fgets`` breaks them."""
    lines: list[LogicalLine] = []
    append = lines.append
    pieces = raw.split(b"\n")
    last = len(pieces) - 1
    start = number = 0
    for index, piece in enumerate(pieces):
        end = start + len(piece) + (index != last)
        if limit is not None and end - start >= limit:
            _break_long(raw, start, end, limit, lines)
            number = len(lines)
        elif end > start:
            number += 1
            append(LogicalLine(decode(piece).rstrip("\r"), number, number, start, end))
        start = end
    return lines


def _break_long(raw: bytes, start: int, end: int, limit: int, lines: list[LogicalLine]) -> None:
    """Add the chunks of one over-long physical line. A full chunk is an error; what follows it is read as the next line."""
    while start < end:
        number = len(lines) + 1
        stop = min(end, start + limit)
        text = decode(raw[start:stop]).rstrip("\r\n")
        lines.append(LogicalLine(text, number, number, start, stop, LINE_TOO_LONG if stop - start == limit else None))
        start = stop


def _nul_hides_rest(raw: bytes, limit: int) -> list[LogicalLine]:
    """13 and earlier: the rest of the chunk after a NUL is ignored (C strings), and so is its being too long."""
    lines: list[LogicalLine] = []
    start, size = 0, len(raw)
    while start < size:
        newline = raw.find(b"\n", start, start + limit)
        end = newline + 1 if newline >= 0 else min(size, start + limit)
        seen = raw[start:end].partition(b"\0")[0]
        number = len(lines) + 1
        error = LINE_TOO_LONG if len(seen) == limit else None
        lines.append(LogicalLine(decode(seen).rstrip("\r\n"), number, number, start, end, error))
        start = end
    return lines


def _nul_glues(raw: bytes) -> list[LogicalLine]:
    """14 and later: what ``fgets`` read after a NUL is lost, the line end too, and reading goes on into the same line.

    How much one ``fgets`` reads depends on the string buffer, which starts with 1,024 bytes, doubles, and is kept for the whole file;
    a continuation goes on in the same buffer. The model follows it, so continuations are joined here too.
    """
    lines: list[LogicalLine] = []
    pos, size, room, number = 0, len(raw), 1024, 1
    while pos < size:
        start, text, mark, joined = pos, bytearray(), 0, 0
        while True:
            before = len(text)
            pos, room = _append_line(raw, pos, room, text)
            if len(text) == before:
                joined = max(0, joined - 1)  # the end of the file: there was no line to join
                break
            while text and text[-1] in b"\r\n":
                text.pop()
            if len(text) <= mark or text[-1:] != b"\\":
                break
            text.pop()
            mark = len(text)
            joined += 1
        lines.append(LogicalLine(decode(bytes(text)), number, number + joined, start, pos))
        number += joined + 1
    return lines


def _append_line(raw: bytes, start: int, room: int, text: bytearray) -> tuple[int, int]:
    """One ``pg_get_line_append`` into ``text``: the offset after what it read, and the size of the buffer then."""
    size, pos, before = len(raw), start, len(text)
    while pos < size:
        reach = pos + room - len(text) - 1
        newline = raw.find(b"\n", pos, reach)
        stop = newline + 1 if newline >= 0 else min(size, reach)
        nul = raw.find(b"\0", pos, stop)
        text += raw[pos : stop if nul < 0 else nul]
        pos = stop
        if len(text) > before and text[-1] == 0x0A:
            break
        while room < len(text) + 129:
            room *= 2
    return pos, room


def _join_continuations(physical: list[LogicalLine]) -> list[LogicalLine]:
    """14 and later: a backslash at the end of a physical line joins the next one, before any tokenizing, comments included."""
    joined: list[LogicalLine] = []
    index, count = 0, len(physical)
    number = 1
    while index < count:
        first = physical[index]
        index += 1
        if not first.text.endswith("\\"):
            joined.append(first if first.line == number else first._replace(line=number, last_line=number))
            number += 1
            continue
        text, end, used = _follow(physical, index, first)
        index += used
        joined.append(LogicalLine(text, number, number + used, first.start, end))
        number += used + 1
    return joined


def _follow(physical: list[LogicalLine], index: int, first: LogicalLine) -> tuple[str, int, int]:
    """Glue the lines that continue ``first``: text, end offset, number of lines taken from ``index`` on.

    A backslash counts only beyond the place of the last one that was dropped, so that two of them do not swallow two line ends.
    """
    parts = [encode(first.text[:-1])]
    length = mark = len(parts[0])
    end, used = first.end, 0
    while index + used < len(physical):
        following = physical[index + used]
        used += 1
        end = following.end
        piece = encode(following.text)
        if not piece:
            # The strip of CR and LF looks at the whole joined line, so an empty piece may expose older carriage returns.
            parts = [b"".join(parts).rstrip(b"\r\n")]
            length = len(parts[0])
            break
        length += len(piece)
        if not (length > mark and piece.endswith(b"\\")):
            parts.append(piece)
            break
        parts.append(piece[:-1])
        length -= 1
        mark = length
    return decode(b"".join(parts)), end, used


# ------------------------------------------------------------------------------------------------------------------- tokenizing

_UNSPLITTABLE = re.compile('["\x0b\x0c\x1c-\x1f]|,(?=[ \t\r]|$)')
"""What the fast path leaves to the scanner: quotes, a comma that reaches over blanks, and blanks that only Python knows."""

_SKIP = (re.compile("[ \t\r,]*"), re.compile("[ \t,]*"))
_PLAIN = (re.compile('[^ \t\r,#"]*'), re.compile('[^ \t,#"]*'))


def tokenize(text: str, server: Server) -> tuple[Field, ...]:
    """Fields of a logical line; what follows a token that is too long is missing (:func:`scan` also tells that error)."""
    return scan(text, server).fields


def scan(text: str, server: Server) -> Scan:
    """Fields of a logical line, with the server's error if a token is too long."""
    limit = token_limit(server)
    if limit is None or len(text) * 4 <= limit:
        fields = _fast(text, server.major)
        if fields is not None:
            return Scan(fields)
    return _Scanner(text, server.major, limit).scan()


def _fast(text: str, major: int) -> tuple[Field, ...] | None:
    """Most lines: only ASCII, no quotes. None when the line needs the scanner."""
    comment = text.find("#")
    if comment >= 0:
        if '"' in text[:comment]:
            return None
        text = text[:comment]
    if not text.isascii() or _UNSPLITTABLE.search(text) is not None or (major >= 19 and "\r" in text):
        return None
    return tuple([field for part in text.split() if (field := word(part))])


@lru_cache(maxsize=65536)
def word(text: str) -> Field:
    """The field that a word without quotes, comments and blanks is; empty for one of commas only."""
    if "," not in text:
        return (Token(text),)
    return tuple([Token(part) for part in text.split(",") if part])


class _Scanner:
    """The general tokenizer; each byte of the line is looked at a bounded number of times."""

    def __init__(self, text: str, major: int, limit: int | None) -> None:
        self.text = text
        self.limit = limit
        self.skip = _SKIP[major >= 19]
        self.plain = _PLAIN[major >= 19]
        self.pos = 0
        self.too_long = False

    def scan(self) -> Scan:
        fields: list[Field] = []
        size = len(self.text)
        while self.pos < size and not self.too_long:
            field = self._field()
            if field:
                fields.append(field)
        return Scan(tuple(fields), TOKEN_TOO_LONG if self.too_long else None)

    def _field(self) -> Field:
        """Tokens up to one that no comma follows directly."""
        tokens: list[Token] = []
        text, size = self.text, len(self.text)
        while True:
            self.pos = _end(self.skip, text, self.pos)
            if self.pos >= size or text[self.pos] == "#":
                self.pos = size
                break
            token = self._token()
            if self.too_long:
                break
            tokens.append(token)
            if self.pos >= size or text[self.pos] != ",":
                break
        return tuple(tokens)

    def _token(self) -> Token:
        text, size = self.text, len(self.text)
        parts: list[str] = []
        stored = quoted = saw_quote = bare_quote_last = False
        while True:
            end = _end(self.plain, text, self.pos)
            if end > self.pos:
                parts.append(text[self.pos : end])
                self.pos, stored, bare_quote_last = end, True, False
            if self.pos >= size or text[self.pos] != '"':
                break
            saw_quote = True
            quoted = quoted or not stored
            stored, bare_quote_last = self._quoted_part(parts, stored)
        value = "".join(parts)
        if saw_quote and not value.isascii():
            value = decode(encode(value))  # a quote may have stood inside one character
        self.too_long = self._breaks_limit(value, bare_quote_last)
        return Token(value, quoted)

    def _quoted_part(self, parts: list[str], stored: bool) -> tuple[bool, bool]:
        """From an opening quote behind the closing one or to the line's end. Returns (stored, last byte was a bare quote)."""
        text, size = self.text, len(self.text)
        self.pos += 1
        bare = True
        while True:
            close = text.find('"', self.pos)
            stop = size if close < 0 else close
            if stop > self.pos:
                parts.append(text[self.pos : stop])
                stored, bare = True, False
            self.pos = stop
            if close < 0:
                return stored, bare
            self.pos += 1
            if not text.startswith('"', self.pos):
                return stored, True
            parts.append('"')
            stored, bare = True, False
            self.pos += 1

    def _breaks_limit(self, value: str, bare_quote_last: bool) -> bool:
        """The server looks at its buffer's room before each further byte, so a full token must end with a blank or the line."""
        if self.limit is None or len(value) * 4 < self.limit:
            return False
        length = len(encode(value))
        if length != self.limit:
            return length > self.limit
        return bare_quote_last or self.text.startswith(",", self.pos)


def _end(pattern: re.Pattern[str], text: str, pos: int) -> int:
    match = pattern.match(text, pos)
    return match.end() if match is not None else pos
