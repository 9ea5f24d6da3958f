# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lock files of a server that was killed."""

from __future__ import annotations

import os
import subprocess

import pytest
from pgops.entrypoint import stale
from pgops.entrypoint.place import Place

REST = b"/data\n1764396890\n5432\n/run/postgresql\n*\n  1234567 0\nready   \n"


@pytest.fixture
def place(tmp_path) -> Place:
    (tmp_path / "sockets").mkdir()
    return Place(15, str(tmp_path), str(tmp_path), {}, "postgres", str(tmp_path / "sockets"))


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_process_that_is_no_server_is_named_no_longer(place, tmp_path, sign):
    locks = (tmp_path / "postmaster.pid", tmp_path / "sockets/.s.PGSQL.5433.lock")
    for lock in locks:
        lock.write_bytes(f"{sign}{os.getpid()}\n".encode() + REST)
    stale.disown(place)
    for lock in locks:
        first, _newline, rest = lock.read_bytes().partition(b"\n")
        assert rest == REST
        with pytest.raises(ProcessLookupError):
            os.kill(int(first), 0)


def test_a_server_that_lives_keeps_its_lock(place, tmp_path):
    program = tmp_path / "postgres"
    program.symlink_to("/bin/sleep")
    lock = tmp_path / "postmaster.pid"
    with subprocess.Popen([str(program), "60"]) as server:
        try:
            while b"postgres" not in (tmp_path / f"/proc/{server.pid}/comm").read_bytes():
                pass
            lock.write_bytes(f"{server.pid}\n".encode() + REST)
            before = lock.read_bytes()
            stale.disown(place)
            assert lock.read_bytes() == before
        finally:
            server.kill()


def test_what_is_no_lock_file_stays(place, tmp_path):
    lock, other = tmp_path / "postmaster.pid", tmp_path / "other"
    stale.disown(place)
    for content in (b"", b"1", b"nonsense\n" + REST, b"-\n" + REST):
        lock.write_bytes(content)
        stale.disown(place)
        assert lock.read_bytes() == content
    lock.unlink()
    other.write_bytes(f"{os.getpid()}\n".encode() + REST)
    before = other.read_bytes()
    lock.symlink_to(other)
    stale.disown(place)
    assert other.read_bytes() == before
