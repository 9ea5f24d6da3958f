# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values → text, and callers' rules: what is quoted, what is refused, and that every line reads back as it was meant."""

from __future__ import annotations

import os

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba.errors import InvalidRule, NotRepresentable
from ansible_collections.pgops.access.plugins.module_utils._hba.lexer import logical_lines, scan
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Rule, Server, Token, encode
from ansible_collections.pgops.access.plugins.module_utils._hba.parser import parse_fields
from ansible_collections.pgops.access.plugins.module_utils._hba.render import quote_token, render_option, render_rule, render_token
from ansible_collections.pgops.access.plugins.module_utils._hba.spec import RuleSpec, spec_from_dict, spec_from_line
from hypothesis import given, settings
from hypothesis import strategies as st

FACTOR = 10 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 1

MAJORS = (12, 13, 14, 15, 16, 17, 18)


@pytest.mark.parametrize(
    ("text", "role", "major", "literal", "expected"),
    [
        ("app", "database", 15, True, "app"),
        ("all", "database", 15, True, '"all"'),
        ("all", "database", 15, False, "all"),
        ("ALL", "database", 15, True, "ALL"),
        ("replication", "database", 15, True, '"replication"'),
        ("replication", "user", 15, True, "replication"),
        ("samegroup", "database", 15, True, '"samegroup"'),
        ("samehost", "address", 15, True, '"samehost"'),
        ("all", "user", 15, True, '"all"'),
        ("", "database", 15, True, '""'),
        ("my db", "database", 15, True, '"my db"'),
        ("a,b", "user", 15, True, '"a,b"'),
        ("a#b", "user", 15, True, '"a#b"'),
        ('a"b', "user", 15, True, '"a""b"'),
        ("a\tb", "user", 15, True, '"a\tb"'),
        ("a\rb", "user", 15, True, '"a\rb"'),
        ("+staff", "user", 15, True, '"+staff"'),
        ("+staff", "user", 15, False, "+staff"),
        ("+my staff", "user", 15, False, '+"my staff"'),
        ("+staff", "database", 15, True, "+staff"),
        ("@file", "database", 15, True, '"@file"'),
        ("@my file", "database", 15, False, '@"my file"'),
        ("@", "database", 15, True, "@"),
        ("/x", "database", 15, True, "/x"),
        ("/x", "database", 16, True, "/^/x$"),
        ("/a.b", "user", 16, True, r"/^/a\.b$"),
        ("/a b", "user", 16, True, '"/^/a b$"'),
        ("/^a{1,3}$", "user", 16, False, '"/^a{1,3}$"'),
        ("a\\", "user", 15, True, '"a\\"'),
        ("a\\", "user", 13, True, "a\\"),
        ("x\u00a0y", "user", 15, True, "x\u00a0y"),
        ("x\x0by", "user", 15, True, "x\x0by"),
    ],
)
def test_quoting_exactly_when_needed(text: str, role: str, major: int, literal: bool, expected: str) -> None:
    assert quote_token(text, role, Server(major), literal) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", ["a\nb", "a\0b", "a\n"])
@pytest.mark.parametrize("role", ["database", "user", "address", "option"])
def test_what_no_quoting_protects_is_refused(bad: str, role: str) -> None:
    with pytest.raises(NotRepresentable) as caught:
        quote_token(bad, role, Server(15))  # type: ignore[arg-type]
    assert caught.value.value == bad


NASTY = st.text(alphabet=st.sampled_from([*'ab+/@"#, \t\r\\=^$l', "\u00e9", "\udcff", "\x0b", "\x1c"]), max_size=8)


