# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the engine is, beside community.postgresql's reader and the server's own view, on the same files in one run.

    python tests/bench/bench_engine.py [--sizes 10,1000,10000,100000] [--server-bin /usr/lib/postgresql/15/bin] [--rounds 5] [--json FILE]

Each figure is the median of rounds that take turns, in milliseconds of process time (the server: its own execution time, from
EXPLAIN ANALYZE). The engine's caches are emptied before every measurement. The growth exponent is the slope between the two
largest sizes: 1 is linear. Absolute times belong to the machine that is printed above them; ratios travel.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import platform
import pwd
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from ansible_collections.pgops.access.plugins.module_utils._hba import ruleset
from ansible_collections.pgops.access.plugins.module_utils._hba.document import Document
from ansible_collections.pgops.access.plugins.module_utils._hba.effect import effect
from ansible_collections.pgops.access.plugins.module_utils._hba.findings import findings
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Server
from ansible_collections.pgops.access.plugins.module_utils._hba.plan import Request, plan
from ansible_collections.pgops.access.plugins.module_utils._hba.spec import spec_from_dict

SERVER = Server(15)
Work = t.Callable[[], t.Any]


def mixed(size: int) -> list[str]:
    """Rules over many databases, roles and networks, as a grown installation has them."""
    source = random.Random(size)
    lines = ["local all all peer"]
    while len(lines) < size:
        kind = source.choice(("host", "host", "hostssl", "hostnossl"))
        database, user = source.randrange(max(2, size // 100)), source.randrange(max(2, size // 10))
        network = f"10.{source.randrange(256)}.{source.randrange(256)}.0/24"
        lines.append(f"{kind} db{database} user{user} {network} {source.choice(('scram-sha-256', 'md5', 'reject'))}")
    return lines


def as_bytes(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()


class File(t.NamedTuple):
    """One size: the texts and what is made of them before the clock starts."""

    size: int
    lines: list[str]
    raw: bytes
    work: dict[str, Work]


def prepare(size: int, peer: t.Callable[[str], t.Any] | None) -> File:
    lines = mixed(size)
    raw = as_bytes(lines)
    middle = size // 2
    rules = ruleset.parse_text(raw, SERVER).rules
    added = ruleset.parse_text(as_bytes([*lines[:middle], "host db1 user1 10.0.0.0/8 md5", *lines[middle:]]), SERVER).rules
    closed = ruleset.parse_text(as_bytes([*lines, "host all all all reject"]), SERVER).rules
    words = lines[middle].split()
    wanted = spec_from_dict(dict(zip(("type", "databases", "users", "address", "method"), words)), SERVER)
    request = Request(rules=(wanted,))
    if plan(Document.parse(raw, SERVER), request).changed:
        raise SystemExit("the plan that should change nothing changes something")
    work: dict[str, Work] = {
        "read": lambda: ruleset.parse_text(raw, SERVER),
        "read and render": lambda: (ruleset.parse_text(raw, SERVER), Document.parse(raw, SERVER).render()),
        "plan, no change": lambda: plan(Document.parse(raw, SERVER), request),
        "findings": lambda: findings(rules, server=SERVER),
        "effect of one rule": lambda: effect(rules, added, server=SERVER),
        "effect of a catch-all": lambda: effect(rules, closed, server=SERVER),
        "effect of sorting": lambda: effect(rules, sorted(rules, key=lambda rule: rule.raw), server=SERVER),
    }
    if peer is not None:
        text = raw.decode()
        work["community.postgresql, read"] = lambda: peer(text)
    return File(size, lines, raw, work)


def peer_reader() -> t.Callable[[str], t.Any] | None:
    """community.postgresql's reader, when that collection is installed."""
    try:
        from ansible_collections.community.postgresql.plugins.modules import postgresql_pg_hba  # noqa: PLC0415
    except ImportError:
        return None
    reader: t.Callable[[str], t.Any] = postgresql_pg_hba.rule_list_from_hba_file
    return reader


def forget() -> None:
    """Empty every cache of the engine, so that no round lives on the one before."""
    prefix = "ansible_collections.pgops.access.plugins.module_utils._hba"
    for name, module in list(sys.modules.items()):
        if name.startswith(prefix):
            for value in list(vars(module).values()):
                clear = getattr(value, "cache_clear", None)
                if clear is not None:
                    clear()
    gc.collect()


def timed(work: Work) -> float:
    forget()
    start = time.process_time()
    result = work()
    took = time.process_time() - start
    del result
    return took * 1000


# --- the server's own time ---------------------------------------------------------------------------------------------


class OwnServer:
    """A PostgreSQL on a socket in a temporary folder; only its view is asked."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._folder = Path(tempfile.mkdtemp(prefix="pgops-bench-"))
        self._data = self._folder / "data"
        self._as: list[str] = []
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
            self._as = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        self._folder.chmod(0o755)
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", "postgres", "--locale=C", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories={self._folder} -c fsync=off"
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", str(self._folder / "log"), "-o", options, "start")

    def _run(self, program: str, *arguments: str) -> str:
        command = [*self._as, str(self._binaries / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd="/")
        if done.returncode:
            raise SystemExit(f"{program} failed: {done.stderr or done.stdout}")
        return done.stdout

    def version(self) -> str:
        return self._run("postgres", "--version").strip()

    def view_time(self, raw: bytes) -> float:
        """Milliseconds that the server takes to read the file for its view, by its own clock."""
        (self._data / "pg_hba.conf").write_bytes(raw)
        query = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) SELECT * FROM pg_hba_file_rules"
        answer = self._run("psql", "-h", str(self._folder), "-U", "postgres", "-XAtqc", query)
        return float(json.loads(answer)[0]["Execution Time"])

    def rules(self, raw: bytes) -> list[str]:
        """The rules that the server reads from a file, in order; its errors are among them."""
        (self._data / "pg_hba.conf").write_bytes(raw)
        query = (
            "SELECT type, database, user_name, address, netmask, auth_method, options, error FROM pg_hba_file_rules ORDER BY line_number"
        )
        return self._run("psql", "-h", str(self._folder), "-U", "postgres", "-XAtqc", query).splitlines()

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._folder)


# --- the table ---------------------------------------------------------------------------------------------------------


def machine() -> str:
    cpu = platform.processor() or platform.machine()
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    load = os.getloadavg()[0]
    return f"{cpu}, {os.cpu_count()} CPUs, load {load:.1f}; {platform.system()} {platform.release()}; Python {platform.python_version()}"


def exponent(first: tuple[int, float], second: tuple[int, float]) -> float:
    return math.log(second[1] / first[1]) / math.log(second[0] / first[0])


def measure(files: list[File], server: OwnServer | None, rounds: int) -> dict[str, dict[int, float]]:
    samples: dict[str, dict[int, list[float]]] = {}
    for file in files:
        # enough turns for a steady median, fewer where one turn is long
        turns = rounds if file.size <= 10_000 else min(rounds, 3)
        for _turn in range(turns):
            if server is not None:
                samples.setdefault("PostgreSQL, its view", {}).setdefault(file.size, []).append(server.view_time(file.raw))
            for name, work in file.work.items():
                samples.setdefault(name, {}).setdefault(file.size, []).append(timed(work))
    return {name: {size: statistics.median(times) for size, times in by_size.items()} for name, by_size in samples.items()}


def table(medians: dict[str, dict[int, float]], sizes: list[int]) -> str:
    head = ["", *[f"{size:,} rules" for size in sizes], "growth", "x view", "x peer"]
    rows = [head]
    largest = 10_000 if 10_000 in sizes else sizes[-1]
    for name, times in medians.items():
        growth = "-"
        if len(sizes) > 1 and min(times[sizes[-2]], times[sizes[-1]]) > 0:
            growth = f"{exponent((sizes[-2], times[sizes[-2]]), (sizes[-1], times[sizes[-1]])):.2f}"
        ratios = []
        for other in ("PostgreSQL, its view", "community.postgresql, read"):
            ratios.append(f"{times[largest] / medians[other][largest]:.2f}" if other in medians and medians[other][largest] > 0 else "-")
        rows.append([name, *[f"{times[size]:.2f}" for size in sizes], growth, *ratios])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths))) for row in rows
    ]
    return "\n".join(lines) + f"\n(medians in ms; ratios at {largest:,} rules)"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--sizes", default="10,1000,10000,100000", help="comma list of numbers of rules")
    parser.add_argument("--server-bin", type=Path, help="folder with initdb, pg_ctl, postgres and psql")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the medians here")
    args = parser.parse_args()
    sizes = sorted({int(size) for size in args.sizes.split(",")})
    peer = peer_reader()
    server = OwnServer(args.server_bin) if args.server_bin else None
    try:
        print(machine(), flush=True)
        print(server.version() if server else "no server: give --server-bin")
        if peer is None:
            print("community.postgresql is not installed: no peer to compare with")
        medians = measure([prepare(size, peer) for size in sizes], server, args.rounds)
    finally:
        if server is not None:
            server.stop()
    print(table(medians, sizes))
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "medians_ms": medians}, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
