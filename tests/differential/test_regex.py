# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random regular expressions: validity and reason, match, and what each group captured, as the servers say.

The servers' databases are SQL_ASCII with the C locale, so that their SQL operators see bytes, as the matching of access rules does.
"""

from __future__ import annotations

import random
import sys
import typing as t

import pytest

from . import engine
from .servers import Server
from .test_random import SEED, N

regex = engine.engine_module("regex")
errors = engine.engine_module("errors")

FACTOR = 5
"""Expressions for each file that the other tests draw."""
BATCH = 200

FUNCTION = """
create or replace function asked(subject text, pattern text, out answer text, out captured text) language plpgsql as $$
begin
  answer := subject ~ pattern;
  captured := coalesce((select string_agg(coalesce(encode(convert_to(part, 'SQL_ASCII'), 'hex'), '-'), ',')
                        from unnest(regexp_match(subject, pattern)) part), '');
exception when invalid_regular_expression then answer := sqlerrm;
end $$
"""

TOKENS = [
    *"abc()[]{}*+?|^$.\\-, #\n19", "(?:", "[^", "{1", "{1,2}", "{0}", "{2,1}", "{3}", "{,3}", "{256}", "*?", "+?", "??",
    "\\d", "\\W", "\\1", "\\2", "\\12", "\\m", "\\y", "\\Z", "\\x41", "\\u0041", "\\U0010FFFF", "\\c", "\\q", "\\e", "\\0", "\\777", "\\<",
    "[:alpha:]", "[[:digit:]]", "[[:word:]]", "[[:foo:]]", "[.a.]", "[[.hyphen.]]", "[[.zz.]]", "[[=a=]]", "a-z", "z-a", "[]a]",
    "[a\\d-]", "[\\W]", "[]", "(?=", "(?!", "(?<=", "(?<!", "(?#x)", "(?", "(?<", "(?i)", "***:", "***=", "***", "(?z)",
    "[[:<:]]", "[[:>:]]", "\\{", "\\}", "\\(", "\\)", "\xe9",
]  # fmt: skip
PREFIXES = ["***:", "(?i)", "(?b)", "(?e)", "(?q)", "(?x)", "(?n)", "(?w)", "(?p)", "(?xe)", "(?bx)", "***=", "(?bi)", "(?s)", "(?ex)"]
QUANTIFIERS = [*[""] * 5, "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,2}", "{2,}", "{1,2}?", "{0}", "{1}", "{1,1}?", "{2,}?"]
ATOMS = ["a", "b", "c", ".", "[ab]", "[^a]", "\\w", "\\W", "\\d", "\\s", "_", "1", " ", "[[:alpha:]]", "\xe9", "[\xa9-\xc3]", "ab"]
ANCHORS = ["^", "$", "\\m", "\\M", "\\y", "\\Y", "\\A", "\\Z"]


class Expressions:
    """Draws expressions: a soup of tokens, mostly invalid, or ones with structure, mostly valid."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.groups = 0

    def soup(self) -> str:
        prefix = self.rng.choice(PREFIXES) if self.rng.random() < 0.25 else ""
        return prefix + "".join(self.rng.choice(TOKENS) for _ in range(self.rng.randint(1, 9)))

    def built(self, back_references: bool) -> str:
        self.groups = 0
        prefix = self.rng.choice(["", "", "", "", "(?i)", "(?n)", "(?w)", "(?p)", "(?x)", "***:"])
        return prefix + self._sequence(3, back_references, looking=False)

    def _sequence(self, depth: int, back: bool, looking: bool) -> str:
        parts = []
        for _ in range(self.rng.choice([1, 1, 2, 2, 3])):
            parts.append(self._part(depth, back, looking))
            if self.rng.random() < 0.12:
                parts.append("|")
        return "".join(parts)

    def _part(self, depth: int, back: bool, looking: bool) -> str:
        chance, quantifier = self.rng.random(), self.rng.choice(QUANTIFIERS)
        if chance < 0.5 or depth == 0:
            return self.rng.choice(ATOMS) + quantifier
        if chance < 0.57:
            return self.rng.choice(ANCHORS)
        if chance < 0.62:
            return f"({self.rng.choice(['?=', '?!', '?<=', '?<!'])}{self._sequence(depth - 1, back, True)})"
        if chance < 0.68 and back and self.groups and not looking:
            return f"\\{self.rng.randint(1, min(9, self.groups))}{quantifier}"
        inner = self._sequence(depth - 1, back, looking)
        if chance < 0.8:
            return f"(?:{inner}){quantifier}"
        self.groups += not looking
        return f"({inner}){quantifier}"

    def subject(self) -> bytes:
        return "".join(self.rng.choice("aaabbbcc_1 é\n") for _ in range(self.rng.choice([0, 1, 2, 3, 4, 5, 6, 8, 12]))).encode()


