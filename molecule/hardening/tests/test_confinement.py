# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody who runs code in the container, as the server's user or as a database superuser: what can be written, and what can be become."""

from __future__ import annotations

import re

import pytest
from conftest import Attacked

NODE = Attacked("pgops-hardening-node")
WRITABLE = {"/tmp", "/run/postgresql", "/var/lib/postgresql/data", "/dev/shm", "/dev/mqueue", "/dev"}
PLACES = [
    "/",
    "/etc",
    "/usr/bin",
    "/usr/local/bin",
    "/usr/local/lib/pgops",
    "/opt/pgops",
    "/var/lib/postgresql",
    "/var/tmp",
    "/run",
    "/root",
]
BECOME = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for name, attempt in {
    "setuid": lambda: os.setuid(0), "setgid": lambda: os.setgid(12345), "chroot": lambda: os.chroot("/tmp"),
    "mknod": lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(8, 0)), "chown": lambda: os.chown(sys.argv[1], 0, 0),
    "mount": lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) and (_ for _ in ()).throw(OSError(ctypes.get_errno(), "")),
    "unshare": lambda: libc.unshare(0x00020000) and (_ for _ in ()).throw(OSError(ctypes.get_errno(), "")),
}.items():
    try:
        attempt()
        print(name)
    except OSError:
        pass
"""


@pytest.fixture(scope="module")
def node() -> Attacked:
    """The server that the role pg_node runs."""
    return NODE


def test_nothing_outside_the_mounts_can_be_written(node: Attacked) -> None:
    mounts = {line.split()[1] for line in node.run("cat", "/proc/mounts").stdout.splitlines() if " rw," in line}
    assert {"/tmp", "/run/postgresql", "/var/lib/postgresql/data"} <= mounts
    for place in PLACES:
        assert node.run("sh", "-c", f"echo x > {place}/planted").returncode != 0, place
    open_to_all = node.run("find", "/", "-xdev", "-perm", "-0002", "!", "-type", "l", "!", "-type", "c").stdout.split()
    assert set(open_to_all) <= {"/tmp", "/run/postgresql"}, "temporary file systems, if an engine mounts them so"
    assert node.run("find", "/", "-xdev", "-perm", "/6000", "-type", "f").stdout == ""


@pytest.mark.parametrize(
    ("statement", "answer"),
    [
        ("COPY (SELECT 1) TO '/usr/local/bin/planted'", "Read-only file system"),
        ("COPY (SELECT 'x') TO PROGRAM 'cat > /etc/planted'", "child process exited with exit code 2"),
        ("COPY (SELECT 'x') TO PROGRAM 'cat > /opt/pgops/planted'", "child process exited with exit code 2"),
        ("SELECT lo_create(4242)\\; SELECT lo_export(4242, '/usr/lib/postgresql/15/lib/planted.so')", "Read-only file system"),
        ("COPY (SELECT '#!/bin/sh') TO PROGRAM 'cat > /tmp/planted; chmod 755 /tmp/planted; /tmp/planted'", "command not executable"),
    ],
)
def test_a_database_superuser_writes_no_program(node: Attacked, statement: str, answer: str) -> None:
    done = node.run("sh", "-c", 'echo "$0" | psql -XAtq -v ON_ERROR_STOP=1 postgres', statement)
    assert done.returncode != 0
    assert answer in done.stderr
    planted = node.run("sh", "-c", "ls /usr/local/bin/planted /etc/planted /opt/pgops/planted /usr/lib/postgresql/15/lib/planted.so").stdout
    assert planted == ""


def test_nobody_becomes_more(node: Attacked) -> None:
    status = node.run("cat", "/proc/1/status").stdout
    assert re.search(r"^Uid:\s+999\s+999\s+999\s+999$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert re.search(rf"^{capabilities}:\s+0+$", status, re.MULTILINE), capabilities
    assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE), "the engine's own filter"
    assert node.run("python3", "-c", BECOME, "/tmp").stdout == ""
    assert node.run("su", "-c", "id", "root").returncode != 0


def test_root_in_the_container_cannot_either(node: Attacked) -> None:
    """docker exec --user 0 gives the number, not the powers."""
    assert node.run("python3", "-c", BECOME, "/var/lib/postgresql/data", user="0").stdout.split() in ([], ["setuid"])
    assert node.run("cat", "/var/lib/postgresql/data/PG_VERSION", user="0").returncode != 0
    assert node.run("sh", "-c", "echo x > /etc/planted", user="0").returncode != 0


def test_pid_1_is_no_shell_and_starts_none(node: Attacked) -> None:
    assert node.run("readlink", "/proc/1/exe").stdout.startswith("/usr/bin/python3")
    programs = node.run("sh", "-c", "for process in /proc/[0-9]*; do readlink $process/exe; done | sort -u").stdout.split()
    assert [program for program in programs if "postgres" not in program and "python3" not in program and program not in CALLERS] == []


CALLERS = ["/usr/bin/dash", "/usr/bin/readlink", "/usr/bin/sort", "/bin/dash"]
"""What the question itself starts."""


def test_an_arbitrary_user_with_group_0(launch: object) -> None:
    server = launch("--user=1000660000:0", "--volume=/var/lib/postgresql/data").healthy()  # type: ignore[operator]
    assert server.sql("SELECT current_user").stdout == "postgres\n"
    assert "1000660000" in server.run("sh", "-c", "cat /proc/1/status | grep ^Uid").stdout
    assert server.run("sh", "-c", "echo x > /etc/planted").returncode != 0
