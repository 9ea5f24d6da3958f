# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""findings(): each code where it belongs and not where it does not; claims of dead rules against effect()."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba import ruleset
from ansible_collections.pgops.access.plugins.module_utils._hba.effect import effect
from ansible_collections.pgops.access.plugins.module_utils._hba.findings import CODES, Finding, findings
from ansible_collections.pgops.access.plugins.module_utils._hba.model import ALL_FEATURES, Role, Rule, Server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SIXTEEN = Server(16)


def found(text: str, *, server: Server = SIXTEEN, roles: t.Sequence[Role] | None = None) -> list[Finding]:
    raw = text.encode("utf-8", "surrogateescape")
    rules = ruleset.parse_text(raw, server)
    return list(findings(rules.rules, server=server, errors=rules.errors, roles=roles, texts={"pg_hba.conf": raw}))


def codes(text: str, **kwargs: t.Any) -> set[tuple[int, str]]:
    return {(finding.line, finding.code) for finding in found(text, **kwargs)}


LONG = "n" * 64
NO_GSS = Server(16, features=ALL_FEATURES - {"gssapi"})

# (file, line, code, a file that differs as little as possible and has no such finding there)
CASES: list[tuple[str, int, str, str]] = [
    ("local all all\n", 1, "line-error", "local all all peer\n"),
    ("\ufefflocal all all peer\n", 1, "byte-order-mark", "local all all peer\n"),
    ("include a,b\n", 1, "include-list", "include a\n"),
    ("host all all all reject\nhost d u 10.0.0.0/8 md5\n", 2, "shadowed", "host d2 all all reject\nhost d u 10.0.0.0/8 md5\n"),
    (
        "host d u 10.0.0.0/9 md5\nhost d u 10.128.0.0/9 md5\nhost d u 10.0.0.0/8 trust\n",
        3,
        "shadowed",
        "host d u 10.0.0.0/9 md5\nhost d u 10.128.0.0/10 md5\nhost d u 10.0.0.0/8 trust\n",
    ),
    (
        "hostssl d u 10.0.0.0/8 md5\nhostnossl d u 10.0.0.0/8 md5\nhost d u 10.0.0.0/9 trust\n",
        3,
        "shadowed",
        "hostssl d u 10.0.0.0/8 md5\nhostgssenc d u 10.0.0.0/8 md5\nhost d u 10.0.0.0/9 trust\n",
    ),
    ("host sameuser all all md5\nhost u u 10.0.0.0/8 md5\n", 2, "shadowed", "host sameuser all all md5\nhost d u 10.0.0.0/8 md5\n"),
    ("host d /^ap all md5\nhost d app all trust\n", 2, "shadowed", "host d /^ap$ all md5\nhost d app all trust\n"),
    (
        "host d all h.example.org md5\nhost d u H.example.org trust\n",
        2,
        "shadowed",
        "host d all h.example.org md5\nhost d u i.example.org trust\n",
    ),
    ("host d all samenet md5\nhost d u samehost trust\n", 2, "shadowed", "host d all samehost md5\nhost d u samenet trust\n"),
    (
        "host all u 10.1.0.0/16 md5\nhost all u 10.1.2.3/32 reject\n",
        2,
        "reject-shadowed",
        "host all u 10.1.2.3/32 reject\nhost all u 10.1.0.0/16 md5\n",
    ),
    ("host a all all md5\nhost a,b all all trust\n", 2, "partly-shadowed", "host c all all md5\nhost a,b all all trust\n"),
    ("host a u all md5\nhost a u 0.0.0.0/0 md5\n", 2, "shadowed", "host a u 0.0.0.0/0 md5\nhost a u all md5\n"),
    ("host a,b u 10.0.0.1/8 md5\nhost b,a u 10.0.0.0/8 md5\n", 2, "duplicate", "host a,b u 10.0.0.1/8 md5\nhost b,a u 11.0.0.0/8 md5\n"),
    (
        "host a u 10.0.0.0/8 md5\nhost a u 10.0.0.0/8 trust\n",
        2,
        "duplicate-other-method",
        "host a u 10.0.0.0/8 md5\nhost a v 10.0.0.0/8 trust\n",
    ),
    ("host all all 10.0.0.0/8 md5\n", 1, "no-replication-entry", "host all,replication all 10.0.0.0/8 md5\n"),
    (f"local {LONG} all peer\n", 1, "name-too-long", f"local {LONG[1:]} all peer\n"),
    ('local "" all peer\n', 1, "never-matches", "local all all peer\n"),
    ("local ALL all peer\n", 1, "keyword-case", 'local "ALL" all peer\n'),
    ("local all sameuser peer\n", 1, "keyword-misplaced", 'local all "sameuser" peer\n'),
    ("local +dba all peer\n", 1, "keyword-misplaced", "local all +dba peer\n"),
    ("local all /^app peer\n", 1, "regex-unanchored", "local all /^app$ peer\n"),
    ("host all all 010.0.0.0/8 md5\n", 1, "octal-address", "host all all 10.0.0.0/8 md5\n"),
    ("host all all 10/8 md5\n", 1, "short-address", "host all all 0.0.0.10/8 md5\n"),
    ("host all all 10.0.0.5/24 md5\n", 1, "host-bits", "host all all 10.0.0.0/24 md5\n"),
    ("host all all 10.0.0.0 255.0.255.0 md5\n", 1, "mask-not-contiguous", "host all all 10.0.0.0 255.255.255.0 md5\n"),
    ("host all all 10.0.0.0 0.0.0.255 md5\n", 1, "mask-inverted", "host all all 10.0.0.0 255.255.255.0 md5\n"),
    ("host all all 300.1.1.1 md5\n", 1, "address-typo", "host all all 30.1.1.1/32 md5\n"),
    ("host all all ALL md5\n", 1, "address-typo", "host all all all md5\n"),
    ('host all all "all" md5\n', 1, "address-typo", "host all all all md5\n"),
    ("host all all *.example.org md5\n", 1, "address-typo", "host all all .example.org md5\n"),
    ("host all all a.example.org. md5\n", 1, "address-typo", "host all all a.example.org md5\n"),
    ("host all all ::ffff:10.0.0.1/128 md5\n", 1, "mapped-address", "host all all 10.0.0.1/32 md5\n"),
    ("local all all peer map=a map=b\n", 1, "option-repeated", "local all all peer map=a\n"),
    ("host all all all gss include_realm=true\n", 1, "option-boolean", "host all all all gss include_realm=1\n"),
    ("local\rall all peer\n", 1, "carriage-return", "local all all peer\r\n"),
    ("host all all 10.0.0.0/8 trust\n", 1, "trust-network", "host all all 127.0.0.0/8 trust\n"),
    ("hostssl all all 10.0.0.0/8 trust\n", 1, "trust-network", "hostssl all all 10.0.0.0/8 trust clientcert=verify-full\n"),
    ("host all all ::1/128 trust\n", 1, "trust-local", "host all all ::1/128 md5\n"),
    ("host all all 10.0.0.0/8 password\n", 1, "cleartext-password", "hostssl all all 10.0.0.0/8 password\n"),
    ("host all all 10.0.0.0/8 pam\n", 1, "cleartext-password", "hostnossl all all all reject\nhost all all 10.0.0.0/8 pam\n"),
    ("host all all 10.0.0.0/8 scram-sha-256\n", 1, "unencrypted", "host all all 127.0.0.1/32 scram-sha-256\n"),
    ("local all all md5\n", 1, "md5", "local all all scram-sha-256\n"),
    ("host all all 10.0.0.0/8 ident\n", 1, "ident-network", "local all all ident\n"),
    ("host all all 0.0.0.0/0 md5\n", 1, "world-open", "host all all 0.0.0.0/0 reject\n"),
    ("host all all all md5\n", 1, "superuser-world", "host all postgres all reject\nhost all app all md5\n"),
    ("host all all all md5\n", 1, "superuser-world", "host all app all md5\n"),
    ("host all all 0.0.0.0/0 md5\n", 1, "one-family", "host all all 0.0.0.0/0 md5\nhost all all ::/0 md5\n"),
    ("host all all 127.0.0.1/32 md5\n", 1, "one-family", "host all all 127.0.0.1/32 md5\nhost all all ::1/128 scram-sha-256\n"),
    ("host all all samenet md5\n", 1, "samenet", "host all all samehost md5\n"),
    ("host all replicator 10.0.0.0/8 md5\n", 1, "all-without-replication", "host replication replicator 10.0.0.0/8 md5\n"),
]


