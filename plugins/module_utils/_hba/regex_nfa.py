# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Nondeterministic automata for regular expressions over bytes, run as lazily built deterministic ones.

Time is linear in the subject for any expression: each step maps a set of states to the next set, and both are remembered.
Anchors, word boundaries, look-ahead and look-behind are conditions on a position; all are evaluated before the run.
"""

from __future__ import annotations

import typing as t

from .regex_syntax import WORD, Anchor, Back, Bytes, Choice, Group, Look, Piece

MAX_STATES = 10_000
"""States of one expression; more is refused (the server itself stops at about 43,400)."""
_MAX_REMEMBERED = 2_000_000


class TooManyStates(Exception):
    """The expression needs more than :data:`MAX_STATES` states."""


class Condition(t.NamedTuple):
    """A fact about a position: an anchor's name, or a look-around with its automaton."""

    anchor: str
    automaton: Automaton | None = None
    ahead: bool = False
    negative: bool = False


class Program:
    """States 0 (start) and up: ``moves[s]`` (mask of bytes, next state) or None; ``jumps[s]`` (condition or -1, next state)."""

    def __init__(self) -> None:
        self.moves: list[tuple[int, int] | None] = []
        self.jumps: list[list[tuple[int, int]]] = []
        self.accept = 0
        self.relevant = 0
        """Bits of the conditions that occur."""

    def new(self) -> int:
        if len(self.moves) >= MAX_STATES:
            raise TooManyStates
        self.moves.append(None)
        self.jumps.append([])
        return len(self.moves) - 1


class Builder:
    """Builds programs that share one table of conditions."""

    def __init__(self, groups: dict[int, Choice], major: int) -> None:
        self.groups = groups
        """What each capturing group contains, for back references."""
        self.major = major
        self.bare_references = major >= 14
        """Whether a back reference is free of the conditions inside its group; up to 13 ``(^a)\\1`` matches nothing (12 to 18 asked)."""
        self.conditions: list[Condition] = []
        self._known: dict[object, int] = {}

    def program(self, pieces: tuple[Piece, ...], *, backwards: bool = False) -> Program:
        """A program for a sequence; ``backwards`` reads the subject from its end."""
        program = Program()
        work = _Work(self, program, backwards)
        program.accept = work.sequence(pieces, program.new(), stripped=False)
        return program

    def condition(self, atom: Anchor | Look) -> int:
        """The number of a condition; those that it depends on have smaller numbers."""
        key: object = atom.kind if isinstance(atom, Anchor) else id(atom)
        if key not in self._known:
            if isinstance(atom, Anchor):
                made = Condition(atom.kind)
            else:
                body = (Piece(Group(atom.body, 0)),)
                made = Condition("", Automaton(self.program(body, backwards=atom.ahead)), atom.ahead, atom.negative)
            self.conditions.append(made)
            self._known[key] = len(self.conditions) - 1
        return self._known[key]


class _Work:
    """One program under construction."""

    def __init__(self, builder: Builder, program: Program, backwards: bool) -> None:
        self.builder = builder
        self.program = program
        self.backwards = backwards

    def jump(self, start: int, end: int, condition: int = -1) -> None:
        self.program.jumps[start].append((condition, end))
        if condition >= 0:
            self.program.relevant |= 1 << condition

    def sequence(self, pieces: tuple[Piece, ...], start: int, stripped: bool) -> int:
        """States for pieces in a row from ``start``; returns where they end. ``stripped``: conditions always hold."""
        for piece in reversed(pieces) if self.backwards else pieces:
            start = self.piece(piece, start, stripped)
        return start

    def piece(self, piece: Piece, start: int, stripped: bool) -> int:
        for _unused in range(piece.low):
            start = self.atom(piece, start, stripped)
        if piece.high is None:
            loop = self.program.new()
            self.jump(start, loop)
            self.jump(self.atom(piece, loop, stripped), loop)
            return loop
        if piece.high == piece.low:
            return start
        end = self.program.new()
        for _unused in range(piece.high - piece.low):
            self.jump(start, end)
            start = self.atom(piece, start, stripped)
        self.jump(start, end)
        return end

    def atom(self, piece: Piece, start: int, stripped: bool) -> int:
        atom = piece.atom
        if isinstance(atom, Bytes):
            end = self.program.new()
            if self.program.moves[start] is not None:
                inner = self.program.new()
                self.jump(start, inner)
                start = inner
            self.program.moves[start] = (atom.mask, end)
            return end
        if isinstance(atom, (Anchor, Look)):
            end = self.program.new()
            self.jump(start, end, -1 if stripped else self.builder.condition(atom))
            return end
        if isinstance(atom, Back):
            # The text of a back reference is in the group's language; since 14 without the conditions on where the group stood.
            return self.choice(self.builder.groups[atom.number], start, stripped or self.builder.bare_references)
        return self.choice(atom.body, start, stripped)

    def choice(self, choice: Choice, start: int, stripped: bool) -> int:
        end = self.program.new()
        for branch in choice.branches:
            inner = self.program.new()
            self.jump(start, inner)
            self.jump(self.sequence(branch, inner, stripped), end)
        return end


