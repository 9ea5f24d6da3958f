# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role pg_node does what its variables say: the table it prints, connections of our own, and the engine agree.

One node, changed again and again on the same volume. The tests are one story and run in this order.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from .conftest import BIN, EXTRA_SUBNET, Node, Run

# All that a password file and a connection string have to escape.
PASSWORD = r"s:e\c'r@e/t é"


def outcomes(run: Run, client: str) -> set[str]:
    return {row[5] for row in run.rows if row[0] == client}


def from_a_container(node: Node, database: str = "app") -> str:
    """Ask with psql from a container on the node's network, which has an address of its own."""
    done = node.engine(
        "run", "--rm", "--name", f"{node.name}-client", "--network", node.name, "--env", f"PGPASSWORD={node.secret.read_text().strip()}",
        "--entrypoint", "psql", node.variables["pgops_image"], "-h", node.name, "-U", "postgres", "-d", database, "-XAtc", "SELECT 'in'",
    )  # fmt: skip
    return (done.stdout + done.stderr).strip()


def test_a_password_file_and_all_about_the_container(node: Node) -> None:
    """With everything that a container can have; and a run that failed leaves the way free for it."""
    password = node.folder / "my password"
    password.write_text(PASSWORD + "\n", encoding="utf-8")
    password.chmod(0o600)
    scripts = node.folder / "init"
    scripts.mkdir(mode=0o755)
    (scripts / "made.sql").write_text("CREATE TABLE made (word text);\n", encoding="utf-8")
    node.engine("network", "create", "--subnet", EXTRA_SUBNET, f"{node.name}-extra")
    node.variables["pg_node_password_file"] = str(password)
    wanted = {
        "pg_node_memory": "512m",
        "pg_node_cpus": 1.5,
        "pg_node_pids_limit": 200,
        "pg_node_shm_size": "64m",
        "pg_node_restart_policy": "no",
        "pg_node_mounts": [f"{scripts}:/docker-entrypoint-initdb.d:ro"],
        "pg_node_extra_networks": [f"{node.name}-extra"],
        "pg_node_command": ["-c", "work_mem=7MB"],
        "pg_node_env": {"TZ": "Europe/Berlin"},
        "pg_node_log_level": "debug",
    }
    run = node.role(**wanted)
    assert run.code == 0, run.output
    assert outcomes(run, "this host") == outcomes(run, "second container") == {"allowed"}
    container = node.inspect()
    assert container is not None
    host = container["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"], host["ShmSize"]) == (512 * 2**20, 1_500_000_000, 200, 64 * 2**20)
    assert (host["RestartPolicy"]["Name"], host["ReadonlyRootfs"], host["CapDrop"]) == ("no", True, ["ALL"])
    assert set(container["NetworkSettings"]["Networks"]) == {node.name, f"{node.name}-extra"}
    assert {mount["Destination"]: mount["RW"] for mount in container["Mounts"]} == {
        "/docker-entrypoint-initdb.d": False,
        "/run/secrets/postgres_password": False,
        "/var/lib/postgresql/data": True,
    }
    assert {"TZ=Europe/Berlin", "LOG_LEVEL=debug"} <= set(container["Config"]["Env"])
    asked = node.engine("exec", node.name, "psql", "-U", "postgres", "-d", "app", "-XAtc", "SHOW work_mem", "-c", "TABLE made")
    assert asked.stdout.strip() == "7MB", asked.stderr
    again = node.role(**wanted)
    assert (again.code, again.changed) == (0, 0), again.output


