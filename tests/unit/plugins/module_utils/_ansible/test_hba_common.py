# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules for rules share: sentences, versions, and secrets that must not be seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.pgops.access.plugins.module_utils._ansible import hba_common
from ansible_collections.pgops.access.plugins.module_utils._hba.decide import InvalidClient
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Client, Server
from ansible_collections.pgops.access.plugins.module_utils._hba.ruleset import parse_text
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("host a b c ldap ldapbindpasswd=s3cret ldaptls=1", "host a b c ldap ldapbindpasswd=******** ldaptls=1"),
        ('x "ldapbindpasswd=s3 cr,et" y', 'x "ldapbindpasswd=********" y'),
        ('x ldapbindpasswd="s3 cr,et" y', "x ldapbindpasswd=******** y"),
        ('x "ldapbindpasswd"="s3 cr,et" y', 'x "ldapbindpasswd"=******** y'),
        ('x ldapbindpasswd=s3"c r"et y', "x ldapbindpasswd=******** y"),
        ('x "ldapbindpasswd=s3""c r" y', 'x "ldapbindpasswd=********" y'),
        ("x ldapbindpasswd=s3cret,ldaptls=1 # note", "x ldapbindpasswd=********,ldaptls=1 # note"),
        ("x radiussecrets=a radiussecrets=b\r\n", "x radiussecrets=******** radiussecrets=********\r\n"),
        ("#x ldapbindpasswd=s3cret\n", "#x ldapbindpasswd=********\n"),
        ("x ldapbindpasswd=s3\\\ncret y", "x ldapbindpasswd=******** y"),
        ("x ldapbindpasswd= y", "x ldapbindpasswd=******** y"),
        ("nothing here", "nothing here"),
    ],
)
def test_masked_line(line: str, masked: str) -> None:
    assert hba_common.masked_line(line) == masked


VALUE = st.text(st.characters(codec="utf-8", exclude_characters='\n\r\0"\\', exclude_categories=("Cs",)), min_size=3).map(
    lambda v: "§§§" + v
)


@settings(max_examples=300, deadline=None)
@given(VALUE)
def test_whatever_the_server_reads_as_the_secret_is_masked(value: str) -> None:
    text = f'local all all ldap ldapserver=x ldapbasedn=y "ldapbindpasswd={value}"\n'
    rules = parse_text(text.encode(), Server(16)).rules
    assert dict(rules[0].options)["ldapbindpasswd"] == value
    assert "§§§" not in hba_common.masked(text.encode(), Server(16))
    assert "§§§" not in str(hba_common.shown_rows(rules, Server(16)))


def test_secrets_of_given_rules() -> None:
    rules = [
        {"type": "host", "options": {"ldapbindpasswd": "one", "ldapserver": "public"}},
        {"type": "host", "options": ["ldapbindpasswd=two", "ldaptls=1"]},
        'host a b c ldap "ldapbindpasswd=th ree" ldapserver=x',
        "local all all trust",
    ]
    found = hba_common.secrets_in(rules)
    assert {"one", "two", "th ree"} <= found
    assert not found & {"public", "1", "x"}


def test_sentences_name_the_option() -> None:
    found = hba_common.sentences([{"user": "a", "address": None, "replication": False, "memberships": [], "expect": "allowed"}], "expect")
    assert found[0].client == Client("a", transport="local", memberships=("a",))
    assert found[0].expect == "allowed"
    with pytest.raises(InvalidClient, match=r"expect\[0\]: transport"):
        hba_common.sentences([{"user": "a", "transport": "carrier pigeon"}], "expect")


def test_the_release_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("14\n")
    assert hba_common.server_of_file(str(tmp_path / "pg_hba.conf"), None).major == 14
    assert hba_common.server_of_file(str(tmp_path / "pg_hba.conf"), "16.3") == Server(16, minor=3)
    assert hba_common.server_of_file("/etc/postgresql/17/main/pg_hba.conf", None).major == 17
    with pytest.raises(hba_common.Invalid, match="postgres_version"):
        hba_common.server_of_file("/srv/pg_hba.conf", None)


@pytest.mark.parametrize("text", ["", "9.6", "11", "20", "16.x", "sixteen", "16.3.1"])
def test_what_is_no_release(text: str) -> None:
    with pytest.raises(hba_common.Invalid, match="12 to 18"):
        hba_common.version_of(text)
