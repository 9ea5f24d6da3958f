# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes → logical lines → fields. Expected values are the servers' (reference tables and measured cases), or a byte-by-byte model's."""

from __future__ import annotations

import random

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba.lexer import (
    LINE_TOO_LONG,
    TOKEN_TOO_LONG,
    logical_lines,
    scan,
    token_limit,
    tokenize,
)
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Server, decode, encode
from hypothesis import given, settings
from hypothesis import strategies as st

MAJORS = (12, 13, 14, 15, 16, 17, 18, 19)


def shape(text: str, major: int = 16) -> list[list[tuple[str, bool]]]:
    return [[(token.text, token.quoted) for token in field] for field in tokenize(text, Server(major))]


@pytest.mark.parametrize(
    ("text", "token", "quoted"),
    [
        ('"a b"', "a b", True),
        ('a"b c"d', "ab cd", False),
        ('"a b"c', "a bc", True),
        ('al"l"', "all", False),
        ('"al"l', "all", True),
        ('""all', "all", True),
        ('a""b', "ab", False),
        ('"a""b"', 'a"b', True),
        ('"""a"""', '"a"', True),
        ('""""', '"', True),
        ('""', "", True),
        ('"', "", True),
        ("'all'", "'all'", False),
        ('"unterminated # , ', "unterminated # , ", True),
        ("all#b all", "all", False),
        ("\x0bx\x0c", "\x0bx\x0c", False),
        ("a\u00a0b", "a\u00a0b", False),
        ("\u2003", "\u2003", False),
        ("\x1f", "\x1f", False),
    ],
)
@pytest.mark.parametrize("major", MAJORS)
def test_one_token(text: str, token: str, quoted: bool, major: int) -> None:
    assert shape(text, major) == [[(token, quoted)]]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("a,b", [["a", "b"]]),
        ("a, b", [["a", "b"]]),
        ("a ,b", [["a"], ["b"]]),
        ("a , b", [["a"], ["b"]]),
        ("a,,b", [["a", "b"]]),
        (",a", [["a"]]),
        ("a,", [["a"]]),
        ("a, # c", [["a"]]),
        (",,,", []),
        (" \t# c", []),
        ("a,#x", [["a"]]),
        ('a,"",b c', [["a", "", "b"], ["c"]]),
        ("x ,,, y,", [["x"], ["y"]]),
        ('"a\\"b" c', [["a\\b c"]]),
    ],
)
def test_lists(text: str, fields: list[list[str]]) -> None:
    assert [[token for token, _unused in field] for field in shape(text)] == fields


def test_carriage_return_is_a_blank_until_18() -> None:
    assert len(shape("local\rall\rall\rtrust", 18)) == 4
    assert shape("local\rall", 19) == [[("local\rall", False)]]


def model_fields(line: bytes, blanks: bytes, limit: int | None) -> tuple[list[list[tuple[bytes, bool]]], bool]:
    """A byte-at-a-time model of the server's scanner, kept apart from the engine's."""
    pos, fields = 0, []
    while pos < len(line):
        tokens = []
        while True:
            while pos < len(line) and (line[pos] in blanks or line[pos] == 0x2C):
                pos += 1
            stored, in_quote, pending, seen, first, comma = bytearray(), False, False, False, False, False
            while pos < len(line) and (in_quote or line[pos] not in blanks):
                byte = line[pos]
                if byte == 0x23 and not in_quote:
                    pos = len(line)
                    break
                if limit is not None and len(stored) >= limit:
                    return fields + ([tokens] if tokens else []), True
                if byte == 0x2C and not in_quote:
                    comma = True
                    break
                if byte != 0x22 or pending:
                    stored.append(byte)
                pending = not pending if in_quote and byte == 0x22 else False
                if byte == 0x22:
                    in_quote, seen = not in_quote, True
                    first = first or not stored
                pos += 1
            if not seen and not stored:
                break
            tokens.append((bytes(stored), first))
            if not comma:
                break
        if tokens:
            fields.append(tokens)
    return fields, False


