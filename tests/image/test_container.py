# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container itself: who it runs as, how it stops and dies, hardening, first start, drop-in behaviour, no credential in it."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
from image_support import DOCKER, IMAGE, PASSWORD, RUN, docker, make_certificate

HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp")


# ------------------------------------------------------------------------------------------------------------- start and end


@pytest.mark.parametrize("signal", ["TERM", "INT"])
def test_a_stop_is_a_fast_shutdown_and_ends_with_0(start, volume, connect, outsider, signal):
    server = start(f"--volume={volume}:/var/lib/postgresql/data").healthy()
    subprocess.Popen(
        [DOCKER, "exec", "--env", f"PGPASSWORD={PASSWORD}", outsider.name, "psql", "-Xc", "SELECT pg_sleep(100)",
         f"host={server.address()} user=postgres"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    server.events(outcome="accepted")
    began = time.monotonic()
    docker("kill", "--signal", signal, server.name)
    assert server.wait() == 0
    assert time.monotonic() - began < 15, "a client that stays does not delay a fast shutdown"
    state = docker("run", "--rm", f"--volume={volume}:/var/lib/postgresql/data", IMAGE, "bash", "-c", "pg_controldata | grep state").stdout
    assert "shut down" in state


@pytest.mark.parametrize(("signal", "status"), [("KILL", 137), ("SEGV", 139)])
def test_a_crash_ends_the_container_with_its_code(start, signal, status):
    server = start().healthy()
    server.exec("sh", "-c", f"kill -{signal} $(head -n 1 $PGDATA/postmaster.pid)")
    assert server.wait() == status
    last = server.records()[-1]
    assert last["level"] == "error"
    assert f"SIG{signal}" in last["message"]


def test_a_server_that_cannot_start_ends_the_container_with_its_code(start):
    server = start(command=("postgres", "-c", "shared_buffers=1TB"))
    status = server.wait()
    assert status not in (0, 137)
    assert server.records()[-1]["level"] == "error"


def test_a_second_signal_is_an_immediate_shutdown(start):
    server = start().healthy()
    server.exec("sh", "-c", "kill -STOP $(psql -XAtqc \"SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'\")")
    docker("kill", "--signal", "TERM", server.name)
    time.sleep(1)
    assert docker("inspect", "--format", "{{.State.Running}}", server.name).stdout.strip() == "true", (
        "the stopped checkpointer holds a fast shutdown"
    )
    docker("kill", "--signal", "TERM", server.name)
    assert server.wait() == 0
    assert server.said("info", "immediate shutdown")


def test_pid_1_leaves_no_zombies_and_a_hangup_reloads(start):
    server = start().healthy()
    server.exec("sh", "-c", "(sleep 0.1 &) ; (sleep 0.1 &)")
    server.exec("sh", "-c", "echo \"work_mem = '7MB'\" >> $PGDATA/postgresql.conf")
    docker("kill", "--signal", "HUP", server.name)
    time.sleep(1)
    assert server.exec("psql", "-XAtqc", "SHOW work_mem") == "7MB"
    states = server.exec("sh", "-c", "cat /proc/[0-9]*/stat")
    assert not re.search(r"\) Z ", states)


def test_restart_keeps_the_data_and_its_certificate(start, connect, volume):
    mount = f"--volume={volume}:/var/lib/postgresql/data"
    server = start(mount, env={"POSTGRES_USER": "app", "POSTGRES_DB": "orders"}).healthy()
    server.exec("psql", "-XqU", "app", "orders", "-c", "CREATE TABLE t AS SELECT 42 AS n")
    certificate = server.exec("sh", "-c", "sha256sum $PGDATA/pgops-tls/server.crt")
    docker("restart", server.name)
    server.healthy()
    assert server.exec("psql", "-XAtqU", "app", "orders", "-c", "SELECT n FROM t") == "42"
    server.remove()
    server = start(mount, env={"POSTGRES_USER": "other"}).healthy()
    assert server.said("warning", "changes nothing")
    assert server.exec("sh", "-c", "sha256sum $PGDATA/pgops-tls/server.crt") == certificate
    assert connect(server, user="app", database="orders") == "ok app"


def test_a_renewed_certificate_is_presented_without_a_restart(start, outsider, tmp_path):
    """With the program that the role pg_node runs: once it reloads, then it finds nothing to do; a pair that does not fit is told."""
    make_certificate(tmp_path)
    server = start(f"--volume={tmp_path}:/etc/pgops/tls:ro").healthy()
    program = (Path(__file__).parents[2] / "roles/pg_node/files/tls_reload.py").read_text()
    python = ("/opt/pgops/venv/bin/python", "-I", "-c", program)

    def presented() -> str:
        ask = f"openssl s_client -starttls postgres -connect {server.address()}:5432 </dev/null 2>/dev/null | openssl x509 -noout -serial"
        return outsider.exec("sh", "-c", ask)

    def serial() -> str:
        return subprocess.run(
            ["openssl", "x509", "-noout", "-serial", "-in", str(tmp_path / "tls.crt")], check=True, capture_output=True, text=True
        ).stdout.strip()

    assert presented() == serial()
    assert json.loads(server.exec(*python, "reload", "postgres"))["changed"] is False
    began = server.exec("psql", "-XAtqc", "SELECT pg_postmaster_start_time()")
    old = serial()
    make_certificate(tmp_path)
    assert json.loads(server.exec(*python, "look", "postgres"))["changed"] is True
    assert presented() == old != serial()
    assert json.loads(server.exec(*python, "reload", "postgres"))["changed"] is True
    assert presented() == serial()
    assert json.loads(server.exec(*python, "reload", "postgres"))["changed"] is False
    assert server.exec("psql", "-XAtqc", "SELECT pg_postmaster_start_time()") == began
    good, key = serial(), (tmp_path / "tls.key").read_text()
    make_certificate(tmp_path)
    (tmp_path / "tls.key").write_text(key)
    failed = docker("exec", server.name, *python, "reload", "postgres", check=False)
    assert failed.returncode == 1
    assert "a key that does not belong to the certificate" in failed.stderr
    assert presented() == good, "a pair that does not fit changes nothing for clients"


# ----------------------------------------------------------------------------------------------------------------- hardening


@pytest.mark.parametrize(
    "options",
    [
        ("--tmpfs=/run",),
        ("--tmpfs=/run/postgresql",),
        ("--tmpfs=/run", "--user=12345:0"),
        ("--user=12345:12345",),
    ],
)
def test_hardened(start, connect, options):
    server = start(*HARDENED, *options).healthy()
    assert connect(server) == "ok postgres"
    assert server.exec("psql", "-XAtqU", "postgres", "-c", "SELECT current_user") == "postgres", "over the socket, by peer"
    status = server.exec("cat", "/proc/1/status")
    assert re.search(r"CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"NoNewPrivs:\s+1$", status, re.MULTILINE)
    user = next((option[7:].split(":")[0] for option in options if option.startswith("--user=")), "999")
    assert re.search(rf"^Uid:\s+{user}\s", status, re.MULTILINE)


def test_a_read_only_root_without_shared_memory_says_what_is_missing(start):
    server = start("--read-only", "--ipc=none")
    assert server.wait() == 73
    assert "--tmpfs /run/postgresql" in server.records()[-1]["message"]


def test_root_is_refused(start):
    server = start("--user=0")
    assert server.wait() == 64


def test_somebody_elses_data_is_refused(start, volume):
    mount = f"--volume={volume}:/var/lib/postgresql/data"
    start(mount).healthy().remove()
    server = start(mount, "--user=12345:0")
    assert server.wait() == 73
    assert "belongs to user id 999" in server.records()[-1]["message"]


def test_secrets_are_not_in_the_servers_environment(start):
    server = start().healthy()
    environment = server.exec("sh", "-c", "tr '\\0' '\\n' < /proc/$(head -n 1 $PGDATA/postmaster.pid)/environ")
    assert PASSWORD not in environment
    assert "PGDATA=" in environment


# -------------------------------------------------------------------------------------------------------------------- drop-in


RESTARTING = """
echo 'wal_level = logical' >>"$PGDATA/postgresql.conf"
docker_temp_server_stop
docker_temp_server_start
[ "$(psql -XAtqU "$POSTGRES_USER" -d "$POSTGRES_DB" -c 'SHOW wal_level')" = logical ]
echo 'from a file' >/tmp/word
export WORD_FILE=/tmp/word
file_env WORD
docker_process_sql -c "INSERT INTO steps (what) VALUES ('$WORD')"
"""
"""The other functions of docker-library's that scripts use; the server that it leaves behind is not the one that was started for it."""


def test_first_start_scripts(start, tmp_path, connect):
    """Shell and SQL, plain and compressed, in order of their names; sourced shells have the function that such scripts use."""
    (tmp_path / "1.sql").write_text("CREATE TABLE steps (n serial, what text); INSERT INTO steps (what) VALUES ('sql');")
    (tmp_path / "2.sh").write_text("docker_process_sql -c \"INSERT INTO steps (what) VALUES ('sourced $POSTGRES_DB')\"\n")
    (tmp_path / "3.sh").write_text('#!/bin/sh\npsql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "INSERT INTO steps (what) VALUES (\'run\')"\n')
    (tmp_path / "4.sql.gz").write_bytes(gzip.compress(b"INSERT INTO steps (what) VALUES ('gz');"))
    insert = "INSERT INTO steps (what) VALUES ('xz'); CREATE ROLE reader LOGIN PASSWORD 'r3ader'; GRANT SELECT ON steps TO reader;"
    subprocess.run(["xz", "-c"], input=insert.encode(), stdout=(tmp_path / "5.sql.xz").open("wb"), check=True)
    (tmp_path / "7.sh").write_text('psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "INSERT INTO steps (what) VALUES (\'no first line\')"\n')
    zstd = subprocess.run([DOCKER, "run", "--rm", "-i", "--entrypoint", "zstd", IMAGE, "-c"], check=True, capture_output=True,
                          input=b"INSERT INTO steps (what) VALUES ('zst');").stdout  # fmt: skip
    (tmp_path / "8.sql.zst").write_bytes(zstd)
    (tmp_path / "6.txt").write_text("ignored")
    (tmp_path / "9.sh").write_text(RESTARTING)
    for path in (tmp_path, *tmp_path.iterdir()):
        path.chmod(0o755 if path.is_dir() or path.name in ("3.sh", "7.sh") else 0o644)
    server = start(
        f"--volume={tmp_path}:/docker-entrypoint-initdb.d:ro", env={"POSTGRES_USER": "my user", "POSTGRES_DB": "my db"}
    ).healthy()
    steps = server.exec("psql", "-XAtqU", "my user", "my db", "-c", "SELECT string_agg(what, ',' ORDER BY n) FROM steps")
    assert steps == "sql,sourced my db,run,gz,xz,no first line,zst,from a file"
    assert server.exec("psql", "-XAtqU", "my user", "my db", "-c", "SHOW wal_level") == "logical"
    assert server.said("info", "6.txt is ignored")
    assert connect(server, user="reader", database="my db", password="r3ader") == "ok reader"
    assert server.exec("psql", "-XAtqU", "my user", "my db", "-c", "SHOW listen_addresses") == "*"
    assert "trust" not in " ".join(server.hba()), "the open socket was for the scripts only"


def test_a_failed_script_ends_the_start_and_is_not_forgotten(start, volume, tmp_path):
    (tmp_path / "1.sql").write_text("SELECT nothing;")
    tmp_path.chmod(0o755)
    mounts = (f"--volume={volume}:/var/lib/postgresql/data", f"--volume={tmp_path}:/docker-entrypoint-initdb.d:ro")
    server = start(*mounts)
    assert server.wait() == 73
    assert "/docker-entrypoint-initdb.d/1.sql failed" in server.records()[-1]["message"]
    again = start(*mounts)
    assert again.wait() == 73
    assert "did not finish" in again.records()[-1]["message"]


def test_a_stop_during_initdb_leaves_a_volume_that_can_be_used(start, volume):
    mount = f"--volume={volume}:/var/lib/postgresql/data"
    server = start(mount)
    deadline = time.monotonic() + 20
    while not any(record.get("event") == "new_cluster" for record in server.records()) and time.monotonic() < deadline:
        time.sleep(0.02)
    docker("kill", "--signal", "KILL", server.name)
    server.wait()
    start(mount).healthy()


def test_another_command_runs_as_if_there_were_no_entrypoint():
    assert docker("run", "--rm", IMAGE, "echo", "Hello").stdout == "Hello\n"
    assert docker("run", "--rm", IMAGE, "date", "+%Z").stdout == "UTC\n"
    assert docker("run", "--rm", IMAGE, "postgres", "--version").stdout.startswith("postgres (PostgreSQL) ")
    assert docker("run", "--rm", "--entrypoint", "psql", IMAGE, "--version").stdout.startswith("psql (PostgreSQL) ")
    missing = docker("run", "--rm", IMAGE, "no-such-program", check=False)
    assert missing.returncode == 127


def test_server_arguments(start):
    """Given to docker-library's name of the entrypoint, with the certificate that only its image has: our own takes the place."""
    path = "/etc/ssl/{}/ssl-cert-snakeoil.{}"
    tls = ("-c", "ssl=on", "-c", f"ssl_cert_file={path.format('certs', 'pem')}", f"--ssl_key_file={path.format('private', 'key')}")
    words = ("postgres", "-c", "work_mem=6MB", *tls, "-c", "port=5433")
    server = start("--entrypoint=docker-entrypoint.sh", command=words).healthy()
    shown = server.exec("psql", "-p", "5433", "-XAtqc", "SHOW work_mem", "-c", "SHOW ssl", "-c", "SHOW ssl_cert_file")
    assert shown.split() == ["6MB", "on", "/var/lib/postgresql/data/pgops-tls/server.crt"]


def test_docker_librarys_method_variable(start, connect):
    server = start(env={"POSTGRES_HOST_AUTH_METHOD": "reject"}).healthy()
    assert "rejects" in connect(server)


FOREIGN = r"""
export LANG=en_US.utf8
initdb -D $PGDATA --username=shop --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD")
sed -ri "s!^#?(listen_addresses)\s*=\s*\S+.*!\1 = '*'!" $PGDATA/postgresql.conf
printf '\nhost all all all scram-sha-256\n' >>$PGDATA/pg_hba.conf
pg_ctl -D $PGDATA -o '-c listen_addresses=' -w start
psql -XqU shop postgres -c 'CREATE DATABASE shop'
psql -XqU shop shop -c 'CREATE TABLE kept AS SELECT 42 AS n'
pg_ctl -D $PGDATA -m fast -w stop
"""
"""What docker-library's image does with an empty volume: its user id, locale, rules and listen_addresses, and nothing of ours."""


def test_a_volume_of_docker_librarys_image(start, connect, volume):
    mount = f"--volume={volume}:/var/lib/postgresql/data"
    docker("run", "--rm", mount, f"--env=POSTGRES_PASSWORD={PASSWORD}", "--entrypoint", "bash", IMAGE, "-ec", FOREIGN)
    environment = {"POSTGRES_USER": "shop", "POSTGRES_DB": "shop"}
    server = start(mount, *HARDENED, "--tmpfs=/run/postgresql", "--user=999", env=environment).healthy()
    assert connect(server, user="shop", database="shop") == "ok shop"
    assert "password authentication failed" in connect(server, user="shop", database="shop", password="wrong")
    assert server.exec("psql", "-XAtqU", "shop", "shop", "-c", "TABLE kept", "-c", "SHOW lc_messages").split() == ["42", "en_US.utf8"]
    assert server.hba()[-3:] == ["host all all all scram-sha-256", "host all all 0.0.0.0/0 md5", "host all all ::/0 md5"]
    assert server.event_of("statistics")["loaded"] == ["pg_stat_statements"]
    server.exec("sh", "-c", "sed -i s/en_US.utf8/tlh_DE.utf8/ $PGDATA/postgresql.conf")
    server.remove()
    server = start(mount, "--user=12345:0")
    assert server.wait() == 73
    assert "run as its owner (--user 999)" in server.records()[-1]["message"]
    server = start(mount)
    assert server.wait() == 73
    assert 'build the image with EXTRA_LOCALES="tlh_DE.UTF-8"' in server.records()[-1]["message"]


def test_a_directory_of_the_host_that_nobody_gave_us_is_told(start, volume):
    mount = f"--volume={volume}:/var/lib/postgresql/data"
    docker(
        "run", "--rm", "--user=0", mount, "--entrypoint=sh", IMAGE, "-c", "mkdir $PGDATA/lost+found; chown 0:0 $PGDATA; chmod 755 $PGDATA"
    )
    server = start(mount)
    assert server.wait() == 73
    assert "belongs to user id 0" in server.records()[-1]["message"]
    assert "chown 999 it there" in server.records()[-1]["message"]


def test_a_wrong_major_is_told(start, volume):
    mount = f"--volume={volume}:/var/lib/postgresql/data"
    server = start(mount).healthy()
    server.exec("sh", "-c", "echo 13 > $PGDATA/PG_VERSION")
    server.remove()
    server = start(mount)
    assert server.wait() == 73
    assert "was made by PostgreSQL 13" in server.records()[-1]["message"]


# ------------------------------------------------------------------------------------------------------------- what is inside


def test_what_the_image_says_of_itself():
    config = json.loads(docker("image", "inspect", IMAGE).stdout)[0]["Config"]
    assert config["User"] == "999"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Volumes"] == {"/var/lib/postgresql/data": {}}
    assert config["ExposedPorts"] == {"5432/tcp": {}}
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/local/bin/healthcheck.sh"]
    assert not [name for name in config["Env"] if re.search(r"PASS|SECRET|TOKEN|KEY", name, re.IGNORECASE)]


def test_no_credential_in_any_layer_and_no_word_of_one_in_the_history(tmp_path):
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", IMAGE).stdout
    assert not re.search(r"(password|secret|token)\s*=", history, re.IGNORECASE)
    archive = tmp_path / "image.tar"
    docker("save", "--output", str(archive), IMAGE, timeout=300)
    found: list[str] = []
    names: set[str] = set()
    with tarfile.open(archive) as outer:
        layers = json.load(outer.extractfile("manifest.json"))[0]["Layers"]
        for layer in layers:
            with tarfile.open(fileobj=outer.extractfile(layer)) as inner:
                for member in inner:
                    names.add(member.name)
                    if member.isfile() and member.mode & 0o6000:
                        found.append(f"setuid {member.name}")
                    if member.isfile() and member.size < 2_000_000 and not member.name.startswith("usr/lib/"):
                        text = inner.extractfile(member).read()
                        if re.search(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/=\n]{60}", text):
                            found.append(f"private key {member.name}")
                        if member.name in ("etc/shadow", "etc/passwd") and re.search(rb"^[^:]*:(\$|:)", text, re.MULTILINE):
                            found.append(f"password in {member.name}")
    assert found == []
    assert "usr/local/lib/pgops/pid1.py" in names
    for name in names:
        assert not re.search(r"PG_VERSION$|pg_hba\.conf$|\.pgpass|pip\.conf|/etc/ssl/private/.|root/\.cache/.", name), name


def test_a_lock_file_that_names_somebody_else_keeps_no_server_from_starting(start, volume):
    """Process ids begin anew in each container: that of a killed server may be anybody's. Here it is the engine's first process."""
    mount = f"--volume={volume}:/var/lib/postgresql/data"
    server = start("--init", mount).healthy()
    server.exec("sh", "-c", 'kill -9 "$(head -n 1 $PGDATA/postmaster.pid)"', check=False)
    server.wait()
    docker("run", "--rm", mount, IMAGE, "sh", "-c", "sed -i 1s/.*/1/ $PGDATA/postmaster.pid")
    again = start("--init", mount).healthy()
    assert again.exec("psql", "-XAtqwc", "SELECT pg_postmaster_start_time() IS NOT NULL") == "t"


def test_a_second_container_keeps_off_the_same_data(start, connect, volume):
    """Process ids and shared memory, by which servers see each other, end at a container's border; a killed one's successor may start."""
    mount = f"--volume={volume}:/var/lib/postgresql/data"
    first = start(mount).healthy()
    second, single = start(mount), start(mount, command=("postgres", "--single", "postgres"))
    assert (second.wait(), single.wait()) == (73, 73)
    assert "another container works on" in single.raw_lines()[-1]
    held = "ls -l /proc/$(head -n 1 $PGDATA/postmaster.pid)/fd | grep -c ' /var/lib/postgresql/data$'"
    assert first.exec("sh", "-c", held) == "1", "the server holds the lock, too: PID 1 may end before it"
    assert second.said("info", "another container works on the same data; it is waited for")
    assert "another container works on /var/lib/postgresql/data" in second.records()[-1]["message"]
    assert connect(first, statement="CREATE TABLE kept AS SELECT 'mine' AS word; SELECT word FROM kept") == "mine"
    docker("kill", first.name)
    third = start(mount).healthy()
    assert connect(third, statement="SELECT word FROM kept") == "mine"


# --------------------------------------------------------------------------------------------------------------------- health


def test_health_tells_its_states_apart(start):
    server = start(command=("-c", "max_connections=4", "-c", "superuser_reserved_connections=1", "-c", "max_wal_senders=1")).healthy()

    def health() -> tuple[int, str, float]:
        began = time.monotonic()
        done = docker("exec", server.name, "healthcheck.sh", check=False)
        return done.returncode, done.stdout.strip(), time.monotonic() - began

    assert health()[:2] == (0, "healthy: primary (pg_stat_statements)")
    busy = [
        subprocess.Popen([DOCKER, "exec", server.name, "psql", "-Xc", "SELECT pg_sleep(20)"], stdout=subprocess.DEVNULL) for _ in range(4)
    ]
    deadline = time.monotonic() + 10
    while health()[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert health()[:2] == (1, "query: too many connections")
    for process in busy:
        process.kill()
    docker("restart", server.name)
    server.healthy()
    pid = server.exec("sh", "-c", "head -n 1 $PGDATA/postmaster.pid")
    server.exec("sh", "-c", f"kill -STOP {pid}")
    status, text, seconds = health()
    assert (status, text) == (1, "socket: no answer within 0.6 s")
    assert seconds < 3, "two seconds, and what the engine itself takes"
    server.exec("sh", "-c", f"kill -CONT {pid}")
    server.healthy()
    server.exec("sh", "-c", "rm /run/postgresql/.s.PGSQL.5432")
    assert health()[1].startswith("socket: ")
    assert "is not there" in health()[1]


def test_nothing_is_left_of_this_run_but_what_the_fixtures_remove():
    names = docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name={RUN}").stdout.split()
    assert set(names) <= {f"{RUN}-outsider"}
