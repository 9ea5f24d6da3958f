# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Which part of a subject a capturing group matched, and back references: PostgreSQL's own way of taking a match apart.

PostgreSQL first finds where the whole expression matches, with automata only, and then takes that match apart along a tree of
concatenations, alternatives and repetitions; at each node the preference for the longest or the shortest match decides
(manual 9.7.3.5). What a group captured follows from that procedure, so it is repeated here step by step: the shape of the tree
is that of parseqatom() in regcomp.c, the order of trials that of cdissect() in regexec.c (PostgreSQL 15).
With back references the procedure can take exponential time (on the server too): a budget ends it with :class:`OverBudget`.
"""

from __future__ import annotations

import typing as t

from .regex_nfa import Automaton, Builder
from .regex_syntax import LONGER, SHORTER, Back, Choice, Group, Piece, folded

BUDGET = 50_000
"""Steps for one subject; a step is one trial of one node."""

_MIXED = 4
_CAPTURE = 8
_BACK = 16
_MESSY = _MIXED | _CAPTURE | _BACK
_PREFERENCE = LONGER | SHORTER


class OverBudget(Exception):
    """Taking the match apart needs more than :data:`BUDGET` steps."""


def _up(flags: int) -> int:
    """The flags that a node hands to what contains it; both preferences together are a mixture."""
    mixed = _MIXED if flags & _PREFERENCE == _PREFERENCE else 0
    return (flags & _MESSY) | mixed


def _combine(first: int, second: int) -> int:
    """Flags of two things in a row: the first preference stated wins."""
    return _up(first | second) | ((first & _PREFERENCE) or (second & _PREFERENCE))


class Node:
    """A node of the tree. ``kind``: ``plain``, ``back``, ``row``, ``choice``, ``repeat`` or ``wrap``."""

    def __init__(self, kind: str, flags: int, pieces: tuple[Piece, ...], children: t.Sequence[Node] = ()) -> None:
        self.kind = kind
        self.flags = flags
        self.pieces = pieces
        """The node's language."""
        self.children = tuple(children)
        self.capture = 0
        self.back = 0
        self.low = 1
        self.high: int | None = 1
        self.captures: tuple[int, ...] = ()
        self.automaton: Automaton | None = None


def _branch(pieces: tuple[Piece, ...], major: int) -> Node:
    flags = 0
    for index, piece in enumerate(pieces):
        if piece.high == 0:
            continue
        inner = _choice(piece.atom.body, major) if isinstance(piece.atom, Group) else None
        merged = flags | piece.prefer | (inner.flags if inner else 0)
        capturing = isinstance(piece.atom, Group) and piece.atom.number > 0
        if capturing or isinstance(piece.atom, Back) or _up(merged) & _MESSY:
            return _messy(pieces, index, flags, inner, major)
        flags = merged
    return Node("plain", flags, pieces)


def _messy(pieces: tuple[Piece, ...], index: int, flags: int, inner: Node | None, major: int) -> Node:
    """A branch from the piece on that needs a node of its own: what stands before it, itself, the rest."""
    piece = pieces[index]
    item, joint = _item(piece, inner, major)
    before, rest = pieces[:index], pieces[index + 1 :]
    if not rest:
        if not before:
            return item
        flags |= _combine(flags, item.flags)
        return Node("row", flags, pieces, [Node("plain", flags, before), item])
    tail = _branch(rest, major)
    joint |= _combine(joint, tail.flags)
    prefix = Node("plain", flags, before)
    flags |= _combine(flags, joint)
    if not before:
        return Node("row", flags, pieces, [item, tail])
    together = pieces[index:]
    if item.kind == tail.kind == "plain" and not _up(item.flags | tail.flags) & _MESSY:
        joined = Node("plain", _combine(item.flags, tail.flags), together)
    else:
        joined = Node("row", joint, together, [item, tail])
    return Node("row", flags, pieces, [prefix, joined])


def _item(piece: Piece, inner: Node | None, major: int) -> tuple[Node, int]:
    """The node for a quantified atom, and the flags of the concatenation that it begins."""
    prefer = piece.prefer
    once = (piece._replace(low=1, high=1, prefer=0),)
    atom = _atom(piece, inner, once)
    joint = _combine(prefer, atom.flags)
    preference = atom.flags & (_PREFERENCE | _MIXED)
    if isinstance(piece.atom, Back):
        atom.low, atom.high = piece.low, piece.high
        atom.flags |= _combine(prefer, atom.flags)
        atom.pieces = (piece,)
        return atom, joint
    if piece.low == piece.high == 1 and major < 14 and atom.flags != joint:
        # Every atom was one half of a concatenation then, which also carried the preference of a quantifier that changes nothing else.
        return Node("wrap", joint, (piece,), [atom]), joint
    if piece.low == piece.high == 1 and (not prefer or not preference or prefer == preference):
        return atom, joint
    if not atom.flags & (_CAPTURE | _BACK):
        return Node("plain", joint, (piece,)), joint
    if piece.low > 0 and not atom.flags & _BACK:
        # Only the last repetition is captured; those before it are matched as one.
        fewer = piece._replace(low=piece.low - 1, high=None if piece.high is None else piece.high - 1)
        earlier = Node("plain", joint & _PREFERENCE, (fewer,))
        return Node("row", joint, (fewer, *once), [earlier, atom]), joint
    repeat = Node("repeat", joint, (piece,), [atom])
    repeat.low, repeat.high = piece.low, piece.high
    return repeat, joint


