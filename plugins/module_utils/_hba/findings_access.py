# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Findings about what a rule lets happen: who gets in from where, and what travels readable."""

from __future__ import annotations

import re
import typing as t

from .coverage import EVERYWHERE, spans_of
from .effect_rules import TYPE_TRANSPORTS
from .findings_base import Judge, is_loopback, listed, world_families
from .model import Rule, Token

CODES: dict[str, str] = {
    "trust-network": "error",
    "trust-local": "notice",
    "cleartext-password": "warning",
    "md5": "notice",
    "radius": "notice",
    "ident-network": "warning",
    "unencrypted": "notice",
    "world-open": "warning",
    "superuser-world": "warning",
    "one-family": "notice",
    "samenet": "notice",
    "all-without-replication": "notice",
}

PASSED_ON = {"password", "ldap", "pam", "bsd", "radius"}
"""Methods for which the client sends its password readable (auth.c: CheckPasswordAuth and the recv_password_packet callers)."""
ALL = Token("all")
REPLICATION = Token("replication")
_REPLICATOR = re.compile(r"repl|standby|basebackup", re.IGNORECASE)


def check(judge: Judge) -> None:
    """All checks of this file, for the rule at hand. Dead rules let nothing happen."""
    rule = judge.rule
    if rule.method == "reject" or judge.verdict.dead:
        return
    if rule.method == "trust":
        _trust(judge)
    elif rule.method != "scram-sha-256":
        _method(judge)
    if not judge.loopback:
        _transport(judge)
        if judge.families:
            _world(judge)
    if rule.address is not None and rule.address.kind == "samenet":
        judge.add(
            "samenet",
            "samenet covers the networks of all interfaces, those of container bridges and tunnels and 127.0.0.0/8 included.",
            "Write the networks that are meant.",
        )
    if rule.databases == (ALL,):
        names = [token.text for token in rule.users if token != ALL and _REPLICATOR.search(token.text)]
        if names:
            judge.add(
                "all-without-replication",
                f'The database "all" does not cover physical replication, which user {listed(names)} seems to be for.',
                "Add a rule with replication in the database column.",
            )


def _method(judge: Judge) -> None:
    rule, major = judge.rule, judge.server.major
    if rule.method == "md5":
        reason = "The method md5 is deprecated since PostgreSQL 18" if major >= 18 else "PostgreSQL 18 deprecates the method md5"
        judge.add(
            "md5",
            f"{reason}; roles whose stored password is SCRAM use SCRAM already.",
            "Re-hash the passwords that are left, then write scram-sha-256.",
            "warning" if major >= 18 else None,
        )
    elif rule.method == "radius":
        judge.add(
            "radius",
            "PostgreSQL 19 has no method radius.",
            "Move to another method before that upgrade.",
            "warning" if major >= 18 else None,
        )
    elif rule.method == "ident" and not judge.loopback:
        judge.add(
            "ident-network",
            "ident believes what the client's own host says about its users.",
            "Use scram-sha-256 or cert.",
        )


def _trust(judge: Judge) -> None:
    rule = judge.rule
    if dict(rule.options).get("clientcert") == "verify-full":
        return  # a certificate for the very user is asked for
    if rule.address is None or judge.loopback:
        judge.add(
            "trust-local",
            "Anybody with an account on the server's host becomes any of these users without a password.",
            "Use peer for the socket, scram-sha-256 for loopback addresses.",
        )
    else:
        judge.add(
            "trust-network", "Anybody who reaches the server over the network gets in without a password.", "Use scram-sha-256 or cert."
        )


def _transport(judge: Judge) -> None:
    """Only where no earlier rule takes all clients without TLS, as a hostnossl reject above does."""
    rule = judge.rule
    if "tcp" not in TYPE_TRANSPORTS[rule.type] or not judge.verdict.cleartext:
        return
    if rule.method in PASSED_ON:
        judge.add(
            "cleartext-password",
            f"With {rule.method} the client sends its password readable, and this rule allows connections without TLS.",
            "Write hostssl, or use scram-sha-256.",
        )
    elif judge.server.ssl and "ssl" in judge.server.features and rule.method != "trust":
        judge.add(
            "unencrypted",
            "The server has TLS, but this rule also admits clients without it: their queries and data travel readable.",
            "Write hostssl, or put a hostnossl reject rule above.",
        )


def _world(judge: Judge) -> None:
    rule = judge.rule
    strong = rule.type == "hostssl" and (rule.method in ("cert", "gss") or "clientcert" in dict(rule.options))
    if not strong:
        judge.add(
            "world-open",
            "Every address may try to log in.",
            "Name the networks that clients come from.",
            "notice" if rule.type == "hostssl" else None,
        )
    reached = [name for name in judge.superusers if _reaches(judge, name)]
    if reached and not strong:
        judge.add(
            "superuser-world",
            f"The superuser {listed(reached)} can log in from every address.",
            f"Put a rule above that rejects {'it' if len(reached) == 1 else 'them'} from outside, or name the users that need access.",
        )


def _reaches(judge: Judge, name: str) -> bool:
    """Whether the rule decides for a superuser from everywhere, in some database, on some transport."""
    rule, coverage = judge.rule, judge.coverage
    databases, users = coverage.words(rule)
    wide = coverage.wide_user(name)
    if not any(word in wide for word in users):
        return False
    spans = [span for span in spans_of(rule.address)[0] if span in EVERYWHERE]
    return any(
        not coverage.covers(number, database, "=" + name, (span,))
        for number in coverage.classes(rule)
        for database in databases[:20]
        for span in spans
        if database != "*replication"
    )


def check_families(judge: Judge, rules: t.Sequence[Rule]) -> None:
    """All of IPv4 admitted but none of IPv6 for the same clients, or the reverse; likewise for refusing rules and loopback.

    ``rules`` are those that admit or refuse a family whole, or loopback.
    """
    groups: dict[t.Tuple[t.Any, ...], dict[int, Rule]] = {}
    for rule in rules:
        reach = spans_of(rule.address)
        whole = world_families(rule, reach)
        kind = "world"
        if not whole and rule.address is not None and rule.address.kind == "network" and is_loopback(rule, reach):
            whole, kind = (rule.address.family or 4,), "loopback"
        for family in whole:
            groups.setdefault((kind, rule.type, rule.method == "reject", rule.databases, rule.users), {}).setdefault(family, rule)
    for (kind, _type, refuses, _databases, _users), families in groups.items():
        if len(families) == 1:
            family, rule = next(iter(families.items()))
            other = 10 - family
            entry = {("world", 4): "0.0.0.0/0", ("world", 6): "::/0", ("loopback", 4): "127.0.0.1/32", ("loopback", 6): "::1/128"}[
                kind, other
            ]
            judge.rule = rule
            judge.add(
                "one-family",
                f"It covers IPv{family} only; no rule like it {'refuses' if refuses else 'admits'} the same clients over IPv{other}.",
                f"Add the same rule for {entry}" + (", or write all as the address." if kind == "world" else "."),
                "warning" if refuses and kind == "world" else None,
            )
