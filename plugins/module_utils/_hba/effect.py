# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""What a change of rules does to clients: the complete and minimal difference in access, symbolic and not sampled.

A client is a point: transport, physical replication or not, database, user, address, and what else rules ask about it (its
memberships, whether its name matches a regular expression, the host name of its address). :func:`effect` returns disjoint
products of sets of such points; each differs in outcome between the two lists, every differing point lies in exactly one, and
no two of them with the same deciding rules could be written as one.

How: uncommon rules bound what can differ (:func:`effect_rules.merged`). The plane of databases and users is cut into cells
only where a rule names both, or names one and leaves the other open; inside a cell one sweep over the address line finds the
first match of both lists. Time is n log n in the rules when each changed rule meets a bounded number of others; it grows with
the product of (names in rules for any database) and (databases with rules for any user), and with the number of changes found.
"""

from __future__ import annotations

import bisect
import functools
import heapq
import typing as t

from . import model
from .access_change import AccessChange, Answer, describe_names, describe_places
from .effect_rules import AFTER, BEFORE, BOTH, PLAIN_REGEX, TRANSPORTS, Box, Item, Reading, merged
from .effect_space import (
    ADDRESS,
    ALWAYS,
    DATABASE,
    EVERY_NAME,
    NEVER,
    USER,
    V6_FIRST,
    AddressSet,
    EffectTooComplex,
    Fact,
    Names,
    NameSet,
    Node,
    address_set,
    matches_pattern,
    merge_spans,
)

__all__ = ["AccessChange", "EffectTooComplex", "effect"]

NOBODY = -1
ANY_RELATION = frozenset({"same", "member", "none"})
"""How the database's name relates to the user: its own name; a role (not itself) that the user is a member of; neither."""
SAME, NOT_SAME = frozenset({"same"}), frozenset({"member", "none"})
NO_NAME = NameSet(NEVER)
MAX_MASK_CASES = 4096
MAX_CELLS = 4_000_000
MAX_SPANS = 1_500_000
"""Stretches of the address line that are looked at: some ten seconds, while two changed lists of 10,000 rules need a tenth of them."""

Entry = t.Tuple[Box, Node]
Found = t.Tuple[int, int, int, int, Node]
"""Deciding items (or NOBODY) before and after, the span, and when."""
Product = t.Tuple[int, int, Node, Node, AddressSet]
"""Deciding items before and after, when by the database and by the user, and from where."""


class Piece(t.NamedTuple):
    """One product of sets with the items that decide it; items are positions in the merged sequence."""

    before: int
    after: int
    replication: bool
    addresses: AddressSet
    transports: frozenset[str]
    relation: frozenset[str]
    databases: NameSet
    users: NameSet


def effect(
    before: t.Sequence[model.Rule],
    after: t.Sequence[model.Rule],
    *,
    server: model.Server,
    roles: t.Sequence[model.Role] | None = None,
    interfaces: t.Sequence[tuple[int, int, int]] | None = None,
) -> tuple[AccessChange, ...]:
    """The difference in access between two lists of rules in load order.

    With ``roles``, ``+role`` and ``samerole`` are resolved, and a name that is not in the list is a member of nothing;
    without, being a member is a condition that a change states. ``interfaces`` (family, address, mask as integers) resolves
    ``samehost`` and ``samenet`` likewise. Transports that the server cannot have (``ssl`` off, no GSSAPI) are left out.
    A change of options that a client can notice counts, a change of deciding rule alone does not.
    Raises :class:`EffectTooComplex` rather than approximate.
    """
    items = merged(before, after)
    reading = Reading(server, roles, interfaces)
    solver = _Solver(reading, items)
    pieces: list[Piece] = []
    try:
        boxes = _relevant(reading, items)
        for replication in (False, True):
            some = [box for box in boxes if box.replication == replication]
            if some:
                pieces += solver.solve(some, replication)
    except RecursionError as problem:
        raise EffectTooComplex(
            "the difference depends on several hundred undecidable conditions at once; give the list of roles"
        ) from problem
    return tuple(_change(reading, items, piece) for piece in sorted(pieces, key=_Order(reading)))


# --- what has to be looked at ------------------------------------------------------------------------------------------


def _relevant(reading: Reading, items: list[Item]) -> list[Box]:
    """The boxes of uncommon items, and of common ones those that meet them."""
    boxes = [box for item in items if item.sides != BOTH for box in reading.boxes(item)]
    hulls = [_Hull([box for box in boxes if box.replication == replication]) for replication in (False, True)]
    if not boxes:
        return []
    far = _Far(reading, hulls)
    for item in items:
        if item.sides == BOTH and not far.away(item):
            boxes += [box for box in reading.boxes(item) if hulls[box.replication].meets(box)]
    boxes.sort(key=lambda box: box.item.position)
    return boxes


