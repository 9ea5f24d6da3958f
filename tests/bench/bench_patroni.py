# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An access change on a cluster of three, from the start of the task until every member's server has it, beside Patroni alone.

A client outside tells when a member has the rules: it tries to log in until it may. What is measured: the module as Ansible runs it on a
target (a process of its own), a whole ansible-playbook with that one task, and for comparison a bare PATCH, which proves nothing.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/integration")]

import psycopg2  # noqa: E402
from patroni_support import Cluster, majors, options  # noqa: E402
from pg_hba_info.conftest import run  # noqa: E402

ROUNDS = 7
LOOP_WAIT = 10
# Patroni rests for a second after it had a server reload; a change that comes meanwhile would wait for that.
REST_SECONDS = 1.5
MODULE = "ansible_collections.pgops.access.plugins.modules.pg_hba"
RULE = "host postgres app 127.0.0.0/8 scram-sha-256"


def admitted(cluster: Cluster, wanted: bool, began: float) -> float:
    """Seconds until every member lets the client in, or keeps it out."""
    for member in cluster.members:
        while True:
            try:
                found = member.sql("select 1", user="app", password="pw-app") == [(1,)]
            except psycopg2.OperationalError:
                found = False
            if found is wanted:
                break
            time.sleep(0.005)
    return time.monotonic() - began


def measured(cluster: Cluster, name: str, change: t.Callable[[bool], None]) -> None:
    """Open and close in turn; prints the median and the extremes of both times."""
    task, met = [], []
    for number in range(ROUNDS * 2):
        opening = number % 2 == 0
        time.sleep(REST_SECONDS)
        began = time.monotonic()
        outside: list[float] = []
        watcher = threading.Thread(target=lambda: outside.append(admitted(cluster, opening, began)), daemon=True)  # noqa: B023 (joined below)
        watcher.start()
        change(opening)
        task.append(time.monotonic() - began)
        watcher.join()
        met.append(outside[0])
    print(f"| {name} | {_text(task)} | {_text(met)} |", flush=True)


def _text(times: t.Sequence[float]) -> str:
    return f"{statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"


def main() -> None:
    cluster = Cluster(majors()[0], dynamic={"loop_wait": LOOP_WAIT, "ttl": 30}).start()
    try:
        cluster.wait_for_leader().sql("create role app login password 'pw-app'")
        load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
        print(f"PostgreSQL {cluster.major}, three members on one machine, loop_wait {LOOP_WAIT} s, etcd v3; {load}\n")
        print("| change of access on three members | until it returns | until a client outside meets it on all |")
        print("|---|---|---|")

        def patch(opening: bool) -> None:
            cluster.patch({"postgresql": {"pg_hba": [*cluster.first_rules(), *([RULE] if opening else [])]}})

        def task(opening: bool) -> dict[str, t.Any]:
            state = {"rules": [RULE], "state": "present" if opening else "absent"}
            return {**options(cluster), "section": "bench", **(state if opening else {"state": "absent"})}

        def module(opening: bool) -> None:
            result = run(task(opening), module=MODULE)
            if result.get("changed") is not True:
                raise SystemExit(f"the module failed: {result.get('msg')}")

        def playbook(opening: bool) -> None:
            play = {"hosts": "localhost", "gather_facts": False, "tasks": [{"pgops.access.pg_hba": task(opening)}]}
            with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
                json.dump([play], file)
                file.flush()
                program = str(Path(sys.executable).parent / "ansible-playbook")
                subprocess.run([program, file.name, "-e", f"ansible_python_interpreter={sys.executable}"], check=True, capture_output=True)

        measured(cluster, "a bare PATCH, which proves nothing", patch)
        measured(cluster, "pg_hba, the module: planned, proved, loaded by every server, with proof", module)
        measured(cluster, "ansible-playbook with that one task", playbook)
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()
