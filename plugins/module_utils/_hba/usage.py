# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Events of a log → how often each rule let somebody in (docs/decisions/0070-uses-of-a-rule.md).

A log names a rule by file and line, and lines move when a file is edited. So an event counts for a rule only when it is known which text
the server had loaded at that moment: the last load before it (a reload or a start in the log, or the server's own load time) read a
file of which we have the bytes that were in place then (the file as it is now, or a backup). Everything else is counted by its reason.

Memory does not grow with the log: events are added up between two loads.
"""

from __future__ import annotations

import math
import typing as t

from . import usage_events as events
from .model import Rule
from .usage_events import Event

MAX_NAMES = 200
"""Users and addresses that are counted one by one, for each rule; the others are counted together."""
MAX_PLACES = 50_000
"""Different file:line:method that are kept between two loads. Only a forged log has more."""
SETTLING = 0.1
"""Seconds after "received SIGHUP" in which the postmaster reads the file."""
TICK = 0.001
"""Logged times are cut to a thousandth: a file that was put in place in the same one was there when the postmaster opened it."""
STARTING = 5.0
"""Seconds after "starting PostgreSQL" in which the postmaster reads the file."""
SAME = 1.0
"""Seconds in which a load that the server tells of and one in the log are the same."""

BEFORE_FIRST_LOAD = "before_first_load"
FILE_CHANGED = "file_changed"
OTHER_FILE = "other_file"
NOT_A_RULE = "not_a_rule"
RULE_GONE = "rule_gone"
METHOD_DIFFERS = "method_differs"
RULE_NOT_LOGGED = "rule_not_logged"
UNREADABLE = "unreadable"
REASONS = {
    BEFORE_FIRST_LOAD: "neither the log nor the server tells of a load before it, so the rules that were in force are not known",
    FILE_CHANGED: "the file was changed since, and what it held when the server loaded it is not at hand",
    OTHER_FILE: "it names a file that is not one of those which were read",
    NOT_A_RULE: "no rule begins at that line of the text that was loaded then",
    RULE_GONE: "the rule that was there then is not in the file any more, or is there more than once",
    METHOD_DIFFERS: "the rule at that line has another method",
    RULE_NOT_LOGGED: "the server does not log which rule it was (before 14; trust before 17; log_connections without authentication)",
    UNREADABLE: "the line could not be understood",
}


class Version(t.NamedTuple):
    """What a file held, and when."""

    begin: float
    """Seconds since 1970 from which on these bytes are known to have been in place."""
    end: float
    """Until when; infinite for what is there now."""
    rules: t.Mapping[int, Rule]
    """The rules by their first lines."""


class Tally:
    """Uses of one place."""

    __slots__ = ("addresses", "count", "first", "last", "other_addresses", "other_users", "users")

    def __init__(self) -> None:
        self.count = 0
        self.first: float | None = None
        self.last: float | None = None
        self.users: dict[str, int] = {}
        self.addresses: dict[str, int] = {}
        self.other_users = self.other_addresses = 0

    def add(self, event: Event) -> None:
        """One more use."""
        self.count += 1
        self._seen(event.time, event.time)
        user, host = event.user or event.identity, event.host
        if user is not None:
            self.other_users += _counted(self.users, user, 1)
        if host is not None:
            self.other_addresses += _counted(self.addresses, host, 1)

    def merge(self, other: Tally) -> None:
        """Add another's uses."""
        self.count += other.count
        self._seen(other.first, other.last)
        for name, count in other.users.items():
            self.other_users += _counted(self.users, name, count)
        for name, count in other.addresses.items():
            self.other_addresses += _counted(self.addresses, name, count)
        self.other_users += other.other_users
        self.other_addresses += other.other_addresses

    def _seen(self, first: float | None, last: float | None) -> None:
        if first is not None:
            self.first = first if self.first is None else min(self.first, first)
        if last is not None:
            self.last = last if self.last is None else max(self.last, last)


def _counted(counts: dict[str, int], name: str, more: int) -> int:
    """Count it; what is not counted by name because there are too many is returned."""
    if name in counts or len(counts) < MAX_NAMES:
        counts[name] = counts.get(name, 0) + more
        return 0
    return more


Place = t.Tuple[str, t.Optional[str], t.Optional[int], t.Optional[str]]
"""Kind of event, file, line, and the method (or, where a rule is quoted, its text)."""


class _Epoch:
    """What happened between two loads."""

    def __init__(self, begin: float | None, certain_until: float | None) -> None:
        self.begin = begin
        """When the load began; None before the first one, and for one whose time is not known."""
        self.settled = certain_until
        self.tallies: dict[Place, Tally] = {}
        self.crowded = 0


class Collector:
    """Adds up events, in the log's order. ``loads``: moments of loads that are known without the log."""

    def __init__(self, main_file: str, loads: t.Iterable[float] = ()) -> None:
        self.main_file = main_file
        self.epochs = [_Epoch(None, None)]
        self.total = self.loads = 0
        self.first: float | None = None
        self.last: float | None = None
        self._known = sorted(loads)

    def add(self, event: Event) -> None:
        """One event more."""
        moment = event.time
        if moment is not None:
            self.first = moment if self.first is None else min(self.first, moment)
            self.last = moment if self.last is None else max(self.last, moment)
        if event.kind in (events.LOADED, events.STARTED):
            self.loads += 1
            self._load(moment, event.precision + (STARTING if event.kind == events.STARTED else SETTLING))
            return
        if event.kind == events.NOT_LOADED:
            self._undo(event.file or "")
            return
        if moment is not None:
            self._known_loads(moment)
        self.total += 1
        epoch = self.epochs[-1]
        place = (event.kind, event.file, event.line, event.method if event.raw is None else event.raw)
        tally = epoch.tallies.get(place)
        if tally is None:
            if len(epoch.tallies) >= MAX_PLACES:
                epoch.crowded += 1
                return
            tally = epoch.tallies[place] = Tally()
        tally.add(event)

    def _load(self, moment: float | None, settling: float) -> None:
        while self._known and moment is not None and self._known[0] <= moment + SAME:
            self._known.pop(0)
        self.epochs.append(_Epoch(moment, None if moment is None else moment + settling))

    def _known_loads(self, moment: float) -> None:
        """A load that the log does not tell, before this event."""
        while self._known and self._known[0] <= moment:
            known = self._known.pop(0)
            begin = self.epochs[-1].begin
            if begin is None or abs(begin - known) > SAME:
                self.epochs.append(_Epoch(known, known + SETTLING))

    def _undo(self, file: str) -> None:
        """A load that the server refused for this file: what was in force stays."""
        if len(self.epochs) < 2 or file.rpartition("/")[2] != self.main_file.rpartition("/")[2]:
            return
        gone = self.epochs.pop()
        for place, tally in gone.tallies.items():
            self.epochs[-1].tallies.setdefault(place, Tally()).merge(tally)


class Usage(t.NamedTuple):
    """The result."""

    uses: dict[tuple[str, int], Tally]
    """By file and line of the rule as it is now: whom it let in."""
    refusals: dict[tuple[str, int], Tally]
    """Whom its method refused (a wrong password, a map that does not know him)."""
    unattributed: dict[str, int]
    """By reason: uses that could not be tied to a rule."""
    unattributed_refusals: dict[str, int]
    rejected: int
    """Attempts that a ``reject`` rule met; the log does not say which one."""
    no_entry: int
    covered: tuple[float, float] | None
    """From when to when the rules of the file as it is now are known to have been in force and somebody was let in. A refusal says
    nothing: it is logged with log_connections off, too."""


def attribute(collector: Collector, versions: t.Mapping[str, t.Sequence[Version]], names: t.Mapping[str, str] | None = None) -> Usage:
    """Ties uses to rules. ``versions``: of each file, the one that is there now last; ``names``: other names of files in the log."""
    judge = _Judge(collector.main_file, versions, names or {})
    for epoch in collector.epochs:
        if epoch.crowded:
            judge.count(False, UNREADABLE, epoch.crowded)
        for place, tally in epoch.tallies.items():
            judge.judge(epoch, place, tally)
    return judge.usage()


class _Judge:
    def __init__(self, main: str, versions: t.Mapping[str, t.Sequence[Version]], names: t.Mapping[str, str]) -> None:
        self._main, self._versions, self._names = main, versions, names
        self._lines = {file: _lines_by_text(found[-1].rules) for file, found in versions.items() if found}
        self._uses: dict[tuple[str, int], Tally] = {}
        self._refusals: dict[tuple[str, int], Tally] = {}
        self._lost: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self._rejected = self._no_entry = 0
        self._covered: tuple[float, float] | None = None

    def judge(self, epoch: _Epoch, place: Place, tally: Tally) -> None:
        """Count one place of one epoch where it belongs."""
        kind, file, line, text = place
        if kind == events.REJECTED:
            self._rejected += tally.count
        elif kind == events.NO_ENTRY:
            self._no_entry += tally.count
        else:
            refused = kind == events.REFUSED
            name = self._name(file)
            if line is None:
                self.count(refused, RULE_NOT_LOGGED, tally.count)
                return
            # A refusal that quotes its rule needs no history when the text is there once.
            found = self._by_line(epoch, name, line, text) if not refused else self._of_refusal(epoch, name, line, text)
            if isinstance(found, str):
                self.count(refused, found, tally.count)
            else:
                (self._refusals if refused else self._uses).setdefault((name, found), Tally()).merge(tally)
            if not refused:
                self._cover(epoch, tally)

    def _name(self, file: str | None) -> str:
        if file is None:
            return self._main
        return self._names.get(file, file)

    def count(self, refused: bool, reason: str, number: int) -> None:
        """What could not be attributed."""
        self._lost[refused][reason] = self._lost[refused].get(reason, 0) + number

    def _by_line(self, epoch: _Epoch, file: str, line: int, method: str | None) -> int | str:
        """The line of the rule as it is now, or a reason."""
        if file not in self._lines:
            return OTHER_FILE
        version = self._version(epoch, file)
        if isinstance(version, str):
            return version
        rule = version.rules.get(line)
        if rule is None:
            return NOT_A_RULE
        if method is not None and rule.method != method:
            return METHOD_DIFFERS
        if version.end == math.inf:
            return line
        return self._now(file, rule.raw)

    def _of_refusal(self, epoch: _Epoch, file: str, line: int, raw: str | None) -> int | str:
        if file not in self._lines:
            return OTHER_FILE
        version = self._version(epoch, file)
        if isinstance(version, Version) and version.end == math.inf and line in version.rules:
            return line
        return self._now(file, raw) if raw is not None else version if isinstance(version, str) else NOT_A_RULE

    def _now(self, file: str, raw: str) -> int | str:
        """Where a rule of old stands now: the same text, once."""
        lines = self._lines[file].get(raw.strip(), ())
        return lines[0] if len(lines) == 1 else RULE_GONE

    def _version(self, epoch: _Epoch, file: str) -> Version | str:
        """What was loaded: the bytes that were in place all the time while the server read the file."""
        if epoch.begin is None or epoch.settled is None:
            return BEFORE_FIRST_LOAD
        for version in self._versions[file]:
            if version.begin <= epoch.begin + TICK and epoch.settled <= version.end:
                return version
        return FILE_CHANGED

    def _cover(self, epoch: _Epoch, tally: Tally) -> None:
        """An admission that was logged under the present rules."""
        version = self._version(epoch, self._main) if self._main in self._lines else FILE_CHANGED
        if isinstance(version, str) or version.end != math.inf or tally.first is None or tally.last is None:
            return
        first, last = self._covered or (tally.first, tally.last)
        self._covered = (min(first, tally.first), max(last, tally.last))

    def usage(self) -> Usage:
        """Everything that was judged."""
        return Usage(self._uses, self._refusals, *self._lost, self._rejected, self._no_entry, self._covered)


def _lines_by_text(rules: t.Mapping[int, Rule]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for line, rule in rules.items():
        found.setdefault(rule.raw.strip(), []).append(line)
    return found
