# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``decide`` against real connections to servers 12 to 18, and what it refuses to guess."""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.pgops.access.plugins.module_utils._hba import decide as d
from ansible_collections.pgops.access.plugins.module_utils._hba import ruleset
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Client, Role, Server

DATA = Path(__file__).parents[4] / "differential" / "data" / "hba_match_cases.json"
if not DATA.exists():  # the tests may be run from another depth
    DATA = next(parent for parent in Path(__file__).parents if (parent / "differential").is_dir()) / "differential/data/hba_match_cases.json"
RECORDED = json.loads(DATA.read_text(encoding="utf-8"))
MAJORS = (12, 13, 14, 15, 16, 17, 18)
NEWER = ["create role nis login", "grant grp to nis", "create role adm login", "grant grp to adm"]
"""What the last line of setup_sql did on 16 and later, with options that matching ignores."""


def roles_of(statements: t.Iterable[str], newer: bool) -> list[Role]:
    """The roles that the recorded setup made, read from its SQL."""
    superusers = {"postgres": True}
    groups: dict[str, list[str]] = {"postgres": []}
    for statement in [*statements, *(NEWER if newer else [])]:
        name = r'("[^"]+"|\w+)'
        if made := re.match(rf"create role {name}", statement):
            groups[made[1].strip('"')] = []
            superusers[made[1].strip('"')] = "superuser" in statement
        elif granted := re.match(rf"grant {name} to {name}", statement):
            groups[granted[2].strip('"')].append(granted[1].strip('"'))
    return [Role(name, superusers[name], tuple(above)) for name, above in groups.items()]


class Hosts:
    """A resolver over a hosts file, as the recording machine had it: 127.0.0.1 is localhost, nothing else has a name."""

    def __init__(self, names: t.Mapping[str, str], forward: t.Mapping[str, t.Sequence[str]] | None = None) -> None:
        self.names = names
        self.addresses = forward if forward is not None else {name: [address] for address, name in names.items()}

    def reverse(self, address: str) -> str | None:
        return self.names.get(address)

    def forward(self, name: str) -> t.Sequence[str]:
        return self.addresses.get(name, ())


def client_of(case: dict[str, t.Any]) -> Client:
    """The client of a recorded connection."""
    connection = case["connection"]
    transport = {"unix": "local", "tcp": "tcp", "ssl": "tls"}[connection["transport"]]
    address = None if transport == "local" else connection["client_ip"] or connection["server_host"]
    return Client(connection["user"], connection["database"], address, transport, connection["replication"] == "true")


def answer(decision: d.Decision) -> t.Any:
    """A decision in the recording's words; all rules there have the method password or reject."""
    if decision.outcome == d.REJECTED:
        return "reject"
    if decision.outcome == d.NO_ENTRY:
        return "none"
    if decision.outcome == d.UNDECIDED:
        return "undecided"
    return decision.rule.line if decision.rule else None


def replay(major: int, resolver: d.Resolver | None) -> tuple[int, list[t.Any], list[str]]:
    server = Server(major)
    roles = roles_of(RECORDED["setup_sql"], major >= 16)
    asked, wrong, undecided = 0, [], []
    for case in RECORDED["cases"]:
        expected = [outcome["matched"] for outcome in case["outcomes"] if major in outcome["majors"]]
        if not expected:
            continue
        rules = ruleset.parse_text(case["hba"].encode(), server)
        assert rules.loads, case["name"]
        decider = d.Decider(rules.rules, server=server, roles=roles, resolver=resolver)
        client = client_of(case)
        got = answer(decider.decide(client))
        assert got == answer(decider.decide(client, explain=False)), case["name"]
        asked += 1
        if got == "undecided":
            undecided.append(case["name"])
        elif got != expected[0]:
            wrong.append((case["name"], got, expected[0]))
    return asked, wrong, undecided


@pytest.mark.parametrize("major", MAJORS)
def test_every_recorded_connection(major: int) -> None:
    asked, wrong, undecided = replay(major, Hosts({"127.0.0.1": "localhost"}))
    assert (wrong, undecided) == ([], [])
    assert asked == (689 if major >= 16 else 652)
