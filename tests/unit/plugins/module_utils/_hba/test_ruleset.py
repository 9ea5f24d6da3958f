# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Includes, @files, both verdicts, and what must never happen: an exception, a hang, more than linear growth."""

from __future__ import annotations

import errno
import time

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba import collector
from ansible_collections.pgops.access.plugins.module_utils._hba.model import LineError, Rule, Server
from ansible_collections.pgops.access.plugins.module_utils._hba.reader import DictReader
from ansible_collections.pgops.access.plugins.module_utils._hba.ruleset import Ruleset, load, located, parse_text
from ansible_collections.pgops.access.plugins.module_utils._hba.view import hba_rows
from hypothesis import given, settings
from hypothesis import strategies as st

MAJORS = (12, 13, 14, 15, 16, 17, 18, 19)
MAIN = "/d/pg_hba.conf"
LINE = b"local all all trust\n"


def read(major: int, files: dict[str, bytes | int | None]) -> Ruleset:
    given_files: dict[str, bytes | OSError | int | None] = {f"/d/{name}": content for name, content in files.items()}
    return load(MAIN, DictReader(given_files), Server(major))


def messages(rules: Ruleset) -> list[str]:
    return [error.message for error in rules.errors]


def test_included_lines_keep_their_own_place() -> None:
    rules = read(
        16, {"pg_hba.conf": b"local a a trust\ninclude s/x\nlocal c c bad\n", "s/x": b"\nlocal b b trust\ninclude y\n", "s/y": LINE}
    )
    assert [(row.file, row.line, row.number) for row in rules.rows] == [
        ("/d/pg_hba.conf", 1, 1),
        ("/d/s/x", 2, 2),
        ("/d/s/y", 1, 3),
        ("/d/pg_hba.conf", 3, None),
    ]
    assert rules.files == ("/d/pg_hba.conf", "/d/s/x", "/d/s/y")
    assert not rules.loads


def test_main_file_that_cannot_be_read() -> None:
    assert messages(read(16, {})) == ['could not open file "/d/pg_hba.conf": No such file or directory']
    assert read(15, {}).unreadable == 'could not open configuration file "/d/pg_hba.conf": No such file or directory'
    assert read(18, {"pg_hba.conf": errno.EACCES}).unreadable == 'could not open file "/d/pg_hba.conf": Permission denied'
    directory = read(13, {"pg_hba.conf": None})
    assert [(row.line, row) for row in directory.rows] == [(1, directory.errors[0])]
    assert messages(directory) == ['could not read file "/d/pg_hba.conf": Is a directory']
    assert messages(read(14, {"pg_hba.conf": None})) == ['configuration file "/d/pg_hba.conf" contains no entries']


@pytest.mark.parametrize("major", MAJORS)
def test_no_entries(major: int) -> None:
    rules = read(major, {"pg_hba.conf": b"# nothing\n,,\n"})
    assert (rules.rows, rules.loads, len(rules.errors)) == ((), False, 1)


def test_one_bad_line_never_hides_the_next() -> None:
    rules = read(18, {"pg_hba.conf": b"x\nlocal a a bad\n" + LINE + b'"/\n'})
    assert [type(row) for row in rules.rows] == [LineError, LineError, Rule, LineError]


def test_nesting_depth_is_that_of_the_chain() -> None:
    files: dict[str, bytes | int | None] = {f"n{level}": f"@n{level + 1} d{level}\n".encode() for level in range(1, 11)}
    files["pg_hba.conf"] = b"local @n1 a trust\nlocal @n1,@n2 a trust\n"
    deep = read(16, files)
    assert messages(deep) == ['could not open file "/d/n11": maximum nesting depth exceeded'] * 2
    files["n10"] = b"end\n"
    assert read(16, files).loads


@pytest.mark.parametrize("major", [12, 13, 14, 15])
def test_recursion_is_fatal_where_the_server_crashes(major: int) -> None:
    rules = read(major, {"pg_hba.conf": b"local @a all trust\n" + LINE, "a": b"x @b\n", "b": b"@a\n"})
    assert not rules.loads
    assert "crashes" in messages(rules)[0]
    assert isinstance(rules.rows[1], Rule)
    chain: dict[str, bytes | int | None] = {f"n{level}": f"@n{level + 1}\n".encode() for level in range(1, 500)}
    assert not read(major, {**chain, "pg_hba.conf": b"local @n1 all trust\n"}).loads
    shallow: dict[str, bytes | int | None] = {**chain, "n60": b"x\n", "pg_hba.conf": b"local @n1 all trust\n"}
    assert read(major, shallow).loads


def test_inclusions_that_multiply_are_stopped() -> None:
    started = time.process_time()
    files: dict[str, bytes | int | None] = {f"n{level}": (f"@n{level + 1} " * 40).encode() for level in range(1, 10)}
    files["n10"] = b"x " * 40
    files["pg_hba.conf"] = b"local @n1 all trust\n"
    assert "multiply" in messages(read(16, files))[0]
    includes: dict[str, bytes | int | None] = {f"n{level}": (f"include n{level + 1}\n" * 40).encode() for level in range(1, 10)}
    includes["n10"] = b"#" * 100_000
    includes["pg_hba.conf"] = b"include n1\n"
    assert "multiply" in messages(read(16, includes))[0]
    assert time.process_time() - started < 60


def test_include_dir_repeats_its_message() -> None:
    rules = read(17, {"pg_hba.conf": b"include_dir d\n" + LINE, "d/a.conf": errno.EACCES, "d/b.conf": LINE, "d/c.conf": LINE})
    assert [row.file for row in rules.rows] == ["/d/d/b.conf", "/d/d/c.conf", MAIN, MAIN]
    assert messages(rules) == ["\n".join(['could not open file "/d/d/a.conf": Permission denied'] * 3)]