@pytest.mark.parametrize(("text", "line", "code", "harmless"), CASES, ids=[f"{number}-{case[2]}" for number, case in enumerate(CASES)])
def test_a_code_and_its_nearest_harmless_file(text: str, line: int, code: str, harmless: str) -> None:
    """Every finding is about the difference, not about everything."""
    assert (line, code) in codes(text)
    assert (line, code) not in codes(harmless)


def test_every_code_has_a_case() -> None:
    """A code nobody can meet would be a lie in the documentation."""
    elsewhere = {"regex-is-literal", "unknown-role", "radius"}
    assert {case[2] for case in CASES} | elsewhere == set(CODES)


def test_what_the_server_decides() -> None:
    """Major version, settings and build change what is worth saying."""
    md5 = "local all all md5\n"
    assert [finding.severity for finding in found(md5, server=Server(18)) if finding.code == "md5"] == ["warning"]
    assert [finding.severity for finding in found(md5, server=Server(15)) if finding.code == "md5"] == ["notice"]
    assert (1, "regex-is-literal") in codes("local all /^a peer\n", server=Server(15))
    assert (1, "regex-unanchored") not in codes("local all /^a peer\n", server=Server(15))
    assert (1, "never-matches") in codes("hostssl all all all md5\n", server=Server(16, ssl=False))
    assert (1, "unencrypted") not in codes("host all all 10.0.0.0/8 md5\n", server=Server(16, ssl=False))
    assert (1, "never-matches") in codes("hostgssenc all all all md5\n", server=NO_GSS)
    assert (1, "never-matches") not in codes("hostgssenc all all all md5\n")
    radius = 'host all all 10.0.0.0/8 radius radiusservers="127.0.0.1" radiussecrets="s"\n'
    assert (1, "radius") in codes(radius)
    assert (1, "include-list") not in codes("include a,b\n", server=Server(15))


