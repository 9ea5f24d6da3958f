# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of defects and edge cases in README.md is complete, and names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
ROW = re.compile(r"^\| (L?\d+) \| .* \| ((?:`test_\w+` ?)+) ?\|$", re.MULTILINE)


def test_the_list_is_complete_and_true() -> None:
    rows = {number: re.findall(r"`(test_\w+)`", tests) for number, tests in ROW.findall((HERE / "README.md").read_text())}
    assert sorted(rows) == sorted([f"L{number}" for number in range(1, 22)] + [str(number) for number in range(1, 37)])
    there = {
        node.name for path in HERE.glob("test_*.py") for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)
    }
    assert {test for tests in rows.values() for test in tests} <= there


def test_every_test_that_is_named_after_a_number_is_in_its_row() -> None:
    rows = dict(ROW.findall((HERE / "README.md").read_text()))
    for path in HERE.glob("test_*.py"):
        for name in re.findall(r"^def (test_(?:L\d|edge)\w+)\(", path.read_text(), re.MULTILINE):
            assert any(f"`{name}`" in tests for tests in rows.values()), name
