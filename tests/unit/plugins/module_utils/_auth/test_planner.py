# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rules may change, and who holds them back; what the target needs; findings; PgBouncer's file."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.access.plugins.module_utils._auth import findings, pgbouncer, planner, verifier
from ansible_collections.pgops.access.plugins.module_utils._auth.planner import Login, Request, Settings
from ansible_collections.pgops.access.plugins.module_utils._hba import ruleset
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Role, Server

MD5 = verifier.parse(verifier.make_md5("x", "r"))
SCRAM = verifier.parse(verifier.make("x", 1))
BAD = verifier.parse("clear")
SERVER = Server(15)
TO_SCRAM = Request(("md5", "password"), "scram-sha-256")


def judged(text: str, *logins: Login, request: Request = TO_SCRAM, server: Server = SERVER) -> planner.Audit:
    rules = ruleset.parse_text(text.encode(), server)
    assert rules.loads, rules.errors
    return planner.audit(rules.rules, logins, [Role(login.name) for login in logins], server, request)


def states(audit: planner.Audit) -> list[str]:
    return [verdict.state for verdict in audit.rules]


@pytest.mark.parametrize(
    ("role", "methods"),
    [
        (Login("r", verifier=MD5), {"password": "yes", "md5": "yes", "scram-sha-256": "no"}),
        (Login("r", verifier=SCRAM), {"password": "yes", "md5": "yes", "scram-sha-256": "yes"}),
        (Login("r"), {"password": "no", "md5": "no", "scram-sha-256": "no", "trust": "yes", "cert": "unknown", "peer": "unknown"}),
        (Login("r", verifier=BAD), {"password": "no", "md5": "no", "scram-sha-256": "no"}),
        (Login("r", verifier=SCRAM, expired=True), {"password": "no", "md5": "no", "scram-sha-256": "no", "trust": "yes"}),
        (Login("r", can_login=False, verifier=SCRAM), {"md5": "no", "scram-sha-256": "no", "trust": "no", "cert": "no"}),
        (Login("r", connection_limit=0, verifier=SCRAM), {"md5": "no", "trust": "no"}),
        (Login("r", connection_limit=0, superuser=True, verifier=SCRAM), {"md5": "yes"}),
    ],
)
def test_what_a_role_can_do(role: Login, methods: dict[str, str]) -> None:
    assert {method: planner.can(role, method).answer for method in methods} == methods


def test_one_md5_role_holds_back_what_it_reaches_and_nothing_else() -> None:
    text = "host all a all md5\nhost all b all md5\nhost all all 10.0.0.0/8 password\nhost all all all peer\n".replace("peer", "ident")
    audit = judged(text, Login("a", verifier=MD5), Login("b", verifier=SCRAM))
    assert states(audit) == ["held_back", "ready", "ready", "left_alone"]
    assert audit.rules[0].held_by == ("a",)
    assert audit.roles[0].holds_back == (0,)
    # the third and fourth rule are out of reach of both: their own rules take everything
    assert audit.roles[1].rules == (1,)


def test_roles_that_cannot_log_in_today_hold_nothing_back() -> None:
    out = (
        Login("a", verifier=MD5, can_login=False),
        Login("b", verifier=MD5, expired=True),
        Login("c"),
        Login("d", verifier=MD5, connection_limit=0),
        Login("e", verifier=BAD),
    )
    assert states(judged("host all all all md5\n", *out)) == ["ready"]


def test_done_and_chosen() -> None:
    text = "host all a all scram-sha-256\nhost all b all md5\nhost all c all md5\n"
    audit = judged(text, Login("b", verifier=SCRAM), request=TO_SCRAM._replace(chosen=frozenset({2})))
    assert states(audit) == ["done", "not_chosen", "ready"]


def test_the_way_back_needs_no_passwords() -> None:
    back = Request(("scram-sha-256",), "md5")
    assert states(judged("host all all all scram-sha-256\n", Login("a", verifier=SCRAM), request=back)) == ["ready"]


def test_trust_to_scram_waits_for_roles_without_a_password() -> None:
    request = Request(("trust",), "scram-sha-256")
    audit = judged("local all all trust\n", Login("a"), Login("b", verifier=SCRAM), Login("c", can_login=False), request=request)
    assert audit.rules[0].held_by == ("a",)


def test_what_no_server_knows_is_vouched_for_or_waits() -> None:
    request = Request(("md5",), "cert")
    text = "hostssl all all all md5\nhost all all all md5\n"
    waiting = judged(text, Login("a", verifier=MD5), request=request)
    assert states(waiting) == ["held_back", "impossible"]
    assert "only supported on hostssl" in waiting.rules[1].reason
    assert states(judged(text, Login("a", verifier=MD5), request=request._replace(vouched=True))) == ["ready", "impossible"]


