# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image's size, and the time from `docker run` to the first external connection that is accepted.

    python tests/bench/bench_image.py [--image pgops/postgres:15-bookworm] [--rounds 7] [--engine docker]

A connection counts when psycopg2, outside the container, through the published port, gets an answer to a query.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

import psycopg2

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = (
    "Dockerfile", ".dockerignore", "image", "requirements", "rootfs", "plugins/module_utils/_hba", "plugins/module_utils/_store",
)  # fmt: skip
SCRATCH = "pgops-bench:scratch"
PEER_TAG = "pgops-bench:peer"
PASSWORD = "of-a-throw-away-server"
LIMIT = 60.0


def engine(arguments: argparse.Namespace, *words: str) -> str:
    return subprocess.run([arguments.engine, *words], check=True, capture_output=True, text=True, timeout=300).stdout.strip()


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def first_answer(port: int, started: float) -> float:
    """Seconds from `started` until a login from outside answers a query."""
    while time.monotonic() - started < LIMIT:
        with contextlib.suppress(psycopg2.OperationalError):
            connection = psycopg2.connect(host="127.0.0.1", port=port, user="postgres", password=PASSWORD, connect_timeout=2)
            with contextlib.closing(connection), connection.cursor() as cursor:
                cursor.execute("select 1")
                return time.monotonic() - started
        time.sleep(0.02)
    raise SystemExit(f"no connection was accepted within {LIMIT} s")


def start(arguments: argparse.Namespace, volume: str, *options: str) -> float:
    """Run a container on `volume`, wait for the first accepted connection, stop it in order; return the seconds to that connection."""
    port = free_port()
    started = time.monotonic()
    container = engine(
        arguments, "run", "--detach", "--publish", f"127.0.0.1:{port}:5432", "--volume", f"{volume}:/var/lib/postgresql/data",
        "--env", f"POSTGRES_PASSWORD={PASSWORD}", *options, arguments.image,
    )  # fmt: skip
    try:
        return first_answer(port, started)
    finally:
        engine(arguments, "stop", "--time", "30", container)
        engine(arguments, "rm", "--force", container)


def start_times(arguments: argparse.Namespace) -> dict[str, list[float]]:
    """For each way in turn, so that a busy moment of the machine meets all of them."""
    times: dict[str, list[float]] = {"new volume, initdb": [], "new volume": [], "existing volume": []}
    for _round in range(arguments.rounds):
        for name, options in (("new volume, initdb", ("--env", "POSTGRES_INITDB_ARGS=--locale=C.UTF-8")), ("new volume", ())):
            volume = engine(arguments, "volume", "create")
            try:
                times[name].append(start(arguments, volume, *options))
                if name == "new volume":
                    times["existing volume"].append(start(arguments, volume))
            finally:
                engine(arguments, "volume", "rm", "--force", volume)
    return times


def compressed_size(arguments: argparse.Namespace, image: str) -> int:
    """Bytes of `docker save | gzip -6`."""
    with tempfile.TemporaryFile() as target:
        with subprocess.Popen([arguments.engine, "save", image], stdout=subprocess.PIPE) as save:
            packed = gzip.GzipFile(fileobj=target, mode="wb", compresslevel=6)
            shutil.copyfileobj(t.cast(t.IO[bytes], save.stdout), packed, 1 << 20)
            packed.close()
        if save.returncode:
            raise SystemExit(f"{arguments.engine} save failed")
        return target.tell()


PEER = """FROM {base}
RUN apt-get update && apt-get install -y postgresql-15 patroni && rm -rf /var/lib/apt/lists/*
"""


