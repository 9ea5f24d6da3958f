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
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
import typing as t

import psycopg2

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


def compressed_size(arguments: argparse.Namespace) -> int:
    """Bytes of `docker save | gzip -6`."""
    with tempfile.TemporaryFile() as target:
        with subprocess.Popen([arguments.engine, "save", arguments.image], stdout=subprocess.PIPE) as save:
            packed = gzip.GzipFile(fileobj=target, mode="wb", compresslevel=6)
            shutil.copyfileobj(t.cast(t.IO[bytes], save.stdout), packed, 1 << 20)
            packed.close()
        if save.returncode:
            raise SystemExit(f"{arguments.engine} save failed")
        return target.tell()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--image", default="pgops/postgres:15-bookworm")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--engine", default="docker")
    arguments = parser.parse_args()
    size = json.loads(engine(arguments, "image", "inspect", arguments.image))[0]["Size"]
    packages = engine(arguments, "run", "--rm", "--entrypoint", "sh", arguments.image, "-c", "grep -c ^Package: /var/lib/dpkg/status")
    print(f"| {arguments.image} | |\n|---|---|")
    print(
        f"| size | {size / 1e6:.0f} MB |\n| gzip -6 of save | {compressed_size(arguments) / 1e6:.0f} MB |\n| Debian packages | {packages} |"
    )
    for name, seconds in start_times(arguments).items():
        ordered = f"{min(seconds):.2f} / {statistics.median(seconds):.2f} / {max(seconds):.2f}"
        print(f"| run to first accepted external connection, {name} (min / median / max of {len(seconds)}) | {ordered} s |")


if __name__ == "__main__":
    main()
