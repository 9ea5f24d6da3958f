# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""A wanted state → the edit that makes it so, as data. Pure: no file is read, no clock is asked.

Example: one owner's section in a file, and the store that makes it so::

    from .._hba import plan
    from .._hba.model import Server
    from .._hba.spec import spec_from_dict
    from . import file

    server = Server(major=15)
    rule = {"type": "host", "address": "0.0.0.0/0", "method": "scram-sha-256", "comment": "from outside"}
    request = plan.Request(rules=(spec_from_dict(rule, server),), section="external-access")
    outcome = file.update("/var/lib/postgresql/data/pg_hba.conf", plan.planner(request, server))
    outcome.changed, outcome.plan.edits        # False, () when it is so already

Plain bytes do as well: ``plan.plan(Document.parse(raw, server), request) → Plan(before, after, changed, edits)``.

What a request means
--------------------
*present* (no section): each rule is somewhere in the file. The first entry outside sections that is about the same clients (type,
databases, users, address) is the one; when it has another method or other options it is changed where it stands, because the
first match decides and a second entry below it would be dead. An entry in another owner's section that means the same also counts, and
is never changed. New entries go behind the given rule before them, else before the given rule after them, else to ``position``
(default: last). Entries that stand in another order than the given one are moved, and the entries that they hid go, as they must not
come to life; others are never moved. ``move`` brings all given rules to ``position``. Whether an entry is reached at all is not decided
here: ``effect`` and ``findings`` prove that.

*section*: the marked block holds exactly these rules in this order. Lines that mean the same stay untouched, and so do comments and blank
lines between them. A new section goes to ``position``; one that is there stays where it is unless ``move`` is given.

*exclusive*: the file holds exactly these rules in this order; other entries, include records, broken lines and section markers
go. Comments of their own line and blank lines stay.

*absent*: every entry that means the same goes, in sections too, repeated ones included; from an entry with several names only the named
ones go (``a,b`` minus ``a`` leaves ``b``; where both columns overlap in part the row becomes two). A rule without a method stands for
every method and options. With ``section`` only that section is looked at; without rules the whole section goes.

*expiry*: with ``now``, entries whose comment says that they are over go, in sections too; a given rule that is over is not wanted. Every
kind of request does this.

The same request planned on its own result changes nothing, and requests for different sections give the same file in either order.
"""

from __future__ import annotations

import datetime
import typing as t

from . import comments
from .document import Changes, Document, Layout, Section, check_position, marker_lines
from .edits import HBA, Entries, Entry, longest_run
from .errors import InvalidRule, PlanError
from .grammar import Grammar, Meaning, Spec
from .model import Server
from .render import describe


class Request(t.NamedTuple):
    """What somebody wants of a file. See the module's text."""

    rules: tuple[Spec, ...] = ()
    """``RuleSpec`` values, or those of another grammar."""
    state: str = "present"
    """``present`` or ``absent``."""
    section: str | None = None
    exclusive: bool = False
    position: str | None = None
    """``first``, ``last``, ``before:SECTION``, ``after:SECTION``; None: last for what is new."""
    move: bool = False
    """Bring what is there to ``position``, too."""
    now: datetime.datetime | None = None
    """The moment that expiries are held against, with its time zone; None: nothing expires."""


class Edit(t.NamedTuple):
    """One line that changes."""

    action: str
    """``insert``, ``remove`` or ``replace``."""
    line: int
    """Number of the line in the old file; for ``insert`` the line before which it goes (one more than the last for the end)."""
    before: str | None
    after: str | None
    reason: str = "requested"
    """``requested``, ``expired`` or ``moved``."""


class Plan(t.NamedTuple):
    """An edit of one file, as data."""

    before: bytes
    after: bytes
    changed: bool
    edits: tuple[Edit, ...] = ()


def planner(request: Request, server: Server, grammar: Grammar = HBA) -> t.Callable[[bytes], Plan]:
    """The request as a function of a file's bytes, for the stores' ``update``."""
    return lambda raw: plan(Document.parse(raw, server), request, grammar)


def plan(document: Document, request: Request, grammar: Grammar = HBA) -> Plan:
    """What the file must become. Raises PlanError (contradictory request, damaged markers, unknown section) and InvalidRule."""
    _check(request, grammar)
    work = _Work(document, request, grammar)
    if request.exclusive:
        work.exclusive()
    elif request.section is not None:
        work.section(request.section)
    elif request.state == "absent":
        work.absent(work.entries.contents)
    else:
        work.present()
    work.drop_expired()
    return work.result()


