# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of files share: a file that no server reads with a module on it, and places to mount."""

from __future__ import annotations

import os
import subprocess
import typing as t
from pathlib import Path

import pytest


class File:
    """A file that no server reads, and the module on it: ``module`` runs it, ``four`` four times, which have to succeed."""

    def __init__(self, path: Path, module: t.Callable[..., dict[str, t.Any]], four: t.Callable[..., dict[str, t.Any]]) -> None:
        self.path = path
        self.module = module
        self.four = four

    def run(self, before: str | bytes, check: bool = False, version: str = "15", **arguments: t.Any) -> dict[str, t.Any]:
        """One run on this content."""
        self.path.write_bytes(before if isinstance(before, bytes) else before.encode())
        return self.module({"path": str(self.path), "postgres_version": version, **arguments}, check=check)

    def becomes(self, before: str | bytes, version: str = "15", **arguments: t.Any) -> str:
        """Four runs; what the file becomes."""
        self.path.write_bytes(before if isinstance(before, bytes) else before.encode())
        self.four({"path": str(self.path), "postgres_version": version, **arguments}, self.path)
        return self.text

    @property
    def text(self) -> str:
        return self.path.read_bytes().decode("latin-1")


@pytest.fixture
def mount() -> t.Iterator[t.Callable[..., None]]:
    """Mount something for the length of a test; skipped where we may not."""
    mounted: list[str] = []

    def run(*arguments: str) -> None:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False, timeout=20)
        if done.returncode:
            pytest.skip(f"mount {' '.join(arguments)}: {done.stderr.strip()}")
        mounted.append(arguments[-1])

    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    yield run
    for target in reversed(mounted):
        subprocess.run(["umount", "-l", target], capture_output=True, check=False, timeout=20)
