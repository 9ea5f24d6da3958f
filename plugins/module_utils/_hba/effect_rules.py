# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Two lists of rules as one sequence of boxes: which rules are common, and what each matches, symbolically.

How a column is read: reference sections 4 and 5 (hba.c: check_hba, check_db, check_role, check_ip, check_hostname).
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import re
import typing as t

from . import errors, model
from .effect_space import (
    ADDRESS,
    ALWAYS,
    DATABASE,
    EVERY_NAME,
    LOCAL,
    NEVER,
    USER,
    V4_LAST,
    V6_FIRST,
    V6_LAST,
    Fact,
    Names,
    NameSet,
    Node,
    Space,
    merge_spans,
)
from .roles import Memberships

if t.TYPE_CHECKING:
    from . import regex

TRANSPORTS = ("local", "tcp", "tls", "gss")
TYPE_TRANSPORTS: dict[str, frozenset[str]] = {
    "local": frozenset({"local"}),
    "host": frozenset({"tcp", "tls", "gss"}),
    "hostssl": frozenset({"tls"}),
    "hostnossl": frozenset({"tcp", "gss"}),
    "hostgssenc": frozenset({"gss"}),
    "hostnogssenc": frozenset({"tcp", "tls"}),
}
BEFORE, AFTER = 1, 2
BOTH = BEFORE | AFTER
MAX_NAME_BYTES = 63
PLAIN_REGEX = re.compile(r"/\^[A-Za-z0-9_-]*\$?")
"""Expressions that say what a name begins with, or the whole name: these we understand without asking about names."""
EVERYWHERE = ((0, V4_LAST), (V6_FIRST, V6_LAST))

Outcome = t.Tuple[str, t.Tuple[t.Tuple[str, str], ...]]
"""``rejected`` or a method, and the options that change what a client must show, sorted."""


class Item(t.NamedTuple):
    """One rule of the merged sequence: in the list before, in the list after, or in both."""

    position: int
    sides: int
    before: model.Rule | None
    after: model.Rule | None
    outcome: Outcome


class Box(t.NamedTuple):
    """A part of what an item matches: a product of sets. ``link`` is empty, ``sameuser`` or ``samerole``."""

    item: Item
    transports: frozenset[str]
    replication: bool
    databases: NameSet
    users: NameSet
    link: str
    spans: tuple[tuple[int, int], ...]
    condition: Node


class Closure(t.NamedTuple):
    """Who is a member of what, directly or not, itself included."""

    above: dict[str, frozenset[str]]
    below: dict[str, frozenset[str]]


def closure(roles: t.Iterable[model.Role]) -> Closure:
    """Memberships as ``+role`` sees them (reference 4.3): transitive, a role is in itself, superusers are nothing special."""
    known = Memberships(roles)
    above: dict[str, frozenset[str]] = {}
    below: dict[str, set[str]] = {}
    for name in known.names:
        above[name] = known.above(name)
        for group in above[name]:
            below.setdefault(group, set()).add(name)
    return Closure(above, {name: frozenset(members) for name, members in below.items()})


# --- what a rule answers -----------------------------------------------------------------------------------------------

_HIDDEN_BOOLEANS = ("pam_use_hostname", "compat_realm", "upn_username")


def outcome(rule: model.Rule) -> Outcome:
    """What a client meets: the method with the options that matter. A reject rule's options change nothing."""
    if rule.method == "reject":
        return "rejected", ()
    if not rule.options and not rule.given_options:
        return rule.method, ()
    chosen = dict(rule.options)
    if not chosen.get("map", "x"):
        del chosen["map"]  # an empty map is no map (reference 6.3)
    for name, value in rule.given_options:  # the last one wins; these never reach the view (reference 8)
        if name in _HIDDEN_BOOLEANS:
            chosen[name] = "1" if value == "1" else "0"
        elif name == "clientname":
            chosen[name] = value
    verifies_name = rule.method == "cert" or chosen.get("clientcert") == "verify-full"
    if chosen.get("clientname", "CN") == "CN" or not verifies_name:
        chosen.pop("clientname", None)
    if chosen.get("pam_use_hostname") == "0":
        del chosen["pam_use_hostname"]
    return rule.method, tuple(sorted(chosen.items()))


# --- which rules are common --------------------------------------------------------------------------------------------


def _key(rule: model.Rule) -> t.Tuple[t.Any, ...]:
    address = rule.address
    where = None if address is None else (address.kind, address.text, address.family, address.value, address.mask)
    return (rule.type, rule.databases, rule.users, where, rule.method, rule.options, rule.given_options)


def merged(before: t.Sequence[model.Rule], after: t.Sequence[model.Rule]) -> list[Item]:
    """One sequence that has both lists in their order; a longest run of equal rules in equal order is common.

    A point that no uncommon rule matches meets the same common rules in the same order on both sides, so it is decided
    alike: only what uncommon rules match needs looking at. Time n log n (patience sorting over the k-th occurrences).
    """
    first = 0
    limit = min(len(before), len(after))
    while first < limit and _equal(before[first], after[first]):
        first += 1
    last = 0
    while last < limit - first and _equal(before[-1 - last], after[-1 - last]):
        last += 1
    items = [Item(at, BOTH, before[at], after[at], outcome(before[at])) for at in range(first)]
    pairs = _common(before, after, first, last)
    pairs += [(len(before) - at, len(after) - at) for at in range(last, 0, -1)]
    return _weave(items, before, after, pairs)


