# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_hba on real servers, and in this process for what concerns files alone."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/integration")]

from ansible.module_utils import basic  # noqa: E402
from ansible_collections.pgops.access.plugins.modules import pg_hba as module  # noqa: E402
from differential.servers import Server  # noqa: E402
from pg_hba_info.conftest import reach, run, server  # noqa: E402

__all__ = ["Server", "reach", "run", "server"]
MODULE = "ansible_collections.pgops.access.plugins.modules.pg_hba"


def pg_hba(arguments: dict[str, t.Any], *, check: bool = False) -> dict[str, t.Any]:
    """One run of the module's main() in this process."""
    common = {"_ansible_check_mode": check, "_ansible_diff": True}
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, **common}}).encode())
        if hasattr(basic, "_ANSIBLE_PROFILE"):
            patch.setattr(basic, "_ANSIBLE_PROFILE", "legacy")
        patch.setattr(basic, "_load_params", basic._load_params)
        with pytest.raises(SystemExit):
            module.main()
    return t.cast("dict[str, t.Any]", json.loads(out.getvalue().splitlines()[-1]))


COMPARED = ("diff", "access_changes", "edits", "findings", "decisions", "rules", "still_granted", "changed", "reloaded")


def four(arguments: dict[str, t.Any], path: Path) -> dict[str, t.Any]:
    """Check, real, check again, real again: check mode predicts exactly, and the second time nothing changes. The real run's result."""
    before = path.read_bytes() if path.exists() else None
    predicted = pg_hba(arguments, check=True)
    assert (path.read_bytes() if path.exists() else None) == before, "check mode wrote"
    made = pg_hba(arguments)
    assert "failed" not in made, made["msg"]
    assert {name: predicted.get(name) for name in COMPARED} == {name: made.get(name) for name in COMPARED}
    after = path.read_bytes()
    assert made["diff"]["after"] == after.decode("utf-8", "replace")
    for check in (True, False):
        again = pg_hba(arguments, check=check)
        assert "failed" not in again, again["msg"]
        assert again["changed"] is False, again["edits"]
        assert again["access_changes"] == []
        assert path.read_bytes() == after
    return made


class File:
    """A file that no server reads, and the module on it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, before: str | bytes, check: bool = False, version: str = "15", **arguments: t.Any) -> dict[str, t.Any]:
        """One run on this content."""
        self.path.write_bytes(before if isinstance(before, bytes) else before.encode())
        return pg_hba({"path": str(self.path), "postgres_version": version, **arguments}, check=check)

    def becomes(self, before: str | bytes, version: str = "15", **arguments: t.Any) -> str:
        """Four runs; what the file becomes."""
        self.path.write_bytes(before if isinstance(before, bytes) else before.encode())
        four({"path": str(self.path), "postgres_version": version, **arguments}, self.path)
        return self.text

    @property
    def text(self) -> str:
        return self.path.read_bytes().decode("latin-1")


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "pg_hba.conf")
