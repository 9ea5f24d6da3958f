# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Sets of names and of addresses whose membership may hang on facts that nobody has told us.

A *fact* is a yes-or-no statement about a client that a rule consults and the files do not settle: "the user is a member of
app_rw", "the database matches /^shop_", "the address belongs to host a.example.com". A :class:`Space` holds Boolean functions
of facts as reduced ordered decision diagrams, so that equal sets have equal numbers and merging is comparing.

A :class:`NameSet` says for *every* name whether it belongs: a function for names nobody mentioned, and another one for some
names. An address set is a sorted tuple of spans ``(low, high, function)`` on one line of integers that holds "no address"
(the Unix socket), all IPv4 and all IPv6 addresses.
"""

from __future__ import annotations

import ipaddress
import socket
import typing as t

from . import errors

Node = int
"""A Boolean function: 0 is never, 1 is always, others index :class:`Space`."""
NEVER = 0
ALWAYS = 1

DATABASE, USER, ADDRESS = 0, 1, 2
"""The axes, in the order of the diagrams: cutting a diagram at an axis yields boxes."""
_AXIS = 1 << 20
_TERMINAL = 1 << 30
MAX_NODES = 2_000_000
"""More decision nodes than this are refused: the sets hang together in a way that no list of changes would make readable."""

LOCAL = -2
"""The place of "no address" on the address line."""
V4_LAST = (1 << 32) - 1
V6_FIRST = 1 << 40
V6_LAST = V6_FIRST + (1 << 128) - 1

Span = t.Tuple[int, int, Node]
AddressSet = t.Tuple[Span, ...]


class EffectTooComplex(errors.HbaError):
    """The two lists tie more undecidable facts together than can be told apart in memory."""


class Fact(t.NamedTuple):
    """One undecided statement: ``kind`` is ``member``, ``regex``, ``host``, ``suffix``, ``samehost``, ``samenet`` or ``mask``."""

    axis: int
    kind: str
    value: str
    numbers: t.Tuple[int, ...] = ()
    """For ``mask``: family, mask, value."""


Cube = t.Tuple[t.Tuple[Fact, bool], ...]
"""Facts that hold together."""


class Space:
    """Boolean functions of facts, hash-consed: the same function is the same number."""

    def __init__(self) -> None:
        self.facts: dict[int, Fact] = {}
        self._levels: dict[Fact, int] = {}
        self._nodes: list[tuple[int, Node, Node]] = [(_TERMINAL, 0, 0), (_TERMINAL, 1, 1)]
        self._unique: dict[tuple[int, Node, Node], Node] = {}
        self._memo: dict[tuple[Node, Node, Node], Node] = {}

    def fact(self, fact: Fact) -> Node:
        """The function that is true exactly when the fact is."""
        level = self._levels.get(fact)
        if level is None:
            level = fact.axis * _AXIS + len(self._levels)
            self._levels[fact] = level
            self.facts[level] = fact
        return self._make(level, NEVER, ALWAYS)

    def _make(self, level: int, low: Node, high: Node) -> Node:
        if low == high:
            return low
        key = (level, low, high)
        node = self._unique.get(key)
        if node is None:
            if len(self._nodes) >= MAX_NODES:
                raise EffectTooComplex(
                    "the difference depends on too many undecidable conditions at once (roles, regular expressions, host names); "
                    "give the list of roles, or compare smaller parts"
                )
            node = len(self._nodes)
            self._nodes.append(key)
            self._unique[key] = node
        return node

    def choose(self, test: Node, then: Node, other: Node) -> Node:
        """``then`` where ``test`` holds, ``other`` elsewhere."""
        if test == ALWAYS or then == other:
            return then
        if test == NEVER:
            return other
        if then == ALWAYS and other == NEVER:
            return test
        key = (test, then, other)
        node = self._memo.get(key)
        if node is None:
            nodes = self._nodes
            level = min(nodes[test][0], nodes[then][0], nodes[other][0])
            low = self.choose(self._branch(test, level, 1), self._branch(then, level, 1), self._branch(other, level, 1))
            high = self.choose(self._branch(test, level, 2), self._branch(then, level, 2), self._branch(other, level, 2))
            node = self._memo[key] = self._make(level, low, high)
        return node

    def _branch(self, node: Node, level: int, side: int) -> Node:
        entry = self._nodes[node]
        return entry[side] if entry[0] == level else node

    def both(self, one: Node, two: Node) -> Node:
        """Conjunction."""
        return self.choose(one, two, NEVER)

    def either(self, one: Node, two: Node) -> Node:
        """Disjunction."""
        return self.choose(one, ALWAYS, two)

    def minus(self, one: Node, two: Node) -> Node:
        """``one`` and not ``two``."""
        return self.choose(two, NEVER, one)

    def settle(self, node: Node, known: t.Callable[[Fact], bool | None]) -> Node:
        """The function with the facts that ``known`` decides put in."""
        if node <= ALWAYS:
            return node
        seen: dict[Node, Node] = {}

        def walk(at: Node) -> Node:
            if at <= ALWAYS:
                return at
            if at not in seen:
                level, low, high = self._nodes[at]
                answer = known(self.facts[level])
                if answer is None:
                    seen[at] = self.choose(self._make(level, NEVER, ALWAYS), walk(high), walk(low))
                else:
                    seen[at] = walk(high if answer else low)
            return seen[at]

        return walk(node)

    def rename(self, node: Node, axis: int) -> Node:
        """The same function of the same facts told about another axis (a database name that is also the user's)."""
        if node <= ALWAYS:
            return node
        level, low, high = self._nodes[node]
        return self.choose(self.fact(self.facts[level]._replace(axis=axis)), self.rename(high, axis), self.rename(low, axis))

    def simplify(self, node: Node, possible: Node) -> Node:
        """A smaller function that equals ``node`` wherever ``possible`` holds (Coudert and Madre's restriction)."""
        if node <= ALWAYS or possible == ALWAYS:
            return node
        if possible == NEVER:
            return NEVER
        level = self._nodes[node][0]
        care_level, care_low, care_high = self._nodes[possible]
        if care_level < level:
            return self.simplify(node, self.either(care_low, care_high))
        low, high = self._nodes[node][1:]
        if care_level > level:
            return self._make(level, self.simplify(low, possible), self.simplify(high, possible))
        if care_low == NEVER:
            return self.simplify(high, care_high)
        if care_high == NEVER:
            return self.simplify(low, care_low)
        return self._make(level, self.simplify(low, care_low), self.simplify(high, care_high))

    def support(self, node: Node) -> list[Fact]:
        """The facts that the function consults, in the space's order."""
        seen: set[Node] = set()
        levels: set[int] = set()
        stack = [node]
        while stack:
            at = stack.pop()
            if at > ALWAYS and at not in seen:
                seen.add(at)
                level, low, high = self._nodes[at]
                levels.add(level)
                stack += [low, high]
        return [self.facts[level] for level in sorted(levels)]

    def cut(self, node: Node, axis: int) -> list[tuple[Node, Node]]:
        """Split into disjoint products ``(function of facts up to axis, function of later facts)``."""
        limit = (axis + 1) * _AXIS
        if node == NEVER:
            return []
        if self._nodes[node][0] >= limit:
            return [(ALWAYS, node)]
        heads: dict[Node, Node] = {}
        seen: dict[Node, dict[Node, Node]] = {}

        def walk(at: Node) -> dict[Node, Node]:
            level, low, high = self._nodes[at]
            if level >= limit:
                return {at: ALWAYS} if at != NEVER else {}
            if at not in seen:
                mine: dict[Node, Node] = {}
                for child, low_arm in ((low, True), (high, False)):
                    for tail, head in walk(child).items():
                        part = self._make(level, head, NEVER) if low_arm else self._make(level, NEVER, head)
                        mine[tail] = self.either(mine.get(tail, NEVER), part)
                seen[at] = mine
            return seen[at]

        heads = walk(node)
        return [(head, tail) for tail, head in heads.items()]

    def cubes(self, node: Node) -> list[Cube]:
        """An irredundant sum of products (Minato and Morreale), for people and for JSON; ``[()]`` is always, ``[]`` never."""
        memo: dict[tuple[Node, Node], tuple[Node, list[Cube]]] = {}
        return sorted(self._cover(node, node, memo)[1], key=_cube_key)

    def _cover(self, low: Node, high: Node, memo: dict[tuple[Node, Node], tuple[Node, list[Cube]]]) -> tuple[Node, list[Cube]]:
        if low == NEVER:
            return NEVER, []
        if high == ALWAYS:
            return ALWAYS, [()]
        if (low, high) in memo:
            return memo[low, high]
        level = min(self._nodes[low][0], self._nodes[high][0])
        low0, low1 = self._branch(low, level, 1), self._branch(low, level, 2)
        high0, high1 = self._branch(high, level, 1), self._branch(high, level, 2)
        node0, cubes0 = self._cover(self.minus(low0, high1), high0, memo)
        node1, cubes1 = self._cover(self.minus(low1, high0), high1, memo)
        rest = self.either(self.minus(low0, node0), self.minus(low1, node1))
        shared, cubes2 = self._cover(rest, self.both(high0, high1), memo)
        fact = self.facts[level]
        cubes = [((fact, False), *cube) for cube in cubes0] + [((fact, True), *cube) for cube in cubes1] + cubes2
        node = self._make(level, self.either(node0, shared), self.either(node1, shared))
        memo[low, high] = (node, cubes)
        return memo[low, high]


def _cube_key(cube: Cube) -> tuple[int, list[tuple[str, str, bool]]]:
    return len(cube), [(fact.kind, fact.value, not holds) for fact, holds in cube]


class NameSet:
    """For every name whether, or when, it belongs: ``over[name]``, else ``default`` with what is known about the name put in."""

    __slots__ = ("_hash", "_key", "default", "over")

    def __init__(self, default: Node, over: dict[str, Node] | None = None) -> None:
        self.default = default
        self.over: dict[str, Node] = over or {}
        self._key = (default, frozenset(self.over.items()))
        self._hash = hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, NameSet) and self._hash == other._hash and self._key == other._key)


