# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new cluster from the archive that the build made (``image/prepare``), in place of initdb where initdb would make the same.

The result is what initdb makes, byte for byte but for what it draws at random: system identifier (time and chance, as the server's own
``BootStrapXLOG`` makes it from time and process) and the nonce that hides which users exist are drawn here, the control file gets its
checksum, and ``pg_resetwal`` begins a log with that identifier.
"""

from __future__ import annotations

import ctypes
import json
import os
import tarfile
import time

ARCHIVE = "/opt/pgops/prepared.tar.gz"
_NOTE = "pgops-note.json"
_CONTROL = "global/pg_control"


def available() -> bool:
    """Whether this image has an archive."""
    return os.path.exists(ARCHIVE)


def unpack(target: str) -> None:
    """Make ``target``, a directory that does not exist, the cluster without its log. Raises OSError."""
    os.mkdir(target, 0o700)
    contents: dict[str, bytes] = {}
    note: dict[str, int] = {}
    with tarfile.open(ARCHIVE, "r:gz") as archive:
        for member in archive:
            path = os.path.join(target, member.name)
            if member.isdir():
                os.mkdir(path, 0o700)
                continue
            if member.islnk():
                content = contents[member.linkname]
            else:
                opened = archive.extractfile(member)
                content = opened.read() if opened else b""
                contents[member.name] = content
            if member.name == _NOTE:
                note = json.loads(content)
                continue
            if member.name == _CONTROL:
                content = identified(content, note)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                _write(descriptor, content)
            finally:
                os.close(descriptor)


def identified(control: bytes, note: dict[str, int]) -> bytes:
    """The control file with an identifier and a nonce of its own, and the checksum of the whole."""
    changed = bytearray(control)
    moment = time.time()
    # Seconds above, chance below: two containers that start in the same microsecond differ.
    identifier = (int(moment) << 32) | int.from_bytes(os.urandom(4), "little")
    changed[:8] = ctypes.c_uint64(identifier)  # type: ignore[assignment]
    changed[note["nonce"] : note["nonce"] + 32] = os.urandom(32)
    changed[note["crc"] : note["crc"] + 4] = ctypes.c_uint32(crc32c(bytes(changed[: note["crc"]])))  # type: ignore[assignment]
    return bytes(changed)


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), as PostgreSQL's ``COMP_CRC32C``."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _bit in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def flush(path: str) -> None:
    """Everything of the file system of ``path`` to its disk, in one call of the kernel (syncfs). Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if library.syncfs(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(descriptor)


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
