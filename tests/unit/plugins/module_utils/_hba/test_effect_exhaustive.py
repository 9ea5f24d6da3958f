# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""effect() against brute force: every client of a small universe, judged by a first-match evaluator that is written here.

The evaluator shares nothing with the engine but the parser's values, and a change is read from its JSON shape. 200 examples a
test; ``HYPOTHESIS_PROFILE=nightly`` runs 2,500.
"""

from __future__ import annotations

import functools
import ipaddress
import itertools
import random
import re
import typing as t

from ansible_collections.pgops.access.plugins.module_utils._hba import effect as engine
from ansible_collections.pgops.access.plugins.module_utils._hba import ruleset
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Role, Rule, Server
from hypothesis import event, given
from hypothesis import strategies as st

SERVER = Server(16)
POINTS = 1000
"""Clients looked at for one example of the last test; in all others, every client of the universe."""

Address = t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address, None]


class Point(t.NamedTuple):
    """One client and everything that a rule may ask about it."""

    transport: str
    replication: bool
    database: str
    user: str
    address: Address
    memberships: frozenset[str]
    """Without the user itself."""
    exists: bool = True
    host: str | None = None
    samehost: bool = False
    samenet: bool = False


# --- the naive evaluator -----------------------------------------------------------------------------------------------


def _transport_fits(kind: str, transport: str) -> bool:
    if kind == "local" or transport == "local":
        return kind == transport
    if kind == "hostssl":
        return transport == "tls"
    if kind == "hostnossl":
        return transport != "tls"
    if kind == "hostgssenc":
        return transport == "gss"
    if kind == "hostnogssenc":
        return transport != "gss"
    return True


def _is_member(point: Point, group: str) -> bool:
    return group in point.memberships or (group == point.user and point.exists)


def _database_fits(rule: Rule, point: Point) -> bool:
    for text, quoted in rule.databases:
        if point.replication:
            if text == "replication" and not quoted:
                return True
            continue
        if not quoted and text == "all":
            return True
        if not quoted and text == "sameuser":
            if point.database == point.user:
                return True
        elif not quoted and text == "samerole":
            if _is_member(point, point.database):
                return True
        elif not quoted and text == "replication":
            continue
        elif text.startswith("/"):
            if re.search(text[1:], point.database):
                return True
        elif text == point.database:
            return True
    return False


def _user_fits(rule: Rule, point: Point) -> bool:
    for text, quoted in rule.users:
        if not quoted and text == "all":
            return True
        if not quoted and text.startswith("+"):
            if _is_member(point, text[1:]):
                return True
        elif text.startswith("/"):
            if re.search(text[1:], point.user):
                return True
        elif text == point.user:
            return True
    return False


def _address_fits(rule: Rule, point: Point) -> bool:
    where = rule.address
    if where is None or point.address is None:
        return where is None and point.address is None
    if where.kind == "all":
        return True
    if where.kind == "samehost":
        return point.samehost
    if where.kind == "samenet":
        return point.samenet
    if where.kind == "name":
        if point.host is None:
            return False
        return point.host.endswith(where.text) if where.text.startswith(".") else point.host == where.text
    return point.address.version == where.family and (int(point.address) ^ where.value) & where.mask == 0


def first_match(rules: t.Sequence[Rule], point: Point) -> Rule | None:
    for rule in rules:
        if (
            _transport_fits(rule.type, point.transport)
            and _address_fits(rule, point)
            and _database_fits(rule, point)
            and _user_fits(rule, point)
        ):
            return rule
    return None


def outcome(rule: Rule | None) -> tuple[t.Any, ...]:
    if rule is None:
        return ("no_entry",)
    if rule.method == "reject":
        return ("rejected",)
    return (rule.method, *sorted(rule.options))


# --- reading a change --------------------------------------------------------------------------------------------------


def _holds(statement: str, name: str, point: Point) -> bool:
    if statement.startswith("not "):
        return not _holds(statement[4:], name, point)
    if statement.startswith("+"):
        return _is_member(point, statement[1:])
    if statement.startswith("/"):
        return re.search(statement[1:], name) is not None
    if statement.startswith("host ."):
        return point.host is not None and point.host.endswith(statement[5:])
    if statement.startswith("host "):
        return point.host == statement[5:]
    if statement in ("samehost", "samenet"):
        return bool(getattr(point, statement))
    return _masked(statement, point.address)


@functools.cache
def _masked(statement: str, of: t.Any) -> bool:
    address, mask = (ipaddress.ip_address(part) for part in statement.split("/"))
    return address.version == of.version and (int(address) ^ int(of)) & int(mask) == 0


def _fits_any(groups: list[list[str]], name: str, point: Point) -> bool:
    return any(all(_holds(statement, name, point) for statement in group) for group in groups)


def _named(names: dict[str, t.Any], name: str, point: Point) -> bool:
    if name in names["names"]:
        return True
    for entry in names.get("names_if", ()):
        if entry["name"] == name:
            return _fits_any(entry["matching"], name, point)
    if not names["any"] or name in names.get("except", ()):
        return False
    return "matching" not in names or _fits_any(names["matching"], name, point)


@functools.cache
def _bounds(text: str) -> tuple[t.Any, t.Any]:
    if "-" in text:
        low, high = (ipaddress.ip_address(part) for part in text.split("-"))
        return low, high
    network = ipaddress.ip_network(text)
    return network[0], network[-1]


@functools.cache
def _in_range(text: str, address: t.Any) -> bool:
    low, high = _bounds(text)
    return bool(low.version == address.version and low <= address <= high)


def _within(ranges: list[str], address: t.Any) -> bool:
    return any(_in_range(text, address) for text in ranges)


def covers(change: dict[str, t.Any], point: Point) -> bool:
    if point.transport not in change["transports"] or point.replication != change["replication"]:
        return False
    if not point.replication and not _named(change["databases"], point.database, point):
        return False
    if not _named(change["users"], point.user, point):
        return False
    if change["relation"] is not None:
        relation = "same" if point.database == point.user else "member" if _is_member(point, point.database) else "none"
        if relation not in change["relation"]:
            return False
    if point.address is None or change["addresses"] is None:
        return point.address is None and change["addresses"] is None
    if _within(change["addresses"], point.address):
        return True
    return any(_within(part["addresses"], point.address) and _fits_any(part["matching"], "", point) for part in change["addresses_if"])


# --- the properties ----------------------------------------------------------------------------------------------------


def check(before: str, after: str, points: t.Iterable[Point], roles: t.Sequence[Role] | None = None, complete: bool = True) -> None:
    """``complete``: every combination of what rules tell apart is among the points, so no change may be without one."""
    one, two = (ruleset.parse_text(text.encode(), SERVER) for text in (before, after))
    assert not [error for ruling in (one, two) for error in ruling.errors if error.line], (one.errors, two.errors)
    found = engine.effect(one.rules, two.rules, server=SERVER, roles=roles)
    changes = [change.as_dict() for change in found]
    event(f"changes: {min(len(changes), 8)}")
    used: set[int] = set()
    for point in points:
        first, second = first_match(one.rules, point), first_match(two.rules, point)
        hits = [index for index, change in enumerate(changes) if covers(change, point)]
        if outcome(first) == outcome(second):
            assert not hits, (point, "does not differ", [changes[hit]["text"] for hit in hits])
            continue
        assert len(hits) == 1, (point, "covered", len(hits), [change["text"] for change in changes])
        used.add(hits[0])
        for side, rule in (("before", first), ("after", second)):
            said = changes[hits[0]][side]
            assert said["line"] == (rule.line if rule else None), (point, side, changes[hits[0]]["text"])
            assert said["outcome"] == outcome(rule)[0]
            assert (rule is None or rule.method == "reject" or tuple(said["options"].items())) == (
                rule is None or rule.method == "reject" or tuple(sorted(rule.options))
            )
    if complete:
        assert used == set(range(len(changes))), [change["text"] for index, change in enumerate(changes) if index not in used]
    _check_minimal(changes)


COLUMNS = ("transports", "databases", "users", "relation", "addresses")


def _check_minimal(changes: list[dict[str, t.Any]]) -> None:
    for one, two in itertools.combinations(changes, 2):
        if one["before"] == two["before"] and one["after"] == two["after"] and one["replication"] == two["replication"]:
            columns = [
                [(one["addresses"], one["addresses_if"]), (two["addresses"], two["addresses_if"])]
                if column == "addresses"
                else [one[column], two[column]]
                for column in COLUMNS
            ]
            assert sum(first != second for first, second in columns) >= 2, ("could be one", one["text"], two["text"])


WITNESSES = [ipaddress.ip_address(f"10.0.0.{last}") for last in (0, 3, 4, 6)] + [
    ipaddress.ip_address(text) for text in ("10.9.9.9", "192.0.2.1", "fd00::1", "fd00::2", "fd00::7", "2001:db8::1")
]
"""At least one address for every combination of the networks below."""
FEW = [*WITNESSES[:6], WITNESSES[-1]]

NETWORKS = [
    "10.0.0.0/29",
    "10.0.0.0/30",
    "10.0.0.4/31",
    "10.0.0.3/32",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "all",
    "fd00::/126",
    "fd00::1/128",
    "::/0",
]
MASKED = ["10.0.0.1 255.255.255.249", "10.0.0.4 255.255.255.254", "10.0.0.2 0.0.0.3", "0.0.0.1 0.0.0.1", "fd00::1 ::1"]
ATOMS = ["h.x.org", "i.x.org", ".x.org", ".org", "samehost", "samenet"]
METHODS = ["trust", "reject", "md5", "scram-sha-256", "reject"]


def _lines(draw: t.Callable[[t.Any], t.Any], databases: list[str], users: list[str], addresses: list[str], count: int) -> list[str]:
    def column(words: list[str]) -> str:
        return ",".join(draw(st.lists(st.sampled_from(words), min_size=1, max_size=2, unique=True)))

    lines = []
    for _number in range(count):
        kind = draw(st.sampled_from(["local", "host", "host", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"]))
        method = draw(st.sampled_from([*METHODS, "clientcert"]))
        if method == "clientcert":
            method = "trust clientcert=verify-full" if kind == "hostssl" else "ident map=m"
        where = "" if kind == "local" else " " + draw(st.sampled_from(addresses))
        lines.append(f"{kind} {column(databases)} {column(users)}{where} {method}")
    return lines


@st.composite
def two_files(draw: t.Any, databases: list[str], users: list[str], addresses: list[str]) -> tuple[str, str]:
    """A file and an edited one: some lines kept, dropped, moved, replaced."""
    before = _lines(draw, databases, users, addresses, draw(st.integers(0, 6)))
    after = list(before)
    for _edit in range(draw(st.integers(1, 3))):
        what = draw(st.sampled_from(["insert", "drop", "swap", "shuffle", "new"]))
        if what == "insert" or not after:
            after.insert(draw(st.integers(0, len(after))), _lines(draw, databases, users, addresses, 1)[0])
        elif what == "drop":
            after.pop(draw(st.integers(0, len(after) - 1)))
        elif what == "swap":
            one, two = (draw(st.integers(0, len(after) - 1)) for _unused in range(2))
            after[one], after[two] = after[two], after[one]
        elif what == "shuffle":
            after = draw(st.permutations(after))
        else:
            after = _lines(draw, databases, users, addresses, draw(st.integers(0, 6)))
    return "".join(line + "\n" for line in before), "".join(line + "\n" for line in after)


def _seats(addresses: t.Sequence[t.Any]) -> list[tuple[str, Address]]:
    return [("local", None), *itertools.product(("tcp", "tls", "gss"), addresses)]


def _clients(
    databases: str, users: str, addresses: t.Sequence[t.Any] = FEW, memberships: t.Sequence[frozenset[str]] = (frozenset(),)
) -> list[Point]:
    kinds = [(False, database) for database in databases.split()] + [(True, "")]
    return [
        Point(transport, replication, database, user, address, groups - {user})
        for (transport, address), (replication, database), user, groups in itertools.product(
            _seats(addresses), kinds, users.split(), memberships
        )
    ]


ORDINARY = _clients("a b zz all replication", "u v w all", WITNESSES)


def test_the_same_twice() -> None:
    """Results do not depend on anything but the lists; a list does not differ from itself."""
    text = "host a,b u,+g 10.0.0.0/8 md5\nhost all /^x .x.org reject\nhost sameuser all samenet trust\nhost all all all reject\n"
    rules = ruleset.parse_text(text.encode(), SERVER).rules
    one = engine.effect(rules, rules[::-1], server=SERVER)
    assert one == engine.effect(rules, rules[::-1], server=SERVER)
    assert len(one) == 5
    assert engine.effect(rules, rules, server=SERVER) == ()


@given(two_files(["all", "a", "b", "replication", '"all"', '"replication"'], ["all", "u", "v", '"all"'], NETWORKS))
def test_names_and_networks(files: tuple[str, str]) -> None:
    """The ordinary columns: every client of the universe is looked at."""
    check(*files, ORDINARY)


OWN = _clients("a u v zz", "u a v zz w")


@given(two_files(["all", "a", "u", "sameuser", "replication"], ["all", "u", "a", "v"], NETWORKS[:7]))
def test_sameuser(files: tuple[str, str]) -> None:
    """Databases that carry the user's name."""
    check(*files, OWN)