def _equal(one: model.Rule, two: model.Rule) -> bool:
    """Whether two rules are about the same clients and say the same; what differs may be their places."""
    return one is two or one[:7] == two[:7] or _key(one) == _key(two)


def _common(before: t.Sequence[model.Rule], after: t.Sequence[model.Rule], first: int, last: int) -> list[tuple[int, int]]:
    """Pairs of equal rules in equal order, but for the first and last rules, which are known to be equal."""
    places: dict[t.Any, list[int]] = {}
    for at in range(len(after) - last - 1, first - 1, -1):
        places.setdefault(_key(after[at]), []).append(at)
    partner: list[tuple[int, int]] = []
    for at in range(first, len(before) - last):
        there = places.get(_key(before[at]))
        if there:
            partner.append((at, there.pop()))
    tails: list[int] = []
    tail_index: list[int] = []
    previous: list[int] = []
    for index, (_one, two) in enumerate(partner):
        at = bisect.bisect_left(tails, two)
        previous.append(tail_index[at - 1] if at else -1)
        if at == len(tails):
            tails.append(two)
            tail_index.append(index)
        else:
            tails[at], tail_index[at] = two, index
    chain: list[tuple[int, int]] = []
    index = tail_index[-1] if tail_index else -1
    while index >= 0:
        chain.append(partner[index])
        index = previous[index]
    return chain[::-1]


def _weave(items: list[Item], before: t.Sequence[model.Rule], after: t.Sequence[model.Rule], pairs: list[tuple[int, int]]) -> list[Item]:
    """The rest of the sequence, behind the first items, which both lists begin with."""
    one = two = len(items)
    for stop_one, stop_two in [*pairs, (len(before), len(after))]:
        # in turns, so that what replaces a rule stands beside it and little is open at a time
        for first, second in itertools.zip_longest(before[one:stop_one], after[two:stop_two]):
            if first is not None:
                items.append(Item(len(items), BEFORE, first, None, outcome(first)))
            if second is not None:
                items.append(Item(len(items), AFTER, None, second, outcome(second)))
        if stop_one < len(before) and stop_two < len(after):
            items.append(Item(len(items), BOTH, before[stop_one], after[stop_two], outcome(before[stop_one])))
        one, two = stop_one + 1, stop_two + 1
    return items


# --- what a rule matches -----------------------------------------------------------------------------------------------


