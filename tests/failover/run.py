#!/usr/bin/env python3
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a failover lose what was acknowledged, and how long does nobody write? `make failover N=30 [PROFILE=default|fast]`.

Brings up a cluster of its own with the playbook `cluster`, lets writers insert rows through its entry point, each row a transaction of
its own, and does something bad to the primary N times at random moments. Afterwards every acknowledged row must be there, once. A writer
whose connection ends tries again every tenth of a second; that, and making a connection, is part of the time without writes.

    kill        the container's first process is killed as by the kernel; the engine starts the container again
    lost        the container is killed and stays away until somebody else leads
    pause       every process of the container stands still, then wakes up and believes to lead
    partition   the container is cut from the network, then comes back
    switchover  the lead is handed over on purpose, to whom Patroni likes
    named       the same, to a standby that is named

Docker only; the user may have to be root (kill needs to signal a process of a container).
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import http.client
import itertools
import json
import os
import random
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
import urllib.request
from pathlib import Path

import psycopg2
from account import Round, account, last_line, outage, steady, table

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from house import STATE, VENV, ansible_env  # noqa: E402 - the tools are a directory beside, not a package

NAME = "pgops-failover"
SUBNET = "172.30.228"
PORT = 15432
KINDS = ("kill", "lost", "pause", "partition", "switchover", "named")
DOCKER = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
CTL = ["/opt/pgops/venv/bin/patronictl", "-c", "/run/postgresql/pgops/patroni"]
RECOVERY_SECONDS = 180.0
WRITERS = 4
RETRY_SECONDS = 0.1
# Writes flow again when they did for so long, and never paused for so long.
STEADY_SECONDS, GAP_SECONDS = 1.0, 0.5
# Rows that were under way when something bad happened may be acknowledged for so long afterwards.
UNDER_WAY_SECONDS = 1.0
# The bad thing comes at any moment of Patroni's loop: how long that takes (roles/pg_cluster/vars/main.yml).
LOOP_SECONDS = {"default": 10.0, "fast": 1.0}


def docker(*words: str, check: bool = True) -> str:
    """One command of the engine, bounded in time."""
    done = subprocess.run([DOCKER, *words], capture_output=True, text=True, timeout=120, check=False)
    if check and done.returncode:
        raise SystemExit(f"docker {' '.join(words[:3])}: {done.stderr.strip()}")
    return done.stdout.strip()


def address(member: int | str) -> str:
    """Of a member, by its number or its name."""
    return f"{SUBNET}.{20 + int(str(member).rpartition('-')[2])}"


class Cluster:
    """The cluster under test, as its engine and Patroni show it."""

    def __init__(self, profile: str, image: str) -> None:
        self._variables = {
            "pg_cluster_name": NAME, "pg_cluster_subnet": f"{SUBNET}.0/24", "pg_cluster_port": PORT, "pg_cluster_read_only_port": PORT + 1,
            "pg_cluster_publish_addresses": ["127.0.0.1"], "pg_cluster_profile": profile, "pgops_state_dir": str(STATE),
            "pgops_engine": "docker",
        }  # fmt: skip
        if image:
            self._variables["pgops_image"] = image

    def play(self, **more: object) -> None:
        """The playbook, with its output in a file; raises SystemExit with the end of it when it fails."""
        log = STATE / "logs" / "failover.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [str(VENV / "bin/ansible-playbook"), "playbooks/cluster.yml", "-i", "localhost,", "-c", "local", "-e"]
        with log.open("w", encoding="utf-8") as file:
            variables = json.dumps({**self._variables, "ansible_python_interpreter": str(VENV / "bin/python"), **more})
            done = subprocess.run([*command, variables], cwd=ROOT, env=ansible_env(), stdout=file, stderr=file, timeout=900, check=False)
        if done.returncode:
            raise SystemExit(f"the playbook failed; the end of {log}:\n" + "\n".join(log.read_text().splitlines()[-25:]))

    def password(self) -> str:
        """The superuser's."""
        return (STATE / "clusters" / NAME / "secrets" / "superuser").read_text().strip()

    def members(self) -> list[dict[str, t.Any]]:
        """Patroni's list, from any member that answers; empty when none does."""
        trusted = ssl.create_default_context(cafile=STATE / "clusters" / NAME / "tls" / "cluster-ca.crt")
        for number in (1, 2, 3):
            url = f"https://{address(number)}:8008/cluster"
            with (
                contextlib.suppress(OSError, ValueError, http.client.HTTPException),
                urllib.request.urlopen(url, timeout=2.5, context=trusted) as answer,
            ):
                return list(json.load(answer)["members"])
        return []

    def leader(self) -> str:
        """The member that leads; empty when none does."""
        return next((str(m["name"]) for m in self.members() if m["role"] == "leader" and m["state"] == "running"), "")

    def whole(self) -> bool:
        """Whether one leads and both others follow it synchronously."""
        found = sorted((m["role"], m["state"]) for m in self.members())
        return found == [("leader", "running"), ("quorum_standby", "streaming"), ("quorum_standby", "streaming")]

    def describe(self) -> str:
        """The members in one line."""
        return ", ".join(f"{m['name']} {m['role']} {m['state']}" for m in self.members()) or "no member answers"


