# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""User name maps against servers 12 to 18: what the view showed, and who became which role over peer."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba import ident
from ansible_collections.pgops.access.plugins.module_utils._hba.errors import NotRepresentable
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Role, Server
from ansible_collections.pgops.access.plugins.module_utils._hba.reader import DictReader

DATA = next(parent for parent in Path(__file__).parents if (parent / "differential").is_dir()) / "differential" / "data"
RESULTS = json.loads((DATA / "hba_identmap_results.json").read_text(encoding="utf-8"))

ROLES = [
    *(
        Role(name)
        for name in ("nobody", "Nobody", "alice", "all", "+grp", "other", "/^a", "ody", "no\\1dy", "no\\1", "Alice", "bob", "grp")
    ),
    Role("mem", member_of=("grp",)),
    Role("sup", superuser=True),
]
"""Every role but ``nosuch``, which the recording also asked for: it does not exist."""

FILES = {
    "literal": "m nobody alice",
    "literal_case_sys": "m NOBODY alice",
    "literal_case_pg": "m nobody Alice",
    "two lines": "m nobody alice\nm nobody other",
    "other map": "n nobody alice",
    "map case": "M nobody alice",
    "all": "m nobody all",
    '"all"': 'm nobody "all"',
    "ALL": "m nobody ALL",
    'al"l"': 'm nobody al"l"',
    "+grp": "m nobody +grp",
    '"+grp"': 'm nobody "+grp"',
    "/^a pg": "m nobody /^a",
    '"/^a" pg': 'm nobody "/^a"',
    "/^al$": "m nobody /^al",
    "sys all": "m all alice",
    "sys +x": "m +x alice",
    "regex": "m /^nobody$ alice",
    "regex unanch": "m /obo alice",
    "regex nomatch": "m /^obo alice",
    "regex case": "m /^NOBODY$ alice",
    "regex (?i)": "m /(?i)^NOBODY$ alice",
    "\\1": "m /^no(.*)$ \\1",
    "\\1 whole": "m /^(.*)$ \\1",
    "\\1 mid": "m /^no(.*)$ x\\1y",
    "\\1 nosub": "m /^no \\1",
    "\\1 nosub then ok": "m /^no \\1\nm nobody alice",
    "\\1 optional unmatched": "m /^(x)?nobody$ \\1\nm nobody alice",
    "\\1 non-regex": "m nobody no\\1dy",
    "\\2": "m /^(no)(body)$ \\2",
    "\\1 twice": "m /^(no)body$ \\1\\1",
    "\\1 -> all": "m /^()nobody$ all\\1",
    "\\1 -> +": "m /^()nobody$ +grp\\1",
    "\\1 quoted": 'm /^no(.*)$ "\\1"',
    "\\1 in /regex": "m /^(no)body$ /^\\1$",
    "quoted sys regex": 'm "/^nobody$" alice',
    "empty file": "",
}
"""The maps behind the recording's names. The recording keeps names, results and log lines, not the files: these were written
again from them and from the reference, so a mismatch may be this table's fault, but agreement on 6 servers x 15 roles is not chance.
"""


def outcome_of(file: ident.IdentFile, map_name: str, role: str, server: Server) -> str:
    """``OK`` or the error code that the recording kept."""
    mappings = file.mappings if file.loads else ()
    result = ident.may_become(mappings, map_name, "nobody", role, server=server, roles=ROLES)
    assert result.outcome != ident.UNDECIDED
    exists = any(role == known.name for known in ROLES)
    return "OK" if result.outcome == ident.ALLOWED and exists else "28000"


@pytest.mark.parametrize("server_name", sorted(RESULTS))
def test_every_recorded_map(server_name: str) -> None:
    server = Server(int(server_name.removeprefix("npm")))
    asked = 0
    for name, text in FILES.items():
        file = ident.parse_text((text + "\n").encode(), server)
        recorded = RESULTS[server_name][name]
        assert {role: outcome_of(file, "m", role, server) for role in recorded} == recorded, name
        asked += len(recorded)
    for name in ("nomap", 'map=""'):
        recorded = RESULTS[server_name][name]
        assert {role: outcome_of(ident.parse_text(b"", server), "", role, server) for role in recorded} == recorded
        asked += len(recorded)
    assert asked == (len(FILES) + 2) * 15


@pytest.mark.parametrize("server_name", sorted(RESULTS))
def test_reasons_are_the_log_s(server_name: str) -> None:
    server = Server(int(server_name.removeprefix("npm")))
    compared = 0
    for name, text in FILES.items():
        file = ident.parse_text((text + "\n").encode(), server)
        for role, recorded in RESULTS[server_name][name].items():
            logged = [line.partition("LOG:  ")[2] for line in RESULTS[server_name]["_logs"].get(f"{name}|{role}", ())]
            logged = [line for line in logged if line and not line.startswith("connection authenticated")]
            if recorded == "OK" or not logged:
                continue
            result = ident.may_become(file.mappings if file.loads else (), "m", "nobody", role, server=server, roles=ROLES)
            assert result.reason in logged, name
            compared += 1
    assert compared > 100


DN = "CN=alice,OU=dev,O=Acme\\, Inc."


@pytest.mark.parametrize("major", [14, 15, 16, 17, 18])
def test_certificates(major: int) -> None:
    """The recorded logins with ``clientname=DN``, as ``bob``; the identity is what the server logged."""
    server = Server(major)
    recorded = RESULTS[f"npm{major}"]
    compared = 0
    for name, (succeeded, _log) in ((name, value) for name, value in recorded.items() if name.startswith("cert DN map ")):
        line = ident.render_mapping("m", name[len("cert DN map ") :], "bob", server)
        result = ident.may_become([ident.parse_mapping(line, server)], "m", DN, "bob", server=server)
        assert (result.outcome == ident.ALLOWED) == (succeeded is True), name
        compared += 1
    assert compared == 3


