# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""What is dead, weak or surprising about user name maps, with the rules of pg_hba.conf that use them where those are known."""

from __future__ import annotations

import typing as t

from . import catalog
from .errors import UnsupportedPattern
from .findings_base import Finding
from .ident import Mapping, group_problem, role_is_all, role_is_name
from .ident_effect import identity
from .model import LineError, Role, Rule, Server

CODES: dict[str, str] = {
    "not_loaded": "error",
    "map_without_group": "error",
    "map_missing": "error",
    "map_unused": "notice",
    "map_repeated": "notice",
    "map_plain_name": "warning",
    "map_superuser": "warning",
    "map_anybody": "warning",
    "map_unanchored": "warning",
    "map_unknown_role": "warning",
}
"""Every code with its severity."""


class _Found:
    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def add(self, code: str, where: Mapping | Rule | LineError, reason: str, remedy: str) -> None:
        """Record a finding about a line."""
        self.findings.append(Finding(code, CODES[code], where.file, where.line, reason, remedy))


def findings(
    mappings: t.Sequence[Mapping],
    *,
    server: Server,
    errors: t.Sequence[LineError] = (),
    roles: t.Sequence[Role] | None = None,
    rules: t.Sequence[Rule] | None = None,
) -> tuple[Finding, ...]:
    """Findings in the order of the lines, then those about rules. ``rules``: the accepted ones of pg_hba.conf; None: not known."""
    found = _Found()
    for error in errors:
        found.add(
            "not_loaded", error, f"the server refuses the line: {error.message}", "correct or remove it: no map of the file is loaded"
        )
    seen: dict[tuple[object, ...], Mapping] = {}
    names = None if roles is None else {role.name: role for role in roles}
    for mapping in mappings:
        other = seen.setdefault(identity(mapping, server), mapping)
        if other is not mapping:
            found.add("map_repeated", mapping, f"line {other.line} says the same", "remove one of the two")
            continue
        _judge(mapping, server, names, found)
    if rules is not None:
        _judge_use(mappings, rules, found)
    return tuple(found.findings)


def _judge(mapping: Mapping, server: Server, names: t.Mapping[str, Role] | None, found: _Found) -> None:
    text, role = mapping.system_user.text, mapping.role
    problem = group_problem(mapping, server)
    if problem:
        found.add("map_without_group", mapping, f"{problem}: whoever matches gets in by no later line of the map", "add the group")
    if server.major < catalog.REGEX_SINCE and not role.quoted and (role.text == "all" or role.text[:1] in ("+", "/")) and role.text != "+":
        reason = f"before {catalog.REGEX_SINCE}, {role.text} is the name of a role like any other"
        found.add("map_plain_name", mapping, reason, "name the roles, each on a line of its own")
        return
    if text.startswith("/"):
        _judge_pattern(mapping, server, found)
    elif role_is_all(role, server):
        reason = f"{text} may become every role, superusers too"
        found.add("map_anybody", mapping, reason, "name the roles, or a group as +role")
    if names is None or not role_is_name(role, server) or (text.startswith("/") and "\\1" in role.text):
        return
    if role.text not in names:
        found.add("map_unknown_role", mapping, f'role "{role.text}" does not exist', "create it, or remove the line")
    elif names[role.text].superuser and text.startswith("/"):
        found.add("map_superuser", mapping, f"whoever matches {text} may become the superuser {role.text}", "name the system users")


def _judge_pattern(mapping: Mapping, server: Server, found: _Found) -> None:
    """Expressions are looked for anywhere in the name: without anchors they admit more than they seem to."""
    from .regex import compile_pattern  # noqa: PLC0415 - only files with regular expressions pay for its import

    text = mapping.system_user.text
    try:
        everybody = compile_pattern(text[1:], major=server.major).search("")
    except (UnsupportedPattern, ValueError):
        everybody = False
    if everybody and role_is_all(mapping.role, server):
        found.add("map_anybody", mapping, f"{text} matches any system user, and each may become every role", "anchor it and name the roles")
    elif text[1:2] != "^" and not text.startswith("/(?"):
        reason = f"{text} is looked for anywhere in the system user's name, for it does not begin with ^"
        found.add("map_unanchored", mapping, reason, "begin it with ^ and end it with $")


def _judge_use(mappings: t.Sequence[Mapping], rules: t.Sequence[Rule], found: _Found) -> None:
    there = {mapping.map_name: mapping for mapping in reversed(mappings)}
    used: set[str] = set()
    for rule in rules:
        name = dict(rule.options).get("map", "")
        if name and name not in there and name not in used:
            reason = f'the rule uses the map "{name}", which has no entry: nobody gets in by it'
            found.add("map_missing", rule, reason, "add entries to the map, or correct its name in the rule")
        used.add(name)
    for name, mapping in there.items():
        if name not in used:
            found.add("map_unused", mapping, f'no rule uses the map "{name}"', f"name it in a rule as map={name}, or remove it")
