# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings → rules of the section: what is written, what falls back, what refuses."""

from __future__ import annotations

import dataclasses

import pytest
from pgops._hba import plan, ruleset
from pgops._hba.model import Server
from pgops.entrypoint import access
from pgops.entrypoint.settings import Access, SettingsError

FIFTEEN = Server(15)


def lines(server: Server = FIFTEEN, client_ca: bool = False, **fields) -> tuple[list[str], list[str]]:
    """The section's lines, blanks squeezed, and the messages' texts."""
    wanted = access.wanted(dataclasses.replace(Access(), **fields), server, client_ca=client_ca)
    made = plan.planner(plan.Request(rules=wanted.rules, section=access.SECTION), server)(b"local all postgres peer\n").after
    assert ruleset.parse_text(made, server).loads
    texts = [" ".join(line.split()) for line in made.decode().splitlines()]
    assert texts[0] == "local all postgres peer"
    assert texts[1] == "# BEGIN pgops.access section: external-access"
    return texts[2:-1], [message.text for message in wanted.messages]


def test_the_default_opens_both_families_with_md5():
    assert lines() == (["host all all 0.0.0.0/0 md5", "host all all ::/0 md5"], [])


def test_closed_is_an_empty_section():
    assert lines(enabled=False) == ([], [])


@pytest.mark.parametrize("method", ["md5", "scram-sha-256", "reject"])
def test_plain_methods(method):
    assert lines(methods=(method,)) == ([f"host all all 0.0.0.0/0 {method}", f"host all all ::/0 {method}"], [])


def test_password_is_honoured_and_warned_of_without_tls():
    rules, said = lines(methods=("password",))
    assert rules[0] == "host all all 0.0.0.0/0 password"
    assert len(said) == 1
    assert "clear text" in said[0]
    rules, said = lines(methods=("password",), tls_required=True)
    assert rules[0] == "hostssl all all 0.0.0.0/0 password"
    assert said == []


def test_trust_needs_the_word():
    rules, said = lines(methods=("trust",))
    assert rules == ["host all all 0.0.0.0/0 md5", "host all all ::/0 md5"]
    assert "EXTERNAL_ACCESS_ALLOW_INSECURE=true" in said[0]
    assert said[0].endswith("md5 is used")
    rules, said = lines(methods=("trust",), allow_insecure=True)
    assert rules[0] == "host all all 0.0.0.0/0 trust"
    assert len(said) == 1


@pytest.mark.parametrize(
    "method",
    ["garbage", "MD5", "null", "scram", "md5 trust", "md5\nhost all all all trust", "trust#", "peer", "ident", "sspi", "bsd", '"trust"'],
)
def test_what_is_no_method_for_outsiders_falls_back_to_md5(method):
    rules, said = lines(methods=(method,))
    assert rules == ["host all all 0.0.0.0/0 md5", "host all all ::/0 md5"]
    assert len(said) == 1
    assert said[0].endswith("md5 is used")
    assert "\n" not in said[0]


def test_of_several_methods_the_first_possible_one_wins():
    rules, said = lines(methods=("ldap", "cert", "scram-sha-256", "reject"))
    assert rules[0] == "host all all 0.0.0.0/0 scram-sha-256"
    assert len(said) == 2
    assert "ldapbasedn" in said[0]
    assert "ca.crt" in said[1]


def test_methods_follow_the_servers_major():
    assert lines(Server(18), methods=("radius",))[1][0].count("radiusservers") == 1
    assert "none of the methods of PostgreSQL 19" in lines(Server(19), methods=("radius",))[1][0]
    assert "none of the methods of PostgreSQL 17" in lines(Server(17), methods=("oauth",))[1][0]


def test_options_go_with_their_method():
    rules, _unused = lines(methods=("ldap",), options=("ldapserver=ldap.example.com", "ldapbasedn=dc=example,dc=com"))
    assert rules[0] == 'host all all 0.0.0.0/0 ldap ldapserver=ldap.example.com "ldapbasedn=dc=example,dc=com"'


