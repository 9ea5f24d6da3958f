# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random and mutated files: view rows and load verdict, engine against server.

``PGOPS_DIFFERENTIAL_N`` files for each server and kind. The same files every run, so that a check of a change is about that change;
``PGOPS_DIFFERENTIAL_SEED=random`` draws new ones, a number repeats such a run. What differs is made small and kept in ``data/found``,
where ``test_cases.py`` replays it for ever.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys

import pytest

from . import corpus, engine
from .corpus import Case
from .generate import Generator
from .servers import Server
from .shrink import shrink

N = int(os.environ.get("PGOPS_DIFFERENTIAL_N") or 150)
_SEED = os.environ.get("PGOPS_DIFFERENTIAL_SEED") or "20261124"
SEED = random.SystemRandom().randrange(2**31) if _SEED == "random" else int(_SEED)
KEPT_PER_SERVER = 3
"""Failures of one server that are made small and kept; the rest are usually the same fault again."""

KILLS_OLD_SERVERS = "at_self_recursive"
CORPUS = [case for case in [*corpus.recorded_cases(), *corpus.found_cases()] if case.name != KILLS_OLD_SERVERS]


def drawn(generator: Generator, kind: str, number: int) -> Case:
    """The next file: a third each from the grammar, mutated, and of many small probes; one in 15 is about lengths."""
    name = f"{kind}-{number}"
    if number % 15 == 14:
        return generator.stretched(name)
    if number % 3 == 0:
        return generator.mutated([case for case in CORPUS if case.kind == kind], name)
    if number % 3 == 1 and kind == "hba":
        return generator.batch(name)
    return generator.case(kind, name)


def small(server: Server, case: Case, kept: list[str]) -> str:
    """Shrink a failing case, keep it, and describe it."""
    if len(kept) < KEPT_PER_SERVER:
        case = shrink(case, lambda candidate: engine.compare(server, candidate) is not None)
        digest = hashlib.sha256(repr(case._replace(name="")).encode()).hexdigest()[:10]
        case = case._replace(name=f"found_{case.kind}_{digest}")
        kept.append(str(corpus.keep(case)))
    return f"{case.text!r} {case.files or ''}: {engine.compare(server, case)}"


@pytest.mark.parametrize("kind", ["hba", "ident"])
def test_random_files(server: Server, kind: str) -> None:
    seed = SEED + server.major * 2 + (kind == "ident")
    count = N if kind == "hba" else N // 3
    print(f"\n{server!r}: {count} random {kind} files, PGOPS_DIFFERENTIAL_SEED={SEED}", file=sys.stderr)
    generator = Generator(seed, server.major)
    failures: list[str] = []
    kept: list[str] = []
    for number in range(count):
        case = drawn(generator, kind, number)
        if engine.compare(server, case) is not None:
            failures.append(small(server, case, kept))
    assert not failures, f"{len(failures)} of {count} differ (seed {SEED}; kept as {kept}):\n" + "\n".join(failures[:20])
