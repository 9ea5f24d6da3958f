# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""effect() by example: what people meet, in the words that they read. Exhaustive checks: test_effect_exhaustive.py."""

from __future__ import annotations

import json
import random
import typing as t

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba import decide, ruleset
from ansible_collections.pgops.access.plugins.module_utils._hba.effect import AccessChange, EffectTooComplex, effect
from ansible_collections.pgops.access.plugins.module_utils._hba.model import ALL_FEATURES, Client, Role, Rule, Server

SIXTEEN = Server(16)


def rules(text: str, server: Server = SIXTEEN) -> t.Sequence[Rule]:
    found = ruleset.parse_text(text.encode(), server)
    assert not [error for error in found.errors if error.line], found.errors
    return found.rules


def changes(before: str, after: str, server: Server = SIXTEEN, **kwargs: t.Any) -> tuple[AccessChange, ...]:
    return effect(rules(before, server), rules(after, server), server=server, **kwargs)


def words(before: str, after: str, server: Server = SIXTEEN, **kwargs: t.Any) -> list[str]:
    return [change.describe() for change in changes(before, after, server, **kwargs)]


def test_one_rule_added() -> None:
    """The sentence names who, what, where from, how, and why."""
    assert words("local all all peer\n", "local all all peer\nhostssl orders app 10.0.0.0/8 scram-sha-256\n") == [
        "gains access: user app to database orders from 10.0.0.0/8 over tls (scram-sha-256, line 2); before: no entry"
    ]


def test_only_what_was_not_there_before() -> None:
    """A wider rule gives access only outside what narrower ones already gave."""
    found = changes("host all all 10.0.0.0/9 md5\n", "host all all 10.0.0.0/9 md5\nhost all all 10.0.0.0/8 md5\n")
    assert [change.as_dict()["addresses"] for change in found] == [["10.128.0.0/9"]]


REORDERINGS = [
    ("host a all 10.0.0.0/8 md5\nhost b all 10.0.0.0/8 trust\n", "host b all 10.0.0.0/8 trust\nhost a all 10.0.0.0/8 md5\n"),
    ("host all u 10.0.0.0/9 md5\nhost all u 10.128.0.0/9 trust\n", "host all u 10.128.0.0/9 trust\nhost all u 10.0.0.0/9 md5\n"),
    ("hostssl all all all md5\nhostnossl all all all reject\n", "hostnossl all all all reject\nhostssl all all all md5\n"),
    ("host all all all md5\nhost replication all all trust\n", "host replication all all trust\nhost all all all md5\n"),
    ("host all all all md5\nhost b u 10.0.0.0/8 trust\n", "host all all all md5\n"),
    ("host all all 0.0.0.0/0 md5\nhost all all ::/0 md5\n", "host all all all md5\n"),
    ("host all all 10.0.0.0/9 md5\nhost all all 10.128.0.0/9 md5\n", "host all all 10.0.0.5/8 md5\n"),
    ("local all all peer map=\n", "local all all peer\n"),
    ("host a,b all all md5\n", "host b all all md5\nhost a all all md5\n"),
    ("hostssl all all all trust clientcert=verify-full\n", "hostssl all all all trust clientcert=verify-full clientname=CN\n"),
    ("host /^a$ all all md5\n", "host a all all md5\n"),
]


@pytest.mark.parametrize(("before", "after"), REORDERINGS)
def test_no_change_is_no_change(before: str, after: str) -> None:
    """Other words for the same access, and orders that do not matter."""
    assert changes(before, after) == ()
    assert changes(after, before) == ()


def test_the_peer_that_sorts() -> None:
    """Sorting by network puts the narrow trust above the wide reject: somebody gets in (peers.md, L4)."""
    before = "host all all 10.0.0.0/8 reject\nhost all all 10.1.2.3/32 trust\n"
    after = "host all all 10.1.2.3/32 trust\nhost all all 10.0.0.0/8 reject\n"
    assert words(before, after) == [
        "gains access: any user to any database from 10.1.2.3/32 over tcp, tls, gss (trust, line 1); before: rejected, line 1"
    ]


