# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One target is one group for pytest-xdist: its servers and names are its own, so targets may run side by side, tests of one may not."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
LONG = ("playbooks", "pg_image")
"""They mostly wait for an engine: they begin first, so that none of them is left alone at the end."""
SHARED = ("patroni_cluster_info", "patroni_config", "patroni_store", "examples")
"""They share one cluster, so they are one group."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives each test its target's name as its group, the long targets first."""

    def target(item: pytest.Item) -> str:
        return item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""

    for item in items:
        item.add_marker(pytest.mark.xdist_group("cluster" if target(item) in SHARED else target(item)))
    items.sort(key=lambda item: LONG.index(target(item)) if target(item) in LONG else len(LONG))
