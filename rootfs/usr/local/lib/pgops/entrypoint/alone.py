# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One container at a time works on a data directory.

The server guards its directory by a process id and by shared memory (miscinit.c, sysv_shmem.c), and sees neither of another container. A
lock that the kernel holds for an open directory (flock(2)) is seen by every container of this machine, leaves nothing in the volume, and
ends with the last process that has it open, however that ends. The kernel closes what PID 1 has open before it ends the other processes of
a container, and one that waits for a disk ends when the disk answers: so the server, and with it each of its processes, inherits the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t

from .errors import StartError

PATIENCE = 5.0
"""Seconds: a predecessor that is just being stopped."""
WAITING = "another container works on the same data; it is waited for"
_SLICE_SECONDS = 0.1
_held: list[int] = []


def hold(
    *directories: str,
    patience: float = PATIENCE,
    pause: t.Callable[[float], None] = time.sleep,
    told: t.Callable[[str], None] = lambda text: None,
) -> None:
    """Until this process and the servers that it starts have ended, the directories are ours.

    Raises StartError when one is somebody else's for longer than ``patience`` seconds. ``pause`` may raise, too; ``told`` is called once
    when somebody has to be waited for.
    """
    deadline = time.monotonic() + patience
    waits = False
    for data in directories:
        while not _locked(data):
            if time.monotonic() > deadline:
                raise StartError(
                    f"PGDATA: another container works on {data}; two servers on the same files destroy them. Stop the other one "
                    "(docker ps --filter volume=NAME shows it), or give this one a volume of its own"
                )
            if not waits:
                waits = True
                told(WAITING)
            pause(_SLICE_SECONDS)


def inherited() -> tuple[int, ...]:
    """The locks, for a server to inherit."""
    return tuple(_held)


def _locked(data: str) -> bool:
    """Whether it is ours now."""
    # A file system that cannot lock a directory (NFS) leaves us where the server is without it.
    with contextlib.suppress(OSError):
        descriptor = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            return not isinstance(error, BlockingIOError)
        _held.append(descriptor)
    return True
