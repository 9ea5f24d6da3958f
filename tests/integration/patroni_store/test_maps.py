# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""User name maps by which a cluster lives: Patroni gets into its servers through one, as in this collection's image."""

from __future__ import annotations

import typing as t

import pytest
from patroni_support import Cluster

from .conftest import call


@pytest.fixture
def mapped(cluster: Cluster) -> t.Iterator[Cluster]:
    """Patroni's superuser gets in by the map ``own``; another map is for somebody else."""
    first, *others = cluster.first_rules()
    wanted = {"pg_hba": [f"{first} map=own", *others], "pg_ident": [own(cluster), "other somebody app"]}
    cluster.patch({"postgresql": wanted})
    loaded = "select count(*) from pg_hba_file_rules where options = '{map=own}'"
    cluster.wait(lambda: all(member.sql(loaded) == [(1,)] for member in cluster.members), "the map's rule everywhere")
    # New sessions of Patroni's own, so that there is somebody to lock out.
    for member in cluster.members:
        member.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'Patroni%'")
    sessions = "select count(*) > 0 from pg_stat_activity where application_name like 'Patroni%'"
    cluster.wait(lambda: all(member.sql(sessions) == [(True,)] for member in cluster.members), "Patroni's sessions")
    yield cluster
    cluster.reset()
    cluster.patch({"postgresql": {"pg_ident": None}})


def own(cluster: Cluster) -> str:
    return f"own {cluster.superuser} {cluster.superuser}"


def maps(cluster: Cluster) -> list[str]:
    return [line for line in cluster.config()["postgresql"]["pg_ident"] if line and not line.startswith("#")]


def test_the_map_that_lets_patroni_in_may_not_go(mapped: Cluster) -> None:
    before = mapped.config()
    for given in ({"rules": ["other somebody app"], "exclusive": True}, {"rules": [own(mapped)], "state": "absent"}):
        refused = call("pg_ident", mapped, **given)
        assert refused["failed"] is True, refused
        assert "nothing was written, because the cluster would lock itself out" in refused["msg"]
        assert f"which is how the cluster's own {mapped.superuser} gets in" in refused["msg"]
    assert mapped.config() == before
    warned = call("pg_ident", mapped, check=True, rules=["other somebody app"], exclusive=True, lockout="warn")
    assert warned["changed"] is True, warned.get("msg")
    assert f"which is how the cluster's own {mapped.superuser} gets in" in str(warned["warnings"])
    silent = call("pg_ident", mapped, check=True, rules=["other somebody app"], exclusive=True, lockout="ignore")
    assert silent["changed"] is True, silent.get("msg")
    assert "gets in" not in str(silent.get("warnings"))


def test_other_maps_are_their_owners(mapped: Cluster) -> None:
    gone = call("pg_ident", mapped, rules=["other somebody app"], state="absent")
    assert gone["changed"] is True, gone.get("msg")
    assert maps(mapped) == [own(mapped)]
    # Written in another way it lets the same one in: no lockout.
    same = f"own /^({mapped.superuser})$ \\1"
    moved = call("pg_ident", mapped, rules=[same], exclusive=True)
    assert moved["changed"] is True, moved.get("msg")
    assert [line.split() for line in maps(mapped)] == [same.split()]
    for member in mapped.members:
        member.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'Patroni%'")
    mapped.wait(lambda: all(member.ask("/health")[0] == 200 for member in mapped.members), "Patroni gets in again by it")
