# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts from evidence: what real servers cannot be made to say in every test run, and what expectations mean."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.pgops.access.plugins.module_utils._server import outcome as verdicts
from ansible_collections.pgops.access.plugins.module_utils._server.conversation import Evidence, server_major
from ansible_collections.pgops.access.plugins.module_utils._server.wire import ServerMessage


def refused(sqlstate: str, message: str, routine: str = "", **more: t.Any) -> Evidence:
    return Evidence(stage="authenticate", error=ServerMessage("FATAL", sqlstate, message, routine=routine), **more)


@pytest.mark.parametrize(
    ("message", "method"),
    [
        ("GSSAPI authentication failed", "gss"),
        ("SSPI authentication failed", "sspi"),
        ("PAM authentication failed", "pam"),
        ("BSD authentication failed", "bsd"),
        ("LDAP authentication failed", "ldap"),
        ("RADIUS authentication failed", "radius"),
        ("OAuth bearer authentication failed", "oauth"),
        ("Peer authentication failed", "peer"),
        ("Ident authentication failed", "ident"),
        ("certificate authentication failed", "cert"),
        ('"trust" authentication failed', "trust"),
    ],
)
def test_methods_that_fail_by_name(message: str, method: str) -> None:
    evidence = refused("28000", f'{message} for user "u"', "auth_failed")
    assert verdicts.outcome(evidence) == "authentication_failed"
    assert verdicts.methods(evidence, "authentication_failed") == (method,)


@pytest.mark.parametrize(
    ("sqlstate", "message", "expected"),
    [
        ("57P03", "the database system is starting up", "starting_up"),
        ("57P03", "the database system is not yet accepting connections", "starting_up"),
        ("57P03", "the database system is in recovery mode", "starting_up"),
        ("57P03", "the database system is shutting down", "shutting_down"),
        ("53300", "sorry, too many clients already", "too_many_connections"),
        ("53300", "remaining connection slots are reserved for roles with the SUPERUSER attribute", "too_many_connections"),
        ("F0000", "client certificates can only be checked if a root certificate store is available", "server_error"),
        ("42501", "permission denied to start WAL sender", "may_not_replicate"),
        ("08P01", "no such database: orders", "server_error"),
        ("", "", "server_error"),
    ],
)
def test_what_the_server_says(sqlstate: str, message: str, expected: str) -> None:
    assert verdicts.outcome(refused(sqlstate, message)) == expected


def test_a_role_whose_name_quotes_another_message() -> None:
    """The user's name is part of the message; it must not decide."""
    name = "x pg_hba.conf rejects"
    assert verdicts.outcome(refused("28P01", f'password authentication failed for user "{name}"', "auth_failed")) == "wrong_password"
    entry = refused("28000", f'no pg_hba.conf entry for host "h", user "{name}", database "d", no encryption', "ClientAuthentication")
    assert verdicts.outcome(entry) == "no_entry"
    rejected = refused(
        "28000", 'pg_hba.conf rejects connection for host "h", user "no pg_hba.conf entry", database "d"', "ClientAuthentication"
    )
    assert verdicts.outcome(rejected) == "rejected"
    unknown = refused("28000", 'role "no pg_hba.conf entry" does not exist', "InitializeSessionUserId")
    assert verdicts.outcome(unknown) == "unknown_role"


@pytest.mark.parametrize(
    ("identity", "requests", "methods"),
    [
        ("scram-sha-256:u", ["scram-sha-256"], ("scram-sha-256",)),
        ("md5:u", ["scram-sha-256"], ("scram-sha-256", "md5")),
        ("md5:u", ["md5"], ("md5",)),
        ("ldap:cn=u", ["password"], ("ldap",)),
        ("password:u", ["password"], ("password",)),
        (None, [], ("trust",)),
        ("peer:root", [], ("peer",)),
        ("oauth:u", ["oauth"], ("oauth",)),
    ],
)
def test_system_user_names_the_method(identity: str | None, requests: list[str], methods: tuple[str, ...]) -> None:
    evidence = Evidence(requests=requests, authenticated=True, logged_in=True, identity=identity, identity_known=True, transport="local")
    assert verdicts.methods(evidence, "allowed") == methods