@pytest.mark.parametrize("major", [13, 15, 16, 18, 19])
def test_scanner_agrees_with_byte_model(major: int, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 5 if major < 16 else None
    monkeypatch.setattr("ansible_collections.pgops.access.plugins.module_utils._hba.lexer.token_limit", lambda _server: limit)
    chance = random.Random(major)
    alphabet = [b"a", b"b", b'"', b'"', b" ", b",", b"#", b"\t", b"\r", b"@", b"\xc3", b"\xa9", b"\x0b", b"\x1c", b"\xff"]
    for _unused in range(20_000):
        line = b"".join(chance.choices(alphabet, k=chance.randrange(14)))
        found = scan(decode(line), Server(major))
        fields = [[(encode(token.text), token.quoted) for token in field] for field in found.fields]
        assert (fields, found.error is not None) == model_fields(line, b" \t\r" if major < 19 else b" \t", limit), line


# ------------------------------------------------------------------------------------------------------------------ lines


def lines(raw: bytes, major: int) -> list[tuple[str, int, int]]:
    return [(line.text, line.line, line.last_line) for line in logical_lines(raw, Server(major))]


def test_line_ends() -> None:
    assert lines(b"a\r\nb\n\nc", 12) == [("a", 1, 1), ("b", 2, 2), ("", 3, 3), ("c", 4, 4)]
    assert lines(b"a\rb\n", 18) == [("a\rb", 1, 1)]
    assert lines(b"", 16) == []
    assert lines(b"\n", 16) == [("", 1, 1)]


def test_continuation() -> None:
    assert lines(b"tr\\\nust\nnext\n", 14) == [("trust", 1, 2), ("next", 3, 3)]
    assert lines(b"tr\\\nust\n", 13) == [("tr\\", 1, 1), ("ust", 2, 2)]
    assert lines(b"# c \\\nlocal\n", 18) == [("# c local", 1, 2)]
    assert lines(b"a\\\r\nb\n", 16) == [("ab", 1, 2)]
    assert lines(b"a\\ \nb\n", 16) == [("a\\ ", 1, 1), ("b", 2, 2)]
    assert lines(b"a\\\\\nb\n", 16) == [("a\\b", 1, 2)]
    assert lines(b"a\\\\\n\nb\n", 16) == [("a\\", 1, 2), ("b", 3, 3)]
    assert lines(b"a\\", 16) == [("a", 1, 1)]
    assert lines(b"a\\\n\\\nb", 16) == [("ab", 1, 3)]


def test_character_broken_by_continuation_or_quote_is_one_character() -> None:
    assert lines(b"\xc3\\\n\xa9\n", 16) == [("é", 1, 2)]
    assert shape(decode(b'\xc3"\xa9"')) == [[("é", False)]]


def test_nul() -> None:
    assert lines(b"a\0b\nc\nd\n", 13) == [("a", 1, 1), ("c", 2, 2), ("d", 3, 3)]
    assert lines(b"a\0b\nc\nd\n", 14) == [("ac", 1, 1), ("d", 2, 2)]
    assert lines(b"a\n\0", 16) == [("a", 1, 1), ("", 2, 2)]


def test_line_limit_breaks_at_20479_bytes_until_13() -> None:
    tail = b"local all all trust\n"
    fine, full, over = b"#" * 20477 + b"\n", b"#" * 20478 + b"\n", b"#" * 20478 + b"x" + tail
    assert [line.error for line in logical_lines(fine + tail, Server(13))] == [None, None]
    assert [line.error for line in logical_lines(full + tail, Server(13))] == [LINE_TOO_LONG, None]
    broken = logical_lines(over, Server(13))
    assert [(line.text[:5], line.line, line.error) for line in broken] == [("#####", 1, LINE_TOO_LONG), ("local", 2, None)]
    assert [line.error for line in logical_lines(over, Server(14))] == [None]
    assert [line.error for line in logical_lines(b"#" * 8190 + b"\n" + tail, Server(13, minor=6))] == [LINE_TOO_LONG, None]


def test_token_limit() -> None:
    assert [token_limit(Server(major)) for major in (12, 13, 14, 15, 16)] == [10239, 10239, 10239, 10239, None]
    assert token_limit(Server(15, minor=3)) == 255
    assert token_limit(Server(15, minor=4)) == 10239
    assert scan("x" * 10239 + " y", Server(15)).error is None
    assert scan("x" * 10239 + ",y", Server(15)).error == TOKEN_TOO_LONG
    assert scan('"' + "x" * 10239 + '"', Server(15)).error == TOKEN_TOO_LONG
    assert scan("é" * 5120, Server(15)).error == TOKEN_TOO_LONG
    assert scan("x" * 100_000, Server(16)).error is None
    assert shape("a " + "x" * 20_000 + " b", 15) == [[("a", False)]]


@given(raw=st.binary(max_size=300), major=st.sampled_from(MAJORS))
@settings(max_examples=400, deadline=None)
def test_spans_cover_every_byte(raw: bytes, major: int) -> None:
    position = 0
    for line in logical_lines(raw, Server(major)):
        assert line.start == position < line.end
        position = line.end
    assert position == len(raw)


@given(
    raw=st.lists(st.sampled_from([b"\n", b"\\", b"\r", b"\0", b'"', b"a", b" ", b",", b"#", b"\xff"]), max_size=40),
    major=st.sampled_from(MAJORS),
)
@settings(max_examples=400, deadline=None)
def test_lines_and_tokens_of_hostile_bytes(raw: list[bytes], major: int) -> None:
    server = Server(major)
    numbers = []
    for line in logical_lines(b"".join(raw), server):
        assert "\0" not in line.text
        assert "\n" not in line.text
        numbers += [line.line, line.last_line]
        for field in scan(line.text, server).fields:
            assert field
    assert numbers == sorted(numbers)
