# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench`: every measurement, one after the other, with the machine beside them; docs/bench.md is made from this output."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVER_BIN = Path("/usr/lib/postgresql/15/bin")


def machine() -> str:
    memory = next((line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal")), "MemTotal: ? kB")
    gib = int(memory.split()[1]) / 1024**2
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {gib:.0f} GiB, {platform.platform()}, Python {platform.python_version()}, load {load:.1f}"


def warm_up() -> None:
    """A second `make up` on a server that runs: nothing changes."""
    port = {"PORT": os.environ.get("PORT", "15433")}
    for title in ("`make up`, image there, new container", "`make up` again, nothing to do"):
        started = time.monotonic()
        subprocess.run(["make", "up"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **port})
        print(f"| {title} | {time.monotonic() - started:.1f} s |", flush=True)
    subprocess.run([sys.executable, "tools/play", "down", "-e", "pg_image_state=present"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    print(f"Machine: {machine()}\n", flush=True)
    subprocess.run([sys.executable, "tests/bench/bench_image.py"], cwd=ROOT, check=True)
    warm_up()
    print(flush=True)
    server = ["--server-bin", str(SERVER_BIN)] if SERVER_BIN.is_dir() else []
    for program in (["bench_engine.py"], ["bench_auth.py"], ["bench_pg_hba.py", "--playbooks"], ["bench_patroni.py"]):
        subprocess.run([sys.executable, f"tests/bench/{program[0]}", *program[1:], *server], cwd=ROOT, check=True)
        print(flush=True)


if __name__ == "__main__":
    main()