MATCHING = _clients("a u aa ax bx zz", "u v uu ux wx w")


@given(two_files(["all", "a", "/^a", "/x$", "u"], ["all", "u", "/^u", "/x", "v"], NETWORKS[:7]))
def test_regular_expressions(files: tuple[str, str]) -> None:
    """Names that nobody mentions may match any combination of expressions; here some do."""
    check(*files, MATCHING)


BEGINNING = _clients("a u ux ab ax aa aab zz", "a u ux ab ax aa aab zz w")


@given(two_files(["all", "a", "/^a", "/^aa", "/^ax$", "sameuser"], ["all", "u", "/^u", "/^a", "/^aa", "a"], NETWORKS[:7]))
def test_regular_expressions_and_sameuser(files: tuple[str, str]) -> None:
    """One name stands in both columns; what one beginning says about another is understood."""
    check(*files, BEGINNING)


SUBSETS = [frozenset(some) for size in range(3) for some in itertools.combinations(("g", "a", "zz"), size)]
GROUPED = _clients("a u g zz", "u g a w zz +g", [WITNESSES[0], WITNESSES[1], WITNESSES[4]], SUBSETS)
NESTED = ["10.0.0.0/30", "10.0.0.3/32", "all"]


@given(two_files(["all", "a", "replication"], ["all", "u", "+g", "+a", "g", '"+g"'], NESTED))
def test_groups_without_roles(files: tuple[str, str]) -> None:
    """Membership is a condition: clients with every combination of memberships are looked at."""
    check(*files, GROUPED)


