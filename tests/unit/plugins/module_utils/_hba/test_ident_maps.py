# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""User name maps as wanted entries: how they are read, planned and compared, and what changes for whom."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba import ident, ident_effect, ident_findings, plan
from ansible_collections.pgops.access.plugins.module_utils._hba.document import Document
from ansible_collections.pgops.access.plugins.module_utils._hba.errors import InvalidRule, PlanError
from ansible_collections.pgops.access.plugins.module_utils._hba.ident_edits import IDENT, mapping_from_dict, mapping_from_line, rendered
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Role, Server
from ansible_collections.pgops.access.plugins.module_utils._hba.ruleset import parse_text
from hypothesis import given, settings
from hypothesis import strategies as st

SYSTEMS = ["a", "ab", "b", "/^a", "/b$", "/^(.)b?$", "/^(a)|b$", "/^ab", "all"]
TARGETS = ["a", "b", "g", "all", '"all"', "+g", "/^a", "\\1", "x\\1"]
NAMES = ["a", "ab", "b", "all", "zz"]
ROLES = [Role("a", member_of=("g",)), Role("b"), Role("g"), Role("all"), Role("xa"), Role("ab", superuser=True)]
TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
MAJORS = st.sampled_from([13, 14, 15, 16, 17, 18])
LINES = st.lists(st.tuples(st.sampled_from("mn"), st.sampled_from(SYSTEMS), st.sampled_from(TARGETS)).map(" ".join), max_size=5)


def parsed(lines: list[str], server: Server) -> tuple[ident.Mapping, ...]:
    return ident.parse_text("".join(f"{line}\n" for line in lines).encode(), server).mappings


@settings(max_examples=300, deadline=None)
@given(TEXT, TEXT, TEXT, MAJORS, st.booleans())
def test_what_is_given_is_what_the_server_reads(name: str, system_user: str, user: str, major: int, quoted: bool) -> None:
    """Every value is either refused or read back: alone in a file, one mapping, with these columns."""
    server = Server(major)
    given_name = '"' + name.replace('"', '""') + '"' if quoted else name
    try:
        spec = mapping_from_dict({"map": given_name, "system_user": system_user, "database_user": user}, server)
    except InvalidRule:
        return
    line, _mapping = rendered(spec, server)
    made = plan.plan(Document.parse(b"x y z\n", server), plan.Request(rules=(spec,)), IDENT)
    read = ident.parse_text(made.after, server)
    if any(token is not None and token.text.startswith("@") and not token.quoted for token in spec[:3]):
        return  # a file, which is not there
    assert read.loads, line
    assert [row.line for row in read.mappings] == [1, 2]
    assert (read.mappings[1].map_name, read.mappings[1].role.text) == (spec.map.text, spec.database_user.text)  # type: ignore[union-attr]
    assert plan.plan(Document.parse(made.after, server), plan.Request(rules=(spec,)), IDENT).changed is False
    gone = plan.plan(Document.parse(made.after, server), plan.Request(rules=(spec,), state="absent"), IDENT)
    assert gone.after == b"x y z\n"


@settings(max_examples=400, deadline=None)
@given(LINES, LINES, st.sampled_from([13, 16]))
def test_changes_are_complete_and_names_are_exact(before: list[str], after: list[str], major: int) -> None:
    """Held against every single answer: who gains or loses is told, and a change between names really is one."""
    server = Server(major)
    one, two = parsed(before, server), parsed(after, server)
    changes = ident_effect.changes(one, two, server=server, roles=ROLES)
    was, now = ident.UserMaps(one, server=server, roles=ROLES), ident.UserMaps(two, server=server, roles=ROLES)
    for name, system_user, role in itertools.product("mn", NAMES, [role.name for role in ROLES]):
        old = was.may_become(name, system_user, role).outcome
        new = now.may_become(name, system_user, role).outcome
        about = [change for change in changes if told(change, name, system_user, role, server)]
        if old != new:
            kind = "gains" if new == ident.ALLOWED else "loses"
            assert kind in [change.change for change in about], (name, system_user, role)
    for change in changes:
        if not change.system_user.startswith("/") and not change.keyword:
            old = was.may_become(change.map, change.system_user, change.database_user).outcome
            new = now.may_become(change.map, change.system_user, change.database_user).outcome
            assert (old, new) == (("refused", "allowed") if change.change == "gains" else ("allowed", "refused"))
    assert ident_effect.changes(one, one, server=server, roles=ROLES) == ()


