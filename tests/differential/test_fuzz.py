# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input without a server: any bytes, to 10 MB, give a result with errors by line; never an exception, never a hang.

Each input has its own time limit. The limits are some ten times what an idle machine of 2026 needs, so that a slow or busy one
passes and something that grows with the square of the input does not.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import types
import typing as t

import pytest

from . import corpus
from .engine import engine_module, ident, model, ruleset, view
from .generate import Generator
from .test_random import SEED, N

document = engine_module("document")
reader = engine_module("reader")
decide = engine_module("decide")
regex = engine_module("regex")
effect = engine_module("effect")
errors = engine_module("errors")

DIALECTS = [12, 14, 16, 18]
MEGABYTES = int(os.environ.get("PGOPS_FUZZ_MEGABYTES") or (10 if N >= 1000 else 1))
"""Ten in a nightly run: ten million blank lines are as many values, which take minutes and gigabytes."""
BIG = MEGABYTES * 1_000_000
SMALL_LIMIT, BIG_LIMIT = 10.0, 240.0
SEEDED = f"PGOPS_DIFFERENTIAL_SEED={SEED}"
CORPUS = [case for case in corpus.recorded_cases() if case.kind == "hba"]


class TooSlow(BaseException):
    """Not an Exception, so that nothing that is tested can swallow it."""


@contextlib.contextmanager
def within(seconds: float, what: str) -> t.Iterator[None]:
    """Fail when the block takes longer; it is interrupted, so that a hang is a failure, not a stuck run."""

    def late(_signal: int, _frame: types.FrameType | None) -> None:
        raise TooSlow(f"{what} took more than {seconds:.0f} s ({SEEDED})")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def digest(raw: bytes, major: int, files: t.Mapping[str, bytes | None] | None = None) -> t.Any:
    """Everything that reads a file: the rules, both views, a lossless document; returns the ruleset."""
    server = model.Server(major)
    everything = reader.DictReader({"/data/pg_hba.conf": raw, **(files or {})})
    rules = ruleset.load("/data/pg_hba.conf", everything, server)
    assert rules.loads == (not rules.errors)
    assert len(view.hba_rows(rules.rows, server)) == len(rules.rows)
    assert all(error.message for error in rules.errors)
    assert document.Document.parse(raw, server).render() == raw
    maps = ident.parse_text(raw, server, "/data/pg_ident.conf", everything)
    assert len(maps.view_rows(server)) == len(maps.rows)
    return rules


@pytest.mark.parametrize("major", DIALECTS)
def test_random_bytes(major: int) -> None:
    rng = random.Random(SEED + major)
    for number in range(150):
        size = rng.choice([0, 1, 2, 10, 100, 1000, 5000])
        alphabet = rng.choice(
            [bytes(range(256)), b'\\\n"', b' ,#"@\\\n\r\0a/+', b"local host all trust,\n\t", b"\n\r\0", b"\xc3\xa9\xff\x80 \n"]
        )
        raw = bytes(rng.choice(alphabet) for _ in range(size))
        with within(SMALL_LIMIT, f"random bytes {number}"):
            digest(raw, major)


@pytest.mark.parametrize("major", DIALECTS)
def test_truncated_files(major: int) -> None:
    """Every recorded file cut at random places, its companions with it."""
    rng = random.Random(SEED + major)
    for case in CORPUS:
        raw = case.text[: rng.randint(0, len(case.text))]
        files = {
            f"/data/{name}" if name[0] != "/" else name: content[: rng.randint(0, len(content))] for name, content in case.files.items()
        }
        with within(SMALL_LIMIT, case.name):
            digest(raw, major, files)


@pytest.mark.parametrize("major", DIALECTS)
def test_generated_files(major: int) -> None:
    """Random files that decide, effect and the rest of the engine have to bear, too."""
    generator = Generator(SEED + major, major)
    server = model.Server(major)
    clients = [
        model.Client("alice", transport="local"),
        model.Client("app", "d1", "127.0.0.1", "tls"),
        model.Client("m", None, "::1", "tcp", True),
    ]
    before: t.Any = ()
    for number in range(120):
        case = generator.case("hba", str(number))
        with within(SMALL_LIMIT * 3, repr(case)):
            rules = digest(case.text, major, {f"/data/{name}": content for name, content in case.files.items()}).rules
            for client in clients:
                assert decide.decide(rules, client, server=server).outcome
            effect.effect(before, rules, server=server)
            before = rules