def test_tls_enforcement_undone() -> None:
    """The same with the record types (peers.md, L3)."""
    before = "hostnossl all all all reject\nhost all all all scram-sha-256\n"
    after = "host all all all scram-sha-256\nhostnossl all all all reject\n"
    found = changes(before, after)
    assert [(change.change, change.transports) for change in found] == [("gains", ("tcp", "gss"))]


def test_options_count_when_a_client_notices() -> None:
    """clientcert is asked for; what another rule says is the same is not; secrets are not shown."""
    found = changes("hostssl all all all trust\n", "hostssl all all all trust clientcert=verify-ca\n")
    assert [change.change for change in found] == ["options"]
    ldap = "host all all all ldap ldapserver=x ldapbasedn=y ldapbindpasswd={}\n"
    found = changes(ldap.format("one"), ldap.format("two"))
    assert [change.change for change in found] == ["options"]
    assert "one" not in json.dumps(found[0].as_dict())
    assert "two" not in found[0].describe() + json.dumps(found[0].as_dict())


def test_refused_otherwise() -> None:
    """A reject in place of nothing is another refusal, not a loss."""
    found = changes("local all all peer\n", "local all all peer\nhost all all all reject\n")
    assert [(change.change, change.before.outcome, change.after.outcome) for change in found] == [("refusal", "no_entry", "rejected")]
    assert [change.change for change in changes("host all all all md5\n", "host all all all reject\n")] == ["loses"]


def test_replication_is_its_own() -> None:
    """``all`` never covers it; a physical replication client names no database."""
    found = changes("host all all 10.0.0.0/8 md5\n", "host all,replication all 10.0.0.0/8 md5\n")
    assert [(change.replication, change.databases) for change in found] == [(True, None)]


def test_transports_that_the_server_has() -> None:
    """Without TLS nobody comes over TLS; without GSSAPI nobody over that."""
    bare = Server(16, ssl=False, features=ALL_FEATURES - {"gssapi"})
    assert [change.transports for change in changes("local all all peer\n", "local all all peer\nhost all all all md5\n", bare)] == [
        ("tcp",)
    ]
    assert changes("local all all peer\n", "local all all peer\nhostssl all all all md5\n", bare) == ()


def test_expressions_before_16_are_names() -> None:
    """15 and earlier compare them literally."""
    found = changes("local all all peer\n", "local all all peer\nhost all /^a all md5\n", Server(15))
    assert found[0].users.names == ("/^a",)


def test_groups() -> None:
    """Without roles a condition, with them the members."""
    text = "local all all peer\n"
    more = text + "host all +apps 10.0.0.0/8 md5\n"
    assert "any user that is +apps to" in words(text, more)[0]
    known = [Role("app", member_of=("apps",)), Role("deep", member_of=("app",)), Role("apps"), Role("boss", True)]
    assert changes(text, more, roles=known)[0].users.names == ("app", "apps", "deep")


def test_interfaces() -> None:
    """samehost and samenet are addresses once the interfaces are known."""
    text = "local all all peer\n"
    here = [(4, 0x0A010203, 0xFFFF0000)]
    ranges = [
        changes(text, f"{text}host all all {word} md5\n", interfaces=here)[0].as_dict()["addresses"] for word in ("samehost", "samenet")
    ]
    assert ranges == [["10.1.2.3/32"], ["10.1.0.0/16"]]


def test_ranges_that_are_no_block() -> None:
    """What is left of a network without one address is told as ranges."""
    found = changes("host all all 10.0.0.77/32 md5\n", "host all all 10.0.0.77/32 md5\nhost all all 10.0.0.0/8 md5\n")
    assert found[0].as_dict()["addresses"] == ["10.0.0.0/26", "10.0.0.64/29", "10.0.0.72/30", "10.0.0.76/32", "10.0.0.78-10.255.255.255"]


