# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tools/docs.py generates is up to date, and the README's claims about commands are true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_generated_documents_are_current(root: Path) -> None:
    done = subprocess.run([sys.executable, "tools/docs.py", "--check"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run tools/docs.py\n{done.stdout}{done.stderr}"


def test_every_make_target_in_the_documents_exists(root: Path, tracked: list[Path]) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (root / "Makefile").read_text(), flags=re.MULTILINE))
    named: set[str] = set()
    for path in (p for p in tracked if p.suffix == ".md"):
        named |= set(re.findall(r"`make ([a-z][a-z-]*)", (root / path).read_text()))
    assert {"up", "down", "test"} <= named
    assert named <= targets