EVERY_NAME = NameSet(ALWAYS)


class Names:
    """What can be said about names on one axis: operations on :class:`NameSet`."""

    def __init__(self, space: Space, known: t.Callable[[Fact, str], bool | None]) -> None:
        self.space = space
        self._known = known
        self._values: dict[tuple[Node, str], Node] = {}

    def settle(self, node: Node, name: str) -> Node:
        """A function with what is known about ``name`` put in."""
        if node <= ALWAYS:
            return node
        key = (node, name)
        value = self._values.get(key)
        if value is None:
            value = self._values[key] = self.space.settle(node, lambda fact: self._known(fact, name))
        return value

    def value(self, names: NameSet, name: str) -> Node:
        """When ``name`` belongs."""
        found = names.over.get(name)
        return self.settle(names.default, name) if found is None else found

    def make(self, default: Node, over: dict[str, Node]) -> NameSet:
        """The canonical set: names that are as the default says are not listed."""
        kept = {name: node for name, node in over.items() if node != self.settle(default, name)}
        return NameSet(default, kept)

    def combine(self, operation: t.Callable[[Node, Node], Node], one: NameSet, two: NameSet) -> NameSet:
        """``operation`` name by name."""
        over = {name: operation(self.value(one, name), self.value(two, name)) for name in {**one.over, **two.over}}
        return self.make(operation(one.default, two.default), over)

    def union(self, sets: t.Sequence[NameSet]) -> NameSet:
        """All names of all sets; linear in what they list when few of them speak about unlisted names."""
        if len(sets) == 1:
            return sets[0]
        either = self.space.either
        wide = [names for names in sets if names.default != NEVER]
        default = NEVER
        over: dict[str, Node] = {}
        for names in sets:
            default = either(default, names.default)
            if names.default == NEVER:
                for name, node in names.over.items():
                    over[name] = either(over.get(name, NEVER), node)
        for name in {name for names in wide for name in names.over}:
            over.setdefault(name, NEVER)
        for names in wide:
            for name, node in over.items():
                over[name] = either(node, self.value(names, name))
        return self.make(default, over)

    @staticmethod
    def only(name: str, node: Node = ALWAYS) -> NameSet:
        """The set of one name."""
        return NameSet(NEVER, {name: node})


