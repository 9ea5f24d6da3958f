# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health check in states that a server gets into; each has its own text, and each answer comes within the limit."""

from __future__ import annotations

import subprocess

from image_support import DOCKER, docker, health, until


def test_a_replica_and_a_server_that_recovers(start):
    primary = start(command=("-c", "wal_level=replica")).healthy()
    primary.exec("pg_basebackup", "--pgdata=/tmp/replica", "--username=postgres", "--checkpoint=fast", "--wal-method=stream")
    primary.exec("sh", "-c", "mkdir -p $PGDATA/../keep 2>/dev/null; touch /tmp/replica/standby.signal; cp -a /tmp/replica $PGDATA.replica")
    replica = "/var/lib/postgresql/data.replica"
    primary.exec("sh", "-c", f"sed -i 's#^data=.*#data={replica}#; s/^statistics=.*//' /run/postgresql/pgops/state")
    assert health(primary)[1].startswith("process: ")
    options = "-p 5433 -c hba_file=$PGDATA/pg_hba.conf -c log_destination=stderr"
    primary.exec("sh", "-c", f'pg_ctl -D {replica} -o "{options}" -l /tmp/replica.log start')
    assert until(primary, "healthy")[1] == "healthy: replica"
    # Without hot standby nobody is answered for as long as it recovers.
    primary.exec("sh", "-c", f"pg_ctl -D {replica} -m fast stop")
    primary.exec("sh", "-c", f'pg_ctl -D {replica} -o "{options} -c hot_standby=off" -l /tmp/replica.log -W start')
    assert until(primary, "recovering") == (1, "recovering: in archive recovery")


def test_a_server_that_is_full_and_one_that_hangs(start):
    server = start(command=("-c", "max_connections=6", "-c", "superuser_reserved_connections=1", "-c", "max_wal_senders=0")).healthy()
    for _unused in range(6):
        docker("exec", "--detach", server.name, "psql", "-Xqc", "SELECT pg_sleep(300)", "postgres", "postgres")
    assert until(server, "query: ") == (1, "query: too many connections")
    server.exec("sh", "-c", "kill -STOP $(head -n 1 $PGDATA/postmaster.pid)")
    assert until(server, "socket: ") == (1, "socket: no answer within 0.6 s")
    server.exec("sh", "-c", "kill -CONT $(head -n 1 $PGDATA/postmaster.pid)")


def test_a_disk_without_room(start):
    server = start("--tmpfs=/var/lib/postgresql/data:size=110m,mode=1777").healthy()
    server.exec("sh", "-c", "dd if=/dev/zero of=$PGDATA/filler bs=1M 2>/dev/null; true")
    # The mount belongs to root, so the data is in a directory inside.
    assert health(server) == (1, "disk: less than 16 MB are free for /var/lib/postgresql/data/pgdata")
    server.exec("sh", "-c", "rm $PGDATA/filler")
    assert health(server)[0] == 0


def test_starting_and_stopping(start, tmp_path):
    (tmp_path / "1.sh").write_text("sleep 4\n")
    for path in (tmp_path, tmp_path / "1.sh"):
        path.chmod(0o755)
    server = start(f"--volume={tmp_path}:/docker-entrypoint-initdb.d:ro")
    assert until(server, "starting: first start") == (1, "starting: first start")
    server.healthy()
    pid = server.exec("psql", "-XAtqc", "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    server.exec("sh", "-c", f"kill -STOP {pid}")
    subprocess.Popen([DOCKER, "stop", "--time", "20", server.name], stdout=subprocess.DEVNULL)
    assert until(server, "stopping") == (1, "stopping: the server is shutting down")
    server.exec("sh", "-c", f"kill -CONT {pid}")
    assert server.wait() == 0


def test_a_paused_container_is_asked_by_nobody(start):
    server = start().healthy()
    docker("pause", server.name)
    done = docker("exec", server.name, "healthcheck.sh", check=False)
    assert done.returncode != 0
    assert "paused" in done.stderr
    docker("unpause", server.name)
    assert health(server)[0] == 0