def test_include_dir_order_and_names() -> None:
    names = ["10.conf", "9.conf", "Z.conf", "_u.conf", "a-b.conf", "a.conf", "b.conf", "é.conf"]
    files: dict[str, bytes | int | None] = {
        f"d/{name}": LINE for name in [*names, ".conf", ".a.conf", "x.CONF", "a.conf~", "s.conf/in.conf"]
    }
    rules = read(16, {**files, "pg_hba.conf": b"include_dir d\n"})
    assert [row.file for row in rules.rows] == [f"/d/d/{name}" for name in names]


def test_include_words_of_15_are_connection_types() -> None:
    assert messages(read(15, {"pg_hba.conf": b"include x\n", "x": LINE})) == ['invalid connection type "include"']


def test_only_a_missing_file_is_forgiven() -> None:
    forgiven = read(16, {"pg_hba.conf": b"include_if_exists nope\n" + LINE})
    assert forgiven.loads
    assert messages(read(16, {"pg_hba.conf": b"include_if_exists x\n" + LINE, "x": errno.EACCES})) == [
        'could not open file "/d/x": Permission denied'
    ]
    assert messages(read(16, {"pg_hba.conf": b"include_if_exists x/y\n" + LINE, "x": b""})) == [
        'could not open file "/d/x/y": Not a directory'
    ]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("x", "/a/b/x", "/a/b/x"),
        ("./x", "/a/b/x", "/a/b/x"),
        ("../x", "/a/b/../x", "/a/x"),
        ("s/../x/.", "/a/b/s/../x", "/a/b/x"),
        ("s/..", "/a/b", "/a/b"),
        ("../../../..", "/", "/"),
        ("/a//b/../c", "/a//b/../c", "/a//b/../c"),
        ("", "/a/b", "/a/b"),
    ],
)
def test_names_are_normalised_fully_since_15(name: str, old: str, new: str) -> None:
    assert located(name, "/a/b/pg_hba.conf", Server(14)) == old
    assert located(name, "/a/b/pg_hba.conf", Server(15)) == new


def test_long_names_are_cut_as_the_server_cuts_them() -> None:
    found = located("a/" * 700, "/d/pg_hba.conf", Server(16))
    assert found == ("/d/" + "a/" * 700)[:1023].rstrip("/")


def test_an_error_tells_the_name_as_this_line_wrote_it() -> None:
    found = messages(read(13, {"pg_hba.conf": b"local @x a trust\nlocal @./x a trust\n"}))
    assert [message.split()[6] for message in found] == ['"@x"', '"@./x"']


def test_text_without_files() -> None:
    rules = parse_text(b"local a a trust\nlocal @x a trust\n", Server(16))
    assert messages(rules) == ['could not open file "x": No such file or directory']


# ------------------------------------------------------------------------------------------------------------------ any bytes

HOSTILE = [
    b"local",
    b"host",
    b"hostssl",
    b"include",
    b"include_dir",
    b"all",
    b"@a",
    b"@",
    b'"',
    b",",
    b"#",
    b"\\",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b"\t",
]
HOSTILE += [
    b"ldap",
    b"radius",
    b"ldapurl=",
    b"radiusports=",
    b"=",
    b"%",
    b"/",
    b"/(",
    b"10/8",
    b"::1%",
    b"\xff",
    b"\xe2\x82",
    b"clientcert=",
    b"oauth",
]


@given(
    raw=st.one_of(
        st.binary(max_size=400),
        st.lists(st.sampled_from(HOSTILE), max_size=60).map(b" ".join),
        st.lists(st.sampled_from(HOSTILE)).map(b"".join),
    ),
    major=st.sampled_from(MAJORS),
    ssl=st.booleans(),
)
@settings(max_examples=600, deadline=None)
def test_any_bytes_give_rows(raw: bytes, major: int, ssl: bool) -> None:
    server = Server(major, ssl=ssl, oauth_validator_libraries=("v",))
    reader = DictReader({MAIN: raw, "/d/a": raw, "/d/10/8": b"x"})
    rules = load(MAIN, reader, server)
    assert rules.loads == (not rules.errors)
    assert len(hba_rows(rules.rows, server)) == len(rules.rows)
    numbers = [row.number for row in rules.rows if row.number is not None]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("major", [13, 15, 18])
@pytest.mark.parametrize(
    "raw",
    [
        b'"' * 300_000,
        b"," * 300_000,
        b"a," * 150_000,
        b"\\\n" * 150_000,
        b"\0" * 300_000,
        b"x\0" * 100_000,
        b"local all all ldap ldapurl=" + b"%41" * 50_000,
        b"host all all " + b"1" * 300_000,
        b"host all all 1.2.3.4/" + b"9" * 300_000,
        b"local " + b"/(" * 5_000 + b" all trust",
        b"local " + b"x," * 10_000 + b"y all trust\n",
        b"\n" * 300_000,
        b"x\n" * 50_000,
    ],
    ids=lambda raw: repr(raw[:30]),
)
def test_large_hostile_files_end_soon(raw: bytes, major: int) -> None:
    started = time.process_time()
    parse_text(raw, Server(major))
    assert time.process_time() - started < 20


def test_the_collector_runs_again() -> None:
    import gc  # noqa: PLC0415

    assert gc.isenabled()
    parse_text(LINE, Server(16))
    assert gc.isenabled()
    with collector.paused():
        assert not gc.isenabled()
