# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster under change and attack; the tests run in the order in which they stand, each begins with a whole cluster."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import cluster
import pytest
from cluster import MEMBERS, NOTE, ask, change_access, client, docker, eventually, leader, listed, same_rules, served, superuser, whole

OPEN = "host app app 172.30.243.100/32 scram-sha-256\nhost app app 172.30.243.110/32 scram-sha-256"
CLOSED = "host app app 172.30.243.100/32 scram-sha-256"


@pytest.fixture(autouse=True)
def begin_whole() -> None:
    """Every test leaves a cluster that mends itself."""
    eventually("the cluster is whole", whole)
    eventually("the entry point leads to the primary", served)


@pytest.fixture(scope="module", autouse=True)
def role() -> None:
    """A role and a table for the clients."""
    session = superuser()
    cursor = session.cursor()
    cursor.execute("DROP TABLE IF EXISTS kept; CREATE TABLE kept (id int)")
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = 'app'")
    if cursor.fetchone() is None:
        cursor.execute("CREATE ROLE app LOGIN PASSWORD %s", (cluster.APP_PASSWORD,))
    cursor.execute("GRANT ALL ON kept TO app")
    session.close()


def refused(name: str) -> bool:
    """Whether every member refuses a client for want of a rule."""
    return all("no pg_hba.conf entry" in client(name, address) for address in MEMBERS.values())


def test_external_writes_go_through_the_entry_point() -> None:
    ask("INSERT INTO kept VALUES (1)")
    assert ask("SELECT pg_is_in_recovery()") is False
    assert ask("SELECT pg_is_in_recovery()", NOTE["read_only_port"]) is True
    eventually("a replica has the row", lambda: ask("SELECT count(*) FROM kept", NOTE["read_only_port"]) == 1, 10)


def test_defaults_are_durable() -> None:
    assert ask("SHOW data_checksums") == "on"
    assert ask("SHOW synchronous_standby_names").startswith("ANY 1")


