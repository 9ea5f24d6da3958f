# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines for a test: each is a network namespace on one bridge with a Docker daemon of its own. Root only.

To Ansible they are hosts of an inventory: by the local connection with a shell that enters the namespace first, or over SSH. A machine
that is reached over SSH also has files of its own: neither the checkout nor the controller's directories are there, an unprivileged
user logs in and becomes root by sudo, and Docker's socket is where it always is.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKERD = shutil.which("dockerd", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
DOCKER = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
START_SECONDS = 60.0
BRIDGE = "switch"
USER = "deploy"
OVER_SSH = {"openssh-server": "/usr/sbin/sshd", "openssh-client": "/usr/bin/ssh", "sudo": "/usr/bin/sudo"}
# What a machine over SSH is: the files below the test's folder and the checkout are the controller's, its own come to their old place;
# /etc is this machine's with its own changes. The daemon is the last to start and stays.
BOOT = """#!/bin/sh
set -eu
hostname {name}
mount --bind {own} /mnt
mount -t tmpfs -o mode=755 tmpfs {folder}
mkdir {own}
mount --move /mnt {own}
for hidden in {root} /root; do mount -t tmpfs -o mode=700 tmpfs "$hidden"; done
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd /run/lock {own}/etc {own}/etc.work {own}/home
mount -t overlay -o lowerdir=/etc,upperdir={own}/etc,workdir={own}/etc.work overlay /etc
id {user} >/dev/null 2>&1 || useradd --user-group --create-home --home-dir {own}/home/{user} --password '*' --shell /bin/sh {user}
echo '{user} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{user}
cp {own}/authorized_keys /etc/ssh/authorized_keys
/usr/sbin/sshd -f {own}/sshd_config
exec {daemon}
"""
SSHD = """ListenAddress {address}
HostKey {own}/host_key
PidFile none
AuthorizedKeysFile /etc/ssh/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowUsers {user}
UsePAM no
Subsystem sftp internal-sftp
"""


