# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One target is one group for pytest-xdist: its servers and names are its own, so targets may run side by side, tests of one may not."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

HERE = Path(__file__).parent
GROUPS = {
    **dict.fromkeys(("playbooks", "pg_image", "pg_access"), "engine"),
    **dict.fromkeys(("patroni_cluster_info", "patroni_config", "patroni_store", "pg_auth_method_cluster", "examples"), "cluster"),
}
"""Targets that share something are one group: the engine's images and networks, or one cluster."""
FIRST = ("engine", "cluster")
"""The long groups begin, so that none of them is left alone at the end."""


def group(target: str) -> str:
    """The group that a directory here belongs to."""
    return GROUPS.get(target, target)


class ByGroup(LoadScopeScheduling):  # type: ignore[misc]
    """A group stays on one worker. pytest-xdist's own groups (3.8) need a test's name to change, which pytest 9 does not allow."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        parts = Path(file).parts
        return group(parts[2]) if parts[:2] == ("tests", "integration") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: t.Any) -> ByGroup:
    """Takes the place of every --dist."""
    return ByGroup(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long groups first."""

    def rank(item: pytest.Item) -> int:
        name = group(item.path.relative_to(HERE).parts[0]) if item.path.is_relative_to(HERE) else ""
        return FIRST.index(name) if name in FIRST else len(FIRST)

    items.sort(key=rank)
