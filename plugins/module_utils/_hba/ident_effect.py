# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Which system users may become which role under one set of maps and not under another.

A map is a list of alternatives, so that what changes is what lines stand for that came or went, less what other lines grant anyway. A
change is told in the lines' own words: a system user, or a regular expression for many; a role, ``all``, ``+role``, an expression, or
``\\1``. Complete: whoever gains or loses a role is among what some change says. Names are decided exactly; what an expression grants
is taken as granted already only by an equal expression, so a change may also cover some who have it by another line.

One thing makes order count: a line whose expression matches but has no group for its ``\\1`` ends the look-up. The lines below it
are told apart from the same lines without it.
"""

from __future__ import annotations

import typing as t

from . import catalog
from .ident import ALLOWED, REFUSED, Mapping, UserMaps, group_problem, matches_system, role_is_all, role_is_name
from .model import Role, Server, Token

GAINS, LOSES = "gains", "loses"


class MapChange(t.NamedTuple):
    """System users who gain or lose roles by a map."""

    change: str
    """``gains`` or ``loses``."""
    map: str
    system_user: str
    """A name, or with a leading ``/`` a regular expression."""
    database_user: str
    """As the line says it: a name; 16 and later ``all``, ``+role`` or ``/regex``; with ``\\1`` the group's text."""
    keyword: bool
    """Whether ``database_user`` is more than a name: ``all``, ``+role``, an expression, or made from a group."""
    roles: tuple[str, ...] | None
    """The existing roles that it comes to, where the server's roles are known and no group decides."""
    file: str
    line: int
    """Where the line stands that grants it, or that did."""

    def describe(self) -> str:
        """One sentence."""
        who = f"whoever matches {self.system_user}" if self.system_user.startswith("/") else self.system_user
        what = f"role {self.database_user}"
        if self.keyword and self.database_user == "all":
            what = "any role"
        elif self.keyword and self.database_user.startswith("+"):
            what = f"any member of {self.database_user[1:]}"
        elif self.keyword and self.database_user.startswith("/"):
            what = f"any role that matches {self.database_user}"
        elif self.keyword:
            what = f"the role that {self.database_user} makes"
        some = "" if self.roles is None or not self.keyword else f" (now: {', '.join(self.roles) or 'none'})"
        verb = "may become" if self.change == GAINS else "may no longer become"
        return f"map {self.map}: {who} {verb} {what}{some}, line {self.line}"

    def as_dict(self) -> dict[str, t.Any]:
        """JSON-able."""
        return {**self._asdict(), "roles": None if self.roles is None else list(self.roles), "text": self.describe()}


class _Line(t.NamedTuple):
    mapping: Mapping
    stops: frozenset[str]
    """Expressions above it in its map that end the look-up of whom they match."""


class _Maps:
    """One side of the comparison."""

    def __init__(self, mappings: t.Sequence[Mapping], server: Server, roles: t.Sequence[Role] | None) -> None:
        self.server = server
        self.maps = UserMaps(mappings, server=server, roles=roles)
        self.lines: dict[tuple[object, ...], _Line] = {}
        self._patterns: dict[str, list[_Line]] = {}
        self._everything: dict[tuple[str, str], list[_Line]] = {}
        stops: dict[str, frozenset[str]] = {}
        for mapping in mappings:
            above = stops.get(mapping.map_name, frozenset())
            if group_problem(mapping, server):
                stops[mapping.map_name] = above | {mapping.system_user.text}
                continue
            line = _Line(mapping, above)
            self.lines.setdefault((*identity(mapping, server), above), line)
            if role_is_all(mapping.role, server):
                self._everything.setdefault((mapping.map_name, mapping.system_user.text), []).append(line)
                if mapping.system_user.text.startswith("/"):
                    self._patterns.setdefault(mapping.map_name, []).append(line)

    def grants(self, line: _Line) -> bool:
        """Whether all that a line of the other side stands for is granted here, too; False where that cannot be told."""
        mapping = line.mapping
        if (*identity(mapping, self.server), line.stops) in self.lines:
            return True
        name, system_user = mapping.map_name, mapping.system_user.text
        if any(other.stops <= line.stops for other in self._everything.get((name, system_user), ())):
            return True
        if system_user.startswith("/"):
            return False
        if role_is_name(mapping.role, self.server):
            return self.maps.may_become(name, system_user, mapping.role.text).outcome == ALLOWED
        return any(
            other.stops <= line.stops and matches_system(other.mapping, system_user, self.server) for other in self._patterns.get(name, ())
        )

    def really(self, line: _Line) -> bool:
        """Whether a line grants what it says; a name of a system user may be stopped above it."""
        mapping = line.mapping
        if mapping.system_user.text.startswith("/") or not role_is_name(mapping.role, self.server):
            return True
        return self.maps.may_become(mapping.map_name, mapping.system_user.text, mapping.role.text).outcome != REFUSED


def identity(mapping: Mapping, server: Server) -> tuple[str, str, str, bool]:
    """What a line stands for: its columns, and whether the last is a mere name."""
    return mapping.map_name, mapping.system_user.text, mapping.role.text, role_is_name(mapping.role, server)


def changes(
    before: t.Sequence[Mapping], after: t.Sequence[Mapping], *, server: Server, roles: t.Sequence[Role] | None = None
) -> tuple[MapChange, ...]:
    """What changes, in the order of the lines: first what is gained, then what is lost."""
    one, two = _Maps(before, server, roles), _Maps(after, server, roles)
    found = [_change(GAINS, line, two) for line in two.lines.values() if two.really(line) and not one.grants(line)]
    found += [_change(LOSES, line, one) for line in one.lines.values() if one.really(line) and not two.grants(line)]
    return tuple(dict.fromkeys(found))


def still_granted(
    gone: t.Sequence[Mapping], after: t.Sequence[Mapping], *, server: Server, roles: t.Sequence[Role] | None = None
) -> tuple[Mapping, ...]:
    """Of mappings that are to go, those that other lines grant all the same."""
    left = _Maps(after, server, roles)
    return tuple([mapping for mapping in gone if left.grants(_Line(mapping, frozenset()))])


def _change(kind: str, line: _Line, side: _Maps) -> MapChange:
    mapping, server = line.mapping, side.server
    by_group = "\\1" in mapping.role.text and mapping.system_user.text.startswith("/") and _takes_group(mapping.role, server)
    return MapChange(
        change=kind,
        map=mapping.map_name,
        system_user=mapping.system_user.text,
        database_user=mapping.role.text,
        keyword=by_group or not role_is_name(mapping.role, server),
        roles=None if by_group else _existing(mapping, side),
        file=mapping.file,
        line=mapping.line,
    )


def _takes_group(token: Token, server: Server) -> bool:
    return server.major < catalog.REGEX_SINCE or role_is_name(token, server)


def _existing(mapping: Mapping, side: _Maps) -> tuple[str, ...] | None:
    members = side.maps.memberships
    if members is None:
        return None
    if role_is_name(mapping.role, side.server):
        return (mapping.role.text,) if mapping.role.text in members else ()
    literal = mapping._replace(system_user=Token("x"))
    alone = UserMaps([literal], server=side.server)
    alone.memberships = members
    return alone.reachable_roles(mapping.map_name, "x")
