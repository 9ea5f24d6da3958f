# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""What a rule means, as values that can be compared: quoting, spacing, the order of names and the spelling of addresses do not count.

Two rules mean the same when the server treats every connection alike under both: same record type, same set of database and user
tokens, same network (host bits beyond the mask are ignored by the server, so they are here), same method, same options in effect.
No name is resolved and no keyword is spelled out: ``all`` and a list of every database are different rules.
"""

from __future__ import annotations

import typing as t
from functools import lru_cache

from . import catalog
from .model import Address, Field, Rule, Server, Token

Names = t.FrozenSet[str]


class Key(t.NamedTuple):
    """Whom a rule is about."""

    type: str
    databases: Names
    users: Names
    address: tuple[object, ...]


class Meaning(t.NamedTuple):
    """A rule's key, and how the server authenticates whom it is about."""

    key: Key
    method: str
    options: frozenset[tuple[str, str]]


def meaning_of(rule: Rule, server: Server) -> Meaning:
    """What a parsed rule means."""
    regexes = server.major >= catalog.REGEX_SINCE
    databases = _names(rule.databases, "database", regexes)
    users = _names(rule.users, "user", regexes)
    key = Key(rule.type, databases, users, address_key(rule.address))
    options = _options(rule) if rule.given_options or rule.options else _NO_OPTIONS
    return Meaning(key, rule.method, options)


_NO_OPTIONS: frozenset[tuple[str, str]] = frozenset()
_HIDDEN_FLAGS = frozenset({"pam_use_hostname", "compat_realm", "upn_username"})
_DATABASE_SPECIAL = catalog.DATABASE_KEYWORDS


@lru_cache(maxsize=131072)
def _names(field: Field, role: str, regexes: bool) -> Names:
    return frozenset([name_key(token, role, regexes) for token in field])


def name_key(token: Token, role: str, regexes: bool) -> str:
    """One database or user token as a comparable text: its first letter says what it is.

    ``n`` a name, ``k`` a keyword, ``r`` a regular expression, ``g`` a group (``+role``), ``f`` a file (``@file``).
    """
    text, quoted = token
    if not quoted:
        if len(text) > 1 and text[0] == "@":
            return "f" + text
        if role == "user":
            if text == "all":
                return "kall"
            if text[:1] == "+":
                return "g" + text
        elif text in _DATABASE_SPECIAL:
            return "ksamerole" if text == "samegroup" else "k" + text
    if regexes and text[:1] == "/":
        return "r" + text
    return "n" + text


def address_key(address: Address | None) -> tuple[object, ...]:
    """An address column as a comparable value. Host names are compared without regard to case, as the server does."""
    if address is None:
        return ()
    if address.kind == "network":
        return (address.family, address.value & address.mask, address.mask)
    if address.kind == "name":
        return ("name", address.text.lower() if address.text.isascii() else address.text)
    return (address.kind,)


def _options(rule: Rule) -> frozenset[tuple[str, str]]:
    """Options in effect: those that the view shows, and the few that it never shows; the last of a repeated one counts."""
    found = {name: value for name, value in rule.options if (name, value) != ("map", "")}
    for name, value in rule.given_options:
        if name == "clientname":
            found[name] = value
        elif name in _HIDDEN_FLAGS:
            found[name] = "1" if value == "1" else "0"
    if found.get("pam_use_hostname") == "0":
        del found["pam_use_hostname"]
    return frozenset(found.items())
