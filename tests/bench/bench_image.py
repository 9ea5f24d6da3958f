# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image's size, how it is built, and the time from `docker run` to the first external connection that is accepted; beside its peer.

    python tests/bench/bench_image.py [--image pgops/postgres:15-bookworm] [--rounds 7] [--engine docker]

The peer is Debian's own postgresql-15 and patroni, as a few lines of Dockerfile make them, with a shell script as its start. A connection
counts when psycopg2, outside the container, through the published port, gets an answer to a query.
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
import yaml

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = yaml.safe_load((ROOT / "roles/pg_image/vars/main.yml").read_text(encoding="utf-8"))["pg_image_context_paths"]
SCRATCH = "pgops-bench:scratch"
PEER_TAG = "pgops-bench:peer"
PASSWORD = "of-a-throw-away-server"
LIMIT = 120.0
BUILD_LIMIT = 1800
PEER = """FROM {base}
RUN {mount}apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y postgresql-15 patroni && rm -rf /var/lib/apt/lists/*
"""
PEER_NEW = f"""
pg_dropcluster 15 main
pg_createcluster 15 main -o listen_addresses='*' >/dev/null
echo 'host all all all scram-sha-256' >>/etc/postgresql/15/main/pg_hba.conf
pg_ctlcluster 15 main start
su postgres -c "psql -qc \\"ALTER ROLE postgres PASSWORD '{PASSWORD}'\\""
"""
PEER_STAYS = """
trap 'pg_ctlcluster 15 main stop -m fast; exit 0' TERM
sleep 600 & wait
"""


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


class Way(t.NamedTuple):
    """An image and how it is started: on new volumes, and on those that it left behind."""

    title: str
    image: str
    places: tuple[str, ...] = ("/var/lib/postgresql/data",)
    options: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    existing: tuple[str, ...] | None = None
    """None: not measured."""


def ways(arguments: argparse.Namespace, with_peer: bool) -> list[Way]:
    """What is started."""
    ours = [
        Way("ours, initdb", arguments.image, options=("--env", "POSTGRES_INITDB_ARGS=--locale=C.UTF-8")),
        Way("ours", arguments.image, existing=()),
    ]
    places = ("/var/lib/postgresql", "/etc/postgresql")
    again = ("sh", "-c", "pg_ctlcluster 15 main start" + PEER_STAYS)
    peer = Way("peer, initdb", PEER_TAG, places, new=("sh", "-c", PEER_NEW + PEER_STAYS), existing=again)
    return [*ours, *([peer] if with_peer else [])]


def start(arguments: argparse.Namespace, way: Way, mounts: list[str], command: tuple[str, ...]) -> float:
    """Run a container, wait for the first accepted connection, stop it in order; return the seconds to that connection."""
    port = free_port()
    started = time.monotonic()
    container = engine(
        arguments, "run", "--detach", "--publish", f"127.0.0.1:{port}:5432", *(word for mount in mounts for word in ("--volume", mount)),
        "--env", f"POSTGRES_PASSWORD={PASSWORD}", *way.options, way.image, *command,
    )  # fmt: skip
    try:
        return first_answer(port, started)
    finally:
        engine(arguments, "stop", "--time", "30", container)
        engine(arguments, "rm", "--force", container)


def start_times(arguments: argparse.Namespace, with_peer: bool) -> dict[str, list[float]]:
    """For each way in turn, so that a busy moment of the machine meets all of them.

    Volumes are removed at the end: an ext4 without a journal looks at every inode that was freed in the last minutes before it makes a new
    one (recently_deleted, fs/ext4/ialloc.c), so a thousand removed files make the next thousand three to ten times slower.
    """
    times: dict[str, list[float]] = {}
    made: list[str] = []
    try:
        for _round in range(arguments.rounds):
            for way in ways(arguments, with_peer):
                volumes = [engine(arguments, "volume", "create") for _place in way.places]
                made += volumes
                mounts = [f"{volume}:{place}" for volume, place in zip(volumes, way.places)]
                times.setdefault(f"{way.title}, new volume", []).append(start(arguments, way, mounts, way.new))
                if way.existing is not None:
                    times.setdefault(f"{way.title.split(',')[0]}, existing volume", []).append(start(arguments, way, mounts, way.existing))
    finally:
        engine(arguments, "volume", "rm", "--force", *made)
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


def settings(folder: str) -> list[str]:
    """How this host reaches package servers, as the role pg_image tells a build."""
    program = ROOT / "roles/pg_image/files/host_settings.py"
    said = subprocess.run([sys.executable, program, folder, "bookworm"], check=True, capture_output=True, text=True)
    found = json.loads(said.stdout)
    return [f"--secret=id={name},src={found[name]}" for name in ("apt_conf", "pip_conf", "ca_bundle") if found[name]]


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
        secrets = settings(folder)

        def build(*options: str) -> float:
            started = time.monotonic()
            subprocess.run(
                [arguments.engine, "build", "--quiet", "--tag", SCRATCH, *secrets, *options, str(context)],
                check=True, capture_output=True, timeout=BUILD_LIMIT, env={**os.environ, "DOCKER_BUILDKIT": "1"},
            )  # fmt: skip
            return time.monotonic() - started

        times = {"no layer cache": build("--no-cache"), "nothing changed": build()}
        with (context / "rootfs/usr/local/lib/pgops/entrypoint/redact.py").open("a") as file:
            file.write("# edited\n")
        times["one entrypoint file edited"] = build()
    return times