def test_peer_is_likelier_for_a_user_of_that_name() -> None:
    evidence = Evidence(transport="local", authenticated=True, logged_in=True)
    assert verdicts.methods(evidence, "allowed", user_is_os_user=True) == ("peer", "trust")
    assert verdicts.methods(evidence, "allowed") == ("trust", "peer")


@pytest.mark.parametrize(
    ("expect", "result", "possible", "password", "met"),
    [
        ("allowed", "allowed", ["trust"], False, True),
        ("allowed", "asked", ["md5"], False, True),
        ("allowed", "asked", ["gss"], True, False),
        ("allowed", "wrong_password", ["md5"], True, False),
        ("md5", "allowed", ["scram-sha-256", "md5"], True, True),
        ("md5", "allowed", ["scram-sha-256"], True, False),
        ("scram-sha-256", "asked", ["scram-sha-256", "md5"], False, True),
        ("scram-sha-256", "wrong_password", ["scram-sha-256", "md5"], True, False),
        ("scram-sha-256", "allowed", ["md5"], True, False),
        ("gss", "asked", ["gss"], True, True),
        ("trust", "no_entry", [], False, False),
        ("reject", "rejected", ["reject"], False, True),
        ("rejected", "rejected", ["reject"], False, True),
        ("rejected", "no_entry", [], False, False),
        ("rejected", "denied", [], False, False),
        ("no_entry", "no_entry", [], False, True),
        ("no_entry", "tls_required", [], False, True),
        ("no_entry", "rejected", ["reject"], False, False),
        ("refused", "rejected", ["reject"], False, True),
        ("refused", "no_entry", [], False, True),
        ("refused", "tls_forbidden", [], False, True),
        ("refused", "denied", [], False, True),
        ("refused", "wrong_password", ["md5"], True, False),
        ("refused", "connection_refused", [], False, False),
        ("refused", "timed_out", [], False, False),
        ("unreachable", "timed_out", [], False, True),
        ("unreachable", "connection_refused", [], False, True),
        ("unreachable", "no_entry", [], False, False),
        ("connection_refused", "timed_out", [], False, False),
        ("wrong_password", "wrong_password", ["md5"], True, True),
        ("tls_required", "no_entry", [], False, False),
    ],
)
def test_expectations(expect: str, result: str, possible: list[str], password: bool, met: bool) -> None:
    assert verdicts.meets(expect, result, possible, password) is met


def test_a_reject_rule_may_be_how_tls_is_required() -> None:
    assert verdicts.meets("tls_required", "rejected", ["reject"], False, otherwise_let_in=True)
    assert not verdicts.meets("tls_required", "rejected", ["reject"], False)


def test_every_outcome_is_explained() -> None:
    assert set(verdicts.OUTCOMES) - set(verdicts.NEXT) == {"skipped"}
    assert set(verdicts.FAILURES.values()) <= set(verdicts.OUTCOMES)
    assert set(verdicts.OUTCOMES) >= verdicts.RULE_REACHED
    for group in verdicts.GROUPS.values():
        assert group <= set(verdicts.OUTCOMES)


def test_an_expectation_and_a_method_never_share_a_name() -> None:
    assert not set(verdicts.METHODS) & (set(verdicts.OUTCOMES) | set(verdicts.GROUPS))


@pytest.mark.parametrize(
    ("version", "major"),
    [("16.2 (Debian 16.2-1)", 16), ("18beta1", 18), ("19devel", 19), ("bouncer", 0), ("", 0), ("9" * 5000, 999), ("²", 0)],
)
def test_server_major(version: str, major: int) -> None:
    assert server_major(version) == major
