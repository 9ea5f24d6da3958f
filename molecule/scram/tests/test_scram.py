# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Outsiders of the scenario: the notes of clients that log in as 200 roles all the time; the servers' catalogs, views, logs, statistics."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

NOTE = json.loads((Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "engine.json").read_text())
SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
sys.path.insert(0, str(SCENARIO / "files"))

import roles  # noqa: E402

SERVERS = ("pg13", "pg15", "pg18")
CLIENTS = ("one", "two", "three")
MISSING = {"keyless", "expired", "shelf"}
"""Kinds of roles that could not log in before and cannot now."""


def inside(container: str, *command: str) -> str:
    done = subprocess.run(
        [NOTE["cli"], "exec", f"{NOTE['network']}-{container}", *command], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


def ask(server: str, sql: str) -> list[str]:
    return inside(server, "psql", "-U", "postgres", "-XAtc", sql).splitlines()


class Login(t.NamedTuple):
    """One line of a client's notes."""

    round: int
    started: float
    ended: float
    server: str
    user: str
    reason: str


@pytest.fixture(scope="module")
def began() -> float:
    """When everybody had tried everything once, and the playbook was yet to run."""
    return float(inside("one", "cat", "/tmp/mark"))


@pytest.fixture(scope="module")
def moved() -> dict[str, float]:
    """For each server when its rules had changed for the last time."""
    return {server: float(inside(server, "stat", "-c", "%Y", "/tmp/data/pg_hba.conf")) for server in SERVERS}


@pytest.fixture(scope="module")
def logins() -> dict[str, list[Login]]:
    """What every client noted, a while after the last change."""
    time.sleep(12)
    for client in CLIENTS:
        inside(client, "touch", "/tmp/stop")
    time.sleep(1)
    return {client: [Login(*json.loads(line)) for line in inside(client, "cat", "/tmp/logins.jsonl").splitlines()] for client in CLIENTS}


def test_nobody_who_could_log_in_was_refused(logins: dict[str, list[Login]], began: float, moved: dict[str, float]) -> None:
    could: set[tuple[str, str, str]] = set()
    refused, during, after = [], 0, 0
    for client, noted in logins.items():
        for login in noted:
            server = login.server.rpartition("-")[2]
            key = (client, server, login.user)
            if login.ended < began:
                could |= set() if login.reason else {key}
            elif key in could:
                during += login.started < moved[server]
                after += login.started > moved[server] + 1
                if login.reason:
                    refused.append((key, login))
    print(
        f"{sum(map(len, logins.values()))} logins; {len(could)} clients got in before, {during} times meanwhile, {after} times afterwards"
    )
    assert not refused
    assert during > 200
    assert after > 500


def test_everybody_who_could_before_is_everybody_who_should(logins: dict[str, list[Login]], began: float) -> None:
    """The test has teeth only if the clients really got in before, by every rule, and others really did not."""
    for server in SERVERS:
        entered = {
            (client, login.user.rpartition("_")[0])
            for client, noted in logins.items()
            for login in noted
            if login.server.endswith(server) and login.ended < began and not login.reason
        }
        everywhere = {kind.prefix for kind in roles.KINDS} - MISSING - {"app"}
        assert entered == {("one", "app"), *((client, kind) for client in CLIENTS for kind in everywhere)}


@pytest.mark.parametrize("server", SERVERS)
def test_no_md5_is_within_reach(server: str) -> None:
    left = ask(
        server,
        "select rolname from pg_authid where rolcanlogin and rolpassword like 'md5%' and coalesce(rolvaliduntil, 'infinity') > now()",
    )
    assert left == []
    methods = ask(server, "select distinct auth_method from pg_hba_file_rules where error is null order by 1")
    assert methods == ["peer", "reject", "scram-sha-256"]
    assert ask(server, "select count(*) from pg_authid where rolpassword like 'SCRAM-%'") == [
        str(sum(kind.many for kind in roles.KINDS if kind.prefix not in MISSING))
    ]
    assert ask(server, "show password_encryption") == ["scram-sha-256"]


@pytest.mark.parametrize("server", SERVERS)
def test_the_rest_of_the_file_is_as_it_was(server: str) -> None:
    before = (SCENARIO / "files/pg_hba.conf").read_text()
    after = inside(server, "cat", "/tmp/data/pg_hba.conf")
    expected = before.replace("/32    md5", "/32    scram-sha-256").replace("/24     md5", "/24     scram-sha-256")
    assert after == expected.replace("255.255.255.255   password", "255.255.255.255   scram-sha-256")


@pytest.mark.parametrize("server", SERVERS)
def test_no_password_is_in_the_log(server: str) -> None:
    log = inside(server, "cat", "/tmp/server.log")
    assert "statement: " in log
    assert "clear text of" not in log
    assert "SCRAM-SHA-256$" not in log


def test_no_password_is_in_the_statistics() -> None:
    queries = "\n".join(ask("pg15", "select query from pg_stat_statements"))
    assert "pg_authid" in queries
    assert "clear text of" not in queries
    assert "SCRAM-SHA-256$" not in queries


@pytest.mark.parametrize("server", SERVERS)
def test_a_wrong_password_is_refused(server: str) -> None:
    done = subprocess.run(
        [
            NOTE["cli"],
            "exec",
            f"{NOTE['network']}-one",
            "psql",
            f"host={NOTE['network']}-{server} user=app_00 dbname=postgres password=x",
            "-XAtc",
            "select 1",
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert 'password authentication failed for user "app_00"' in done.stderr
