# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_hba and pg_ident on a real cluster of three: the list as a file, proofs before, every member after, other writers."""

from __future__ import annotations

import concurrent.futures
import typing as t

import psycopg2
import pytest
from patroni_support import PASSWORDS, Cluster, Member

from .conftest import call

APP = {"type": "host", "databases": "postgres", "users": "app", "address": "127.0.0.1/32", "method": "scram-sha-256"}


@pytest.fixture(scope="module")
def people(running: Cluster) -> None:
    """A role that the first rules keep out."""
    running.wait_for_leader().sql("drop role if exists app; create role app login password 'pw-app'")


def enters(cluster: Cluster, user: str = "app", password: str = "pw-app") -> list[bool]:
    """Whether a client gets in, member by member."""

    def one(member: Member) -> bool:
        try:
            return member.sql("select 1", user=user, password=password) == [(1,)]
        except psycopg2.OperationalError as error:
            if "no pg_hba.conf entry" not in str(error):
                raise
            return False

    return [one(member) for member in cluster.members]


def rules(cluster: Cluster) -> list[str]:
    return t.cast("list[str]", cluster.config()["postgresql"]["pg_hba"])


def same_everywhere(cluster: Cluster) -> bool:
    """Whether each member's file is the list, and its server reads it without an error."""
    text = cluster.file_of(rules(cluster))
    errors = "select count(*) from pg_hba_file_rules where error is not null"
    return all(member.hba() == text and member.sql(errors) == [(0,)] for member in cluster.members)


@pytest.mark.usefixtures("people")
def test_a_section_is_written_loaded_everywhere_and_met_by_clients(cluster: Cluster) -> None:
    given = {"rules": [{**APP, "comment": "the order service"}], "section": "orders"}
    assert enters(cluster) == [False] * 3
    predicted = call("pg_hba", cluster, check=True, **given)
    assert predicted["changed"] is True
    assert rules(cluster) == cluster.first_rules(), "check mode wrote"
    made = call("pg_hba", cluster, **given)
    assert made["changed"] is True, made.get("msg")
    assert {name: predicted[name] for name in ("diff", "edits", "access_changes", "rules")} == {
        name: made[name] for name in ("diff", "edits", "access_changes", "rules")
    }
    assert [member["loaded"] for member in made["members"]] == [True] * 3
    begin, end = (f"# {word} pgops.access section: orders" for word in ("BEGIN", "END"))
    assert rules(cluster)[:4] == cluster.first_rules()
    assert (rules(cluster)[4], rules(cluster)[6]) == (begin, end)
    assert rules(cluster)[5].split() == ["host", "postgres", "app", "127.0.0.1/32", "scram-sha-256", "#", "the", "order", "service"]
    assert same_everywhere(cluster)
    assert enters(cluster) == [True] * 3
    for check in (True, False):
        again = call("pg_hba", cluster, check=check, **given)
        assert again["changed"] is False, again
    gone = call("pg_hba", cluster, section="orders", state="absent")
    assert gone["changed"] is True, gone.get("msg")
    assert rules(cluster) == cluster.first_rules()
    assert enters(cluster) == [False] * 3


def test_comments_and_other_owners_stay(cluster: Cluster) -> None:
    theirs = [*cluster.first_rules(), "", "# kept  as it is", "host  other  other 192.0.2.0/24\treject"]
    cluster.patch({"postgresql": {"pg_hba": theirs}})
    assert call("pg_hba", cluster, rules=[APP], section="b")["changed"] is True
    assert call("pg_hba", cluster, rules=[{**APP, "users": "aap"}], section="a", position="last")["changed"] is True
    assert rules(cluster)[: len(theirs)] == theirs
    names = [rule.rsplit(" ", 1)[1] for rule in rules(cluster) if rule.startswith("# BEGIN")]
    assert names == ["a", "b"]
    assert same_everywhere(cluster)


def test_an_expectation_that_would_break_leaves_the_cluster_untouched(cluster: Cluster) -> None:
    expect = [{"user": "app", "database": "postgres", "address": "203.0.113.1", "expect": "scram-sha-256"}]
    result = call("pg_hba", cluster, rules=[APP], expect=expect)
    assert result["failed"] is True
    assert "expected scram-sha-256, but no rule matches" in result["msg"]
    assert rules(cluster) == cluster.first_rules()


@pytest.mark.parametrize(
    ("left_out", "reason"),
    [(1, "replication"), (2, "pg_rewind by n1, rewinder to postgres"), (3, "the connection that manages the server")],
)
def test_the_clusters_own_clients_are_not_locked_out(cluster: Cluster, left_out: int, reason: str) -> None:
    kept = [rule for number, rule in enumerate(cluster.first_rules()) if number != left_out]
    result = call("pg_hba", cluster, rules=kept, exclusive=True)
    assert result["failed"] is True
    assert reason in result["msg"]
    assert "nothing was written" in result["msg"]
    assert rules(cluster) == cluster.first_rules()


def test_a_method_that_asks_for_something_else_locks_out_as_well(cluster: Cluster) -> None:
    result = call("pg_hba", cluster, rules=["host replication replicator 127.0.0.0/8 ldap ldapserver=192.0.2.9 ldapprefix=cn="], check=True)
    assert result["failed"] is True
    assert "nothing proves that it has what that takes instead of scram-sha-256" in result["msg"]


