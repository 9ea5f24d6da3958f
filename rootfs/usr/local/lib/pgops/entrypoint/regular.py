# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that somebody else may have put there: what is no regular file is never waited for, and what is huge is never read."""

from __future__ import annotations

import errno
import os
import stat

from .errors import StartError

LARGEST = 32 << 20
"""More than any configuration needs; half a million rules fit."""
_KINDS = (
    (stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip


class NotRegular(OSError):
    """It is something else, or too large; ``strerror`` says what."""


def read(path: str | bytes, largest: int = LARGEST) -> bytes:
    """The content of a regular file. Raises OSError, NotRegular among them; never waits for a writer of a named pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
            raise NotRegular(number, f"it is {kind(status.st_mode)}, not a file")
        parts, size = [], 0
        while part := os.read(descriptor, 1 << 20):
            parts.append(part)
            size += len(part)
            if size > largest:
                raise NotRegular(errno.EFBIG, f"it has more than {largest} bytes")
        return b"".join(parts)
    finally:
        os.close(descriptor)


def check(*paths: str) -> None:
    """Refuse what a program would wait for, or read, for ever. What is not there is no fault. Raises StartError."""
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue
        if not stat.S_ISREG(status.st_mode):
            raise StartError(
                f"{path} is {kind(status.st_mode)}, not a file, so the server does not start; find out who put it there, and remove it"
            )
        if status.st_size > LARGEST:
            raise StartError(f"{path} has {status.st_size} bytes, more than the {LARGEST} that are read, so the server does not start")


def kind(mode: int) -> str:
    """What it is, with its article."""
    return next((name for test, name in _KINDS if test(mode)), "of an unknown kind")
