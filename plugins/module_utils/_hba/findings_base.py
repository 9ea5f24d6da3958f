# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""The finding as a value, and what all checks share."""

from __future__ import annotations

import typing as t

from .coverage import EVERYWHERE, Coverage, Reach, Verdict
from .effect_space import V4_LAST, V6_FIRST
from .model import Rule, Server, Token
from .roles import Memberships

LOOPBACK = ((127 << 24, (128 << 24) - 1), (V6_FIRST + 1, V6_FIRST + 1))
PRIVATE_SHOWN = 5


class Finding(t.NamedTuple):
    """Something about one rule (or a whole file, at its first rule concerned) that somebody should know."""

    code: str
    severity: str
    """``error``, ``warning`` or ``notice``."""
    file: str
    line: int
    reason: str
    remedy: str

    def as_dict(self) -> dict[str, t.Any]:
        """JSON-able."""
        return dict(zip(self._fields, self))


class Judge:
    """The rule at hand, what is known around it, and what was found so far."""

    def __init__(
        self, server: Server, coverage: Coverage, memberships: Memberships | None, superusers: tuple[str, ...], codes: t.Mapping[str, str]
    ) -> None:
        self.server = server
        self.coverage = coverage
        self.memberships = memberships
        self.superusers = superusers
        self.found: list[Finding] = []
        self.rule = Rule("", (), (), None, "")
        self.verdict = Verdict()
        self.loopback = False
        """Whether only clients on the server's own host match the rule."""
        self.families: tuple[int, ...] = ()
        """The address families that the rule admits whole."""
        self.quiet: set[tuple[str, Token]] = set()
        """Names, with what they name, about which there is nothing to say."""
        self._codes = codes

    def add(self, code: str, reason: str, remedy: str, severity: str | None = None) -> None:
        """Record a finding about the rule at hand."""
        rule = self.rule
        self.found.append(Finding(code, severity or self._codes[code], rule.file, rule.line, reason, remedy))


def place(rule: Rule, seen_from: Rule) -> str:
    """Where a rule stands, as short as the reader's place allows."""
    return f"line {rule.line}" if rule.file == seen_from.file else f"line {rule.line} of {rule.file}"


def listed(names: t.Sequence[str]) -> str:
    """Some names, quoted."""
    shown = ", ".join(f'"{name}"' for name in names[:PRIVATE_SHOWN])
    return shown if len(names) <= PRIVATE_SHOWN else f"{shown} and {len(names) - PRIVATE_SHOWN} more"


def is_loopback(rule: Rule, reach: Reach) -> bool:
    """Whether only clients on the server's own host match: the socket and loopback addresses. ``reach`` is ``spans_of`` the address."""
    address = rule.address
    if address is None:
        return True
    if address.kind != "network":
        return address.kind == "samehost" or address.text in ("localhost", "127.0.0.1")
    spans, special = reach
    first, last = spans[0]
    if special or last < LOOPBACK[0][0] or (first > LOOPBACK[0][1] and last < LOOPBACK[1][0]):
        return False  # most networks, soon
    return all(any(low <= first and last <= high for low, high in LOOPBACK) for first, last in spans)


def world_families(rule: Rule, reach: Reach) -> tuple[int, ...]:
    """The address families that a rule admits whole; ``reach`` as above."""
    spans, special = reach
    if special or rule.address is None or (EVERYWHERE[0] not in spans and EVERYWHERE[1] not in spans):
        return ()
    return tuple(4 if high == V4_LAST else 6 for low, high in spans if (low, high) in EVERYWHERE)