CASES = [case for case in json.loads((DATA / "hba_cases.json").read_text(encoding="utf-8")) if case["kind"] == "ident"]


def case_file(case: dict[str, t.Any], server: Server) -> ident.IdentFile:
    encoding = "latin-1" if case.get("file_text_is_latin1") else "utf-8"
    files: dict[str, bytes | OSError | int | None] = {"/data/pg_ident.conf": case["file_text"].encode(encoding)}
    for name, text in case.get("extra_files", {}).items():
        files[f"/data/{name}"] = text.encode()
    return ident.load("/data/pg_ident.conf", DictReader(files), server)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_recorded_files(case: dict[str, t.Any]) -> None:
    for outcome in case["outcomes"]:
        for major in outcome["majors"]:
            server = Server(major)
            file = case_file(case, server)
            assert file.loads == outcome["reload_ok"], major
            if outcome["rows_or_error"] is not None:
                shown = json.loads(json.dumps(file.view_rows(server)).replace("/data/", "$PGDATA/"))
                assert shown == outcome["rows_or_error"], major


def test_there_are_recorded_files() -> None:
    assert len(CASES) == 21


@pytest.mark.parametrize("major", [12, 13, 14, 15, 16, 17, 18])
@pytest.mark.parametrize("name", ["all", "+grp", "@x", "a b", 'q"q', "", "plain", "a,b", "a#b", "Ünï", "back\\"])
def test_a_written_name_is_that_name(name: str, major: int) -> None:
    server = Server(major)
    read = ident.parse_mapping(ident.render_mapping("m", "os", name, server), server)
    maps = ident.UserMaps([read], server=server, roles=[Role("grp"), Role("mem", member_of=("grp",))])
    assert maps.may_become("m", "os", name).outcome == ident.ALLOWED
    assert maps.may_become("m", "os", "mem").outcome == ident.REFUSED
    assert maps.reachable_roles("m", "os", [name, "mem", "grp"]) == (name,)


def test_a_name_with_a_slash_becomes_an_anchored_expression() -> None:
    line = ident.render_mapping("m", "os", "/a.b", Server(16))
    maps = ident.UserMaps([ident.parse_mapping(line, Server(16))], server=Server(16))
    assert [maps.may_become("m", "os", role).outcome for role in ("/a.b", "/axb", "x/a.b")] == ["allowed", "refused", "refused"]


@pytest.mark.parametrize("text", ["a\nb", "a\0b"])
def test_what_no_line_holds_is_refused(text: str) -> None:
    for columns in ((text, "os", "role"), ("m", text, "role"), ("m", "os", text)):
        with pytest.raises(NotRepresentable):
            ident.render_mapping(*columns, Server(16))


def test_a_literal_backslash_one_beside_an_expression_is_refused() -> None:
    with pytest.raises(NotRepresentable):
        ident.render_mapping("m", "/^(x)", "a\\1", Server(16))
    assert ident.render_mapping("m", "/^(x)", "a\\1", Server(16), literal=False) == "m\t/^(x)\ta\\1"


def test_captures_are_bytes() -> None:
    server = Server(16)
    maps = ident.UserMaps([ident.parse_mapping("m /^(.*)@example.com$ \\1", server)], server=server)
    assert maps.may_become("m", "jürgen@example.com", "jürgen").outcome == ident.ALLOWED
    half = ident.UserMaps([ident.parse_mapping("m /^(j.).*$ \\1", server)], server=server)
    assert half.may_become("m", "jürgen", "jü").outcome == ident.REFUSED
    assert half.may_become("m", "jürgen", b"j\xc3".decode("utf-8", "surrogateescape")).outcome == ident.ALLOWED


def test_case_is_ignored_where_kerberos_says_so() -> None:
    maps = ident.UserMaps([ident.parse_mapping("m alice@EXAMPLE.COM Alice", Server(16))], server=Server(16))
    assert maps.may_become("m", "Alice@example.com", "alice", ignore_case=True).outcome == ident.ALLOWED
    assert maps.may_become("m", "Alice@example.com", "alice").outcome == ident.REFUSED
    assert maps.may_become(None, "ALICE", "alice", ignore_case=True).outcome == ident.ALLOWED


def test_what_is_missing_is_said() -> None:
    server = Server(16)
    maps = ident.UserMaps([ident.parse_mapping("m os +grp", server)], server=server)
    result = maps.may_become("m", "os", "x")
    assert result.outcome == ident.UNDECIDED
    assert "give the roles" in result.reason
    with pytest.raises(ValueError, match="give the roles"):
        maps.reachable_roles("m", "os")
    huge = ident.UserMaps([ident.parse_mapping("m /^(?:a{255}){60}$ x", server)], server=server)
    assert huge.may_become("m", "os", "x").outcome == ident.UNDECIDED


def test_reachable_roles() -> None:
    server = Server(16)
    lines = ["m /^(.*)@corp$ \\1", "m root +admins", "m root alice"]
    roles = [Role("alice"), Role("bob", member_of=("admins",)), Role("admins"), Role("carol")]
    mappings = [ident.parse_mapping(line, server) for line in lines]
    assert ident.reachable_roles(mappings, "m", "root", server=server, roles=roles) == ("admins", "alice", "bob")
    assert ident.reachable_roles(mappings, "m", "carol@corp", server=server, roles=roles) == ("carol",)
    assert ident.reachable_roles(mappings, "", "carol", server=server, roles=roles) == ("carol",)