def told(change: ident_effect.MapChange, name: str, system_user: str, role: str, server: Server) -> bool:
    """Whether a change speaks of somebody."""
    if change.map != name:
        return False
    if change.roles is not None and change.keyword and role not in change.roles:
        return False
    if not change.keyword and change.database_user != role:
        return False
    line = f'm {change.system_user} "x"'
    return ident.matches_system(ident.parse_mapping(line, server), system_user, server)


def test_a_change_in_words() -> None:
    server = Server(16)
    texts = [
        change.describe()
        for change in ident_effect.changes(
            (), parsed(["m a b", "m a all", "m /x +g", "m b /^a", "m /^(.)$ \\1"], server), server=server, roles=ROLES
        )
    ]
    assert (
        texts
        == [
            "map m: a may become any role (now: a, ab, all, b, g, xa), line 2",
            "map m: whoever matches /x may become any member of g (now: a, g), line 3",
            "map m: b may become any role that matches /^a (now: a, ab, all), line 4",
            "map m: whoever matches /^(.)$ may become the role that \\1 makes, line 5",
        ]
        or texts[0] == "map m: a may become role b, line 1"
    )


def test_a_line_without_its_group_hides_those_below() -> None:
    server = Server(16)
    lines = ["m /^a \\1", "m a b", "m b a"]
    changes = ident_effect.changes(parsed(lines[1:], server), parsed(lines, server), server=server)
    assert [(change.change, change.system_user) for change in changes] == [("loses", "a")]
    codes = [finding.code for finding in ident_findings.findings(parsed(lines, server), server=server)]
    assert codes == ["map_without_group"]


def test_findings() -> None:
    def codes(text: str, major: int = 16, hba: str | None = None) -> list[str]:
        server = Server(major)
        file = ident.parse_text(text.encode(), server)
        rules = None if hba is None else parse_text(hba.encode(), server).rules
        return [one.code for one in ident_findings.findings(file.mappings, server=server, errors=file.errors, roles=ROLES, rules=rules)]

    assert codes("m a b\n") == []
    assert codes("m a b\nm a\n") == ["not_loaded"]
    assert codes('m a b\nm "a" b # again\n') == ["map_repeated"]
    assert codes("m a all\n") == ["map_anybody"]
    assert codes("m a all\n", 15) == ["map_plain_name"]
    assert codes("m a +g\n") == []
    assert codes("m a +g\n", 15) == ["map_plain_name"]
    assert codes("m /.* all\n") == ["map_anybody"]
    assert codes("m /x b\n") == ["map_unanchored"]
    assert codes("m /^x$ b\n") == []
    assert codes("m /^x$ ab\n") == ["map_superuser"]
    assert codes("m a nobody\n") == ["map_unknown_role"]
    assert codes("m a b\n", hba="local all all peer map=m\n") == []
    assert codes("m a b\n", hba="local all all peer map=n\n") == ["map_missing", "map_unused"]
    assert codes("m a b\n", hba="local all all peer map=n\nlocal all all ident map=n\n") == ["map_missing", "map_unused"]


@pytest.mark.parametrize("line", ["m a", "m a,b c", "m a b c", "include x", "", "m /( b", "m a b\nm c d", "m /^a \\1"])
def test_lines_that_are_no_mapping(line: str) -> None:
    with pytest.raises(InvalidRule):
        mapping_from_line(line, Server(16))


def test_absent_needs_less() -> None:
    server = Server(16)
    assert mapping_from_line("m", server, absent=True)[1:3] == (None, None)
    assert mapping_from_line("m a # c", server, absent=True)[2] is None
    with pytest.raises(InvalidRule, match="map: is missing"):
        mapping_from_dict({"system_user": "a"}, server, absent=True)
    with pytest.raises(PlanError, match="exclusive"):
        plan.plan(Document.parse(b"m a b\n", server), plan.Request(exclusive=True, section="x"), IDENT)
