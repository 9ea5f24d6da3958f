# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lock files of a server that was killed: its process id belongs to somebody else in a new container.

The server refuses to start while the process that its lock file names is alive (CreateLockFile, miscinit.c). Ids begin anew in every
container, so a health check may have the one of the server that was killed. The file stays, for the server also reads from it which shared
memory its predecessor had; only the process that it names is one that cannot be.
"""

from __future__ import annotations

import contextlib
import glob
import os
import stat

from .place import Place

NOBODY = 2**31 - 1
"""Larger than any process id of Linux (PID_MAX_LIMIT is 2**22), and still one to the server's atoi()."""
_LONGEST = 4096


def disown(place: Place) -> None:
    """Before a server starts: lock files that name no server that lives name nobody."""
    for path in (place.path("postmaster.pid"), *glob.glob(os.path.join(place.socket_directory, ".s.PGSQL.*.lock"))):
        with contextlib.suppress(OSError):  # not there, or not ours to change: the server says what it finds
            _disown(path)


def _disown(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return
        first, newline, rest = os.read(descriptor, _LONGEST).partition(b"\n")
        # A standalone server writes its id as a negative number.
        if newline and first.strip().lstrip(b"-").isdigit() and not _is_server(abs(int(first))):
            # In one call, and longer than before: a crash leaves either.
            os.pwrite(descriptor, b"%d\n%s" % (NOBODY, rest), 0)
    finally:
        os.close(descriptor)


def _is_server(process: int) -> bool:
    try:
        with open(f"/proc/{process}/comm", "rb") as file:
            return file.read().strip() == b"postgres"
    except OSError:
        return False
