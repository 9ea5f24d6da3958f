# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memberships as ``+role`` sees them."""

from __future__ import annotations

from ansible_collections.pgops.access.plugins.module_utils._hba.model import Client, Role
from ansible_collections.pgops.access.plugins.module_utils._hba.roles import Memberships, is_member
from hypothesis import given
from hypothesis import strategies as st

ROLES = [Role("app", member_of=("mid",)), Role("mid", member_of=("top", "unlisted")), Role("top"), Role("su", superuser=True)]


def test_direct_indirect_and_itself() -> None:
    for user, role, expected in [
        ("app", "app", True),
        ("app", "mid", True),
        ("app", "top", True),
        ("app", "unlisted", True),
        ("unlisted", "unlisted", True),
        ("top", "app", False),
        ("su", "top", False),
        ("su", "su", True),
        ("ghost", "ghost", False),
        ("ghost", "top", False),
        ("app", "ghost", False),
    ]:
        assert is_member(user, role, ROLES) is expected, (user, role)


def test_cycles_end() -> None:
    memberships = Memberships([Role("a", member_of=("b",)), Role("b", member_of=("c",)), Role("c", member_of=("a",))])
    assert memberships.above("a") == memberships.above("b") == frozenset("abc")


def test_a_client_adds_to_what_the_roles_say() -> None:
    memberships = Memberships(ROLES)
    assert memberships.of_client(Client("new", memberships=("mid",)), "new") == {"new", "mid", "top", "unlisted"}
    assert memberships.of_client(Client("app"), "app") == memberships.above("app")
    assert memberships.of_client(Client("new"), "new") == frozenset()


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=15))
def test_membership_is_reachability(grants: list[tuple[str, str]]) -> None:
    memberships = Memberships([Role(name) for name in "abcdef"] + [Role(member, member_of=(group,)) for member, group in grants])
    reached = {name: {name} for name in "abcdef"}
    for _unused in range(6):
        for member, group in grants:
            for known in reached.values():
                if member in known:
                    known.add(group)
    assert {name: set(memberships.above(name)) for name in "abcdef"} == reached
