# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""What is dead, weak or surprising in a list of rules, each with its reason and a remedy.

``error``: access is not what the file seems to say, or anybody gets in. ``warning``: a rule never matches, or credentials or data
travel readable. ``notice``: worth knowing. Facts are PostgreSQL's (reference sections 3 to 6); the judgements are ours and stand
in docs/decisions/0034-findings.md. Time n log n in the rules.
"""

from __future__ import annotations

import re
import typing as t

from . import findings_access, findings_rule, lexer, model
from .coverage import UNTOUCHED, Coverage, Verdict, spans_of
from .findings_base import Finding, Judge, is_loopback, listed, place, world_families
from .roles import Memberships

__all__ = ["CODES", "Finding", "findings"]

CODES: dict[str, str] = {
    **findings_rule.CODES,
    **findings_access.CODES,
    "line-error": "error",
    "byte-order-mark": "error",
    "include-list": "warning",
    "shadowed": "warning",
    "reject-shadowed": "error",
    "partly-shadowed": "notice",
    "duplicate": "notice",
    "duplicate-other-method": "warning",
    "no-replication-entry": "notice",
}
"""Every code with its severity."""


def findings(
    rules: t.Sequence[model.Rule],
    *,
    server: model.Server,
    errors: t.Sequence[model.LineError] = (),
    roles: t.Sequence[model.Role] | None = None,
    texts: t.Mapping[str, bytes] | None = None,
) -> tuple[Finding, ...]:
    """Judge rules in load order. Results are in that order too, errors of lines and matters of whole files where they stand.

    ``roles`` lets memberships, superusers and unknown names count; without them the superuser is taken to be ``postgres``.
    ``texts``: the files' bytes by name, for what leaves no trace in rules (``include a,b``).
    """
    memberships = None if roles is None else Memberships(roles)
    coverage = Coverage(rules, server, memberships)
    judge = Judge(server, coverage, memberships, _superusers(roles), CODES)
    seen: dict[t.Tuple[t.Any, ...], int] = {}
    wide: list[model.Rule] = []
    for index, rule in enumerate(rules):
        reach = spans_of(rule.address)
        verdict = coverage.judge(rule, reach)
        judge.rule = rule
        judge.verdict = verdict
        judge.loopback, judge.families = is_loopback(rule, reach), world_families(rule, reach)
        if judge.loopback or judge.families:
            wide.append(rule)
        earlier = seen.setdefault(_same(rule), index)
        if earlier != index:
            _duplicate(judge, rules[earlier])
        elif verdict.dead:
            _shadowed(judge, rules, verdict)
        elif verdict is not UNTOUCHED:
            _partly(judge, verdict)
        findings_rule.check(judge)
        findings_access.check(judge)
        coverage.add(index, reach)
    findings_access.check_families(judge, wide)
    _replication(judge, rules)
    found = judge.found + [_line_error(error) for error in errors]
    for name, text in (texts or {}).items():
        found += _include_lists(name, text, server)
    return tuple(sorted(found, key=_order(rules, errors)))


def _superusers(roles: t.Sequence[model.Role] | None) -> tuple[str, ...]:
    return ("postgres",) if roles is None else tuple(sorted(role.name for role in roles if role.superuser))


def _order(rules: t.Sequence[model.Rule], errors: t.Sequence[model.LineError]) -> t.Callable[[Finding], t.Tuple[t.Any, ...]]:
    names = dict.fromkeys([*[rule.file for rule in rules], *[error.file for error in errors]])
    files = {file: number for number, file in enumerate(names)}
    return lambda finding: (files.get(finding.file, len(files)), finding.line, finding.code, finding.reason)


def _same(rule: model.Rule) -> t.Tuple[t.Any, ...]:
    where: t.Tuple[t.Any, ...] | None = None
    if rule.address is not None:
        at = rule.address
        where = (at.kind, at.family, at.value & at.mask, at.mask) if at.kind == "network" else (at.kind, at.text.lower())
    return (rule.type, _set_of(rule.databases), _set_of(rule.users), where)


def _set_of(field: model.Field) -> t.Hashable:
    """A comparable value for the set of a field's tokens: itself where it is one token."""
    tokens = field if len(field) == 1 else frozenset(field)
    return tokens if len(tokens) != 1 else next(iter(tokens))


def _duplicate(judge: Judge, earlier: model.Rule) -> None:
    rule = judge.rule
    if (earlier.method, sorted(earlier.options)) == (rule.method, sorted(rule.options)):
        judge.add("duplicate", f"It says the same as {place(earlier, rule)}.", "Remove one of them.")
    else:
        what = f'"{earlier.method}" there, "{rule.method}" here'
        if earlier.method == rule.method:
            what = "with other options"
        judge.add(
            "duplicate-other-method",
            f"{place(earlier, rule)} is for the same clients ({what}); the first one decides.".capitalize(),
            "Keep the one that is meant and remove the other.",
        )


