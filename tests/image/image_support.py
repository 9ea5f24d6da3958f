# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real containers of the built image, and a client container beside them that plays the outsider.

PGOPS_IMAGE names the image, PGOPS_DOCKER the program (docker; podman's command line is close enough for most of these tests).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import uuid
from pathlib import Path

IMAGE = os.environ.get("PGOPS_IMAGE", "pgops/postgres:15-bookworm")
DOCKER = os.environ.get("PGOPS_DOCKER") or ("/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker")
RUN = f"pgops-image-{uuid.uuid4().hex[:7]}{os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[-1]}"
"""Of this process; its end decides the subnet, so that workers which run side by side have different ones."""
PASSWORD = "c0rrect-horse"
START_SECONDS = 60


def docker(*words: str, check: bool = True, **more) -> subprocess.CompletedProcess[str]:
    """One command of the engine, bounded in time."""
    done = subprocess.run([DOCKER, *words], capture_output=True, text=True, timeout=more.pop("timeout", 120), check=False, **more)
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(words[:3])} …: {done.stderr.strip() or done.stdout.strip()}")
    return done


class Container:
    """One container of the image."""

    def __init__(self, name: str) -> None:
        self.name = name

    def exec(self, *words: str, check: bool = True, user: str = "") -> str:
        """Run something inside; its stdout."""
        return docker("exec", *(["--user", user] if user else []), self.name, *words, check=check).stdout.strip()

    def healthy(self) -> Container:
        """Wait until the health check agrees."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            done = docker("exec", self.name, "healthcheck.sh", check=False)
            if done.returncode == 0:
                return self
            if "is not running" in done.stderr:
                break
            time.sleep(0.2)
        raise AssertionError(f"not healthy: {done.stdout}{done.stderr}\n" + "\n".join(self.raw_lines()[-15:]))

    def wait(self) -> int:
        """Wait until it has ended; its exit status."""
        return int(docker("wait", self.name, timeout=START_SECONDS).stdout)

    def raw_lines(self) -> list[str]:
        """Everything that it wrote, stdout and stderr."""
        done = docker("logs", self.name)
        return [line for line in (done.stdout + done.stderr).split("\n") if line]

    def records(self) -> list[dict]:
        """Its lines, each of which must be a JSON object with the four keys."""
        records = []
        for line in self.raw_lines():
            record = json.loads(line)
            assert {"time", "level", "source", "message"} <= set(record), line
            records.append(record)
        return records

    def events(self, count: int = 1, **wanted) -> list[dict]:
        """external_connection events with these facts; waits until there are as many."""
        deadline = time.monotonic() + 10
        while True:
            found = [r for r in self.records() if r.get("event") == "external_connection" and all(r.get(k) == v for k, v in wanted.items())]
            if len(found) >= count or time.monotonic() > deadline:
                return found
            time.sleep(0.2)

    def event_of(self, name: str) -> dict:
        """The entrypoint's line with this event; waits for it."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = [record for record in self.records() if record.get("event") == name]
            if found:
                return found[-1]
            time.sleep(0.2)
        raise AssertionError(f"no line with event={name}")

    def said(self, level: str, part: str) -> bool:
        """Whether the entrypoint said something at this level."""
        return any(r["level"] == level and r["source"] == "entrypoint" and part in r["message"] for r in self.records())

    def hba(self) -> list[str]:
        """Rules of pg_hba.conf, blanks squeezed, without comments."""
        text = self.exec("sh", "-c", "cat $PGDATA/pg_hba.conf")
        return [" ".join(line.split()) for line in text.splitlines() if line.strip() and not line.startswith("#")]

    def address(self, family: int = 4) -> str:
        """Its address in the test's network."""
        key = "IPAddress" if family == 4 else "GlobalIPv6Address"
        return docker("inspect", "--format", f'{{{{(index .NetworkSettings.Networks "{RUN}").{key}}}}}', self.name).stdout.strip()

    def remove(self) -> None:
        """Gone, whatever its state."""
        docker("rm", "--force", "--volumes", self.name, check=False)


# The shell inside takes the time, so that the engine's own way into the container is not counted.
TIMED = "began=$(date +%s%N); healthcheck.sh; status=$?; echo $(( ($(date +%s%N) - began) / 1000000 )) $status"
LIMIT_MS = 2000


def health(server: Container) -> tuple[int, str]:
    """Status and text of the health check; and within two seconds."""
    status, text, milliseconds = _asked(server)
    assert milliseconds <= LIMIT_MS, text
    return status, text


def until(server: Container, pattern: str, seconds: float = 20) -> tuple[int, str]:
    """The first answer of the health check that matches and comes in time; other work on this machine may make one late."""
    deadline = time.monotonic() + seconds
    while True:
        status, text, milliseconds = _asked(server)
        if (re.match(pattern, text) and milliseconds <= LIMIT_MS) or time.monotonic() > deadline:
            assert milliseconds <= LIMIT_MS, text
            return status, text
        time.sleep(0.05)


def _asked(server: Container) -> tuple[int, str, int]:
    text, _newline, numbers = server.exec("sh", "-c", TIMED).rpartition("\n")
    milliseconds, status = numbers.split()
    return int(status), text, int(milliseconds)


def make_certificate(directory: Path) -> None:
    """A certificate, its key and an authority, as a Kubernetes TLS secret names them, readable for everybody as secrets often are."""
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=test",
    ]
    subprocess.run([*command, "-keyout", str(directory / "tls.key"), "-out", str(directory / "tls.crt")], check=True, capture_output=True)
    (directory / "ca.crt").write_bytes((directory / "tls.crt").read_bytes())
    for path in (directory, *directory.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
