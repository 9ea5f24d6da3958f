# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line → rule or error. Texts are the servers'; every line was also sent to servers of 12 to 18 (tests/differential/data)."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba.lexer import tokenize
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Address, LineError, Row, Rule, Server
from ansible_collections.pgops.access.plugins.module_utils._hba.options import split_guc_list
from ansible_collections.pgops.access.plugins.module_utils._hba.parser import Host, Place, parse_fields

MAJORS = (12, 13, 14, 15, 16, 17, 18)


def parse(line: str, major: int = 16, host: Host | None = None, **settings: object) -> Row:
    server = Server(major)._replace(**settings)  # type: ignore[arg-type]
    fields = tokenize(line, server)
    return parse_fields(fields, server) if host is None else parse_fields(fields, server, host=host)


def error(line: str, major: int = 16, **settings: object) -> LineError:
    row = parse(line, major, **settings)
    assert isinstance(row, LineError), row
    return row


def rule(line: str, major: int = 16, **settings: object) -> Rule:
    row = parse(line, major, **settings)
    assert isinstance(row, Rule), row
    return row


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("local,host", "multiple values specified for connection type"),
        ("LOCAL all all trust", 'invalid connection type "LOCAL"'),
        ("\ufefflocal all all trust", 'invalid connection type "\ufefflocal"'),
        ("local", "end-of-line before database specification"),
        ("local all", "end-of-line before role specification"),
        ("host all all", "end-of-line before IP address specification"),
        ("host all all 1.2.3.4,1.2.3.5 trust", "multiple values specified for host address"),
        ("host all all a.b/8 trust", 'specifying both host name and CIDR mask is invalid: "a.b/8"'),
        ("host all all 1.2.3.4/33 trust", 'invalid CIDR mask in address "1.2.3.4/33"'),
        ("host all all 1.2.3.4", "end-of-line before netmask specification"),
        ("host all all 1.2.3.4 1.1.1.1,2.2.2.2 trust", "multiple values specified for netmask"),
        ("host all all 1.2.3.4 trust", 'invalid IP mask "trust": Name or service not known'),
        ("host all all 1.2.3.4 :: trust", "IP address and mask do not match"),
        ("local all all", "end-of-line before authentication method"),
        ("local all all trust,md5", "multiple values specified for authentication type"),
        ("local all all 1.2.3.4/32 trust", 'invalid authentication method "1.2.3.4/32"'),
        ("local a ,b u trust", 'invalid authentication method "u"'),
        ("host all all all bsd", 'invalid authentication method "bsd": not supported by this build'),
        ("local all all gss", "gssapi authentication is not supported on local sockets"),
        ("host all all all peer", "peer authentication is only supported on local sockets"),
        ("host all all all cert", "cert authentication is only supported on hostssl connections"),
        ("local all all peer map", "authentication option not in name=value format: map"),
        ("local all all peer =v", 'unrecognized authentication option name: ""'),
        ("local all all trust clientcert=verify-ca", 'clientcert can only be configured for "hostssl" rows'),
        ("local all all trust pamservice=x", 'authentication option "pamservice" is only valid for authentication methods pam'),
        ("host all all all ldap ldapport=0", 'invalid LDAP port number: "0"'),
        ("host all all all ldap ldapurl=x", 'could not parse LDAP URL "x": Time limit exceeded'),
        ("host all all all ldap ldapurl=ldapi:///x", "unsupported LDAP URL scheme: ldapi"),
        ("host all all all radius", 'authentication method "radius" requires argument "radiusservers" to be set'),
        ("host all all all radius radiusservers=127.1", 'authentication method "radius" requires argument "radiussecrets" to be set'),
    ],
)
def test_errors_of_every_major(line: str, message: str, major: int) -> None:
    found = error(line, major)
    assert found.message == message
    assert found.shown
    assert found.number is None


def test_hints() -> None:
    assert error("local,host").hint == "Specify exactly one connection type per line."
    assert error("host a a 1.2.3.4").hint == "Specify an address range in CIDR notation, or provide a separate netmask."
    assert rule("hostssl a a all trust", ssl=False).hint == "Set ssl = on in postgresql.conf."
    assert rule("hostssl a a all trust", 17, ssl=False).hint == 'Set "ssl = on" in postgresql.conf.'