@given(two_files(["all", "a", "samerole", "sameuser"], ["all", "u", "+g", "+a", "a"], NESTED))
def test_samerole_without_roles(files: tuple[str, str]) -> None:
    """samerole ties the database's name to the memberships."""
    check(*files, GROUPED)


ROLES = [Role("u", member_of=("g",)), Role("v", True), Role("g", member_of=("b",)), Role("a"), Role("b")]
MEMBERSHIPS = {"u": {"g", "b"}, "g": {"b"}}
WITH_ROLES = [
    point._replace(memberships=frozenset(MEMBERSHIPS.get(point.user, ())), exists=point.user in {role.name for role in ROLES})
    for point in _clients("a b u ux g v bx zz", "u v g a b ux bx w zz")
]


@given(two_files(["all", "a", "samerole", "sameuser", "b", "/^b"], ["all", "u", "+g", "+b", "+nobody", "/^u"], NETWORKS[:6]))
def test_with_roles(files: tuple[str, str]) -> None:
    """Memberships are known: direct, inherited, own; a superuser is nothing special; unknown roles are members of nothing."""
    check(*files, WITH_ROLES, ROLES)


DENSE = [ipaddress.ip_address(f"{base}{last}") for base in ("10.0.0.", "10.0.1.", "192.0.2.", "fd00::", "2001:db8::") for last in range(8)]


