# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_hba on real servers, and in this process for what concerns files alone."""

from __future__ import annotations

import os
import sys
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/integration")]

import in_process  # noqa: E402
from ansible_collections.pgops.access.plugins.module_utils._ansible import hba_common  # noqa: E402
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Server as Engine  # noqa: E402
from ansible_collections.pgops.access.plugins.modules import pg_hba as module  # noqa: E402
from differential.servers import Server  # noqa: E402
from file_support import File, mount  # noqa: E402
from pg_hba_info.conftest import reach, run, server  # noqa: E402

__all__ = ["File", "Server", "mount", "reach", "run", "server"]
MODULE = "ansible_collections.pgops.access.plugins.modules.pg_hba"


def once(arguments: dict[str, t.Any], *, check: bool = False) -> dict[str, t.Any]:
    """One run of pg_hba in this process."""
    return in_process.once(module, arguments, check=check)


PLANNED = ("diff", "access_changes", "edits", "findings", "decisions", "rules", "still_granted")
COMPARED = (*PLANNED, "changed", "reloaded", "failed", "msg")


def state_of(path: str | None) -> tuple[t.Any, ...] | None:
    """Bytes and attributes of a file; None when there is none."""
    try:
        with open(path or "", "rb") as file:
            status = os.stat(file.fileno())
            return file.read(), status.st_ino, status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns
    except OSError:
        return None


def pg_hba(arguments: dict[str, t.Any], *, check: bool = False, foreseen: bool = True) -> dict[str, t.Any]:
    """The module as every test of this target runs it: check, real, check again, real again; the result of the real run.

    Check mode writes nothing and predicts exactly: result, difference, access changes, and the very message of a failure. The second
    time nothing changes. ``foreseen``: false for failures that only the attempt shows (a full disk, a server that does not load).
    """
    if check:
        return once(arguments, check=True)
    where = arguments.get("path")
    before = state_of(where)
    predicted = once(arguments, check=True)
    where = where or predicted.get("path")
    if before is not None:
        assert state_of(where) == before, "check mode wrote"
    made = once(arguments)
    compared = COMPARED if foreseen and "rolled_back" not in made else PLANNED
    if foreseen or "rolled_back" in made:
        assert {name: predicted.get(name) for name in compared} == {name: made.get(name) for name in compared}
    if made.get("failed"):
        return made
    after = state_of(where)
    assert after is not None
    assert made["diff"]["after"] == hba_common.masked(after[0], Engine(18)), "check mode and the run say what the file is now"
    for again in (once(arguments, check=True), once(arguments)):
        assert "failed" not in again, again["msg"]
        assert (again["changed"], again["edits"], again["access_changes"]) == (False, [], [])
        assert state_of(where) == after
    return made


def four(arguments: dict[str, t.Any], path: Path) -> dict[str, t.Any]:
    """The four runs of :func:`pg_hba`, which have to succeed."""
    made = pg_hba(arguments)
    assert "failed" not in made, made["msg"]
    assert path.exists()
    return made


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "pg_hba.conf", pg_hba, four)
