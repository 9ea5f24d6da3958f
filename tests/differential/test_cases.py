# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every recorded input, and every input that a random run ever found, on every major.

First the live server is held against the record, which proves the harness; then the engine against the live server.
"""

from __future__ import annotations

import pytest

from . import corpus, engine
from .corpus import Case
from .servers import Server, Verdict

RECORDED = corpus.recorded_cases()
FOUND = corpus.found_cases()

_ANSWERS: dict[tuple[str, str], Verdict] = {}


def judged(server: Server, case: Case) -> Verdict:
    """The live verdict; a server is asked once for each case."""
    key = (repr(server), case.name)
    if key not in _ANSWERS:
        _ANSWERS[key] = server.judge(case)
    return _ANSWERS[key]


def names(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", RECORDED, ids=names)
def test_the_server_answers_as_recorded(server: Server, case: Case) -> None:
    outcome = case.recorded(repr(server)) or case.recorded(f"min {server.version}")
    if outcome is None:
        assert case.name == "at_self_recursive", "only the file that kills servers before 16 has no recorded answer"
        assert judged(server, case).failure == "crash" or judged(server, case).loads is None
        return
    live = judged(server, case)
    assert live.failure is None
    assert (live.rows, live.loads) == (outcome.rows, outcome.loads)


@pytest.mark.parametrize("case", [*RECORDED, *FOUND], ids=names)
def test_the_engine_agrees_with_the_server(server: Server, case: Case) -> None:
    live = judged(server, case)
    with server.holding(case):
        ours, _ = engine.read(server, case)
    assert engine.difference(ours, live) is None