def merge_spans(spans: t.Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted, disjoint, not adjacent spans that cover the same integers."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if merged and low <= merged[-1][1] + 1:
            if high > merged[-1][1]:
                merged[-1] = (merged[-1][0], high)
        else:
            merged.append((low, high))
    return merged


def address_set(space: Space, spans: t.Iterable[Span]) -> AddressSet:
    """The canonical set: sorted, disjoint, neighbours with the same condition joined. Spans may overlap."""
    ordered = sorted(spans)
    if any(ordered[i][0] <= ordered[i - 1][1] for i in range(1, len(ordered))):
        ordered = _flatten(space, ordered)
    joined: list[Span] = []
    for span in ordered:
        if joined and joined[-1][2] == span[2] and joined[-1][1] + 1 == span[0]:
            joined[-1] = (joined[-1][0], span[1], span[2])
        else:
            joined.append(span)
    return tuple(joined)


def _flatten(space: Space, spans: list[Span]) -> list[Span]:
    cuts = sorted({low for low, _high, _node in spans} | {high + 1 for _low, high, _node in spans})
    flat: list[Span] = []
    active: list[Span] = []
    at = 0
    for index, low in enumerate(cuts[:-1]):
        while at < len(spans) and spans[at][0] <= low:
            active.append(spans[at])
            at += 1
        active = [span for span in active if span[1] >= low]
        node = NEVER
        for span in active:
            node = space.either(node, span[2])
        if node != NEVER:
            flat.append((low, cuts[index + 1] - 1, node))
    return flat


def matches_pattern(low: int, high: int, wanted: t.Sequence[tuple[int, int]], unwanted: t.Sequence[tuple[int, int]], bits: int) -> bool:
    """Whether an integer of ``low..high`` fits every ``(mask, value)`` of ``wanted`` and none of ``unwanted``."""
    ones = zeros = 0
    for mask, value in wanted:
        ones |= mask & value
        zeros |= mask & ~value
    if ones & zeros:
        return False

    def walk(bit: int, prefix: int, rivals: tuple[tuple[int, int], ...]) -> bool:
        first, last = prefix << (bit + 1), ((prefix + 1) << (bit + 1)) - 1
        if last < low or first > high:
            return False
        if any(not mask & ((1 << (bit + 1)) - 1) for mask, _value in rivals):
            return False
        if bit < 0 or (not rivals and low <= first and last <= high):
            return True
        for digit in (0, 1):
            if (zeros if digit else ones) >> bit & 1:
                continue
            left = tuple(rival for rival in rivals if not (rival[0] >> bit & 1) or (rival[1] >> bit & 1) == digit)
            if walk(bit - 1, prefix << 1 | digit, left):
                return True
        return False

    return walk(bits - 1, 0, tuple(unwanted))


def ranges_text(low: int, high: int) -> list[str]:
    """A span of the address line as CIDR blocks, or as ``first-last`` where that is shorter than four blocks."""
    size = high - low + 1
    if high <= V4_LAST and not size & (size - 1) and not low & (size - 1):  # one IPv4 network, as most are
        return [f"{socket.inet_ntoa(low.to_bytes(4, 'big'))}/{33 - size.bit_length()}"]
    kind: t.Callable[[int], ipaddress.IPv4Address | ipaddress.IPv6Address]
    kind, base = (ipaddress.IPv4Address, 0) if high <= V4_LAST else (ipaddress.IPv6Address, V6_FIRST)
    bits = 32 if base == 0 else 128
    first, last = low - base, high - base
    blocks: list[str] = []
    while first <= last:
        if len(blocks) == 4:
            return [f"{kind(low - base)}-{kind(high - base)}"]
        size = min((first & -first) or (1 << bits), 1 << ((last - first + 1).bit_length() - 1))
        blocks.append(f"{kind(first)}/{bits - size.bit_length() + 1}")
        first += size
    return blocks
