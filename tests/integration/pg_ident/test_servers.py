# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_ident on servers of several majors: what it says is held against the server's view and against real peer logins."""

from __future__ import annotations

import fcntl
import os
import pwd
import signal
import threading
import time
import typing as t
from pathlib import Path

import pytest
from differential.servers import Server

from .conftest import MODULE, four, pg_ident, reach, run

HBA = b"local all postgres trust\nlocal all all peer map=m\n"
KEPT = b"# kept\nother  root\tapp # kept too\n"
PEERS = ("nobody", "daemon", "bin")


@pytest.fixture
def ready(server: Server) -> Server:
    if server.account is None:
        pytest.skip("logins of other operating system users need root")
    server.populate(["create role app login", "create role staff", "create role member login in role staff", "create role reader login"])
    server.switch()
    assert server.use(HBA, KEPT)
    for name in ("pg_hba.conf", "pg_ident.conf"):
        server._give(server.data / name)
    return server


def enters(server: Server, system_user: str, role: str) -> bool:
    """A real peer login of an operating system user."""
    answer = server.attempt(role.encode(), b"postgres", uid=pwd.getpwnam(system_user).pw_uid).answer
    assert answer.sqlstate in (None, "28000"), answer
    return answer.sqlstate is None


def path_of(server: Server) -> Path:
    return server.data / "pg_ident.conf"


def in_view(server: Server) -> list[tuple[str, str, str]] | None:
    """What the server's view shows; None before there was one."""
    rows, _failure = server.view("ident")
    return None if rows is None else [(row["map_name"], row["sys_name"], row["pg_username"]) for row in rows]


def test_a_change_is_made_loaded_and_met_by_logins(ready: Server) -> None:
    path = path_of(ready)
    assert not enters(ready, "nobody", "app")
    entry = {"map": "m", "system_user": "nobody", "database_user": "app", "comment": "for now"}
    expect = [
        {"map": "m", "system_user": "nobody", "user": "app", "expect": "allowed"},
        {"map": "m", "system_user": "daemon", "user": "app", "expect": "refused"},
    ]
    made = four(reach(ready, rules=[entry], expect=expect, backup=True), path)
    assert (made["path"], made["reloaded"], made["reload_proof"]["file"]) == (str(path), True, True)
    assert [change["text"] for change in made["access_changes"]] == ["map m: nobody may become role app, line 3"]
    assert [decision["roles"] for decision in made["decisions"]] == [["app"], []]
    assert Path(made["backup_file"]).read_bytes() == KEPT
    assert path.read_bytes() == KEPT + b"m               nobody                  app  # for now\n"
    assert in_view(ready) in (None, [("other", "root", "app"), ("m", "nobody", "app")])
    assert (enters(ready, "nobody", "app"), enters(ready, "daemon", "app"), enters(ready, "nobody", "member")) == (True, False, False)
    gone = four(reach(ready, rules=[{"map": "m", "system_user": "nobody"}], state="absent"), path)
    assert [(change["change"], change["database_user"]) for change in gone["access_changes"]] == [("loses", "app")]
    assert path.read_bytes() == KEPT
    assert not enters(ready, "nobody", "app")


@pytest.mark.parametrize(
    "rules",
    [
        ["m nobody app", "m daemon member"],
        [{"map": "m", "system_user": "/^(no)?body$", "database_user": "app"}],
        [{"map": "m", "system_user": "/^(.*)$", "database_user": "\\1"}],
        [{"map": "m", "system_user": "/o", "database_user": "app"}, {"map": "m", "system_user": "bin", "database_user": '"all"'}],
        [{"map": "m", "system_user": "nobody", "database_user": "all"}],
        [{"map": "m", "system_user": "daemon", "database_user": "+staff"}],
        [{"map": "m", "system_user": "bin", "database_user": "/^m"}],
        [{"map": "m n", "system_user": "bin", "database_user": "app"}, {"map": '"m"', "system_user": "bin", "database_user": "member"}],
    ],
)
def test_who_may_become_whom_is_what_logins_meet(ready: Server, rules: list[t.Any]) -> None:
    """Every answer of the module for every pair, before and after, against the server; so are the changes that it names."""
    pairs = [(peer, role) for peer in PEERS for role in ("app", "member", "reader")]
    ask = [{"map": "m", "system_user": peer, "user": role} for peer, role in pairs]
    before = [enters(ready, *pair) for pair in pairs]
    made = four(reach(ready, section="ours", rules=rules, expect=ask), path_of(ready))
    after = [enters(ready, *pair) for pair in pairs]
    assert [decision["outcome"] == "allowed" for decision in made["decisions"]] == after
    for (peer, role), was, now, decision in zip(pairs, before, after, made["decisions"]):
        assert (role in decision["roles"]) is now
        named = [one for one in made["access_changes"] if one["map"] == "m" and one["change"] == "gains"]
        told = any(
            (one["system_user"] == peer or one["system_user"][:1] == "/") and (one["database_user"] == role or one["keyword"])
            for one in named
        )
        assert was or not now or told, (peer, role)
    assert four(reach(ready, section="ours", state="absent"), path_of(ready))["changed"] is True
    assert path_of(ready).read_bytes() == KEPT
    assert [enters(ready, *pair) for pair in pairs] == before


