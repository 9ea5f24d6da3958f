# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a cluster with initdb at build time and packs it, for the entrypoint to unpack where a new one is wanted: ``prepare.py TARGET``.

What identifies a cluster must not be shared by all that come from one image, so three things are not in the archive: the write-ahead
log (``pg_resetwal`` makes a new one), the system identifier and the nonce for unknown users. Both are blanked in ``pg_control``, and the
archive's note names their places. There is no password in it, and no access rules: the entrypoint writes both.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

INITDB = ["--username=postgres", "--encoding=UTF8", "--auth=reject", "--no-instructions", "--no-sync"]
LEFT_OUT = {"pg_hba.conf", "pg_ident.conf", "postmaster.opts"}
NONCE = re.compile(r"^Mock authentication nonce: +([0-9a-f]{64})$", re.MULTILINE)


def crc32c(data: bytes) -> int:
    """CRC-32C, as PostgreSQL's ``COMP_CRC32C``."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _bit in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def controlled(path: Path, said: str) -> tuple[bytes, dict[str, int]]:
    """pg_control without what identifies, and the places of the nonce and of the checksum, found by their values."""
    content = bytearray(path.read_bytes())
    identifier = int(re.search(r"^Database system identifier: +(\d+)$", said, re.MULTILINE)[1])
    nonce = bytes.fromhex(NONCE.search(said)[1])
    if int.from_bytes(content[:8], sys.byteorder) != identifier or content.count(nonce) != 1:
        raise SystemExit("prepare: pg_control has another layout than expected")
    places = [place for place in range(64, 512, 4) if int.from_bytes(content[place : place + 4], sys.byteorder) == crc32c(content[:place])]
    if len(places) != 1:
        raise SystemExit(f"prepare: pg_control's checksum was found in {len(places)} places")
    note = {"nonce": content.index(nonce), "crc": places[0]}
    content[:8] = bytes(8)
    content[note["nonce"] : note["nonce"] + 32] = bytes(32)
    return bytes(content), note


def pack(data: Path, control: bytes, note: dict[str, int], target: Path) -> None:
    """Write the archive. The databases are copies of each other: each content is stored once, the others are links to it."""
    first: dict[str, str] = {}
    # No time of day in it: the same packages give the same bytes.
    with gzip.GzipFile(target, "wb", 9, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        text = json.dumps(note).encode()
        header = tarfile.TarInfo("pgops-note.json")
        header.size = len(text)
        archive.addfile(header, io.BytesIO(text))
        for path in sorted(data.rglob("*")):
            name = str(path.relative_to(data))
            if name in LEFT_OUT or name.startswith("pg_wal/0") or path.is_symlink():
                continue
            member = tarfile.TarInfo(name)
            if path.is_dir():
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
                continue
            content = control if name == "global/pg_control" else path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            if content and digest in first:
                member.type, member.linkname = tarfile.LNKTYPE, first[digest]
                archive.addfile(member)
                continue
            first[digest] = name
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def main(target: Path) -> None:
    """Make, check, pack."""
    programs = Path(f"/usr/lib/postgresql/{os.environ['PG_MAJOR']}/bin")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        subprocess.run([programs / "initdb", "--pgdata", data, *INITDB], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        said = subprocess.run([programs / "pg_controldata", data], check=True, capture_output=True, text=True).stdout  # noqa: S603
        if not re.search(r"^Database cluster state: +shut down$", said, re.MULTILINE):
            raise SystemExit("prepare: initdb did not shut its cluster down")
        control, note = controlled(data / "global" / "pg_control", said)
        pack(data, control, note, target)
    target.chmod(0o644)
    print(f"prepare: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
