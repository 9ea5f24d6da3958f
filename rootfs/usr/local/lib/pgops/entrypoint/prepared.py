# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new cluster from the archive that the build made (``image/prepare``), in place of initdb where initdb would make the same.

The result is what initdb makes, byte for byte but for what it draws at random: system identifier (time and chance, as the server's own
``BootStrapXLOG`` makes it from time and process) and the nonce that hides which users exist are drawn here, and the control file gets its
checksum. The archive's log is empty, as ``pg_resetwal`` leaves one; the identifier is written into its first page, too. The password of
the superuser becomes a verifier in the place of a blank one of the same length, so that no program has to be run for a usual cluster.
"""

from __future__ import annotations

import base64
import ctypes
import hashlib
import hmac
import json
import os
import re
import time
import typing as t
import zlib

ARCHIVE = "/opt/pgops/prepared.gz"
_CONTROL = "global/pg_control"
_GZIP = 31
_ITERATIONS = 4096
_STORED_AS_IT_IS = re.compile(rb"SCRAM-SHA-256\$|md5[0-9a-f]{32}$")
"""What the server takes for a verifier, not for a password."""
_PASSWORD_BYTES = 512


class Place(t.NamedTuple):
    """Something that is written into a file of the archive."""

    offset: int
    content: bytes


def available() -> bool:
    """Whether this image has an archive."""
    return os.path.exists(ARCHIVE)


def unpack(target: str, password: str = "") -> bool:
    """Make ``target``, a directory that does not exist, a cluster of its own.

    Returns whether the superuser ``postgres`` has the password; the server itself must be asked where it has not, for it normalizes
    what is not ASCII. Raises OSError.
    """
    with open(ARCHIVE, "rb") as file:
        content = memoryview(zlib.decompress(file.read(), _GZIP))
    end = bytes(content[: 1 << 20]).index(b"\n")
    head = json.loads(bytes(content[:end]))
    note, body = head["note"], content[end + 1 :]
    identifier = _identifier()
    verifier = _verifier(password) if "verifier" in note else None
    changes = {note["log"]: Place(note["log_identifier"], identifier)}
    if verifier is not None and len(verifier) == note["verifier"]["length"]:
        changes[note["verifier"]["file"]] = Place(note["verifier"]["place"], verifier)
    os.mkdir(target, 0o700)
    for name in head["directories"]:
        os.mkdir(f"{target}/{name}", 0o700)
    for name, offset, length in head["files"]:
        part: memoryview | bytes = body[offset : offset + length]
        if name == _CONTROL:
            part = identified(bytes(part), note, identifier)
        elif name in changes:
            place, text = changes[name]
            part = b"".join([part[:place], text, part[place + len(text) :]])
        _create(f"{target}/{name}", part, note["log_bytes"] if name == note["log"] else 0)
    return "verifier" in note and note["verifier"]["file"] in changes


def _identifier() -> bytes:
    # Seconds above, chance below: two containers that start in the same microsecond differ.
    return bytes(ctypes.c_uint64((int(time.time()) << 32) | int.from_bytes(os.urandom(4), "little")))


def identified(control: bytes, note: t.Mapping[str, int], identifier: bytes) -> bytes:
    """The control file with an identifier and a nonce of its own, and the checksum of the whole."""
    changed = bytearray(control)
    changed[:8] = identifier
    changed[note["nonce"] : note["nonce"] + 32] = os.urandom(32)
    changed[note["crc"] : note["crc"] + 4] = bytes(ctypes.c_uint32(crc32c(bytes(changed[: note["crc"]]))))
    return bytes(changed)


def _verifier(password: str) -> bytes | None:
    """What the server would store (RFC 5803) for a password that it takes as it is; None for any other."""
    plain = password.encode("utf-8", "surrogateescape")
    if not plain or not plain.isascii() or len(plain) > _PASSWORD_BYTES or _STORED_AS_IT_IS.match(plain):
        return None
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", plain, salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    parts = (base64.b64encode(value) for value in (salt, stored, hmac.digest(salted, b"Server Key", "sha256")))
    return b"SCRAM-SHA-256$%d:%b$%b:%b" % (_ITERATIONS, *parts)


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


def _create(path: str, content: bytes | memoryview, size: int) -> None:
    """A new file; with a ``size``, its space is reserved up to there and reads as zeros."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if size:
            os.posix_fallocate(descriptor, 0, size)
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)
