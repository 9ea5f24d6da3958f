# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of rounds comes to: rows lost and duplicated, time without writes. No I/O."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import typing as t


@dataclasses.dataclass(frozen=True)
class Round:
    """What one round did, and the longest time in it without an acknowledged row, in seconds."""

    kind: str
    outage: float


@dataclasses.dataclass(frozen=True)
class Account:
    """Rows that were acknowledged and are not there, and rows that are there more than once, acknowledged or not."""

    acknowledged: int
    lost: tuple[int, ...]
    duplicated: tuple[int, ...]

    @property
    def clean(self) -> bool:
        """Whether every acknowledged row is there, and every row once."""
        return not self.lost and not self.duplicated


def account(acknowledged: t.Collection[int], found: t.Mapping[int, int]) -> Account:
    """Compare what writers were promised with how often the server has each row."""
    lost = tuple(sorted(row for row in acknowledged if not found.get(row)))
    return Account(len(acknowledged), lost, tuple(sorted(row for row, times in found.items() if times > 1)))


def outage(times: t.Iterable[float], begin: float, end: float) -> float:
    """The longest time between ``begin`` and ``end`` without an acknowledged row."""
    seen = [begin, *sorted(moment for moment in times if begin <= moment <= end), end]
    return max(later - earlier for earlier, later in zip(seen, seen[1:]))


def steady(times: t.Iterable[float], since: float, until: float, gap: float) -> bool:
    """Whether rows were acknowledged all the time between the two moments, never ``gap`` seconds without one."""
    return until > since and outage(times, since, until) < gap


def table(rounds: t.Sequence[Round]) -> list[str]:
    """One line for each kind of round, by name."""
    lines = ["| what happens to the primary | rounds | seconds without writes, median | max |", "|---|---|---|---|"]
    for kind, group in itertools.groupby(sorted(rounds, key=lambda entry: entry.kind), key=lambda entry: entry.kind):
        times = [entry.outage for entry in group]
        lines.append(f"| {kind} | {len(times)} | {statistics.median(times):.1f} | {max(times):.1f} |")
    return lines


def last_line(rounds: t.Sequence[Round], total: Account) -> str:
    """The sentence that a run ends with."""
    outages = [entry.outage for entry in rounds]
    return (
        f"{len(rounds)} rounds, {total.acknowledged} acknowledged, {len(total.lost)} lost, {len(total.duplicated)} duplicated, "
        f"outage median {statistics.median(outages):.1f} s, max {max(outages):.1f} s"
    )
