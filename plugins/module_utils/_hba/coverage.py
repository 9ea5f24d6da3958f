# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Which rules can never decide because earlier ones take every client that they match.

A rule is a product of tokens: (transports) x (database tokens) x (user tokens) x (addresses). A pair of tokens is covered when
earlier rules for pairs that include it (the same token, ``all``, a group that the user is in, an expression that the name
matches, ``sameuser``) together cover its addresses. That is exact for one earlier rule and for unions over addresses and over
listed names; a cover that needs several different groups or expressions to add up to one token is not looked for, so a claim
is always true and a few dead rules go unnoticed. Time n log n: two bisections a pair.
"""

from __future__ import annotations

import bisect
import typing as t

from .effect_rules import TRANSPORTS, TYPE_TRANSPORTS
from .effect_space import LOCAL, V4_LAST, V6_FIRST, V6_LAST
from .errors import UnsupportedPattern
from .model import Address, Rule, Server, Token
from .roles import Memberships

EVERYWHERE = ((0, V4_LAST), (V6_FIRST, V6_LAST))
MAX_PAIRS = 400
"""Rules whose token lists multiply to more pairs are neither judged nor used as cover."""
MAX_PATTERNS = 64
"""Names are held against this many different expressions at most."""
LOOKED_AT = 100
"""Earlier rules that are considered when the one responsible is to be named."""

Spans = t.Tuple[t.Tuple[int, int], ...]
Reach = t.Tuple[Spans, str]
"""What :func:`spans_of` says of an address."""


class Verdict(t.NamedTuple):
    """What earlier rules leave of a rule."""

    dead: bool = False
    by: tuple[int, ...] = ()
    """Indices of rules that together cover it; one when one suffices; not always all of them."""
    databases: tuple[str, ...] = ()
    """Listed databases for which it can never decide."""
    users: tuple[str, ...] = ()
    cleartext: bool = True
    """Whether some client without TLS can reach it."""


UNTOUCHED = Verdict()
"""No earlier rule is about any of its clients, and it takes some without TLS."""


def spans_of(address: Address | None) -> Reach:
    """Bounds of what an address matches, and a name for what it matches within them; an empty name: all of it."""
    if address is None:
        return ((LOCAL, LOCAL),), ""
    if address.kind == "all":
        return EVERYWHERE, ""
    if address.kind != "network":
        return EVERYWHERE, f"{address.kind} {address.text.lower()}"
    bits, base = (32, 0) if address.family == 4 else (128, V6_FIRST)
    mask = address.mask
    wild = ((1 << bits) - 1) ^ mask
    low = address.value & mask
    if wild & (wild + 1):
        return ((base, base + (1 << bits) - 1),), f"mask {address.family} {low} {mask}"
    return ((base + low, base + low + wild),), ""


Taken = t.Tuple[int, int, int]
"""A span of the address line, and the rule that takes its clients."""


class _Area:
    """What earlier rules for one pair of tokens cover."""

    __slots__ = ("exact", "highs", "lows", "rules", "special")

    def __init__(self, *spans: Taken) -> None:
        self.lows = [low for low, _high, _rule in spans]
        self.highs = [high for _low, high, _rule in spans]
        # most areas hold one span: what few need is not made for all
        self.special: dict[str, int] | None = None
        self.rules: list[Taken] = list(spans)
        self.exact: dict[tuple[int, int], int] | None = None

    def reach(self, at: int) -> int:
        """The last place that is covered without a gap from ``at``; ``at - 1`` when it is not."""
        index = bisect.bisect_right(self.lows, at) - 1
        return self.highs[index] if index >= 0 and self.highs[index] >= at else at - 1

    def add(self, low: int, high: int, rule: int) -> None:
        """Cover a span."""
        if len(self.rules) < LOOKED_AT:
            self.rules.append((low, high, rule))
        else:
            if self.exact is None:
                self.exact = {}
            self.exact.setdefault((low, high), rule)
        first = bisect.bisect_left(self.highs, low - 1)
        last = bisect.bisect_right(self.lows, high + 1)
        if first < last:
            low = min(low, self.lows[first])
            high = max(high, self.highs[last - 1])
        self.lows[first:last] = [low]
        self.highs[first:last] = [high]


class Coverage:
    """Grows rule by rule: :meth:`judge` a rule, then :meth:`add` it."""

    def __init__(self, rules: t.Sequence[Rule], server: Server, memberships: Memberships | None) -> None:
        self._rules = rules
        self._regexes = server.major >= 16
        self._major = server.major
        self._memberships = memberships
        self._areas: dict[tuple[int, str, str], _Area | Taken] = {}
        """Only the span where it is one, as it is for most pairs of tokens; :meth:`_area` makes more of it."""
        self._added: tuple[set[str], set[str]] = (set(), set())
        """Words of databases and of users under which there is an area."""
        self._words: dict[tuple[bool, Token], str] = {}
        self._wider: dict[tuple[bool, str], tuple[str, ...]] = {}
        self._classes = self._transport_classes({rule.type for rule in rules}, server)
        words = {(True, token) for rule in rules for token in rule.databases} | {(False, token) for rule in rules for token in rule.users}
        for database, token in words:
            self._words[database, token] = self._word(token, database)
        self._groups = {word[1:] for word in self._words.values() if word[0] == "+"}
        self._patterns = {database: self._expressions(database) for database in (True, False)}

    def _expressions(self, database: bool) -> list[str]:
        found = sorted({word for (kind, _token), word in self._words.items() if kind == database and word[0] == "/"})
        return found[:MAX_PATTERNS]

    @staticmethod
    def _transport_classes(kinds: set[str], server: Server) -> dict[str, tuple[int, ...]]:
        """For each record type, which groups of transports it matches; transports that no type tells apart are one group."""
        groups: dict[frozenset[str], int] = {}
        result: dict[str, set[int]] = {kind: set() for kind in kinds}
        for transport in TRANSPORTS:
            if (transport == "tls" and not server.ssl) or (transport == "gss" and "gssapi" not in server.features):
                continue
            mine = frozenset(kind for kind in kinds if transport in TYPE_TRANSPORTS[kind])
            number = groups.setdefault(mine, TRANSPORTS.index(transport))
            for kind in mine:
                result[kind].add(number)
        return {kind: tuple(sorted(numbers)) for kind, numbers in result.items()}

    def _word(self, token: Token, database: bool) -> str:
        """A token as a key: ``*`` keyword, ``+`` group, ``/`` expression, ``=`` name."""
        text = token.text
        if not token.quoted:
            if text == "all" or (database and text in ("sameuser", "samerole", "replication")):
                return "*" + text
            if database and text == "samegroup":
                return "*samerole"
            if not database and text.startswith("+"):
                return text
        return text if text.startswith("/") and self._regexes else "=" + text

    def _wide(self, word: str, database: bool) -> tuple[str, ...]:
        """The keys under which rules stand that match whatever the token matches."""
        key = (database, word)
        found = self._wider.get(key)
        if found is None:
            wide = [word] if word in ("*replication", "*all") else ["*all", word]
            if word[0] == "=":
                wide += [pattern for pattern in self._patterns[database] if self._matches(pattern, word[1:])]
                if not database and self._memberships is not None:
                    wide += ["+" + group for group in sorted(self._groups & self._memberships.above(word[1:]))]
            found = self._wider[key] = tuple(wide)
        return found

    def _matches(self, pattern: str, name: str) -> bool:
        from .regex import compile_pattern  # noqa: PLC0415 - only files with regular expressions pay for its import

        try:
            return compile_pattern(pattern[1:], major=self._major).search(name)
        except (UnsupportedPattern, ValueError):
            return False

    def words(self, rule: Rule) -> tuple[list[str], list[str]]:
        """The keys of a rule's tokens."""
        return [self._words[True, token] for token in rule.databases], [self._words[False, token] for token in rule.users]

    def judge(self, rule: Rule, reach: Reach | None = None) -> Verdict:
        """What the rules added so far leave of this one. ``reach`` is ``spans_of`` its address, where the caller knows it."""
        databases, users = self.words(rule)
        if len(databases) * len(users) > MAX_PAIRS:
            return Verdict()
        classes = self._classes[rule.type]
        if not classes:
            return Verdict(cleartext=False)
        spans, special = reach or spans_of(rule.address)
        if not self._touched(databases, users, classes):
            return UNTOUCHED if 1 in classes else Verdict(cleartext=False)
        taken = {
            (number, first, second): self.covers(number, databases[first], users[second], spans, special)
            for number in classes
            for first in range(len(databases))
            for second in range(len(users))
        }
        cleartext = any(not taken[key] for key in taken if key[0] == 1)
        if all(taken.values()):
            return Verdict(True, self._responsible(rule, databases, users, spans, special), cleartext=False)
        gone_databases = [at for at in range(len(databases)) if all(value for key, value in taken.items() if key[1] == at)]
        gone_users = [at for at in range(len(users)) if all(value for key, value in taken.items() if key[2] == at)]
        return Verdict(
            databases=tuple(rule.databases[at].text for at in gone_databases),
            users=tuple(rule.users[at].text for at in gone_users),
            cleartext=cleartext,
        )

    def _touched(self, databases: list[str], users: list[str], classes: tuple[int, ...]) -> bool:
        if len(databases) > 1 or len(users) > 1:
            return True
        for wide_database in self._standing(databases[0], users[0], True):
            for wide_user in self._standing(users[0], "", False):
                for number in classes:
                    if (number, wide_database, wide_user) in self._areas:
                        return True
        return False

    def _standing(self, word: str, user: str, database: bool) -> list[str]:
        """The keys under which rules stand so far that match whatever the token matches; ``user`` is the other column's."""
        added = self._added[0 if database else 1]
        found = [wide for wide in self._wide(word, database) if wide in added]
        if database and word[0] == "=" and word == user and "*sameuser" in added:
            found.append("*sameuser")
        return found

    def _found(self, number: int, database: str, user: str) -> t.Iterator[_Area]:
        areas = self._areas
        wide_users = self._standing(user, "", False)
        for wide_database in self._standing(database, user, True):
            for wide_user in wide_users:
                if (number, wide_database, wide_user) in areas:
                    yield self._area((number, wide_database, wide_user))

    def _area(self, key: tuple[int, str, str]) -> _Area:
        found = self._areas.get(key)
        if not isinstance(found, _Area):
            found = self._areas[key] = _Area() if found is None else _Area(found)
        return found

    def covers(self, number: int, database: str, user: str, spans: Spans, special: str = "") -> bool:
        """Whether the rules added so far take every client of one pair of tokens, on one group of transports."""
        areas = list(self._found(number, database, user))
        if not areas:
            return False
        if special and any(area.special and special in area.special for area in areas):
            return True
        if special == "samehost samehost" and any(area.special and "samenet samenet" in area.special for area in areas):
            return True
        for low, high in spans:
            at = low
            while at <= high:
                reached = max(area.reach(at) for area in areas)
                if reached < at:
                    return False
                at = reached + 1
        return True

    def wide_user(self, name: str) -> tuple[str, ...]:
        """The keys of user tokens that match a name."""
        return self._wide("=" + name, False)

    def classes(self, rule: Rule) -> tuple[int, ...]:
        """Numbers of the groups of transports that a rule matches; the group with plain TCP, where there is one, is 1."""
        return self._classes[rule.type]

    def add(self, index: int, reach: Reach | None = None) -> None:
        """Take a rule into account from now on; ``reach`` as for :meth:`judge`."""
        rule = self._rules[index]
        databases, users = self.words(rule)
        if len(databases) * len(users) > MAX_PAIRS:
            return
        spans, special = reach or spans_of(rule.address)
        self._added[0].update(databases)
        self._added[1].update(users)
        for number in self._classes[rule.type]:
            for database in databases:
                for user in users:
                    key = (number, database, user)
                    if len(spans) == 1 and not special and key not in self._areas:
                        self._areas[key] = (*spans[0], index)
                        continue
                    area = self._area(key)
                    if special:
                        if area.special is None:
                            area.special = {}
                        area.special.setdefault(special, index)
                        continue
                    for low, high in spans:
                        area.add(low, high, index)

    def _responsible(self, rule: Rule, databases: list[str], users: list[str], spans: Spans, special: str) -> tuple[int, ...]:
        candidates: set[int] = set()
        low, high = spans[0]
        for number in self._classes[rule.type]:
            for area in self._found(number, databases[0], users[0]):
                if area.special and special in area.special:
                    candidates.add(area.special[special])
                if area.exact and (low, high) in area.exact:
                    candidates.add(area.exact[low, high])
                candidates.update(index for first, last, index in area.rules if first <= high and last >= low)
        for index in sorted(candidates)[:LOOKED_AT]:
            if self._alone(self._rules[index], rule):
                return (index,)
        return tuple(sorted(candidates)[:5])

    def _alone(self, earlier: Rule, rule: Rule) -> bool:
        databases, users = self.words(rule)
        spans, special = spans_of(rule.address)
        if not set(self._classes[rule.type]) <= set(self._classes[earlier.type]):
            return False
        other_databases, other_users = (set(words) for words in self.words(earlier))
        other_spans, other_special = spans_of(earlier.address)
        if other_special and other_special != special:
            return False
        if not other_special and not all(any(low <= first and last <= high for low, high in other_spans) for first, last in spans):
            return False
        own = "*sameuser" in other_databases and databases == users and len(users) == 1
        return (own or all(not other_databases.isdisjoint(self._wide(word, True)) for word in databases)) and all(
            not other_users.isdisjoint(self._wide(word, False)) for word in users
        )