class Reading:
    """Turns rules into boxes for one server, with or without the list of roles; columns that repeat are read once."""

    def __init__(
        self,
        server: model.Server,
        roles: t.Sequence[model.Role] | None,
        interfaces: t.Sequence[tuple[int, int, int]] | None,
    ) -> None:
        self.space = Space()
        self.databases = Names(self.space, self._known)
        self.users = Names(self.space, self._known)
        self.roles = None if roles is None else closure(roles)
        self.groups: set[str] = set()
        """Roles whose membership is a fact."""
        self._regexes = server.major >= 16
        self._major = server.major
        self._interfaces = interfaces
        self._transports = {kind: self._possible(kind, server) for kind in TYPE_TRANSPORTS}
        self._columns: dict[tuple[int, model.Field], tuple[NameSet, frozenset[str]]] = {}
        self._patterns: dict[str, regex.Pattern | None] = {}

    @staticmethod
    def _possible(kind: str, server: model.Server) -> frozenset[str]:
        """A server without TLS or GSSAPI has no client that uses it (reference 3.1)."""
        gone = set()
        if not server.ssl or "ssl" not in server.features:
            gone.add("tls")
        if "gssapi" not in server.features:
            gone.add("gss")
        return TYPE_TRANSPORTS[kind] - gone

    def _known(self, fact: Fact, name: str) -> bool | None:
        if fact.kind == "member":
            return True if fact.value == name else None
        pattern = self._patterns.get(fact.value)
        try:
            return None if pattern is None else pattern.search(name)
        except errors.UnsupportedPattern:
            return None

    def boxes(self, item: Item) -> list[Box]:
        """Everything that one item matches, as products."""
        rule = item.before if item.before is not None else item.after
        if rule is None:
            return []
        transports = self._transports[rule.type]
        spans, condition = self._address(rule.address)
        if not transports or not spans:
            return []
        users = self.column(USER, rule.users)[0]
        databases, words = self.column(DATABASE, rule.databases)
        found: list[Box] = []
        if databases.default != NEVER or databases.over:
            found.append(Box(item, transports, False, databases, users, "", spans, condition))
        for word in sorted(words):
            if word == "replication":
                found.append(Box(item, transports, True, EVERY_NAME, users, "", spans, condition))
            elif word == "samerole" and self.roles is not None:
                for name, members in self.roles.below.items():
                    some = NameSet(NEVER, dict.fromkeys(members, ALWAYS))
                    some = self.users.combine(self.space.both, users, some)
                    found.append(Box(item, transports, False, Names.only(name), some, "", spans, condition))
            else:
                found.append(Box(item, transports, False, EVERY_NAME, users, word, spans, condition))
        return [box for box in found if box.users.default != NEVER or box.users.over]

    def column(self, axis: int, field: model.Field) -> tuple[NameSet, frozenset[str]]:
        """The names of a column, and its words that are no names (``sameuser``, ``samerole``, ``replication``)."""
        key = (axis, field)
        found = self._columns.get(key)
        if found is None:
            found = self._columns[key] = self._read_column(axis, field)
        return found

    def _read_column(self, axis: int, field: model.Field) -> tuple[NameSet, frozenset[str]]:
        default = NEVER
        over: dict[str, Node] = {}
        words: set[str] = set()
        for text, quoted in field:
            if text == "all" and not quoted:
                default = ALWAYS
            elif axis == DATABASE and not quoted and text in ("sameuser", "samerole", "samegroup", "replication"):
                words.add("samerole" if text == "samegroup" else text)
            elif axis == USER and text.startswith("+") and not quoted:
                default = self._group(text[1:], default, over)
            elif text.startswith("/") and self._regexes:
                default = self._regex(axis, text, default, over)
            elif text and len(model.encode(text)) <= MAX_NAME_BYTES:
                over[text] = ALWAYS
        names = self.databases if axis == DATABASE else self.users
        return names.make(default, over), frozenset(words)

    def _group(self, group: str, default: Node, over: dict[str, Node]) -> Node:
        if self.roles is not None:
            over.update((member, ALWAYS) for member in self.roles.below.get(group, ()) if len(model.encode(member)) <= MAX_NAME_BYTES)
            return default
        if not group or len(model.encode(group)) > MAX_NAME_BYTES:
            return default
        self.groups.add(group)
        return self.space.either(default, self.space.fact(Fact(USER, "member", group)))

    def _regex(self, axis: int, text: str, default: Node, over: dict[str, Node]) -> Node:
        if PLAIN_REGEX.fullmatch(text) and text.endswith("$"):
            if 0 < len(text) - 3 <= MAX_NAME_BYTES:
                over[text[2:-1]] = ALWAYS
            return default
        if text not in self._patterns:
            from . import regex  # noqa: PLC0415 - only files with regular expressions pay for its import

            self._patterns[text] = None
            with contextlib.suppress(errors.UnsupportedPattern, ValueError):  # then it is a fact for every name
                self._patterns[text] = regex.compile_pattern(text[1:], major=self._major)
        return ALWAYS if text == "/" else self.space.either(default, self.space.fact(Fact(axis, "regex", text)))

    def _address(self, address: model.Address | None) -> tuple[tuple[tuple[int, int], ...], Node]:
        if address is None:
            return ((LOCAL, LOCAL),), ALWAYS
        if address.kind == "all":
            return EVERYWHERE, ALWAYS
        if address.kind == "network":
            return self._network(address.family or 4, address.value, address.mask)
        if address.kind in ("samehost", "samenet"):
            if self._interfaces is None:
                return EVERYWHERE, self.space.fact(Fact(ADDRESS, address.kind, ""))
            return self._local_spans(address.kind), ALWAYS
        text = address.text.lower()
        if not text or text == ".":
            return (), NEVER  # reference 4.6: a plain "." matches nothing, and nobody is called ""
        return EVERYWHERE, self.space.fact(Fact(ADDRESS, "suffix" if text.startswith(".") else "host", text))

    def _local_spans(self, kind: str) -> tuple[tuple[int, int], ...]:
        spans: list[tuple[int, int]] = []
        for family, value, mask in self._interfaces or ():
            full = (1 << (32 if family == 4 else 128)) - 1
            spans += self._network(family, value, full if kind == "samehost" else mask)[0]
        return tuple(merge_spans(spans))

    def _network(self, family: int, value: int, mask: int) -> tuple[tuple[tuple[int, int], ...], Node]:
        bits, base = (32, 0) if family == 4 else (128, V6_FIRST)
        wild = ((1 << bits) - 1) ^ mask
        low = value & mask
        if not wild & (wild + 1):
            return ((base + low, base + low + wild),), ALWAYS
        head = bits - (~mask & ((1 << bits) - 1)).bit_length()  # leading ones still bound the interval
        tail = (1 << (bits - head)) - 1
        fact = Fact(ADDRESS, "mask", f"{_dotted(family, low)}/{_dotted(family, mask)}", (family, mask, low))
        return ((base + (low & ~tail), base + (low | tail)),), self.space.fact(fact)


def _dotted(family: int, mask: int) -> str:
    if family == 4:
        return ".".join(str(mask >> shift & 255) for shift in (24, 16, 8, 0))
    return ":".join(f"{mask >> shift & 0xFFFF:x}" for shift in range(112, -1, -16))