def test_a_stored_password_that_scram_refuses_locks_out_as_well(cluster: Cluster) -> None:
    """Whoever is connected stays so, and nobody would notice before the next failover."""
    first = cluster.first_rules()
    leader = cluster.wait_for_leader()
    cluster.patch({"postgresql": {"pg_hba": [first[0], first[1].replace("scram-sha-256", "md5"), *first[2:]]}})
    verifier = leader.sql("select rolpassword from pg_authid where rolname = 'replicator'")[0][0]
    leader.sql("set password_encryption = md5; alter role replicator password 'other'")
    try:
        result = call("pg_hba", cluster, rules=[first[1]], check=True)
    finally:
        leader.sql(f"alter role replicator password '{verifier}'")
    assert result["failed"] is True
    assert "refuses its stored password, an md5 one: see pg_auth_method" in result["msg"]
    assert call("pg_hba", cluster, rules=[first[1]])["changed"] is True


def test_patronis_own_way_in_stays_the_first_rule(cluster: Cluster) -> None:
    first, *others = cluster.first_rules()
    result = call("pg_hba", cluster, rules=[*others, first], exclusive=True)
    assert result["failed"] is True
    assert f"the first rule is not Patroni's own way in (local all {cluster.superuser} peer)" in result["msg"]
    assert rules(cluster) == cluster.first_rules()


def test_rules_are_read_as_the_clusters_release_reads_them(cluster: Cluster) -> None:
    result = call("pg_hba", cluster, rules=["host all all 203.0.113.0/24 nonsense"])
    assert result["failed"] is True
    assert 'invalid authentication method "nonsense"' in result["msg"]
    assert rules(cluster) == cluster.first_rules()


def test_invalid_rules_that_are_there_already(cluster: Cluster) -> None:
    """Patroni took them with status 200; the next start would fail. They are named, and exclusive heals them."""
    broken = [*cluster.first_rules(), "host all all 300.0.0.0/8 scram-sha-256"]
    cluster.patch({"postgresql": {"pg_hba": broken}})
    result = call("pg_hba", cluster, rules=[APP])
    assert result["failed"] is True
    assert 'line 5: specifying both host name and CIDR mask is invalid: "300.0.0.0/8"' in result["msg"]
    assert rules(cluster) == broken
    healed = call("pg_hba", cluster, rules=cluster.first_rules(), exclusive=True)
    assert healed["changed"] is True, healed["msg"]
    assert same_everywhere(cluster)


@pytest.mark.parametrize(
    ("value", "reason"),
    [("local all all trust", "is a string, not a list of lines"), (["host all all all reject", 7], "item 1 is a number")],
)
def test_a_list_that_is_none(cluster: Cluster, value: t.Any, reason: str) -> None:
    cluster.patch({"postgresql": {"pg_hba": value}})
    result = call("pg_hba", cluster, rules=[APP])
    assert result["failed"] is True
    assert reason in result["msg"]
    assert "patroni_config" in result["msg"]
    assert cluster.config()["postgresql"]["pg_hba"] == value
    healed = call("patroni_config", cluster, ask_servers=False, config={"postgresql": {"pg_hba": cluster.first_rules()}})
    assert healed["changed"] is True, healed.get("msg")
    cluster.wait(lambda: same_everywhere(cluster), "the list everywhere")


def test_a_cluster_without_a_list(cluster: Cluster) -> None:
    cluster.patch({"postgresql": {"pg_hba": None}})
    refused = call("pg_hba", cluster, rules=[APP])
    assert refused["failed"] is True
    assert "the dynamic configuration has no such list" in refused["msg"]
    made = call("pg_hba", cluster, rules=[APP], create=True)
    assert made["changed"] is True, made.get("msg")
    assert rules(cluster)[:4] == cluster.first_rules()
    assert same_everywhere(cluster)


def test_maps_on_a_cluster(cluster: Cluster) -> None:
    made = call("pg_ident", cluster, rules=["hosts certuser app"], exclusive=True, create=True)
    assert made["changed"] is True, made.get("msg")
    assert [member["loaded"] for member in made["members"]] == [True] * 3
    assert [line.split() for line in cluster.config()["postgresql"]["pg_ident"] if not line.startswith("#") and line] == [
        ["hosts", "certuser", "app"]
    ]
    for member in cluster.members:
        assert (member.data / "pg_ident.conf").read_text() == cluster.file_of(cluster.config()["postgresql"]["pg_ident"])
    assert call("pg_ident", cluster, rules=["hosts certuser app"], exclusive=True)["changed"] is False


# ------------------------------------------------------------------------------------------------------------------- other writers


def test_writers_at_the_same_time_all_stay(cluster: Cluster) -> None:
    """Four tasks, four sections, one cluster: none is lost, though Patroni would let the last one win."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(
            pool.map(lambda number: call("pg_hba", cluster, rules=[{**APP, "users": f"u{number}"}], section=f"s{number}"), range(4))
        )
    assert [result.get("msg") for result in done] == [None] * 4
    names = sorted(rule.rsplit(" ", 1)[1] for rule in rules(cluster) if rule.startswith("# BEGIN"))
    assert names == ["s0", "s1", "s2", "s3"]
    assert same_everywhere(cluster)


def test_nothing_secret_is_shown(cluster: Cluster) -> None:
    secret = "ldapbindpasswd=very-secret"
    rule = f"host all app 203.0.113.0/24 ldap ldapserver=l ldapbasedn=b ldapbinddn=c {secret}"
    result = call("pg_hba", cluster, rules=[rule], check=True)
    assert result["changed"] is True, result.get("msg")
    result.pop("invocation")
    text = str(result)
    assert "very-secret" not in text
    assert not any(password in text for password in PASSWORDS.values())