class _Far:
    """Common rules whose names alone say that they meet no uncommon rule; columns that repeat are looked at once."""

    def __init__(self, reading: Reading, hulls: list[_Hull]) -> None:
        self._reading = reading
        self._hulls = hulls
        self._databases: dict[model.Field, bool] = {}
        self._users: dict[model.Field, bool] = {}

    def away(self, item: Item) -> bool:
        """Whether no box of a common item can meet a hull."""
        rule = t.cast(model.Rule, item.before)
        far = self._databases.get(rule.databases)
        if far is None:
            names, words = self._reading.column(DATABASE, rule.databases)
            far = self._databases[rule.databases] = not words and not self._hulls[False].holds_database(names)
        if far:
            return True
        far = self._users.get(rule.users)
        if far is None:
            names = self._reading.column(USER, rule.users)[0]
            far = self._users[rule.users] = not any(hull.holds_user(names) for hull in self._hulls)
        return far


class _Hull:
    """Bounds of what the uncommon rules match, column by column."""

    def __init__(self, boxes: t.Sequence[Box]) -> None:
        self._transports: frozenset[str] = frozenset().union(*[box.transports for box in boxes])
        self._databases = self._names([box.databases for box in boxes])
        self._users = self._names([box.users for box in boxes])
        spans = merge_spans(span for box in boxes for span in box.spans)
        self._lows = [low for low, _high in spans]
        self._highs = [high for _low, high in spans]

    @staticmethod
    def _names(sets: list[NameSet]) -> set[str] | None:
        if any(names.default != NEVER for names in sets):
            return None
        return {name for names in sets for name in names.over}

    def holds_database(self, names: NameSet) -> bool:
        """Whether a set of databases may share a name with an uncommon rule."""
        return self._databases is None or names.default != NEVER or not self._databases.isdisjoint(names.over)

    def holds_user(self, names: NameSet) -> bool:
        """Likewise for users."""
        return self._users is None or names.default != NEVER or not self._users.isdisjoint(names.over)

    def meets(self, box: Box) -> bool:
        """Whether ``box`` may share a point with an uncommon rule."""
        if box.transports.isdisjoint(self._transports):
            return False
        if not self.holds_database(box.databases) or not self.holds_user(box.users):
            return False
        for low, high in box.spans:
            at = bisect.bisect_right(self._lows, high) - 1
            if at >= 0 and self._highs[at] >= low:
                return True
        return False


# --- one sweep over the address line -----------------------------------------------------------------------------------