def _atom(piece: Piece, inner: Node | None, once: tuple[Piece, ...]) -> Node:
    if isinstance(piece.atom, Back):
        node = Node("back", _BACK, once)
        node.back = piece.atom.number
        return node
    if inner is None:
        return Node("plain", 0, once)
    if isinstance(piece.atom, Group) and piece.atom.number:
        if inner.capture:
            inner = Node("wrap", inner.flags, once, [inner])
        inner.flags |= _CAPTURE
        inner.capture = piece.atom.number
    return inner


def _choice(choice: Choice, major: int) -> Node:
    """The node for what stands between parentheses."""
    children = [_branch(branch, major) for branch in choice.branches]
    if len(children) == 1:
        return children[0]
    flags = LONGER
    for child in children:
        flags |= _up(flags | child.flags)
    pieces = (Piece(Group(choice, 0)),)
    if not flags & _MESSY:
        return Node("plain", flags, pieces)
    return Node("choice", flags, pieces, children)


def _captures(node: Node) -> tuple[int, ...]:
    inner = [number for child in node.children for number in _captures(child)]
    node.captures = (*([node.capture] if node.capture else []), *inner)
    return node.captures


class Tree:
    """The tree of an expression and the automata of its nodes."""

    def __init__(self, root: Choice, builder: Builder) -> None:
        self.root = _choice(root, builder.major)
        _captures(self.root)
        self._prepare(self.root, builder)

    def _prepare(self, node: Node, builder: Builder) -> None:
        node.automaton = Automaton(builder.program(node.pieces))
        for child in node.children:
            self._prepare(child, builder)


class Dissection:
    """One subject. ``spans[n]`` is what group *n* matched, or None."""

    def __init__(self, tree: Tree, subject: bytes, facts: list[int], ignore_case: bool) -> None:
        self.tree = tree
        self.subject = subject
        self.facts = facts
        self.ignore_case = ignore_case
        self.spans: dict[int, tuple[int, int] | None] = {}
        self._ends: dict[tuple[int, int], int] = {}
        self._steps = 0

    def find(self) -> tuple[int, int] | None:
        """The span of the match that the server takes, or None."""
        root = self.tree.root
        length = len(self.subject)
        begin = 0
        while True:
            ends = [possible & -possible for possible in (self._possible(root, start) for start in range(begin, length + 1)) if possible]
            if not ends:
                return None
            close = min(ends).bit_length() - 1
            for start in range(begin, close + 1):
                for end in self._candidates(root, start, start, length):
                    self.spans = {}
                    if self._dissect(root, start, end):
                        return (start, end)
            # The server does not look for an empty match at the very end when a candidate just before it failed (15.18).
            begin = close + 1
            if begin >= length:
                return None

    def _candidates(self, node: Node, start: int, least: int, most: int) -> t.Iterator[int]:
        """Where a node's match from ``start`` may end, in the order of its preference."""
        if node.flags & SHORTER:
            end = self._shortest(node, start, least, most)
            while end >= 0:
                yield end
                end = self._shortest(node, start, end + 1, most)
        else:
            end = self._longest(node, start, most)
            while end >= 0:
                yield end
                end = self._longest(node, start, end - 1)

    def _possible(self, node: Node, start: int) -> int:
        key = (id(node), start)
        found = self._ends.get(key)
        if found is None:
            automaton = node.automaton
            found = automaton.ends(self.subject, self.facts, start) if automaton else 0
            self._ends[key] = found
        return found

    def _longest(self, node: Node, start: int, most: int) -> int:
        """The longest end up to ``most``; -1 for none."""
        return -1 if most < start else (self._possible(node, start) & ((2 << most) - 1)).bit_length() - 1

    def _shortest(self, node: Node, start: int, least: int, most: int) -> int:
        """The shortest end from ``least`` to ``most``; -1 for none."""
        found = self._possible(node, start) >> least << least if least <= most else 0
        end = (found & -found).bit_length() - 1
        return end if end <= most else -1

    def _reaches(self, node: Node, start: int, end: int) -> bool:
        return bool(self._possible(node, start) >> end & 1)

    def _clear(self, node: Node) -> None:
        for number in node.captures:
            self.spans[number] = None

    def _dissect(self, node: Node, begin: int, end: int) -> bool:
        """Takes ``begin`` … ``end``, which the node's automaton accepts, apart; False when back references forbid it."""
        self._steps += 1
        if self._steps > BUDGET:
            raise OverBudget
        if node.kind == "plain":
            good = True
        elif node.kind == "row":
            good = self._row(node, begin, end)
        elif node.kind == "choice":
            good = any(self._reaches(child, begin, end) and self._dissect(child, begin, end) for child in node.children)
        elif node.kind == "back":
            good = self._same(node, begin, end)
        elif node.kind == "wrap":
            good = self._dissect(node.children[0], begin, end)
        else:
            good = self._repeat(node, begin, end)
        if not good:
            self._clear(node)
        elif node.capture:
            self.spans[node.capture] = (begin, end)
        return good

    def _row(self, node: Node, begin: int, end: int) -> bool:
        left, right = node.children
        for middle in self._candidates(left, begin, begin, end):
            if self._reaches(right, middle, end) and self._dissect(left, begin, middle):
                if self._dissect(right, middle, end):
                    return True
                self._clear(left)
        return False

    def _same(self, node: Node, begin: int, end: int) -> bool:
        span = self.spans.get(node.back)
        if span is None:
            return False
        text = self.subject[span[0] : span[1]]
        if not text or begin == end:
            return begin == end and (not text or node.low == 0)
        times, rest = divmod(end - begin, len(text))
        if rest or times < node.low or (node.high is not None and times > node.high):
            return False
        other = self.subject[begin:end]
        if self.ignore_case:
            return bytes(map(folded, text)) * times == bytes(map(folded, other))
        return text * times == other

    def _repeat(self, node: Node, begin: int, end: int) -> bool:
        """Splits into repetitions: first by the automaton alone, then each part is taken apart, with backtracking."""
        empty = node.low == 0 and begin == end
        if empty and node.children[0].flags & SHORTER:
            return True
        least = max(node.low, 1)
        most = end - begin if node.high is None else min(end - begin, node.high)
        search = _Splits(self, node.children[0], begin, end, least=least, most=max(most, least))
        verified = 0
        while search.next():
            verified = min(verified, search.unchanged)
            parts = search.ends
            failed = False
            for index in range(verified + 1, len(parts)):
                self._clear(node.children[0])
                if not self._dissect(node.children[0], parts[index - 1], parts[index]):
                    failed = True
                    search.reject(index)
                    break
                verified = index
            if not failed:
                return True
        # With a preference for long matches, zero repetitions are taken only when one does not do.
        return empty