def test_options_that_belong_to_no_method_stay() -> None:
    text = "hostssl all all all ldap ldapserver=x ldapprefix=u= clientcert=verify-ca\n"
    audit = judged(text, Login("a", verifier=SCRAM), request=Request(("ldap",), "scram-sha-256"))
    assert audit.rules[0].options == (("clientcert", "verify-ca"),)
    options = (("ldapserver", "y"), ("ldapbasedn", "dc=x"))
    there = judged("hostssl all all all md5 clientcert=verify-ca\n", request=Request(("md5",), "ldap", options))
    assert there.rules[0].options == (("clientcert", "verify-ca"), *options)
    assert there.rules[0].state == "ready"


@pytest.mark.parametrize(
    ("request_", "server", "settings", "words"),
    [
        (Request(("md5",), "cert"), Server(15, ssl=False), Settings("ca.pem"), "ssl is off"),
        (Request(("md5",), "cert"), SERVER, Settings(""), "ssl_ca_file"),
        (Request(("md5",), "cert"), SERVER, Settings("ca.pem"), ""),
        (Request(("md5",), "ldap"), SERVER, Settings(), "ldapserver"),
        (Request(("md5",), "ldap", (("ldapurl", "ldap:///dc=x"),)), SERVER, Settings(), "ldapserver"),
        (Request(("md5",), "ldap", (("ldapurl", "ldap://h/dc=x"),)), SERVER, Settings(), ""),
        (Request(("md5",), "ldap", (("ldapserver", "h"),)), Server(15, features=frozenset({"ssl"})), Settings(), "built without"),
        (Request(("md5",), "oauth"), SERVER, Settings(), "not a method of PostgreSQL 15"),
        (Request(("md5",), "radius"), Server(19), Settings(), "not a method of PostgreSQL 19"),
        (Request(("md5",), "peer", (("map", "m"),)), SERVER, Settings(maps=frozenset({"n"})), "no user name map 'm'"),
        (Request(("md5",), "peer", (("map", "m"),)), SERVER, Settings(maps=frozenset({"m"})), ""),
        (Request(("md5",), "sspi"), SERVER, Settings(), "built without"),
        (TO_SCRAM, SERVER, Settings(), ""),
    ],
)
def test_requirements(request_: Request, server: Server, settings: Settings, words: str) -> None:
    found = "; ".join(planner.requirements(request_, server, settings))
    assert words in found
    assert bool(words) == bool(found)


def test_the_file_of_pgbouncer() -> None:
    text = f'; comment\n"a" "{verifier.make_md5("x", "a")}"\n"b" "{verifier.make("x", 1)}"\n"c""c" "cl""ear"\n\n"d" ""\nbroken\n'
    found = pgbouncer.parse(text)
    assert [(entry.user, entry.kind) for entry in found.entries] == [
        ("a", "md5"),
        ("b", "scram-sha-256"),
        ('c"c', "clear"),
        ("d", "none"),
    ]
    assert found.unreadable == (7,)


def test_findings_about_poolers() -> None:
    file = pgbouncer.parse("".join(f'"{name}" "{verifier.make_md5("x", name)}"\n' for name in ("a", "b", "c", "gone")))
    logins = [Login("a", verifier=SCRAM), Login("b", verifier=MD5), Login("c", verifier=MD5)]
    found = findings.of_pooler(file, "users.txt", logins, {"b"})
    assert [(one.code, one.roles) for one in found] == [
        ("pooler_md5_broken", ("a",)),
        ("pooler_md5_in_the_way", ("b",)),
        ("pooler_md5", ("c",)),
    ]


def test_md5_on_the_wire_is_what_md5_roles_do_at_md5_rules() -> None:
    seen = [
        findings.Seen("a", "md5", "192.0.2.1", 3, 1.0),
        findings.Seen("a", "md5", None, 1, 2.0),
        findings.Seen("b", "md5", "192.0.2.2", 1, 1.0),  # an md5 rule runs SCRAM for b
        findings.Seen("c", "password", "192.0.2.3", 1, 1.0),
    ]
    logins = [Login("a", verifier=MD5), Login("b", verifier=SCRAM), Login("c", verifier=MD5)]
    found = findings.of_logs(seen, {"c": 2, "b": 1}, logins)
    assert [(one.code, one.roles) for one in found] == [("md5_on_the_wire", ("a",)), ("refused_by_scram", ("c",))]
    assert "192.0.2.1" in found[0].reason


def test_findings_about_roles() -> None:
    logins = [Login("a", verifier=BAD), Login("b", verifier=MD5, expired=True), Login("c", verifier=SCRAM), Login("d", verifier=MD5)]
    assert [(one.code, one.roles) for one in findings.of_roles(logins, 4096)] == [
        ("invalid_password", ("a",)),
        ("dormant_md5", ("b",)),
        ("few_iterations", ("c",)),
    ]
    audit = judged("host all all all scram-sha-256\n", *logins)
    assert [one.roles for one in findings.of_audit(audit)] == [("d",)]