def test_check_mode_foretells_a_change_of_the_dynamic_configuration(tmp_path: Path) -> None:
    before = cluster.dynamic()
    for wanted, changed in (({"loop_wait": before["loop_wait"]}, 0), ({"loop_wait": before["loop_wait"] + 1}, 1)):
        control = [NOTE["cli"], "exec", "-i", leader(), *cluster.CTL]
        role = {"name": "pgops.access.pg_cluster", "tasks_from": "dynamic"}
        given = {"pg_cluster_ctl": control, "pg_cluster_wanted_dynamic": wanted, "pg_cluster_fact_members": []}
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False}
        (tmp_path / "play.yml").write_text(json.dumps([{**play, "tasks": [{"include_role": role, "vars": given}]}]))
        done = subprocess.run(["ansible-playbook", "--check", str(tmp_path / "play.yml")], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"changed={changed} " in done.stdout
    assert cluster.dynamic() == before


def test_every_member_is_healthy_and_counts_statements() -> None:
    """Without the passwords that made the cluster: they are in no statement that is counted."""
    eventually(
        "each says so",
        lambda: all("running; pg_stat_statements)" in docker("exec", m, "healthcheck.sh", check=False).stdout for m in MEMBERS),
    )
    texts = ask("SELECT coalesce(string_agg(query, ' '), '') FROM pg_stat_statements")
    assert texts
    assert not [secret for secret in Path(NOTE["secrets"]).iterdir() if secret.is_file() and secret.read_text().strip() in texts]


def test_through_the_entry_point_every_client_has_its_address(tmp_path: Path) -> None:
    change_access(tmp_path, CLOSED)
    assert refused("changed")
    assert client("changed", cluster.ENTRY, NOTE["port"]) == f"app@{cluster.ENTRY}"
    assert client("kept") == "app@172.30.243.100"


@pytest.mark.parametrize("wanted", [OPEN, CLOSED], ids=["opened", "closed"])
def test_access_changes_while_the_leader_is_killed(tmp_path: Path, wanted: str) -> None:
    with cluster.Knocking("kept") as knocking:
        victim = leader()
        with cluster.Killing(victim) as killing:
            change_access(tmp_path, wanted)
        eventually("every member has the same rules", same_rules, 60)
        eventually("the cluster is whole", whole)
        time.sleep(1)
    assert 0 < killing.seen <= killing.killed < killing.seen + 1, "the leader dies in the second of the change"
    if wanted == OPEN:
        assert client("changed") == "app@172.30.243.110"
    else:
        assert refused("changed")
    # Who kept the right was never refused for want of it; what it met was the failover, once, and then it was served again.
    answers = [answer for _moment, answer in knocking.answers]
    assert not [answer for answer in answers if "no pg_hba.conf entry" in answer or "authentication failed" in answer]
    failed = [number for number, answer in enumerate(answers) if answer != "app@172.30.243.100"]
    assert answers[-1] == "app@172.30.243.100", answers[-1]
    assert failed == list(range(failed[0], failed[-1] + 1)) if failed else True, "one outage, not several"
    assert all(knocking.answers[number][0] > killing.seen for number in failed), "and it was the failover's"


def test_a_member_that_was_away_has_the_change_and_may_not_have_rules_of_its_own(tmp_path: Path) -> None:
    away = next(name for name in MEMBERS if name != leader())
    docker("stop", away)
    change_access(tmp_path, OPEN, unreachable="report")
    assert client("changed") == "app@172.30.243.110"
    # It comes back with an environment that asks for other access than the cluster has.
    cluster.run_again(away, EXTERNAL_ACCESS_METHOD="reject")
    eventually("the cluster is whole", whole)
    eventually("every member has the same rules", same_rules, 30)
    assert any("172.30.243.110" in rule for rule in cluster.rules(away))
    eventually("the conflict is told", lambda: cluster.said(away, "access_conflict"), 20)
    conflict = cluster.said(away, "access_conflict")[0]
    assert conflict["level"] == "warning"
    assert conflict["members"] == sorted(set(MEMBERS) - {away})
    assert not any("reject" in rule for name in MEMBERS for rule in cluster.rules(name))


def test_rest_and_etcd_answer_whom_they_should() -> None:
    """TLS only; whoever writes has a certificate of the cluster's authority, and for REST the password, too."""
    rest, etcd = NOTE["urls"][0], f"https://{NOTE['etcd'][0]['address']}:2379"
    reader = cluster.ssl.create_default_context(cafile=NOTE["tls"]["ca_cert"])
    assert cluster.answer(rest.replace("https:", "http:") + "/health") == cluster.answer(etcd.replace("https:", "http:") + "/version") == 0
    assert cluster.answer(f"{rest}/health", reader) == 200
    assert cluster.answer(f"{rest}/config", reader, cluster.LOGIN, b"{}") == 403
    assert cluster.answer(f"{rest}/config", cluster.TLS, {}, b"{}") == 401
    assert cluster.answer(f"{etcd}/version", reader) == 0
    assert cluster.answer(f"{etcd}/version", cluster.TLS) == 200
    session = cluster.psycopg2.connect(
        host="127.0.0.1", port=NOTE["port"], user="postgres", password=cluster.PASSWORD, dbname="app", connect_timeout=3,
        sslmode="verify-full", sslrootcert=NOTE["tls"]["ca_cert"],
    )  # fmt: skip
    session.close()


def converge() -> subprocess.CompletedProcess[str]:
    """The scenario's own playbook once more."""
    directory = os.environ["MOLECULE_SCENARIO_DIRECTORY"]
    # The passwords are where the scenario's own run put them, whatever directory the tests run in.
    variables = {"pgops_state_dir": str(Path(NOTE["secrets"]).parents[2]), "pg_cluster_build": False, "pgops_image": NOTE["image"]}
    command = ["ansible-playbook", "-i", f"{directory}/inventory/", f"{directory}/converge.yml", "-e", json.dumps(variables)]
    # Where a refusal is said depends on the configuration (display_failed_stderr).
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=400, check=False)


def others_data(gone: str) -> None:
    """Data of another cluster where a member's were: the role stops before it touches anybody."""
    data = "/var/lib/postgresql/data"
    docker("run", "--rm", f"--volume={gone}-data:{data}", "--entrypoint=initdb", NOTE["image"], "-D", f"{data}/pgdata", "--no-sync")
    refused = converge()
    docker("volume", "rm", f"{gone}-data")
    assert refused.returncode != 0
    assert "do not belong together" in " ".join(refused.stdout.split()), refused.stdout[-2000:]


