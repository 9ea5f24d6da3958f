# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Members and etcd that are down, late, paused, masked or wrong: what is written, what is put back, and what is said."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import threading
import time
import typing as t

import pytest
from patroni_support import Cluster, Member

from .conftest import call
from .test_rules import APP, rules, same_everywhere

SECTION = {"rules": [APP], "section": "orders"}


@contextlib.contextmanager
def frozen(*pids: int) -> t.Iterator[None]:
    """Processes that do not answer for a while."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def patroni_of(member: Member) -> int:
    assert member.process is not None
    return member.process.pid


@pytest.fixture
def replica(cluster: Cluster) -> Member:
    return cluster.replicas()[-1]


def _failed(result: dict[str, t.Any]) -> dict[str, t.Any] | None:
    return result if result.get("failed") else None


def restarted(cluster: Cluster, member: Member) -> None:
    member.stop()
    member.start()
    cluster.wait_for_all()


# --------------------------------------------------------------------------------------------------------------- nothing is written


def test_wrong_credentials(cluster: Cluster) -> None:
    result = call("pg_hba", cluster, {"password": "not-that-one"}, **SECTION)
    assert result["failed"] is True
    assert "wrong or missing user name and password" in result["msg"]
    assert "restapi.authentication" in result["msg"]
    assert rules(cluster) == cluster.first_rules()


def test_a_wrong_password_of_the_servers(cluster: Cluster) -> None:
    result = call("pg_hba", cluster, login_password="not-that-one", **SECTION)
    assert result["failed"] is True
    assert "no member's server can be asked" in result["msg"]
    assert "password authentication failed" in result["msg"]
    assert rules(cluster) == cluster.first_rules()


def test_nobody_at_the_url(cluster: Cluster) -> None:
    began = time.monotonic()
    result = call("pg_hba", cluster, {"urls": ["http://127.0.0.1:1"], "timeout": 2.0}, **SECTION)
    assert result["failed"] is True
    assert "no member answers: http://127.0.0.1:1: " in result["msg"]
    assert time.monotonic() - began < 8


def test_one_url_of_several_is_enough(cluster: Cluster) -> None:
    urls = ["http://127.0.0.1:1", cluster.replicas()[0].url]
    result = call("pg_hba", cluster, {"urls": urls}, **SECTION)
    assert result["changed"] is True, result.get("msg")
    assert "http://127.0.0.1:1 does not answer, and the cluster lists no such member" in str(result["warnings"])
    assert same_everywhere(cluster)


def test_something_else_at_the_url(cluster: Cluster) -> None:
    result = call("pg_hba", cluster, {"urls": [f"http://127.0.0.1:{cluster.etcd_ports[0]}"], "timeout": 3.0}, **SECTION)
    assert result["failed"] is True
    assert "is this Patroni's REST API?" in result["msg"]


def test_etcd_does_not_answer(cluster: Cluster) -> None:
    """At first members read from a cache, take a change, and wait: it is in etcd's queue, and that is said. Then they read no more."""
    with frozen(*[process.pid for process in cluster.etcd]):
        at_once = call("pg_hba", cluster, {"timeout": 2.0}, rules=[APP], section="queued")
        shown = cluster.wait(lambda: _failed(call("patroni_cluster_info", cluster, {"timeout": 2.0}, ask_servers=False)), "a view no more")
        later = call("pg_hba", cluster, {"timeout": 3.0}, rules=[APP], section="refused")
    assert at_once["failed"] is True
    said = any(words in at_once["msg"] for words in ("whether it will be there is not known", "could not be put back"))
    assert at_once["changed"] is said, at_once["msg"]
    assert "no member answers" in shown["msg"]
    assert sorted(member["name"] for member in shown["members"]) == ["n1", "n2", "n3"], "each still says what it can"
    assert later["failed"] is True
    assert not later.get("changed")
    assert "no member answers" in later["msg"]
    assert "the DCS behind them" in later["msg"]
    cluster.wait_for_all()
    cluster.wait(lambda: same_everywhere(cluster), "the same rules everywhere")
    assert not any("refused" in rule for rule in rules(cluster))
    if not at_once.get("changed"):
        assert rules(cluster) == cluster.first_rules()


