# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Several requests on one file as one plan, so that a policy of several sections is proved, written and loaded in one step.

Each request is planned on the result of the one before, so a section can stand beside another that the same policy makes. Requests for
different sections change different lines, which is why their edits can be told as edits of the old file.
"""

from __future__ import annotations

import typing as t

from .document import Document
from .edits import HBA
from .errors import PlanError
from .grammar import Grammar
from .plan import Edit, Plan, Request, plan

if t.TYPE_CHECKING:
    from .model import Server


def plan_all(raw: bytes, requests: t.Sequence[Request], server: Server, grammar: Grammar = HBA) -> Plan:
    """What the file must become so that all requests hold. One request: any; several: one for each of several sections.

    Raises PlanError, also when two requests are for one section, and InvalidRule.
    """
    if len(requests) > 1:
        _check_sections(requests)
    content = raw
    edits: tuple[Edit, ...] = ()
    lines: list[_Line] | None = None
    for request in requests:
        document = Document.parse(content, server)
        made = plan(document, request, grammar)
        if not made.changed:
            continue
        content, edits = made.after, made.edits
        if len(requests) > 1:
            lines = _followed(lines or [_Line(number) for number in range(1, _end(document) + 1)], edits, document)
    if lines is not None:
        edits = tuple([line.edit for line in lines if line.edit is not None])
    return Plan(raw, content, content != raw, edits)


def _check_sections(requests: t.Sequence[Request]) -> None:
    names = [request.section for request in requests]
    if None in names:
        raise PlanError("several requests on one file have to be for sections")
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise PlanError(f"section {twice[0]!r} is given twice; give all of its rules in one place")


def _end(document: Document) -> int:
    """The number of the line that would come after the last one."""
    return document.lines[-1].last_line + 1 if document.lines else 1


class _Line(t.NamedTuple):
    """A physical line on its way from the old file to the new one."""

    origin: int
    """Its number in the old file; for a new line the one before which it stands."""
    edit: Edit | None = None
    there: bool = True
    """Whether the text has it still."""


def _followed(lines: t.Sequence[_Line], edits: t.Sequence[Edit], document: Document) -> list[_Line]:
    """The lines after one more request, whose edits number the lines that are there."""
    height = {line.line: line.last_line - line.line + 1 for line in document.lines}
    at: dict[int, list[Edit]] = {}
    for edit in edits:
        at.setdefault(edit.line, []).append(edit)
    result: list[_Line] = []
    number = gone = 0
    for line in lines:
        if not line.there:
            result.append(line)
            continue
        number += 1
        own: Edit | None = None
        for edit in at.get(number, ()):
            if edit.before is None:
                result.append(_Line(line.origin, edit._replace(line=line.origin)))
            else:
                own, gone = edit._replace(line=line.origin), height[number]
        if own is not None:
            result.append(_Line(line.origin, own, own.after is not None))
        else:
            result.append(line if gone < 1 else line._replace(there=False))
        gone -= 1
    return result
