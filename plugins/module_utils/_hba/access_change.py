# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""One change of access as a value: for programs (:meth:`AccessChange.as_dict`) and for people (:meth:`AccessChange.describe`)."""

from __future__ import annotations

import typing as t

from .effect_space import ALWAYS, LOCAL, NEVER, AddressSet, Cube, NameSet, Node, Space, ranges_text

SECRET_OPTIONS = frozenset({"ldapbindpasswd", "radiussecrets"})
SHOWN = 6
"""Names or addresses that a sentence lists before it only counts."""

Condition = t.Tuple[t.Tuple[str, ...], ...]
"""Any of these groups of statements; all statements of a group hold. ``((),)`` is always."""


class Names(t.NamedTuple):
    """A set of database or user names."""

    names: tuple[str, ...] = ()
    any_name: bool = False
    """Every name that is not excluded, and, where ``matching`` is not empty, fits it."""
    matching: Condition = ()
    excluded: tuple[str, ...] = ()
    names_if: tuple[tuple[str, Condition], ...] = ()

    def as_dict(self) -> dict[str, t.Any]:
        """JSON-able; empty parts left out, ``any`` and ``names`` always there."""
        shown: dict[str, t.Any] = {"names": list(self.names), "any": self.any_name}
        if self.matching:
            shown["matching"] = [list(group) for group in self.matching]
        if self.excluded:
            shown["except"] = list(self.excluded)
        if self.names_if:
            shown["names_if"] = [{"name": name, "matching": [list(group) for group in condition]} for name, condition in self.names_if]
        return shown

    def text(self, noun: str) -> str:
        """As in "users a, b" or "any database except x"."""
        parts = []
        if self.any_name:
            text = f"any {noun}"
            if self.matching:
                text += f" that is {_condition(self.matching)}" if noun == "user" else f" matching {_condition(self.matching)}"
            if self.excluded:
                text += f" except {_few(self.excluded)}"
            parts.append(text)
        if self.names:
            word = noun if len(self.names) == 1 else f"{noun}s"
            parts.append(f"{word} {_few([_quoted(name) for name in self.names])}")
        parts += [f"{noun} {_quoted(name)} if {_condition(condition)}" for name, condition in self.names_if]
        return " and ".join(parts)


class Places(t.NamedTuple):
    """A set of addresses: CIDR blocks or ``first-last``; those of ``conditional`` only for clients that fit."""

    ranges: tuple[str, ...] = ()
    conditional: tuple[tuple[Condition, tuple[str, ...]], ...] = ()

    def text(self) -> str:
        """As in "10.0.0.0/8, ::/0"."""
        parts = [_few(self.ranges)] if self.ranges else []
        for condition, ranges in self.conditional:
            where = "" if ranges == ("0.0.0.0/0", "::/0") else f" in {_few(ranges)}"
            parts.append(f"{_condition(condition)}{where}")
        return " and ".join(parts)


class Answer(t.NamedTuple):
    """What a client meets: ``no_entry``, ``rejected`` or a method, with the rule that says so."""

    outcome: str
    options: tuple[tuple[str, str], ...] = ()
    file: str = ""
    line: int = 0
    number: int | None = None

    @property
    def allowed(self) -> bool:
        """Whether authentication is tried at all."""
        return self.outcome not in ("no_entry", "rejected")

    def as_dict(self) -> dict[str, t.Any]:
        """JSON-able; values of secret options are hidden; rule columns are null where no rule decides."""
        known = self.outcome != "no_entry"
        return {
            "outcome": self.outcome,
            "options": {name: "********" if name in SECRET_OPTIONS else value for name, value in self.options},
            "file": self.file if known else None,
            "line": self.line if known else None,
            "rule_number": self.number,
        }

    def text(self) -> str:
        """As in "scram-sha-256 clientcert=verify-full, line 7"."""
        if self.outcome == "no_entry":
            return "no entry"
        shown = self.as_dict()["options"]
        options = "".join(f" {name}={value}" for name, value in shown.items())
        return f"{self.outcome}{options}, line {self.line}"


