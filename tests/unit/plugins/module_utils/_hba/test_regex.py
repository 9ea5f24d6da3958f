# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Regular expressions: servers' answers (15.18, and 12 to 18 in tests/differential/test_regex.py), time, and what is refused."""

from __future__ import annotations

import time

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba import regex
from ansible_collections.pgops.access.plugins.module_utils._hba.errors import UnsupportedPattern
from ansible_collections.pgops.access.plugins.module_utils._hba.model import decode
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", None),
        ("^db{1", "braces {} not balanced"),
        ("^*a", "quantifier operand invalid"),
        ("a**", "quantifier operand invalid"),
        ("(?=a)*", "quantifier operand invalid"),
        ("***", "quantifier operand invalid"),
        ("***a", "quantifier operand invalid"),
        ("***?", "invalid regexp (reg version 0.8)"),
        ("[", "brackets [] not balanced"),
        ("[a", "brackets [] not balanced"),
        ("a{2,1}", "invalid repetition count(s)"),
        ("a{256}", "invalid repetition count(s)"),
        ("a{1x}", "invalid repetition count(s)"),
        ("a{,3}", None),
        ("a\\q", "invalid escape \\ sequence"),
        ("a\\", "invalid escape \\ sequence"),
        ("\\u12", "invalid escape \\ sequence"),
        ("[\\m]", "invalid escape \\ sequence"),
        ("(", "parentheses () not balanced"),
        (")", "parentheses () not balanced"),
        ("(?e))", None),
        ("^\\1$", "invalid backreference number"),
        ("(a\\1)", "invalid backreference number"),
        ("(a){0}\\1", None),
        ("(?=(a))\\1", "invalid backreference number"),
        ("[[:foo:]]", "invalid character class"),
        ("[[.zz.]]", "invalid collating element"),
        ("[[.hyphen.]]", None),
        ("[z-a]", "invalid character range"),
        ("[a-c-e]", "invalid character range"),
        ("[[:alpha:]-z]", "invalid character range"),
        ("(?z)a", "invalid embedded option"),
        ("(?i", "invalid embedded option"),
        ("(?b)a\\{1,2\\}", None),
        ("(?b)a\\{1", "braces {} not balanced"),
        ("(?q)(((", None),
        ("***=(((", None),
        ("a" * 60_000, "regular expression is too complex"),
        ("(" * 9_000, "regular expression is too complex"),
        ("((a{255}){255}){255}", "regular expression is too complex"),
    ],
)
def test_reasons(text: str, reason: str | None) -> None:
    assert regex.compile_error(text) == reason


def test_what_came_with_14() -> None:
    assert regex.compile_error("[[:word:]]", major=13) == "invalid character class"
    assert regex.compile_error("[\\W]", major=13) == "invalid escape \\ sequence"
    assert regex.compile_error("[[:word:][\\W]]", major=14) is None


def test_a_utf8_session_judges_code_points() -> None:
    """The server loads the file byte by byte; the view compiles in the database's encoding."""
    assert regex.compile_error("[à-é]") is None
    assert regex.compile_error("[é-à]", utf8=True) == "invalid character range"
    assert regex.compile_error("[é-à]") is None


@pytest.mark.parametrize(
    ("text", "subject", "found"),
    [
        ("", "", True),
        ("^..$", "é", True),
        ("^.$", "é", False),
        ("^[é]$", "é", False),
        ("^\\u00e9$", "é", False),
        ("(?i)É", "é", False),
        ("(?i)ABC", "xabcx", True),
        ("***:(?i)ab", "AB", True),
        ("***=a.c", "a.c", True),
        ("***=a.c", "abc", False),
        ("\\mdev", "web dev", True),
        ("\\mdev", "webdev", False),
        ("[[:<:]]a[[:>:]]", "b a b", True),
        ("^(?!app_)", "app_x", False),
        ("^(?!app_)", "web_x", True),
        ("(?<=_)ro$", "app_ro", True),
        ("(?<!_)ro$", "app_ro", False),
        ("^(.)\\1$", "aa", True),
        ("^(.)\\1$", "ab", False),
        ("(?i)^(.)\\1$", "aA", True),
        ("(a|b)\\1|$", "abX", False),
        ("(?n)^b$", "a\nb", True),
        ("^b$", "a\nb", False),
        ("a{2,3}?b", "aaab", True),
        ("(?x)a b # comment", "ab", True),
        ("(?b)a\\{2\\}", "aa", True),
        ("(?e)a)", "a)", True),
        ("\\x61", "a", True),
        ("\\141", "a", True),
    ],
)
def test_matches(text: str, subject: str, found: bool) -> None:
    assert regex.compile_pattern(text).search(subject) is found