def test_a_members_own_configuration_hides_the_list(cluster: Cluster, replica: Member) -> None:
    """Local pg_hba replaces the cluster's list there, and nobody would notice; nothing is written then."""
    own = [*cluster.first_rules(), "host all all 192.0.2.1/32 reject"]
    cluster.local[replica.name] = {"pg_hba": own}
    try:
        restarted(cluster, replica)
        assert replica.hba() == cluster.file_of(own)
        result = call("pg_hba", cluster, **SECTION)
        assert result["failed"] is True
        assert f"{replica.name}: its file is another list" in result["msg"]
        assert "nothing was written" in result["msg"]
        assert rules(cluster) == cluster.first_rules()
        shown = call("patroni_cluster_info", cluster)
        sources = {member["name"]: member["rules"]["pg_hba"]["source"] for member in shown["members"]}
        assert sources.pop(replica.name) == "local_configuration"
        assert set(sources.values()) == {"dynamic_configuration"}
        assert shown["writable"]["pg_hba"]["effective"] is False
        assert list(shown["writable"]["pg_hba"]["reasons"]) == [replica.name]
    finally:
        del cluster.local[replica.name]
        restarted(cluster, replica)
    assert call("pg_hba", cluster, **SECTION)["changed"] is True


def test_hba_file_elsewhere(cluster: Cluster) -> None:
    cluster.patch({"postgresql": {"parameters": {"hba_file": "/etc/other_hba.conf"}}})
    result = call("pg_hba", cluster, **SECTION)
    assert result["failed"] is True
    assert "the dynamic configuration sets hba_file to /etc/other_hba.conf, so members ignore pg_hba" in result["msg"]
    assert rules(cluster) == cluster.first_rules()
    cluster.reset()
    cluster.wait(lambda: not any(member.get("pending_restart") for member in cluster.view()["members"]), "no pending restart")


# ----------------------------------------------------------------------------------------------------------- members that are away


def test_a_member_that_is_down(cluster: Cluster, replica: Member) -> None:
    replica.stop()
    try:
        refused = call("pg_hba", cluster, **SECTION)
        assert refused["failed"] is True
        assert f"not every member's server can be asked: {replica.name}" in refused["msg"]
        assert rules(cluster) == cluster.first_rules()
        made = call("pg_hba", cluster, {"unreachable": "report"}, **SECTION)
        assert made["changed"] is True, made.get("msg")
        proved = {member["name"]: member["loaded"] for member in made["members"]}
        assert proved.pop(replica.name) is False
        assert set(proved.values()) == {True}
        assert f"nothing proves that these load the rules: {replica.name}" in str(made["warnings"])
    finally:
        replica.start()
    cluster.wait_for_all()
    assert same_everywhere(cluster), "it has the rules when it returns"


def test_a_member_that_was_starting(cluster: Cluster, replica: Member) -> None:
    """It takes the list into its memory, never writes it, and nobody is told; only POST /reload helps."""
    cluster.local[replica.name] = {
        "recovery_conf": {"restore_command": f"test -e {replica.home}/once || {{ touch {replica.home}/once; sleep 6; }}; false"}
    }
    replica.stop()
    replica.start()
    try:
        cluster.wait(lambda: {"starting"} & {member["state"] for member in cluster.view()["members"]}, "a member that is starting")
        made = call("pg_hba", cluster, {"unreachable": "report", "timeout": 1.0, "wait": 40.0}, **SECTION)
        assert made["changed"] is True, made.get("msg")
        assert [member["loaded"] for member in made["members"]] == [True] * 3
        assert same_everywhere(cluster)
    finally:
        del cluster.local[replica.name]
        restarted(cluster, replica)


def test_a_file_that_somebody_has_edited(cluster: Cluster, replica: Member) -> None:
    """Patroni compares lists with its memory, not with files: a hand edit stays until somebody asks it to reload."""
    with (replica.data / "pg_hba.conf").open("a") as file:
        file.write("host all all 0.0.0.0/0 trust\n")
    assert call("pg_hba", cluster, **SECTION, check=True)["changed"] is True
    cluster.patch({"postgresql": {"pg_hba": cluster.first_rules()}})
    result = call("pg_hba", cluster, rules=[cluster.first_rules()[3]])
    assert result["changed"] is True, result.get("msg")
    assert result["edits"] == []
    assert same_everywhere(cluster)


def test_a_member_that_does_not_write_puts_everything_back(cluster: Cluster, replica: Member) -> None:
    """Its Patroni hangs, its server runs on with the old rules: no member keeps the new ones."""
    with frozen(patroni_of(replica)):
        result = call("pg_hba", cluster, {"wait": 3.0, "timeout": 4.0}, **SECTION)
    assert result["failed"] is True
    assert f"{replica.name}: its file is not the list that was written" in result["msg"]
    assert result["rolled_back"] is True
    assert result["changed"] is False
    assert rules(cluster) == cluster.first_rules()
    cluster.wait(lambda: same_everywhere(cluster), "the old rules everywhere")