@settings(max_examples=200 * FACTOR, deadline=None)
@given(NASTY, st.booleans(), st.sampled_from(["database", "user", "address", "method", "option"]), st.sampled_from(MAJORS))
def test_a_token_reads_back_as_itself(text: str, quoted: bool, role: str, major: int) -> None:
    server = Server(major)
    if not quoted and (not text or text[0] in ' \t\r,#"'):
        return  # no unquoted token begins like this
    written = render_token(Token(text, quoted), role, server)  # type: ignore[arg-type]
    (field,) = scan(f"{written} end", server).fields[:1]
    assert [token.text for token in field] == [text]
    special = text[:1] in "+@" or text in {"all", "sameuser", "samerole", "samegroup", "replication", "samehost", "samenet"}
    if quoted and special and len(text) > 1 and role in {"database", "user", "address"} and written != text:
        assert field[0].quoted
    assert render_token(field[0], role, server) == written  # type: ignore[arg-type]


def test_a_literal_slash_name_matches_only_itself() -> None:
    """16 and later read a leading slash as a regular expression whatever the quotes ; ours is anchored and escaped."""
    assert quote_token("/srv/a.b|c(d)[e]{f}*+?^$\\", "user", Server(17)) == r"/^/srv/a\.b\|c\(d\)\[e\]\{f\}\*\+\?\^\$\\$"


def test_option_values() -> None:
    server = Server(15)
    assert render_option("map", "m", server) == "map=m"
    assert render_option("ldapbasedn", "dc=a,dc=b", server) == '"ldapbasedn=dc=a,dc=b"'
    assert render_option("ldapbindpasswd", 'a"b#c', server) == '"ldapbindpasswd=a""b#c"'
    assert render_option("ldapprefix", "", server) == "ldapprefix="
    assert render_option("ldapsuffix", "x\\", server) == '"ldapsuffix=x\\"'


def rule_of(line: str, server: Server) -> Rule:
    row = parse_fields(scan(line, server).fields, server)
    assert isinstance(row, Rule), row
    return row


def test_canonical_columns() -> None:
    server = Server(15)
    assert (
        render_rule(RuleSpec("local", (Token("all"),), (Token("postgres"),), method="peer"), server)
        == "local   all             postgres                                peer"
    )
    spec = spec_from_dict(
        {"type": "host", "databases": "a, b", "users": ["u"], "address": "10.0.0.0", "netmask": "255.0.0.0", "method": "md5"}, server
    )
    assert render_rule(spec, server) == "host    a,b             u               10.0.0.0 255.0.0.0      md5"


def test_columns_never_glue() -> None:
    """Peers' edge case 15: values longer than the column's width."""
    server = Server(15)
    line = "hostnogssenc " + "d" * 40 + " " + "u" * 40 + " 2001:0db8:1111:2222:3333:4444:5555:6666/128 scram-sha-256"
    spec = spec_from_line(line, server)
    assert scan(render_rule(spec, server), server).fields == scan(line, server).fields


@pytest.mark.parametrize(
    ("comment", "major", "message"),
    [
        ("ok\nhost all all 0.0.0.0/0 trust", 15, "a line feed"),
        ("x\0y", 15, "a NUL byte"),
        ("x\ry", 15, "a carriage return"),
        ("path C:\\", 15, "backslash"),
        ("path C:\\  ", 14, "backslash"),
        ("see [expires: 2020-01-01]", 15, "ends like an expiry"),
    ],
)
def test_a_comment_stays_a_comment(comment: str, major: int, message: str) -> None:
    """L9: a line feed in a comment wrote a live trust rule."""
    with pytest.raises(InvalidRule, match=message) as caught:
        spec_from_dict({"type": "local", "method": "trust", "comment": comment}, Server(major), "rules[0]")
    assert caught.value.where == "rules[0].comment"


def test_a_backslash_ends_a_comment_where_it_means_nothing() -> None:
    spec = spec_from_dict({"type": "local", "method": "trust", "comment": "C:\\"}, Server(13))
    assert render_rule(spec, Server(13)).endswith("# C:\\")


