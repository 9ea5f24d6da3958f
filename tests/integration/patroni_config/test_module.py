# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""patroni_config on a real cluster: what the DCS and the servers hold afterwards, asked of them."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import typing as t

import pytest
from patroni_support import Cluster

from .conftest import call


def parameter(cluster: Cluster, name: str) -> list[str]:
    """A parameter on every server, in a new session."""
    return [member.sql(f"select current_setting('{name}')")[0][0] for member in cluster.members]


def config(cluster: Cluster, given: dict[str, t.Any], patroni: dict[str, t.Any] | None = None, **more: t.Any) -> dict[str, t.Any]:
    return call("patroni_config", cluster, patroni, config=given, **more)


def test_a_parameter_reaches_every_server(cluster: Cluster) -> None:
    given = {"postgresql": {"parameters": {"work_mem": "5MB"}}}
    before = cluster.config()
    predicted = config(cluster, given, check=True)
    assert predicted["changed"] is True
    assert cluster.config() == before, "check mode wrote"
    made = config(cluster, given)
    assert made["changed"] is True, made.get("msg")
    assert made["diff"] == predicted["diff"]
    assert made["patch"] == given
    assert cluster.config()["postgresql"]["parameters"] == {**before["postgresql"]["parameters"], "work_mem": "5MB"}
    assert parameter(cluster, "work_mem") == ["5MB"] * 3
    assert [member["has_config"] for member in made["members"]] == [True] * 3
    assert made["pending_restart"] == []
    again = config(cluster, given)
    assert again["changed"] is False, again
    gone = config(cluster, {"postgresql": {"parameters": {"work_mem": None}}})
    assert gone["changed"] is True
    assert cluster.config() == before


def test_a_parameter_that_needs_a_restart_is_reported(cluster: Cluster) -> None:
    made = config(cluster, {"postgresql": {"parameters": {"max_connections": 45}}})
    assert made["changed"] is True, made.get("msg")
    assert made["pending_restart"] == ["n1", "n2", "n3"]
    assert made["members"][0]["pending_restart_reason"] == {"max_connections": {"old_value": "40", "new_value": "45"}}
    assert parameter(cluster, "max_connections") == ["40"] * 3
    shown = call("patroni_cluster_info", cluster)
    assert shown["pending_restart"] == ["n1", "n2", "n3"]
    back = config(cluster, {"postgresql": {"parameters": {"max_connections": 40}}})
    assert back["pending_restart"] == []


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"loop_wait": "abc"}, "loop_wait: 'abc' is no number of at least 1"),
        ({"ttl": 5}, "ttl: 5 is no number of at least 20"),
        ({"loop_wait": 12}, "ttl: 20 is less than loop_wait + 2 * retry_timeout = 22"),
        ({"postgresql": "x"}, "postgresql: is a string, not a mapping"),
        ({"synchronous_mode": "sometimes"}, "is none of true, false and quorum"),
        ({"postgresql": {"pg_hba": "local all all peer"}}, "postgresql.pg_hba: is a string"),
        ({"postgresql": {"pg_hba": []}}, "is empty, which Patroni ignores"),
        ({"postgresql": {"data_dir": "/elsewhere"}}, "read from each member's own configuration only"),
        ({"postgresql": {"parameters": {"work_mem": ["5MB"]}}}, "which no parameter of PostgreSQL is"),
    ],
)
def test_what_patroni_would_choke_on_is_refused(cluster: Cluster, given: dict[str, t.Any], reason: str) -> None:
    before = cluster.config()
    result = config(cluster, given)
    assert result["failed"] is True
    assert reason in result["msg"]
    assert cluster.config() == before


def test_rules_are_judged_as_pg_hba_judges_them(cluster: Cluster) -> None:
    rules = cluster.first_rules()
    broken = config(cluster, {"postgresql": {"pg_hba": [*rules, "host all all 0.0.0.0/0 nonsense"]}})
    assert 'invalid authentication method "nonsense"' in broken["msg"]
    shut = config(cluster, {"postgresql": {"pg_hba": [rules[0], *rules[2:]]}})
    assert "replication" in shut["msg"]
    assert "would not get in" in shut["msg"]
    assert cluster.config()["postgresql"]["pg_hba"] == rules


def test_a_broken_configuration_is_healed_by_the_api_alone(cluster: Cluster) -> None:
    """Patroni stored it with status 200, and its loop fails on every member until somebody corrects it."""
    cluster.patch({"loop_wait": "abc"})
    shown = call("patroni_cluster_info", cluster, ask_servers=False)
    assert shown["config_problems"] == ["loop_wait: 'abc' is no number of at least 1"]
    healed = config(cluster, {"loop_wait": 2}, ask_servers=False, wait=False)
    assert healed["changed"] is True, healed.get("msg")
    cluster.wait_for_all()
    assert cluster.config() == cluster.dynamic()


def test_replaced_leaves_nothing_else(cluster: Cluster) -> None:
    cluster.patch({"synchronous_node_count": 2, "postgresql": {"parameters": {"work_mem": "7MB"}}})
    made = config(cluster, cluster.dynamic(), state="replaced")
    assert made["changed"] is True, made.get("msg")
    assert made["patch"] == {"synchronous_node_count": None, "postgresql": {"parameters": {"work_mem": None}}}
    assert cluster.config() == cluster.dynamic()


def test_writers_at_the_same_time_all_stay(cluster: Cluster) -> None:
    names = ["work_mem", "maintenance_work_mem", "temp_buffers", "log_temp_files"]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda name: config(cluster, {"postgresql": {"parameters": {name: "9MB"}}}, wait=False), names))
    assert [result.get("msg") for result in done] == [None] * 4
    assert {name: cluster.config()["postgresql"]["parameters"].get(name) for name in names} == dict.fromkeys(names, "9MB")


def test_a_member_that_does_not_take_it(cluster: Cluster) -> None:
    """Its Patroni hangs: the old configuration comes back."""
    late = cluster.replicas()[-1]
    assert late.process is not None
    os.kill(late.process.pid, signal.SIGSTOP)
    try:
        result = config(cluster, {"postgresql": {"parameters": {"work_mem": "6MB"}}}, {"wait": 3.0, "timeout": 4.0})
    finally:
        os.kill(late.process.pid, signal.SIGCONT)
    assert result["failed"] is True
    assert late.name in result["msg"]
    assert "The old configuration is back" in result["msg"]
    assert cluster.config() == cluster.dynamic()


def test_secrets_are_not_shown(cluster: Cluster) -> None:
    result = config(cluster, {"standby_cluster": {"host": "h", "some_password": "very-secret"}}, check=True)
    assert result["changed"] is True
    assert "very-secret" not in str(result)
    assert "some_password" in str(result["patch"])
