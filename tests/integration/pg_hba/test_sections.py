# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several sections in one task: all of them or none, and what is wrong is named by its place in the list."""

from __future__ import annotations

import typing as t

import pytest

from .conftest import File

LOCAL = "local all postgres peer\n"
ORDERS = {
    "name": "orders",
    "rules": [{"type": "hostssl", "databases": "orders", "users": "app", "method": "scram-sha-256", "address": "all"}],
}
LAST = {"name": "last-word", "position": "after:orders", "rules": "host all all all reject\n"}


def test_all_of_them(file: File) -> None:
    text = file.becomes(LOCAL, sections=[{**ORDERS, "comment": "team orders"}, LAST])
    assert [line.split("#")[0].split() for line in text.splitlines() if not line.startswith("#")] == [
        ["local", "all", "postgres", "peer"],
        ["hostssl", "orders", "app", "all", "scram-sha-256"],
        ["host", "all", "all", "all", "reject"],
    ]
    assert "# team orders" in text
    gone = file.becomes(text, sections=[{"name": "orders", "state": "absent"}, {"name": "last-word", "state": "absent"}])
    assert gone == LOCAL


def test_none_of_them_when_one_cannot_be(file: File) -> None:
    made = file.run(LOCAL, sections=[ORDERS, {"name": "other", "rules": [{"type": "host", "address": "1.2.3.4/33", "method": "md5"}]}])
    assert made["failed"]
    assert "sections[1].rules[0]" in made["msg"]
    assert file.text == LOCAL


def test_none_of_them_when_an_expectation_breaks(file: File) -> None:
    client = {"user": "app", "database": "orders", "address": "10.0.0.1", "transport": "tls", "expect": "allowed"}
    before = [{"name": "closed", "position": "first", "rules": ["host all all all reject"]}]
    made = file.run(LOCAL, sections=[ORDERS, *before], expect=[client])
    assert made["failed"]
    assert "expected allowed, but it is rejected" in made["msg"]
    assert file.text == LOCAL


@pytest.mark.parametrize("more", [{"rules": ["local all all peer"]}, {"section": "x"}, {"state": "absent"}, {"exclusive": True}])
def test_contradictions(file: File, more: dict[str, t.Any]) -> None:
    made = file.run(LOCAL, sections=[ORDERS], **more)
    assert made["failed"]
    assert next(iter(more)) in made["msg"]
    assert file.text == LOCAL
