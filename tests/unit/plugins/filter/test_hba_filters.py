# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters, there and back, and as templates use them."""

from __future__ import annotations

import typing as t

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.pgops.access.plugins.filter.hba import FilterModule, hba_lines, hba_rules
from ansible_collections.pgops.access.plugins.module_utils._hba.meaning import meaning_of
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Server
from ansible_collections.pgops.access.plugins.module_utils._hba.ruleset import parse_text
from hypothesis import given, settings
from hypothesis import strategies as st

TEXT = """\
# heading
local all postgres peer # the owner [expires: 2099-12-31]

host db1, db2 "all",+staff,"+odd","a b" 10.0.0.0 255.0.0.0 ldap ldapserver=x "ldapsuffix=, dc=x" ldapprefix=y
host "replication",replication all "all" md5 map=a
"""


def test_from_text() -> None:
    text = TEXT.replace(" md5 map=a", " ident map=a map=b")
    assert hba_rules(text, 16) == [
        {"type": "local", "databases": ["all"], "users": ["postgres"], "method": "peer", "comment": "the owner", "expires": "2099-12-31"},
        {
            "type": "host",
            "databases": ["db1", "db2"],
            "users": ['"all"', "+staff", '"+odd"', "a b"],
            "address": "10.0.0.0",
            "netmask": "255.0.0.0",
            "method": "ldap",
            "options": {"ldapserver": "x", "ldapsuffix": ", dc=x", "ldapprefix": "y"},
        },
        {
            "type": "host",
            "databases": ['"replication"', "replication"],
            "users": ["all"],
            "address": '"all"',
            "method": "ident",
            "options": ["map=a", "map=b"],
        },
    ]


NAMES = st.one_of(
    st.text(st.characters(exclude_characters="\n\0\r\\", exclude_categories=("Cs",), codec="utf-8"), min_size=1, max_size=8).filter(
        lambda text: not text.startswith(("/", "@", '"'))
    ),
    st.sampled_from(["all", "sameuser", "replication", '"all"', '"+x"', '"@x"', '""""', '"a""b"', "+x", 'a"b', "a,b", "# x"]),
)
RULES = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["host", "hostssl", "hostnossl"]),
            "databases": st.lists(NAMES, min_size=1, max_size=3),
            "users": st.lists(NAMES, min_size=1, max_size=3),
            "address": st.sampled_from(["all", "10.0.0.0/8", "::1/128", "samenet", "db.example.com", '"all"']),
            "method": st.sampled_from(["md5", "reject", "scram-sha-256"]),
        }
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(RULES, st.sampled_from([13, 15, 16, 18]))
def test_there_and_back(rules: list[dict[str, t.Any]], major: int) -> None:
    """The text means the same as the text of what was read from it, to the server's last token and its quoting."""
    text = hba_lines(rules, major)
    again = hba_lines(hba_rules(text, str(major)), major)
    server = Server(major)
    first, second = (parse_text(one.encode(), server) for one in (text, again))
    assert first.loads
    assert [meaning_of(rule, server) for rule in first.rules] == [meaning_of(rule, server) for rule in second.rules]
    assert len(first.rules) == len(rules)


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda: hba_rules("local all all peer\nHOST a b c d\n", 16), 'line 2: invalid connection type "HOST"'),
        (lambda: hba_rules("include x\n", 16), "line 1: is an include record"),
        (lambda: hba_rules(["x"], 16), "a text is wanted, not list"),
        (lambda: hba_rules("", "sixteen"), "postgres_version"),
        (lambda: hba_lines("local all all peer", 16), "a list of rules is wanted"),
        (lambda: hba_lines([{"type": "local", "method": "md5", "users": ["a\nb"]}], 16), "rules[0].users[0]"),
        (lambda: hba_lines([{"type": "host", "address": "all", "method": "peer"}], 16), "only supported on local sockets"),
        (lambda: hba_lines([1], 16), "rules[0]: must be a dictionary or a line"),
    ],
)
def test_bad_input(work: t.Callable[[], t.Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as found:
        work()
    assert message in str(found.value)


def test_every_filter_is_documented() -> None:
    from pathlib import Path  # noqa: PLC0415 - only here

    folder = Path(__file__).resolve().parents[4] / "plugins/filter"
    assert {path.stem for path in folder.glob("*.yml")} == set(FilterModule().filters())
    for path in folder.glob("*.yml"):
        assert yaml.safe_load(path.read_text())["DOCUMENTATION"]["name"] == path.stem