class _Sweep:
    """First matches of both lists for one cell of names, span by span of the address line."""

    def __init__(self, reading: Reading, items: list[Item]) -> None:
        self._space = reading.space
        self._items = items
        self._care: dict[t.Tuple[t.Any, ...], Node] = {}
        self._spans = 0

    def run(self, entries: list[Entry]) -> list[Found]:
        """``entries`` in order of position; only where an uncommon item is present can anything differ."""
        changed = merge_spans(span for box, _node in entries if box.item.sides != BOTH for span in box.spans)
        if len(entries) == 1:
            return self._alone(entries[0])
        starts, cuts = self._events(entries, changed[0][0], changed[-1][1])
        self._spans += len(cuts)
        if self._spans > MAX_SPANS:
            raise EffectTooComplex("many rules change for many databases and users at once; change or compare smaller parts")
        firm: dict[int, list[tuple[int, int]]] = {BEFORE: [], AFTER: []}
        soft: list[tuple[int, int, Node]] = []
        found: list[Found] = []
        at = where = 0
        for index in range(len(cuts) - 1):
            low, high = cuts[index], cuts[index + 1] - 1
            while at < len(starts) and starts[at][0] <= low:
                _low, position, last, node = starts[at]
                at += 1
                if node == ALWAYS:
                    for side in (BEFORE, AFTER):
                        if self._items[position].sides & side:
                            heapq.heappush(firm[side], (position, last))
                else:
                    soft.append((position, last, node))
            while where < len(changed) and changed[where][1] < low:
                where += 1
            if where < len(changed) and changed[where][0] <= low:
                soft = [entry for entry in soft if entry[1] >= low]
                found += self._decide(low, high, _top(firm[BEFORE], low), _top(firm[AFTER], low), soft)
        return found

    def _alone(self, entry: Entry) -> list[Found]:
        box, node = entry
        item = box.item
        first, second = (item.position, NOBODY) if item.sides == BEFORE else (NOBODY, item.position)
        node = self._space.both(node, box.condition)
        answers = [(low, high, self.settled(node, low, high)) for low, high in box.spans]
        return [(first, second, low, high, found) for low, high, found in answers if found != NEVER]

    def _events(self, entries: list[Entry], first: int, last: int) -> tuple[list[tuple[int, int, int, Node]], list[int]]:
        starts: list[tuple[int, int, int, Node]] = []
        cuts: set[int] = set()
        for box, name_node in entries:
            node = name_node if box.condition == ALWAYS else self._space.both(name_node, box.condition)
            for low, high in box.spans:
                if low <= last and high >= first:
                    starts.append((max(low, first), box.item.position, high, node))
                    cuts.add(max(low, first))
                    cuts.add(min(high, last) + 1)
        starts.sort()
        return starts, sorted(cuts)

    def _decide(self, low: int, high: int, first: int, second: int, soft: list[tuple[int, int, Node]]) -> list[Found]:
        limit = len(self._items) if NOBODY in (first, second) else max(first, second)
        stack = [(position, node) for position, _last, node in soft if position < limit]
        if not stack:
            return [(first, second, low, high, ALWAYS)] if self._differs(first, second) else []
        stack += [(position, ALWAYS) for position in sorted({first, second}) if position != NOBODY]
        stack.sort()
        if all(self._items[position].sides == BOTH for position, _node in stack):
            return []
        results = []
        for one, two, part in self._chain(stack):
            node = self.settled(part, low, high)
            if node != NEVER:
                results.append((one, two, low, high, node))
        return results

    def _differs(self, first: int, second: int) -> bool:
        if first == second:
            return False
        if NOBODY in (first, second):
            return True
        return self._items[first].outcome != self._items[second].outcome

    def _chain(self, stack: list[tuple[int, Node]]) -> list[tuple[int, int, Node]]:
        """Walk both lists at once: what is open on both sides, and what one side has decided and the other has not."""
        space = self._space
        open_ = ALWAYS
        pending: dict[int, list[tuple[int, Node]]] = {BEFORE: [], AFTER: []}
        found: list[tuple[int, int, Node]] = []
        for position, node in stack:
            sides = self._items[position].sides
            for decided in (BEFORE, AFTER):
                if sides & (BOTH ^ decided):
                    left: list[tuple[int, Node]] = []
                    for other, part in pending[decided]:
                        pair = (other, position) if decided == BEFORE else (position, other)
                        hit = space.both(part, node)
                        if hit != NEVER and self._differs(*pair):
                            found.append((*pair, hit))
                        if hit != part:
                            left.append((other, space.minus(part, node)))
                    pending[decided] = left
            if sides != BOTH:
                fresh = space.both(open_, node)
                if fresh != NEVER:
                    pending[sides].append((position, fresh))
            open_ = space.minus(open_, node)
            if open_ == NEVER and not pending[BEFORE] and not pending[AFTER]:
                break
        found += [(position, NOBODY, node) for position, node in pending[BEFORE]]
        found += [(NOBODY, position, node) for position, node in pending[AFTER]]
        return found

    def settled(self, node: Node, low: int = 0, high: int = 0) -> Node:
        """NEVER where the facts cannot hold together; else without what the others imply."""
        if node <= ALWAYS:
            return node
        facts = tuple(fact for fact in self._space.support(node) if fact.axis == ADDRESS or PLAIN_REGEX.fullmatch(fact.value))
        if not facts:
            return node
        masks = tuple(fact for fact in facts if fact.kind == "mask")
        key = (facts, low, high) if masks else (facts,)
        if key not in self._care:
            others = [fact for fact in facts if fact.kind != "mask"]
            self._care[key] = self._space.both(self._consistent(others), self._mask_cases(masks, low, high))
        care = self._care[key]
        if self._space.both(node, care) == NEVER:
            return NEVER
        return self._space.simplify(node, care)

    def _consistent(self, facts: list[Fact]) -> Node:
        """What facts of one column imply about each other. Facts come in the order of the diagrams."""
        space = self._space
        care = self._one_at_most([fact for fact in facts if fact.kind == "host"])
        for at, this in enumerate(facts):
            for that in facts[:at]:
                if this.axis == that.axis and not this.kind == that.kind == "host":
                    first, second = space.fact(this), space.fact(that)
                    if _implies(this, that):
                        care = space.minus(care, space.minus(first, second))
                    elif _implies(that, this):
                        care = space.minus(care, space.minus(second, first))
                    elif _excludes(this, that):
                        care = space.minus(care, space.both(first, second))
        return care

    def _one_at_most(self, facts: list[Fact]) -> Node:
        """Built from the last fact up, where every step only adds a node on top."""
        space = self._space
        none = care = ALWAYS
        for fact in reversed(facts):
            node = space.fact(fact)
            care = space.choose(node, none, care)
            none = space.choose(node, NEVER, none)
        return care

    def _mask_cases(self, facts: tuple[Fact, ...], low: int, high: int) -> Node:
        """Which truth values of non-contiguous masks occur between two addresses."""
        if not facts:
            return ALWAYS
        bits, base = (32, 0) if facts[0].numbers[0] == 4 else (128, V6_FIRST)
        cases: list[tuple[Node, list[tuple[int, int]], list[tuple[int, int]]]] = [(ALWAYS, [], [])]
        for fact in facts:
            pattern = (fact.numbers[1], fact.numbers[2])
            node = self._space.fact(fact)
            following = []
            for case, wanted, unwanted in cases:
                for holds in (True, False):
                    more = ([*wanted, pattern], unwanted) if holds else (wanted, [*unwanted, pattern])
                    if matches_pattern(low - base, high - base, more[0], more[1], bits):
                        kept = self._space.both(case, node) if holds else self._space.minus(case, node)
                        following.append((kept, *more))
            cases = following
            if len(cases) > MAX_MASK_CASES:
                raise EffectTooComplex("too many non-contiguous netmasks overlap; write them as networks")
        care = NEVER
        for case, _wanted, _unwanted in cases:
            care = self._space.either(care, case)
        return care


