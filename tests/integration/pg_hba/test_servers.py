# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_hba on servers of several majors: proved, written, loaded, verified by connections, and rolled back when the server says no."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import psycopg2
import pytest
import yaml
from ansible_collections.pgops.access.plugins.modules import pg_hba as module
from differential.servers import Server

from .conftest import four, pg_hba, reach

OPEN = b"# kept\nlocal all postgres trust\nlocal all  all   reject # kept too\n"
TRUSTER = {"type": "host", "users": "truster", "address": "127.0.0.1/32", "method": "trust"}


@pytest.fixture
def ready(server: Server) -> Server:
    server.populate(
        ["create role truster login", "create role staff", "create role member login in role staff", "create role reader login"]
    )
    server.switch()
    (server.data / "pg_hba.conf").chmod(0o640)
    server._give(server.data / "pg_hba.conf")
    assert server.use(OPEN)
    return server


def enters(server: Server, user: str) -> bool:
    return server.attempt(user.encode(), b"postgres", address="127.0.0.1", source="127.0.0.1").answer.sqlstate is None


def test_a_change_is_made_loaded_and_met_by_clients(ready: Server) -> None:
    path = ready.data / "pg_hba.conf"
    assert not enters(ready, "truster")
    expect = [
        {"user": "truster", "database": "postgres", "address": "127.0.0.1", "expect": "trust"},
        {"user": "postgres", "database": "postgres", "transport": "local", "expect": "trust"},
    ]
    result = four(reach(ready, rules=[TRUSTER], expect=expect, backup=True), path)
    assert result["path"] == str(path)
    assert result["reloaded"] is True
    assert result["reload_proof"]["file"] is True
    assert [change["change"] for change in result["access_changes"]] == ["gains"]
    assert "user truster to any database from 127.0.0.1/32" in result["access_changes"][0]["text"]
    assert Path(result["backup_file"]).read_bytes() == OPEN
    assert path.read_bytes().startswith(OPEN)
    assert path.read_text().splitlines()[3].split() == ["host", "all", "truster", "127.0.0.1/32", "trust"]
    assert enters(ready, "truster")
    gone = four(reach(ready, rules=[{**TRUSTER, "method": None}], state="absent"), path)
    assert [change["change"] for change in gone["access_changes"]] == ["loses"]
    assert path.read_bytes() == OPEN
    assert not enters(ready, "truster")


def test_roles_of_the_server_prove_expectations(ready: Server) -> None:
    rule = {"type": "host", "users": "+staff", "address": "127.0.0.1/32", "method": "trust"}
    who = {"database": "postgres", "address": "127.0.0.1"}
    good = [{"user": "member", "expect": "trust", **who}, {"user": "truster", "expect": "no_entry", **who}]
    result = pg_hba(reach(ready, rules=[rule], expect=good))
    assert "failed" not in result, result["msg"]
    assert enters(ready, "member")
    assert not enters(ready, "truster")


def test_names_are_the_bytes_that_the_server_compares(ready: Server) -> None:
    """Roles beyond ASCII, in a database of the locale C, and one that is not even UTF-8: they are proved, and nobody else is hit."""
    assert ready.session is not None
    names = ('"gr\u00fcppe"'.encode(), '"k\u00e4the"'.encode(), b'"caf\xe9"')
    for name in names:
        ready.session.query(b"create role " + name + b" login")
    try:
        ready.session.query(b"grant " + names[0] + b" to " + names[1])
        rule = {"type": "host", "users": "+gr\u00fcppe", "address": "127.0.0.1/32", "method": "trust"}
        who = {"database": "postgres", "address": "127.0.0.1"}
        expect = [{"user": "k\u00e4the", "expect": "trust", **who}, {"user": "caf\u00e9", "expect": "no_entry", **who}]
        result = pg_hba(reach(ready, rules=[rule], expect=expect))
        assert "failed" not in result, result["msg"]
        assert enters(ready, "k\u00e4the")
        assert not enters(ready, "caf\u00e9")
    finally:
        ready.use(OPEN)
        for name in reversed(names):
            ready.session.query(b"drop role " + name)