def test_regular_expressions_are_checked_since_16() -> None:
    assert error('local "/(" all trust').message == 'invalid regular expression "(": parentheses () not balanced'
    assert error("local /^db{1,3}$ all trust").message == 'invalid regular expression "^db{1": braces {} not balanced'
    assert error('local all a,"/[" trust').message == 'invalid regular expression "[": brackets [] not balanced'
    assert rule("local all +/( trust").users[0].text == "+/("
    assert rule('local "/(" all trust', 15).databases[0].text == "/("


@pytest.mark.parametrize(
    ("column", "address"),
    [
        ("all", Address("all", "all")),
        ('"all"', Address("name", "all")),
        ("samenet", Address("samenet", "samenet")),
        ("10/8", Address("network", "0.0.0.10", "255.0.0.0", 4, 10, 0xFF000000)),
        ("1.2.3.4 255.0.255.0", Address("network", "1.2.3.4", "255.0.255.0", 4, 0x01020304, 0xFF00FF00)),
        ("fe80::1%lo/0", Address("network", "fe80::1", "::", 6, 0xFE80 << 112 | 1, 0)),
        ("300.1.1.1", Address("name", "300.1.1.1")),
        (".example.com", Address("name", ".example.com")),
        ('""', Address("name", "")),
    ],
)
def test_address(column: str, address: Address) -> None:
    assert rule(f"host all all {column} trust").address == address


def test_interfaces_are_the_callers() -> None:
    line = "host all all fe80::1%eth7/64 trust"
    assert isinstance(parse(line), LineError)
    assert isinstance(parse(line, host=Host(interfaces=frozenset({"eth7"}))), Rule)


def test_warnings() -> None:
    found = rule("hostssl all all all trust", ssl=False)
    assert found.warning == "hostssl record cannot match because SSL is disabled"
    assert found.number is None
    no_gss = rule("hostgssenc all all all trust", features=frozenset({"ssl"}))
    assert no_gss.warning == "hostgssenc record cannot match because GSSAPI is not supported by this build"
    silent = error("hostssl all all all trust clientcert=zz", ssl=False)
    assert (silent.message, silent.shown, silent.number) == ('invalid value for clientcert: "zz"', False, None)
    assert silent.view_error == "hostssl record cannot match because SSL is disabled"


def test_oauth_clears_the_warning() -> None:
    settings: dict[str, object] = {"ssl": False, "oauth_validator_libraries": ("v",)}
    found = rule("hostssl a a all oauth issuer=i scope=s", 18, **settings)
    assert (found.warning, found.number) == (None, 1)
    assert found.options == (("issuer", "i"), ("scope", "s"), ("validator", "v"))


def test_oauth_validators() -> None:
    line = "host a a all oauth issuer= scope="
    two: tuple[str, ...] = ("v", "w")
    assert error(line, 17).message == 'invalid authentication method "oauth"'
    assert error(line, 18).message == "oauth_validator_libraries must be set for authentication method oauth"
    assert "contains multiple options" in error(line, 18, oauth_validator_libraries=two).message
    assert (
        error(line + " validator=x", 18, oauth_validator_libraries=two).message
        == 'validator "x" is not permitted by oauth_validator_libraries'
    )
    assert rule(line + " validator=w", 18, oauth_validator_libraries=two).options[-1] == ("validator", "w")


@pytest.mark.parametrize(
    ("line", "major", "message"),
    [
        ("hostssl a a all trust clientcert=zz", 12, 'invalid value for clientcert: "zz"'),
        ("hostssl a a all trust clientcert=1", 14, 'invalid value for clientcert: "1"'),
        ("hostssl a a all trust clientname=cn", 14, 'invalid value for clientname: "cn"'),
        (
            "host a a all radius radiusservers=nohost",
            16,
            'could not translate RADIUS server name "nohost" to address: Name or service not known',
        ),
        ("host a a all radius radiusports=x", 18, 'invalid RADIUS port number: "x"'),
        ('host a a all radius "radiussecrets=a,"', 18, 'could not parse RADIUS secret list "a,"'),
    ],
)
def test_errors_that_only_the_log_knows(line: str, major: int, message: str) -> None:
    found = error(line, major)
    assert (found.message, found.shown, found.number, found.view_error) == (message, False, 1, None)


def test_radius_counts_are_shown_since_14() -> None:
    line = 'host a a all radius "radiusservers=127.1,::1" "radiussecrets=a,b,c"'
    message = "the number of RADIUS secrets (3) must be 1 or the same as the number of RADIUS servers (2)"
    assert [(error(line, major).message, error(line, major).shown) for major in (13, 14)] == [(message, False), (message, True)]


