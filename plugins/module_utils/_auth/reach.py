# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Which rules a role can hit at all: those that match its name and that earlier rules leave some client of. Pure.

Only the first rule that matches a client counts, so a rule whose every client earlier rules take is out of reach, and what it says about
passwords does not matter. Exact for names, groups and addresses; where the engine is not sure (several groups that only together cover
a rule, an expression that it does not know) the role is taken to reach the rule, which can hold a migration back but never lock anybody
out. Roles that the same rules match are judged once, so time grows with the rules and with the different ways of being matched.
"""

from __future__ import annotations

import re
import typing as t

from .._hba import catalog
from .._hba.coverage import Coverage, spans_of
from .._hba.effect_rules import TYPE_TRANSPORTS
from .._hba.errors import UnsupportedPattern
from .._hba.model import Field, Role, Rule, Server, Token, encode
from .._hba.regex import Pattern, compile_pattern
from .._hba.roles import Memberships

_EVERYBODY: Field = (Token("all"),)


class Reach:
    """The rules in load order, prepared for many roles. Sets of rules are integers with a bit for each."""

    def __init__(self, rules: t.Sequence[Rule], server: Server, roles: t.Iterable[Role]) -> None:
        self._server = server
        self._memberships = Memberships(roles)
        self._fields = _Fields(rules, server)
        self._overlaps = _Overlaps(rules)
        wide = [rule._replace(users=_EVERYBODY) for rule in rules]
        self._variants: dict[bool, list[Rule | None]] = {True: list(wide), False: [_without_replication(rule) for rule in wide]}
        self._own_name = _set_of(at for at, rule in enumerate(rules) if any(_is(token, "sameuser") for token in rule.databases))
        self._named = {token.text for rule in rules for token in rule.databases}
        self._patterned = server.major >= catalog.REGEX_SINCE and any(text.startswith("/") for text in self._named)
        self._usable = {kind: self._matching_something(variants) for kind, variants in self._variants.items()}
        self._alone = {kind: self._left_by_everybody(kind) for kind in self._variants}
        self._dead: dict[tuple[int, int, bool, str | None], bool] = {}
        self._known: dict[tuple[int, int, bool, str | None], tuple[int, ...]] = {}

    def of(self, name: str, *, replication: bool) -> tuple[int, ...]:
        """Indexes of the rules that a role can hit. ``replication``: it may start physical replication (the attribute, or a superuser)."""
        certain, doubtful = self._fields.of(name, self._memberships.above(name))
        special = name if self._own_name and (self._patterned or name in self._named) else None
        key = (certain, doubtful, replication, special)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = _members(self._reached(*key))
        return found

    def _reached(self, certain: int, doubtful: int, replication: bool, special: str | None) -> int:
        """What rules for everybody leave is known; only rules that one of the role's own overlaps have to be looked at again."""
        left = self._alone[replication]
        candidates = (certain | doubtful) & left
        own = certain & left & ~self._fields.everybody
        touched = 0
        for at in _members(own):
            touched |= self._overlaps.with_rule(at) >> (at + 1) << (at + 1)
        if special is not None:
            for at in _members(self._own_name & candidates):
                touched |= self._overlaps.with_rule(at) | 1 << at
        found = candidates & ~touched
        for at in _members(candidates & touched):
            earlier = self._overlaps.with_rule(at) & certain & left & ((1 << at) - 1)
            if not self._is_dead(at, earlier, replication, special):
                found |= 1 << at
        return found

    def _is_dead(self, at: int, earlier: int, replication: bool, special: str | None) -> bool:
        key = (at, earlier, replication, special)
        found = self._dead.get(key)
        if found is None:
            some = [self._variants[replication][one] for one in (*_members(earlier), at)]
            rules = [rule if special is None else _own(rule, special) for rule in some if rule is not None]
            coverage = Coverage(rules, self._server, None)
            for one in range(len(rules) - 1):
                coverage.add(one)
            found = self._dead[key] = coverage.judge(rules[-1]).dead
        return found

    def _matching_something(self, variants: t.Sequence[Rule | None]) -> int:
        """Rules of a type that some client of this server can match at all."""
        there = [rule for rule in variants if rule is not None]
        coverage = Coverage(there, self._server, None)
        return _set_of(at for at, rule in enumerate(variants) if rule is not None and coverage.classes(rule))

    def _left_by_everybody(self, kind: bool) -> int:
        """Rules that earlier rules for everybody do not take wholly."""
        usable, variants = self._usable[kind], self._variants[kind]
        there = _members(usable)
        rules = [t.cast(Rule, variants[at]) for at in there]
        coverage = Coverage(rules, self._server, None)
        left = 0
        for number, at in enumerate(there):
            if coverage.judge(rules[number]).dead:
                continue
            left |= 1 << at
            if self._fields.everybody >> at & 1:
                coverage.add(number)
        return left


