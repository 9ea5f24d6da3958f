# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""LDAP URLs as OpenLDAP's ``ldap_url_parse`` reads them: more lenient than RFC 4516 in places, and strict in others.

The server hands the option ``ldapurl`` to that function and reports its number through ``ldap_err2string``, which is made for other
numbers: hence reasons such as "Time limit exceeded" for an unknown scheme.
"""

from __future__ import annotations

import re
import typing as t

from .model import decode, encode

_SCHEMES = ("ldap", "ldaps", "ldapi", "pldap", "pldaps")
_REASONS = {
    3: "Time limit exceeded",
    4: "Size limit exceeded",
    5: "Compare False",
    6: "Compare True",
    7: "Authentication method not supported",
    8: "Strong(er) authentication required",
    9: "Partial results and referral received",
    10: "Referral",
}
_SCOPES = {
    "base": 0,
    "one": 1,
    "onelevel": 1,
    "sub": 2,
    "subtree": 2,
    "subord": 3,
    "subordinate": 3,
    "children": 3,
}
_ESCAPE = re.compile(rb"%([0-9a-fA-F]{2})")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9a-fA-F]{2})")
_PORT = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]+")


class BadLdapUrl(ValueError):
    """The URL cannot be parsed; the message is the server's reason."""


class LdapUrl(t.NamedTuple):
    """The parts that the server uses. The scheme's default port stands in where none is given."""

    scheme: str
    host: str | None
    port: int
    dn: str | None
    attribute: str | None
    scope: int
    filter: str | None


def _bad(number: int) -> BadLdapUrl:
    return BadLdapUrl(_REASONS[number])


def _unescape(text: str) -> str:
    """Percent escapes as bytes. A broken escape empties the whole text; what follows an escaped NUL is lost, as in C."""
    if "%" not in text:
        return text
    raw = encode(text)
    if _BROKEN_ESCAPE.search(raw):
        return ""
    return decode(_ESCAPE.sub(lambda m: bytes([int(m[1], 16)]), raw).partition(b"\0")[0])


def _unescape_behind(text: str) -> str:
    """The same behind a bracket: the emptying misses it, so a broken escape leaves what was done so far over the original text."""
    raw = encode(text)
    broken = _BROKEN_ESCAPE.search(raw)
    if broken is None:
        return _unescape(text)
    done = _ESCAPE.sub(lambda m: bytes([int(m[1], 16)]), raw[: broken.start()])
    return decode((done + raw[len(done) :]).partition(b"\0")[0])


def parse_ldap_url(url: str) -> LdapUrl:
    """Split an LDAP URL. Raises BadLdapUrl with the server's wording of the reason."""
    scheme, rest = _scheme(url)
    host_port, slash, tail = rest.partition("/")
    parts: list[str] = []
    if slash:
        parts = tail.split("?")
    else:
        host_port = rest.partition("?")[0]
    host, port = _host_port(host_port) if scheme != "ldapi" else (_unescape(host_port), 0)
    if port == 0 and scheme != "ldapi":
        port = 636 if scheme == "ldaps" else 389
    dn = _unescape(parts[0]) if parts else None
    attribute = _attribute(parts[1]) if len(parts) > 1 and parts[1] else None
    scope = _scope(parts[2]) if len(parts) > 2 and parts[2] else 0
    search_filter = _filter(parts[3]) if len(parts) > 3 and parts[3] else None
    if len(parts) > 5:
        raise _bad(5)
    if len(parts) == 5 and not parts[4].strip(","):
        raise _bad(10)
    return LdapUrl(scheme, host or None, port, dn, attribute, scope, search_filter)


def _scheme(url: str) -> tuple[str, str]:
    rest = url
    enclosed = rest.startswith("<")
    if enclosed:
        rest = rest[1:]
    if rest[:4].lower() == "url:":
        rest = rest[4:]
    for scheme in _SCHEMES:
        if rest[: len(scheme) + 3].lower() == scheme + "://":
            rest = rest[len(scheme) + 3 :]
            break
    else:
        raise _bad(3)
    if enclosed:
        if not rest.endswith(">"):
            raise _bad(4)
        rest = rest[:-1]
    return scheme, rest


def _host_port(text: str) -> tuple[str, int]:
    if text.startswith("["):
        inside, bracket, after = text[1:].partition("]")
        if not bracket:
            raise _bad(5)
        host = _unescape_behind(inside)
        before, colon, port = after.partition(":")
        if before and colon:
            raise _bad(5)
    else:
        name, colon, port = text.partition(":")
        host = _unescape(name)
    return host, _port(_unescape(port)) if colon else 0


def _port(text: str) -> int:
    if not _PORT.fullmatch(text):
        raise _bad(5)
    return as_c_int(text)


def as_c_int(text: str) -> int:
    """C's ``atoi``: leading blanks, a sign, digits; 0 without digits; too large values wrap to 32 bits after saturating at 64."""
    match = re.match(r"[ \t\n\v\f\r]*([+-]?)0*([0-9]*)", text)
    if match is None or not match[2]:
        return 0
    size = int(match[2]) if len(match[2]) < 20 else 1 << 63
    value = max(-(1 << 63), -size) if match[1] == "-" else min((1 << 63) - 1, size)
    wrapped = value & 0xFFFFFFFF
    return wrapped - (1 << 32) if wrapped >= 1 << 31 else wrapped


def _attribute(text: str) -> str | None:
    for name in _unescape(text).split(","):
        if name:
            return name
    return None


def _scope(text: str) -> int:
    scope = _SCOPES.get(_unescape(text).lower())
    if scope is None:
        raise _bad(8)
    return scope


def _filter(text: str) -> str:
    value = _unescape(text)
    if not value:
        raise _bad(9)
    return value
