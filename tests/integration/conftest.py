# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One target is one group for pytest-xdist: its servers and names are its own, so targets may run side by side, tests of one may not.

But for the playbooks, which are the longest: there each file has its own.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

HERE = Path(__file__).parent
GROUPS = dict.fromkeys(("patroni_cluster_info", "patroni_config", "patroni_store", "pg_auth_method_cluster", "examples"), "cluster")
"""Targets that share something are one group: here one cluster."""
FIRST = ("playbooks/test_variables.py", "cluster", "playbooks/test_up_down.py", "playbooks/test_bad_input.py", "pg_image", "pg_access")
"""The long groups begin, so that none of them is left alone at the end."""


def group(target: str, file: str) -> str:
    """The group that a file in a directory here belongs to."""
    return f"{target}/{file}" if target == "playbooks" else GROUPS.get(target, target)


class ByGroup(LoadScopeScheduling):  # type: ignore[misc]
    """A group stays on one worker. pytest-xdist's own groups (3.8) need a test's name to change, which pytest 9 does not allow."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        parts = Path(file).parts
        return group(parts[2], parts[-1]) if parts[:2] == ("tests", "integration") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: t.Any) -> ByGroup:
    """Takes the place of every --dist."""
    return ByGroup(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long groups first."""

    def rank(item: pytest.Item) -> int:
        name = group(item.path.relative_to(HERE).parts[0], item.path.name) if item.path.is_relative_to(HERE) else ""
        return FIRST.index(name) if name in FIRST else len(FIRST)

    items.sort(key=rank)