def test_rules_that_a_server_refuses_are_put_back_everywhere(cluster: Cluster) -> None:
    """Nothing but the members' servers knows that the file with the names is not there."""
    rule = "host @not-there.txt app 192.0.2.0/24 scram-sha-256"
    result = call("pg_hba", cluster, rules=[rule], validate=False, lockout="ignore")
    assert result["failed"] is True
    assert "not-there.txt" in result["msg"]
    assert result["rolled_back"] is True
    assert "every member that can be asked has loaded it again" in result["msg"]
    assert rules(cluster) == cluster.first_rules()
    assert same_everywhere(cluster)


def test_rules_that_keep_the_module_out_are_put_back_everywhere(cluster: Cluster) -> None:
    """No new session gets in anywhere, so the old list goes back by the sessions that are there."""
    rule = f"host all {cluster.superuser} 127.0.0.0/8 reject"
    result = call("pg_hba", cluster, section="out", position="first", rules=[rule], lockout="ignore", reload_timeout=2.0)
    assert result["failed"] is True
    assert "rejects connection" in result["msg"]
    assert result["rolled_back"] is True
    assert result["changed"] is False
    assert "every member that can be asked has loaded it again" in result["msg"]
    assert rules(cluster) == cluster.first_rules()
    assert same_everywhere(cluster)


def test_a_paused_cluster(cluster: Cluster) -> None:
    cluster.patch({"pause": True})
    try:
        result = call("pg_hba", cluster, **SECTION)
        assert result["changed"] is True, result.get("msg")
        assert "The cluster is paused" in str(result["warnings"])
        assert same_everywhere(cluster)
    finally:
        cluster.patch({"pause": None})


def test_another_writer_during_the_wait(cluster: Cluster, replica: Member) -> None:
    """While a member is late, somebody else changes the list: their line stays, ours too, and that is what is proved."""
    theirs = "host all other 192.0.2.0/24 reject"

    def write() -> None:
        cluster.wait(lambda: len(rules(cluster)) > 4, "our section")
        cluster.patch({"postgresql": {"pg_hba": [*rules(cluster), theirs]}})
        time.sleep(0.5)
        os.kill(patroni_of(replica), signal.SIGCONT)

    other = threading.Thread(target=write)
    with frozen(patroni_of(replica)):
        other.start()
        result = call("pg_hba", cluster, **SECTION)
        other.join()
    assert result["changed"] is True, result.get("msg")
    assert theirs in rules(cluster)
    assert "# BEGIN pgops.access section: orders" in rules(cluster)
    assert same_everywhere(cluster)


def test_a_switchover_during_the_change(cluster: Cluster) -> None:
    """The leader changes while rules do: whatever the task says, all members have the same rules, the cluster's."""
    leader = cluster.wait_for_leader()
    body = {"leader": leader.name, "candidate": cluster.replicas()[0].name}
    switch = threading.Thread(target=lambda: leader.ask("/switchover", "POST", body))
    switch.start()
    result = call("pg_hba", cluster, {"unreachable": "report"}, **SECTION)
    switch.join()
    cluster.wait_for_all()
    assert cluster.wait_for_leader() is not leader
    wanted = bool(result.get("failed")) or "# BEGIN pgops.access section: orders" in rules(cluster)
    assert wanted, result
    cluster.wait(lambda: same_everywhere(cluster), "the same rules everywhere")


@pytest.mark.parametrize(
    ("wait", "away"), [(30.0, 1.0), (4.0, 6.0)], ids=["comes back while the task waits", "comes back when the task has given up"]
)
def test_the_leader_is_killed_while_members_are_waited_for(cluster: Cluster, replica: Member, wait: float, away: float) -> None:
    """Patroni and PostgreSQL with SIGKILL, after the list was written and before every member has it."""
    leader = cluster.wait_for_leader()
    with concurrent.futures.ThreadPoolExecutor(1) as pool, frozen(patroni_of(replica)):
        task = pool.submit(call, "pg_hba", cluster, {"wait": wait, "timeout": 3.0}, **SECTION)
        cluster.wait(lambda: len(rules(cluster)) > 4, "our section")
        leader.kill()
        time.sleep(away)
        leader.start()
    result = task.result()
    cluster.wait_for_all()
    there = "# BEGIN pgops.access section: orders" in rules(cluster)
    if not result.get("failed"):
        assert there, result
        assert [member["loaded"] for member in result["members"]] == [True] * 3
    elif result["rolled_back"]:
        assert not there, result["msg"]
        assert result["changed"] is False
        assert "The old list is back" in result["msg"]
    else:
        assert result["changed"] is True, result["msg"]
        assert "could not be put back" in result["msg"]
    if wait > away:
        assert result.get("changed") is True, result.get("msg")
    else:
        assert result["failed"] is True
    cluster.wait(lambda: same_everywhere(cluster), "the same rules everywhere")
    again = call("pg_hba", cluster, **SECTION)
    assert "failed" not in again, again.get("msg")
    assert same_everywhere(cluster)