def wrong_password() -> None:
    """A password that the cluster does not have: the same."""
    secret = Path(NOTE["secrets"]) / "replication"
    right = secret.read_text()
    secret.chmod(0o600)
    secret.write_text("wrong")
    refused = converge()
    secret.write_text(right)
    secret.chmod(0o444)
    assert refused.returncode != 0
    assert "has another password for replication" in " ".join(refused.stdout.split()), refused.stdout[-2000:]


def starts() -> dict[str, str]:
    """What changes when a member's container is made anew or started again."""
    there = docker("ps", "--all", "--format={{.Names}}").stdout.split()
    return {name: docker("inspect", "--format={{.Id}} {{.State.StartedAt}}", name).stdout for name in MEMBERS if name in there}


def test_a_member_is_made_again_from_nothing() -> None:
    different = {str(m["name"]) for m in listed() if (m.get("tags") or {}).get("external_access") != wish()}
    gone = next(name for name in [*different, *MEMBERS] if name != leader())
    ask("INSERT INTO kept VALUES (6)")
    docker("rm", "--force", gone)
    docker("volume", "rm", f"{gone}-data")
    before = starts()
    others_data(gone)
    wrong_password()
    assert starts() == before
    done = converge()
    assert done.returncode == 0, done.stdout[-3000:]
    eventually("the cluster is whole", whole)
    eventually("the entry point leads to the primary", served)
    assert 6 in rows()
    assert same_rules()
    assert {(m.get("tags") or {}).get("external_access") for m in listed()} == {wish()}


def wish() -> str:
    """What the cluster's rules were last made from; members' environments that ask for it have it as a tag."""
    return str(cluster.dynamic()["pgops"]["external_access"])


def test_md5_moves_to_scram_and_replication_stays(tmp_path: Path) -> None:
    """A cluster as it was ten years ago, Patroni's own users included."""
    names = {"postgres": "superuser", "replicator": "replication", "rewind_user": "rewind"}
    passwords = {name: (Path(NOTE["secrets"]) / secret).read_text().strip() for name, secret in names.items()}
    passwords["app"] = cluster.APP_PASSWORD
    before = cluster.rules(leader())
    old = [line.replace("scram-sha-256", "md5") for line in cluster.dynamic()["postgresql"]["pg_hba"]]
    cluster.patch({"postgresql": {"pg_hba": old, "parameters": {"password_encryption": "md5"}}})
    eventually("md5 everywhere", lambda: same_rules() and methods() == {"peer", "md5"} and ask("SHOW password_encryption") == "md5", 20)
    session = superuser()
    cursor = session.cursor()
    for name, password in passwords.items():
        cursor.execute(f"ALTER ROLE {name} PASSWORD %s", (password,))
    session.close()
    assert stored() == dict.fromkeys(passwords, "md5")
    streaming = senders()
    with cluster.Knocking("kept") as knocking:
        cluster.task(tmp_path, "pg_auth_method", {"state": "migrated", "passwords": passwords})
    assert stored() == dict.fromkeys(passwords, "SCR")
    assert all(cluster.rules(name) == before for name in MEMBERS)
    assert methods() == {"peer", "scram-sha-256"}
    assert senders() == streaming, "replication ran on, over the same connections"
    assert {answer for _moment, answer in knocking.answers} == {"app@172.30.243.100"}
    ask("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication")
    eventually("replicas that log in anew", lambda: len(senders() - streaming) == len(MEMBERS) - 1, 30)


def stored() -> dict[str, str]:
    """How the passwords begin, by role."""
    return dict(ask("SELECT jsonb_object_agg(rolname, left(rolpassword, 3)) FROM pg_authid WHERE rolpassword IS NOT NULL"))


def methods() -> set[str]:
    """The methods of all rules on all members."""
    query = "SELECT string_agg(DISTINCT auth_method, ',') FROM pg_hba_file_rules"
    return {method for name in MEMBERS for method in cluster.on_member(name, query).split(",")}


def senders() -> set[int]:
    """The processes that stream to the replicas."""
    return set(ask("SELECT coalesce(array_agg(pid), '{}') FROM pg_stat_replication WHERE state = 'streaming'"))


