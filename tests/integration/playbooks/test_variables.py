# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role pg_node does what its variables say: the table it prints, connections of our own, and the engine agree.

One node, changed again and again on the same volume. The tests are one story and run in this order.
"""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path

from .conftest import BIN, EXTRA_SUBNET, Node, Run, free_port

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


def certify(folder: Path) -> None:
    """A certificate and its key, new each time; readable as secrets often are."""
    folder.mkdir(mode=0o755, exist_ok=True)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=test", "-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "tls.key").chmod(0o644)


def presented(node: Node) -> str:
    """The certificate that a client on this host meets, through the published port."""
    command = ["openssl", "s_client", "-starttls", "postgres", "-connect", f"127.0.0.1:{node.port}"]
    text = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=True).stdout
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----\n"
    return begin + text.split(begin)[1].split(end)[0] + end


def test_a_password_file_and_all_about_the_container(node: Node) -> None:
    """With everything that a container can have; and a run that failed leaves the way free for it."""
    password = node.folder / "my password"
    password.write_text(PASSWORD + "\n", encoding="utf-8")
    password.chmod(0o600)
    scripts = node.folder / "init"
    scripts.mkdir(mode=0o755)
    (scripts / "made.sql").write_text("CREATE TABLE made (word text);\n", encoding="utf-8")
    certificates = node.folder / "certificates"
    certify(certificates)
    node.engine("network", "create", "--subnet", EXTRA_SUBNET, f"{node.name}-extra")
    node.variables["pg_node_password_file"] = str(password)
    wanted = {
        "pg_node_memory": "512m",
        "pg_node_cpus": 1.5,
        "pg_node_pids_limit": 200,
        "pg_node_shm_size": "64m",
        "pg_node_restart_policy": "no",
        "pg_node_mounts": [f"{scripts}:/docker-entrypoint-initdb.d:ro", f"{certificates}:/etc/pgops/tls:ro"],
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
        "/etc/pgops/tls": False,
        "/run/secrets/postgres_password": False,
        "/var/lib/postgresql/data": True,
    }
    assert {"TZ=Europe/Berlin", "LOG_LEVEL=debug"} <= set(container["Config"]["Env"])
    asked = node.engine("exec", node.name, "psql", "-U", "postgres", "-d", "app", "-XAtc", "SHOW work_mem", "-c", "TABLE made")
    assert asked.stdout.strip() == "7MB", asked.stderr
    before = node.identity()
    certify(certificates)
    again = node.role(**wanted)
    assert (again.code, again.changed) == (0, 1), again.output
    assert node.identity() == before, "a new certificate is a reload"
    assert presented(node) == (certificates / "tls.crt").read_text(encoding="ascii")


def test_a_strange_password_works_through_pgpass(node: Node) -> None:
    assert node.ask(password=PASSWORD).startswith("in as")
    assert "password authentication failed" in node.ask(password="no")
    env = {**node.env, "PGSERVICEFILE": str(node.state / "pg_service.conf")}
    done = subprocess.run(
        ["psql", "service=pgops", "-XAtc", "SELECT 'in'"], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout.strip() == "in", done.stderr


def test_closed_for_all_but_the_exporter(node: Node) -> None:
    port = free_port()
    run = node.role(pg_node_external_access_enable=False, pg_node_exporter=True, pg_node_exporter_port=port)
    assert run.code == 0, run.output
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    assert "\npg_up 1\n" in metrics
    assert f'pg_stat_database_numbackends{{datid="5",datname="postgres",server="{node.name}:5432"}}' in metrics
    secret = (node.secret.parent / "exporter_password").read_text()
    exporter = node.inspect(name=f"{node.name}-exporter")
    assert exporter is not None
    assert secret not in json.dumps(exporter)
    assert (exporter["HostConfig"]["ReadonlyRootfs"], exporter["HostConfig"]["CapDrop"]) == (True, ["ALL"])
    assert secret not in run.output
    assert "no pg_hba.conf entry" in node.ask(user="pgops_exporter", password=secret, dbname="app")
    assert "no pg_hba.conf entry" in node.ask(user="pgops_exporter", password=secret, dbname="postgres", sslmode="disable")
    assert outcomes(run, "this host") == outcomes(run, "second container") == {"no_entry"}
    assert {row[6] for row in run.rows} == {"as expected"}
    assert "no pg_hba.conf entry" in node.ask()
    assert "no pg_hba.conf entry" in from_a_container(node)


def test_rejected_and_no_exporter_any_more(node: Node) -> None:
    run = node.role(pg_node_external_access_method="reject")
    assert run.code == 0, run.output
    assert node.inspect(name=f"{node.name}-exporter") is None
    left = node.engine(
        "exec", node.name, "psql", "-U", "postgres", "-XAtc",
        "SELECT rolname FROM pg_roles WHERE rolname = 'pgops_exporter' UNION ALL "
        "SELECT array_to_string(user_name, ',') FROM pg_hba_file_rules WHERE 'pgops_exporter' = ANY (user_name)",
    )  # fmt: skip
    assert (left.stdout, left.stderr) == ("", "")
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
