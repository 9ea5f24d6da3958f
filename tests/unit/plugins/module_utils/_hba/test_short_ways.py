# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Short ways for what most files hold give the very values that the long ways give."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba import lexer, parser, render, ruleset
from ansible_collections.pgops.access.plugins.module_utils._hba.model import LineError, Rule, Server, Token
from ansible_collections.pgops.access.plugins.module_utils._hba.spec import RuleSpec
from hypothesis import given
from hypothesis import strategies as st

SERVERS = [Server(12), Server(13, minor=1), Server(15), Server(16), Server(18, ssl=False), Server(15, features=frozenset()), Server(19)]
server = st.sampled_from(SERVERS)
WORDS = (
    *("host", "hostssl", "hostnossl", "hostgssenc", "local", "include", "HOST", "all", "replication", "sameuser", "a", "db-1", "A.b"),
    *("/x", "+g", "@f", "a,b", '"q"', "-", "10.0.0.0/8", "10.0.0.1/8", "010.0.0.1/8", "10.1/16", "10.0.0.0/33", "10.0.0.0/08", "1/2/3"),
    *("10.0.0.1", "255.0.0.0", "::1/128", "fe80::1%lo/64", "samenet", "h.example", ".example", "0/0", "300.0.0.1/8", "256/32"),
    *("md5", "scram-sha-256", "trust", "reject", "peer", "ident", "radius", "cert", "gss", "oauth", "x", "map=m", "# note", "x" * 80),
)
blank = st.sampled_from([" ", "  ", "\t", "\r", "\x0b", " , "])
text = st.lists(st.tuples(st.sampled_from(WORDS), blank), min_size=1, max_size=7).map(lambda parts: "".join(a + b for a, b in parts))
likely = st.tuples(
    st.sampled_from(WORDS[:7]), st.sampled_from(WORDS[7:20]), st.sampled_from(WORDS[7:20]), st.sampled_from(WORDS), st.sampled_from(WORDS)
).map(" ".join)


def long_way(line: str, which: Server) -> Rule | LineError | None:
    fields, error = lexer.scan(line, which)
    if error is not None or not fields:
        return None
    return parser.parse_fields(fields, which, parser.Place("f", 3, 4, line), 7)


@given(text | likely, server)
def test_a_line_is_read_as_the_parser_reads_it(line: str, which: Server) -> None:
    read = parser.line_reader(which)(line)
    expected = long_way(line, which)
    for place in (("", 0, 0, 1), ("f", 3, 4, 7), ("f", 3, 4, 7)):  # again, at another place, and there once more
        rule = read.rule(*place)
        if rule is not None:
            assert isinstance(expected, Rule)
            numbered = None if expected.number is None else place[3]
            assert rule == expected._replace(file=place[0], line=place[1], last_line=place[2], number=numbered)
    assert read.scan() == lexer.scan(line, which)


@pytest.mark.parametrize("which", SERVERS)
def test_most_lines_take_the_short_way(which: Server) -> None:
    read = parser.line_reader(which)("host  orders app 10.0.0.0/8 scram-sha-256")
    assert read.rule() is not None
    assert read.plain


@given(
    st.lists(text | likely | st.sampled_from(["", "\\", "a\\", "\r", "é", "x" * 9000]), max_size=6), st.sampled_from(["\n", "\r\n"]), server
)
def test_lines_of_a_file(lines: list[str], end: str, which: Server) -> None:
    for raw in (end.join(lines).encode(), (end.join(lines) + end).encode()):
        limit = lexer.chunk_limit(which)
        short = lexer._plain_chunks(raw, limit)
        assert not short or short == lexer._chunks(raw, limit)
        assert lexer.logical_lines(raw * 50, which) == lexer._logical_lines(raw * 50, which.major, limit)


token = st.builds(Token, st.sampled_from([*WORDS, "a b", 'q"', "#", ""]), st.booleans())
field = st.lists(token, min_size=1, max_size=2).map(tuple)
spec = st.builds(
    RuleSpec,
    st.sampled_from(WORDS[:7]),
    field,
    field,
    st.none() | token,
    st.none() | st.just("255.0.0.0"),
    st.none() | st.sampled_from(["md5", "trust", "peer", "cert", "gss", "oauth", "ident", "x y", ""]),
    st.sampled_from([(), (("map", "m"),)]),
    st.sampled_from([None, "", "note"]),
    st.sampled_from([None, "2099-12-31"]),
)
plain_spec = st.builds(
    RuleSpec,
    st.sampled_from(WORDS[:4]),
    *[st.sampled_from(WORDS[7:20]).map(lambda name: (Token(name),))] * 2,
    token,
    st.none(),
    st.just("md5"),
)


@given(spec | plain_spec, server)
def test_a_rule_is_written_as_the_long_way_writes_it(wanted: RuleSpec, which: Server) -> None:
    short = render._rendered_plain(wanted, which)
    if short is not None:
        assert short == render._rendered(wanted, which)


@given(st.lists(text | likely, max_size=8), server)
def test_a_file_read_twice_is_the_same(lines: list[str], which: Server) -> None:
    raw = "\n".join(lines).encode()
    parser.line_reader.cache_clear()
    first = ruleset.parse_text(raw, which, "/f")
    moved = ruleset.parse_text(b"# one more\n" + raw, which, "/f")
    assert ruleset.parse_text(raw, which, "/f") == first
    assert [row._replace(line=row.line - 1, last_line=row.last_line - 1) for row in moved.rows] == list(first.rows)