class Writers:
    """Threads that insert rows through the entry point and remember which were acknowledged, and when."""

    def __init__(self, password: str) -> None:
        self._dsn = f"host=127.0.0.1 port={PORT} user=postgres password={password} dbname=app connect_timeout=2 application_name=failover"
        self.acknowledged: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,), daemon=True) for number in range(WRITERS)]

    def connect(self) -> psycopg2.extensions.connection:
        """A session of its own."""
        session = psycopg2.connect(self._dsn, options="-c statement_timeout=30000")
        session.autocommit = True
        return session

    def start(self) -> None:
        """Make the table, without a key that would hide a row that is there twice, and begin."""
        session = self.connect()
        session.cursor().execute("DROP TABLE IF EXISTS failover; CREATE TABLE failover (id bigint NOT NULL)")
        session.close()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No more rows."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def times(self, since: float) -> list[float]:
        """When rows were acknowledged, from a moment on."""
        # Threads append in the order of time, but for some milliseconds.
        recent = itertools.takewhile(lambda entry: entry[0] > since - 1.0, reversed(self.acknowledged))
        return [moment for moment, _row in recent if moment >= since]

    def _write(self, writer: int) -> None:
        number = 0
        session = None
        while not self._stop.is_set():
            number += 1
            row = writer * 10**12 + number
            try:
                session = session or self.connect()
                session.cursor().execute("INSERT INTO failover VALUES (%s)", (row,))
                self.acknowledged.append((time.monotonic(), row))
                self._stop.wait(0.01)
            except psycopg2.Error:
                # Nobody knows whether this row was written: it is not counted, and not tried again.
                if session is not None:
                    session.close()
                session = None
                self._stop.wait(RETRY_SECONDS)


def hurt(kind: str, cluster: Cluster, leader: str) -> None:
    """Do it."""
    if kind == "kill":
        os.kill(int(docker("inspect", "--format", "{{.State.Pid}}", leader)), signal.SIGKILL)
    elif kind == "lost":
        docker("kill", leader)
    elif kind == "pause":
        docker("pause", leader)
    elif kind == "partition":
        docker("network", "disconnect", f"{NAME}-cluster", leader)
    else:
        standbys = [str(m["name"]) for m in cluster.members() if m["role"] == "quorum_standby"]
        candidate = ["--candidate", random.choice(standbys)] if kind == "named" else []
        docker("exec", leader, *CTL, "switchover", "--leader", leader, *candidate, "--force")


def mend(kind: str, leader: str) -> None:
    """Undo it."""
    if kind == "lost":
        docker("start", leader)
    elif kind == "pause":
        docker("unpause", leader)
    elif kind == "partition":
        docker("network", "connect", "--ip", address(leader), f"{NAME}-cluster", leader)


