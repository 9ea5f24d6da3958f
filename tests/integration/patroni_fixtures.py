# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster that all tests of Patroni share, as it was in the beginning; conftests import what they offer."""

from __future__ import annotations

import typing as t

import patroni_support
import pytest
from differential import fetch
from patroni_support import Cluster
from pg_hba_info.conftest import run

MODULES = "ansible_collections.pgops.access.plugins.modules."


@pytest.fixture(scope="session")
def running() -> Cluster:
    try:
        return patroni_support.shared()
    except fetch.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    """Three members, healthy, with the configuration that they began with."""
    running.wait_for_all()
    if running.config() != running.dynamic():
        running.reset()
    return running


def call(name: str, cluster: Cluster, patroni: dict[str, t.Any] | None = None, *, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
    """One run of a module on the cluster, in a process of its own."""
    given = {**patroni_support.options(cluster, **(patroni or {})), **more}
    return run(given, module=MODULES + name, check=check)
