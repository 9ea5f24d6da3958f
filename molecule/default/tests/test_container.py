# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container as Testinfra sees it: user, files, ports, health, logs."""

from __future__ import annotations

import json
import time

import engine
import pytest
import testinfra

NODE = "pgops-molecule-node"


@pytest.fixture
def container() -> testinfra.host.Host:
    """The server that the role pg_node runs."""
    return testinfra.get_host(f"{engine.NAME}://{NODE}")


def test_nobody_is_root(container: testinfra.host.Host) -> None:
    owners = container.check_output("cat /proc/[0-9]*/status | grep ^Uid: | sort -u").splitlines()
    assert owners
    assert all(line.split()[1:] == ["999"] * 4 for line in owners)
    assert container.user().name == "postgres"


def test_data_directory_is_private(container: testinfra.host.Host) -> None:
    data = container.file("/var/lib/postgresql/data")
    assert data.is_directory
    assert data.user == "postgres"
    assert data.mode == 0o700
    rules = container.file("/var/lib/postgresql/data/pg_hba.conf")
    assert rules.user == "postgres"
    assert rules.mode == 0o600


def test_root_file_system_is_read_only(container: testinfra.host.Host) -> None:
    assert container.run("touch /usr/local/bin/planted").rc != 0
    assert "ro" in container.mount_point("/").options


def test_server_listens_on_both_families(container: testinfra.host.Host) -> None:
    # /proc needs no extra tool in the image: 1538 is 5432, 0A is LISTEN.
    assert ":1538 " in container.check_output("awk '$4 == \"0A\"' /proc/net/tcp")
    assert ":1538 " in container.check_output("awk '$4 == \"0A\"' /proc/net/tcp6")


def test_health(container: testinfra.host.Host) -> None:
    asked = container.run("healthcheck.sh")
    assert asked.rc == 0, asked.stdout + asked.stderr
    if engine.NAME == "podman":
        # Podman leaves the timing to systemd, which a container or a small host may lack; its own check is asked once.
        engine.ask("healthcheck", "run", NODE)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        state = engine.state(NODE)
        if (state.get("Health") or state["Healthcheck"])["Status"] == "healthy":
            return
        time.sleep(2)
    pytest.fail(f"the engine calls {NODE} {state}")


def test_no_secret_in_environment_or_command_line(container: testinfra.host.Host) -> None:
    password = container.check_output("cat /run/secrets/postgres_password")
    assert len(password) == 32
    seen = container.check_output("cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n'")
    assert "POSTGRES_PASSWORD_FILE" in seen
    assert password not in seen
    assert password not in engine.ask("inspect", NODE).stdout
    logs = engine.ask("logs", NODE)
    assert password not in logs.stdout + logs.stderr


def test_every_log_line_is_json_and_attempts_are_there() -> None:
    logs = engine.ask("logs", NODE)
    lines = [json.loads(line) for line in logs.stdout.splitlines()]
    assert logs.stderr == ""
    assert all({"time", "level", "source", "message"} <= set(line) for line in lines)
    attempts = [line for line in lines if line.get("event") == "external_connection"]
    assert attempts
    assert all({"address", "user", "database", "tls", "outcome"} <= set(line) for line in attempts)