def wait_for(what: str, cluster: Cluster, test: t.Callable[[], bool]) -> None:
    """Until a test holds; raises SystemExit when it never does."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while not test():
        if time.monotonic() > deadline:
            raise SystemExit(f"after {RECOVERY_SECONDS:.0f} s: {what} ({cluster.describe()})")
        time.sleep(0.25)


def one_round(kind: str, cluster: Cluster, writers: Writers, loop: float) -> Round:
    """One bad thing, until writes flow again, and until the cluster is whole again."""
    time.sleep(0.5 + random.uniform(0, loop))
    leader = cluster.leader()
    if not leader:
        raise SystemExit(f"nobody leads, though the cluster was whole a moment ago ({cluster.describe()})")
    begin = time.monotonic()
    hurt(kind, cluster, leader)
    over = time.monotonic() + UNDER_WAY_SECONDS
    wait_for(f"nobody writes after {kind} of {leader}", cluster, lambda: flows(writers, over))
    mend(kind, leader)
    wait_for(f"the cluster is not whole again after {kind} of {leader}", cluster, cluster.whole)
    return Round(kind, outage(writers.times(begin), begin, time.monotonic()))


def flows(writers: Writers, since: float) -> bool:
    """Whether rows were acknowledged all the time lately, after ``since``."""
    now = time.monotonic()
    return now - STEADY_SECONDS >= since and steady(writers.times(now - STEADY_SECONDS), now - STEADY_SECONDS, now, GAP_SECONDS)


def rows(writers: Writers) -> dict[int, int]:
    """How often each row is there, as the primary says."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while True:
        try:
            with contextlib.closing(writers.connect()) as session, session.cursor() as cursor:
                cursor.execute("SELECT id, count(*) FROM failover GROUP BY id")
                return dict(cursor.fetchall())
        except psycopg2.OperationalError as problem:
            if time.monotonic() > deadline:
                raise SystemExit(f"the rows cannot be read: {problem}") from None
            time.sleep(1)


@contextlib.contextmanager
def alone() -> t.Iterator[None]:
    """The cluster's names and ports are fixed: one run at a time on a machine, its end included."""
    with (Path(tempfile.gettempdir()) / f"{NAME}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit("another run is under way, or removes its cluster") from None
        yield


def main() -> int:
    """Rounds, figures; exit status 1 when a row was lost or is there twice."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--profile", choices=("default", "fast"), default="fast")
    parser.add_argument("--kinds", default=",".join(KINDS), help="which bad things, separated by commas")
    parser.add_argument("--image", default="", help="name of the members' image, when it shall not be the usual one")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    given = parser.parse_args()
    kinds = given.kinds.split(",")
    if given.rounds < 1 or not set(kinds) <= set(KINDS):
        parser.error(f"--rounds is at least 1, --kinds are of {', '.join(KINDS)}")
    random.seed(given.seed)
    with alone():
        return run(given, kinds)


def run(given: argparse.Namespace, kinds: list[str]) -> int:
    """A cluster, the rounds, and no cluster."""
    cluster = Cluster(given.profile, given.image)
    print(f"bringing up the cluster {NAME}, profile {given.profile}, seed {given.seed}", flush=True)
    cluster.play()
    try:
        return rounds(given.rounds, kinds, cluster, LOOP_SECONDS[given.profile])
    finally:
        if not given.keep:
            for name in docker("ps", "--quiet", "--filter", f"name={NAME}-", "--filter", "status=paused", check=False).split():
                docker("unpause", name, check=False)
            cluster.play(pg_cluster_state="absent", pgops_purge=True)


def rounds(count: int, kinds: list[str], cluster: Cluster, loop: float) -> int:
    """All rounds, then the account."""
    wait_for("the cluster is not whole", cluster, cluster.whole)
    writers = Writers(cluster.password())
    writers.start()
    # Each kind as often as the others, in random order.
    order = [kinds[index % len(kinds)] for index in range(count)]
    random.shuffle(order)
    began = time.monotonic()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; {WRITERS} writers", flush=True)
    done: list[Round] = []
    for number, kind in enumerate(order, 1):
        before = len(writers.acknowledged)
        done.append(one_round(kind, cluster, writers, loop))
        print(
            f"round {number}/{count}: {kind}, {done[-1].outage:.1f} s without writes, {len(writers.acknowledged) - before} rows", flush=True
        )
    writers.stop()
    total = account([row for _moment, row in writers.acknowledged], rows(writers))
    print(f"load {os.getloadavg()[0]:.1f}; {(time.monotonic() - began) / 60:.1f} minutes", *table(done), sep="\n")
    if not total.clean:
        print(f"lost: {total.lost[:20]}", f"duplicated: {total.duplicated[:20]}", sep="\n")
    print(last_line(done, total), flush=True)
    return 0 if total.clean else 1


if __name__ == "__main__":
    sys.exit(main())
