# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans: what each kind of request does, that it does it once, and that owners do not disturb each other.

The oracle for what a file means is written here: entries as sets of (type, database, user, address, method) read with the engine's
parser, so that an edit of text is judged by the rules that the server would see.
"""

from __future__ import annotations

import datetime
import itertools
import os
import typing as t

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba import edits
from ansible_collections.pgops.access.plugins.module_utils._hba import plan as engine
from ansible_collections.pgops.access.plugins.module_utils._hba.document import Document
from ansible_collections.pgops.access.plugins.module_utils._hba.edits import Entries
from ansible_collections.pgops.access.plugins.module_utils._hba.errors import InvalidRule, PlanError
from ansible_collections.pgops.access.plugins.module_utils._hba.lexer import scan
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Rule, Server
from ansible_collections.pgops.access.plugins.module_utils._hba.plan import Plan, Request
from ansible_collections.pgops.access.plugins.module_utils._hba.ruleset import parse_text
from ansible_collections.pgops.access.plugins.module_utils._hba.spec import RuleSpec, spec_from_dict, spec_from_line
from hypothesis import given, settings
from hypothesis import strategies as st

FACTOR = 10 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 1

SERVER = Server(15)
UTC = datetime.timezone.utc
NOW = datetime.datetime(2026, 6, 1, 12, tzinfo=UTC)


def specs(*lines: str, absent: bool = False, server: Server = SERVER) -> tuple[RuleSpec, ...]:
    return tuple([spec_from_line(line, server, absent=absent) for line in lines])


def make(raw: bytes | str, request: Request, server: Server = SERVER) -> Plan:
    """Plan, and check what holds for every plan: it repeats to nothing, and its edits say what changed."""
    content = raw.encode() if isinstance(raw, str) else raw
    plan = engine.plan(Document.parse(content, server), request)
    assert plan.before == content
    assert plan.changed == (plan.after != plan.before) == bool(plan.edits)
    again = engine.plan(Document.parse(plan.after, server), request)
    assert not again.changed, again.edits
    return plan


def after(raw: str, request: Request, server: Server = SERVER) -> list[str]:
    return make(raw, request, server).after.decode().splitlines()


def entries(raw: bytes, server: Server = SERVER) -> list[tuple[str, str, str, str, str]]:
    """Every entry, names multiplied out, in order."""
    found = []
    for row in parse_text(raw, server).rows:
        if isinstance(row, Rule):
            address = "" if row.address is None else f"{row.address.text}/{row.address.netmask}"
            found += [
                (row.type, f"{db.quoted}{db.text}", f"{user.quoted}{user.text}", address, row.method)
                for db in row.databases
                for user in row.users
            ]
    return found


DEBIAN = """\
# PostgreSQL Client Authentication Configuration File

# DO NOT DISABLE!
local   all             postgres                                peer

# TYPE  DATABASE        USER            ADDRESS                 METHOD