def run(*words: str, check: bool = True, seconds: float = 120, data: str = "") -> subprocess.CompletedProcess[str]:
    """One command; raises SystemExit with what it said when it fails."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False, input=data)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()[-800:]}")
    return done


class Machine:
    """One namespace, one daemon; Ansible enters the namespace by its shell."""

    def __init__(self, name: str, address: str, folder: Path) -> None:
        self.name, self.address = name, address
        self._folder = folder / name
        self.state = self._folder / "state"
        self.socket = f"unix://{self._folder}/docker.sock"
        # `ip netns exec` would mount a /sys without control groups, too.
        self._enter = ("nsenter", f"--net=/run/netns/{name}")
        self._daemon: subprocess.Popen[bytes] | None = None

    def docker(self, *words: str, check: bool = True, seconds: float = 120) -> str:
        """One command of this machine's engine."""
        return run(DOCKER, "-H", self.socket, *words, check=check, seconds=seconds).stdout.strip()

    def inside(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One command in this machine's network."""
        return run(*self._enter, *words, check=check)

    def variables(self) -> dict[str, object]:
        """How Ansible reaches it."""
        return {
            "ansible_connection": "local", "ansible_shell_executable": str(self._folder / "sh"),
            "ansible_python_interpreter": sys.executable,
        }  # fmt: skip

    def start(self, switch: str) -> None:
        """Make it, and wait until its engine answers."""
        inner = f"{self.name}i"
        run("ip", "netns", "add", self.name)
        plug(switch, f"{self.name}o", inner, self.name)
        self.inside("ip", "link", "set", "lo", "up")
        self.inside("ip", "addr", "add", f"{self.address}/24", "dev", inner)
        self.inside("ip", "link", "set", inner, "up")
        self._folder.mkdir(parents=True, exist_ok=True)
        self.furnish()
        self.boot()

    def furnish(self) -> None:
        """What it needs before it starts for the first time."""
        shell = self._folder / "sh"
        shell.write_text(f'#!/bin/sh\nDOCKER_HOST={self.socket} exec {" ".join(self._enter)} /bin/sh "$@"\n', encoding="utf-8")
        shell.chmod(0o755)

    def _daemon_words(self) -> list[str]:
        """The daemon's command."""
        if DOCKERD is None:
            raise SystemExit("dockerd is not installed on this machine")
        return [
            DOCKERD, "--data-root", str(self._folder / "data"), "--exec-root", f"/run/{self.name}", "-H", self.socket,
            "--pidfile", f"/run/{self.name}.pid", "--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false",
        ]  # fmt: skip

    def boot(self) -> None:
        """Start the daemon; containers that it restarts by itself come back."""
        with (self._folder / "dockerd.log").open("ab") as log:
            self._daemon = subprocess.Popen([*self._enter, *self._daemon_words()], stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_SECONDS
        while run(DOCKER, "-H", self.socket, "version", check=False).returncode:
            if time.monotonic() > deadline or self._daemon.poll() is not None:
                end = "\n".join((self._folder / "dockerd.log").read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
                raise SystemExit(f"the Docker daemon of {self.name} does not start:\n{end}")
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
        Path(self.socket.removeprefix("unix://")).unlink(missing_ok=True)

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


class SshMachine(Machine):
    """One that Ansible reaches over SSH, with files of its own; whoever starts it has made a key with `keys`."""

    def __init__(self, name: str, address: str, folder: Path) -> None:
        super().__init__(name, address, folder)
        self._common = folder

    def variables(self) -> dict[str, object]:
        """How Ansible reaches it."""
        return {
            "ansible_connection": "ssh", "ansible_host": self.address, "ansible_user": USER, "ansible_become": True,
            "ansible_ssh_private_key_file": str(self._common / "key"), "ansible_host_key_checking": True,
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={self._common / 'known_hosts'} -o IdentitiesOnly=yes -o ControlPersist=20s",
        }  # fmt: skip

    def furnish(self) -> None:
        """Its own host key, which the controller gets to know, and who may log in."""
        own = self._folder
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(own / "host_key"))
        with (self._common / "known_hosts").open("a", encoding="utf-8") as known:
            known.write(f"{self.address} {(own / 'host_key.pub').read_text(encoding='utf-8')}")
        shutil.copy(self._common / "key.pub", own / "authorized_keys")
        (own / "sshd_config").write_text(SSHD.format(address=self.address, own=own, user=USER), encoding="utf-8")
        daemon = shlex.join([*super()._daemon_words(), "-H", "unix:///run/docker.sock"])
        words = {"name": self.name, "own": own, "folder": self._common, "root": ROOT, "user": USER, "daemon": daemon}
        (own / "boot").write_text(BOOT.format(**words), encoding="utf-8")

    def _daemon_words(self) -> list[str]:
        """What the daemon needs around it comes first."""
        return ["unshare", "--mount", "--uts", "--propagation=private", "sh", str(self._folder / "boot")]


def keys(folder: Path) -> None:
    """The controller's own key for one run; raises SystemExit when this machine lacks what its guests would run."""
    missing = [package for package, program in OVER_SSH.items() if not Path(program).exists()]
    if missing:
        raise SystemExit(f"hosts over SSH need on this machine: apt-get install --no-install-recommends {' '.join(missing)}")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key"))


def _mounts(folder: Path) -> list[str]:
    """What is mounted below a folder."""
    found = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    return [path for path in found if path.startswith(f"{folder}/")]


def plug(switch: str, outer: str, inner: str, namespace: str = "") -> None:
    """A cable from the switch to a namespace, or to this machine's own network."""
    run("ip", "-n", switch, "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", namespace or str(os.getpid()))
    run("ip", "-n", switch, "link", "set", outer, "master", BRIDGE, "up")


@contextlib.contextmanager
def machines(prefix: str, subnet: str, count: int, folder: Path, kind: type[Machine] = Machine) -> t.Iterator[list[Machine]]:
    """So many machines at ``subnet``.11 and following; this machine is .1 on their network.

    Their switch is a namespace, too: this machine's packet filter, which a Docker daemon here sets to drop what it does not know,
    does not see their traffic.
    """
    switch, own = f"{prefix}switch", f"{prefix}own"
    made = [kind(f"{prefix}{number}", f"{subnet}.{10 + number}", folder) for number in range(1, count + 1)]
    if kind is SshMachine:
        keys(folder)
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
        clean(made, switch)


def clean(made: t.Iterable[Machine], switch: str) -> None:
    """Remove the machines and their switch; the cables go with them."""
    for machine in made:
        machine.remove()
    run("ip", "netns", "del", switch, check=False)