def _implies(one: Fact, two: Fact) -> bool:
    """A host name's ending implies its shorter endings; a name's beginning likewise; this host's address is in its network."""
    if two.kind == "suffix" and one.kind in ("host", "suffix"):
        return one.value.endswith(two.value)
    if one.kind == two.kind == "regex":
        return one.value.startswith(two.value)
    return one.kind == "samehost" and two.kind == "samenet"


def _excludes(one: Fact, two: Fact) -> bool:
    """Of two that do not imply each other: a client has one host name at most, a name has one beginning."""
    kinds = {one.kind, two.kind}
    return kinds <= {"host", "suffix"} or kinds == {"regex"}


def _top(heap: list[tuple[int, int]], low: int) -> int:
    while heap and heap[0][1] < low:
        heapq.heappop(heap)
    return heap[0][0] if heap else NOBODY


# --- the plane of databases and users ----------------------------------------------------------------------------------


class _Solver:
    """From boxes to merged pieces."""

    def __init__(self, reading: Reading, items: list[Item]) -> None:
        self._reading = reading
        self._space = reading.space
        self._sweep = _Sweep(reading, items)

    def solve(self, boxes: list[Box], replication: bool) -> list[Piece]:
        """All pieces for physical replication clients, or for all others."""
        pieces: list[Piece] = []
        linked = any(box.link for box in boxes)
        databases: dict[str, list[str]] = {}
        users: dict[str, list[str]] = {}
        if not linked:
            databases = _alike(self._reading.databases, [box.databases for box in boxes])
            users = _alike(self._reading.users, [box.users for box in boxes])
            boxes = self._representatives(boxes, databases, users)
        classes = _classes(boxes)
        if not linked:
            pieces, boxes = _undisturbed(boxes, replication)
        for transports in classes:
            some = [box for box in boxes if not box.transports.isdisjoint(transports)]
            plain = [box for box in some if not box.link]
            links = {box.link for box in some if box.link}
            if not links:
                pieces += self._plane(plain, transports, replication, ANY_RELATION, None)
                continue
            if "samerole" in links:
                more = [box for box in some if box.link != "sameuser"]
                pieces += self._plane(more, transports, replication, frozenset({"member"}), True)
                pieces += self._plane(plain, transports, replication, frozenset({"none"}), False)
            else:
                pieces += self._plane(plain, transports, replication, frozenset({"member", "none"}), None)
            pieces += self._diagonal(some, transports)
        pieces = self._merge(pieces)
        if linked:
            return self._merge(self._absorb(pieces))
        return [piece._replace(databases=_more(piece.databases, databases), users=_more(piece.users, users)) for piece in pieces]

    @staticmethod
    def _representatives(boxes: list[Box], databases: dict[str, list[str]], users: dict[str, list[str]]) -> list[Box]:
        if not databases and not users:
            return boxes
        spare_databases = {name for members in databases.values() for name in members[1:]}
        spare_users = {name for members in users.values() for name in members[1:]}
        return [box._replace(databases=_fewer(box.databases, spare_databases), users=_fewer(box.users, spare_users)) for box in boxes]

    def _plane(
        self, boxes: list[Box], transports: frozenset[str], replication: bool, relation: frozenset[str], tie: bool | None
    ) -> list[Piece]:
        grid = _Grid(boxes, self._reading.groups if tie is not None else ())
        pieces: list[Piece] = []

        known: dict[t.Tuple[t.Tuple[int, Node], ...], list[Product]] = {}

        def emit(entries: list[Entry], databases: t.Callable[[Node], NameSet], users: t.Callable[[Node], NameSet]) -> None:
            if not entries:
                return
            key = tuple([(id(box), node) for box, node in entries])  # many names meet the same rules
            if key not in known:
                found = self._products(self._sweep.run(entries))
                known[key] = [(*who, address_set(self._space, spans)) for who, spans in found.items()]
            for one, two, head, middle, places in known[key]:
                pieces.append(Piece(one, two, replication, places, transports, relation, databases(head), users(middle)))

        for user, databases, users in self._columns(grid):
            emit(self._cell(grid, None, user, tie), databases, users)
        for name in sorted(grid.cells):
            if name in grid.full:
                continue
            for user in sorted(grid.cells[name]):
                lone = grid.lone(name, user)
                if lone is None:
                    emit(self._cell(grid, name, user, tie), _one(name), _one(user))
                elif lone.item.sides != BOTH:
                    pieces.append(_piece(lone, name, user, (replication, transports, relation)))
        for name in sorted(grid.full):
            listed = sorted(grid.cells.get(name, set()) | grid.wild_users)
            for user in listed:
                emit(self._cell(grid, name, user, tie), _one(name), _one(user))
            emit(self._cell(grid, name, None, tie), _one(name), self._others(self._reading.users.make, listed))
        return pieces

    def _columns(self, grid: _Grid) -> t.Iterator[tuple[str | None, t.Callable[[Node], NameSet], t.Callable[[Node], NameSet]]]:
        """Databases without cells of their own for the user, user by user."""
        owners: dict[str, set[str]] = {user: set() for user in grid.wild_users}
        for name, users in grid.cells.items():
            if name not in grid.full:
                for user in users:
                    owners.setdefault(user, set()).add(name)
        make = self._reading.databases.make
        rest = self._others(make, grid.full)
        for user in sorted(owners):
            yield user, self._others(make, grid.full | owners[user]) if owners[user] else rest, _one(user)
        yield None, rest, self._others(self._reading.users.make, owners)

    @staticmethod
    def _others(make: t.Callable[[Node, dict[str, Node]], NameSet], excluded: t.Iterable[str]) -> t.Callable[[Node], NameSet]:
        """Every name but some, as far as a condition goes; the same object for the same condition."""
        gone = dict.fromkeys(excluded, NEVER)
        made: dict[Node, NameSet] = {}

        def build(node: Node) -> NameSet:
            if node not in made:
                made[node] = make(node, gone)
            return made[node]

        return build

    def _cell(self, grid: _Grid, database: str | None, user: str | None, tie: bool | None) -> list[Entry]:
        """What the sweep of one cell takes; empty where nothing can differ. None stands for a name that no relevant rule mentions."""
        if not grid.may_differ(database, user):
            return []
        space, reading = self._space, self._reading
        entries: list[Entry] = []
        for box in grid.candidates(database, user):
            first = box.databases.default if database is None else reading.databases.value(box.databases, database)
            if first == NEVER:
                continue
            second = box.users.default if user is None else reading.users.value(box.users, user)
            if tie is not None and second > ALWAYS and database is not None:
                second = space.settle(second, lambda fact: tie if fact == Fact(USER, "member", database) else None)
            node = space.both(first, second) if first != ALWAYS else second
            if node != NEVER:
                entries.append((box, node))
        return [] if all(box.item.sides == BOTH for box, _node in entries) else entries

    def _products(self, found: list[Found]) -> dict[tuple[int, int, Node, Node], list[tuple[int, int, Node]]]:
        products: dict[tuple[int, int, Node, Node], list[tuple[int, int, Node]]] = {}
        for one, two, low, high, node in found:
            if node == ALWAYS:
                products.setdefault((one, two, ALWAYS, ALWAYS), []).append((low, high, ALWAYS))
                continue
            for head, tail in self._space.cut(node, DATABASE):
                for middle, last in self._space.cut(tail, USER):
                    products.setdefault((one, two, head, middle), []).append((low, high, last))
        return products

    def _diagonal(self, boxes: list[Box], transports: frozenset[str]) -> list[Piece]:
        """Clients whose database carries the user's own name."""
        space, reading = self._space, self._reading
        named: dict[str, list[Box]] = {}
        wild: list[Box] = []
        for box in boxes:
            for mentioned in {**box.databases.over, **box.users.over}:
                named.setdefault(mentioned, []).append(box)
            if NEVER not in (box.databases.default, box.users.default):
                wild.append(box)
        pieces: list[Piece] = []
        rest = self._others(reading.users.make, named)
        names: list[str | None] = [*sorted(named), None]
        for name in names:
            some = wild if name is None else [*wild, *named[name]]
            entries: list[Entry] = []
            for box in sorted({id(box): box for box in some}.values(), key=lambda box: box.item.position):
                first = space.rename(box.databases.default if name is None else reading.databases.value(box.databases, name), USER)
                second = box.users.default if name is None else reading.users.value(box.users, name)
                if space.both(first, second) != NEVER:
                    entries.append((box, space.both(first, second)))
            if any(box.item.sides != BOTH for box, _node in entries):
                for (one, two, _head, middle), spans in self._products(self._sweep.run(entries)).items():
                    users = rest(middle) if name is None else NameSet(NEVER, {name: middle})
                    places = address_set(space, spans)
                    pieces.append(Piece(one, two, False, places, transports, SAME, EVERY_NAME, users))
        return pieces

    # --- merging ---

    def _merge(self, pieces: list[Piece]) -> list[Piece]:
        """Join pieces that differ in one column only, until no two do. Columns are compared as small numbers."""
        numbers: dict[t.Any, int] = {}
        keyed = [(tuple([numbers.setdefault(value, len(numbers)) for value in piece]), piece) for piece in pieces]
        column, quiet = 3, 0
        while quiet < 5:
            groups: dict[tuple[int, ...], list[tuple[tuple[int, ...], Piece]]] = {}
            for entry in keyed:
                groups.setdefault(entry[0][:column] + entry[0][column + 1 :], []).append(entry)
            quiet = quiet + 1 if len(groups) == len(keyed) else 1
            if quiet == 1:
                keyed = []
                for group in groups.values():
                    if len(group) == 1:
                        keyed += group
                        continue
                    piece = self._joined([piece for _key, piece in group], column)
                    number = numbers.setdefault(piece[column], len(numbers))
                    keyed.append(((*group[0][0][:column], number, *group[0][0][column + 1 :]), piece))
            column = 3 if column == 7 else column + 1
        return [piece for _key, piece in keyed]

    def _joined(self, group: list[Piece], column: int) -> Piece:
        first = group[0]
        if column == 3:
            return first._replace(addresses=address_set(self._space, [span for piece in group for span in piece.addresses]))
        if column == 4:
            return first._replace(transports=first.transports.union(*[piece.transports for piece in group]))
        if column == 5:
            return first._replace(relation=first.relation.union(*[piece.relation for piece in group]))
        if column == 6:
            return first._replace(databases=self._possible(self._reading.databases.union([piece.databases for piece in group])))
        return first._replace(users=self._possible(self._reading.users.union([piece.users for piece in group])))

    def _possible(self, names: NameSet) -> NameSet:
        """The set without what contradictory facts would add."""
        settled, default = self._sweep.settled, names.default
        if default <= ALWAYS and all(node <= ALWAYS for node in names.over.values()):
            return names
        return self._reading.users.make(settled(default), {name: settled(node) for name, node in names.over.items()})

    def _absorb(self, pieces: list[Piece]) -> list[Piece]:
        """Where own-name clients fare as the rectangle around them does, the rectangle needs no exception."""
        combine, space = self._reading.users.combine, self._space
        own_names = {piece[:5]: piece for piece in pieces if piece.relation == SAME}
        result: list[Piece] = []
        for piece in pieces:
            if "same" in piece.relation:
                if piece.relation != SAME:
                    result.append(piece)
                continue
            renamed = NameSet(
                space.rename(piece.databases.default, USER),
                {name: space.rename(node, USER) for name, node in piece.databases.over.items()},
            )
            if _single(renamed) is not None and _single(renamed) == _single(piece.users):
                continue  # nobody is in it
            inside = self._possible(combine(space.both, renamed, piece.users))
            own = own_names.get(piece[:5])
            if inside == NO_NAME:
                result.append(piece._replace(relation=ANY_RELATION if piece.relation == NOT_SAME else piece.relation))
            elif own is not None and self._possible(combine(space.minus, inside, own.users)) == NO_NAME:
                own_names[piece[:5]] = own._replace(users=self._possible(combine(space.minus, own.users, inside)))
                result.append(piece._replace(relation=piece.relation | SAME))
            else:
                result.append(piece)
        for piece in own_names.values():
            if _single(piece.users) is not None:
                result.append(piece._replace(databases=NameSet(NEVER, dict.fromkeys(piece.users.over, ALWAYS)), relation=ANY_RELATION))
            elif piece.users != NO_NAME:
                result.append(piece)
        return result