def test_a_broken_expectation_stops_before_the_write(ready: Server) -> None:
    expect = [{"user": "truster", "database": "postgres", "address": "127.0.0.1", "expect": "trust"}]
    result = pg_hba(reach(ready, rules=["host all all 127.0.0.0/8 reject"], expect=expect))
    assert result["failed"] is True
    assert "truster to postgres from 127.0.0.1 over tcp: expected trust, but it is rejected (line 4 of " in result["msg"]
    assert "above line 4" in result["msg"]
    assert "would help: hostnossl postgres truster 127.0.0.1/32 trust" in result["msg"]
    assert result["access_changes"] == [] or result["access_changes"][0]["change"] == "refusal"
    assert (ready.data / "pg_hba.conf").read_bytes() == OPEN


def test_nobody_saws_off_the_branch(ready: Server) -> None:
    cut = reach(ready, rules=["local all postgres reject"])
    refused = pg_hba(cut)
    assert refused["failed"] is True
    assert "postgres to postgres over the Unix socket, is not proved to get in" in refused["msg"]
    assert (ready.data / "pg_hba.conf").read_bytes() == OPEN
    beaten = pg_hba({**cut, "lockout": "ignore", "reload_timeout": 1})  # the proof after the reload is that we cannot come back
    assert beaten["failed"] is True
    assert beaten["rolled_back"] is True
    assert "after the reload, no session" in beaten["msg"]
    assert "the server has loaded it again" in beaten["msg"]
    assert (ready.data / "pg_hba.conf").read_bytes() == OPEN
    assert "failed" not in pg_hba(reach(ready, rules=[TRUSTER]))


def test_edge_21_a_broken_file_is_never_written_and_its_reload_is_rolled_back(ready: Server) -> None:
    ready._write(ready.data / "pg_hba.conf", OPEN + b"HOST all all 10.0.0.0/8 md5\n")
    refused = pg_hba(reach(ready, rules=[TRUSTER]))
    assert 'line 4: invalid connection type "HOST"' in refused["msg"]
    ready._write(ready.data / "pg_hba.conf", OPEN)
    broken = {"rules": [TRUSTER], "validate": False, "lockout": "ignore"}
    ready._write(ready.data / "pg_hba.conf", OPEN + b"HOST all all 10.0.0.0/8 md5\n")
    result = pg_hba(reach(ready, **broken))
    assert result["rolled_back"] is True
    assert 'the server refuses the file: line 4: invalid connection type "HOST"' in result["msg"]
    assert "but nothing proves that the server has loaded it" in result["msg"]  # for the old file was as broken
    assert (ready.data / "pg_hba.conf").read_bytes() == OPEN + b"HOST all all 10.0.0.0/8 md5\n"


def test_edge_23_a_file_that_the_server_cannot_read_is_given_back(ready: Server) -> None:
    if ready.account is None:
        pytest.skip("needs root")
    path = ready.data / "pg_hba.conf"
    was = path.stat()
    result = pg_hba(reach(ready, rules=[TRUSTER], owner="root", group="root", mode="0600"))
    assert result["rolled_back"] is True
    assert "Permission denied" in result["msg"]
    now = path.stat()
    assert (now.st_uid, now.st_gid, now.st_mode, path.read_bytes()) == (was.st_uid, was.st_gid, was.st_mode, OPEN)


def test_edge_24_hostssl_without_ssl_does_load(ready: Server) -> None:
    ready.switch(ssl=False)
    assert ready.use(OPEN)
    result = four(reach(ready, rules=["hostssl all truster 127.0.0.1/32 trust"]), ready.data / "pg_hba.conf")
    assert result["reloaded"] is True
    assert "hostssl record cannot match because SSL is disabled" in str(result["rules"])


