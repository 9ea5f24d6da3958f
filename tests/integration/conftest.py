# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One target is one group for pytest-xdist: its servers and names are its own, so targets may run side by side, tests of one may not."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
GROUPS = {
    **dict.fromkeys(("playbooks", "pg_image", "pg_access"), "engine"),
    **dict.fromkeys(("patroni_cluster_info", "patroni_config", "patroni_store", "pg_auth_method_cluster", "examples"), "cluster"),
}
"""Targets that share something are one group: the engine's images and networks, or one cluster."""
FIRST = ("engine", "cluster")
"""The long groups begin, so that none of them is left alone at the end."""


def group(item: pytest.Item) -> str:
    """The group of a test: its target, or the group of targets that this one belongs to."""
    target = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
    return GROUPS.get(target, target)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Gives each test its group. Not in pytest_collection_modifyitems: there pytest-xdist looks for it, and it comes first."""
    item.add_marker(pytest.mark.xdist_group(group(item)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long groups first."""
    items.sort(key=lambda item: FIRST.index(group(item)) if group(item) in FIRST else len(FIRST))
