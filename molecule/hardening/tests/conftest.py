# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine as the scenario default talks to it, and containers of the image that are gone after their test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "default" / "tests"))

import engine

IMAGE = os.environ.get("PGOPS_IMAGE", "pgops/postgres:15-bookworm")
LOCKED = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp", "--tmpfs=/run/postgresql"]


class Attacked:
    """A container under attack."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *words: str, user: str = "") -> subprocess.CompletedProcess[str]:
        """Run something inside, whatever comes of it."""
        command = [engine.CLI, "exec", *(["--user", user] if user else []), self.name, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        return int(engine.ask("wait", self.name).stdout)

    def last(self) -> dict[str, t.Any]:
        """The last line that it logged."""
        return dict(json.loads(engine.ask("logs", self.name).stdout.splitlines()[-1]))

    def healthy(self) -> Attacked:
        """Wait for the health check; the log's end says why not."""
        script = "for i in $(seq 150); do healthcheck.sh && exit 0; sleep 0.2; done; exit 1"
        done = self.run("sh", "-c", script)
        assert done.returncode == 0, done.stdout[-200:] + engine.ask("logs", "--tail", "5", self.name).stdout
        return self

    def sql(self, statement: str) -> subprocess.CompletedProcess[str]:
        """Run a statement as the superuser."""
        return self.run("psql", "-XAtqU", "postgres", "-c", statement)


@pytest.fixture
def launch() -> t.Iterator[t.Callable[..., Attacked]]:
    """Start a locked-down container with these options and environment; on a network of nobody."""
    names: list[str] = []

    def run(*options: str, environment: dict[str, str] | None = None, command: t.Sequence[str] = ()) -> Attacked:
        name = f"pgops-hardening-{uuid.uuid4().hex[:8]}"
        names.append(name)
        variables = {"POSTGRES_PASSWORD": "of a throw-away server", **(environment or {})}
        words = [word for pair in variables.items() for word in ("--env", "=".join(pair))]
        engine.ask("run", "--detach", "--name", name, "--network", "none", *LOCKED, *words, *options, IMAGE, *command)
        return Attacked(name)

    yield run
    for name in names:
        engine.ask("rm", "--force", "--volumes", name)


@pytest.fixture
def volume() -> t.Iterator[str]:
    """A named volume for one test."""
    name = f"pgops-hardening-{uuid.uuid4().hex[:8]}"
    engine.ask("volume", "create", name)
    yield name
    for container in engine.ask("ps", "--all", "--quiet", "--filter", f"volume={name}").stdout.split():
        engine.ask("rm", "--force", container)
    engine.ask("volume", "rm", name)


@pytest.fixture
def plant(volume: str) -> t.Callable[[str], None]:
    """What somebody with the volume in hand, and root, can do to it: a shell script in its root directory."""

    def run(script: str) -> None:
        mount = f"--volume={volume}:/var/lib/postgresql/data"
        engine.ask("run", "--rm", "--user=0", "--network=none", mount, "--workdir=/var/lib/postgresql/data", IMAGE, "sh", "-ec", script)

    return run
