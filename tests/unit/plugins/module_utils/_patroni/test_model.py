# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dynamic configuration as values: merge, difference, structure, lists as text."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.pgops.access.plugins.module_utils._patroni import client, errors, model
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.sampled_from(["ttl", "postgresql", "parameters", "pg_hba", "x"])
LEAVES = st.one_of(st.integers(0, 3), st.booleans(), st.sampled_from(["1", "True", "a"]), st.lists(st.sampled_from(["a", "b"]), max_size=2))
CONFIGS = st.recursive(
    st.dictionaries(NAMES, LEAVES, max_size=3), lambda inner: st.dictionaries(NAMES, LEAVES | inner, max_size=3), max_leaves=6
)


@given(CONFIGS, CONFIGS)
def test_the_difference_makes_one_of_the_other(before: dict[str, t.Any], after: dict[str, t.Any]) -> None:
    """As far as Patroni sees a difference: values that are equal as text stay as they were."""
    change = model.change_between(before, after)
    made = model.merged(before, change)
    assert model.change_between(made, after) == {}
    assert str(made.keys() - after.keys()) == "set()"
    assert model.merged(made, change) == made, "twice is once"


@pytest.mark.parametrize(
    ("config", "change", "made"),
    [
        ({"a": 1}, {"b": {"c": 2}}, {"a": 1, "b": {"c": 2}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
        ({"a": 1}, {"a": "1"}, {"a": 1}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
        ({"a": {"b": 2}}, {"a": 1}, {"a": 1}),
        ({}, {"a": None}, {}),
    ],
)
def test_merge_as_patroni_does(config: dict[str, t.Any], change: dict[str, t.Any], made: dict[str, t.Any]) -> None:
    before = str(config)
    assert model.merged(config, change) == made
    assert str(config) == before, "the old one is not touched"


@given(st.lists(st.text(st.characters(blacklist_characters="\n", blacklist_categories=("Cs",)), max_size=8), max_size=5))
def test_a_list_is_the_text_of_its_lines(rules: list[str]) -> None:
    assert model.rules_of(model.text_of(rules)) == rules
    assert model.file_of(model.text_of(rules)) == model.HEADER + model.text_of(rules)


def test_an_item_of_two_lines_is_two_lines() -> None:
    assert model.rules_of(model.text_of(["a\nb", "c"])) == ["a", "b", "c"]


def test_bytes_that_json_cannot_carry() -> None:
    with pytest.raises(errors.InvalidConfiguration, match="not UTF-8"):
        model.rules_of(b"host all \xff all reject\n")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"postgresql": []}, "is a list, not a mapping"),
        ({"postgresql": {"pg_hba": "x"}}, "is a string, not a list of lines"),
        ({"postgresql": {"pg_hba": ["a", None]}}, "item 1 is a null"),
    ],
)
def test_lists_that_are_none(config: dict[str, t.Any], reason: str) -> None:
    with pytest.raises(errors.InvalidConfiguration, match=reason):
        model.rules_in(config, "pg_hba")


def test_no_list() -> None:
    assert model.rules_in({}, "pg_hba") is None
    assert model.rules_in({"postgresql": {"pg_hba": None}}, "pg_hba") is None


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (None, None),
        ("/data/pg_hba.conf", None),
        ("pg_hba.conf", None),
        ("./pg_hba.conf", None),
        ("other.conf", "/data/other.conf"),
        ("/etc/pg_hba.conf", "/etc/pg_hba.conf"),
    ],
)
def test_a_file_elsewhere(value: str | None, path: str | None) -> None:
    assert model.moved({"postgresql": {"parameters": {"hba_file": value}}}, "pg_hba", "/data") == path


@pytest.mark.parametrize(
    ("config", "count"),
    [
        ({}, 0),
        ({"ttl": 30, "loop_wait": 10, "retry_timeout": 10}, 0),
        ({"ttl": "30", "pause": "on", "synchronous_mode": "quorum"}, 0),
        ({"ttl": 20}, 1),
        ({"ttl": True}, 1),
        ({"pause": "perhaps"}, 1),
        ({"retry_timeout": 2, "maximum_lag_on_failover": -1}, 2),
        ({"postgresql": {"parameters": {"a": {}}, "use_slots": 3, "listen": "x", "pg_ident": [1]}}, 4),
    ],
)
def test_problems(config: dict[str, t.Any], count: int) -> None:
    assert len(model.problems(config)) == count, model.problems(config)


def test_a_cluster() -> None:
    found = {"members": [{"name": "a", "role": "leader", "state": "running", "host": "h", "port": 5, "api_url": "u", "lag": "unknown"}]}
    cluster = model.cluster_of(found, "here")
    assert cluster.leader is not None
    assert (cluster.leader.name, cluster.leader.lag, cluster.pause) == ("a", None, False)
    for wrong in ({}, {"members": 1}, {"members": [1]}, {"members": [{}]}):
        with pytest.raises(errors.PatroniError, match="does not answer as Patroni does"):
            model.cluster_of(wrong, "here")


@pytest.mark.parametrize("url", ["", "db1:8008", "ftp://db1", "http://", "http://u:p@db1:8008", "http://db1:port", "http://db1\n:8008"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(errors.PatroniError, match="is no URL"):
        client.Client(client.Access((url,)))


def test_urls() -> None:
    api = client.Client(client.Access(("https://db1:8008/patroni", "http://[::1]:8008", "http://db2")))
    assert api.urls == ["https://db1:8008", "http://[::1]:8008", "http://db2"]
    with pytest.raises(errors.PatroniError, match="no URL is given"):
        client.Client(client.Access(()))