class AccessChange(t.NamedTuple):
    """A product of sets of clients whose outcome changed, from what to what."""

    transports: tuple[str, ...]
    replication: bool
    databases: Names | None
    """None for physical replication, which names no database."""
    users: Names
    relation: tuple[str, ...] | None
    """None, or which of: ``same`` (the database is named like the user), ``member`` (like another role that the user is a member
    of), ``none``."""
    addresses: Places | None
    """None for the Unix socket."""
    before: Answer
    after: Answer

    @property
    def change(self) -> str:
        """``gains``, ``loses``, ``method``, ``options``, or ``refusal`` (refused before and after, for another reason)."""
        if self.before.allowed != self.after.allowed:
            return "gains" if self.after.allowed else "loses"
        if not self.after.allowed:
            return "refusal"
        return "method" if self.before.outcome != self.after.outcome else "options"

    def as_dict(self) -> dict[str, t.Any]:
        """The shape that modules return in ``access_changes``."""
        conditional = self.addresses.conditional if self.addresses else ()
        return {
            "change": self.change,
            "transports": list(self.transports),
            "replication": self.replication,
            "databases": self.databases.as_dict() if self.databases else None,
            "users": self.users.as_dict(),
            "relation": list(self.relation) if self.relation else None,
            "addresses": list(self.addresses.ranges) if self.addresses else None,
            "addresses_if": [
                {"matching": [list(group) for group in condition], "addresses": list(ranges)} for condition, ranges in conditional
            ],
            "before": self.before.as_dict(),
            "after": self.after.as_dict(),
            "text": self.describe(),
        }

    def describe(self) -> str:
        """One sentence on one line."""
        target = "physical replication" if self.databases is None else self.databases.text("database")
        where = "" if self.addresses is None else f" from {self.addresses.text()}"
        over = "the Unix socket" if self.transports == ("local",) else ", ".join(self.transports)
        relation = "" if self.relation is None else f" where {_RELATIONS[self.relation]}"
        who = f"{self.users.text('user')} to {target}{relation}{where} over {over}"
        return f"{_VERBS[self.change]}: {who} ({self.after.text()}); before: {self.before.text()}"


_VERBS = {
    "gains": "gains access",
    "loses": "loses access",
    "method": "changes method",
    "options": "changes options",
    "refusal": "is refused otherwise",
}
_RELATIONS: dict[tuple[str, ...], str] = {
    ("same",): "the database is named like the user",
    ("member",): "the database is named like a role that the user is a member of",
    ("none",): "the database is named neither like the user nor like a role of the user's",
    ("member", "same"): "the database is named like the user or a role of the user's",
    ("member", "none"): "the database is not named like the user",
    ("none", "same"): "the database is not named like another role of the user's",
}


def _few(values: t.Sequence[str]) -> str:
    if len(values) <= SHOWN:
        return ", ".join(values)
    return f"{', '.join(values[:SHOWN])} and {len(values) - SHOWN} more"


def _quoted(name: str) -> str:
    plain = name.isprintable() and name and not any(char in name for char in ' ,"')
    return name if plain else '"' + name.encode("unicode_escape", "surrogateescape").decode("ascii").replace('"', '""') + '"'


def _condition(condition: Condition) -> str:
    return " or ".join(" and ".join(group) for group in condition)


def _statements(cube: Cube) -> tuple[str, ...]:
    words = []
    for fact, holds in cube:
        text = f"+{fact.value}" if fact.kind == "member" else fact.value or fact.kind
        if fact.kind in ("host", "suffix"):
            text = f"host {fact.value}"
        words.append(text if holds else f"not {text}")
    return tuple(words)


def _as_condition(space: Space, node: Node) -> Condition:
    return tuple(_statements(cube) for cube in space.cubes(node))


def describe_names(space: Space, names: NameSet) -> Names:
    """A set of names in words."""
    if names.default == NEVER and len(names.over) == 1 and ALWAYS in names.over.values():
        return Names(tuple(names.over))  # most sets are one name
    return Names(
        names=tuple(sorted(name for name, node in names.over.items() if node == ALWAYS)),
        any_name=names.default != NEVER,
        matching=() if names.default in (NEVER, ALWAYS) else _as_condition(space, names.default),
        excluded=tuple(sorted(name for name, node in names.over.items() if node == NEVER)),
        names_if=tuple((name, _as_condition(space, node)) for name, node in sorted(names.over.items()) if node not in (NEVER, ALWAYS)),
    )


def describe_places(space: Space, places: AddressSet) -> Places | None:
    """A set of addresses in words; None for the Unix socket."""
    if places and places[0][0] == LOCAL:
        return None
    if len(places) == 1 and places[0][2] == ALWAYS:
        return Places(tuple(ranges_text(places[0][0], places[0][1])))
    ranges: dict[Node, list[str]] = {}
    for low, high, node in places:
        ranges.setdefault(node, []).extend(ranges_text(low, high))
    always = tuple(ranges.pop(ALWAYS, ()))
    return Places(always, tuple((_as_condition(space, node), tuple(some)) for node, some in ranges.items()))
