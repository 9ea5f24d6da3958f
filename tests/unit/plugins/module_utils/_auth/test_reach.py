# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rules a role can hit, against the engine's own decisions about every client of a small world."""

from __future__ import annotations

import itertools
import typing as t

import pytest
from ansible_collections.pgops.access.plugins.module_utils._auth.reach import Reach
from ansible_collections.pgops.access.plugins.module_utils._hba import decide, ruleset
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Client, Role, Server
from hypothesis import given, settings
from hypothesis import strategies as st

ROLES = (Role("a"), Role("b", False, ("g",)), Role("ab", False, ("h",)), Role("g"), Role("h", False, ("g",)), Role("s", True))
DATABASES = ("a", "b", "ab", "x", "y")
ADDRESSES = ("10.0.0.1", "10.0.0.200", "10.1.0.1", "192.0.2.1", "fe80::1", "2001:db8::1")
# Both halves of every network, so that no rule is left a client that the world does not have.
NETWORKS = ("10.0.0.0/25", "10.0.0.128/25", "10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "::/0", "all", "2001:db8::/32")


def world(replication: bool) -> t.Iterator[tuple[str, str | None, str | None, bool]]:
    for transport in ("local", "tcp", "tls"):
        for address in (None,) if transport == "local" else (*ADDRESSES, "172.16.0.1", "10.0.1.1"):
            yield from ((transport, address, database, False) for database in DATABASES)
            if replication:
                yield transport, address, None, True


def reached(text: str, name: str, server: Server, replication: bool) -> set[int]:
    """Numbers of the rules that decide about some client of the world."""
    rules = ruleset.parse_text(text.encode(), server)
    assert rules.loads, rules.errors
    judge = decide.Decider(rules.rules, server=server, roles=ROLES)
    found = set()
    for transport, address, database, physical in world(replication):
        rule = judge.decide(Client(name, database, address, transport, physical), explain=False).rule
        if rule is not None:
            found.add(rules.rules.index(rule))
    return found


def ours(text: str, name: str, server: Server, replication: bool = False) -> set[int]:
    return set(Reach(ruleset.parse_text(text.encode(), server).rules, server, ROLES).of(name, replication=replication))


KINDS = st.sampled_from(["host", "hostssl", "hostnossl"])
USERS = st.lists(st.sampled_from(["a", "b", "ab", "all", "+g", "+h", "s", '"all"', "/^a", "nobody"]), min_size=1, max_size=2)
PLACES = st.sampled_from(["all", "a", "b", "x", "replication", "sameuser", "x,y", "a,replication"])
TCP = st.tuples(KINDS, PLACES, USERS, st.sampled_from(NETWORKS)).map(lambda r: f"{r[0]} {r[1]} {','.join(r[2])} {r[3]} md5")
SOCKET = st.tuples(PLACES, USERS).map(lambda r: f"local {r[0]} {','.join(r[1])} md5")
RULES = st.lists(st.one_of(TCP, TCP, SOCKET), min_size=1, max_size=9).map(
    lambda lines: "".join(f"{line} # {n}\n" for n, line in enumerate(lines))
)


@settings(max_examples=150)
@given(RULES, st.booleans())
def test_every_rule_that_decides_is_reached(text: str, replication: bool) -> None:
    """Never less than what really decides: a missed rule would lock somebody out."""
    server = Server(16)
    for role in ROLES:
        assert reached(text, role.name, server, replication) <= ours(text, role.name, server, replication), role.name


@settings(max_examples=150)
@given(st.lists(TCP, min_size=2, max_size=7).map(lambda lines: "".join(f"{line} # {n}\n" for n, line in enumerate(lines))))
def test_hidden_rules_are_not_reached(text: str) -> None:
    """Not more, either, but for what only several rules for several databases or all of a network's parts hide together."""
    server = Server(16)
    for role in ROLES:
        mine = ours(text, role.name, server)
        rules = ruleset.parse_text(text.encode(), server).rules
        for at in mine - reached(text, role.name, server, False):
            earlier = [rule for number, rule in enumerate(rules[:at]) if number in mine]
            # the world's clients are all taken, but by no single rule
            judge = [decide.Decider([rule, rules[at]], server=server, roles=ROLES) for rule in earlier]
            for one in judge:
                clients = [Client(role.name, database, address, transport) for transport, address, database, physical in world(False)]
                assert any(one.decide(client, explain=False).rule is rules[at] for client in clients) or not any(
                    decide.Decider([rules[at]], server=server, roles=ROLES).decide(client, explain=False).rule for client in clients
                )


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("host all a all reject\nhost all all all md5\n", "a", {0}),
        ("host all a all reject\nhost all all all md5\n", "b", {1}),
        ("host all +g all scram-sha-256\nhost all b all md5\n", "b", {0}),
        ("host all +g all scram-sha-256\nhost all ab all md5\n", "ab", {0}),
        ("host all +h all scram-sha-256\nhost all b all md5\n", "b", {1}),
        ("host all all 10.0.0.0/25 md5\nhost all all 10.0.0.128/25 md5\nhost all a 10.0.0.0/24 md5\n", "a", {0, 1}),
        ("host sameuser a all reject\nhost a all all md5\n", "a", {0}),
        ("host sameuser a all reject\nhost x all all md5\n", "a", {0, 1}),
        ("host replication a all md5\n", "a", set()),
        ("host replication,x a all md5\n", "a", {0}),
        ("hostssl all all all scram-sha-256\nhostnossl all all all reject\nhost all a all md5\n", "a", {0, 1}),
        ('host all "all" all md5\n', "a", set()),
    ],
)
def test_named_cases(text: str, name: str, expected: set[int]) -> None:
    assert ours(text, name, Server(16)) == expected


def test_replication_needs_the_attribute() -> None:
    text = "host replication a all md5\n"
    assert ours(text, "a", Server(16), replication=True) == {0}


def test_rules_that_no_client_of_this_server_can_match() -> None:
    text = "hostssl all all all md5\nhostgssenc all all all md5\nhost all all all md5\n"
    assert ours(text, "a", Server(16, ssl=False, features=frozenset({"ssl"}))) == {2}


def test_an_expression_that_is_not_known_reaches_and_hides_nothing() -> None:
    text = 'host all "/(a{1,200}){1,200}" all reject\nhost all a all md5\n'
    assert decide.decide(
        ruleset.parse_text(text.encode(), Server(16)).rules, Client("a", "x", "10.0.0.1", "tcp"), server=Server(16), roles=ROLES
    ).outcome == (decide.UNDECIDED)
    assert ours(text, "a", Server(16)) == {0, 1}


def test_expressions_begin_with_what_they_say() -> None:
    names = ["role1", "role12", "role2", "rol", "x", "rolexx"]
    patterns = ["^role1", "^role1[0-9]*$", "^role?", "^rolex*$", "^role1|x", "role", "^(role)", "^role{2}", "^r"]
    roles = [Role(name) for name in names]
    for pattern, name in itertools.product(patterns, names):
        text = f'host all "/{pattern}" all md5\n'
        rules = ruleset.parse_text(text.encode(), Server(16)).rules
        hit = decide.decide(rules, Client(name, "x", "10.0.0.1", "tcp"), server=Server(16), roles=roles).rule is not None
        assert bool(Reach(rules, Server(16), roles).of(name, replication=False)) == hit, (pattern, name)
