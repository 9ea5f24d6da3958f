# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access settings → the rules of the managed section, judged by the engine before anything is written. Pure.

A rule is made only of values that were understood. What cannot be understood never widens access: a bad address, database, user
or option stops the start (:class:`~.settings.SettingsError`); a method that cannot be had falls back to the next one that was
named and at last to md5, which asks every client for its role's password.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

from .._hba import catalog, render
from .._hba.errors import InvalidRule, NotRepresentable
from .._hba.model import Server, Token
from .._hba.spec import RuleSpec
from .settings import FALLBACK_METHOD, Access, Message, SettingsError

SECTION = "external-access"
OFFERED = frozenset({"md5", "scram-sha-256", "password", "reject", "trust", "cert", "ldap", "gss", "pam", "radius", "oauth"})
"""Methods that make sense for clients from outside; ident believes what the client's own machine says, peer is for the socket."""
NARROWING_OPTIONS = frozenset({"clientcert", "clientname"})
"""Options of any method that ask more of the client: they stay when the method falls back."""
_HOST_NAME = re.compile(r"\.?(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z](?:[a-z0-9-]*[a-z0-9])?", re.IGNORECASE)


class Wanted(t.NamedTuple):
    """What the section shall hold, and what is to be said about it."""

    rules: tuple[RuleSpec, ...]
    method: str | None
    """The method that was chosen; None when external access is closed."""
    messages: tuple[Message, ...]


def wanted(access: Access, server: Server, *, client_ca: bool) -> Wanted:
    """The rules that the settings ask for. ``client_ca`` says whether the server can check client certificates.

    Raises SettingsError for values that no rule can be made of.
    """
    # Checked also when access is closed: a mistake shall not wait until the day it is opened.
    databases = tuple(_name("EXTERNAL_ACCESS_DATABASES", item, "database", server) for item in access.databases)
    users = tuple(_name("EXTERNAL_ACCESS_USERS", item, "user", server) for item in access.users)
    addresses = tuple(dict.fromkeys(_address(item) for item in access.addresses))
    options = tuple(_option(word) for word in access.options)
    if not access.enabled:
        return Wanted((), None, ())
    messages: list[Message] = []
    subject = RuleSpec("host", databases, users, addresses[0])
    for method in access.methods:
        rule = _rule(access, subject, method, options)
        problem = _problem(rule, access, server, client_ca)
        if problem is None:
            messages.extend(_warnings(rule))
            return Wanted(tuple(rule._replace(address=address) for address in addresses), method, tuple(messages))
        messages.append(
            Message("warning", f"EXTERNAL_ACCESS_METHOD: {_shown(method)} {problem}: trying the next one", "EXTERNAL_ACCESS_METHOD")
        )
    kept = tuple((name, value) for name, value in options if name in NARROWING_OPTIONS)
    rule = _rule(access, subject, FALLBACK_METHOD, kept)
    problem = _problem(rule, access, server, client_ca)
    if problem is not None:
        raise SettingsError("EXTERNAL_ACCESS_OPTIONS", problem)
    last = messages.pop()
    messages.append(last._replace(text=last.text.replace("trying the next one", f"{FALLBACK_METHOD} is used")))
    return Wanted(tuple(rule._replace(address=address) for address in addresses), FALLBACK_METHOD, tuple(messages))


def refusal(rule: RuleSpec, server: Server) -> str | None:
    """The server's reason for not taking a rule; None when it takes it."""
    try:
        render.rendered(rule, server)
    except (NotRepresentable, InvalidRule) as error:
        return error.reason
    return None


def _rule(access: Access, subject: RuleSpec, method: str, options: tuple[tuple[str, str], ...]) -> RuleSpec:
    # cert and clientcert exist on TLS connections only; the server refuses them elsewhere.
    needs_tls = access.tls_required or method == "cert" or any(name in NARROWING_OPTIONS for name, _unused in options)
    return subject._replace(type="hostssl" if needs_tls else "host", method=method, options=options)


def _problem(rule: RuleSpec, access: Access, server: Server, client_ca: bool) -> str | None:
    """Why this method cannot be used, as the end of a sentence; None when it can."""
    method = rule.method or ""
    if catalog.method_of(method, server.major) is None:
        return f"is none of the methods of PostgreSQL {server.major}"
    if method not in OFFERED:
        return "is not offered for external access"
    if method == "trust" and not access.allow_insecure:
        return "lets anybody in without a password and needs EXTERNAL_ACCESS_ALLOW_INSECURE=true"
    reason = refusal(rule, server)
    if reason is not None:
        return f"cannot be used: {reason}"
    if not client_ca and (method == "cert" or any(name == "clientcert" for name, _unused in rule.options)):
        return "needs a certificate authority for client certificates: mount one as /etc/pgops/tls/ca.crt"
    return None


def _warnings(rule: RuleSpec) -> list[Message]:
    texts = []
    if rule.method == "password" and rule.type != "hostssl":
        texts.append("=password lets clients send passwords in clear text where they use no TLS; set EXTERNAL_ACCESS_TLS=require")
    if rule.method == "trust":
        texts.append("=trust: nobody is asked for a password")
    return [Message("warning", f"EXTERNAL_ACCESS_METHOD{text}", "EXTERNAL_ACCESS_METHOD") for text in texts]


def _shown(method: str) -> str:
    return method if re.fullmatch(r"[a-z0-9-]+", method) else repr(method)


def _name(variable: str, item: str, role: t.Literal["database", "user"], server: Server) -> Token:
    """One item of a list as a token; quoted means a plain name, unquoted may be a keyword or ``+role``."""
    if item.startswith('"') and item.endswith('"') and len(item) > 2:
        name, quoted = item[1:-1].replace('""', '"'), True
    elif '"' in item:
        raise SettingsError(variable, f"{item!r}: a double quote stands in the middle; quote the whole name")
    else:
        keywords = catalog.DATABASE_KEYWORDS if role == "database" else frozenset({"all"})
        group = role == "user" and item.startswith("+") and len(item) > 1
        name, quoted = item, not (group or item in keywords)
    if len(name.encode("utf-8", "surrogateescape")) > 63 + (not quoted):
        raise SettingsError(variable, f"{name!r} is longer than the 63 bytes of a PostgreSQL name")
    if name.startswith("/") and quoted and server.major >= catalog.REGEX_SINCE:
        raise SettingsError(variable, f"{name!r} would be read as a regular expression; names that begin with / are not supported here")
    return Token(name, quoted)


def _address(item: str) -> Token:
    """One address as PostgreSQL writes it."""
    if item in catalog.ADDRESS_KEYWORDS:
        return Token(item)
    try:
        if "%" not in item:  # an interface's zone, which PostgreSQL takes in no network
            return Token(ipaddress.ip_network(item, strict=False).with_prefixlen)
    except ValueError:
        # A name is only what can be one: PostgreSQL would take 300.1.1.1, ALL or 10.0.0.0-10.0.0.9 for a host name that never matches.
        if _HOST_NAME.fullmatch(item):
            return Token(item)
    reason = (
        f"{item!r} is no address: write a network such as 192.0.2.0/24 or 2001:db8::/32, an address, a host name, all, samehost or samenet"
    )
    raise SettingsError("EXTERNAL_ACCESS_ADDRESSES", reason)


def _option(word: str) -> tuple[str, str]:
    name, sign, value = word.partition("=")
    if not sign or not name:
        raise SettingsError("EXTERNAL_ACCESS_OPTIONS", f"{word!r} is not of the form name=value")
    return name, value
