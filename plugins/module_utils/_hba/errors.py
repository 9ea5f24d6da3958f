# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""The engine's exceptions.

A line that PostgreSQL would refuse is *data* (``model.LineError``), never an exception: one bad line never hides the next.
Exceptions are for callers who ask for something that cannot be done: a value that no line can represent, an unknown section.
"""

from __future__ import annotations


class HbaError(Exception):
    """Base of everything that the engine raises on purpose."""


class NotRepresentable(HbaError, ValueError):
    """A value cannot be written as a token: it holds a line feed, NUL, or something its server version would read differently."""

    def __init__(self, what: str, value: str, reason: str) -> None:
        super().__init__(f"{what} {value!r}: {reason}")
        self.what = what
        self.value = value
        self.reason = reason


class InvalidRule(HbaError, ValueError):
    """A rule that a caller asked for is one that the server would refuse, with the server's own reason."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason


class PlanError(HbaError, ValueError):
    """A change cannot be planned: contradictory arguments, damaged section markers, an unknown anchor."""


class UnsupportedPattern(HbaError, ValueError):
    """A regular expression uses PostgreSQL syntax that the engine does not cover; it refuses instead of guessing."""

    def __init__(self, pattern: str, reason: str) -> None:
        super().__init__(f"regular expression {pattern!r} is not covered: {reason}")
        self.pattern = pattern
        self.reason = reason


class Refused(Exception):
    """The server refuses the line. ``shown`` is false for errors that only the log knows."""

    def __init__(self, message: str, hint: str | None = None, shown: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.shown = shown