def _undisturbed(boxes: list[Box], replication: bool) -> tuple[list[Piece], list[Box]]:
    """Pieces of the boxes that share no cell with another one, and the other boxes. Most rules of a file that is new are such: whatever the
    transport and the address, they and nothing else decide."""
    if any(box.item.sides == BOTH or box.databases.default != NEVER or box.users.default != NEVER for box in boxes):
        return [], boxes
    if sum(len(box.databases.over) * len(box.users.over) for box in boxes) > MAX_CELLS:
        return [], boxes
    owners: dict[tuple[str, str], int] = {}
    shared = {index for index, box in enumerate(boxes) if not _is_plain(box)}
    for index, box in enumerate(boxes):
        for database in box.databases.over:
            for user in box.users.over:
                first = owners.setdefault((database, user), index)
                if first != index:
                    shared.add(first)
                    shared.add(index)
    pieces = [
        _piece(boxes[index], database, user, (replication, boxes[index].transports, ANY_RELATION))
        for (database, user), index in owners.items()
        if index not in shared
    ]
    return pieces, [boxes[index] for index in sorted(shared)]


def _is_plain(box: Box) -> bool:
    """Whether a box is one span for some names, and nothing has to be known about a client."""
    if box.condition != ALWAYS or len(box.spans) != 1:
        return False
    return all(node == ALWAYS for names in (box.databases, box.users) for node in names.over.values())