def test_edge_25_a_right_file_that_was_not_loaded_is_loaded(ready: Server) -> None:
    path = ready.data / "pg_hba.conf"
    stale = OPEN + b"host all truster 127.0.0.1/32 trust\n"
    subprocess.run(["sleep", "1.1"], check=True)
    ready._write(path, stale)
    assert not enters(ready, "truster")
    result = pg_hba(reach(ready, rules=[TRUSTER]))
    assert (result["changed"], result["reloaded"], result["edits"]) == (True, True, [])
    assert enters(ready, "truster")
    assert pg_hba(reach(ready, rules=[TRUSTER]))["changed"] is False


def test_the_servers_own_log_is_asked_where_it_writes_one(ready: Server) -> None:
    ready.switch(log_statement="none")
    assert ready.use(OPEN)
    assert pg_hba(reach(ready, rules=[TRUSTER]))["reload_proof"]["log"] is False  # the test's servers log to a pipe


def test_another_servers_file_is_refused(ready: Server, tmp_path: Path) -> None:
    other = tmp_path / "pg_hba.conf"
    other.write_text("local all all peer\n")
    result = pg_hba(reach(ready, path=str(other), rules=[TRUSTER]))
    assert "is not what the server at hand reads" in result["msg"]
    assert other.read_text() == "local all all peer\n"


def test_a_role_that_cannot_prove_is_told_before_the_write(ready: Server) -> None:
    assert ready.use(b"local all all trust\n")
    result = pg_hba(reach(ready, login_user="reader", path=str(ready.data / "pg_hba.conf"), rules=[TRUSTER]))
    assert "the role may not use pg_reload_conf()" in result["msg"]
    assert (ready.data / "pg_hba.conf").read_bytes() == b"local all all trust\n"


def test_a_server_that_cannot_be_reached_changes_nothing(ready: Server) -> None:
    result = pg_hba(reach(ready, login_port=1, path=str(ready.data / "pg_hba.conf"), rules=[TRUSTER]))
    assert "no session" in result["msg"]
    assert (ready.data / "pg_hba.conf").read_bytes() == OPEN


def refusal(server: Server, user: str, password: str) -> str:
    """What the server tells a client that is refused; empty for one that gets in."""
    try:
        psycopg2.connect(host="127.0.0.1", port=server.port, user=user, password=password, dbname="postgres", sslmode="disable").close()
    except psycopg2.OperationalError as error:
        return str(error)
    return ""


def test_edge_33_the_same_secrets_under_md5_and_scram(ready: Server) -> None:
    """A method is changed by the module, and passwords of both kinds meet it as the server's documentation says."""
    for name, kind in (("has_scram", "scram-sha-256"), ("has_md5", "md5")):
        ready.sql(f"drop role if exists {name}")
        ready.sql(f"set password_encryption = '{kind}'")
        ready.sql(f"create role {name} login password 'right'")
    rule = {"type": "host", "users": "has_scram,has_md5", "address": "127.0.0.1/32"}
    pg_hba(reach(ready, rules=[{**rule, "method": "md5"}]))
    assert (refusal(ready, "has_scram", "right"), refusal(ready, "has_md5", "right")) == ("", "")
    result = pg_hba(reach(ready, rules=[{**rule, "method": "scram-sha-256"}]))
    assert {change["change"] for change in result["access_changes"]} == {"method"}
    start = ready._log_size()
    assert refusal(ready, "has_scram", "right") == ""
    assert "password authentication failed" in refusal(ready, "has_md5", "right")
    log = "\n".join(ready._entries(start))
    assert 'User "has_md5" does not have a valid SCRAM secret' in log
    assert "line 4: " in log