RECURSIVE: dict[str, dict[str, bytes | None]] = {
    "at itself": {"/data/pg_hba.conf": b"local @pg_hba.conf all trust\n"},
    "include itself": {"/data/pg_hba.conf": b"local all all trust\ninclude pg_hba.conf\n"},
    "two that name each other": {
        "/data/pg_hba.conf": b"include a\nlocal @b all trust\n",
        "/data/a": b"include b\n@b\n",
        "/data/b": b"include a\n@a x @b\n",
    },
    "a directory of itself": {
        "/data/pg_hba.conf": b"include_dir d\n",
        "/data/d/a.conf": b"include_dir ../d\n",
        "/data/d/b.conf": b"include_dir .\n",
    },
    "ten levels of ten": {
        "/data/pg_hba.conf": b"local @l1 all trust\n",
        **{f"/data/l{n}": f"@l{n + 1} ".encode() * 10 + b"\n" for n in range(1, 12)},
        "/data/l12": b"a b c\n",
    },
    "ten levels of ten includes": {
        "/data/pg_hba.conf": b"include l1\n",
        **{f"/data/l{n}": f"include l{n + 1}\n".encode() * 10 for n in range(1, 9)},
        "/data/l9": b"local all all trust\n",
    },
    "a long chain": {"/data/pg_hba.conf": b"local @c0 all trust\n", **{f"/data/c{n}": f"x @c{n + 1}\n".encode() for n in range(2000)}},
}


@pytest.mark.parametrize("major", DIALECTS)
@pytest.mark.parametrize("name", RECURSIVE)
def test_recursion(name: str, major: int) -> None:
    files = RECURSIVE[name]
    with within(BIG_LIMIT, name):
        rules = digest(t.cast(bytes, files["/data/pg_hba.conf"]), major, files)
    assert not rules.loads


LONG: dict[str, bytes] = {
    "10,000 databases": b"local " + b",".join(b"db%d" % n for n in range(10_000)) + b" all trust\n",
    "10,000 users, quoted": b"local all " + b",".join(b'"u %d"' % n for n in range(10_000)) + b" trust\n",
    "10,000 regular expressions": b"local " + b",".join(b"/^db%d$" % n for n in range(10_000)) + b" all trust\n",
    "10,000 options": b"local all all peer " + b" ".join(b"map=m%d" % n for n in range(10_000)) + b"\n",
    "10,000 blanks and commas": b"local " + b" ,\t" * 10_000 + b"all all trust\n",
    "10,000 empty tokens": b"local " + b'"",' * 10_000 + b"x all trust\n",
    "10,000 quotes": b"local " + b'"' * 10_001 + b" all trust\n",
    "10,000 continuations": b"local \\\n" + b"all,\\\n" * 10_000 + b"x all trust\n",
    "10,000 missing files": b"local " + b"@missing," * 10_000 + b"x all trust\n",
    "10,000 secrets": b'host all all all radius radiusservers=127.0.0.1 "radiussecrets=' + b"s," * 10_000 + b's"\n',
    "10,000 includes": b"include missing\n" * 10_000,
}


@pytest.mark.parametrize("major", DIALECTS)
@pytest.mark.parametrize("name", LONG)
def test_ten_thousand(name: str, major: int) -> None:
    client = model.Client("u 9999", "db9999", transport="local")
    with within(BIG_LIMIT / 4, name):
        rules = digest(LONG[name], major)
        decide.decide(rules.rules, client, server=model.Server(major))