def test_a_strange_password_works_through_pgpass(node: Node) -> None:
    assert node.ask(password=PASSWORD).startswith("in as")
    assert "password authentication failed" in node.ask(password="no")
    env = {**node.env, "PGSERVICEFILE": str(node.state / "pg_service.conf")}
    done = subprocess.run(
        ["psql", "service=pgops", "-XAtc", "SELECT 'in'"], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout.strip() == "in", done.stderr


def test_closed(node: Node) -> None:
    run = node.role(pg_node_external_access_enable=False)
    assert run.code == 0, run.output
    assert outcomes(run, "this host") == outcomes(run, "second container") == {"no_entry"}
    assert {row[6] for row in run.rows} == {"as expected"}
    assert "no pg_hba.conf entry" in node.ask()
    assert "no pg_hba.conf entry" in from_a_container(node)


def test_rejected(node: Node) -> None:
    run = node.role(pg_node_external_access_method="reject")
    assert run.code == 0, run.output
    assert outcomes(run, "this host") == outcomes(run, "second container") == {"rejected"}
    assert "pg_hba.conf rejects connection" in node.ask()
    assert "pg_hba.conf rejects connection" in from_a_container(node)


def test_scram_over_tls_only_and_a_vaulted_password(node: Node) -> None:
    """The password is the one that the volume has, this time from a real vault."""
    key, vaulted = node.folder / "key", node.folder / "vaulted.yml"
    key.write_text("open sesame", encoding="utf-8")
    vault = [str(BIN / "ansible-vault"), "encrypt_string", "--vault-password-file", str(key), "--stdin-name", "pg_node_password"]
    text = subprocess.run(vault, input=PASSWORD, env=node.env, capture_output=True, text=True, check=True).stdout
    assert PASSWORD not in text
    vaulted.write_text(text, encoding="utf-8")
    options = ("--extra-vars", f"@{vaulted}", "--vault-password-file", str(key), "-vvv", "--diff")
    run = node.role(
        *options, pg_node_password_file="", pg_node_external_access_method="scram-sha-256", pg_node_external_access_tls="require"
    )
    assert run.code == 0, run.output
    assert PASSWORD not in run.output
    seen = {(row[4].startswith("TLS"), row[3], row[5]) for row in run.rows if row[0] in ("this host", "second container")}
    assert seen == {(True, "scram-sha-256", "allowed"), (False, "-", "tls_required")}
    assert "no encryption" in node.ask(sslmode="disable")
    assert node.ask(sslmode="require").endswith("over TLS")
    assert from_a_container(node) == "in"


def test_narrowed_to_one_address_and_one_database(node: Node) -> None:
    """The address is this host's own, as the server sees it; nobody else gets in, and the table says so without a promise."""
    seen = node.ask().split()[2]
    run = node.role(pg_node_external_access_addresses=[f"{seen}/32"], pg_node_external_access_databases=["app"])
    assert run.code == 0, run.output
    told = {(row[1].rsplit(" ", 1)[0], row[5]) for row in run.rows if row[0] == "this host"}
    assert told == {("127.0.0.1", "allowed"), ("::1", "no_entry")}
    assert "no pg_hba.conf entry" in node.ask("::1")
    assert outcomes(run, "second container") == {"no_entry"}
    assert {row[6] for row in run.rows if row[0] == "second container"} == {"reported"}
    assert node.ask().startswith("in as")
    assert "no pg_hba.conf entry" in node.ask(dbname="postgres")
    assert "no pg_hba.conf entry" in from_a_container(node)


def test_a_password_that_the_volume_does_not_have(node: Node) -> None:
    """Only an empty volume takes a password, so this ends with what to do about it, and the right one mends it."""
    run = node.role(pg_node_password="another", pg_node_password_file="")
    assert run.code == 2
    assert "expected allowed, got wrong_password" in run.words
    assert f"The volume {node.name}-data keeps the password that it was made with" in run.words
    mended = node.role()
    assert mended.code == 0, mended.output
    assert Path(node.variables["pg_node_password_file"]).read_text(encoding="utf-8") == PASSWORD + "\n"


def test_published_on_one_address_only(node: Node) -> None:
    run = node.role(pg_node_publish_addresses=["127.0.0.1"])
    assert run.code == 0, run.output
    assert {row[1].rsplit(" ", 1)[0] for row in run.rows if row[0] == "this host"} == {"127.0.0.1"}
    assert node.ask().startswith("in as")
    assert "refused" in node.ask("::1")