def _check(request: Request, grammar: Grammar) -> None:
    if request.state not in {"present", "absent"}:
        raise PlanError(f"state {request.state!r}: use present or absent")
    if request.exclusive and (request.section is not None or request.state == "absent"):
        raise PlanError("exclusive means the whole file: it goes neither with section nor with state absent")
    if request.exclusive and not request.rules and not grammar.may_be_empty:
        raise PlanError("exclusive without rules would empty the file, and the server refuses a file without entries")
    if request.exclusive and (request.position is not None or request.move):
        raise PlanError("exclusive says where every rule stands: it goes neither with position nor with move")
    if request.state == "absent" and not request.rules and request.section is None:
        raise PlanError("state absent needs rules or a section: nothing is named that should go")
    if request.state == "absent" and (request.position is not None or request.move):
        raise PlanError("state absent goes neither with position nor with move")
    if request.move and request.position is None:
        raise PlanError("move needs a position: where to?")
    if request.now is not None and request.now.tzinfo is None:
        raise PlanError("now must carry its time zone")
    check_position(request.position or "last")
    if request.section is not None:
        marker_lines(request.section)


class _Wanted(t.NamedTuple):
    """One rule of the request with what it means; ``line`` is how it is written when it is new."""

    spec: Spec
    line: str
    meaning: Meaning