def _piece(box: Box, database: str, user: str, where: tuple[bool, frozenset[str], frozenset[str]]) -> Piece:
    """What a plain, uncommon box that is alone in a cell changes there; ``where``: replication, transports, relation."""
    replication, transports, relation = where
    position = box.item.position
    pair = (position, NOBODY) if box.item.sides == BEFORE else (NOBODY, position)
    low, high = box.spans[0]
    return Piece(*pair, replication, ((low, high, ALWAYS),), transports, relation, only(database), only(user))


class _Grid:
    """Which cells of the plane have rules of their own.

    A database that only rules for named users name differs from unnamed ones in those cells only; one that a rule for any
    user names (``full``) differs everywhere.
    """

    def __init__(self, boxes: list[Box], forced: t.Collection[str]) -> None:
        if sum(len(box.databases.over) * len(box.users.over) for box in boxes) > MAX_CELLS:
            raise EffectTooComplex("rules that list many databases and many users overlap; compare smaller parts")
        self.cells: dict[str, set[str]] = {}
        self.full: set[str] = set(forced)
        self.wild_users: set[str] = set()
        self._boxes: dict[tuple[str | None, str | None], list[Box]] = {}
        for box in boxes:
            for name in box.databases.over:
                self.cells.setdefault(name, set()).update(box.users.over)
                if box.users.default != NEVER:
                    self.full.add(name)
            if box.databases.default != NEVER:
                self.wild_users.update(box.users.over)
            for database in self._keys(box.databases):
                for user in self._keys(box.users):
                    self._boxes.setdefault((database, user), []).append(box)
        self._changed = {key for key, some in self._boxes.items() if any(box.item.sides != BOTH for box in some)}

        self._narrow = all(None not in key for key in self._boxes)

    def lone(self, database: str, user: str) -> Box | None:
        """The box of a cell that a single rule reaches, where it matches these names and its addresses without a condition."""
        some = self._boxes[database, user] if self._narrow else ()
        return some[0] if len(some) == 1 and _is_plain(some[0]) else None

    @staticmethod
    def _keys(names: NameSet) -> list[str | None]:
        return [*names.over, *([None] if names.default != NEVER else [])]

    @staticmethod
    def _around(database: str | None, user: str | None) -> set[tuple[str | None, str | None]]:
        return {(database, user), (database, None), (None, user), (None, None)}

    def may_differ(self, database: str | None, user: str | None) -> bool:
        """Whether an uncommon rule can reach the cell."""
        return not self._changed.isdisjoint(self._around(database, user))

    def candidates(self, database: str | None, user: str | None) -> list[Box]:
        """The boxes that can match in the cell, in order; a few that do not may be among them."""
        lists = [self._boxes[key] for key in self._around(database, user) if key in self._boxes]
        if len(lists) <= 1:
            return lists[0] if lists else []
        unique = {id(box): box for some in lists for box in some}
        return sorted(unique.values(), key=_position)


