# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What we write, read by real servers: rules as they were meant, literal names that match only themselves, plans on difficult files."""

from __future__ import annotations

import random
import typing as t

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba import plan as engine
from ansible_collections.pgops.access.plugins.module_utils._hba.document import Document
from ansible_collections.pgops.access.plugins.module_utils._hba.errors import HbaError
from ansible_collections.pgops.access.plugins.module_utils._hba.formatting import formatted
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Server as Engine
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Token
from ansible_collections.pgops.access.plugins.module_utils._hba.render import quote_token, render_rule
from ansible_collections.pgops.access.plugins.module_utils._hba.spec import RuleSpec, spec_from_line

from . import corpus
from .corpus import Case
from .servers import Server
from .test_random import SEED

LETTERS = [*'ab+@"#, \t\\=^$.', "\u00e9", "\x0b", "'", "all", "sameuser"]
RULES = 300


def some_name(chance: random.Random) -> str:
    return "".join(chance.choice(LETTERS) for _ in range(chance.randrange(1, 6)))


def some_rules(chance: random.Random, engine_server: Engine) -> list[tuple[RuleSpec, str]]:
    found: list[tuple[RuleSpec, str]] = []
    while len(found) < RULES:
        columns = [tuple(Token(some_name(chance), True) for _ in range(chance.randrange(1, 3))) for _ in range(2)]
        ldap = chance.random() < 0.5 and "ldap" in engine_server.features
        method, options = ("ldap", (("ldapprefix", some_name(chance)),)) if ldap else ("password", ())
        network = Token("10.0.0.0/8")
        spec = RuleSpec("host", *columns, address=network, method=method, options=options, comment=some_name(chance))
        try:
            found.append((spec, render_rule(spec, engine_server)))
        except HbaError:
            continue  # a comment that ends with a backslash
    return found


def test_rules_are_read_as_they_were_meant(server: Server) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    rules = some_rules(chance, Engine(server.major, features=server.features))
    verdict = server.judge(Case("written", "hba", ("\n".join(line for _, line in rules) + "\n").encode("utf-8", "surrogateescape")))
    assert verdict.loads, verdict.log
    assert verdict.rows is not None
    assert len(verdict.rows) == len(rules)
    for row, (spec, line) in zip(verdict.rows, rules):
        assert row["database"] == [token.text for token in spec.databases], line
        assert row["user_name"] == [token.text for token in spec.users], line
        assert (row["address"], row["netmask"], row["auth_method"], row["error"]) == ("10.0.0.0", "255.0.0.0", spec.method, None), line
        shown = [option for option in row["options"] or () if option != "ldapscope=2"]
        assert shown == [f"{name}={value}" for name, value in spec.options], line


NAMES = [
    *(
        [
            "all",
            "sameuser",
            "samerole",
            "samegroup",
            "replication",
            "+grp",
            "@file",
            "/a.b",
            "/^x$",
            "/",
            "/[",
            "a,b",
            "#x",
            "'",
            "-",
            "include",
            "ALL",
            "/(a|b)*{2}\\d",
            "'a'",
            "/***=x",
        ]
    ),
    *("a b", 'a"b', '"', "a\\", "\u00e9", "/\u00e9+", "a\tb"),
]


@pytest.mark.parametrize("column", ["database", "user"])
def test_a_literal_name_matches_itself_and_nothing_else(server: Server, column: t.Literal["database", "user"]) -> None:
    ours = Engine(server.major)
    lines = []
    for name in NAMES:
        token = quote_token(name, column, ours)
        lines.append(f"local {token} all password" if column == "database" else f"local all {token} password")
    raw = ("\n".join([*lines, "local all all password"]) + "\n").encode()
    assert server.use(raw)
    try:
        for number, name in enumerate(NAMES, 1):
            wanted = name.encode()
            for given, line in ((wanted, number), (wanted + b"x", len(NAMES) + 1), (b"x" + wanted, len(NAMES) + 1)):
                user, database = (b"u", given) if column == "database" else (given, b"d")
                assert server.attempt(user, database).line == line, (given, lines[number - 1])
        for near in (b"/aXb", b"x", b"d", b"grp", b"u"):
            user, database = (b"y", near) if column == "database" else (near, b"y")
            assert server.attempt(user, database).line == len(NAMES) + 1, near
    finally:
        server.use(b"local all all trust\nlocal replication all trust\n")


DIFFICULT = [
    b"local all all trust",
    b"local all all trust\r\nlocal a a trust\r\n",
    b"local all all trust\n# note \\",
    b"local all all trust\n# note \\\n",
    b"local all all trust \\",
    b"local all all trust # c\0hidden",
    b"# only\n",
    b"",
    b"local all all trust\n# \xe9\xff\n\n\n",
    b"host all all \\\n 10.0.0.0/8 \\\r\n password # c \\\n continued\nlocal all all trust",
    b'local "a b",c  all  trust  # "\n',
]


@pytest.mark.parametrize("position", ["first", "last"])
def test_a_section_in_a_difficult_file(server: Server, position: str) -> None:
    """The server reads our rule as one more row, and every other row as before."""
    ours = Engine(server.major)
    rule = spec_from_line('host "my db",x "+u" 192.0.2.0/24 password # ours', ours)
    for raw in DIFFICULT:
        request = engine.Request((rule,), section="app", position=position)
        done = engine.plan(Document.parse(raw, ours), request)
        before, after = server.judge(Case("before", "hba", raw)), server.judge(Case("after", "hba", done.after))
        assert before.rows is not None
        assert after.rows is not None
        assert after.loads == (not any(row["error"] for row in after.rows)), raw
        mine = [row for row in after.rows if row["address"] == "192.0.2.0"]
        assert [(row["database"], row["user_name"]) for row in mine] == [(["my db", "x"], ["+u"])], raw
        assert mine[0] is after.rows[0 if position == "first" else -1], raw
        assert [plain(row) for row in after.rows if row is not mine[0]] == [plain(row) for row in before.rows], raw


def plain(row: dict[str, t.Any]) -> dict[str, t.Any]:
    """A row without its place."""
    return {name: value for name, value in row.items() if name not in {"line_number", "rule_number"}}


def test_formatted_cases_keep_their_rows(server: Server) -> None:
    """Every recorded file, formatted, gives the rows that it gave before."""
    ours = Engine(server.major)
    changed = 0
    for case in corpus.recorded_cases():
        text = formatted(case.text, ours) if case.kind == "hba" and not case.files else case.text
        if text == case.text:
            continue
        changed += 1
        rows = [server.judge(case._replace(text=content), load=False).rows for content in (case.text, text)]
        assert [plain(row) for row in rows[1] or []] == [plain(row) for row in rows[0] or []], case.name
    assert changed
