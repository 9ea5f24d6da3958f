# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy, asked of those whom it is about; then policies that must not and that must change something, in this order."""

from __future__ import annotations

import re

import pytest
from conftest import SERVERS, Policy, Server, play

BOTH = [Server(name) for name in SERVERS]
REJECTED = "pg_hba.conf rejects connection for host"
# The servers' own rules for the socket, below the policy's: peer in Debian's package, a password in the image.
NOT_BY_SOCKET = "Peer authentication failed|no password supplied"
NO_ENTRY = "no pg_hba.conf entry for host"


@pytest.mark.parametrize(
    ("client", "user", "database", "answer"),
    [
        ("app", "app", "orders", "app from 172.30.244.10"),
        ("stranger", "app", "orders", REJECTED),
        ("app", "app", "postgres", REJECTED),
        ("app", "reader", "orders", "reader from 172.30.244.10"),
        ("stranger", "reader", "orders", "reader from 172.30.244.11"),
        ("stranger", "reader", "postgres", NO_ENTRY),
        ("app", "reporter", "orders", NO_ENTRY),
    ],
)
def test_clients_get_what_the_policy_says(server: Server, client: str, user: str, database: str, answer: str) -> None:
    assert answer in server.connect(client, user, database)


def test_a_wrong_password_stays_wrong(server: Server) -> None:
    assert "password authentication failed" in server.connect("app", "app", password="mistyped")


def test_a_system_user_becomes_the_role_of_its_map(server: Server) -> None:
    assert server.become("backup", "reporter") == "reporter"
    assert "Peer authentication failed" in server.become("nobody", "reporter")
    assert re.search(NOT_BY_SOCKET, server.become("backup", "app"))


def test_the_server_has_loaded_the_sections_in_their_order(server: Server) -> None:
    seen = server.ask("SELECT user_name[1] || ' ' || auth_method FROM pg_hba_file_rules ORDER BY line_number")
    lines = [line for line in seen.splitlines() if line.split()[0] in ("app", "+readers", "reporter")]
    assert lines == ["reporter peer", "app scram-sha-256", "+readers scram-sha-256", "app reject"]
    assert server.ask("SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL") == "0"
    assert "# owner: team orders" in server.rules()


def test_a_policy_that_breaks_a_promise_changes_nothing(changed: Policy) -> None:
    """The last section first: the application would be locked out, which the promises forbid. The map of the same policy stays, too."""
    changed["sections"][2]["position"] = "first"
    changed["sections"][2]["move"] = True
    changed["maps"][0]["rules"].append({"map": "operators", "system_user": "nobody", "database_user": "reporter"})
    before = [server.rules() for server in BOTH]
    done = play(changed)
    assert done.returncode == 2, done.stdout
    words = " ".join(done.stdout.split())
    assert "app to orders from 172.30.244.10 over tcp: expected scram-sha-256, but it is rejected" in words
    assert [server.rules() for server in BOTH] == before
    for server in BOTH:
        assert server.connect("app", "app") == "app from 172.30.244.10"
        assert "Peer authentication failed" in server.become("nobody", "reporter")


def test_an_answer_that_is_not_the_expected_one_is_told(changed: Policy) -> None:
    """Nothing in the rules is wrong: only the connection shows it."""
    changed["expect"] = [{**changed["expect"][0], "password": "forgotten"}]
    done = play(changed, "--limit", "debian")
    assert done.returncode == 2, done.stdout
    words = " ".join(done.stdout.split())
    assert "The policy is in force as it was, but 1 connections did not go as it says" in words
    assert "expected scram-sha-256, got wrong_password" in words
    assert "forgotten" not in done.stdout + done.stderr


def test_check_mode_tells_and_does_not_do(changed: Policy) -> None:
    changed["sections"][1]["rules"] = []
    changed["expect"] = []
    before = [server.rules() for server in BOTH]
    done = play(changed, "--check", "--diff", "--limit", "image")
    assert done.returncode == 0, done.stdout
    words = " ".join(done.stdout.split())
    assert "loses access: user app to database orders from 172.30.244.10/32" in words
    assert re.search(r"^-host +orders +app +172\.30\.244\.10/32 +scram-sha-256", done.stdout, re.MULTILINE)
    assert [server.rules() for server in BOTH] == before


def test_a_rule_that_is_taken_away_closes_it(changed: Policy) -> None:
    changed["sections"][1]["rules"] = [rule for rule in changed["sections"][1]["rules"] if rule["users"] != "app"]
    changed["sections"].append({"name": "operators", "state": "absent"})
    changed["sections"].pop(0)
    changed["maps"] = [{"name": "operators", "state": "absent"}]
    del changed["expect_maps"]
    changed["expect"] = [
        {"user": "app", "database": "orders", "address": "172.30.244.10", "from": "app", "expect": "rejected"},
        {"user": "reader", "database": "orders", "address": "172.30.244.10", "from": "app", "expect": "allowed"},
    ]
    done = play(changed)
    assert done.returncode == 0, done.stdout
    for server in BOTH:
        assert REJECTED in server.connect("app", "app")
        assert server.connect("app", "reader") == "reader from 172.30.244.10"
        assert re.search(NOT_BY_SOCKET, server.become("backup", "reporter"))