def test_names_of_sixteen_are_plain_names_before(ready: Server) -> None:
    result = pg_ident(reach(ready, rules=[{"map": "m", "system_user": "nobody", "database_user": "all"}]))
    codes = [finding["code"] for finding in result["findings"] if finding["line"] == 3 and finding["file"] == str(path_of(ready))]
    assert codes == (["map_anybody"] if ready.major >= 16 else ["map_plain_name"])
    assert enters(ready, "nobody", "app") is (ready.major >= 16)


def test_a_broken_expectation_stops_before_the_write(ready: Server) -> None:
    expect = [{"map": "m", "system_user": "nobody", "user": "reader", "expect": "allowed"}]
    result = pg_ident(reach(ready, rules=["m nobody app"], expect=expect))
    assert result["failed"] is True
    assert 'nobody as reader by map m: expected allowed, but it is refused: no match in usermap "m"' in result["msg"]
    assert "would help: {map: m, system_user: nobody, database_user: reader}" in result["msg"]
    assert path_of(ready).read_bytes() == KEPT


def test_rules_and_maps_are_held_against_each_other(ready: Server) -> None:
    result = pg_ident(reach(ready), check=True)
    assert (result["changed"], len(result["rules"])) == (False, 1)
    found = {finding["code"]: finding for finding in result["findings"]}
    assert 'the rule uses the map "m", which has no entry' in found["map_missing"]["reason"]
    assert (found["map_missing"]["file"], found["map_missing"]["line"]) == (str(ready.data / "pg_hba.conf"), 2)
    assert 'no rule uses the map "other"' in found["map_unused"]["reason"]
    unknown = pg_ident(reach(ready, rules=["m nobody nope"]), check=True)
    assert "map_unknown_role" in [finding["code"] for finding in unknown["findings"]]


def test_nobody_saws_off_the_branch(ready: Server) -> None:
    """The manager comes by peer and a map: who takes its entry away is refused before, or rolled back after."""
    mine = pwd.getpwuid(os.geteuid()).pw_name
    open_file = f"m {mine} postgres\n".encode()
    assert ready.use(b"local all all peer map=m\n", open_file)
    cut = reach(ready, rules=[{"map": "m", "system_user": mine}], state="absent")
    refused = pg_ident(cut)
    assert f"{mine} as postgres by map m, is not proved to get in afterwards" in refused["msg"]
    assert path_of(ready).read_bytes() == open_file
    beaten = pg_ident({**cut, "lockout": "ignore", "reload_timeout": 1})
    assert beaten["rolled_back"] is True
    assert "after the reload, no session" in beaten["msg"]
    assert "the server has loaded it again" in beaten["msg"]
    assert path_of(ready).read_bytes() == open_file
    assert "failed" not in pg_ident(reach(ready, rules=["m nobody app"]))


def test_a_broken_file_is_refused_and_its_reload_is_rolled_back(ready: Server) -> None:
    broken = KEPT + b"m nobody\n"
    ready._write(path_of(ready), broken)
    refused = pg_ident(reach(ready, rules=["m daemon app"]))
    assert "line 3: missing entry at end of line" in refused["msg"]
    forced = pg_ident(reach(ready, rules=["m daemon app"], validate=False))
    assert forced["rolled_back"] is True
    assert "missing entry at end of line" in forced["msg"]
    assert "but nothing proves that the server has loaded it" in forced["msg"]
    assert path_of(ready).read_bytes() == broken
    mended = four(reach(ready, rules=["m daemon app"], exclusive=True), path_of(ready))
    assert mended["reloaded"] is True
    assert enters(ready, "daemon", "app")


def test_a_file_that_the_server_cannot_read_is_given_back(ready: Server) -> None:
    path = path_of(ready)
    was = path.stat()
    result = pg_ident(reach(ready, rules=["m daemon app"], owner="root", group="root", mode="0600"))
    assert result["rolled_back"] is True
    assert "Permission denied" in result["msg"]
    now = path.stat()
    assert (now.st_uid, now.st_gid, now.st_mode, path.read_bytes()) == (was.st_uid, was.st_gid, was.st_mode, KEPT)
    assert not enters(ready, "daemon", "app")


