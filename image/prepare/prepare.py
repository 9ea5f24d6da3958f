# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a cluster with initdb at build time and packs it, for the entrypoint to unpack where a new one is wanted: ``prepare.py TARGET``.

What identifies a cluster must not be shared by all that come from one image, so three things are blank in the archive, and its note names
their places for the entrypoint to fill in: the system identifier, in ``pg_control`` and in the only page of the write-ahead log that is
not empty; the nonce for unknown users; and, where pages have no checksums, the superuser's password verifier, which stands in the page of
``pg_authid`` as characters of a fixed number. No password is in it, and no access rules: the entrypoint writes both.

The archive: a gzip stream of one line of JSON (note, directories, files as name, offset, length) and the contents, each stored once.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

INITDB = ["--username=postgres", "--encoding=UTF8", "--auth=reject", "--no-instructions", "--no-sync"]
LEFT_OUT = {"pg_hba.conf", "pg_ident.conf", "postmaster.opts", "pg_stat/pg_stat_statements.stat"}
CONTROL = "global/pg_control"
NONCE = re.compile(r"^Mock authentication nonce: +([0-9a-f]{64})$", re.MULTILINE)
BLANK_VERIFIER = f"SCRAM-SHA-256$4096:{'A' * 22}==${'A' * 43}=:{'A' * 43}="
"""Of the length that every verifier with 4096 iterations and a salt of 16 bytes has."""
PAGE = 8192
Note = t.Dict[str, t.Any]


def crc32c(data: bytes) -> int:
    """CRC-32C, as PostgreSQL's ``COMP_CRC32C``."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _bit in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def only_place(content: bytes, part: bytes, what: str) -> int:
    """Where ``part`` stands, which it must once and no more."""
    if content.count(part) != 1:
        raise SystemExit(f"prepare: {what} was found in {content.count(part)} places, not in one")
    return content.index(part)


def controlled(path: Path, said: str, identifier: bytes) -> tuple[bytes, Note]:
    """pg_control without what identifies, and the places of the nonce and of the checksum, found by their values."""
    content = bytearray(path.read_bytes())
    nonce = bytes.fromhex(NONCE.search(said)[1])
    if content[:8] != identifier:
        raise SystemExit("prepare: pg_control has another layout than expected")
    note = {"nonce": only_place(content, nonce, "pg_control's nonce")}
    places = [place for place in range(64, 512, 4) if int.from_bytes(content[place : place + 4], sys.byteorder) == crc32c(content[:place])]
    if len(places) != 1:
        raise SystemExit(f"prepare: pg_control's checksum was found in {len(places)} places")
    content[:8] = bytes(8)
    content[note["nonce"] : note["nonce"] + 32] = bytes(32)
    return bytes(content), {**note, "crc": places[0]}


def logged(data: Path, identifier: bytes) -> tuple[str, bytes, Note]:
    """The log that pg_resetwal began: its name, its only page that is not empty, without the identifier, and where that stands."""
    (path,) = data.glob("pg_wal/0*")
    content = path.read_bytes()
    if content[PAGE:].strip(b"\0"):
        raise SystemExit(f"prepare: {path.name} has more than one page")
    page = bytearray(content[:PAGE])
    place = only_place(page, identifier, "the log's identifier")
    page[place : place + 8] = bytes(8)
    name = str(path.relative_to(data))
    return name, bytes(page), {"log": name, "log_identifier": place, "log_bytes": len(content)}


def verifier(data: Path) -> Note:
    """The file and the place of the superuser's blank verifier."""
    blank = BLANK_VERIFIER.encode()
    holders = [path for path in sorted(data.rglob("*")) if path.is_file() and blank in path.read_bytes()]
    if len(holders) != 1:
        raise SystemExit(f"prepare: the verifier is in {len(holders)} files, not in one")
    place = only_place(holders[0].read_bytes(), blank, "the verifier")
    return {"verifier": {"file": str(holders[0].relative_to(data)), "place": place, "length": len(blank)}}


def pack(data: Path, replaced: dict[str, bytes], note: Note, target: Path) -> None:
    """Write the archive. The databases are copies of each other: each content is stored once."""
    offsets: dict[str, int] = {}
    contents: list[bytes] = []
    directories: list[str] = []
    files: list[tuple[str, int, int]] = []
    end = 0
    for path in sorted(data.rglob("*")):
        name = str(path.relative_to(data))
        if name in LEFT_OUT or path.name == "pg_internal.init" or path.is_symlink():
            continue
        if path.is_dir():
            directories.append(name)
            continue
        content = replaced.get(name) or path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest not in offsets:
            offsets[digest] = end
            contents.append(content)
            end += len(content)
        files.append((name, offsets[digest], len(content)))
    head = json.dumps({"note": note, "directories": directories, "files": files}).encode()
    # No time of day in it: the same packages give the same bytes.
    with gzip.GzipFile(target, "wb", 9, mtime=0) as packed:
        packed.write(b"".join([head, b"\n", *contents]))


def make(programs: Path, data: Path) -> str:
    """initdb, a blank verifier, a log with nothing in it; what pg_controldata says then."""
    subprocess.run([programs / "initdb", "--pgdata", data, *INITDB], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    subprocess.run(  # noqa: S603
        [programs / "postgres", "--single", "-D", data, "-c", "fsync=off", "-c", "shared_preload_libraries=", "postgres"],
        input=f"ALTER ROLE postgres PASSWORD '{BLANK_VERIFIER}';\n", text=True, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    subprocess.run([programs / "pg_resetwal", "-D", data], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return subprocess.run([programs / "pg_controldata", data], check=True, capture_output=True, text=True).stdout  # noqa: S603


def main(target: Path) -> None:
    """Make, check, pack."""
    programs = Path(f"/usr/lib/postgresql/{os.environ['PG_MAJOR']}/bin")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        said = make(programs, data)
        if not re.search(r"^Database cluster state: +shut down$", said, re.MULTILINE):
            raise SystemExit("prepare: the cluster was not shut down")
        identifier = int(re.search(r"^Database system identifier: +(\d+)$", said, re.MULTILINE)[1]).to_bytes(8, sys.byteorder)
        control, note = controlled(data / CONTROL, said, identifier)
        name, page, log = logged(data, identifier)
        # A page with a checksum is the server's to change.
        plain = re.search(r"^Data page checksum version: +0$", said, re.MULTILINE)
        pack(data, {CONTROL: control, name: page}, {**note, **log, **(verifier(data) if plain else {})}, target)
    target.chmod(0o644)
    print(f"prepare: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
