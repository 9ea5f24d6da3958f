# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LDAP URLs. Every expected value is the answer of OpenLDAP 2.5's ``ldap_url_parse`` (Debian bookworm's libldap-2.5-0)."""

from __future__ import annotations

import ctypes
import ctypes.util
import random
import typing as t

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba.ldapurl import BadLdapUrl, as_c_int, parse_ldap_url
from ansible_collections.pgops.access.plugins.module_utils._hba.model import decode, encode


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ldap://h:1389/dc=x?uid?sub", ("ldap", "h", 1389, "dc=x", "uid", 2, None)),
        ("ldaps://h/dc=x", ("ldaps", "h", 636, "dc=x", None, 0, None)),
        ("LDAP://h", ("ldap", "h", 389, None, None, 0, None)),
        ("ldap://h/", ("ldap", "h", 389, "", None, 0, None)),
        ("ldap:///dc=x?a,b?ONE?(uid=$username)", ("ldap", None, 389, "dc=x", "a", 1, "(uid=$username)")),
        ("<URL:ldap://[::1]:1/%64c>", ("ldap", "::1", 1, "dc", None, 0, None)),
        ("ldap://h/a%zzb", ("ldap", "h", 389, "", None, 0, None)),
        ("ldap://h%3a389/", ("ldap", "h:389", 389, "", None, 0, None)),
        ("ldap://h/x??children", ("ldap", "h", 389, "x", None, 3, None)),
    ],
)
def test_good(url: str, expected: tuple[t.Any, ...]) -> None:
    assert tuple(parse_ldap_url(url)) == expected


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("foo", "Time limit exceeded"),
        ("cldap://h", "Time limit exceeded"),
        ("<ldap://h", "Size limit exceeded"),
        ("ldap://h:", "Compare False"),
        ("ldap://h:x", "Compare False"),
        ("ldap://a:b:1", "Compare False"),
        ("ldap://[::1", "Compare False"),
        ("ldap://h/d?a?everywhere", "Strong(er) authentication required"),
        ("ldap://h/d?a?one?%", "Partial results and referral received"),
        ("ldap://h/d?a?one?f?", "Referral"),
        ("ldap://h/d?a?one?f?e?x", "Compare False"),
    ],
)
def test_bad(url: str, reason: str) -> None:
    with pytest.raises(BadLdapUrl) as caught:
        parse_ldap_url(url)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("389", 389),
        ("389x", 389),
        (" \t+7", 7),
        ("-5", -5),
        ("", 0),
        ("x", 0),
        ("0x10", 0),
        ("4294967296", 0),
        ("4294967297", 1),
        ("9" * 30, -1),
        ("2147483648", -2147483648),
        ("-" + "9" * 30, 0),
    ],
)
def test_atoi(text: str, value: int) -> None:
    assert as_c_int(text) == value


class _Description(ctypes.Structure):
    _fields_ = (
        ("next", ctypes.c_void_p),
        ("scheme", ctypes.c_char_p),
        ("host", ctypes.c_char_p),
        ("port", ctypes.c_int),
        ("dn", ctypes.c_char_p),
        ("attributes", ctypes.POINTER(ctypes.c_char_p)),
        ("scope", ctypes.c_int),
        ("filter", ctypes.c_char_p),
        ("extensions", ctypes.c_void_p),
        ("critical", ctypes.c_int),
    )


def _openldap() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libldap-2.5.so.0")
    except OSError:
        return None
    library.ldap_err2string.restype = ctypes.c_char_p
    return library


def _real(library: ctypes.CDLL, url: bytes) -> t.Any:
    found = ctypes.POINTER(_Description)()
    code = library.ldap_url_parse(url, ctypes.byref(found))
    if code:
        return library.ldap_err2string(code).decode()
    parts = found.contents
    attribute = parts.attributes[0] if parts.attributes else None
    answer = (parts.scheme, parts.host, parts.port, parts.dn, attribute, parts.scope, parts.filter)
    library.ldap_free_urldesc(found)
    return answer


def _ours(url: bytes) -> t.Any:
    try:
        return tuple(encode(part) if isinstance(part, str) else part for part in parse_ldap_url(decode(url)))
    except BadLdapUrl as error:
        return str(error)


@pytest.mark.skipif(_openldap() is None, reason="OpenLDAP's libldap-2.5.so.0 is not installed; recorded answers above are checked anyway")
def test_agrees_with_openldap() -> None:
    library = _openldap()
    assert library is not None
    chance = random.Random(11)
    atoms = [
        b"ldap://",
        b"URL:",
        b"<",
        b">",
        b"h",
        b":",
        b"389",
        b"/",
        b"?",
        b"?",
        b"dc=x",
        b"uid",
        b"one",
        b"SUB",
        b"(uid=$username)",
        b"%20",
    ]
    atoms += [b"%", b"%zz", b"%00", b"[::1]", b"[", b"]", b",", b" ", b"+1", b"-1", b"99999999999", b"!", b"%2f", b"\xc3\xa9", b"ldaps://"]
    for _unused in range(30_000):
        url = chance.choice([b"ldap://", b"ldaps://", b"ldap://h:1/dc=x", b""]) + b"".join(chance.choices(atoms, k=chance.randrange(9)))
        assert _ours(url) == _real(library, url), url
