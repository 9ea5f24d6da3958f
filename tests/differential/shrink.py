# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a failing case small: companions, then lines, then words, then bytes, as long as it still fails."""

from __future__ import annotations

import re
import time
import typing as t

from .corpus import Case

SECONDS = 20.0
"""Longest time that one case is worked on."""


def shrink(case: Case, fails: t.Callable[[Case], bool], seconds: float = SECONDS) -> Case:
    """The smallest case that was found to fail as ``case`` does; ``fails`` is asked about each candidate."""
    deadline = time.monotonic() + seconds

    def still(candidate: Case) -> bool:
        return time.monotonic() < deadline and fails(candidate)

    before = None
    while before != case and time.monotonic() < deadline:
        before = case
        case = _without_companions(case, still)
        for name in [None, *case.files]:
            for split in (_lines, _words, _bytes):
                case = _reduced(case, name, split, still)
    return case


def _without_companions(case: Case, still: t.Callable[[Case], bool]) -> Case:
    for field in ("symlinks", "chmod", "files", "settings"):
        for name in list(getattr(case, field)):
            rest = {key: value for key, value in getattr(case, field).items() if key != name}
            changes: dict[str, t.Any] = {field: rest}
            candidate = case._replace(**changes)
            if field == "files":
                candidate = candidate._replace(chmod={key: mode for key, mode in case.chmod.items() if key in rest})
            if still(candidate):
                case = candidate
    if not case.ssl and still(case._replace(ssl=True)):
        case = case._replace(ssl=True)
    return case


def _lines(raw: bytes) -> list[bytes]:
    return raw.splitlines(keepends=True)


def _words(raw: bytes) -> list[bytes]:
    return [piece for piece in re.split(rb"([ \t,]+|\n)", raw) if piece]


def _bytes(raw: bytes) -> list[bytes]:
    return [raw[i : i + 1] for i in range(len(raw))] if len(raw) <= 4000 else []


def _reduced(case: Case, name: str | None, split: t.Callable[[bytes], list[bytes]], still: t.Callable[[Case], bool]) -> Case:
    """Delta debugging over the pieces of the main file (None) or of a companion: drop runs, halving their length."""
    pieces = split(case.text if name is None else case.files[name])
    run = len(pieces) // 2 or 1
    while pieces and run:
        start = 0
        while start < len(pieces):
            candidate = _with(case, name, b"".join(pieces[:start] + pieces[start + run :]))
            if still(candidate):
                case = candidate
                del pieces[start : start + run]
            else:
                start += run
        run //= 2
    return case


def _with(case: Case, name: str | None, content: bytes) -> Case:
    if name is None:
        return case._replace(text=content)
    return case._replace(files={**case.files, name: content})
