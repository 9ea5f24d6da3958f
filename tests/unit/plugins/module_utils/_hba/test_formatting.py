# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Formatting: canonical lines, the same meaning, everything else untouched."""

from __future__ import annotations

import os

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba.formatting import formatted
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Rule, Server
from ansible_collections.pgops.access.plugins.module_utils._hba.ruleset import parse_text
from hypothesis import given, settings
from hypothesis import strategies as st

FACTOR = 10 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 1

RAW = (
    b'# header  \r\n\r\n  local all,all   postgres peer#why\r\nhost "a","all" +"my g" 10.1.1.1  255.0.0.0 ldap ldapport=1 \'x\'\r\n'
    b'host \\\r\n  a b 10.0.0.0/8 \\\r\n md5 # c\r\nhost "a" b 2001:DB8::/32 ldap "ldapprefix=x y"\r\ninclude  other\r\nbroken   line'
)
FORMATTED = (
    b"# header  \r\n\r\nlocal   all,all         postgres                                peer  # why\r\n"
    b'host "a","all" +"my g" 10.1.1.1  255.0.0.0 ldap ldapport=1 \'x\'\r\n'
    b"host    a               b               10.0.0.0/8              md5  # c\r\n"
    b'host    a               b               2001:DB8::/32           ldap "ldapprefix=x y"\r\ninclude  other\r\nbroken   line'
)


def test_rules_are_aligned_and_the_rest_stays() -> None:
    assert formatted(RAW, Server(16)) == FORMATTED


def rows(raw: bytes, server: Server) -> list[tuple[object, ...]]:
    """What the server would make of it, without the places."""
    return [
        (row.type, [t.text for t in row.databases], [t.text for t in row.users], row.address, row.method, row.options)
        if isinstance(row, Rule)
        else (row.message,)
        for row in parse_text(raw, server).rows
    ]


WORDS = st.sampled_from(
    [
        *(
            [
                "local",
                "host",
                "hostssl",
                "all",
                "a,b",
                "+g",
                "@f",
                "10.0.0.0/8",
                "::1/128",
                "md5",
                "peer",
                "trust",
                "cert",
                "clientcert=verify-ca",
                "map=m",
                "/^x$",
                "#c",
            ]
        ),
        *('"all"', "a , b", '"x y"', "10.0.0.0 255.0.0.0", '"map=a b"', "# c \\", "# [expires: 2020-01-01]"),
        *("\\\n", "\n", "\n", "\r\n", "\t", ",", '"', "\0", "\r"),
    ]
)


@settings(max_examples=250 * FACTOR, deadline=None)
@given(st.lists(WORDS, max_size=25).map(" ".join), st.sampled_from([12, 14, 16, 18]))
def test_the_meaning_stays_and_twice_is_once(text: str, major: int) -> None:
    server = Server(major)
    raw = text.encode()
    once = formatted(raw, server)
    assert rows(once, server) == rows(raw, server)
    assert formatted(once, server) == once


@pytest.mark.parametrize("raw", [b"", b"\n", b"\xff\xfe", b"local all all trust\0x\nlocal all all trust\n"])
def test_anything_is_taken(raw: bytes) -> None:
    assert isinstance(formatted(raw, Server(15)), bytes)