def _position(box: Box) -> int:
    return box.item.position


def _alike(names: Names, sets: list[NameSet]) -> dict[str, list[str]]:
    """Listed names that no set tells apart, by the first of them; nothing where every name stands alone."""
    if all(len(some.over) <= 1 for some in sets):
        return {}
    marks: dict[str, list[tuple[int, Node]]] = {}
    for index, some in enumerate(sets):
        for name, node in some.over.items():
            marks.setdefault(name, []).append((index, node))
    facts = sorted({some.default for some in sets if some.default > ALWAYS})
    classes: dict[t.Tuple[t.Any, ...], list[str]] = {}
    for name in sorted(marks):
        classes.setdefault((tuple(marks[name]), tuple([names.settle(node, name) for node in facts])), []).append(name)
    return {members[0]: members for members in classes.values() if len(members) > 1}


def _fewer(names: NameSet, spare: set[str]) -> NameSet:
    """A set without the names that others stand for."""
    if spare.isdisjoint(names.over):
        return names
    return NameSet(names.default, {name: node for name, node in names.over.items() if name not in spare})


def _more(names: NameSet, classes: dict[str, list[str]]) -> NameSet:
    """The reverse."""
    if classes.keys().isdisjoint(names.over):
        return names
    return NameSet(names.default, {member: node for name, node in names.over.items() for member in classes.get(name, (name,))})