def test_passwords_are_renewed_without_a_restart_and_a_forgotten_member_says_so() -> None:
    """All three of them; and the tests that follow, with a partition and a switchover, go on with the new ones."""
    files = {"postgres": "superuser", "replicator": "replication", "rewind_user": "rewind"}
    forgotten, other = (name for name in MEMBERS if name != leader())
    began = {name: cluster.on_member(name, "SELECT pg_postmaster_start_time()") for name in MEMBERS}
    session = superuser()
    for role_name, file in files.items():
        session.cursor().execute(f"ALTER ROLE {role_name} PASSWORD %s", (f"renewed {file}",))
        secret = Path(NOTE["secrets"]) / file
        secret.chmod(0o644)
        secret.write_text(f"renewed {file}")
        secret.chmod(0o444)
    session.close()
    cluster.PASSWORD = "renewed superuser"
    docker("kill", "--signal=HUP", leader(), other)
    kept = ("exec", other, "cat", "/run/postgresql/pgops/pgpass")
    eventually("Patroni has the new one", lambda: "renewed replication" in docker(*kept).stdout, 30)
    streaming = senders()
    ask("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication")
    eventually("who was forgotten says so", lambda: cluster.said(forgotten, "login_refused"), 30)
    eventually("the other one follows anew", lambda: len(senders() - streaming) == 1, 30)
    assert "'replicator'" in " ".join(line["message"] for line in cluster.said(forgotten, "login_refused"))
    health = docker("exec", forgotten, "healthcheck.sh", check=False).stdout
    assert health.strip().endswith("the primary refuses the password of replicator)"), health
    docker("kill", "--signal=HUP", forgotten)
    eventually("the cluster is whole", whole)
    assert cluster.said(forgotten, "login_accepted")
    assert not cluster.said(other, "login_refused")
    assert {name: cluster.on_member(name, "SELECT pg_postmaster_start_time()") for name in MEMBERS} == began


def test_a_partition_loses_nothing_and_heals() -> None:
    cut = leader()
    ask("INSERT INTO kept VALUES (2)")
    docker("network", "disconnect", NOTE["network"], cut)
    try:
        eventually("somebody else leads", lambda: leader() not in ("", cut), 60)
        eventually("writes go on", lambda: writes(3), 30)
        # Whoever is cut off and believed to lead takes no writes any more.
        local = docker(
            "exec",
            cut,
            "psql",
            "-XAtq",
            "-d",
            "app",
            "-c",
            "SET statement_timeout = 2000",
            "-c",
            "INSERT INTO kept VALUES (99)",
            check=False,
        )
        assert local.returncode != 0, local.stdout
    finally:
        docker("network", "connect", "--ip", MEMBERS[cut], NOTE["network"], cut)
    eventually("the cluster is whole", whole)
    eventually("the entry point leads to the primary", served)
    assert same_rules()
    assert {2, 3} <= rows()
    assert 99 not in rows()


def writes(number: int) -> bool:
    """Whether a row can be written through the entry point."""
    try:
        ask(f"INSERT INTO kept VALUES ({number})")
    except cluster.psycopg2.Error:
        return False
    return True


def rows() -> set[int]:
    """What is in the table."""
    return set(ask("SELECT coalesce(array_agg(id), '{}') FROM kept"))


def test_a_switchover_is_short() -> None:
    old = leader()
    candidate = next(name for name in MEMBERS if name != old)
    done = docker("exec", old, *cluster.CTL, "switchover", "--leader", old, "--candidate", candidate, "--force")
    assert done.returncode == 0
    eventually("writes go on", lambda: writes(4), 10)
    assert leader() == candidate


def test_everything_is_stopped_and_started() -> None:
    before = cluster.rules(leader())
    ask("INSERT INTO kept VALUES (5)")
    parts = [*MEMBERS, *(node["name"] for node in NOTE["etcd"]), NOTE["entry"][0]["name"]]
    docker("stop", *parts)
    docker("start", *reversed(parts))
    eventually("the cluster is whole", whole, 120)
    eventually("the entry point leads to the primary", served)
    assert 5 in rows()
    assert all(cluster.rules(name) == before for name in MEMBERS)