HUGE: dict[str, t.Callable[[], bytes]] = {
    "one word": lambda: b"a" * BIG,
    "one quote": lambda: b'"' + b" " * BIG,
    "quotes": lambda: b'"' * BIG,
    "commas": lambda: b"," * BIG,
    "line ends": lambda: b"\n" * BIG,
    "carriage returns": lambda: b"\r" * BIG,
    "NUL": lambda: b"\0" * BIG,
    "NUL lines": lambda: b"a\0\n" * (BIG // 3),
    "continuations": lambda: b"\\\n" * (BIG // 2),
    "long continuations": lambda: b"a\\\n" * (BIG // 3),
    "backslashes": lambda: b"\\" * BIG,
    "comments": lambda: b"# x\n" * (BIG // 4),
    "a comment": lambda: b"#" * BIG,
    "one list": lambda: b"local " + b"a," * (BIG // 2) + b"b all trust\n",
    "short lines": lambda: b"x\n" * (BIG // 2),
    "rules": lambda: b"host all all 10.0.0.0/8 scram-sha-256\n" * (BIG // 38),
    "random": lambda: random.Random(SEED).randbytes(BIG),
    "high bytes": lambda: b"\xff" * BIG,
    "equals": lambda: b"local all all trust " + b"=" * BIG,
    "one expression": lambda: b"local /" + b"(a|b)*" * (BIG // 6) + b" all trust\n",
    "one parenthesis": lambda: b"local /" + b"(" * BIG + b" all trust\n",
    "one bracket": lambda: b'local "/[' + b"a-z" * (BIG // 3) + b']" all trust\n',
    "one number": lambda: b"host all all 1" + b"0" * BIG + b" trust\n",
    "one prefix": lambda: b"host all all 1.2.3.4/" + b"0" * BIG + b" trust\n",
    "one port": lambda: b"host all all all ldap ldapbasedn=x ldapport=" + b"1" * BIG + b"\n",
    "one URL": lambda: b"host all all all ldap ldapurl=ldap://" + b"%41" * (BIG // 3) + b"\n",
}


@pytest.mark.parametrize("name", HUGE)
def test_megabytes(name: str) -> None:
    """Up to 10 MB of one thing, in the oldest and the newest dialect."""
    raw = HUGE[name]()
    for major in (13, 18):
        with within(BIG_LIMIT, f"{MEGABYTES} MB of {name}, {major}"):
            digest(raw, major)


SLOW = [
    "(a*)*b", "(a|a)*b", "(a|aa)+$", "(a+)+b", "((a*)*)*b", "(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)b", "^(a?){63}a{63}$", "(a?){60}a{60}b",
    "a{1,255}{1,255}", "(((a{1,20}){1,20}){1,20}){1,20}", "(.*)*\\1b", "(a*)\\1\\1\\1b", "^(.+)+\\1$", "((.)\\2)*b", "(?=(a*)*b)a",
    "(a*?)*?b",    "(x+x+)+y", "[a-z]*[a-z]*[a-z]*[a-z]*!", "(" * 200 + "a" + ")*" * 200, "a" * 5000, "(a|b|c|d|e)*" * 300, ".{255}" * 20,
    "(?:a{0,255}){255}", "\\m(a\\M.?)*b", "(^a|a$)*b", "((a|b)*\\2)*c",
]  # fmt: skip
SUBJECTS = ["a" * 63, "ab" * 31, "x" * 63, "a" * 62 + "!", ""]


@pytest.mark.parametrize("pattern", SLOW, ids=range(len(SLOW)))
def test_slow_expressions(pattern: str) -> None:
    """Matched in time, or refused as not covered; at login and through a map with ``\\1``."""
    server = model.Server(16)
    quoted = pattern.replace('"', '""')
    rules = ruleset.parse_text(f'local all "/{quoted}" trust\n'.encode(), server)
    maps = ident.parse_text(f'm "/({quoted})" x\\1\n'.encode(), server)
    for subject in SUBJECTS:
        with within(SMALL_LIMIT * 3, pattern[:60]):
            if subject:
                assert decide.decide(rules.rules, model.Client(subject, transport="local"), server=server).outcome in (
                    "trust",
                    "no_entry",
                    "undecided",
                )
            assert ident.UserMaps(maps.mappings, server=server).may_become("m", subject, "x").outcome in ("allowed", "refused", "undecided")


def test_the_time_limit_works() -> None:
    """What guards the other tests interrupts an endless loop."""

    def endless() -> None:
        while True:
            sys.intern("x")

    with pytest.raises(TooSlow, match="an endless loop took more than 0 s"), within(0.2, "an endless loop"):
        endless()
