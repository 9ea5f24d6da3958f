# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_ident on real servers, and in this process for what concerns files alone."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/integration")]

from ansible_collections.pgops.access.plugins.modules import pg_ident as module  # noqa: E402
from file_support import File  # noqa: E402
from in_process import once  # noqa: E402
from pg_hba_info.conftest import reach, run, server  # noqa: E402

__all__ = ["File", "reach", "run", "server"]
MODULE = "ansible_collections.pgops.access.plugins.modules.pg_ident"
PREDICTED = ("diff", "access_changes", "edits", "findings", "decisions", "rules", "still_granted", "changed", "reloaded")


def pg_ident(arguments: dict[str, t.Any], *, check: bool = False) -> dict[str, t.Any]:
    """One run of pg_ident in this process."""
    return once(module, arguments, check=check)


def four(arguments: dict[str, t.Any], path: Path) -> dict[str, t.Any]:
    """Check, real, check again, real again: check mode predicts exactly, and the second time nothing changes. The real run's result."""
    before = path.read_bytes() if path.exists() else None
    predicted = pg_ident(arguments, check=True)
    assert (path.read_bytes() if path.exists() else None) == before, "check mode wrote"
    made = pg_ident(arguments)
    assert "failed" not in made, made["msg"]
    assert {name: predicted.get(name) for name in PREDICTED} == {name: made.get(name) for name in PREDICTED}
    after = path.read_bytes()
    assert made["diff"]["after"] == after.decode("utf-8", "replace")
    for check in (True, False):
        again = pg_ident(arguments, check=check)
        assert "failed" not in again, again["msg"]
        assert (again["changed"], again["edits"], again["access_changes"]) == (False, [], [])
        assert path.read_bytes() == after
    return made


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "pg_ident.conf", pg_ident, four)
