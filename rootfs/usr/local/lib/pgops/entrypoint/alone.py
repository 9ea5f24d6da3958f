# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One container at a time works on a data directory.

The server guards its directory by a process id and by shared memory (miscinit.c, sysv_shmem.c), and sees neither of another container. A
lock that the kernel holds for an open directory (flock(2)) is seen by every container of this machine, leaves nothing in the volume, and
ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

from .errors import StartError

PATIENCE = 5.0
"""Seconds: a predecessor that is just being stopped."""


def hold(data: str, patience: float = PATIENCE) -> None:
    """Until this process ends, the directory is ours. Raises StartError when it is somebody else's for longer than ``patience`` seconds."""
    deadline = time.monotonic() + patience
    # A file system that cannot lock a directory (NFS) leaves us where the server is without it.
    with contextlib.suppress(OSError):
        descriptor = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(descriptor)
                    break
                time.sleep(0.1)
        raise StartError(
            f"PGDATA: another container works on {data}; two servers on the same files destroy them. Stop the other one "
            "(docker ps --filter volume=NAME shows it), or give this one a volume of its own"
        )