@pytest.mark.parametrize(
    ("data", "where", "reason"),
    [
        ({}, "rules[2].type", "is missing"),
        ({"type": "HOST", "address": "all", "method": "md5"}, "rules[2].type", 'invalid connection type "HOST"'),
        ({"type": "host", "method": "md5"}, "rules[2].address", "is missing"),
        ({"type": "local", "address": "10.0.0.0/8", "method": "md5"}, "rules[2].address", "no address"),
        ({"type": "host", "address": "10.0.0.1", "method": "md5"}, "rules[2].address", "10.0.0.1/32"),
        ({"type": "host", "address": "::1", "method": "md5"}, "rules[2].address", "::1/128"),
        ({"type": "host", "address": "name/32", "method": "md5"}, "rules[2].address", "host name and CIDR mask"),
        ({"type": "host", "address": "10.0.0.0/33", "method": "md5"}, "rules[2].address", "invalid CIDR mask"),
        ({"type": "host", "address": "all", "netmask": "255.0.0.0", "method": "md5"}, "rules[2].netmask", "takes no netmask"),
        ({"type": "host", "address": "10.0.0.0", "netmask": "ffff::", "method": "md5"}, "rules[2].netmask", "do not match"),
        ({"type": "host", "address": "10.0.0.0/8", "netmask": "255.0.0.0", "method": "md5"}, "rules[2].netmask", "takes no netmask"),
        ({"type": "host", "address": "all"}, "rules[2].method", "is missing"),
        ({"type": "host", "address": "all", "method": "MD5"}, "rules[2].method", 'invalid authentication method "MD5"'),
        ({"type": "host", "address": "all", "method": "oauth"}, "rules[2].method", "oauth"),
        ({"type": "host", "address": "::1/128", "method": "peer"}, "rules[2].method", "only supported on local sockets"),
        ({"type": "host", "address": "192.168.0.0/24", "method": "cert"}, "rules[2].method", "only supported on hostssl"),
        ({"type": "host", "address": "all", "method": "krb5"}, "rules[2].method", "krb5"),
        ({"type": "host", "address": "all", "method": "radius"}, "rules[2].options", "radiusservers"),
        ({"type": "host", "address": "all", "method": "md5", "options": {"map": "x"}}, "rules[2].options", "map"),
        ({"type": "host", "address": "all", "method": "md5", "options": "bare"}, "rules[2].options", "name=value"),
        ({"type": "hostnossl", "address": "all", "method": "md5", "options": {"clientcert": "verify-ca"}}, "rules[2].options", "hostssl"),
        ({"type": "hostssl", "address": "all", "method": "md5", "options": {"clientcert": "1"}}, "rules[2].options", "clientcert"),
        ({"type": "local", "method": "md5", "databases": []}, "rules[2].databases", "empty list"),
        ({"type": "local", "method": "md5", "databases": ["a", ""]}, "rules[2].databases[1]", "is empty"),
        ({"type": "local", "method": "md5", "databases": "a b"}, "rules[2].databases", "blanks"),
        ({"type": "local", "method": "md5", "databases": "a#b"}, "rules[2].databases", "comment sign"),
        ({"type": "local", "method": "md5", "users": ["a\nb"]}, "rules[2].users[0]", "a line feed"),
        ({"type": "local", "method": "md5", "users": 'a,"b'}, "rules[2].users", "not closed"),
        ({"type": "local", "method": "md5", "users": 7}, "rules[2].users", "int"),
        ({"type": "local", "method": "md5", "user": "x"}, "rules[2].user", "is not a part of a rule"),
        ({"type": "local", "method": "md5", "expires": "soon"}, "rules[2].expires", "is not a date"),
        ({"type": "local", "method": "md5", "expires": "2026-01-01T10:00:00"}, "rules[2].expires", "is not a date"),
        ({"type": "host", "address": "all\nhost all all all trust", "method": "md5"}, "rules[2].address", "a line feed"),
        ({"type": "local", "method": "ldap", "options": {"ldapbasedn": "x\ny"}}, "rules[2].options.ldapbasedn", "a line feed"),
    ],
)
def test_bad_input_names_the_option(data: dict[str, object], where: str, reason: str) -> None:
    """L1, L2, L19, and the bad input of the modules: refused before anything is planned."""
    with pytest.raises(InvalidRule) as caught:
        spec_from_dict(data, Server(15), "rules[2]")
    assert caught.value.where == where
    assert reason in caught.value.reason