class _Work:
    """One request on one document: collects changes, then makes them in one pass."""

    def __init__(self, document: Document, request: Request, grammar: Grammar) -> None:
        self.document = document
        self.server = document.server
        self.request = request
        self.grammar = grammar
        self.sections = document.sections() if not request.exclusive else ()
        self.entries = Entries(document, self.sections, grammar)
        self.changes = Changes()
        self.reasons: dict[int, str] = {}
        self.wanted = self._wanted() if request.state == "present" else []

    def _wanted(self) -> list[_Wanted]:
        """The given rules, each meaning once, without those that are over."""
        found: dict[Meaning, _Wanted] = {}
        for index, spec in enumerate(self.request.rules):
            if self.request.now is not None and comments.expired(spec.expires, self.request.now):
                continue
            try:
                line, meaning = self.grammar.line(spec, self.server)
            except ValueError:
                self.grammar.check(spec, self.server, f"rules[{index}]")
                raise
            found.setdefault(meaning, _Wanted(spec, line, meaning))
        return list(found.values())

    # ---------------------------------------------------------------------------------------------------------------- requests

    def present(self) -> None:
        """Each given rule is somewhere in the file."""
        targets: list[_Wanted] = []
        places: list[Entry | None] = []
        self.entries.look_for([wanted.meaning.key for wanted in self.wanted])
        for wanted in _unambiguous(self.wanted, self.server):
            entry = self.entries.first_loose(wanted.meaning.key)
            if (entry is None or entry.meaning != wanted.meaning) and self.entries.in_section(wanted.meaning, before=entry):
                continue
            targets.append(wanted)
            places.append(entry)
        if self.request.move and targets and self._move_all(targets, places):
            return
        self._arrange(targets, places)

    def _arrange(self, targets: list[_Wanted], places: list[Entry | None]) -> None:
        """Keep what stands in the given order, move what does not, and put new rules beside their neighbours."""
        kept = longest_run([None if place is None else place.line for place in places])
        pending: list[str] = []
        previous: Entry | None = None
        for index, (wanted, place) in enumerate(zip(targets, places)):
            if place is not None and index in kept:
                if pending and previous is None:
                    self.changes.insert(self.document.attached(place.line), pending)
                elif pending and previous is not None:
                    self.changes.insert(previous.line + 1, pending)
                pending, previous = [], place
                self._adjust(place, wanted)
                continue
            if place is not None:
                self._take_away(place, wanted)
            pending.append(wanted.line if place is None else self._adjusted(place, wanted))
        if pending:
            where = previous.line + 1 if previous is not None else self._place(self.request.position or "last")
            self.changes.insert(where, pending)

    def _move_all(self, targets: list[_Wanted], places: list[Entry | None]) -> bool:
        """Bring all given rules to the position, in order; True when that is done."""
        lines = [place.line for place in places if place is not None]
        gone = set(lines)
        for wanted in targets:
            gone.update(entry.line for entry in self.entries.dead_below(wanted.meaning.key))
        where = self._place(self.request.position or "last", gone)
        if len(lines) == len(places) and self.entries.are_neighbours(lines) and self._stands_at(lines, where):
            return False
        texts = []
        for wanted, place in zip(targets, places):
            texts.append(wanted.line if place is None else self._adjusted(place, wanted))
            if place is not None:
                self._take_away(place, wanted)
        self.changes.insert(where, texts)
        return True

    def _take_away(self, place: Entry, wanted: _Wanted) -> None:
        """An entry leaves its place for another; entries that it hid must not come to life by that."""
        self._remove(place.line, "moved")
        for entry in self.entries.dead_below(wanted.meaning.key):
            self._remove(entry.line, "moved")

    def _stands_at(self, lines: list[int], where: int) -> bool:
        """Whether no line with content stands between a run of entries and a place."""
        low, high = min(lines[0], where - 1), max(lines[-1], where)
        gone = set(lines)
        return all(index in gone for index in self.entries.contents_between(low, high)) and self._no_marker(lines[0], where)

    def _no_marker(self, line: int, where: int) -> bool:
        low, high = sorted((line, where))
        return not any(low <= section.begin < high or low <= section.end < high for section in self.sections)

    def section(self, name: str) -> None:
        """This section holds exactly the given rules, or it is gone, or the given rules are gone from it."""
        found = next((section for section in self.sections if section.name == name), None)
        if self.request.state == "absent":
            if found is not None and self.request.rules:
                self.absent(self.entries.contents_between(found.begin, found.end))
            elif found is not None:
                self.changes.removed.update(range(found.begin, found.end + 1))
            return
        if found is None:
            position = self.request.position or "last"
            begin, end = marker_lines(name, position)
            where = Layout(self.document, self.entries.contents).place(position, name)
            self.changes.insert(where, [begin, *(wanted.line for wanted in self.wanted), end])
            return
        position = self.request.position or found.position
        if self.request.move and not self._section_stands(found, position):
            self._move_section(found, position)
            return
        self._reconcile(self.entries.of_section(found), found.begin + 1, found.end)

    def _section_stands(self, found: Section, position: str) -> bool:
        """Whether a section already is where it should be."""
        if found.position != position:
            return False
        where = Layout(self.document, self.entries.contents, without=found.name).place(position, found.name)
        if found.begin <= where <= found.end + 1:
            return True
        low, high = (where - 1, found.begin) if where < found.begin else (found.end, where)
        others = [section for section in self.sections if section is not found]
        return not self.entries.contents_between(low, high) and not any(low < other.begin < high for other in others)

    def _move_section(self, found: Section, position: str) -> None:
        """Take it out and put it in again with its own lines as they would be after this request."""
        outer, self.changes = self.changes, Changes()
        self._reconcile(self.entries.of_section(found), found.begin + 1, found.end)
        texts = self._texts(found.begin + 1, found.end)
        self.changes = outer
        begin, end = marker_lines(found.name, position)
        for index in range(found.begin, found.end + 1):
            self._remove(index, "moved")
        where = Layout(self.document, self.entries.contents, without=found.name).place(position, found.name)
        if found.begin < where <= found.end:
            where = found.begin
        self.changes.insert(where, [begin, *texts, end])

    def _texts(self, low: int, high: int) -> list[str]:
        """What the lines of a range become."""
        texts: list[str] = []
        for index in range(low, high + 1):
            texts.extend(self.changes.inserted.get(index, ()))
            if index < high and index not in self.changes.removed:
                texts.append(self.changes.replaced.get(index, self.document.lines[index].text))
        return texts

    def exclusive(self) -> None:
        """The file holds exactly the given rules."""
        if not self.wanted and not self.grammar.may_be_empty:
            raise PlanError("every given rule is over: the file would be empty, and the server refuses a file without entries")
        for index in range(len(self.document.lines)):
            if self.document.is_marker(index):
                self._remove(index)
        self._reconcile(self.entries.all(), 0, len(self.document.lines))

    def absent(self, lines: t.Sequence[int]) -> None:
        """No entry of these lines admits or refuses whom the given rules name, as they name it."""
        for entry, left in self.grammar.subtract(self.document, self.entries, lines, self.request.rules):
            if left:
                self.changes.replaced[entry.line] = left[0]
                self.changes.insert(entry.line + 1, left[1:])
            else:
                self._remove(entry.line)

    # --------------------------------------------------------------------------------------------------------------- the parts

    def _reconcile(self, scope: t.Sequence[Entry], low: int, high: int) -> None:
        """Make the entries of a range the given rules, in order. Equal lines stay; between them new ones take the places of old ones."""
        unused: dict[Meaning, list[Entry]] = {}
        for entry in reversed(scope):
            if entry.meaning is not None:
                unused.setdefault(entry.meaning, []).append(entry)
        places = [unused[wanted.meaning].pop() if unused.get(wanted.meaning) else None for wanted in self.wanted]
        kept = longest_run([None if place is None else place.line for place in places])
        standing = {place.line for index, place in enumerate(places) if index in kept and place is not None}
        leaving = [entry.line for entry in scope if entry.line not in standing]
        pending: list[str] = []
        previous: int | None = None
        taken = 0
        for index, (wanted, place) in enumerate(zip(self.wanted, places)):
            if place is None or index not in kept:
                pending.append(wanted.line if place is None else self._adjusted(place, wanted))
                continue
            stop = taken
            while stop < len(leaving) and leaving[stop] < place.line:
                stop += 1
            self._fill(leaving[taken:stop], pending, self.document.attached(place.line) if previous is None else previous + 1, low)
            self._adjust(place, wanted)
            taken, pending, previous = stop, [], place.line
        self._fill(leaving[taken:], pending, high if previous is None else previous + 1, low)

    def _fill(self, leaving: list[int], texts: list[str], where: int, low: int) -> None:
        """One gap between lines that stay: old lines get new texts, in order; what is left over goes or is inserted."""
        for line, text in zip(leaving, texts):
            self.changes.replaced[line] = text
        for line in leaving[len(texts) :]:
            self._remove(line)
        if len(texts) > len(leaving):
            self.changes.insert(leaving[-1] + 1 if leaving else max(where, low), texts[len(leaving) :])

    def _adjust(self, entry: Entry, wanted: _Wanted) -> None:
        """An entry stays: only its method, comment or expiry may have to change."""
        text = self._adjusted(entry, wanted)
        if text != self.document.lines[entry.line].text:
            self.changes.replaced[entry.line] = text

    def _adjusted(self, entry: Entry, wanted: _Wanted) -> str:
        text = self.document.lines[entry.line].text
        if entry.meaning != wanted.meaning:
            text = self.grammar.changed(text, entry, wanted.spec, self.server)
        _unused, comment, expires = comments.split(text)
        comment_wanted = comment if wanted.spec.comment is None else wanted.spec.comment.strip() or None
        if (comment or None, expires) != (comment_wanted or None, wanted.spec.expires):
            text = self.grammar.commented(text, comment_wanted, wanted.spec.expires, self.server)
        return text

    def _remove(self, index: int, reason: str = "requested") -> None:
        self.changes.removed.add(index)
        self.reasons[index] = reason

    def _place(self, position: str, gone: t.Container[int] = ()) -> int:
        contents = [index for index in self.entries.contents if index not in gone]
        return Layout(self.document, contents).place(position)

    def drop_expired(self) -> None:
        """Entries that are over go, wherever they are, unless this request has just said something else about them."""
        if self.request.now is None or b"[expires:" not in self.document.raw:
            return
        now, changes = self.request.now, self.changes
        for index in self.entries.contents:
            text = changes.replaced.get(index) or self.document.lines[index].text
            if "[expires:" in text and index not in changes.removed and comments.expired(comments.split(text)[2], now):
                self._remove(index, "expired")
        for texts in changes.inserted.values():
            texts[:] = [text for text in texts if not comments.expired(comments.split(text)[2], now)]

    def result(self) -> Plan:
        """The plan, its result read back."""
        before = self.document.raw
        if not self.changes:
            return Plan(before, before, False)
        done = self.document.edit(self.changes)
        return Plan(before, done.raw, done.raw != before, self._edits())

    def _edits(self) -> tuple[Edit, ...]:
        lines = self.document.lines
        edits: list[Edit] = []
        for index in sorted({*self.changes.removed, *self.changes.replaced, *self.changes.inserted}):
            number = lines[index].line if index < len(lines) else (lines[-1].last_line + 1 if lines else 1)
            for text in self.changes.inserted.get(index, ()):
                edits.append(Edit("insert", number, None, text))
            if index in self.changes.removed:
                edits.append(Edit("remove", number, lines[index].text, None, self.reasons.get(index, "requested")))
            elif index in self.changes.replaced:
                edits.append(Edit("replace", number, lines[index].text, self.changes.replaced[index]))
        return tuple(edits)


def _unambiguous(wanted: list[_Wanted], server: Server) -> list[_Wanted]:
    """Raise PlanError when two given rules are about the same clients and say different things."""
    seen: dict[t.Any, _Wanted] = {}
    for one in wanted:
        other = seen.setdefault(one.meaning.key, one)
        if other is not one:
            methods = f"{other.meaning.method} and {one.meaning.method}, or their options"
            raise PlanError(f"two of the given rules are about the same clients but differ ({methods}): {describe(one.spec, server)}")
    return wanted


__all__ = ["Edit", "InvalidRule", "Plan", "PlanError", "Request", "plan", "planner"]
