# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Killed writers and many writers at once, as processes of their own."""

from __future__ import annotations

import os
import pathlib
import random
import signal
import subprocess
import time
import typing as t

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba.plan import Plan
from ansible_collections.pgops.access.plugins.module_utils._store import base, file

KILLS = int(os.environ.get("PGOPS_KILLS", "60"))
WRITERS = 20

CONTENTS = [b"# " + bytes([letter]) * 150_000 + b"\nlocal all all peer\n" for letter in b"ab"]

FLIP = """
import sys
from ansible_collections.pgops.access.plugins.module_utils._hba.plan import Plan
from ansible_collections.pgops.access.plugins.module_utils._store import file
contents = [b"# " + bytes([letter]) * 150_000 + b"\\nlocal all all peer\\n" for letter in b"ab"]
print("ready", flush=True)
while True:
    for content in contents:
        file.update(sys.argv[1], lambda before: Plan(before, content, before != content), create=True, backup=sys.argv[2] == "backup")
"""

ADD = """
import sys
from ansible_collections.pgops.access.plugins.module_utils._hba import plan
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Server
from ansible_collections.pgops.access.plugins.module_utils._hba.spec import spec_from_line
from ansible_collections.pgops.access.plugins.module_utils._store import file
path, number, how = sys.argv[1:]
server = Server(15)
rule = spec_from_line(f"host db{number} u{number} 10.0.0.{number}/32 md5", server)
request = plan.Request((rule,), section=f"owner{number}" if how == "section" else None)
print("ready", flush=True)
sys.stdin.readline()
outcome = file.update(path, plan.planner(request, server), create=True)
print(outcome.attempts, flush=True)
"""


def temporary(directory: pathlib.Path) -> list[str]:
    return [entry.name for entry in directory.iterdir() if entry.name.endswith(".pgops-tmp")]


@pytest.mark.parametrize("how", ["plain", "backup", "create"])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_file(tmp_path: pathlib.Path, child: t.Any, how: str) -> None:
    """Each round kills a writer at a random moment while it writes without pause. PGOPS_KILLS sets the number of rounds."""
    path = tmp_path / "pg_hba.conf"
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    littered = 0
    for _ in range(KILLS // 3):
        if how != "create":
            path.write_bytes(CONTENTS[0])
        elif path.exists():
            path.unlink()
        writer = child.start(FLIP, str(path), how)
        try:
            assert writer.stdout.readline() == b"ready\n", writer.stderr.read()
            time.sleep(chance.uniform(0, 0.03 if how != "create" else 0.004))
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.communicate(timeout=20)
        if how != "create" or path.exists():
            assert path.read_bytes() in CONTENTS
        littered += bool(temporary(tmp_path))
        for backup in tmp_path.glob("*.bak"):
            assert backup.read_bytes() in CONTENTS
            backup.unlink()
        # The lock died with its holder, and what it left goes with the next write.
        file.update(str(path), lambda before: Plan(before, b"next\n", True), create=True, lock_timeout=1)
        assert path.read_bytes() == b"next\n"
        assert temporary(tmp_path) == []
    print(f"{littered} of {KILLS // 3} kills left a temporary file")


@pytest.mark.parametrize("how", ["plain", "section"])
@pytest.mark.parametrize("exists", [True, False])
def test_twenty_writers_at_once_lose_nothing(tmp_path: pathlib.Path, child: t.Any, how: str, exists: bool) -> None:
    path = tmp_path / "pg_hba.conf"
    if exists:
        path.write_bytes(b"# header\nlocal all all peer")
    writers: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(WRITERS):
            writers.append(child.start(ADD, str(path), str(number), how))
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write(b"go\n")
            writer.stdin.flush()
        outputs = [writer.communicate(timeout=60) for writer in writers]
    finally:
        for writer in writers:
            if writer.poll() is None:
                writer.kill()
                writer.wait()
    assert [writer.returncode for writer in writers] == [0] * WRITERS, [errors for _, errors in outputs]
    lines = path.read_bytes().splitlines()
    assert sorted(line.split()[1] for line in lines if line.startswith(b"host")) == sorted(b"db%d" % number for number in range(WRITERS))
    if exists:
        assert lines[:2] == [b"# header", b"local all all peer"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["pg_hba.conf"]
    print("attempts:", sorted(int(output) for output, _ in outputs))


def test_a_writer_waits_for_a_slow_one_and_builds_on_its_result(tmp_path: pathlib.Path, child: t.Any) -> None:
    """The waiting writer locked the file that the slow one replaces: it must notice, and lock the new one."""
    path = tmp_path / "pg_hba.conf"
    path.write_bytes(b"first\n")
    store = file.FileStore(str(path))
    code = (
        "import sys\n"
        "from ansible_collections.pgops.access.plugins.module_utils._hba.plan import Plan\n"
        "from ansible_collections.pgops.access.plugins.module_utils._store import file\n"
        "print('ready', flush=True)\n"
        "file.update(sys.argv[1], lambda content: Plan(content, content + b'third\\n', True))\n"
    )
    with store.lock():
        other = child.start(code, str(path))
        assert other.stdout.readline() == b"ready\n"
        time.sleep(0.3)
        store.write(store.read(), b"first\nsecond\n")
        time.sleep(0.2)
        assert other.poll() is None
    _, errors = other.communicate(timeout=20)
    assert other.returncode == 0, errors
    assert path.read_bytes() == b"first\nsecond\nthird\n"


def test_a_conflict_is_told_from_the_store_itself(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "pg_hba.conf"
    path.write_bytes(b"a\n")
    store = file.FileStore(str(path))
    snapshot = store.read()
    path.write_bytes(b"b\n")
    with pytest.raises(base.StoreConflict):
        store.write(snapshot, b"c\n")
    path.unlink()
    with pytest.raises(base.StoreMissing):
        store.write(snapshot, b"c\n")
    creating = file.FileStore(str(path), create=True)
    nothing = creating.read()
    path.write_bytes(b"d\n")
    with pytest.raises(base.StoreConflict):
        creating.write(nothing, b"c\n")
    assert path.read_bytes() == b"d\n"