def test_the_major_decides() -> None:
    data = {"type": "host", "address": "all", "method": "oauth", "options": {"issuer": "https://x", "scope": "s", "validator": "v"}}
    assert spec_from_dict(data, Server(18, oauth_validator_libraries=("v",))).method == "oauth"
    with pytest.raises(InvalidRule, match="oauth"):
        spec_from_dict(data, Server(17))


def test_names_keywords_and_literals() -> None:
    server = Server(15)
    spec = spec_from_dict(
        {"type": "local", "databases": ["all", '"all"', "my db", "a,b"], "users": '"all", +staff,x', "method": "md5"}, server
    )
    assert spec.databases == (Token("all"), Token("all", True), Token("my db"), Token("a,b"))
    assert spec.users == (Token("all", True), Token("+staff"), Token("x"))
    row = rule_of(render_rule(spec, server), server)
    assert row.databases == (Token("all"), Token("all", True), Token("my db", True), Token("a,b", True))
    assert row.users == spec.users


def test_a_regex_with_a_comma_stays_one_token() -> None:
    """L11: split at the comma into two broken rows."""
    server = Server(16)
    spec = spec_from_dict({"type": "local", "databases": ["/^db[0-9]{1,3}$"], "users": "all", "method": "md5"}, server)
    assert rule_of(render_rule(spec, server), server).databases == (Token("/^db[0-9]{1,3}$", True),)


@pytest.mark.parametrize(
    "options",
    [
        {"ldapserver": "x", "ldapsuffix": ", dc=example, dc=net"},
        ["ldapserver=x", "ldapsuffix=, dc=example, dc=net"],
        'ldapserver=x "ldapsuffix=, dc=example, dc=net"',
    ],
)
def test_options_keep_their_quotes(options: object) -> None:
    """L10: quotes stripped on write."""
    server = Server(15)
    spec = spec_from_dict({"type": "host", "address": "all", "method": "ldap", "options": options}, server)
    assert rule_of(render_rule(spec, server), server).given_options == (("ldapserver", "x"), ("ldapsuffix", ", dc=example, dc=net"))


def test_boolean_and_number_options() -> None:
    server = Server(15)
    spec = spec_from_dict(
        {"type": "host", "address": "all", "method": "ldap", "options": {"ldaptls": True, "ldapport": 389, "ldapprefix": "x"}}, server
    )
    assert spec.options == (("ldaptls", "1"), ("ldapport", "389"), ("ldapprefix", "x"))


@pytest.mark.parametrize(
    "line",
    [
        "host db1, db2 u1, u2 10.0.0.0/24 scram-sha-256",
        "host all all 10.0.0.5/24 scram-sha-256",
        "host all all 10.0.0/24 md5",
        "host all all 010.0.0.0/8 md5",
        "host all all 10.0.0.0 255.0.255.0 md5",
        'host "Foo",joe "/a b" 10.0.0.0/8 md5#x',
        'host joe,"Foo,Bar" all 10.0.0.0/8 md5',
        "host all all fe80::1%lo/64 md5",
        '"host" all all ::0/0 md5',
        "local all all ident map=x",
        "host replication,all all samenet reject",
    ],
)
@pytest.mark.parametrize("major", MAJORS)
def test_lines_that_the_server_accepts(line: str, major: int) -> None:
    """L12 to L14 and edge cases 1 to 8: legal lines must be accepted and keep their meaning."""
    server = Server(major)
    spec = spec_from_line(line, server)
    written = render_rule(spec, server)
    first, second = rule_of(line, server), rule_of(written, server)
    assert (first.type, first.address, first.method, first.options) == (second.type, second.address, second.method, second.options)
    assert [token.text for token in first.databases + first.users] == [token.text for token in second.databases + second.users]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("local all all trust\nlocal all all trust", "not one line"),
        ("local all all trust \\", "not one line"),
        ("# only a comment", "holds no rule"),
        ("", "holds no rule"),
        ("include other.conf", "include record"),
        ("host all all 10.0.0.1 md5", "invalid IP mask"),
        ("local all", "end-of-line before role"),
        ("local all all peer map", "name=value"),
    ],
)
def test_lines_that_are_refused(line: str, reason: str) -> None:
    with pytest.raises(InvalidRule, match=reason):
        spec_from_line(line, Server(16), "rules[1]")


