# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several sections as one plan: the same file as one task after the other, and edits that are true of the old file."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba import plan as engine
from ansible_collections.pgops.access.plugins.module_utils._hba.document import Document
from ansible_collections.pgops.access.plugins.module_utils._hba.errors import PlanError
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Server
from ansible_collections.pgops.access.plugins.module_utils._hba.plan import Plan, Request
from ansible_collections.pgops.access.plugins.module_utils._hba.spec import spec_from_line
from ansible_collections.pgops.access.plugins.module_utils._hba.together import plan_all
from hypothesis import given
from hypothesis import strategies as st

SERVER = Server(15)
NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.timezone.utc)


def section(name: str, *lines: str, **more: object) -> Request:
    return Request(rules=tuple([spec_from_line(line, SERVER) for line in lines]), section=name, now=NOW, **more)


def one_by_one(raw: bytes, requests: list[Request]) -> bytes:
    for request in requests:
        raw = engine.plan(Document.parse(raw, SERVER), request).after
    return raw


def edited(plan: Plan) -> bytes:
    """What the edits, read as edits of the old file's physical lines, make of it; an oracle that does not know how they were made."""
    old = Document.parse(plan.before, SERVER)
    height = {line.line: line.last_line - line.line + 1 for line in old.lines}
    texts = plan.before.decode().splitlines()
    lines: list[str] = []
    done = 0
    for edit in plan.edits:
        lines += texts[done : edit.line - 1]
        done = max(done, edit.line - 1)
        lines += [] if edit.after is None else [edit.after]
        if edit.before is not None:
            assert edit.before == next(line.text for line in old.lines if line.line == edit.line)
            done += height[edit.line]
    return "".join([f"{line}\n" for line in lines + texts[done:]]).encode()


OLD = b"""local all postgres peer
# BEGIN pgops.access section: b
host b b 10.0.0.0/8 md5
host b \\
  c 10.0.0.0/8 md5
# END pgops.access section: b
host all all all reject # [expires: 2026-01-01]
"""


def test_the_policy_is_one_plan() -> None:
    requests = [
        section("a", "host a a 10.0.0.0/8 md5", position="first"),
        section("b", "host b b 10.0.0.0/8 scram-sha-256"),
        section("c", "host c c all reject", position="after:a"),
    ]
    made = plan_all(OLD, requests, SERVER)
    assert made.before == OLD
    assert made.after == one_by_one(OLD, requests) == edited(made)
    assert [edit.reason for edit in made.edits if edit.before and "reject" in edit.before] == ["expired"]
    assert not plan_all(made.after, requests, SERVER).changed


NAMES = ["a", "b", "c", "d"]
RULES = ["host a a 10.0.0.0/8 md5", "host b b 10.0.0.0/8 md5", "local all all peer", "host all all ::/0 reject"]


@given(st.data())
def test_any_sections_are_as_one_task_after_the_other(data: st.DataObject) -> None:
    raw = one_by_one(b"local all all peer\n# mine\n", [
        section(name, *data.draw(st.lists(st.sampled_from(RULES), unique=True))) for name in data.draw(st.permutations(NAMES))[:2]
    ])  # fmt: skip
    requests: list[Request] = []
    for name in data.draw(st.permutations(NAMES))[: data.draw(st.integers(1, 4))]:
        if data.draw(st.booleans()) or not requests:
            requests.append(section(name, *data.draw(st.lists(st.sampled_from(RULES), unique=True))))
        elif data.draw(st.booleans()):
            requests.append(section(name, state="absent"))
        else:
            anchors = ["first", "last"] + [f"after:{one.section}" for one in requests if one.state == "present"]
            requests.append(section(name, RULES[0], position=data.draw(st.sampled_from(anchors)), move=True))
    made = plan_all(raw, requests, SERVER)
    assert made.after == one_by_one(raw, requests) == edited(made)
    assert made.changed == (made.after != raw)


def test_one_section_twice_is_a_contradiction() -> None:
    with pytest.raises(PlanError, match="section 'a' is given twice"):
        plan_all(OLD, [section("a"), section("a")], SERVER)


def test_only_sections_can_be_several() -> None:
    with pytest.raises(PlanError, match="have to be for sections"):
        plan_all(OLD, [section("a"), Request(rules=section("a", RULES[0]).rules)], SERVER)
