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

import typing as t

from .._hba import catalog
from .._hba.coverage import Coverage
from .._hba.errors import UnsupportedPattern
from .._hba.model import Field, Role, Rule, Server, Token, encode
from .._hba.regex import Pattern, compile_pattern
from .._hba.roles import Memberships

_EVERYBODY: Field = (Token("all"),)


class Reach:
    """The rules in load order, prepared for many roles."""

    def __init__(self, rules: t.Sequence[Rule], server: Server, roles: t.Iterable[Role]) -> None:
        self._rules = tuple(rules)
        self._server = server
        self._memberships = Memberships(roles)
        self._regexes = server.major >= catalog.REGEX_SINCE
        self._fields = _Fields(self._rules, server)
        self._wide = [rule._replace(users=_EVERYBODY) for rule in self._rules]
        self._without_replication = [_without_replication(rule) for rule in self._wide]
        self._own_name = any(_is(token, "sameuser") for rule in self._rules for token in rule.databases)
        self._named = {token.text for rule in self._rules for token in rule.databases}
        self._patterned = self._regexes and any(text.startswith("/") for text in self._named)
        self._known: dict[tuple[t.Any, ...], tuple[int, ...]] = {}

    def of(self, name: str, *, replication: bool) -> tuple[int, ...]:
        """Indexes of the rules that a role can hit. ``replication``: it may start physical replication (the attribute, or a superuser)."""
        fields, doubtful = self._fields.of(name, self._memberships.above(name))
        special = name if self._own_name and (self._patterned or name in self._named) else None
        key = (fields, doubtful, replication, special)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._judge(fields, doubtful, replication, special)
        return found

    def _judge(self, fields: frozenset[int], doubtful: frozenset[int], replication: bool, special: str | None) -> tuple[int, ...]:
        variants = self._wide if replication else self._without_replication
        indexes: list[int] = []
        for field in fields | doubtful:
            indexes += self._fields.rules[field]
        indexes.sort()
        some = [(index, variants[index]) for index in indexes]
        mine = [(index, _own(rule, special) if special is not None else rule) for index, rule in some if rule is not None]
        coverage = Coverage([rule for _index, rule in mine], self._server, None)
        reached = []
        for at, (index, rule) in enumerate(mine):
            if not coverage.classes(rule) or coverage.judge(rule).dead:
                continue
            reached.append(index)
            if self._fields.of_rule[index] not in doubtful:
                coverage.add(at)
        return tuple(reached)


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
    """The different user columns, found by a name and its groups without looking at each of them."""

    def __init__(self, rules: t.Sequence[Rule], server: Server) -> None:
        self._named: dict[str, set[int]] = {}
        self._groups: dict[str, set[int]] = {}
        self._all: set[int] = set()
        self._patterns: dict[str, set[int]] = {}
        self._compiled: dict[str, Pattern | None] = {}
        self._major = server.major
        self.rules: list[list[int]] = []
        self.of_rule: list[int] = []
        numbers: dict[Field, int] = {}
        for index, rule in enumerate(rules):
            number = numbers.setdefault(rule.users, len(numbers))
            if number == len(self.rules):
                self.rules.append([])
                for token in rule.users:
                    self._add(token, number, server.major >= catalog.REGEX_SINCE)
            self.rules[number].append(index)
            self.of_rule.append(number)

    def _add(self, token: Token, number: int, regexes: bool) -> None:
        text, quoted = token
        if text == "all" and not quoted:
            self._all.add(number)
        elif text.startswith("+") and not quoted:
            self._groups.setdefault(text[1:], set()).add(number)
        elif regexes and text.startswith("/"):
            self._patterns.setdefault(text[1:], set()).add(number)
            if text[1:] not in self._compiled:
                self._compiled[text[1:]] = _compiled(text[1:], self._major)
        else:
            self._named.setdefault(text, set()).add(number)

    def of(self, name: str, groups: t.Iterable[str]) -> tuple[frozenset[int], frozenset[int]]:
        """Columns that match a name, and columns of which that is not known."""
        found = self._all | self._named.get(name, set())
        if self._groups:
            for group in groups:
                found |= self._groups.get(group, set())
        doubtful: set[int] = set()
        for text, numbers in self._patterns.items():
            truth = _matches(self._compiled[text], name)
            if truth is None:
                doubtful |= numbers
            elif truth:
                found = found | numbers
        return frozenset(found), frozenset(doubtful - found)


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
