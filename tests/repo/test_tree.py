# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every file of the tree owes the reader."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

LICENCE = "SPDX-License-Identifier: GPL-3.0-or-later"
FUNCTION_LINES = 60


def test_python_files_carry_the_licence(root: Path, tracked: list[Path]) -> None:
    python = [p for p in tracked if p.suffix == ".py" and (root / p).stat().st_size > 0]
    missing = [str(p) for p in python if LICENCE not in (root / p).read_text()[:600]]
    assert python
    assert not missing


def test_functions_are_short(root: Path, tracked: list[Path]) -> None:
    long: list[str] = []
    for path in (p for p in tracked if p.suffix == ".py" and p.parts[0] in {"plugins", "rootfs", "tools"}):
        for node in ast.walk(ast.parse((root / path).read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = node.body[0]
                documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
                start = node.body[1].lineno if documented and len(node.body) > 1 else first.lineno
                length = (node.end_lineno or start) - start + 1
                if length > FUNCTION_LINES:
                    long.append(f"{path}:{node.lineno}: {node.name} has {length} lines")
    assert not long, "\n".join(long)


def test_no_assert_in_plugins(root: Path, tracked: list[Path]) -> None:
    found = [
        f"{path}:{node.lineno}"
        for path in tracked
        if path.suffix == ".py" and path.parts[0] == "plugins"
        for node in ast.walk(ast.parse((root / path).read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert not found


def test_yaml_can_be_read(root: Path, tracked: list[Path]) -> None:
    class Loader(yaml.SafeLoader):
        """Ansible's own tags (!unsafe, !vault) are as good as strings here."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: loader.construct_scalar(node))
    documents = [p for p in tracked if p.suffix in {".yml", ".yaml"}]
    assert documents
    for path in documents:
        yaml.load((root / path).read_text(), Loader=Loader)  # SafeLoader's child


def test_links_in_documents_lead_somewhere(root: Path, tracked: list[Path]) -> None:
    broken: list[str] = []
    for path in (p for p in tracked if p.suffix == ".md"):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", (root / path).read_text()):
            if not re.match(r"[a-z]+:", target) and not (root / path.parent / target).exists():
                broken.append(f"{path}: {target}")
    assert not broken


@pytest.mark.parametrize("pattern", ["roles/*/tasks/main.yml", "plugins/modules/*.py", "playbooks/*.yml", "molecule/*/molecule.yml"])
def test_globs_of_these_tests_match(root: Path, pattern: str) -> None:
    assert list(root.glob(pattern))


def test_action_group_lists_every_module(root: Path) -> None:
    modules = {p.stem for p in (root / "plugins/modules").glob("*.py") if p.stem != "__init__"}
    group = yaml.safe_load((root / "meta/runtime.yml").read_text())["action_groups"]["all"]
    assert set(group) == modules


def test_sanity_ignore_files_are_empty(root: Path) -> None:
    assert [str(p) for p in (root / "tests/sanity").glob("ignore-*.txt") if p.read_text().strip()] == []
