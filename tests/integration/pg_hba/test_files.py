# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What broke other tools, by the number of the defect or edge case in our study of them: none of it happens here.

Every successful case runs four times: check, real, check again, real again (``conftest.four``).
"""

from __future__ import annotations

import json
import os
import typing as t

import pytest

from .conftest import File, four, pg_hba

LOCAL = {"type": "local", "method": "peer"}
ADDED = "local   all             all                                     peer\n"


def columns(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


# ------------------------------------------------------------------------------------------------------------- defects L1 to L21


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"type": "host", "address": "::1/128", "method": "peer"}, "peer authentication is only supported on local sockets"),
        ({"type": "host", "address": "::1", "method": "trust"}, "one host is ::1/128"),
        ({"type": "host", "address": "192.168.0.0/24", "method": "cert"}, "cert authentication is only supported on hostssl connections"),
        ({"type": "local", "method": "ident", "options": "foo=1"}, 'unrecognized authentication option name: "foo"'),
        ({"type": "host", "address": "all", "method": "radius"}, "radiusservers"),
        ({"type": "hostnossl", "address": "all", "method": "md5", "options": {"clientcert": "verify-ca"}}, "hostssl"),
        ({"type": "host", "address": "all", "method": "krb5"}, 'invalid authentication method "krb5"'),
        ({"type": "HOST", "address": "all", "method": "md5"}, 'invalid connection type "HOST"'),
        ({"type": "host", "address": "all", "method": "MD5"}, 'invalid authentication method "MD5"'),
        ({"type": "host", "address": "db.example.com/32", "method": "md5"}, "specifying both host name and CIDR mask is invalid"),
        ({"type": "local", "address": "10.0.0.0/8", "method": "md5"}, "a local rule has no address"),
        ({"type": "host", "address": "", "method": "md5"}, "rules[0].address: is empty"),
        ({"type": "host", "users": [], "address": "all", "method": "md5"}, "rules[0].users: is an empty list"),
        ({"type": "host", "address": "all", "method": "md5", "contype": "x"}, "rules[0].contype"),
        ("include other.conf", "is an include record, not a rule"),
        ("host all all 10.0.0.1 md5", "invalid IP mask"),
        (17, "rules[0]: must be a dictionary or a line of text"),
    ],
)
def test_L1_L2_L19_what_the_server_would_refuse_is_refused(file: File, rule: t.Any, message: str) -> None:
    result = file.run("local all all trust\n", rules=[rule])
    assert result["failed"] is True
    assert message in result["msg"]
    assert file.text == "local all all trust\n"


def test_L3_edge_30_tls_stays_enforced(file: File) -> None:
    before = "hostnossl all all all reject\nhost all all all scram-sha-256\n"
    assert file.becomes(before, rules=[LOCAL]) == before + ADDED


def test_L4_no_order_is_inverted(file: File) -> None:
    before = "host all all 10.0.0.0/8 reject\nhost all all 10.1.2.3/32 trust\n"
    assert file.becomes(before, rules=[LOCAL]) == before + ADDED
    assert file.becomes(before + ADDED, rules=[{"type": "local"}], state="absent") == before


def test_L5_edge_27_includes_stay_where_they_are(file: File) -> None:
    before = "local all postgres peer\ninclude_if_exists more.conf\nhost all all 0.0.0.0/0 reject\n"
    assert file.becomes(before, version="16", rules=[LOCAL]) == before + ADDED
    assert "invalid connection type" in file.run(before, version="15", rules=[LOCAL])["msg"]


def test_L6_comments_and_blank_lines_stay(file: File) -> None:
    before = "# top\n\nlocal all a peer # why a\n\n\n#  odd   spacing\nlocal   all   b   peer\n# end\n"
    assert file.becomes(before, rules=[LOCAL]) == before + ADDED


def test_L7_edge_31_absent_takes_every_duplicate(file: File) -> None:
    rows = "".join(f"host all app 10.0.0.0/8 {method}\n" for method in ("md5", "trust", "reject"))
    assert file.becomes("local all all peer\n" + rows, rules=["host all app 10.0.0.0/8"], state="absent") == "local all all peer\n"


def test_L8_absent_reaches_into_rows_of_several_names(file: File) -> None:
    rule = {"type": "host", "databases": "a", "users": "u", "address": "10.0.0.0/8"}
    assert columns(file.becomes("host a,b u 10.0.0.0/8 md5\n", rules=[rule], state="absent")) == ["host b u 10.0.0.0/8 md5"]


def test_absent_says_who_still_gets_in(file: File) -> None:
    result = file.run("host all app 10.0.0.0/8 md5\nhost all all 10.1.0.0/16 trust\n", rules=["host all app 10.0.0.0/8"], state="absent")
    assert len(result["still_granted"]) == 1
    assert "user app" in result["still_granted"][0]["text"]
    assert "10.1.0.0/16" in result["still_granted"][0]["text"]
    assert "still granted" in str(result["warnings"])


@pytest.mark.parametrize(
    "rule",
    [
        {**LOCAL, "comment": "ok\nhost all all 0.0.0.0/0 trust"},
        {**LOCAL, "users": ["a\nhost all all 0.0.0.0/0 trust"]},
        {**LOCAL, "databases": "a\nhost all all 0.0.0.0/0 trust"},
        {**LOCAL, "options": {"map": "a\nhost all all 0.0.0.0/0 trust"}},
        {"type": "host", "address": "all\nhost all all 0.0.0.0/0 trust", "method": "md5"},
        {**LOCAL, "method": "peer\nhost all all 0.0.0.0/0 trust"},
        {**LOCAL, "comment": "a\rb"},
        {**LOCAL, "comment": "joins the next \\"},
        {**LOCAL, "expires": "2099-01-01\nx"},
        "local all all peer\nhost all all 0.0.0.0/0 trust",
    ],
)
def test_L9_no_value_becomes_a_rule(file: File, rule: t.Any) -> None:
    result = file.run("local all all trust\n", rules=[rule])
    assert result["failed"] is True
    assert file.text == "local all all trust\n"


def test_L10_edge_18_quoted_options(file: File) -> None:
    line = 'host all all 10.0.0.0/8 ldap ldapserver=x "ldapsuffix=, dc=example, dc=net" ldapprefix=cn='
    assert columns(file.becomes("local all all peer\n", rules=[line]))[1] == line
    options = {"ldapserver": "x", "ldapsuffix": ", dc=example, dc=net", "ldapprefix": "cn="}
    rule = {"type": "host", "address": "10.0.0.0/8", "method": "ldap", "options": options}
    assert columns(file.becomes("local all all peer\n", rules=[rule]))[1] == line


def test_L11_L12_edge_18_regular_expressions_and_quoted_names(file: File) -> None:
    rule = {"type": "local", "databases": ["/^db[0-9]{1,3}$"], "users": ["Foo,Bar", "joe", '"all"'], "method": "peer"}
    text = file.becomes("local all x peer\n", version="16", rules=[rule])
    assert columns(text)[1] == 'local "/^db[0-9]{1,3}$" "Foo,Bar",joe,"all" peer'


@pytest.mark.parametrize(
    "line",
    [
        "host db1, db2 u1, u2 10.0.0.0/24 scram-sha-256",
        "host all all 10.0.0.5/24 md5",
        "host all all 10.0.0/24 md5",
        "host all all 167772160/8 md5",
        "host all all 0x0a.0.0.0/8 md5",
        "host all all 010.0.0.0/8 md5",
        "host all all 10.0.0.0 255.0.255.0 md5",
        "host all all fe80::1%lo/64 md5",
        "host all all ::ffff:10.0.0.1/128 md5",
        "host all all 2001:DB8::/32 md5",
        "host all all 10.0.0.0 255.0.0.0 md5",
        "host all all all md5#comment",
        '"host" "a#b" "a""b" all md5',
        "host all all all ident map=a map=b",
        'host "all" "replication" all md5',
        "host replication,all all all md5",
        "local all all ident",
        "host all all db.example.com md5",
        "host all all .example.com md5",
        "host all all samenet md5",
        "local all Alice,alice peer",
    ],
)
def test_L13_L14_L15_edges_1_to_8_17_19_20_legal_lines_are_kept(file: File, line: str) -> None:
    """Accepted, untouched, and the same rule asked for again is recognised."""
    before = f"{line}\n"
    assert file.becomes(before, rules=["local all postgres trust"]).startswith(before)
    assert file.becomes(before, rules=[line]) == before


def test_L15_methods_of_the_release_and_bytes_that_are_no_utf8(file: File) -> None:
    before = b"# caf\xe9\nhost all all all oauth issuer=x scope=y validator=v\n"
    result = file.run(before, version="18", rules=[LOCAL], validate=False)
    assert "failed" not in result
    assert file.path.read_bytes() == before + ADDED.encode()
    assert 'invalid authentication method "oauth"' in file.run(before, version="17", rules=[LOCAL])["msg"]
    assert file.becomes(b"# caf\xe9\nlocal all x peer\n", rules=[LOCAL]).startswith("# caf\xe9")


def test_L16_check_mode_shows_the_same_difference(file: File) -> None:
    for more in ({}, {"exclusive": True}, {"section": "ours"}):
        before = "local all all trust\n"
        predicted = file.run(before, check=True, rules=[LOCAL], **more)["diff"]
        assert predicted["before"] == before
        assert predicted == file.run(before, rules=[LOCAL], **more)["diff"]
        assert predicted["after"] == file.text != before


def test_L17_edge_26_owner_mode_and_link_stay(file: File) -> None:
    real = file.path.with_name("real.conf")
    real.write_text("local all all trust\n")
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 12345, 23456)
    file.path.symlink_to(real)
    was = real.stat()
    four({"path": str(file.path), "postgres_version": "15", "rules": [{"type": "local", "users": "x", "method": "peer"}]}, file.path)
    now = real.stat()
    assert file.path.is_symlink()
    assert (now.st_mode, now.st_uid, now.st_gid) == (was.st_mode, was.st_uid, was.st_gid)
    assert now.st_ino != was.st_ino


def test_L18_a_comment_is_a_change(file: File) -> None:
    assert file.becomes("local all all peer\n", rules=[{**LOCAL, "comment": "new"}]) == "local all all peer  # new\n"
    assert file.becomes("local all all peer # old\n", rules=[LOCAL]) == "local all all peer # old\n"
    assert file.becomes("local all all peer # old\n", rules=[{**LOCAL, "comment": ""}]).strip() == "local all all peer"


def test_L20_edge_26_the_last_line_is_ended(file: File) -> None:
    assert file.becomes("local all x peer", rules=[LOCAL]) == "local all x peer\n" + ADDED


def test_L21_edge_10_line_ends_stay(file: File) -> None:
    text = file.becomes("local all x peer\r\nlocal all y peer\r\n", rules=[LOCAL])
    assert text == "local all x peer\r\nlocal all y peer\r\n" + ADDED.replace("\n", "\r\n")


# --------------------------------------------------------------------------------------------------------------------- edge cases


def test_edge_4_5_octal_and_gaps_are_found(file: File) -> None:
    result = file.run("host all all 010.0.0.0/8 md5\nhost all all 10.0.0.0 255.0.255.0 md5\n", rules=[LOCAL])
    assert {1, 2} <= {finding["line"] for finding in result["findings"] if finding["severity"] in ("warning", "error")}


@pytest.mark.parametrize("version", ["13", "15"])
def test_edge_9_continuations(file: File, version: str) -> None:
    before = "local all all \\\n  peer\n# note \\\nlocal all x trust\n"
    result = file.run(before, version=version, rules=["local all y peer"], validate=False)
    assert file.text.startswith(before)
    assert len(result["rules"]) == (4 if version == "13" else 2)
    last = file.run("local all x peer\\", version="15", rules=["local all y peer"])
    assert [rule["user_name"] for rule in last["rules"]] == [["x"], ["y"]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"\xef\xbb\xbflocal all all peer", "invalid connection type"),
        (b"local\xc2\xa0all all peer", "invalid connection type"),
        (b'local all "all peer', "end-of-line before authentication method"),
        (b"local all " + b"x" * 20000 + b" peer", "authentication file token too long"),
        (b"host all all 10.0.0.1 md5", "invalid IP mask"),
        (b"null", "invalid connection type"),
        (b"host all all $(hostname -s) md5", 'invalid authentication method "-s)"'),
        (b"host all all fd00:1111:2222:3333:4444::/128md5", "invalid CIDR mask"),
        (b"local @missing all peer", "could not open"),
    ],
)
def test_edges_10_to_16_a_broken_line_stops_every_write(file: File, line: bytes, message: str) -> None:
    before = b"local all postgres peer\n" + line + b"\nlocal all x trust\n"
    result = file.run(before, version="15", rules=["local all y peer"])
    assert message in result["msg"]
    assert "line 2" in result["msg"]
    assert file.path.read_bytes() == before


def test_edge_22_a_file_without_entries_is_refused(file: File) -> None:
    result = file.run("local all all peer\n", rules=["local all all"], state="absent")
    assert "contains no entries" in result["msg"]
    assert file.text == "local all all peer\n"


def test_edge_28_all_is_no_replication(file: File) -> None:
    expect = [{"user": "standby", "address": "10.0.0.1", "replication": True, "expect": "allowed"}]
    result = file.run("local all all peer\n", rules=["host all all 10.0.0.0/8 md5"], expect=expect)
    assert "standby to replication from 10.0.0.1 over tcp: expected allowed, but no rule matches" in result["msg"]
    assert "would help: hostnossl replication standby 10.0.0.1/32 scram-sha-256" in result["msg"]
    assert file.becomes("local all all peer\n", rules=["host replication,all all 10.0.0.0/8 md5"], expect=expect)


def test_edge_29_all_addresses_of_one_family(file: File) -> None:
    expect = [{"user": "a", "address": "2001:db8::1", "expect": "md5"}]
    assert "failed" in file.run("local all all peer\n", rules=["host all all 0.0.0.0/0 md5"], expect=expect)
    assert "failed" not in file.run("local all all peer\n", rules=["host all all all md5"], expect=expect)


def test_edge_32_names_keep_their_case(file: File) -> None:
    assert columns(file.becomes("local all Alice peer\n", rules=["local all alice"], state="absent") or "-")[0] == "local all Alice peer"


def test_edge_36_host_names_are_looked_up_both_ways(file: File) -> None:
    who = {"user": "a", "address": "127.0.0.1"}
    rules = ["host all all localhost md5"]
    assert "failed" not in file.run("local all all peer\n", rules=rules, expect=[{**who, "expect": "md5"}])
    rules = ["host all all no-such-host.invalid md5"]
    assert "failed" not in file.run("local all all peer\n", rules=rules, expect=[{**who, "expect": "no_entry"}])


# --------------------------------------------------------------------------------------------------------- sections, expiry, files


def test_sections_of_two_owners(file: File) -> None:
    one = file.becomes("local all postgres peer\n", section="b", rules=["local all b peer"], position="first")
    both = file.becomes(one, section="a", rules=["local all a peer"], position="first")
    assert [line.split()[2] for line in both.splitlines() if line.startswith("local")] == ["a", "b", "postgres"]
    assert file.becomes(both, section="a", state="absent") == one
    result = file.run(both.replace("# END pgops.access section: a", "# END"), section="a", rules=[])
    assert "section" in result["msg"]


def test_exclusive_and_contradictions(file: File) -> None:
    assert file.becomes("x\nlocal all a trust\n# kept\n", exclusive=True, rules="# a comment\nlocal all a peer\n\n") == (
        ADDED.replace("all             all ", "all             a   ") + "# kept\n"
    )
    for more, message in (
        ({"exclusive": True}, "exclusive without rules"),
        ({"exclusive": True, "rules": [LOCAL], "section": "x"}, "exclusive"),
        ({"state": "absent"}, "nothing is named"),
        ({"rules": [LOCAL], "position": "top"}, "position 'top'"),
        ({"rules": [LOCAL], "position": "before:x"}, "there is no section x"),
        ({"rules": [LOCAL], "section": "a b"}, "section name"),
        ({"rules": [LOCAL, {**LOCAL, "method": "trust"}]}, "the same clients but differ"),
        ({"rules": [LOCAL], "expect": [{"user": "a", "expect": "often"}]}, "expect[0]: expect"),
        ({"rules": [LOCAL], "state": "gone"}, "state"),
        ({"rules": [LOCAL], "lockout": "maybe"}, "lockout"),
    ):
        assert message in file.run("local all a trust\n", **t.cast("dict[str, t.Any]", more))["msg"], more
        assert file.text == "local all a trust\n"


def test_rules_expire(file: File) -> None:
    rule = {**LOCAL, "users": "guest", "expires": "2099-12-31", "comment": "audit"}
    text = file.becomes("local all postgres peer\n", rules=[rule])
    assert text.splitlines()[1].endswith("# audit [expires: 2099-12-31]")
    result = file.run(text.replace("2099", "2001"), rules=["local all postgres peer"])
    assert result["edits"][0]["reason"] == "expired"
    assert result["access_changes"][0]["change"] == "loses"
    assert file.text == "local all postgres peer\n"


def test_create_mode_and_backup(file: File) -> None:
    arguments = {"path": str(file.path), "postgres_version": "15", "rules": [LOCAL]}
    assert "no such file" in pg_hba(arguments)["msg"]
    made = four({**arguments, "create": True, "mode": "0640", "backup": True}, file.path)
    assert (file.text, made["backup_file"]) == (ADDED, None)
    assert file.path.stat().st_mode & 0o777 == 0o640
    assert made["reloaded"] is False
    mode = four({**arguments, "mode": "0600"}, file.path)
    assert mode["changed"] is True
    assert file.path.stat().st_mode & 0o777 == 0o600
    backup = four({**arguments, "rules": ["local all x peer"], "backup": True}, file.path)["backup_file"]
    with open(backup, encoding="ascii") as old:
        assert old.read() == ADDED


def test_bad_places(file: File) -> None:
    where: dict[str, t.Any] = {"postgres_version": "15", "rules": [LOCAL]}
    assert "is a directory" in pg_hba({**where, "path": str(file.path.parent)})["msg"]
    assert "there is no directory" in pg_hba({**where, "path": str(file.path.parent / "no/pg_hba.conf"), "create": True})["msg"]
    file.path.write_text("local all all peer\n")
    assert "postgres_version" in pg_hba({"path": str(file.path), "rules": [LOCAL]})["msg"]


def test_no_secret_in_results_and_differences(file: File) -> None:
    line = 'host all all 10.0.0.0/8 ldap ldapserver=x "ldapbindpasswd=very, secret" ldapbasedn=y ldapbinddn=z'
    result = file.run(f"{line.replace('very', 'older')}\n", rules=[line])
    assert "very, secret" in file.text
    assert "very, secret" not in json.dumps(result)
    assert "older, secret" not in json.dumps(result)
    assert result["changed"] is True
    broken = file.run("local all all peer\n", rules=[line.replace("ldapserver=x", "ldapserver=x nonsense=1")])
    assert broken["failed"] is True
    assert "very, secret" not in json.dumps(broken)


def test_order_of_the_given_rules(file: File) -> None:
    text = file.becomes("local all postgres peer\n", rules=["host all b all md5", "host all a all md5", "host all a ::1/128 reject"])
    assert [line.split()[2:4] for line in text.splitlines()[1:]] == [["b", "all"], ["a", "all"], ["a", "::1/128"]]


def test_the_result_has_a_limit_and_the_counts_have_none(file: File) -> None:
    before = "".join([f"host db{number} all 10.0.{number}.0/24 trust\n" for number in range(5)])
    rules = [f"host db{number} u 192.168.{number}.0/24 md5" for number in range(4)]
    whole = file.run(before, rules=[*rules, "host db0 all 10.0.0.0/24 md5"], result_limit=0)
    cut = file.run(before, rules=[*rules, "host db0 all 10.0.0.0/24 md5"], result_limit=2)
    kinds = [change["change"] for change in whole["access_changes"]]
    severities = [finding["severity"] for finding in whole["findings"]]
    assert cut["counts"] == {
        "access_changes": {kind: kinds.count(kind) for kind in set(kinds)},
        "findings": {severity: severities.count(severity) for severity in set(severities)},
        "rules": 9,
        "edits": 5,
    }
    assert set(kinds) == {"gains", "method"}
    for name in ("access_changes", "findings", "rules", "edits"):
        assert cut[name] == whole[name][:2]
        assert len(whole[name]) > 2
    assert "access_changes holds the first 2 of 5" in json.dumps(cut["warnings"])
    assert "access_changes holds" not in json.dumps(whole.get("warnings"))
    assert "result_limit: is negative" in file.run(before, rules=rules, result_limit=-1)["msg"]