def test_radius_names_are_asked_of_the_resolver() -> None:
    asked: list[str] = []

    def resolve(name: str) -> bool:
        asked.append(name)
        return name == "radius.example"

    line = 'host a a all radius "radiusservers=radius.example,other" radiussecrets=s'
    found = parse(line, host=Host(resolve=resolve))
    assert isinstance(found, LineError)
    assert "other" in found.message
    assert asked == ["radius.example", "other"]
    assert isinstance(parse(line.replace(",other", ""), host=Host(resolve=resolve)), Rule)


def options(line: str, major: int = 16, **settings: object) -> list[str]:
    return [f"{name}={value}" for name, value in rule(line, major, **settings).options]


def test_options_in_effect() -> None:
    assert options("local a a ident map=x map=y") == ["map=y"]
    assert rule("local a a ident map=x").method == "peer"
    assert options("host a a all gss krb_realm=R include_realm=true") == ["krb_realm=R"]
    assert options("host a a all gss map=m") == ["include_realm=true", "map=m"]
    assert options("hostssl a a all cert map=") == ["map=", "clientcert=verify-full"]
    assert options("hostssl a a all cert", 14, minor=1) == ["clientcert=verify-ca"]
    assert options("hostssl a a all trust clientcert=1 clientcert=0", 13) == []
    assert options("host a a all pam pamservice=p pam_use_hostname=1") == ["pamservice=p"]


def test_ldap_options_and_the_scope_that_every_option_resets() -> None:
    url = "host a a all ldap ldapurl=ldaps://h/d?a?one"
    assert options(url) == ["ldapserver=h", "ldapport=636", "ldapscheme=ldaps", "ldapbasedn=d", "ldapsearchattribute=a", "ldapscope=1"]
    assert options(url + " ldaptls=1")[-1] == "ldapscope=2"
    assert options(url, 12)[:3] == ["ldapserver=h", "ldapport=636", "ldapbasedn=d"]
    assert "ldapscheme=ldaps" in options(url, 13)
    assert "ldapscheme=ldaps" not in options(url, 13, minor=16)
    assert options("host a a all ldap ldapprefix= ldapscheme=bad") == ["ldapscheme=bad", "ldapprefix=", "ldapscope=2"]
    mixed = "host a a all ldap ldapprefix=p ldapbasedn=d"
    assert error(mixed, 18).message == "cannot mix options for simple bind and search+bind modes"
    assert error(mixed, 17).message.startswith("cannot use ldapbasedn, ldapbinddn")
    assert error(url + "?f").message == "cannot use ldapsearchattribute together with ldapsearchfilter"


def test_builds_and_settings() -> None:
    bare: frozenset[str] = frozenset()
    for method in ("gss", "ldap", "pam", "cert"):
        assert (
            error(f"local a a {method}", features=bare).message == f'invalid authentication method "{method}": not supported by this build'
        )
    assert error("local a a md5", 16, db_user_namespace=True).message.startswith("MD5 authentication is not supported")
    assert rule("local a a md5", 17, db_user_namespace=True).method == "md5"
    assert error("local a a radius", 19).message == 'invalid authentication method "radius"'


def test_where_it_stands_is_kept() -> None:
    row = parse_fields(tokenize("local a a trust", Server(16)), Server(16), Place("/f", 3, 4, " local a a trust # c"), 7)
    assert isinstance(row, Rule)
    assert (row.file, row.line, row.last_line, row.raw, row.number) == ("/f", 3, 4, " local a a trust # c", 7)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", []),
        (" \t", []),
        ("a, b ,c", ["a", "b", "c"]),
        ('"a,""b" , c', ['a,"b', "c"]),
        ('""', [""]),
        ("a,", None),
        (",a", None),
        ("a b", None),
        ('"a', None),
        ('"a"b', None),
        ('a"b', ['a"b']),
    ],
)
def test_guc_lists(text: str, items: list[str] | None) -> None:
    assert split_guc_list(text, 16) == items


def test_vertical_tab_separates_guc_lists_since_17() -> None:
    assert split_guc_list("a\v,b", 16) == ["a\v", "b"]
    assert split_guc_list("a\v,b", 17) == ["a", "b"]