def test_edge_34_no_entry_and_rejected_are_told_apart(ready: Server) -> None:
    """What the module says beforehand is what the client is told: no rule is not the same as a rule that rejects."""
    who = {"user": "truster", "database": "postgres", "address": "127.0.0.1"}
    assert pg_hba(reach(ready, rules=["local all postgres trust"], expect=[{**who, "expect": "no_entry"}]))["decisions"][0]["met"] is True
    assert "no pg_hba.conf entry" in refusal(ready, "truster", "x")
    result = pg_hba(reach(ready, rules=[{**TRUSTER, "method": "reject"}], expect=[{**who, "expect": "rejected"}]))
    assert result["decisions"][0]["met"] is True
    assert "pg_hba.conf rejects connection" in refusal(ready, "truster", "x")


def test_edge_35_the_log_names_the_line_that_the_module_names(ready: Server) -> None:
    """A failure quotes its rule on every release; a success names its line from 14 on, trust from 17 on."""
    ready.sql("drop role if exists secret")
    ready.sql("set password_encryption = 'scram-sha-256'")
    ready.sql("create role secret login password 'right'")
    rules = [TRUSTER, {**TRUSTER, "users": "secret", "method": "scram-sha-256"}]
    clients = [{"user": name, "database": "postgres", "address": "127.0.0.1", "expect": "allowed"} for name in ("truster", "secret")]
    lines = [decision["line_number"] for decision in pg_hba(reach(ready, rules=rules, expect=clients))["decisions"]]
    assert lines == [4, 5]
    start = ready._log_size()
    assert refusal(ready, "truster", "") == refusal(ready, "secret", "right") == ""
    assert refusal(ready, "secret", "wrong") != ""
    log = "\n".join(ready._entries(start))
    assert ("method=trust" in log) == (ready.major >= 17)
    assert (f'identity="secret" method=scram-sha-256 ({ready.data}/pg_hba.conf:5)' in log) == (ready.major >= 14)
    name = f'file "{ready.data}/pg_hba.conf"' if ready.major >= 16 else "pg_hba.conf"
    assert f"Connection matched {name} line 5: " in log


def test_as_ansible_runs_it(ready: Server, tmp_path: Path) -> None:
    """Every example, against a server and a file that are as they say; the third writes what the fourth takes away."""
    policy = tmp_path / "pg_hba.conf"
    for task in yaml.safe_load(module.EXAMPLES):
        arguments = dict(task["pgops.access.pg_hba"])
        if "login_unix_socket" in arguments:
            arguments.update(reach(ready))
        else:
            arguments["path"] = str(policy)
        result = pg_hba(arguments)
        assert "failed" not in result, result["msg"]
        assert result["changed"] is (arguments.get("state") != "absent")
    assert policy.stat().st_mode & 0o777 == 0o640


def test_samehost_and_samenet_are_those_of_this_machine(ready: Server) -> None:
    """The server is here, so its interfaces are ours: told beforehand, and so it is when a connection comes from such an address."""
    listed = subprocess.run(["ip", "-json", "-4", "address"], capture_output=True, text=True, check=True).stdout
    addresses = [found["local"] for link in json.loads(listed) for found in link["addr_info"] if not found["local"].startswith("127.")]
    if not addresses:
        pytest.skip("this machine has no address but loopback")
    for word in ("samehost", "samenet"):
        clients = [{"user": "truster", "database": "postgres", "address": address, "expect": "trust"} for address in addresses]
        clients += [
            {"user": "truster", "database": "postgres", "address": "127.0.0.1", "expect": "trust"},
            {"user": "truster", "database": "postgres", "address": "203.0.113.77", "expect": "no_entry"},
        ]
        result = pg_hba(reach(ready, rules=[f"host all truster {word} trust"], expect=clients))
        assert "failed" not in result, result["msg"]
        # the servers of these tests listen on loopback; what comes from another address of this machine is still the same host
        for address in addresses:
            assert ready.attempt(b"truster", b"postgres", address="127.0.0.1", source=address).answer.sqlstate is None
        assert pg_hba(reach(ready, state="absent", rules=[f"host all truster {word}"]))["changed"] is True
