# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_auth_method on a real cluster of three: the setting and the rules in the dynamic configuration, passwords on the leader."""

from __future__ import annotations

import typing as t

import psycopg2
import pytest
from patroni_support import Cluster

from .conftest import call

ROLES = {"oldie": "pw of oldie", "other": "pw of other"}
RULES = ["host postgres oldie 127.0.0.0/8 md5", "host postgres other 127.0.0.0/8 md5"]


@pytest.fixture
def md5(cluster: Cluster) -> t.Iterator[Cluster]:
    """Two roles with md5 passwords, and rules for them above the others."""
    leader = cluster.wait_for_leader()
    for name, password in ROLES.items():
        leader.sql(f"drop role if exists {name}")
        leader.sql(f"set password_encryption = 'md5'; create role {name} login password '{password}'")
    first = cluster.first_rules()
    cluster.patch({"postgresql": {"pg_hba": [first[0], *RULES, *first[1:]], "parameters": {"password_encryption": "md5"}}})
    cluster.wait(lambda: all(setting(cluster) == "md5" and enters(cluster, name) for name in ROLES), "the first rules")
    yield cluster
    cluster.reset()
    cluster.patch({"postgresql": {"parameters": {"password_encryption": None}}})


def setting(cluster: Cluster) -> str:
    found = {member.sql("show password_encryption")[0][0] for member in cluster.members}
    return str(found.pop()) if len(found) == 1 else "different"


def enters(cluster: Cluster, user: str) -> bool:
    """Whether a role gets in on every member."""
    try:
        return all(member.sql("select 1", user=user, password=ROLES[user]) == [(1,)] for member in cluster.members)
    except psycopg2.OperationalError:
        return False


def methods(cluster: Cluster) -> list[str]:
    """Of our two rules, on every member, as its server sees them."""
    sql = "select auth_method from pg_hba_file_rules where user_name && '{oldie,other}' order by line_number"
    found = [[row[0] for row in member.sql(sql)] for member in cluster.members]
    assert found[0] == found[1] == found[2]
    return found[0]


def test_a_cluster_moves(md5: Cluster) -> None:
    audit = call("pg_auth_method", md5)
    assert "failed" not in audit, audit.get("msg")
    held = {rule["text"]: rule["held_back_by"] for rule in audit["rules"] if rule["state"] == "held_back"}
    assert held == {RULES[0]: ["oldie"], RULES[1]: ["other"]}
    arguments: dict[str, t.Any] = {"state": "migrated", "passwords": {"oldie": ROLES["oldie"]}}
    predicted = call("pg_auth_method", md5, check=True, **arguments)
    assert predicted["changed"] is True, predicted.get("msg")
    assert (methods(md5), setting(md5)) == (["md5", "md5"], "md5"), "check mode wrote"
    made = call("pg_auth_method", md5, **arguments)
    assert "failed" not in made, made.get("msg")
    assert made["rehashed"] == ["oldie"]
    assert made["edits"] == predicted["edits"]
    assert methods(md5) == ["scram-sha-256", "md5"]
    assert setting(md5) == "scram-sha-256"
    assert md5.config()["postgresql"]["parameters"]["password_encryption"] == "scram-sha-256"
    assert all(enters(md5, name) for name in ROLES)
    assert made["logins"]
    assert all(login["met"] for login in made["logins"])
    again = call("pg_auth_method", md5, **arguments)
    assert again["changed"] is False, again.get("msg", again.get("steps"))
    rest = call("pg_auth_method", md5, state="migrated", passwords=ROLES)
    assert "failed" not in rest, rest.get("msg")
    assert methods(md5) == ["scram-sha-256", "scram-sha-256"]
    assert all(enters(md5, name) for name in ROLES)
    back = call("pg_auth_method", md5, state="migrated", only={"rules": RULES}, **{"from": ["scram-sha-256"], "to": "md5"})
    assert "failed" not in back, back.get("msg")
    assert methods(md5) == ["md5", "md5"]


def test_a_wrong_password_changes_nothing(md5: Cluster) -> None:
    before = md5.config()
    result = call("pg_auth_method", md5, state="migrated", passwords={"oldie": "wrong"})
    assert result["failed"] is True
    assert "the given password is not the stored one" in result["msg"]
    assert md5.config() == before
    assert enters(md5, "oldie")


def test_logins_that_fail_bring_the_old_list_back(md5: Cluster) -> None:
    arguments: dict[str, t.Any] = {"state": "migrated", "passwords": ROLES, "vouched": True, "only": {"rules": [RULES[0]]}}
    before = md5.config()["postgresql"]["pg_hba"]
    result = call("pg_auth_method", md5, **arguments, **{"from": ["md5"], "to": "ident"})
    assert result["failed"] is True
    assert "logins by the changed rules fail" in result["msg"]
    assert md5.config()["postgresql"]["pg_hba"] == before
    assert all(enters(md5, name) for name in ROLES)
