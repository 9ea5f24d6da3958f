# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real connection attempts: every recorded one, and random ones against random files, held against ``decide``."""

from __future__ import annotations

import itertools
import sys
import typing as t

import pytest

from . import corpus
from .clients import MAPPED, Attempted, ClientGenerator, Judge, outcome, populate, unlike
from .corpus import Case
from .servers import Attempt, Server
from .test_random import SEED, N

CLIENTS_PER_FILE = 8
RECORDED = corpus.match_cases()["cases"]


def attempted(connection: dict[str, t.Any]) -> Attempted:
    """A recorded connection."""
    database = connection["database"]
    return Attempted(
        connection["user"].encode(),
        None if database is None else database.encode(),
        connection["server_host"],
        connection["client_ip"],
        connection["transport"] == "ssl",
        connection["replication"],
    )


def met(attempt: Attempt) -> int | str:
    """What the record calls ``matched``."""
    return attempt.line if attempt.line is not None else {"no_entry": "none", "rejected": "reject"}.get(outcome(attempt), "?")


def test_recorded_attempts(server: Server) -> None:
    """The live server does as recorded, and the engine says so."""
    populate(server)
    wrong, count = [], 0
    for hba, group in itertools.groupby(RECORDED, key=lambda case: case["hba"]):
        case = Case("match", "hba", hba.encode())
        assert server.use(case.text), hba
        judge = Judge(server, case)
        for record in group:
            expected = [o["matched"] for o in record["outcomes"] if server.major in o["majors"]]
            client = attempted(record["connection"])
            if not expected or (
                client.address and ":" in client.address and "::1" not in server.listen and not client.address.startswith(MAPPED)
            ):
                continue
            count += 1
            attempt = client.connect(server)
            if met(attempt) != expected[0]:
                wrong.append(f"{record['name']}: recorded {expected[0]}, live {attempt}")
            difference = unlike(judge.expected(client), attempt)
            if difference is not None:
                wrong.append(f"{record['name']}: {hba!r} {client}: {difference}")
    print(f"\n{server!r}: {count} recorded attempts", file=sys.stderr)
    assert count > 500
    assert not wrong, "\n".join(wrong[:20])


def small(server: Server, case: Case, client: Attempted) -> str:
    """The fewest lines that still differ, and how."""
    lines = case.text.splitlines(keepends=True)
    for line in list(lines):
        rest = [other for other in lines if other is not line]
        candidate = case._replace(text=b"".join(rest))
        if rest and server.use(candidate.text) and unlike(Judge(server, candidate).expected(client), client.connect(server)) is not None:
            lines = rest
    case = case._replace(text=b"".join(lines))
    server.use(case.text)
    return f"{case.text!r} {client}: {unlike(Judge(server, case).expected(client), client.connect(server))}"


def test_random_attempts(server: Server) -> None:
    populate(server)
    print(f"\n{server!r}: {N} files, {N * CLIENTS_PER_FILE} random attempts, PGOPS_DIFFERENTIAL_SEED={SEED}", file=sys.stderr)
    generator = ClientGenerator(SEED + server.major, server.major)
    wrong, refused = [], 0
    for number in range(N):
        case = Case(f"clients-{number}", "hba", generator.rules(generator.rng.randint(1, 8)))
        if not server.use(case.text):
            refused += 1
            continue
        judge = Judge(server, case)
        for _ in range(CLIENTS_PER_FILE):
            client = generator.client("::1" in server.listen)
            if unlike(judge.expected(client), client.connect(server)) is not None:
                wrong.append(small(server, case, client))
                server.use(case.text)
    assert refused < N / 2 + 1, f"{refused} of {N} files did not load: the generator is wrong"
    assert not wrong, f"{len(wrong)} of {N * CLIENTS_PER_FILE} attempts differ (seed {SEED}):\n" + "\n".join(wrong[:20])


@pytest.fixture(autouse=True)
def _closed_again(server: Server) -> t.Iterator[None]:
    """Leave the server with a file that loads."""
    yield
    server.use(b"local all all trust\n")
