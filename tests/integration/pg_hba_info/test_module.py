# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_hba_info against what the servers themselves say: their view, and connections that they accept or refuse."""

from __future__ import annotations

import json
import time
import typing as t
from pathlib import Path

import pytest
from differential.servers import Server

from .conftest import reach, run

RULES = b"""\
# who may connect
local all postgres trust
local all "all" trust
host replication +carriers 127.0.0.0/8 trust
host all,db1 +staff 127.0.0.0/8 trust # members
hostnossl all outsider 127.0.0.1/32 reject
host all all 10.0.0.5/24 ldap ldapserver=x "ldapbindpasswd=not, for you" ldapbasedn=dc=x ldapbinddn=cn=x
host postgres outsider 127.0.0.5/32 scram-sha-256
"""
NO_LDAP = RULES.replace(b'host all all 10.0.0.5/24 ldap ldapserver=x "ldapbindpasswd=not, for you" ldapbasedn=dc=x ldapbinddn=cn=x\n', b"")


@pytest.fixture
def ready(server: Server) -> Server:
    server.populate(
        [
            "create role staff",
            "create role member login in role staff",
            "create role outsider login",
            "create role reader login password 'x'",
        ]
    )
    assert server.use(NO_LDAP)
    return server


def client(user: str, **more: t.Any) -> dict[str, t.Any]:
    return {"user": user, "database": "postgres", "address": "127.0.0.1", **more}


def test_live_rules_are_those_of_the_view(ready: Server) -> None:
    result = run(reach(ready))
    shown, failure = ready.view("hba")
    assert failure is None
    assert result["source"] == "server"
    assert result["file"] == str(ready.data / "pg_hba.conf")
    assert result["changed"] is False
    assert result["loads"] is True
    assert result["errors"] == []
    ours = [{name: value for name, value in rule.items() if name not in ("text", "file_name")} for rule in result["rules"]]
    assert ours == [{name: value for name, value in row.items() if name != "file_name"} for row in shown or []]
    assert result["rules"][3]["text"].endswith("# members")


def test_decisions_are_what_connections_meet(ready: Server) -> None:
    clients = [client("member"), client("outsider"), client("outsider", address="127.0.0.5"), client("nobody_at_all")]
    result = run(reach(ready, clients=clients))
    for item, decision in zip(clients, result["decisions"]):
        attempt = ready.attempt(item["user"].encode(), b"postgres", address="127.0.0.1", source=item["address"])
        if decision["outcome"] == "trust":
            assert attempt.answer.sqlstate is None
        elif decision["outcome"] in ("rejected", "no_entry"):
            assert attempt.answer.sqlstate == "28000"
            assert ("rejects" in attempt.answer.message) == (decision["outcome"] == "rejected")
        else:
            assert attempt.line == decision["line_number"]
    assert [decision["outcome"] for decision in result["decisions"]] == ["trust", "rejected", "scram-sha-256", "no_entry"]
    assert result["decisions"][1]["why_not"][0]["reason"] == "type"


def test_every_error_of_the_server_is_an_error_here(ready: Server, tmp_path: Path) -> None:
    path = tmp_path / "pg_hba.conf"
    path.write_bytes(b'local all all trust\nhost all all 10.0.0.1 md5\nlocal all all peer clientcert=x\nHOST a b c d\nlocal "x\n')
    result = run(reach(ready, path=str(path)))
    (ready.data / "pg_hba.conf").write_bytes(path.read_bytes())
    try:
        shown, _failure = ready.view("hba")
        log = "\n".join(ready.reload())
    finally:
        assert ready.use(NO_LDAP)
    assert [row["error"] for row in shown or []] == [rule["error"] for rule in result["rules"]]
    assert result["loads"] is False
    assert len(result["errors"]) == 4
    assert "was not reloaded" in log
    for error in result["errors"]:
        assert error["error"] in log


def test_a_reload_that_waits_is_seen(ready: Server) -> None:
    assert run(reach(ready))["pending_reload"] is False
    time.sleep(1.1)  # the server tells a file's time in whole seconds
    (ready.data / "pg_hba.conf").write_bytes(NO_LDAP + b"# newer\n")
    assert run(reach(ready))["pending_reload"] is True
    ready.reload()
    assert run(reach(ready))["pending_reload"] is False


def test_an_ordinary_role_learns_what_it_may(ready: Server) -> None:
    assert ready.use(b"local all all trust\n")
    refused = run(reach(ready, login_user="reader"))
    assert refused["failed"] is True
    assert "pg_hba_file_rules" in refused["msg"]
    for statement in ("grant select on pg_hba_file_rules to reader", "grant execute on function pg_hba_file_rules() to reader"):
        ready.sql(statement)
    result = run(reach(ready, login_user="reader"))
    assert result["source"] == "view"
    assert result["loads"] is None
    assert [rule["auth_method"] for rule in result["rules"]] == ["trust"]
    refused = run(reach(ready, login_user="reader", clients=[client("member")]))
    assert "pg_read_server_files" in refused["msg"]


def test_no_secret_is_shown(server: Server) -> None:
    result = run({"content": RULES.decode(), "postgres_version": str(server.major)})
    assert "not, for you" not in json.dumps({name: value for name, value in result.items() if name != "invocation"})
    assert "ldapbindpasswd=********" in result["rules"][5]["options"]
    assert '"ldapbindpasswd=********" ldapbasedn=dc=x' in result["rules"][5]["text"]


def test_includes_are_followed_on_the_server(ready: Server) -> None:
    if ready.major < 16:
        pytest.skip("include came with 16")
    (ready.data / "more").mkdir(exist_ok=True)
    ready._write(ready.data / "more" / "a.conf", b"host all extra 127.0.0.1/32 trust\n")
    ready._give(ready.data / "more")
    assert ready.use(b"local all all trust\ninclude_dir more\n")
    result = run(reach(ready, clients=[client("extra", expect="trust")]))
    assert result["decisions"][0]["file_name"] == str(ready.data / "more" / "a.conf")
    assert result["decisions"][0]["met"] is True


def test_expectations(server: Server) -> None:
    given = {"content": NO_LDAP.decode(), "postgres_version": str(server.major)}
    clients = [client("outsider", expect="scram-sha-256", memberships=[]), client("x", expect="no_entry", memberships=[])]
    result = run({**given, "clients": clients})
    assert result["failed"] is True
    assert "outsider to postgres from 127.0.0.1 over tcp: expected scram-sha-256, but it is rejected (line 6" in result["msg"]
    assert "failed" not in run({**given, "clients": clients, "fail_on": "never"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "/no/such/pg_hba.conf", "postgres_version": "15"}, "/no/such/pg_hba.conf"),
        ({"path": "/", "postgres_version": "15"}, "directory"),
        ({"content": "local all all trust"}, "postgres_version"),
        ({"content": "x", "postgres_version": "11"}, "12 to 18"),
        ({"content": "x", "path": "/x", "postgres_version": "15"}, "mutually exclusive"),
        ({"content": "x", "postgres_version": "15", "clients": [{"user": "a", "address": "300.1.1.1"}]}, "clients[0]: address"),
        ({"content": "x", "postgres_version": "15", "clients": [{"user": "a", "expect": "often"}]}, "clients[0]: expect"),
        ({"login_unix_socket": "/no/such/folder"}, "no session"),
    ],
)
def test_bad_input(arguments: dict[str, t.Any], message: str) -> None:
    result = run(arguments)
    assert result["failed"] is True
    assert message in result["msg"]