def _set_of(members: t.Iterable[int]) -> int:
    found = 0
    for member in members:
        found |= 1 << member
    return found


def _members(bits: int) -> tuple[int, ...]:
    found = []
    while bits:
        low = bits & -bits
        found.append(low.bit_length() - 1)
        bits ^= low
    return tuple(found)


class _Overlaps:
    """Which rules may match a common client, users left aside; in doubt they do."""

    def __init__(self, rules: t.Sequence[Rule]) -> None:
        self._parts = [(TYPE_TRANSPORTS[rule.type], spans_of(rule.address)[0], _plain_names(rule)) for rule in rules]
        self._known: dict[int, int] = {}

    def with_rule(self, at: int) -> int:
        """The set of rules that overlap one."""
        found = self._known.get(at)
        if found is None:
            transports, spans, names = self._parts[at]
            found = 0
            for number, (other_transports, other_spans, other_names) in enumerate(self._parts):
                if names is not None and other_names is not None and names.isdisjoint(other_names):
                    continue
                if any(low <= last and first <= high for low, high in spans for first, last in other_spans) and (
                    not transports.isdisjoint(other_transports)
                ):
                    found |= 1 << number
            self._known[at] = found
        return found


def _plain_names(rule: Rule) -> frozenset[str] | None:
    """The databases of a rule that names nothing but databases; None when it has keywords, groups or expressions."""
    for token in rule.databases:
        if token.text.startswith("/") or (not token.quoted and token.text in catalog.DATABASE_KEYWORDS):
            return None
    return frozenset(token.text for token in rule.databases)


def _is(token: Token, word: str) -> bool:
    return token.text == word and not token.quoted


def _without_replication(rule: Rule) -> Rule | None:
    """A rule for a role that may not replicate: what it says of physical replication does not concern it."""
    left = tuple([token for token in rule.databases if not _is(token, "replication")])
    return None if not left else rule if len(left) == len(rule.databases) else rule._replace(databases=left)


def _own(rule: Rule, name: str) -> Rule:
    """``sameuser`` as the database that it is for this role."""
    if not any(_is(token, "sameuser") for token in rule.databases):
        return rule
    return rule._replace(databases=tuple([Token(name, True) if _is(token, "sameuser") else token for token in rule.databases]))


class _Fields:
    """The rules that match a name and its groups, found without looking at each of them."""

    def __init__(self, rules: t.Sequence[Rule], server: Server) -> None:
        self._named: dict[str, int] = {}
        self._groups: dict[str, int] = {}
        self._patterns: dict[str, int] = {}
        self.everybody = 0
        """The rules whose user column says ``all``."""
        regexes = server.major >= catalog.REGEX_SINCE
        for at, rule in enumerate(rules):
            for token in rule.users:
                self._add(token, 1 << at, regexes)
        compiled = {text: _compiled(text, server.major) for text in self._patterns}
        self._compiled = [(_beginning(text) if compiled[text] else "", compiled[text], bits) for text, bits in self._patterns.items()]

    def _add(self, token: Token, bit: int, regexes: bool) -> None:
        text, quoted = token
        if text == "all" and not quoted:
            self.everybody |= bit
            return
        place, key = self._named, text
        if text.startswith("+") and not quoted:
            place, key = self._groups, text[1:]
        elif regexes and text.startswith("/"):
            place, key = self._patterns, text[1:]
        place[key] = place.get(key, 0) | bit

    def of(self, name: str, groups: t.Iterable[str]) -> tuple[int, int]:
        """Rules that match a name, and rules of which that is not known."""
        found = self.everybody | self._named.get(name, 0)
        if self._groups:
            for group in groups:
                found |= self._groups.get(group, 0)
        doubtful = 0
        for beginning, pattern, bits in self._compiled:
            if not name.startswith(beginning):
                continue
            truth = _matches(pattern, name)
            if truth is None:
                doubtful |= bits
            elif truth:
                found |= bits
        return found, doubtful & ~found


_BEGINNING = re.compile(r"\^([A-Za-z0-9_]*)([*?+{]?)")


def _beginning(pattern: str) -> str:
    """What every name that an expression matches begins with, as far as that is seen at once; looking is dearer than comparing."""
    match = _BEGINNING.match(pattern)
    if match is None or "|" in pattern:
        return ""
    return match[1][:-1] if match[2] else match[1]


def _compiled(text: str, major: int) -> Pattern | None:
    try:
        return compile_pattern(text, major=major)
    except (UnsupportedPattern, ValueError):
        return None


def _matches(pattern: Pattern | None, name: str) -> bool | None:
    if pattern is None:
        return None
    try:
        return pattern.search(encode(name))
    except UnsupportedPattern:
        return None