def test_a_line_brings_its_comment_and_expiry() -> None:
    spec = spec_from_line("local all all trust # for now [expires: 2026-12-31]\n", Server(15))
    assert (spec.comment, spec.expires) == ("for now", "2026-12-31")
    assert render_rule(spec, Server(15)).endswith("trust  # for now [expires: 2026-12-31]")


def test_absent_lines_may_end_before_the_method() -> None:
    server = Server(15)
    assert spec_from_line("host a b 10.0.0.0 255.0.0.0", server, absent=True).method is None
    assert spec_from_line("local a b", server, absent=True).method is None
    assert spec_from_line("local a b peer", server, absent=True).method == "peer"


NAMES = st.lists(st.one_of(NASTY.filter(bool), st.sampled_from(["all", "sameuser", "+g", "x"])), min_size=1, max_size=3)


@settings(max_examples=150 * FACTOR, deadline=None)
@given(NAMES, NAMES, st.sampled_from(MAJORS), st.text(alphabet='ab #"\\\u00e9,', max_size=6), NASTY)
def test_a_rule_is_read_back_as_it_was_meant_or_refused(dbs: list[str], users: list[str], major: int, comment: str, value: str) -> None:
    """Whatever is asked for: one line with these tokens and nothing else, or an error; the following line is never touched."""
    server = Server(major)
    fields = [tuple(Token(text, quoted) for text in texts for quoted in (text[:1] in ' \t\r,#"',)) for texts in (dbs, users)]
    spec = RuleSpec("host", fields[0], fields[1], Token("10.0.0.0/8"), None, "ldap", (("ldapprefix", value),), comment)
    try:
        line = render_rule(spec, server)
    except (NotRepresentable, InvalidRule):
        return
    lines = logical_lines(encode(line + "\nlocal x x reject\n"), server)
    assert [other.text for other in lines[1:]] == ["local x x reject"]
    row = rule_of(lines[0].text, server)
    assert [token.text for token in row.databases] == dbs
    assert [token.text for token in row.users] == users
    assert row.given_options == (("ldapprefix", value),)
    assert line.endswith(comment.strip())


@pytest.mark.parametrize(("column", "other"), [("databases", "users"), ("users", "databases")])
def test_a_broken_regex_names_its_column(column: str, other: str) -> None:
    data = {"type": "local", "method": "md5", column: ["/(a"], other: ["/ok"]}
    with pytest.raises(InvalidRule) as caught:
        spec_from_dict(data, Server(16), "rules[0]")
    assert caught.value.where == f"rules[0].{column}"
    assert spec_from_dict(data, Server(15)).method == "md5"


@pytest.mark.parametrize(
    "options",
    [
        {"ldapbindpasswd": "hunter2\n"},
        {"ldapbindpasswd": "hunter2\0"},
        ["ldapbindpasswd=hunter2\n"],
        'ldapbindpasswd="hunter2\n"',
        ["hunter2"],
        "#hunter2",
    ],
)
def test_no_secret_in_a_message(options: object) -> None:
    data = {"type": "host", "address": "all", "method": "ldap", "options": options}
    with pytest.raises(InvalidRule) as caught:
        spec_from_dict(data, Server(15), "rules[0]")
    assert "hunter2" not in str(caught.value)
    assert caught.value.where.startswith("rules[0].options")
