# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Another method for entries that stay where they are: an edit of lines, sections and order untouched. Pure.

``plan`` is about what rules a file holds; here the caller has decided rule by rule (``_auth.planner``), so lines are named by number.
"""

from __future__ import annotations

import typing as t

from .document import Changes, Document
from .edits import Entries, spec_of_entry, with_method
from .errors import PlanError
from .plan import Edit, Plan

Options = t.Tuple[t.Tuple[str, str], ...]


def change_methods(document: Document, wanted: t.Mapping[int, tuple[str, Options]]) -> Plan:
    """The file with other methods. ``wanted``: by the number of a rule's first line, method and options. Raises PlanError."""
    entries = Entries(document, document.sections())
    by_line = {document.lines[index].line: index for index in entries.contents}
    changes, edits = Changes(), []
    for line in sorted(wanted):
        method, options = wanted[line]
        if line not in by_line:
            raise PlanError(f"line {line} is no entry of this file")
        index = by_line[line]
        entry = entries.read([index])[0]
        if entry.rule is None:
            raise PlanError(f"line {line} is no rule that the server accepts")
        text = document.lines[index].text
        spec = spec_of_entry(entry, text)._replace(method=method, options=options)
        after = with_method(text, entry, spec, document.server)
        if after != text:
            changes.replaced[index] = after
            edits.append(Edit("replace", line, text, after))
    if not changes:
        return Plan(document.raw, document.raw, False)
    done = document.edit(changes)
    return Plan(document.raw, done.raw, done.raw != document.raw, tuple(edits))