def test_an_included_file_that_only_root_may_read_is_noticed(ready: Server) -> None:
    """Before 15 no view shows it; the module reads with the server's own account there."""
    secret = ready.data / "names"
    secret.write_text("daemon\n")
    secret.chmod(0o600)
    os.chown(secret, 0, 0)
    try:
        result = pg_ident(reach(ready, rules=["m @names app"]))
        assert result["rolled_back"] is True
        assert "names" in result["msg"]
        assert path_of(ready).read_bytes() == KEPT
        secret.chmod(0o644)
        made = four(reach(ready, rules=["m @names app"]), path_of(ready))
        assert made["reloaded"] is True
        assert enters(ready, "daemon", "app")
    finally:
        secret.unlink()


def test_a_right_file_that_was_not_loaded_is_loaded(ready: Server) -> None:
    time.sleep(1.1)
    ready._write(path_of(ready), KEPT + b"m daemon app\n")
    assert not enters(ready, "daemon", "app")
    result = pg_ident(reach(ready, rules=["m daemon app"]))
    assert (result["changed"], result["reloaded"], result["edits"]) == (True, True, [])
    assert enters(ready, "daemon", "app")
    assert pg_ident(reach(ready, rules=["m daemon app"]))["changed"] is False


def test_another_servers_file_and_missing_rights_are_refused(ready: Server, tmp_path: Path) -> None:
    other = tmp_path / "pg_ident.conf"
    other.write_text("m a b\n")
    assert "is not what the server at hand reads" in pg_ident(reach(ready, path=str(other), rules=["m daemon app"]))["msg"]
    assert other.read_text() == "m a b\n"
    assert ready.use(b"local all all trust\n", KEPT)
    result = pg_ident(reach(ready, login_user="reader", path=str(path_of(ready)), rules=["m daemon app"]))
    assert "the role may not use pg_reload_conf()" in result["msg"]
    result = pg_ident(reach(ready, login_port=1, path=str(path_of(ready)), rules=["m daemon app"]))
    assert "no session" in result["msg"]
    assert path_of(ready).read_bytes() == KEPT


def test_a_role_that_may_reload_but_not_look_is_told_before_the_write(ready: Server) -> None:
    assert ready.use(b"local all all trust\n", KEPT)
    ready.sql("grant execute on function pg_reload_conf() to reader")
    try:
        result = pg_ident(reach(ready, login_user="reader", path=str(path_of(ready)), rules=["m daemon app"]))
        wanted = "pg_ident_file_mappings" if ready.major >= 15 else "pg_read_binary_file(text), and before 15"
        assert f"the role may not use {wanted}" in result["msg"]
        assert path_of(ready).read_bytes() == KEPT
    finally:
        ready.sql("revoke execute on function pg_reload_conf() from reader")


def test_writers_at_once_lose_no_entry(ready: Server) -> None:
    """Each loads and proves; who finds another's file in the place of its own proves that."""
    results: list[dict[str, t.Any]] = []

    def write(peer: str) -> None:
        results.append(run(reach(ready, section=peer, rules=[f"m {peer} app"]), module=MODULE))

    writers = [threading.Thread(target=write, args=[peer]) for peer in PEERS]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [one["msg"] for one in results if one.get("failed")] == []
    assert path_of(ready).read_bytes().startswith(KEPT)
    rows = in_view(ready)
    assert rows is None or sorted(row[1] for row in rows) == sorted(["root", *PEERS])
    assert [enters(ready, peer, "app") for peer in PEERS] == [True] * 3


def test_a_server_that_dies_between_the_write_and_the_proof(ready: Server) -> None:
    """The lock holds the module back until the postmaster is stopped; so it writes, asks for the reload, and finds nobody."""
    process, path = ready.process, path_of(ready)
    assert process is not None
    found: list[dict[str, t.Any]] = []
    arguments = reach(ready, path=str(path), rules=["m daemon app"], reload_timeout=2)
    worker = threading.Thread(target=lambda: found.append(run(arguments, module=MODULE)))
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        worker.start()
        sessions = "select 1 from pg_stat_activity where application_name = 'pgops.access'"
        wait_for(lambda: bool(ready.sql(sessions)))
        time.sleep(0.3)  # its questions are through, it waits for the lock
        process.send_signal(signal.SIGSTOP)
    wait_for(lambda: path.read_bytes() != KEPT)
    process.send_signal(signal.SIGKILL)
    worker.join()
    left = path.read_bytes()
    ready.revive()
    assert found[0]["failed"] is True
    assert found[0]["rolled_back"] is True
    assert "nothing proves that the server has loaded it" in found[0]["msg"]
    assert left == KEPT


def wait_for(condition: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