def test_what_roles_add() -> None:
    """Memberships make names of groups, superusers are known by flag, unknown names are named."""
    roles = [Role("boss", True), Role("app", member_of=("apps",)), Role("apps"), Role("postgres")]
    text = "host all +apps all md5\nhost all app 10.0.0.0/8 md5\n"
    assert (2, "shadowed") not in codes(text)
    assert (2, "shadowed") in codes(text, roles=roles)
    assert (1, "unknown-role") in codes("local all ghost peer\n", roles=roles)
    assert (1, "unknown-role") not in codes("local all app,+apps,all peer\n", roles=roles)
    assert (1, "superuser-world") in codes("host all boss all md5\n", roles=roles)
    assert (1, "superuser-world") not in codes("host all postgres all md5\n", roles=roles)
    assert (2, "superuser-world") not in codes("host all boss all reject\nhost all all all md5\n", roles=roles)


def test_the_rule_responsible_is_named() -> None:
    """One earlier rule where one suffices, several where it takes several."""
    text = "host d u 10.0.0.0/9 md5\nhost d u 10.128.0.0/9 md5\nhost d u 10.0.0.0/8 trust\nhost d u 10.2.0.0/16 trust\n"
    reasons = {finding.line: finding.reason for finding in found(text) if finding.code == "shadowed"}
    assert "line 1, line 2 together take" in reasons[3]
    assert "line 1 takes" in reasons[4]


def test_findings_stand_in_the_order_of_the_file() -> None:
    """Errors of lines stand where the lines are."""
    lines = [finding.line for finding in found("host all all 10.0.0.5/8 md5\nbad\nhost all all 300.1.1.1 md5\n")]
    assert lines == sorted(lines)
    assert set(lines) == {1, 2, 3}


def test_as_dict() -> None:
    """The shape that modules return."""
    assert found("bad\n")[-1].as_dict().keys() == {"code", "severity", "file", "line", "reason", "remedy"}


@given(st.binary(max_size=300), st.sampled_from([12, 15, 16, 18]))
@settings(max_examples=200, deadline=None)
def test_any_bytes(raw: bytes, major: int) -> None:
    """Whatever a file holds, findings are an answer and not an exception."""
    server = Server(major)
    rules = ruleset.parse_text(raw, server)
    for finding in findings(rules.rules, server=server, errors=rules.errors, texts={"pg_hba.conf": raw}):
        assert finding.severity in ("error", "warning", "notice")
        assert finding.reason
        assert finding.remedy


COLUMN = st.lists(st.sampled_from(["all", "a", "b", "replication", "sameuser"]), min_size=1, max_size=2, unique=True).map(",".join)
USER = st.lists(st.sampled_from(["all", "a", "u", "+g"]), min_size=1, max_size=2, unique=True).map(",".join)
NETWORK = st.sampled_from(["10.0.0.0/30", "10.0.0.0/31", "10.0.0.2/31", "10.0.0.3/32", "0.0.0.0/0", "::/0", "all", "samenet", "h.org"])
LINE = st.builds(
    "{} {} {} {} {}".format,
    st.sampled_from(["host", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"]),
    COLUMN,
    USER,
    NETWORK,
    st.sampled_from(["reject", "md5", "trust"]),
)
DEAD = {"shadowed", "reject-shadowed", "duplicate", "duplicate-other-method"}


@given(st.lists(LINE, min_size=1, max_size=8))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_dead_rules_are_dead_and_no_others(lines: list[str]) -> None:
    """A rule is dead exactly when giving it a method that no other rule has changes nothing for anybody."""
    server = Server(16)
    rules = ruleset.parse_text("".join(line + "\n" for line in lines).encode(), server).rules
    claimed = {finding.line for finding in findings(rules, server=server) if finding.code in DEAD}
    dead: set[int] = set()
    for index, rule in enumerate(rules):
        other: list[Rule] = [*rules[:index], rule._replace(method="ldap"), *rules[index + 1 :]]
        if not effect(rules, other, server=server):
            dead.add(rule.line)
    assert claimed == dead, lines
