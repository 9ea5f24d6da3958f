# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Who is a member of which role, as ``+role`` and ``samerole`` see it.

Direct or indirect membership; a role is a member of itself; superusers are members of nothing that they were not granted; INHERIT,
SET and ADMIN do not matter (``is_member_of_role_nosuper`` in PostgreSQL; reference 4.3, measured on 12 to 18).
"""

from __future__ import annotations

import typing as t

from .model import Client, Role


class Memberships:
    """The memberships of a list of roles. Cycles, repeated roles and unknown groups are fine.

    A group that only occurs in somebody's ``member_of`` exists: a server cannot grant a role that is not there.
    """

    def __init__(self, roles: t.Iterable[Role]) -> None:
        self._direct: dict[str, set[str]] = {}
        for role in roles:
            self._direct.setdefault(role.name, set()).update(role.member_of)
            for group in role.member_of:
                self._direct.setdefault(group, set())
        self._above: dict[str, frozenset[str]] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._direct

    @property
    def names(self) -> t.KeysView[str]:
        """All roles."""
        return self._direct.keys()

    def above(self, user: str) -> frozenset[str]:
        """The roles that a user is a member of, itself included; empty for an unknown user."""
        if user not in self._direct:
            return frozenset()
        found = self._above.get(user)
        if found is None:
            found = self._above[user] = self._reach({user})
        return found

    def _reach(self, start: t.Iterable[str]) -> frozenset[str]:
        seen = set(start)
        todo = list(seen)
        while todo:
            for group in self._direct.get(todo.pop(), ()):
                if group not in seen:
                    seen.add(group)
                    todo.append(group)
        return frozenset(seen)

    def is_member(self, user: str, role: str) -> bool:
        """Whether a user is a member of a role; false when either is unknown."""
        return role in self.above(user)

    def of_client(self, client: Client, user: str) -> frozenset[str]:
        """All roles of a client: what the roles say of ``user`` (its name on the server) and what its own ``memberships`` lead to."""
        if not client.memberships:
            return self.above(user)
        return self.above(user) | self._reach((user, *client.memberships))


def is_member(user: str, role: str, roles: t.Iterable[Role]) -> bool:
    """Whether a user is a member of a role, for a single question; :class:`Memberships` is for many."""
    return Memberships(roles).is_member(user, role)