def build_times(arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds of a build without a layer cache (package caches stay), one with nothing to do, and one after an edit of the entrypoint."""
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder, "context")
        for name in CONTEXT:
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, context / name)
        settings = subprocess.run(
            [sys.executable, ROOT / "roles/pg_image/files/host_settings.py", folder, "bookworm"], check=True, capture_output=True, text=True
        )
        found = json.loads(settings.stdout)
        secrets = [f"--secret=id={name},src={found[name]}" for name in ("apt_conf", "pip_conf", "ca_bundle") if found[name]]

        def build(*options: str) -> float:
            started = time.monotonic()
            subprocess.run(
                [arguments.engine, "build", "--quiet", "--tag", SCRATCH, *secrets, *options, str(context)],
                check=True, capture_output=True, timeout=900, env={**os.environ, "DOCKER_BUILDKIT": "1"},
            )  # fmt: skip
            return time.monotonic() - started

        times = {"no layer cache": build("--no-cache"), "nothing changed": build()}
        with (context / "rootfs/usr/local/lib/pgops/entrypoint/redact.py").open("a") as file:
            file.write("# edited\n")
        times["one entrypoint file edited"] = build()
    return times


def idle_memory(arguments: argparse.Namespace, image: str, user: str, *words: str) -> float:
    """MB of a server without clients ten seconds after its start: what the processes of `user` have to themselves or share (PSS)."""
    options = ["--env", f"POSTGRES_PASSWORD={PASSWORD}"]
    container = engine(arguments, "run", "--detach", *options, image, *words)
    try:
        time.sleep(10)
        script = "cat /proc/[0-9]*/smaps_rollup 2>/dev/null | awk '/^Pss:/ { sum += $2 } END { print sum }'"
        return int(engine(arguments, "exec", "--user", user, container, "sh", "-c", script)) * 1024 / 1e6
    finally:
        engine(arguments, "rm", "--force", "--volumes", container)


def peer(arguments: argparse.Namespace) -> None:
    """Debian's own postgresql-15 and patroni, as a few lines of Dockerfile make them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Dockerfile").write_text(PEER.format(base=arguments.base))
        started = time.monotonic()
        subprocess.run(
            [arguments.engine, "build", "--quiet", "--no-cache", "--tag", PEER_TAG, folder],
            check=True, capture_output=True, timeout=900, env={**os.environ, "DOCKER_BUILDKIT": "1"},
        )  # fmt: skip
        print(f"| build, no layer cache | {time.monotonic() - started:.0f} s |")


def facts(arguments: argparse.Namespace, image: str) -> None:
    """Size, compressed size, packages."""
    size = json.loads(engine(arguments, "image", "inspect", image))[0]["Size"]
    packages = engine(arguments, "run", "--rm", "--entrypoint", "sh", image, "-c", "grep -c ^Package: /var/lib/dpkg/status")
    packed = compressed_size(arguments, image)
    print(f"| size | {size / 1e6:.0f} MB |\n| gzip -6 of save | {packed / 1e6:.0f} MB |\n| Debian packages | {packages} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--image", default="pgops/postgres:15-bookworm")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--engine", default="/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker")
    parser.add_argument("--base", default="debian:bookworm", help="base of the peer")
    parser.add_argument("--parts", default="facts,start,memory,build,peer", help="which measurements")
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    print(f"| {arguments.image} | |\n|---|---|")
    if "facts" in parts:
        facts(arguments, arguments.image)
    if "start" in parts:
        for name, seconds in start_times(arguments).items():
            ordered = f"{min(seconds):.2f} / {statistics.median(seconds):.2f} / {max(seconds):.2f}"
            print(f"| run to first accepted external connection, {name} (min / median / max of {len(seconds)}) | {ordered} s |", flush=True)
    if "memory" in parts:
        print(f"| memory, idle | {idle_memory(arguments, arguments.image, '999'):.0f} MB |", flush=True)
    if "build" in parts:
        for name, taken in build_times(arguments).items():
            print(f"| build, {name} | {taken:.1f} s |", flush=True)
    if "peer" in parts:
        print(f"\n| {arguments.base} + postgresql-15 + patroni | |\n|---|---|")
        peer(arguments)
        facts(arguments, PEER_TAG)
        server = "pg_ctlcluster 15 main start && sleep 600"
        print(f"| memory, idle | {idle_memory(arguments, PEER_TAG, 'postgres', 'sh', '-c', server):.0f} MB |", flush=True)
    for tag in (SCRATCH, PEER_TAG):
        subprocess.run([arguments.engine, "rmi", "--force", tag], check=False, capture_output=True)


if __name__ == "__main__":
    main()