def _single(names: NameSet) -> str | None:
    """The only name of a set."""
    return next(iter(names.over)) if names.default == NEVER and len(names.over) == 1 else None


def _one(name: str) -> t.Callable[[Node], NameSet]:
    return lambda node: only(name) if node == ALWAYS else NameSet(NEVER, {name: node})


only = functools.lru_cache(maxsize=4096)(Names.only)
"""The set of one name."""


def _classes(boxes: list[Box]) -> list[frozenset[str]]:
    """Transports that no relevant rule tells apart."""
    kinds = {box.transports for box in boxes}
    groups: dict[frozenset[frozenset[str]], set[str]] = {}
    for transport in TRANSPORTS:
        mine = frozenset(kind for kind in kinds if transport in kind)
        if mine:
            groups.setdefault(mine, set()).add(transport)
    return [frozenset(group) for group in groups.values()]


# --- results -----------------------------------------------------------------------------------------------------------


class _Order:
    """How pieces are sorted: by the rule that decides first, then by what they are about. Sets of names repeat: each is looked at once."""

    def __init__(self, reading: Reading) -> None:
        self._space = reading.space
        self._names: dict[NameSet, t.Tuple[t.Any, ...]] = {}
        self._transports: dict[frozenset[str], list[int]] = {}

    def __call__(self, piece: Piece) -> t.Tuple[t.Any, ...]:
        decided = [max(piece.before, piece.after)] if NOBODY in (piece.before, piece.after) else sorted((piece.before, piece.after))
        transports = self._transports.get(piece.transports)
        if transports is None:
            transports = self._transports[piece.transports] = [at for at, name in enumerate(TRANSPORTS) if name in piece.transports]
        names = (self._key(piece.databases), self._key(piece.users))
        return (decided[0], piece.replication, names, transports, sorted(piece.relation), piece.addresses, decided)

    def _key(self, names: NameSet) -> t.Tuple[t.Any, ...]:
        found = self._names.get(names)
        if found is None:
            found = self._names[names] = (len(self._space.cubes(names.default)), sorted(names.over.items()))
        return found


_NO_ENTRY = Answer("no_entry")


def _answer(item: Item | None, rule: model.Rule | None) -> Answer:
    if item is None or rule is None:
        return _NO_ENTRY
    method, options = item.outcome
    return Answer(method, options, rule.file, rule.line, rule.number)


@functools.lru_cache(maxsize=16)
def _in_order(transports: frozenset[str]) -> tuple[str, ...]:
    return tuple([transport for transport in TRANSPORTS if transport in transports])


def _change(reading: Reading, items: list[Item], piece: Piece) -> AccessChange:
    one = None if piece.before == NOBODY else items[piece.before]
    two = None if piece.after == NOBODY else items[piece.after]
    space = reading.space
    return AccessChange(
        transports=_in_order(piece.transports),
        replication=piece.replication,
        databases=None if piece.replication else describe_names(space, piece.databases),
        users=describe_names(space, piece.users),
        relation=None if piece.relation == ANY_RELATION else tuple(sorted(piece.relation)),
        addresses=describe_places(space, piece.addresses),
        before=_answer(one, one.before if one else None),
        after=_answer(two, two.after if two else None),
    )
