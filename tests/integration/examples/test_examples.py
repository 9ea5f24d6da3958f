# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every example of every module runs, as it is written but for the names of this machine, against real servers."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from .conftest import HERE, World, examples, modules, run

GOOD = """
- name: What a text means
  pgops.access.pg_hba_info:
    content: local all all peer
    postgres_version: "16"
"""


@pytest.mark.parametrize("name", modules())
def test_the_examples_run(name: str, world_of: t.Callable[[str], World], tmp_path: Path) -> None:
    run(examples(name), name, world_of(name), tmp_path)


def test_every_world_has_its_module() -> None:
    assert {path.stem for path in (HERE / "worlds").glob("*.py")} - {"__init__"} <= set(modules())


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("content:", "contents:"),
        GOOD.replace("local all", "locally all") + "    clients: [{user: a, expect: peer}]\n",
        GOOD + "  when: false\n",
        GOOD.replace("content:", "contents:") + "  ignore_errors: true\n",
        GOOD.replace(
            'pgops.access.pg_hba_info:\n    content: local all all peer\n    postgres_version: "16"', "ansible.builtin.debug:\n    msg: x"
        ),
    ],
)
def test_what_cannot_run_is_noticed(text: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        run(text, "pg_hba_info", World({}), tmp_path)


def test_what_runs_is_accepted(tmp_path: Path) -> None:
    run(GOOD, "pg_hba_info", World({}), tmp_path)