_States = t.FrozenSet[int]


class Automaton:
    """A program with what its runs have found out so far."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._closed: dict[tuple[_States, int], tuple[tuple[int, ...], bool]] = {}
        self._stepped: dict[tuple[tuple[int, ...], int], _States] = {}
        self._remembered = 0

    def _close(self, states: _States, facts: int) -> tuple[tuple[int, ...], bool]:
        """The states with a move that jumps reach, and whether acceptance is among what they reach."""
        key = (states, facts)
        found = self._closed.get(key)
        if found is None:
            jumps = self.program.jumps
            seen = set(states)
            todo = list(states)
            while todo:
                for condition, end in jumps[todo.pop()]:
                    if end not in seen and (condition < 0 or facts >> condition & 1):
                        seen.add(end)
                        todo.append(end)
            moves = self.program.moves
            found = (tuple(sorted(s for s in seen if moves[s] is not None)), self.program.accept in seen)
            self._remember(len(states) + len(found[0]))
            self._closed[key] = found
        return found

    def _step(self, closed: tuple[int, ...], byte: int) -> _States:
        key = (closed, byte)
        found = self._stepped.get(key)
        if found is None:
            moves = self.program.moves
            targets = set()
            for state in closed:
                move = moves[state]
                if move is not None and move[0] >> byte & 1:
                    targets.add(move[1])
            found = frozenset(targets)
            self._remember(len(found))
            self._stepped[key] = found
        return found

    def _remember(self, size: int) -> None:
        """Memory stays bounded: when it is full, start again."""
        self._remembered += size + 10
        if self._remembered > _MAX_REMEMBERED:
            self._closed.clear()
            self._stepped.clear()
            self._remembered = 0

    def ends(self, subject: bytes, facts: list[int], start: int) -> int:
        """Bit *e* is set when the expression matches ``subject[start:e]`` where it stands."""
        relevant = self.program.relevant
        states: _States = frozenset((0,))
        result = 0
        for pos in range(start, len(subject) + 1):
            closed, accepted = self._close(states, facts[pos] & relevant)
            if accepted:
                result |= 1 << pos
            if not closed or pos == len(subject):
                break
            states = self._step(closed, subject[pos])
            if not states:
                break
        return result

    def anywhere(self, subject: bytes, facts: list[int]) -> bool:
        """Whether it matches somewhere in the subject."""
        relevant = self.program.relevant
        states: _States = frozenset((0,))
        for pos in range(len(subject) + 1):
            closed, accepted = self._close(states, facts[pos] & relevant)
            if accepted:
                return True
            if pos < len(subject):
                states = self._step(closed, subject[pos]) | {0}
        return False

    def positions(self, subject: bytes, facts: list[int], backwards: bool) -> int:
        """Positions at which a match ends (or, for a program that runs backwards, begins), as bits."""
        relevant = self.program.relevant
        states: _States = frozenset((0,))
        result = 0
        length = len(subject)
        for count in range(length + 1):
            pos = length - count if backwards else count
            closed, accepted = self._close(states, facts[pos] & relevant)
            if accepted:
                result |= 1 << pos
            if count < length:
                states = self._step(closed, subject[pos - 1 if backwards else pos]) | {0}
        return result


def facts(conditions: list[Condition], subject: bytes) -> list[int]:
    """For each position 0 … length, which conditions hold there, as bits."""
    result = [0] * (len(subject) + 1)
    for number, condition in enumerate(conditions):
        bit = 1 << number
        if condition.automaton is None:
            for pos in range(len(result)):
                if _anchored(condition.anchor, subject, pos):
                    result[pos] |= bit
        else:
            found = condition.automaton.positions(subject, result, condition.ahead)
            if condition.negative:
                found = ~found
            for pos in range(len(result)):
                if found >> pos & 1:
                    result[pos] |= bit
    return result


def _anchored(kind: str, subject: bytes, pos: int) -> bool:
    """Whether an anchor holds between ``subject[pos - 1]`` and ``subject[pos]``."""
    if kind in ("bol", "bos"):
        return pos == 0
    if kind in ("eol", "eos"):
        return pos == len(subject)
    if kind == "nl_bol":
        return pos == 0 or subject[pos - 1] == 10
    if kind == "nl_eol":
        return pos == len(subject) or subject[pos] == 10
    before = pos > 0 and bool(WORD >> subject[pos - 1] & 1)
    after = pos < len(subject) and bool(WORD >> subject[pos] & 1)
    if kind == "word_start":
        return after and not before
    if kind == "word_end":
        return before and not after
    return (before != after) == (kind == "word_edge")
