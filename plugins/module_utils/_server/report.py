# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Checks as data for machines and as a table for people. Pure."""

from __future__ import annotations

import typing as t

from . import outcome as verdicts
from .access_check import Check, Client

MAX_MESSAGE = 500
"""Characters of a server's message that are kept."""


def as_data(check: Check) -> dict[str, t.Any]:
    """One check with plain values; no password is in it."""
    client, evidence = check.client, check.evidence
    tls = None
    if evidence.tls is not None:
        tls = {**evidence.tls._asdict(), "server_version": evidence.server_tls}
    return {
        "name": client.label,
        "user": client.user,
        "database": client.database,
        "address": client.address,
        "transport": client.transport,
        "replication": client.replication,
        "host": client.host,
        "port": client.port,
        "expect": client.expect,
        "met": check.met,
        "outcome": check.outcome,
        "meaning": verdicts.OUTCOMES[check.outcome],
        "method": check.methods[0] if check.methods else None,
        "methods": list(check.methods),
        "requests": list(evidence.requests),
        "mechanisms": list(evidence.mechanisms),
        "identity": evidence.identity,
        "tls": tls,
        "address_seen": evidence.address_seen,
        "source_address": evidence.source_address,
        "server_address": evidence.server_address,
        "server_version": evidence.parameters.get("server_version"),
        "sqlstate": evidence.error.sqlstate or None if evidence.error else None,
        "message": message(check),
        "connect_ms": evidence.connect_ms,
        "latency_ms": evidence.total_ms,
        "other_transport": dict(zip(("transport", "outcome"), check.other_transport)) if check.other_transport else None,
        "libpq": None if check.libpq is None else visible(check.libpq),
        "notes": [visible(note) for note in check.notes],
    }


def message(check: Check) -> str | None:
    """The server's message, or the reason why there is none."""
    error = check.evidence.error
    words = error.message if error is not None else check.evidence.reason
    return visible(words) if words else None


def visible(text: str) -> str:
    """Text of a stranger, safe for a terminal and one line: control characters become ``?``, and it has an end."""
    shown = "".join(c if c.isprintable() else " " if c in "\n\t" else "?" for c in text)
    return shown if len(shown) <= MAX_MESSAGE else shown[: MAX_MESSAGE - 1] + "…"


def destination(client: Client) -> str:
    """host:port, with brackets round an IPv6 address, or the socket."""
    if client.host.startswith("/"):
        return f"{client.host}:{client.port}"
    return f"[{client.host}]:{client.port}" if ":" in client.host else f"{client.host}:{client.port}"


def mismatch(check: Check) -> str:
    """One sentence of three parts: what was expected, what happened, what to look at next."""
    client = check.client
    where = f" from {client.address}" if client.address else ""
    got = f"{check.outcome} with method {' or '.join(check.methods)}" if check.methods else check.outcome
    parts = [
        f"{client.label}{where} over {client.transport} to {destination(client)}: expected {client.expect}, got {got} "
        f"({verdicts.OUTCOMES[check.outcome]})"
    ]
    words = message(check)
    if words:
        state = f" [{check.evidence.error.sqlstate}]" if check.evidence.error and check.evidence.error.sqlstate else ""
        parts.append(f"the server said{state}: {words}" if check.evidence.error else words)
    if check.other_transport is not None:
        parts.append(f"over {check.other_transport[0]} it is {check.other_transport[1]}")
    parts.extend(visible(note) for note in check.notes)
    if check.outcome in verdicts.NEXT:
        parts.append(f"next: {verdicts.NEXT[check.outcome]}")
    return "; ".join(parts) + "."


def summary(checks: t.Sequence[Check]) -> dict[str, int]:
    """How many checks ended in which outcome."""
    counted: dict[str, int] = {}
    for check in checks:
        counted[check.outcome] = counted.get(check.outcome, 0) + 1
    return counted


HEADINGS = ("CLIENT", "TO", "OVER", "SEEN AS", "METHOD", "TLS", "OUTCOME", "EXPECTED", "MS")


def table(checks: t.Sequence[Check]) -> list[str]:
    """Aligned lines, the heading first; the last column but one says what was expected and whether it is so."""
    return aligned([HEADINGS, *(_row(check) for check in checks)])


def aligned(lines: t.Sequence[t.Sequence[str]]) -> list[str]:
    """Rows of equally many cells as lines with columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]


def _row(check: Check) -> tuple[str, ...]:
    client, evidence = check.client, check.evidence
    seen = evidence.address_seen or ("socket" if evidence.seen_known else "-")
    expected = "-" if client.expect is None else f"{client.expect} {'ok' if check.met else 'NO'}"
    return (
        visible(client.label),
        visible(destination(client)),
        client.transport,
        visible(seen),
        check.methods[0] if check.methods else "-",
        evidence.tls.version if evidence.tls else "-",
        check.outcome,
        expected,
        f"{evidence.total_ms:.0f}",
    )
