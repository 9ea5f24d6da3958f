# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The oldest Patroni that is supported, Debian bookworm's, which says less than later ones; others with PGOPS_PATRONI_RELEASES."""

from __future__ import annotations

import os
import typing as t

import patroni_support
import pytest
from differential import fetch
from patroni_support import Cluster

from .conftest import call
from .test_rules import APP, rules, same_everywhere

RELEASES = (os.environ.get("PGOPS_PATRONI_RELEASES") or "3.0.2").split(",")


@pytest.fixture(scope="module", params=RELEASES)
def other(request: pytest.FixtureRequest) -> t.Iterator[Cluster]:
    """Two members of another release."""
    cluster = Cluster(patroni_support.majors()[0], size=2, scope="other", release=request.param)
    try:
        cluster.start()
    except fetch.Unavailable as reason:
        pytest.skip(str(reason))
    try:
        yield cluster
    finally:
        cluster.stop()


def test_what_is_known_of_it(other: Cluster) -> None:
    shown = call("patroni_cluster_info", other)
    assert "failed" not in shown, shown.get("msg")
    assert [member["api_problem"] for member in shown["members"]] == [None] * 2
    assert sorted(member["role"] for member in shown["members"]) == ["leader", "replica"]
    assert {member["rules"]["pg_hba"]["source"] for member in shown["members"]} == {"dynamic_configuration"}
    assert shown["writable"]["pg_hba"]["effective"] is True


def test_rules_and_configuration_change_on_every_member(other: Cluster) -> None:
    given = {"rules": [APP], "section": "orders"}
    made = call("pg_hba", other, **given)
    assert made["changed"] is True, made.get("msg")
    assert [member["loaded"] for member in made["members"]] == [True] * 2
    assert same_everywhere(other)
    assert call("pg_hba", other, **given)["changed"] is False
    wanted = {"postgresql": {"parameters": {"work_mem": "5MB"}}}
    set_ = call("patroni_config", other, config=wanted)
    assert set_["changed"] is True, set_.get("msg")
    assert all(member.sql("show work_mem") == [("5MB",)] for member in other.members)
    assert call("patroni_config", other, config=wanted)["changed"] is False
    maps = call("pg_ident", other, rules=["hosts certuser app"], exclusive=True, create=True)
    assert maps["changed"] is True, maps.get("msg")


def test_its_own_clients_are_not_locked_out(other: Cluster) -> None:
    before = rules(other)
    kept = [rule for rule in other.first_rules() if "replicator" not in rule]
    refused = call("pg_hba", other, rules=kept, exclusive=True)
    assert refused["failed"] is True
    assert "replication" in refused["msg"]
    assert rules(other) == before


def test_a_hand_edit_is_found(other: Cluster) -> None:
    """Before 4.1 a reload does not write the file again, so the member is named instead of healed when nothing changes."""
    replica = other.replicas()[0]
    text = replica.hba()
    (replica.data / "pg_hba.conf").write_text(text + "host all all 192.0.2.77/32 trust\n")
    shown = call("patroni_cluster_info", other)
    assert {member["name"]: member["rules"]["pg_hba"]["source"] for member in shown["members"]}[replica.name] != "dynamic_configuration"
    made = call("pg_hba", other, rules=[{**APP, "users": "later"}], section="later")
    assert made["changed"] is True, made.get("msg")
    assert same_everywhere(other)


def test_auth_methods_are_audited(other: Cluster) -> None:
    audit = call("pg_auth_method", other)
    assert "failed" not in audit, audit.get("msg")
    assert audit["summary"]