def _shadowed(judge: Judge, rules: t.Sequence[model.Rule], verdict: Verdict) -> None:
    rule = judge.rule
    by = [rules[index] for index in verdict.by]
    where = ", ".join(place(other, rule) for other in by)
    reason = f"It never decides: {where} {'takes' if len(by) == 1 else 'together take'} every client that it matches."
    if not by:
        reason = "It never decides: earlier rules together take every client that it matches."
    if rule.method == "reject" and any(other.method != "reject" for other in by):
        judge.add("reject-shadowed", f"It refuses nobody. {reason}", "Move it above those rules, or remove it.")
    else:
        judge.add("shadowed", reason, "Move it above those rules, narrow them, or remove it.")


def _partly(judge: Judge, verdict: Verdict) -> None:
    parts = []
    if verdict.databases:
        parts.append(f"database {listed(verdict.databases)}")
    if verdict.users:
        parts.append(f"user {listed(verdict.users)}")
    if parts:
        judge.add(
            "partly-shadowed",
            f"For {' and '.join(parts)} it never decides: earlier rules take all those clients.",
            "Move it above those rules, or take the names out.",
        )


def _replication(judge: Judge, rules: t.Sequence[model.Rule]) -> None:
    """``all`` does not cover physical replication (reference 4.1)."""
    word = model.Token("replication")
    if not rules or any(rule.method != "reject" and word in rule.databases for rule in rules):
        return
    wide = [rule for rule in rules if rule.method != "reject" and model.Token("all") in rule.databases]
    if wide:
        judge.rule = wide[0]
        judge.add(
            "no-replication-entry",
            'No rule admits physical replication: the database "all" does not cover it, only the word replication does.',
            'If standbys, pg_basebackup or pg_receivewal connect here, add a rule with "replication" in the database column.',
        )


_REMEDIES: tuple[tuple[str, str], ...] = (
    ("end-of-line before netmask", "Write the address with a prefix length, such as 10.0.0.5/32."),
    ("specifying both host name and CIDR mask", "Write a numeric network, or the host name without a mask."),
    ("invalid CIDR mask", "Write a prefix length from 0 to 32 (IPv4) or 128 (IPv6)."),
    ("invalid IP mask", "Write the address with a prefix length, such as 10.0.0.5/32."),
    (
        "invalid connection type",
        "Use local, host, hostssl, hostnossl, hostgssenc or hostnogssenc, in lower case; include needs 16 or later.",
    ),
    ("invalid authentication method", "Check the method's spelling, and that the line has the right number of columns for its type."),
    ("invalid regular expression", "Quote an expression that holds a comma or blank, and check its brackets."),
    ("multiple values specified", "Only databases, users and options are lists; a comma joins what follows it to the column."),
    ("peer authentication", 'Use "local" for peer; over TCP use scram-sha-256.'),
    ("cert authentication", 'Use "hostssl" for cert.'),
    ("could not open", "Create the file, correct its name, or remove the reference."),
    ("end-of-line", "Complete the line: type, database, user, address unless local, method."),
)


def _line_error(error: model.LineError) -> Finding:
    if error.raw.startswith("\ufeff"):
        reason = "The file begins with a byte order mark, which the server reads as part of the first word; the file does not load."
        return Finding("byte-order-mark", "error", error.file, error.line, reason, "Save the file as UTF-8 without a byte order mark.")
    remedy = next((remedy for start, remedy in _REMEDIES if start in error.message), "Correct or remove the line.")
    reason = f"The server refuses it, and with it the whole file: {error.message}."
    return Finding("line-error", "error", error.file, error.line, reason, error.hint or remedy)


_INCLUDE = re.compile(r"^[ \t\r,\"]*include(?:_if_exists|_dir)?[\", \t\r]", re.MULTILINE)


def _include_lists(name: str, raw: bytes, server: model.Server) -> list[Finding]:
    """``include a,b`` loads only ``a`` (reference 2.1)."""
    text = model.decode(raw)
    if server.major < 16 or not _INCLUDE.search(text):
        return []
    found = []
    for line in lexer.logical_lines(raw, server):
        fields = lexer.tokenize(line.text, server)
        if len(fields) == 2 and fields[0][0].text in ("include", "include_if_exists", "include_dir"):
            extra = [*fields[0][1:], *fields[1][1:]]
            if extra:
                reason = f"Only {fields[1][0].text} is included; {listed([token.text for token in extra])} is silently ignored."
                found.append(Finding("include-list", "warning", name, line.line, reason, "Write one include line for each file."))
    return found