def test_cert_is_tls_only_and_needs_an_authority():
    assert lines(methods=("cert",), client_ca=True)[0] == ["hostssl all all 0.0.0.0/0 cert", "hostssl all all ::/0 cert"]
    assert lines(methods=("cert",))[0][0] == "host all all 0.0.0.0/0 md5"


def test_a_demand_for_certificates_survives_the_fall_back():
    rules, _unused = lines(methods=("garbage",), options=("clientcert=verify-full",), client_ca=True)
    assert rules[0] == "hostssl all all 0.0.0.0/0 md5 clientcert=verify-full"
    with pytest.raises(SettingsError, match="EXTERNAL_ACCESS_OPTIONS"):
        lines(methods=("garbage",), options=("clientcert=verify-full",))
    with pytest.raises(SettingsError, match="EXTERNAL_ACCESS_OPTIONS"):
        lines(options=("clientcert=perhaps",), client_ca=True)


def test_options_that_the_method_does_not_take_are_a_requirement_not_met():
    rules, said = lines(methods=("scram-sha-256",), options=("ldapserver=x",))
    assert rules[0] == "host all all 0.0.0.0/0 md5"
    assert "ldapserver" in said[0]


@pytest.mark.parametrize("word", ["noequals", "=x"])
def test_options_of_another_form_refuse(word):
    with pytest.raises(SettingsError, match="EXTERNAL_ACCESS_OPTIONS"):
        lines(options=(word,))


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("all", "all"),
        ("samenet", "samenet"),
        ("samehost", "samehost"),
        ("db.example.com", "db.example.com"),
        (".example.com", ".example.com"),
    ],
)
def test_addresses(given, written):
    assert lines(addresses=(given,))[0] == [f"host all all {written} md5"]


def test_the_same_address_twice_is_one_rule():
    assert lines(addresses=("192.0.2.7", "192.0.2.7/32"))[0] == ["host all all 192.0.2.7/32 md5"]


@pytest.mark.parametrize(
    "given",
    [
        "300.1.1.1",
        "ALL",
        "192.0.2.0/33",
        "010.0.0.1",
        "10/8",
        "10.0.0.0-10.0.0.9",
        "localhost",
        "*",
        "10.0.0.0/8 trust",
        "fe80::1%eth0",
        '"all"',
        "10.0.0.0/8#",
        "null",
        "0x7f.1",
        "1.2.3",
        "example.com/24",
        "a..b",
        "::/129",
        "@file",
    ],
)
@pytest.mark.parametrize("enabled", [True, False])
def test_what_is_no_address_refuses_even_when_closed(given, enabled):
    with pytest.raises(SettingsError) as caught:
        lines(addresses=("10.0.0.0/8", given), enabled=enabled)
    assert caught.value.variable == "EXTERNAL_ACCESS_ADDRESSES"


@pytest.mark.parametrize(
    ("databases", "users", "columns"),
    [
        (("orders", "stock"), ("app",), "orders,stock app"),
        (('"all"',), ('"all"',), '"all" "all"'),
        (("sameuser",), ("+staff",), "sameuser +staff"),
        (('"a b"',), ('"x,y"',), '"a b" "x,y"'),
        (("a#b",), ("c d",), '"a#b" "c d"'),
        (("@list",), ("@list",), '"@list" "@list"'),
        (('"+x"',), ('"+x"',), '+x "+x"'),
        (("replication",), ("all",), "replication all"),
        (('"a""b"',), ("all",), '"a""b" all'),
        (("/re",), ("all",), "/re all"),
    ],
)
def test_names_mean_what_they_say(databases, users, columns):
    assert lines(databases=databases, users=users)[0][0] == f"host {columns} 0.0.0.0/0 md5"


def test_a_name_that_would_be_a_regular_expression_refuses():
    with pytest.raises(SettingsError, match="EXTERNAL_ACCESS_DATABASES"):
        lines(Server(16), databases=("/re",))


@pytest.mark.parametrize("item", ['a"b', "x" * 64])
def test_names_that_no_rule_can_hold(item):
    with pytest.raises(SettingsError, match="EXTERNAL_ACCESS_USERS"):
        lines(users=(item,))


def test_tls_required():
    assert lines(tls_required=True)[0] == ["hostssl all all 0.0.0.0/0 md5", "hostssl all all ::/0 md5"]
