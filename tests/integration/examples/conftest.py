# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the modules, their examples, and the world that these need."""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/integration")]

from examples.house import World, house  # noqa: E402

PREFIX = "pgops.access."
QUIET = {"ANSIBLE_LOCALHOST_WARNING": "0", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0", "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"}
RECAP = re.compile(r"^localhost\s+: ok=(\d+)\s+changed=\d+\s+unreachable=0\s+failed=0\s+skipped=0\s+rescued=0\s+ignored=0", re.MULTILINE)


def modules() -> list[str]:
    """Every module of the collection."""
    return sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py") if path.stem != "__init__")


def examples(name: str) -> str:
    """The EXAMPLES of a module, as they are written."""
    for node in ast.parse((ROOT / f"plugins/modules/{name}.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXAMPLES":
            return str(ast.literal_eval(node.value))
    raise AssertionError(f"{name} has no EXAMPLES")


def run(text: str, name: str, world: World, folder: Path) -> None:
    """Run examples as the tasks of one play; every task has to run, of this module one at least. Raises AssertionError."""
    for written, here in sorted(world.replace.items(), key=lambda item: -len(item[0])):
        text = text.replace(written, here)
    tasks = yaml.safe_load(text)
    assert any(PREFIX + name in task for task in tasks), f"no example uses {name}"
    defaults = {PREFIX + name: world.defaults} if world.defaults else {}
    play = {"hosts": "localhost", "gather_facts": False, "vars": world.variables, "module_defaults": defaults, "tasks": tasks}
    (folder / "examples.yml").write_text(json.dumps([play]))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), str(folder / "examples.yml"), "-v"]
    command += ["-e", f"ansible_python_interpreter={sys.executable}"]
    world.reset()
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **QUIET})
    recap = RECAP.search(done.stdout)
    assert recap is not None, done.stdout + done.stderr
    assert int(recap[1]) == len(tasks), done.stdout
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="session")
def in_the_house(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[World]:
    with house(tmp_path_factory.mktemp("house")) as world:
        yield world


@pytest.fixture
def world_of(request: pytest.FixtureRequest, tmp_path: Path) -> t.Iterator[t.Callable[[str], World]]:
    """The world that a module's examples need."""
    with contextlib.ExitStack() as stack:

        def find(name: str) -> World:
            if not (HERE / "worlds" / f"{name}.py").is_file():
                return t.cast(World, request.getfixturevalue("in_the_house"))
            return t.cast(World, stack.enter_context(importlib.import_module(f"examples.worlds.{name}").world(tmp_path)))

        yield find