@pytest.mark.parametrize(
    ("text", "subject", "groups"),
    [
        ("^(.*)@(.*)$", b"joe@example.com", (b"joe", b"example.com")),
        ("(a*)(a*)", b"aaa", (b"aaa", b"")),
        ("(a*?)(a*)", b"aaa", (b"", b"")),
        ("(a|ab)(c|bcd)(d*)", b"abcd", (b"ab", b"c", b"d")),
        ("^(x)?nobody$", b"nobody", (None,)),
        ("(a|b)*", b"abab", (b"b",)),
        ("((?:a|b)*?)b", b"aabb", (b"aa",)),
        ("(b*){1,2}?", b"bb", (b"",)),
        ("(a)|(b)", b"b", (None, b"b")),
        ("((x))", b"x", (b"x", b"x")),
    ],
)
def test_groups(text: str, subject: bytes, groups: tuple[bytes | None, ...]) -> None:
    match = regex.compile_pattern(text).match(subject)
    assert match is not None
    assert tuple(None if span is None else subject[span[0] : span[1]] for span in match.groups) == groups


@pytest.mark.parametrize(
    "text", ["(a*)*b", "(a|aa)+$", "(x+x+)+y", "(((a*)*)*)*b", "(a?){60}a{60}", "((a{0,50}){0,50}){0,3}c", "(a|b|ab)*bc", "(?=(a*)*b)c"]
)
def test_expressions_meant_to_be_slow(text: str) -> None:
    """On these Python's own engine takes longer than anybody waits."""
    start = time.process_time()
    pattern = regex.compile_pattern(text)
    pattern.search("a" * 63)
    pattern.match("a" * 63)
    assert time.process_time() - start < 2


def test_time_grows_with_the_subject_only() -> None:
    pattern = regex.compile_pattern("(a*)*b|(a|aa)+c")
    pattern.search(b"a" * 50)
    times = []
    for length in (20_000, 40_000):
        start = time.process_time()
        assert not pattern.search(b"a" * length)
        times.append(time.process_time() - start)
    assert times[1] < max(times[0], 0.005) * 4


@pytest.mark.parametrize(
    ("text", "why"),
    [("(?:a{255}){60}", "too many states"), ("(" * 150 + ")" * 150, "nested more than 100 deep")],
)
def test_what_is_refused(text: str, why: str) -> None:
    assert regex.compile_error(text) is None
    with pytest.raises(UnsupportedPattern, match=why):
        regex.compile_pattern(text)


def test_back_references_have_a_budget() -> None:
    pattern = regex.compile_pattern("^(a*)(a*)(a*)(a*)\\1\\2\\3\\4b$")
    assert pattern.search("a" * 8 + "b")
    start = time.process_time()
    with pytest.raises(UnsupportedPattern, match="too many steps"):
        pattern.search("a" * 61 + "b")
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" + "a" * 2_000_000, "brackets [] not balanced"),
        ("a|" * 1_000_000, None),
        ("(?x)" + " " * 2_000_000, None),
        ("(?#" * 700_000, None),
        ("()" * 1_000_000, "regular expression is too complex"),
        ("[[:alpha:]" * 20_000, "brackets [] not balanced"),
    ],
)
def test_megabytes(text: str, reason: str | None) -> None:
    start = time.process_time()
    assert regex.compile_error(text) == reason
    assert time.process_time() - start < 3


def test_runs_in_brackets() -> None:
    pattern = regex.compile_pattern("^[]abc-eg\\d_-]+$")
    assert pattern.search("]abcdeg09_-")
    assert not any(pattern.search(char) for char in "fh[\\^")
    assert regex.compile_pattern("(?i)^[qwertz]+$").search("QwErTz")
    assert regex.compile_error("[abcz-a]") == "invalid character range"


def test_an_invalid_expression_is_no_pattern() -> None:
    with pytest.raises(ValueError, match=r'invalid regular expression "\(": parentheses \(\) not balanced'):
        regex.compile_pattern("(")


@given(raw=st.binary(max_size=80))
@settings(max_examples=500, deadline=None)
def test_any_bytes_have_an_answer(raw: bytes) -> None:
    text = decode(raw)
    reason = regex.compile_error(text)
    if reason is None:
        try:
            regex.compile_pattern(text).match(b"some_name")
        except UnsupportedPattern:
            return
    else:
        with pytest.raises(ValueError, match="invalid regular expression"):
            regex.compile_pattern(text)


@given(text=st.text(alphabet="ab(|)*+?{1,2}^$[]\\.", max_size=30))
@settings(max_examples=500, deadline=None)
def test_search_and_match_agree(text: str) -> None:
    if regex.compile_error(text) is not None:
        return
    try:
        pattern = regex.compile_pattern(text)
        assert pattern.search("abba") == (pattern.match("abba") is not None)
    except UnsupportedPattern:
        return