def ask(server: Server, questions: t.Sequence[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """For each subject and expression, ``true``, ``false`` or the error, and the groups in hexadecimal."""
    values = ",".join(
        f"({number},convert_from('\\x{subject.hex()}','SQL_ASCII'),convert_from('\\x{pattern.hex()}','SQL_ASCII'))"
        for number, (subject, pattern) in enumerate(questions)
    )
    text = f"select a.answer, a.captured from (values {values}) q(n, s, p) cross join lateral asked(q.s, q.p) a order by q.n"
    return [((row[0] or b"").decode("latin-1"), (row[1] or b"").decode()) for row in server.sql(text)]


def expect(pattern: bytes, subject: bytes, major: int) -> tuple[str, str] | None:
    """The engine's answer in the servers' words; None where it refuses."""
    text = engine.model.decode(pattern)
    reason = regex.compile_error(text, major=major)
    if reason is not None:
        return f"invalid regular expression: {reason}", ""
    try:
        compiled = regex.compile_pattern(text, major=major)
        found, match = compiled.search(subject), compiled.match(subject)
    except errors.UnsupportedPattern:
        return None
    if not found or match is None:
        return ("false" if not found and match is None else "contradiction"), ""
    spans = match.groups or ((match.start, match.end),)
    return "true", ",".join("-" if span is None else subject[span[0] : span[1]].hex() for span in spans)


DISAGREED = [
    (b"aa", rb"(^.)\1"),
    (b"abab", rb"(\Aab)\1"),
    (b"bb", rb"(\A)?\M|\1"),
    (b"bb", rb"(?:[[:alpha:]]{1,2}.??(\A))?\M|\1"),
    (b" a", rb"(?x)(?<=1*)(?:(\A){1,1}?)??"),
]
"""What random expressions found: up to 13 a back reference keeps the conditions inside its group, and {1,1} its preference."""


def test_expressions_that_once_disagreed(server: Server) -> None:
    server.sql(FUNCTION)
    assert [expect(pattern, subject, server.major) for subject, pattern in DISAGREED] == ask(server, DISAGREED)


@pytest.mark.parametrize("kind", ["soup", "plain", "back"])
def test_expressions(server: Server, kind: str) -> None:
    server.sql(FUNCTION)
    seed = SEED + server.major
    draw = Expressions(seed)
    count = N * FACTOR
    print(f"\n{server!r}: {count} expressions ({kind}), PGOPS_DIFFERENTIAL_SEED={SEED}", file=sys.stderr)
    wrong, refused, matched = [], 0, 0
    for _ in range(0, count, BATCH):
        texts = [draw.soup() if kind == "soup" else draw.built(kind == "back") for _ in range(min(BATCH, count))]
        questions = [(draw.subject(), text.encode("latin-1")) for text in texts for _ in range(1 if kind == "soup" else 3)]
        for (subject, pattern), theirs in zip(questions, ask(server, questions)):
            ours = expect(pattern, subject, server.major)
            matched += theirs[0] == "true"
            if ours is None:
                refused += 1
            elif ours != theirs:
                wrong.append(f"{pattern!r} on {subject!r}: server {theirs}, engine {ours}")
    assert not wrong, f"{len(wrong)} differ (seed {SEED}):\n" + "\n".join(wrong[:20])
    assert matched > 0
    assert refused <= count * 3 // 50, f"{refused} refused"