@given(two_files(["all", "a"], ["all", "u"], MASKED + NETWORKS[:6]))
def test_odd_masks(files: tuple[str, str]) -> None:
    """Non-contiguous masks are matched bit by bit."""
    names = itertools.product(("a", "zz"), ("u", "w"))
    points = [
        Point(transport, False, database, user, address, frozenset())
        for (database, user), (transport, address) in itertools.product(names, _seats(DENSE))
    ]
    check(*files, points)


@given(two_files(["all", "a", "sameuser"], ["all", "u", "+g"], [*ATOMS, "0.0.0.0/0", "all"]))
def test_host_names(files: tuple[str, str]) -> None:
    """A client's address has one host name or none; which addresses belong to this host is not known."""
    hosts = [None, "h.x.org", "i.x.org", "other.x.org", "y.org", "h.example"]
    local = [(False, False), (False, True), (True, True)]
    names = itertools.product(("a", "u", "zz"), ("u", "a", "w", "zz"), [frozenset(), frozenset({"g"})])
    seats = itertools.product(_seats([WITNESSES[0], WITNESSES[6]]), hosts, local)
    points = [
        Point(transport, False, database, user, address, groups, True, host, samehost, samenet)
        for (database, user, groups), ((transport, address), host, (samehost, samenet)) in itertools.product(names, seats)
    ]
    check(*files, points)


@given(
    two_files(
        ["all", "a", "sameuser", "samerole", "replication", "/^a"],
        ["all", "u", "v", "+g", "/^u"],
        [*NETWORKS, *ATOMS[:4], *MASKED[:2]],
    )
)
def test_everything_at_once(files: tuple[str, str]) -> None:
    """All kinds of tokens together; a sample of the universe."""
    generator = random.Random(repr(files))
    seats = _seats(WITNESSES)
    points = []
    for _number in range(POINTS):
        transport, address = generator.choice(seats)
        replication = generator.random() < 0.2
        user = generator.choice(["u", "v", "g", "a", "ux", "w", "zz"])
        host = None if address is None else generator.choice([None, "h.x.org", "i.x.org", "other.x.org"])
        database = "" if replication else generator.choice(["a", "b", "u", "ax", "zz"])
        groups = generator.choice(SUBSETS) - {user}
        points.append(Point(transport, replication, database, user, address, groups, True, host))
    check(*files, points, complete=False)
