# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""An audit as data for machines and as tables for people. No verifier and no password is in either. Pure."""

from __future__ import annotations

import datetime
import typing as t

from .._auth import planner, verifier
from .._auth.planner import Audit, RoleVerdict, RuleVerdict
from .._server.report import aligned, visible
from . import hba_common
from .auth_method import LastLogin, Logs

SHOWN = 20
"""Names of roles that a rule's entry lists; each role's own entry says which rules wait for it."""
LINES = 200
"""Roles that the table for people lists; those that hold something back come first."""
TARGET = {planner.YES: "ready", planner.NO: "refused", planner.UNKNOWN: "unknown"}


def shown_roles(audit: Audit, logs: Logs, limit: int = 0) -> list[dict[str, t.Any]]:
    """One entry a role, in the order of their names; of more than ``limit`` (0: no limit) those that hold something back are the first."""
    verdicts: t.Sequence[RoleVerdict] = audit.roles
    if 0 < limit < len(verdicts):
        verdicts = sorted(verdicts, key=lambda one: (not one.holds_back, one.role.barred != ""))[:limit]
    return [_role(verdict, logs.last.get(verdict.role.name)) for verdict in verdicts]


def _role(verdict: RoleVerdict, last: LastLogin | None) -> dict[str, t.Any]:
    role = verdict.role
    return {
        "name": role.name,
        "password": role.verifier.kind,
        "iterations": role.verifier.iterations,
        "can_login": role.can_login,
        "superuser": role.superuser,
        "replication": role.replication,
        "connection_limit": role.connection_limit,
        "valid_until": role.valid_until,
        "expired": role.expired,
        "rules": [at + 1 for at in verdict.rules],
        "target": "cannot_log_in" if role.barred else TARGET[verdict.target.answer],
        "reason": verdict.target.reason,
        "holds_back": [at + 1 for at in verdict.holds_back],
        "last_login": None if last is None else {**last._asdict(), "time": _iso(last.time)},
    }


def shown_rules(audit: Audit, limit: int = 0) -> list[dict[str, t.Any]]:
    """One entry a rule, in load order; of more than ``limit`` (0: no limit) those that the move is about are kept first."""
    verdicts: t.Sequence[RuleVerdict] = audit.rules
    if 0 < limit < len(verdicts):
        verdicts = sorted(sorted(verdicts, key=lambda one: one.state == planner.LEFT_ALONE)[:limit], key=lambda one: one.at)
    return [
        {
            "number": verdict.at + 1,
            "file_name": hba_common.text_of(verdict.rule.file),
            "line_number": verdict.rule.line,
            "text": hba_common.text_of(hba_common.masked_line(verdict.rule.raw.strip())),
            "method": verdict.rule.method,
            "state": verdict.state,
            "reason": verdict.reason,
            "reached_by": verdict.reached_by,
            "held_back_by": list(verdict.held_by[:SHOWN]),
            "held_back_count": len(verdict.held_by),
        }
        for verdict in verdicts
    ]


def summary(audit: Audit) -> dict[str, t.Any]:
    """How many of what."""
    stored = dict.fromkeys(verifier.KINDS, 0)
    states = dict.fromkeys(planner.STATES, 0)
    for verdict in audit.roles:
        stored[verdict.role.verifier.kind] += 1
    for rule in audit.rules:
        states[rule.state] += 1
    return {"roles": stored, "rules": states, "md5_reachable": len(md5_reachable(audit))}


def md5_reachable(audit: Audit) -> list[str]:
    """Roles that log in with md5 over the wire today: a stored md5 password, and an md5 rule that they can hit."""
    return [
        verdict.role.name
        for verdict in audit.roles
        if verdict.role.verifier.kind == verifier.MD5
        and not verdict.role.expired
        and any(audit.rules[at].rule.method == "md5" for at in verdict.rules)
    ]


def table(audit: Audit, logs: Logs, to: str) -> list[str]:
    """Two aligned tables: rules that the change is about, then roles that can log in."""
    rules = [verdict for verdict in audit.rules if verdict.state != planner.LEFT_ALONE]
    lines = aligned([("LINE", "RULE", "REACHED BY", f"FOR {to.upper()}", "HELD BACK BY"), *(_rule_row(one) for one in rules)])
    roles = sorted((one for one in audit.roles if not one.role.barred), key=lambda one: (not one.holds_back, one.role.name))
    headings = ("ROLE", "PASSWORD", "EXPIRES", "RULES", "LAST LOGIN", f"UNDER {to.upper()}")
    rows = [_role_row(one, audit, logs.last.get(one.role.name)) for one in roles[:LINES]]
    more = [f"… and {len(roles) - LINES} more roles"] if len(roles) > LINES else []
    return [*lines, "", *aligned([headings, *rows]), *more]


def _rule_row(verdict: RuleVerdict) -> tuple[str, ...]:
    rule = verdict.rule
    held = ", ".join(visible(name) for name in verdict.held_by[:3])
    more = len(verdict.held_by) - 3
    return (
        str(rule.line),
        visible(hba_common.text_of(hba_common.masked_line(" ".join(rule.raw.partition("#")[0].split())))),
        str(verdict.reached_by),
        verdict.state,
        (f"{held} and {more} more" if more > 0 else held) or (verdict.reason if verdict.state == planner.IMPOSSIBLE else "-"),
    )


def _role_row(verdict: RoleVerdict, audit: Audit, last: LastLogin | None) -> tuple[str, ...]:
    role = verdict.role
    password = role.verifier.kind if role.verifier.iterations is None else f"{role.verifier.kind} ({role.verifier.iterations})"
    lines = [str(audit.rules[at].rule.line) for at in verdict.rules]
    seen = "-" if last is None else f"{_iso(last.time)} {last.method or '?'} from {last.address or 'the socket'}"
    under = (
        TARGET[verdict.target.answer]
        if verdict.target.answer == planner.YES
        else f"{TARGET[verdict.target.answer]}: {verdict.target.reason}"
    )
    return (
        visible(role.name),
        password,
        ("expired " if role.expired else "") + role.valid_until if role.valid_until else "-",
        f"{','.join(lines[:6])} …" if len(lines) > 6 else ",".join(lines) or "none",
        visible(seen),
        under,
    )


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
