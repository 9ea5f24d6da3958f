# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""PostgreSQL's regular expressions, as pg_hba.conf (16 and later) and pg_ident.conf use them.

Covered, and compared with a running server by ``tests/differential/test_regex.py``:

- whether an expression is valid, and if not the server's reason: all of the advanced, extended and basic flavours, directors,
  embedded options. The two limits of the server, nesting and size, are measured estimates.
- whether it matches: everything; literals, sets, classes, anchors, word boundaries, quantifiers (greedy or not), look-ahead,
  look-behind, back references. One byte is one character, letters are those of ASCII, an unanchored search, as at login.
- what the first capturing group matched, for ``\\1`` in pg_ident.conf.

Refused with :class:`errors.UnsupportedPattern` rather than guessed:

- more than 10,000 states after expanding ``{m,n}``, or nesting deeper than 100 (the server's own limits are about 43,400 and 8,165);
- back references, or a wanted group, where taking the match apart needs more than 50,000 steps.

Time: linear in the subject, whatever the expression, without back references; bounded by the budget with them.
"""

from __future__ import annotations

import functools
import typing as t

from . import regex_syntax
from .errors import UnsupportedPattern
from .model import encode
from .regex_dissect import Dissection, OverBudget, Tree
from .regex_nfa import MAX_STATES, Automaton, Builder, TooManyStates, facts
from .regex_syntax import BadRegex, Choice, Group, Look, Piece

MAX_DEPTH = 100


def compile_error(text: str, *, major: int = 18, utf8: bool = False) -> str | None:
    """The server's reason for refusing an expression (the text after ``invalid regular expression "…": ``), or None.

    ``text`` is engine text without the leading ``/``. ``utf8`` judges as a session in a UTF-8 database does (the views), where
    characters are code points; the server loads its files with characters being bytes. The two differ for ranges of
    non-ASCII characters only. ``major``: before 14 ``[[:word:]]`` and ``[\\W]`` are errors. Never raises.
    """
    raw = encode(text)
    chars = raw.decode("utf-8", "surrogateescape") if utf8 else raw.decode("latin-1")
    try:
        regex_syntax.check(chars, major)
    except BadRegex as error:
        return str(error.args[0])
    return None


class Match(t.NamedTuple):
    """Where an expression matched: byte offsets."""

    start: int
    end: int
    groups: tuple[tuple[int, int] | None, ...]
    """What each capturing group matched; None for one that took no part."""


class Pattern:
    """A compiled expression; see :func:`compile_pattern`."""

    def __init__(self, text: str, syntax: regex_syntax.Syntax, major: int) -> None:
        self.text = text
        self.groups = syntax.groups
        """Number of capturing groups."""
        self._syntax = syntax
        self._tree: Tree | None = None
        contents: dict[int, Choice] = {}
        _collect(syntax.root, contents)
        self._builder = Builder(contents, major)
        self._automaton = Automaton(self._builder.program((Piece(Group(syntax.root, 0)),)))

    def search(self, subject: bytes | str) -> bool:
        """Whether the expression matches anywhere in the subject.

        Raises :class:`errors.UnsupportedPattern` when back references make the answer too expensive.
        """
        raw = encode(subject) if isinstance(subject, str) else subject
        known = facts(self._builder.conditions, raw)
        if not self._automaton.anywhere(raw, known):
            return False
        return not self._syntax.back_references or self.match(raw) is not None

    def match(self, subject: bytes | str) -> Match | None:
        """The match that the server takes, with its groups.

        Raises :class:`errors.UnsupportedPattern` when the answer is too expensive.
        """
        raw = encode(subject) if isinstance(subject, str) else subject
        if self._tree is None:
            self._tree = _guarded(self.text, lambda: Tree(self._syntax.root, self._builder))
        tree = self._tree
        work = Dissection(tree, raw, facts(self._builder.conditions, raw), self._syntax.ignore_case)
        span = _guarded(self.text, work.find)
        if span is None:
            return None
        return Match(*span, tuple(work.spans.get(number) for number in range(1, self.groups + 1)))


_T = t.TypeVar("_T")


def _guarded(text: str, work: t.Callable[[], _T]) -> _T:
    try:
        return work()
    except TooManyStates:
        raise UnsupportedPattern(text, "it needs too many states; use a smaller repetition count") from None
    except OverBudget:
        raise UnsupportedPattern(text, "finding its groups takes too many steps; use a simpler expression") from None
    except RecursionError:
        raise UnsupportedPattern(text, "it is too deeply nested") from None


def _collect(choice: Choice, contents: dict[int, Choice]) -> None:
    """What each capturing group contains."""
    for branch in choice.branches:
        for piece in branch:
            if isinstance(piece.atom, (Group, Look)):
                _collect(piece.atom.body, contents)
                if isinstance(piece.atom, Group) and piece.atom.number:
                    contents[piece.atom.number] = piece.atom.body


@functools.lru_cache(maxsize=2048)
def compile_pattern(text: str, *, major: int = 18) -> Pattern:
    """Compiles an expression (engine text without the leading ``/``).

    Raises ``ValueError`` with the server's reason for one that the server refuses, and :class:`errors.UnsupportedPattern` for
    a valid one that is not covered (see the module's text).
    """
    try:
        chars = encode(text).decode("latin-1")
        syntax = regex_syntax.check(chars, major)
    except BadRegex as error:
        raise ValueError(f'invalid regular expression "{text}": {error.args[0]}') from None
    if syntax.depth > MAX_DEPTH:
        raise UnsupportedPattern(text, f"parentheses are nested more than {MAX_DEPTH} deep")
    if syntax.branches + syntax.size > MAX_STATES:
        raise UnsupportedPattern(text, "it needs too many states; use a smaller repetition count")
    syntax = regex_syntax.parse(chars, major)
    return _guarded(text, lambda: Pattern(text, syntax, major))
