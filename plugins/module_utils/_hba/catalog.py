# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""What the server's majors know: record types, authentication methods, their options, and the errors' fixed texts. Data, no logic.

Source: PostgreSQL 12 to 18 (``src/backend/libpq/hba.c``: ``parse_hba_line``, ``parse_hba_auth_opt``), checked against running servers.
"""

from __future__ import annotations

import typing as t

FIRST_MAJOR = 12
LAST_MAJOR = 19
"""19 is known from its release candidate only."""

RECORD_TYPES: frozenset[str] = frozenset({"local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"})

INCLUDE_WORDS: frozenset[str] = frozenset({"include", "include_if_exists", "include_dir"})
"""Records that name other files, in 16 and later."""

INCLUDES_SINCE = 16
REGEX_SINCE = 16
MAX_INCLUDE_DEPTH = 10
"""Nested ``@`` and ``include`` levels that 16 and later open; the main file is level 0. Earlier majors have no limit."""

ADDRESS_KEYWORDS: frozenset[str] = frozenset({"all", "samehost", "samenet"})
DATABASE_KEYWORDS: frozenset[str] = frozenset({"all", "sameuser", "samerole", "samegroup", "replication"})


class Method(t.NamedTuple):
    """An authentication method."""

    name: str
    since: int = FIRST_MAJOR
    until: int = LAST_MAJOR
    """Last major that knows the name."""
    feature: str | None = None
    """What the server must be built with: ``ssl``, ``gssapi``, ``ldap``, ``pam``; ``sspi`` and ``bsd`` exist in no Linux build."""
    restriction: str | None = None
    """Record types that may use it: ``local``, ``not local`` or ``hostssl``; None means any."""
    refusal: str = ""
    """The server's error when the restriction is broken."""


_METHODS = (
    Method("trust"),
    Method("reject"),
    Method("password"),
    Method("md5"),
    Method("scram-sha-256"),
    Method("ident"),
    Method("peer", restriction="local", refusal="peer authentication is only supported on local sockets"),
    Method("cert", feature="ssl", restriction="hostssl", refusal="cert authentication is only supported on hostssl connections"),
    Method("gss", feature="gssapi", restriction="not local", refusal="gssapi authentication is not supported on local sockets"),
    Method("sspi", feature="sspi"),
    Method("pam", feature="pam"),
    Method("bsd", feature="bsd"),
    Method("ldap", feature="ldap"),
    Method("radius", until=18),
    Method("oauth", since=18),
)
METHODS: dict[str, Method] = {method.name: method for method in _METHODS}


def method_of(name: str, major: int) -> Method | None:
    """The method of that name, if the major knows it (built in or not)."""
    method = METHODS.get(name)
    return method if method is not None and method.since <= major <= method.until else None


class Option(t.NamedTuple):
    """An authentication option."""

    name: str
    methods: tuple[str, ...] | None = None
    """Methods that take it; None means any."""
    methods_text: str = ""
    """How the server's error lists them."""
    since: int = FIRST_MAJOR
    until: int = LAST_MAJOR
    hostssl_only: bool = False
    boolean: bool = False
    """True for exactly ``1``, false for every other value, without an error."""


_GSS = ("gss", "sspi")
_GSS_TEXT = "gssapi and sspi"
_LDAP = ["server", "port", "scheme", "binddn", "bindpasswd", "searchattribute", "searchfilter", "basedn", "prefix", "suffix", "url"]
_RADIUS = ("servers", "secrets", "ports", "identifiers")
_OPTIONS = (
    Option("map", ("ident", "peer", "gss", "sspi", "cert"), "ident, peer, gssapi, sspi, and cert", until=17),
    Option("map", ("ident", "peer", "gss", "sspi", "cert", "oauth"), "ident, peer, gssapi, sspi, cert, and oauth", since=18),
    Option("clientcert", hostssl_only=True),
    Option("clientname", hostssl_only=True, since=14),
    Option("pamservice", ("pam",), "pam"),
    Option("pam_use_hostname", ("pam",), "pam", boolean=True),
    Option("krb_realm", _GSS, _GSS_TEXT),
    Option("include_realm", _GSS, _GSS_TEXT, boolean=True),
    Option("compat_realm", ("sspi",), "sspi", boolean=True),
    Option("upn_username", ("sspi",), "sspi", boolean=True),
    *(Option("ldap" + name, ("ldap",), "ldap") for name in _LDAP),
    Option("ldaptls", ("ldap",), "ldap", boolean=True),
    *(Option("radius" + name, ("radius",), "radius", until=18) for name in _RADIUS),
    *(Option(name, ("oauth",), "oauth", since=18) for name in ("issuer", "scope", "validator")),
    Option("delegate_ident_mapping", ("oauth",), "oauth", since=18, boolean=True),
)

OPTIONS: dict[int, dict[str, Option]] = {
    major: {option.name: option for option in _OPTIONS if option.since <= major <= option.until}
    for major in range(FIRST_MAJOR, LAST_MAJOR + 1)
}
"""For each major the options that it knows, by name."""

LDAP_SHOWN = ("prefix", "suffix", "basedn", "binddn", "bindpasswd", "searchattribute", "searchfilter")
"""LDAP options that the view shows as they are, in its order."""

RADIUS_SHOWN = ("servers", "secrets", "identifiers", "ports")
"""RADIUS options in the view's order."""

LDAPSCHEME_SHOWN_SINCE_MINOR = {13: 19, 14: 16, 15: 11, 16: 7, 17: 3}
"""Minor release since which the view shows ``ldapscheme``; 12 never does, 18 always."""

CERT_IMPLIES_FULL_SINCE_MINOR = {12: 10, 13: 6, 14: 2}
"""Minor release since which method ``cert`` shows ``clientcert=verify-full`` instead of ``verify-ca``."""

HINT_CONNECTION_TYPE = "Specify exactly one connection type per line."
HINT_ADDRESS = "Specify one address range per line."
HINT_NETMASK_MISSING = "Specify an address range in CIDR notation, or provide a separate netmask."
HINT_METHOD = "Specify exactly one authentication type per line."

WARN_SSL_OFF = "hostssl record cannot match because SSL is disabled"
WARN_SSL_BUILD = "hostssl record cannot match because SSL is not supported by this build"
WARN_GSS_BUILD = "hostgssenc record cannot match because GSSAPI is not supported by this build"
