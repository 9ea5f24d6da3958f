# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""The finding as a value, and what all checks share."""

from __future__ import annotations

import typing as t

from .coverage import EVERYWHERE, Coverage, Verdict, spans_of
from .effect_space import V4_LAST, V6_FIRST
from .model import Rule, Server
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


def is_loopback(rule: Rule) -> bool:
    """Whether only clients on the server's own host match: the socket and loopback addresses."""
    if rule.address is None:
        return True
    if rule.address.kind != "network":
        return rule.address.kind == "samehost" or rule.address.text in ("localhost", "127.0.0.1")
    spans, special = spans_of(rule.address)
    return not special and all(any(low <= first and last <= high for low, high in LOOPBACK) for first, last in spans)


def is_world(rule: Rule) -> bool:
    """Whether every IPv4 or every IPv6 client matches."""
    if rule.address is None:
        return False
    spans, special = spans_of(rule.address)
    return not special and any(span in EVERYWHERE for span in spans)


def world_families(rule: Rule) -> tuple[int, ...]:
    """The address families that a rule admits whole."""
    if rule.address is None:
        return ()
    spans, special = spans_of(rule.address)
    if special:
        return ()
    return tuple(4 if high == V4_LAST else 6 for low, high in spans if (low, high) in EVERYWHERE)