def test_json() -> None:
    """Everything is plain data, and the same every time."""
    before = "host a,b u,+g 10.0.0.0/8 md5\nhost all /^x .x.org reject\nhost sameuser all samenet trust\nhost all all all reject\n"
    found = effect(rules(before), rules(before)[::-1], server=SIXTEEN)
    text = json.dumps([change.as_dict() for change in found])
    assert text == json.dumps([change.as_dict() for change in effect(rules(before), rules(before)[::-1], server=SIXTEEN)])
    assert all(change.as_dict()["text"] == change.describe() for change in found)


def test_long_lists_stay_one_change() -> None:
    """Names that no rule tells apart are looked at once: 10,000 databases times 10,000 users are one change."""
    many = ",".join(f"n{number}" for number in range(10_000))
    found = changes("local all all peer\n", f"local all all peer\nhost {many} {many} 10.0.0.0/8 md5\n")
    assert len(found) == 1
    assert found[0].databases is not None
    assert len(found[0].databases.names) == len(found[0].users.names) == 10_000
    assert "n0, n1, n10" in found[0].describe()
    assert "9994 more" in found[0].describe()


def test_too_many_conditions_are_refused_not_guessed() -> None:
    """Ten thousand groups that nobody knows anything about."""
    many = ",".join(f"+g{number}" for number in range(10_000))
    with pytest.raises(EffectTooComplex, match="give the list of roles"):
        changes(f"host all {many} all md5\n", "host all all all md5\n")
    assert len(changes(f"host all {many} all md5\n", "host all all all md5\n", roles=[Role("g1")])) == 1


def test_it_agrees_with_decide() -> None:
    """Random clients on a larger file: what effect says changed is what decide decides differently."""
    source = random.Random(5)
    names = ["a", "b", "c", "d"]
    lines = [
        f"{source.choice(['host', 'hostssl', 'hostnossl'])} {source.choice([*names, 'all', 'sameuser'])} {source.choice([*names, 'all'])} "
        f"10.{source.randrange(4)}.{source.randrange(4)}.0/{source.choice([14, 16, 22, 24])} {source.choice(['md5', 'trust', 'reject'])}"
        for _number in range(120)
    ]
    other = list(lines)
    for _swap in range(12):
        one, two = source.randrange(len(other)), source.randrange(len(other))
        other[one], other[two] = other[two], other[one]
    before, after = rules("\n".join(lines) + "\n"), rules("\n".join(other) + "\n")
    found = effect(before, after, server=SIXTEEN)
    deciders = [decide.Decider(some, server=SIXTEEN) for some in (before, after)]
    differing = 0
    for _client in range(3000):
        client = Client(
            user=source.choice([*names, "other"]),
            database=source.choice([*names, "other"]),
            address=f"10.{source.randrange(4)}.{source.randrange(4)}.{source.randrange(256)}",
            transport=source.choice(["tcp", "tls", "gss"]),
        )
        first, second = (decider.decide(client) for decider in deciders)
        hits = [change for change in found if _covers(change, client)]
        assert len(hits) == (first.outcome != second.outcome)
        if hits:
            differing += 1
            assert (hits[0].before.outcome, hits[0].after.outcome) == (first.outcome, second.outcome)
    assert differing > 50


def _covers(change: AccessChange, client: Client) -> bool:
    import ipaddress  # noqa: PLC0415

    if client.transport not in change.transports or change.databases is None or change.addresses is None:
        return False
    for names, name in ((change.databases, client.database), (change.users, client.user)):
        if not (name in names.names or (names.any_name and name not in names.excluded)):
            return False
    if change.relation is not None and ("same" in change.relation) != (client.database == client.user):
        return False
    address = ipaddress.ip_address(client.address or "")
    for text in change.addresses.ranges:
        if "-" in text:
            low, high = (ipaddress.ip_address(part) for part in text.split("-"))
            if low <= address <= high:  # type: ignore[operator]
                return True
        elif address in ipaddress.ip_network(text):
            return True
    return False