# "local" is for Unix domain socket connections only
local   all             all                                     peer
# IPv4 local connections:
host    all             all             127.0.0.1/32            scram-sha-256
# IPv6 local connections:
host    all             all             ::1/128                 scram-sha-256
"""


# --------------------------------------------------------------------------------------------------------------------- present


def test_a_new_rule_goes_to_the_end_and_nothing_else_changes() -> None:
    plan = make(DEBIAN, Request(specs("host all all 0.0.0.0/0 md5")))
    assert plan.after == DEBIAN.encode() + b"host    all             all             0.0.0.0/0               md5\n"
    assert plan.edits == (engine.Edit("insert", 14, None, "host    all             all             0.0.0.0/0               md5"),)


def test_position_first_leaves_comments_with_their_rules() -> None:
    lines = after(DEBIAN, Request(specs("local x x reject"), position="first"))
    assert lines[:4] == [
        *DEBIAN.splitlines()[:2],
        "local   x               x                                       reject",
        "# DO NOT DISABLE!",
    ]


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ("host a,b u 10.0.0.0/8 md5", 'host b,"a" u 10.0.0.0 255.0.0.0 md5'),
        ("host   a   u   10.1.2.3/8   md5 # c", "host a u 10.0.0.0/8 md5"),
        ("host a u 2001:DB8::/32 md5", "host a u 2001:db8:0::/32 md5"),
        ("host a u Example.COM md5", "host a u example.com md5"),
        ("host samegroup u all md5", "host samerole u all md5"),
        ("local a u ident", "local a u peer"),
        ("host a u 0x0a.0.0.0/8 md5", "host a u 10.0.0.0/8 md5"),
        ("hostssl a u all cert map=x", 'hostssl a u all cert "map=x" clientcert=verify-full'),
        ("host a u all ldap ldapprefix=x ldapport=1 ldapport=2", "host a u all ldap ldapport=2 ldapprefix=x"),
        ("host a u all pam pam_use_hostname=0", "host a u all pam"),
        ("host a,a u all md5", "host a u all md5"),
    ],
)
def test_the_same_meaning_is_already_there(there: str, wanted: str) -> None:
    assert not make(there + "\n", Request(specs(wanted))).changed


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ('host "all" u all md5', "host all u all md5"),
        ("host a +u all md5", 'host a "+u" all md5'),
        ("host a u 0.0.0.0/0 md5", "host a u all md5"),
        ("host a u 10.0.0.0/8 md5", "hostssl a u 10.0.0.0/8 md5"),
        ("host A u all md5", "host a u all md5"),
        ('host a u "all" md5', "host a u all md5"),
        ("host a u ::ffff:10.0.0.0/104 md5", "host a u 10.0.0.0/8 md5"),
        ("host a,b u all md5", "host a u all md5"),
    ],
)
def test_another_meaning_is_another_rule(there: str, wanted: str) -> None:
    lines = after(there + "\n", Request(specs(wanted)))
    assert lines[0] == there
    assert len(lines) == 2


def test_another_method_is_changed_where_it_stands() -> None:
    raw = "host   all  all 10.0.0.0/8   md5   # office\nhost all all all reject\nhost all all 10.0.0.0/8 trust\n"
    lines = after(raw, Request(specs("host all all 10.0.0.0/8 scram-sha-256")))
    assert lines == ["host   all  all 10.0.0.0/8   scram-sha-256   # office", *raw.splitlines()[1:]]


def test_another_method_with_options_and_netmask() -> None:
    raw = 'host all all 10.0.0.0 255.0.0.0  ldap "ldapprefix=a b" ldapport=1#c\n'
    lines = after(raw, Request(specs("host all all all md5", "host all all 10.0.0.0/8 ldap ldapsuffix=x")))
    assert lines[1] == "host all all 10.0.0.0 255.0.0.0  ldap ldapsuffix=x#c"


def test_new_rules_stand_beside_the_given_ones() -> None:
    """The given order is kept, so that a new reject comes before the allow that it restricts."""
    raw = "local all all peer\nhost all all 10.0.0.0/8 md5\nlocal x x reject\n"
    lines = after(raw, Request(specs("host all evil 10.0.0.0/8 reject", "host all all 10.0.0.0/8 md5", "host all all ::/0 md5")))
    assert [line.split()[:3] for line in lines] == [
        ["local", "all", "all"],
        ["host", "all", "evil"],
        ["host", "all", "all"],
        ["host", "all", "all"],
        ["local", "x", "x"],
    ]
    assert lines[2] == "host all all 10.0.0.0/8 md5"


def test_entries_in_another_order_than_given_are_moved() -> None:
    raw = "host all all all md5 # everybody\nlocal all all peer\nhost all evil all reject # him\n"
    plan = make(raw, Request(specs("host all evil all reject", "host all all all md5")))
    rules = [line for line in plan.after.decode().splitlines() if line.startswith("host")]
    assert rules == ["host all evil all reject # him", "host all all all md5 # everybody"]
    assert {edit.reason for edit in plan.edits if edit.action == "remove"} == {"moved"}


def test_contradictory_rules_are_refused() -> None:
    with pytest.raises(PlanError, match="about the same clients but differ"):
        make("", Request(specs("host a b all md5", "host a b all trust")))
    with pytest.raises(PlanError, match=r"host a b 10\.0\.0\.0/8$") as caught:
        make("", Request(specs("host a b 10.0.0.0/8 ldap ldapbasedn=x ldapbindpasswd=hunter2", "host a b 10.0.0.0/8 ldap ldapprefix=x")))
    assert "hunter2" not in str(caught.value)


def test_an_entry_in_another_owners_section_counts_and_is_never_changed() -> None:
    raw = make("local all all peer\n", Request(specs("host a b all md5"), section="theirs")).after.decode()
    assert not make(raw, Request(specs("host a b all md5"))).changed
    lines = after(raw, Request(specs("host a b all reject")))
    assert lines[:-1] == raw.splitlines()
    assert lines[-1].endswith("reject")


def test_move_brings_rules_to_the_position() -> None:
    raw = DEBIAN + "host all evil all reject\nlocal last last peer\n"
    request = Request(specs("host all evil all reject", "host all worse all reject"), position="first", move=True)
    lines = after(raw, request)
    assert [line.split()[2] for line in lines[2:4]] == ["evil", "worse"]
    assert sorted(lines) == sorted([*raw.splitlines(), lines[3]])
    assert not make(raw, request._replace(move=False, rules=request.rules[:1])).changed


def test_a_comment_change_is_a_change() -> None:
    """L18."""
    raw = "host all all all md5   # old text\n"
    assert not make(raw, Request(specs("host all all all md5"))).changed
    assert after(raw, Request(specs("host all all all md5 # new"))) == ["host all all all md5   # new"]
    rule = spec_from_dict({"type": "host", "address": "all", "method": "md5", "comment": ""}, SERVER)
    assert after(raw, Request((rule,))) == ["host all all all md5"]


# --------------------------------------------------------------------------------------------------------------------- sections


def test_a_section_is_written_updated_and_removed() -> None:
    first = make(DEBIAN, Request(specs("host a a all md5", "host b b all md5"), section="app"))
    block = first.after.decode()[len(DEBIAN) :].splitlines()
    assert block[0] == "# BEGIN pgops.access section: app"
    assert block[-1] == "# END pgops.access section: app"
    second = make(first.after, Request(specs("host b b all md5", "host c c all md5"), section="app"))
    assert [line.split()[1] for line in second.after.decode()[len(DEBIAN) :].splitlines()[1:-1]] == ["b", "c"]
    assert make(second.after, Request(section="app", state="absent")).after == DEBIAN.encode()


def test_an_empty_section_is_kept_as_a_place() -> None:
    assert after("", Request(section="app")) == ["# BEGIN pgops.access section: app", "# END pgops.access section: app"]


def test_what_means_the_same_in_a_section_stays_as_it_is_written() -> None:
    raw = "# BEGIN pgops.access section: app\n# by hand\nhost  a   a  10.1.1.1/8  md5#x\n\n# END pgops.access section: app\n"
    assert not make(raw, Request(specs("host a a 10.0.0.0/8 md5"), section="app")).changed
    lines = after(raw, Request(specs("local z z peer", "host a a 10.0.0.0/8 md5"), section="app"))
    assert [line for line in lines if line.startswith("host")] == ["host  a   a  10.1.1.1/8  md5#x"]
    assert "# by hand" in lines


def test_a_section_holds_exactly_its_rules() -> None:
    raw = (
        "# BEGIN pgops.access section: app\nlocal broken\ninclude x\nhost a a all md5\nhost a a all md5\n# END pgops.access section: app\n"
    )
    assert after(raw, Request(specs("host a a all md5"), section="app"), Server(16)) == [
        "# BEGIN pgops.access section: app",
        "host a a all md5",
        "# END pgops.access section: app",
    ]


def test_a_section_stays_where_it_is_unless_asked() -> None:
    raw = make(DEBIAN, Request(specs("host a a all md5"), section="app")).after
    assert not make(raw, Request(specs("host a a all md5"), section="app", position="first")).changed
    moved = make(raw, Request(specs("host a a all md5"), section="app", position="first", move=True)).after.decode().splitlines()
    assert moved[2] == "# BEGIN pgops.access section: app, position first"
    back = make("\n".join(moved) + "\n", Request(specs("host a a all md5"), section="app", position="last", move=True))
    assert back.after == raw


def test_a_section_is_moved_and_updated_in_one() -> None:
    raw = make(DEBIAN, Request(specs("host a a all md5", "host b b all md5"), section="app")).after
    request = Request(specs("host b b all md5", "host c c all md5"), section="app", position="first", move=True)
    lines = make(raw, request).after.decode().splitlines()
    assert [line.split()[1] for line in lines[3:5]] == ["b", "c"]
    assert lines[5] == "# END pgops.access section: app"
    assert sum("pgops.access" in line for line in lines) == 2


def test_absent_inside_a_section_only() -> None:
    raw = make("host a a all md5\n", Request(specs("host a a all md5", "host b b all md5"), section="app")).after
    lines = make(raw, Request(specs("host a a all", absent=True), section="app", state="absent")).after.decode().splitlines()
    assert [line.split()[1] for line in lines if line.startswith("host")] == ["a", "b"]


def test_a_missing_section_is_absent() -> None:
    assert not make(DEBIAN, Request(section="app", state="absent")).changed


def test_damaged_markers_stop_every_plan_but_exclusive() -> None:
    raw = "# BEGIN pgops.access section: one\nlocal a a peer\n"
    for request in (Request(specs("local b b peer")), Request(section="two"), Request(specs("local a a peer"), state="absent")):
        with pytest.raises(PlanError, match="line 1: section one is begun but never ended"):
            make(raw, request)
    assert after(raw, Request(specs("local a a peer"), exclusive=True)) == ["local a a peer"]


# -------------------------------------------------------------------------------------------------------------------- exclusive


def test_exclusive_is_exactly_the_rules() -> None:
    raw = make(DEBIAN + "local broken\n", Request(specs("host x x all md5"), section="app")).after
    rules = specs("local all postgres peer", "host all all 10.0.0.0/8 md5", "host all all ::1/128 scram-sha-256")
    plan = make(raw, Request(rules, exclusive=True))
    assert [entry[1:] for entry in entries(plan.after)] == [
        ("Falseall", "Falsepostgres", "", "peer"),
        ("Falseall", "Falseall", "10.0.0.0/255.0.0.0", "md5"),
        ("Falseall", "Falseall", "::1/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "scram-sha-256"),
    ]
    comments = [line for line in DEBIAN.splitlines() if line.startswith("#")]
    assert [line for line in plan.after.decode().splitlines() if line.startswith("#")] == comments


def test_exclusive_on_the_same_rules_changes_nothing() -> None:
    rules = specs(*[line for line in DEBIAN.splitlines() if line and not line.startswith("#")])
    assert not make(DEBIAN, Request(rules, exclusive=True)).changed


def test_exclusive_keeps_reordered_lines_as_they_are_written() -> None:
    lines = after("local  a a peer # A\nlocal b   b peer # B\n", Request(specs("local b b peer", "local a a peer"), exclusive=True))
    assert lines == ["local b   b peer # B", "local  a a peer # A"]


# ----------------------------------------------------------------------------------------------------------------------- absent


def test_every_duplicate_goes_whatever_the_method() -> None:
    """L7: one of three rows of one key went, and access was not revoked."""
    raw = "host a u 10.0.0.0/8 md5\nhost a u 10.0.0.0/8 trust\nlocal all all peer\nhost   a  u 10.0.0.0 255.0.0.0 reject\n"
    assert after(raw, Request(specs("host a u 10.0.0.0/8", absent=True), state="absent")) == ["local all all peer"]


def test_with_a_method_only_that_one_goes() -> None:
    raw = "host a u all md5\nhost a u all ldap ldapprefix=x\nhost a u all trust\n"
    assert after(raw, Request(specs("host a u all trust"), state="absent")) == raw.splitlines()[:2]
    assert after(raw, Request(specs("host a u all ldap ldapprefix=y"), state="absent")) == raw.splitlines()


@pytest.mark.parametrize(
    ("raw", "gone", "left"),
    [
        ("host a,b u all md5", "host a u all md5", ["host b u all md5"]),
        ("host a, b , c u all md5", "host x u all md5", ["host a, b , c u all md5"]),
        ("host a, b u all md5 # keep", "host b u all md5", ["host a u all md5 # keep"]),
        ("host a,b u,v all md5", "host a u all md5", ["host b u,v all md5", "host a v all md5"]),
        ("host a,b u,v all md5", "host a,b u all md5", ["host a,b v all md5"]),
        ("host a,b u,v all md5", "host b,a v,u,w all md5", []),
        ('host "a,x","b" u all md5', "host b u all md5", ['host "a,x" u all md5']),
        ("host all u all md5", "host a u all md5", ["host all u all md5"]),
        ("host a,b +g,g all md5", "host a,b g all md5", ["host a,b +g all md5"]),
    ],
)
def test_names_are_taken_from_rows(raw: str, gone: str, left: list[str]) -> None:
    """L8: a row with several names was left as it was."""
    assert after(raw + "\n", Request(specs(gone), state="absent")) == left


def test_absent_reaches_into_sections() -> None:
    raw = make("", Request(specs("host a u all md5"), section="app")).after.decode()
    assert not entries(make(raw, Request(specs("host a u all md5"), state="absent")).after)


FEW = st.lists(st.sampled_from(["a", "b", "c", "all"]), min_size=1, max_size=3)
ROW = st.tuples(
    st.sampled_from(["host", "hostssl"]), FEW, FEW, st.sampled_from(["all", "10.0.0.0/8", "::/0"]), st.sampled_from(["md5", "trust"])
)


def line_of(row: tuple[str, list[str], list[str], str, str]) -> str:
    return f"{row[0]} {','.join(row[1])} {','.join(row[2])} {row[3]} {row[4]}"


@settings(max_examples=150 * FACTOR, deadline=None)
@given(st.lists(ROW, max_size=6), st.lists(ROW, min_size=1, max_size=3), st.booleans())
def test_absent_is_exactly_the_difference(rows: list[t.Any], gone: list[t.Any], any_method: bool) -> None:
    raw = "".join(line_of(row) + "\n" for row in rows).encode()
    lines = [line_of(row).rsplit(" ", 1)[0] if any_method else line_of(row) for row in gone]
    plan = make(raw, Request(specs(*lines, absent=True), state="absent"))
    unwanted = set(entries("".join(line_of(row) + "\n" for row in gone).encode()))

    def is_unwanted(entry: tuple[str, ...]) -> bool:
        return entry in unwanted or (any_method and any(entry[:4] == other[:4] for other in unwanted))

    wanted = [entry for entry in entries(raw) if not is_unwanted(entry)]
    assert sorted(set(entries(plan.after))) == sorted(set(wanted))


# ----------------------------------------------------------------------------------------------------------------------- expiry


def test_expired_entries_go_with_any_request() -> None:
    raw = (
        "local a a peer # [expires: 2026-05-31]\nlocal b b peer # x [expires: 2026-06-01]\n"
        "local c c peer # [expires: 2026-06-01T11:59:59Z]\nlocal d d peer # [expires: 2026-06-01T14:00:00+02:00]\n"
        "local e e peer # [expires: soon]\n"
    )
    plan = make(raw, Request(specs("local z z peer"), now=NOW))
    assert [entry[1] for entry in entries(plan.after)] == ["Falseb", "Falsee", "Falsez"]
    assert [edit.reason for edit in plan.edits] == ["expired", "expired", "expired", "requested"]
    assert make(raw, Request(specs("local b b peer # [expires: 2026-06-01]"), now=None)).changed is False


def test_a_rule_with_an_expiry_lives_and_goes() -> None:
    rule = spec_from_dict({"type": "host", "address": "all", "method": "md5", "expires": "2026-06-01", "comment": "break glass"}, SERVER)
    for kind in (Request((rule,)), Request((rule,), section="app")):
        there = make("local a a peer\n", kind._replace(now=NOW))
        assert b"# break glass [expires: 2026-06-01]\n" in there.after
        still = kind._replace(now=datetime.datetime(2026, 6, 1, 23, 59, 59, tzinfo=UTC))
        assert not make(there.after, still).changed
        gone = make(there.after, kind._replace(now=datetime.datetime(2026, 6, 2, tzinfo=UTC)))
        assert [entry[1] for entry in entries(gone.after)] == ["Falsea"]


def test_an_expiry_is_extended_and_taken_away_in_place() -> None:
    raw = "host all all all md5 # why [expires: 2026-05-01]\nlocal a a peer\n"
    assert (
        after(raw, Request(specs("host all all all md5 # why [expires: 2026-12-01]"), now=NOW))[0]
        == "host all all all md5 # why [expires: 2026-12-01]"
    )
    assert after(raw, Request(specs("host all all all md5"), now=NOW))[0] == "host all all all md5 # why"


def test_what_is_left_of_an_expired_row_goes_too() -> None:
    raw = "host a,b u,v all md5 # [expires: 2020-01-01]\nlocal a a peer\n"
    assert after(raw, Request(specs("host a u all md5"), state="absent", now=NOW)) == ["local a a peer"]


# -------------------------------------------------------------------------------------------------------------- refused requests


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(state="gone"), "use present or absent"),
        (Request(exclusive=True), "would empty the file"),
        (Request(specs("local a a peer"), exclusive=True, section="x"), "whole file"),
        (Request(specs("local a a peer"), exclusive=True, state="absent"), "whole file"),
        (Request(specs("local a a peer"), exclusive=True, position="last"), "neither with position"),
        (Request(state="absent"), "needs rules or a section"),
        (Request(specs("local a a peer"), state="absent", position="first"), "neither with position"),
        (Request(specs("local a a peer"), move=True), "needs a position"),
        (Request(specs("local a a peer"), now=datetime.datetime(2026, 1, 1)), "time zone"),
        (Request(section="a b"), "section name"),
        (Request(section="app", position="before:other"), "no section other"),
        (Request(specs("local a a peer"), position="middle"), "use first, last"),
        (Request(specs("local a a peer # [expires: 2020-01-01]"), exclusive=True, now=NOW), "every given rule is over"),
    ],
)
def test_requests_that_contradict_themselves(request_: Request, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        engine.plan(Document.parse(b"local a a peer\n", SERVER), request_)


def test_a_rule_that_the_server_refuses_is_refused_here_too() -> None:
    rule = RuleSpec("host", method="md5")
    with pytest.raises(InvalidRule, match=r"rules\[0\].address"):
        engine.plan(Document.parse(b"", SERVER), Request((rule,)))


# ------------------------------------------------------------------------------------------------------------------- properties

LINES = st.one_of(
    ROW.map(line_of),
    st.sampled_from(
        [
            "",
            "# about",
            "# note \\",
            "local all all trust \\",
            "include x",
            "broken",
            'host "a",b  c , all reject',
            "host a b all md5 # c [expires: 2020-01-01]",
            "local c c peer # [expires: 2030-01-01]",
            "local a \\",
        ]
    ),
)
ENDS = st.sampled_from(["\n", "\n", "\n", "\r\n"])
FILES = st.tuples(st.lists(st.tuples(LINES, ENDS), max_size=10), st.booleans()).map(
    lambda drawn: "".join(line + end for line, end in drawn[0])[: -1 if drawn[1] else None]
)


def distinct(rows: list[t.Any]) -> tuple[RuleSpec, ...]:
    """Rules of which no two are about the same clients."""
    return specs(*[line_of(row) for row in {(row[0], frozenset(row[1]), frozenset(row[2]), row[3]): row for row in rows}.values()])


RULES = st.lists(ROW, max_size=4).map(distinct)
POSITIONS = st.sampled_from([None, None, "first", "last", "before:base", "after:base"])


@st.composite
def requests(draw: st.DrawFn, section: str | None = None) -> Request:
    kind = draw(st.sampled_from(["section", "plain", "absent", "exclusive"])) if section is None else "section"
    rules = draw(RULES)
    position = draw(POSITIONS)
    now = draw(st.sampled_from([None, NOW]))
    if kind == "section":
        return Request(rules, section=section or "mine", position=position, move=position is not None and draw(st.booleans()), now=now)
    if kind == "plain" or not rules:
        return Request(rules, position=position, move=position is not None and draw(st.booleans()), now=now)
    return Request(rules, state="absent", now=now) if kind == "absent" else Request(rules, exclusive=True, now=now)


def with_base(raw: str) -> bytes:
    return engine.plan(Document.parse(raw.encode(), SERVER), Request(specs("local base base peer"), section="base")).after


@settings(max_examples=300 * FACTOR, deadline=None)
@given(FILES, requests(), st.sampled_from([12, 15, 16, 18]))
def test_the_same_request_again_changes_nothing(raw: str, request: Request, major: int) -> None:
    make(with_base(raw), request, Server(major))


@settings(max_examples=200 * FACTOR, deadline=None)
@given(FILES, requests(), requests())
def test_a_request_after_another_is_stable_too(raw: str, one: Request, other: Request) -> None:
    first = make(with_base(raw), one)
    if one.exclusive and other.position and ":" in other.position:
        return
    make(first.after, other)


@settings(max_examples=300 * FACTOR, deadline=None)
@given(FILES, requests("alpha"), requests("omega"))
def test_sections_of_two_owners_commute(raw: str, alpha: Request, omega: Request) -> None:
    base = with_base(raw)
    alpha, omega = alpha._replace(now=None), omega._replace(now=None)
    results = [make(make(base, first).after, second).after for first, second in ((alpha, omega), (omega, alpha))]
    assert results[0].decode() == results[1].decode()


@settings(max_examples=75 * FACTOR, deadline=None)
@given(FILES, st.lists(requests("x"), min_size=3, max_size=4), st.data())
def test_sections_of_many_owners_commute(raw: str, drawn: list[Request], data: st.DataObject) -> None:
    base = with_base(raw)
    owners = [request._replace(section=f"s{number}", now=None, move=False) for number, request in enumerate(drawn)]
    results = set()
    for order in itertools.permutations(owners) if len(owners) < 4 else [owners, owners[::-1], data.draw(st.permutations(owners))]:
        content = base
        for request in order:
            content = engine.plan(Document.parse(content, SERVER), request).after
        results.add(content)
    assert len(results) == 1


@settings(max_examples=150 * FACTOR, deadline=None)
@given(FILES, requests("mine"))
def test_a_section_leaves_everything_else_alone(raw: str, request: Request) -> None:
    base = with_base(raw)
    done = make(base, request._replace(now=None))
    removed = make(done.after, Request(section="mine", state="absent"))
    assert removed.after in {base, base + b"\n", base + b"\r\n", base + b"\n\n", base + b"\r\n\r\n"}


@settings(max_examples=150 * FACTOR, deadline=None)
@given(FILES, RULES.filter(bool))
def test_present_rules_are_there_in_order(raw: str, rules: tuple[RuleSpec, ...]) -> None:
    """Each of them, in the given order, and every other entry too, but those whose method was changed where they stood."""
    plan = make(raw, Request(rules))
    wanted = [entries(make("", Request((rule,))).after) for rule in rules]
    there = entries(plan.after)
    at = [max(there.index(entry) for entry in group) for group in wanted]
    assert all(set(group) <= set(there) for group in wanted)
    assert (
        at == sorted(at) or any(set(one) & set(other) for one, other in itertools.combinations(wanted, 2)) or len(there) > len(set(there))
    )
    keys = {entry[:4] for group in wanted for entry in group}
    assert [entry for entry in entries(raw.encode()) if entry[:4] not in keys] == [entry for entry in there if entry[:4] not in keys]


@settings(max_examples=200 * FACTOR, deadline=None)
@given(st.text(alphabet=st.sampled_from([*'ab#"\\, \t\r\n', "\0", "\x0b"]), max_size=30), st.sampled_from([12, 15, 18, 19]))
def test_entries_are_the_lines_that_the_lexer_finds_fields_in(raw: str, major: int) -> None:
    server = Server(major)
    document = Document.parse(raw.encode(), server)
    expected = [index for index, line in enumerate(document.lines) if scan(line.text, server).fields]
    assert Entries(document, ()).contents == expected


@settings(max_examples=200 * FACTOR, deadline=None)
@given(FILES, RULES.filter(bool), st.booleans())
def test_looking_before_parsing_changes_nothing(raw: str, rules: tuple[RuleSpec, ...], absent: bool) -> None:
    """With few rules most lines are not parsed; the plan must be the one that parsing all of them gives."""
    request = Request(rules, state="absent" if absent else "present")
    few = edits.FEW
    try:
        edits.FEW = -1
        thorough = make(raw, request)
    finally:
        edits.FEW = few
    assert make(raw, request) == thorough


# ------------------------------------------------------------------------------------- the defects of peers that do not happen here


def test_l3_l4_nothing_is_sorted() -> None:
    raw = "hostnossl all all all reject\nhost all all all scram-sha-256\nhost all all 10.0.0.0/8 reject\nhost all all 10.1.2.3/32 trust\n"
    assert after(raw, Request(specs("local all all peer")))[:4] == raw.splitlines()
    assert after(raw, Request(specs("local all all peer"), state="absent")) == raw.splitlines()


def test_l5_includes_stay_where_they_are() -> None:
    raw = "local all all peer\ninclude_if_exists extra.conf\nhost all all 0.0.0.0/0 reject\n"
    assert after(raw, Request(specs("host a b all md5")), Server(16))[:3] == raw.splitlines()


def test_l6_comments_and_blank_lines_stay() -> None:
    assert after(DEBIAN, Request(specs("host a b all md5"), position="first"))[3:] == DEBIAN.splitlines()[2:]


def test_l12_to_l15_legal_files_are_manageable() -> None:
    raw = (
        b'host "Foo",joe all all md5\nhost joe,"Foo,Bar" all all md5\nhost db1, db2 u1, u2 10.0.0.0/24 md5\nhost all all 10.0.0.5/24 md5\n'
        b"host all all 10.0.0/24 md5\nhost all all all bsd\n# caf\xe9\n"
    )
    assert make(raw, Request(specs("local a a peer"))).after.startswith(raw)


def test_l16_a_plan_without_writing_is_the_same_plan() -> None:
    request = Request(specs("local a a peer"))
    assert make(DEBIAN, request) == make(DEBIAN, request)
    assert make(DEBIAN, request).edits


def test_l20_l21_line_ends() -> None:
    assert make("local a a peer", Request(specs("local b b peer"))).after.count(b"\n") == 2
    crlf = make("local a a peer\r\nlocal c c peer\r\n", Request(specs("local b b peer"))).after
    assert crlf.count(b"\r\n") == 3


# -------------------------------------------------------------------------------------------------------------------------- growth


def test_large_plans_do_not_grow_faster_than_the_file() -> None:
    """Counted, not timed: lines made by the writer for one rule into a large file, and edits for many rules at once."""
    big = "".join(f"host db{n} u{n} 10.{n >> 8}.{n & 255}.0/24 md5\n" for n in range(5000))
    plan = make(big, Request(specs("host new new all md5")))
    assert len(plan.edits) == 1
    rules = specs(*big.splitlines()[::-1])
    plan = make(big, Request(rules, exclusive=True))
    assert [entry[1] for entry in entries(plan.after)] == [f"Falsedb{n}" for n in range(4999, -1, -1)]
    assert make(big, Request(rules, state="absent")).after == b""
