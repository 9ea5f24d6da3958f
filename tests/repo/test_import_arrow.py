# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports point one way (docs/architecture.md). The code is read, not run, so lazy imports count too."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

UTILS = "plugins/module_utils"
# For each package: which of our packages it may import. Nothing else.
ALLOWED: dict[str, set[str]] = {
    "_hba": set(),
    "_auth": {"_hba"},
    "_store": {"_hba"},
    "_patroni": {"_hba", "_store"},
    "_server": {"_hba", "_auth"},
    "_ansible": {"_hba", "_auth", "_store", "_patroni", "_server"},
}
# Third parties, by package. Standard library is always allowed.
THIRD_PARTY: dict[str, set[str]] = {"_server": {"psycopg2"}, "_ansible": {"ansible"}}
# These run on any target and in the container before anything is installed.
NO_IO = {"_hba", "_auth"}
IO_MODULES = {"socket", "subprocess", "urllib", "http", "tempfile", "shutil", "fcntl", "asyncio", "selectors"}
# The engine's command line prints; host.py reads this machine's files and names for it and for the modules.
# Elsewhere numeric addresses are read with the C library's inet_pton, which does no I/O.
IO_FILES = {"_hba/__main__.py", "_hba/host.py"}
PURE_SOCKET_NAMES = {"inet_pton", "inet_ntop", "inet_aton", "inet_ntoa", "AF_INET", "AF_INET6", "error", "gaierror"}


def imported(tree: ast.AST, package_parts: list[str]) -> list[tuple[int, str]]:
    """Absolute dotted names that a file imports, with their lines; relative imports resolved inside module_utils."""
    names: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                names.append((node.lineno, node.module or ""))
                continue
            base = package_parts[: len(package_parts) - (node.level - 1)]
            if node.module:
                names.append((node.lineno, "ours." + ".".join([*base, node.module])))
            else:
                names += [(node.lineno, "ours." + ".".join([*base, alias.name])) for alias in node.names]
    return names


def python_files(root: Path, package: str) -> list[Path]:
    return sorted((root / UTILS / package).rglob("*.py"))


def packages(root: Path) -> list[str]:
    return sorted(p.name for p in (root / UTILS).iterdir() if p.is_dir() and not p.name.startswith("__"))


def test_every_package_has_its_place_in_the_arrow(root: Path) -> None:
    assert packages(root), "module_utils holds no package"
    assert set(packages(root)) <= set(ALLOWED)


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_point_down(root: Path, package: str) -> None:
    wrong: list[str] = []
    for path in python_files(root, package):
        relative = path.relative_to(root / UTILS)
        for line, name in imported(ast.parse(path.read_text()), list(relative.parts[:-1])):
            if name.startswith("ansible_collections.pgops"):
                wrong.append(f"{relative}:{line}: absolute import {name}; inside module_utils imports are relative")
                continue
            top = name.split(".")[1] if name.startswith("ours.") else name.split(".")[0]
            ours = name.startswith("ours.")
            fine = (
                (top == package or top in ALLOWED[package])
                if ours
                else top in sys.stdlib_module_names or top in THIRD_PARTY.get(package, set())
            )
            if not fine:
                wrong.append(f"{relative}:{line}: {package} may not import {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", sorted(NO_IO))
def test_pure_packages_do_no_io(root: Path, package: str) -> None:
    wrong: list[str] = []
    for path in python_files(root, package):
        relative = path.relative_to(root / UTILS).as_posix()
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"open", "print", "input"}:
                if relative not in IO_FILES:
                    wrong.append(f"{relative}:{node.lineno}: {node.func.id}()")
            elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "socket" and node.attr not in PURE_SOCKET_NAMES:
                if relative in IO_FILES:
                    continue
                wrong.append(f"{relative}:{node.lineno}: socket.{node.attr}")
        for line, name in imported(tree, []):
            top = name.split(".")[0]
            if top in IO_MODULES - {"socket"} and relative not in IO_FILES:
                wrong.append(f"{relative}:{line}: import {name}")
    assert not wrong, "\n".join(wrong)


def test_only_ansible_package_and_plugins_import_ansible(root: Path) -> None:
    users = {
        path.relative_to(root / UTILS).parts[0]
        for path in (root / UTILS).rglob("*.py")
        if any(name.split(".")[0] == "ansible" for _line, name in imported(ast.parse(path.read_text()), []))
    }
    assert users <= {"_ansible"}


def test_the_walk_would_notice(root: Path) -> None:
    """The test's own teeth: an arrow that points up is seen."""
    tree = ast.parse("from .._ansible import run\nfrom . import model\nimport ansible.module_utils.basic")
    assert [name for _line, name in imported(tree, ["_hba"])] == ["ours._ansible", "ours._hba.model", "ansible.module_utils.basic"]