class _Splits:
    """Splits of ``begin`` … ``end`` into matches of a node, in the server's order; ``ends[0]`` is ``begin``."""

    def __init__(self, owner: Dissection, node: Node, begin: int, end: int, *, least: int, most: int) -> None:
        self.owner = owner
        self.node = node
        self.end = end
        self.least = least
        self.most = most
        self.shorter = bool(node.flags & SHORTER)
        self.ends = [begin]
        self.unchanged = 0
        """How many of the first parts are the same as in the split before."""
        self._limit: int | None = begin if self.shorter else end

    def reject(self, index: int) -> None:
        """Part ``index`` of the last split cannot be: the next split differs there or earlier."""
        del self.ends[index + 1 :]
        self._back()

    def _back(self) -> None:
        """Finds the last part that can be shortened (or lengthened); sets the limit for it, or None when there is none."""
        while len(self.ends) > 1:
            number = len(self.ends) - 1
            last = self.ends.pop()
            previous = self.ends[-1]
            if self.shorter:
                if last < self.end:
                    self._limit = last + 1
                    return
            elif last > previous:
                limit = last - 1
                needed = number < self.least and self.least - number >= self.end - previous
                if limit > previous or needed:
                    self._limit = limit
                    return
        self._limit = None

    def next(self) -> bool:
        """The next split, in ``ends``."""
        self.unchanged = len(self.ends) - 1
        while self._limit is not None:
            self.owner._steps += 1
            if self.owner._steps > BUDGET:
                raise OverBudget
            self.unchanged = min(self.unchanged, len(self.ends) - 1)
            if self._extend():
                return True
        return False

    def _extend(self) -> bool:
        """Tries one more part under the limit; True when the split is complete."""
        number = len(self.ends)
        previous = self.ends[-1]
        limit = t.cast(int, self._limit)
        if self.shorter:
            if limit == previous and limit != self.end and self._empty_is_useless(number, limit):
                limit += 1
            if number >= self.most:
                limit = self.end
            found = self.owner._shortest(self.node, previous, limit, self.end)
        else:
            found = self.owner._longest(self.node, previous, limit)
        if found < 0:
            self._back()
            return False
        self.ends.append(found)
        if found != self.end:
            if number >= self.most:
                self.ends.pop()
                self._back()
            elif not self.shorter and found == previous and self._empty_is_useless(number, found):
                self._back()
            else:
                self._limit = found if self.shorter else self.end
            return False
        if number < self.least:
            self._back()
            return False
        return True

    def _empty_is_useless(self, number: int, where: int) -> bool:
        """An empty part is only wanted when the least number of repetitions cannot be reached without it."""
        return number >= self.least or self.least - number < self.end - where
