# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""patroni_cluster_info beside what the members' servers, their API and the DCS say."""

from __future__ import annotations

from patroni_support import Cluster

from .conftest import call

TIMELINE = {
    True: "select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int",
    False: "select received_tli from pg_stat_wal_receiver",
}
"""What is written to, or received; pg_control still tells the old one after a failover, until the next checkpoint."""


def test_what_the_cluster_says_of_itself(cluster: Cluster) -> None:
    leader = cluster.wait_for_leader()
    shown = call("patroni_cluster_info", cluster)
    assert shown["changed"] is False
    assert (shown["scope"], shown["leader"], shown["paused"]) == (cluster.scope, leader.name, False)
    assert shown["config"] == cluster.config()
    assert shown["config_problems"] == []
    assert shown["writable"]["pg_hba"] == {"exists": True, "effective": True, "reasons": {}}
    assert shown["writable"]["pg_ident"] == {"exists": False, "effective": True, "reasons": {}}
    for member, found in zip(cluster.members, shown["members"]):
        assert (found["name"], found["host"], found["port"]) == (member.name, member.address, member.port)
        assert (found["role"], found["state"]) == (("leader", "running") if member is leader else ("replica", "streaming"))
        assert found["timeline"] == member.sql(TIMELINE[member is leader])[0][0]
        assert found["lag"] == (None if member is leader else 0)
        version = member.sql("show server_version_num")[0][0]
        assert found["postgres_version"] == f"{int(version) // 10000}.{int(version) % 10000}"
        rules = found["rules"]["pg_hba"]
        assert rules["path"] == member.sql("show hba_file")[0][0]
        assert (rules["source"], rules["current"], rules["errors"], rules["loaded"]) == ("dynamic_configuration", True, [], True)


def test_rules_that_no_server_takes(cluster: Cluster) -> None:
    """Everything of Patroni's looks well with them, until the next start."""
    cluster.patch({"postgresql": {"pg_hba": [*cluster.first_rules(), "host all all 0.0.0.0/0 nonsense"]}})
    cluster.wait(lambda: all("nonsense" in member.hba() for member in cluster.members), "the broken list everywhere")
    shown = call("patroni_cluster_info", cluster)
    for found in shown["members"]:
        assert found["rules"]["pg_hba"]["loaded"] is False
        assert [error["line_number"] for error in found["rules"]["pg_hba"]["errors"]] == [7]


def test_without_the_servers(cluster: Cluster) -> None:
    shown = call("patroni_cluster_info", cluster, ask_servers=False, login_password="not-that-one")
    assert [member["rules"] for member in shown["members"]] == [{"pg_hba": None, "pg_ident": None}] * 3
    assert shown["writable"]["pg_hba"]["effective"] is None


def test_a_wrong_password_is_each_members_problem(cluster: Cluster) -> None:
    shown = call("patroni_cluster_info", cluster, login_password="not-that-one")
    assert all("password authentication failed" in member["server_problem"] for member in shown["members"])