def idle_memory(arguments: argparse.Namespace, image: str, user: str, *words: str) -> float:
    """MB of a server without clients, ten seconds after it was ready: what the processes of `user` have to themselves or share (PSS)."""
    options = ["--env", f"POSTGRES_PASSWORD={PASSWORD}"]
    container = engine(arguments, "run", "--detach", *options, image, *words)
    try:
        deadline = time.monotonic() + LIMIT
        while subprocess.run([arguments.engine, "exec", container, "pg_isready", "-q"], check=False, capture_output=True).returncode:
            if time.monotonic() > deadline:
                raise SystemExit(f"{image} is not ready within {LIMIT} s")
            time.sleep(0.5)
        time.sleep(10)
        script = "cat /proc/[0-9]*/smaps_rollup 2>/dev/null | awk '/^Pss:/ { sum += $2 } END { print sum }'"
        return int(engine(arguments, "exec", "--user", user, container, "sh", "-c", script)) * 1024 / 1e6
    finally:
        engine(arguments, "rm", "--force", "--volumes", container)


def build_peer(arguments: argparse.Namespace) -> dict[str, float]:
    """Build the peer; seconds without a layer cache (and without a package cache, which its Dockerfile does not have), and again."""
    with tempfile.TemporaryDirectory() as folder:
        secrets = [word for word in settings(folder) if "id=apt_conf" in word]
        context = Path(folder, "context")
        context.mkdir()
        mount = "--mount=type=secret,id=apt_conf,target=/etc/apt/apt.conf.d/99build "
        (context / "Dockerfile").write_text(PEER.format(base=arguments.base, mount=mount))
        times = {}
        for title, options in (("no layer cache", ["--no-cache"]), ("nothing changed", [])):
            started = time.monotonic()
            subprocess.run(
                [arguments.engine, "build", "--quiet", "--tag", PEER_TAG, *secrets, *options, str(context)],
                check=True, capture_output=True, timeout=BUILD_LIMIT, env={**os.environ, "DOCKER_BUILDKIT": "1"},
            )  # fmt: skip
            times[title] = time.monotonic() - started
        return times


def facts(arguments: argparse.Namespace, image: str) -> dict[str, str]:
    """Size, compressed size, packages."""
    size = json.loads(engine(arguments, "image", "inspect", image))[0]["Size"]
    packages = engine(arguments, "run", "--rm", "--entrypoint", "sh", image, "-c", "grep -c ^Package: /var/lib/dpkg/status")
    return {
        "size": f"{size / 1e6:.0f} MB",
        "gzip -6 of save": f"{compressed_size(arguments, image) / 1e6:.1f} MB",
        "Debian packages": packages,
    }


def measured(arguments: argparse.Namespace, image: str, parts: list[str], builds: dict[str, float]) -> dict[str, str]:
    """One column of the table: an image by itself."""
    column = facts(arguments, image) if "facts" in parts else {}
    if "memory" in parts:
        peer = ("postgres", "sh", "-c", "pg_ctlcluster 15 main start && sleep 600")
        user, *words = peer if image == PEER_TAG else ("999",)
        column["memory, idle (PSS)"] = f"{idle_memory(arguments, image, user, *words):.0f} MB"
    return {**column, **{f"build, {name}": f"{seconds:.1f} s" for name, seconds in builds.items()}}


def table(columns: dict[str, dict[str, str]]) -> None:
    """Print it, one row for each thing that somebody has."""
    print(f"| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for row in dict.fromkeys(name for column in columns.values() for name in column):
        print(f"| {row} | {' | '.join(column.get(row, '') for column in columns.values())} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--image", default="pgops/postgres:15-bookworm")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--engine", default="/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker")
    parser.add_argument("--base", default="debian:bookworm", help="base of the peer")
    parser.add_argument("--parts", default="facts,start,memory,build,peer", help="which measurements")
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    print(f"load {os.getloadavg()[0]:.0f} at the start", flush=True)
    try:
        with_peer = "peer" in parts
        peer_builds = build_peer(arguments) if with_peer else {}
        columns = {arguments.image: measured(arguments, arguments.image, parts, build_times(arguments) if "build" in parts else {})}
        if with_peer:
            columns[f"{arguments.base} + postgresql-15 + patroni"] = measured(arguments, PEER_TAG, parts, peer_builds)
        table(columns)
        print(f"\nload {os.getloadavg()[0]:.0f} before the starts", flush=True)
        if "start" in parts:
            print("| run to first accepted external connection | min | median | max | of |\n|---|---|---|---|---|")
            for name, taken in start_times(arguments, with_peer).items():
                ordered = " | ".join(f"{value:.2f} s" for value in (min(taken), statistics.median(taken), max(taken)))
                print(f"| {name} | {ordered} | {len(taken)} |", flush=True)
    finally:
        for tag in (SCRATCH, PEER_TAG):
            subprocess.run([arguments.engine, "rmi", "--force", tag], check=False, capture_output=True)
    print(f"\nload {os.getloadavg()[0]:.0f} at the end")


if __name__ == "__main__":
    main()
