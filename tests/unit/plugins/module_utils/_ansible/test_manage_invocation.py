# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a result says of the module's own arguments is bounded like the rest of it (decisions/0065)."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.pgops.access.plugins.module_utils._ansible import manage

RULES = [f"local all u{number} peer" for number in range(5)]


def params(rules: t.Any, limit: int, sections: t.Any = None) -> dict[str, t.Any]:
    return {"path": "/f", "rules": rules, "result_limit": limit, "sections": sections}


@pytest.mark.parametrize(("rules", "limit"), [(RULES, 5), (RULES, 0), ("\n".join(RULES), 1), (None, 1), ({"type": "local"}, 1)])
def test_what_is_short_enough_is_left_to_ansible(rules: t.Any, limit: int) -> None:
    assert manage._invocation(params(rules, limit)) == {}


def test_the_first_rules_and_how_many_more() -> None:
    given = params(RULES, 2)
    shown = manage._invocation(given)["invocation"]["module_args"]
    assert shown == {**given, "rules": [*RULES[:2], "and 3 more, which result_limit leaves out here"]}
    assert given["rules"] == RULES


def test_each_section_by_itself() -> None:
    sections = [{"name": "a", "rules": RULES}, {"name": "b", "rules": RULES[:2]}]
    shown = manage._invocation(params(None, 2, sections))["invocation"]["module_args"]
    assert [len(section["rules"]) for section in shown["sections"]] == [3, 2]
    assert [section["name"] for section in shown["sections"]] == ["a", "b"]
