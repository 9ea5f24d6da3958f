# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines for a test: each is a network namespace on one bridge with a Docker daemon of its own. Root only.

To Ansible they are hosts of an inventory: the local connection with a shell that enters the namespace first.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

DOCKERD = shutil.which("dockerd", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
DOCKER = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
START_SECONDS = 60.0
BRIDGE = "switch"


def run(*words: str, check: bool = True, seconds: float = 120, data: str = "") -> subprocess.CompletedProcess[str]:
    """One command; raises SystemExit with what it said when it fails."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False, input=data)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()[-800:]}")
    return done


class Machine:
    """One namespace, one daemon."""

    def __init__(self, name: str, address: str, folder: Path) -> None:
        self.name, self.address = name, address
        self._folder = folder / name
        self.state = self._folder / "state"
        self.shell = self._folder / "sh"
        self.socket = f"unix:///run/{name}.sock"
        # `ip netns exec` would mount a /sys without control groups, too.
        self._enter = ("nsenter", f"--net=/run/netns/{name}")
        self._daemon: subprocess.Popen[bytes] | None = None

    def docker(self, *words: str, check: bool = True, seconds: float = 120) -> str:
        """One command of this machine's engine."""
        return run(DOCKER, "-H", self.socket, *words, check=check, seconds=seconds).stdout.strip()

    def inside(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One command in this machine's network."""
        return run(*self._enter, *words, check=check)

    def start(self, switch: str) -> None:
        """Make it, and wait until its engine answers."""
        inner = f"{self.name}i"
        run("ip", "netns", "add", self.name)
        plug(switch, f"{self.name}o", inner, self.name)
        self.inside("ip", "link", "set", "lo", "up")
        self.inside("ip", "addr", "add", f"{self.address}/24", "dev", inner)
        self.inside("ip", "link", "set", inner, "up")
        self._folder.mkdir(parents=True, exist_ok=True)
        self.shell.write_text(f'#!/bin/sh\nDOCKER_HOST={self.socket} exec {" ".join(self._enter)} /bin/sh "$@"\n', encoding="utf-8")
        self.shell.chmod(0o755)
        self.boot()

    def boot(self) -> None:
        """Start the daemon; containers that it restarts by itself come back."""
        if DOCKERD is None:
            raise SystemExit("dockerd is not installed on this machine")
        words = [
            *self._enter, DOCKERD, "--data-root", str(self._folder / "data"), "--exec-root", f"/run/{self.name}",
            "-H", self.socket, "--pidfile", f"/run/{self.name}.pid", "--bridge=none", "--iptables=false", "--ip-forward=false",
            "--ip-masq=false",
        ]  # fmt: skip
        with (self._folder / "dockerd.log").open("ab") as log:
            self._daemon = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_SECONDS
        while run(DOCKER, "-H", self.socket, "version", check=False).returncode:
            if time.monotonic() > deadline or self._daemon.poll() is not None:
                raise SystemExit(f"the Docker daemon of {self.name} does not start; see {self._folder / 'dockerd.log'}")
            time.sleep(0.5)

    def load(self, archive: Path) -> None:
        """Give it images."""
        self.docker("load", "--quiet", "--input", str(archive), seconds=300)

    def cut(self, *, off: bool) -> None:
        """Take the cable out, or put it back."""
        self.inside("ip", "link", "set", f"{self.name}i", "down" if off else "up")

    def lose(self) -> None:
        """The machine loses its power: every process of its at once, without a goodbye."""
        own = set(run("ip", "netns", "pids", self.name, check=False).stdout.split())
        for pid in own:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        if self._daemon is not None:
            self._daemon.wait(20)
        Path(f"/run/{self.name}.pid").unlink(missing_ok=True)

    def remove(self) -> None:
        """Everything of it."""
        if self._daemon is not None and self._daemon.poll() is None:
            for container in self.docker("ps", "--all", "--quiet", check=False).split():
                self.docker("rm", "--force", "--volumes", container, check=False)
            self._daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._daemon.wait(30)
        self.lose()
        run("ip", "netns", "del", self.name, check=False)
        for mount in sorted(_mounts(self._folder) + _mounts(Path(f"/run/{self.name}")), reverse=True):
            run("umount", "--lazy", mount, check=False)
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.rmtree(f"/run/{self.name}", ignore_errors=True)


def _mounts(folder: Path) -> list[str]:
    """What is mounted below a folder."""
    found = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    return [path for path in found if path.startswith(f"{folder}/")]


def plug(switch: str, outer: str, inner: str, namespace: str = "") -> None:
    """A cable from the switch to a namespace, or to this machine's own network."""
    run("ip", "-n", switch, "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", namespace or str(os.getpid()))
    run("ip", "-n", switch, "link", "set", outer, "master", BRIDGE, "up")


@contextlib.contextmanager
def machines(prefix: str, subnet: str, count: int, folder: Path, *, keep: bool = False) -> t.Iterator[list[Machine]]:
    """So many machines at ``subnet``.11 and following; this machine is .1 on their network.

    Their switch is a namespace, too: this machine's packet filter, which a Docker daemon here sets to drop what it does not know,
    does not see their traffic.
    """
    switch, own = f"{prefix}switch", f"{prefix}own"
    made = [Machine(f"{prefix}{number}", f"{subnet}.{10 + number}", folder) for number in range(1, count + 1)]
    try:
        run("ip", "netns", "add", switch)
        run("ip", "-n", switch, "link", "add", BRIDGE, "type", "bridge")
        run("ip", "-n", switch, "link", "set", BRIDGE, "up")
        plug(switch, f"{own}o", own)
        run("ip", "addr", "add", f"{subnet}.1/24", "dev", own)
        run("ip", "link", "set", own, "up")
        for machine in made:
            machine.start(switch)
        yield made
    finally:
        if keep:
            sys.stdout.write("the machines are left running; --clean removes them\n")
        else:
            clean(made, switch)


def clean(made: t.Iterable[Machine], switch: str) -> None:
    """Remove the machines and their switch; the cables go with them."""
    for machine in made:
        machine.remove()
    run("ip", "netns", "del", switch, check=False)
