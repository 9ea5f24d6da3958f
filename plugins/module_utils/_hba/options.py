# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Authentication options: the server's checks in the server's order, and what the view shows of them.

Source: ``parse_hba_auth_opt``, the checks at the end of ``parse_hba_line``, ``check_oauth_validator`` (18) and ``get_hba_options``.
"""

from __future__ import annotations

import typing as t

from . import catalog
from .address import Resolver
from .errors import Refused
from .ldapurl import BadLdapUrl, as_c_int, parse_ldap_url
from .model import Server, Token


class Options:
    """The options of one line while they are read."""

    def __init__(self, record_type: str, method: str, server: Server, resolve: Resolver) -> None:
        self.record_type = record_type
        self.method = method
        self.server = server
        self.resolve = resolve
        self.given: list[tuple[str, str]] = []
        self.values: dict[str, str] = {}
        self.flags: dict[str, bool] = {"include_realm": method in {"gss", "sspi"}}
        self.clientcert: str | None = None
        self.ldap_scope = 0
        self.radius: dict[str, list[str]] = {}

    def read(self, token: Token) -> None:
        """Take one option. Raises Refused."""
        name, equals, value = token.text.partition("=")
        if not equals:
            raise Refused(f"authentication option not in name=value format: {token.text}")
        self.ldap_scope = 2  # every option resets the scope, so a URL's own survives only when it comes last
        option = catalog.OPTIONS[self.server.major].get(name)
        if option is None:
            raise Refused(f'unrecognized authentication option name: "{name}"')
        if option.hostssl_only and self.record_type != "hostssl":
            raise Refused(f'{name} can only be configured for "hostssl" rows')
        if option.methods is not None and self.method not in option.methods:
            raise Refused(f'authentication option "{name}" is only valid for authentication methods {option.methods_text}')
        self.given.append((name, value))
        special = _SPECIAL.get(name)
        if option.boolean:
            self.flags[name] = value == "1"
        elif special is not None:
            special(self, name, value)
        else:
            self.values[name] = value

    def finish(self) -> bool:
        """Check what must be there and what must not be together. True when the line's warning is cleared. Raises Refused."""
        if self.method == "ldap":
            self._finish_ldap()
        elif self.method == "radius":
            self._finish_radius()
        elif self.method == "oauth":
            self._finish_oauth()
            return True
        elif self.method == "cert":
            minor = self.server.minor
            old = minor is not None and minor < catalog.CERT_IMPLIES_FULL_SINCE_MINOR.get(self.server.major, 0)
            self.clientcert = "verify-ca" if old else "verify-full"
        return False

    # ------------------------------------------------------------------------------------------------ single options

    def _clientcert(self, _name: str, value: str) -> None:
        old = self.server.major <= 13
        levels = {"verify-full": "verify-full", "verify-ca": "verify-ca"}
        if old:
            levels["1"] = "verify-ca"
        if value in levels:
            if not old and self.method == "cert" and value == "verify-ca":
                raise Refused('clientcert can only be set to "verify-full" when using "cert" authentication')
            self.clientcert = levels[value]
        elif old and value in {"0", "no-verify"}:
            if self.method == "cert":
                cannot = "can not" if self.server.major == 12 else "cannot"
                raise Refused(f'clientcert {cannot} be set to "no-verify" when using "cert" authentication')
            self.clientcert = None
        else:
            raise Refused(f'invalid value for clientcert: "{value}"', shown=False)

    def _clientname(self, name: str, value: str) -> None:
        if value not in {"CN", "DN"}:
            raise Refused(f'invalid value for clientname: "{value}"', shown=False)
        self.values[name] = value

    def _ldapport(self, name: str, value: str) -> None:
        port = as_c_int(value)
        if port == 0:
            raise Refused(f'invalid LDAP port number: "{value}"')
        self.values[name] = str(port)

    def _ldapurl(self, _name: str, value: str) -> None:
        try:
            url = parse_ldap_url(value)
        except BadLdapUrl as error:
            raise Refused(f'could not parse LDAP URL "{value}": {error}') from None
        if url.scheme not in {"ldap", "ldaps"}:
            raise Refused(f"unsupported LDAP URL scheme: {url.scheme}")
        self.values["ldapscheme"] = url.scheme
        self.values["ldapport"] = str(url.port)
        parts = (("ldapserver", url.host), ("ldapbasedn", url.dn), ("ldapsearchattribute", url.attribute), ("ldapsearchfilter", url.filter))
        self.values.update((name, part) for name, part in parts if part is not None)
        self.ldap_scope = url.scope

    def _radiusservers(self, name: str, value: str) -> None:
        servers = self._radius_list(name, value, "server")
        for server in servers:
            if not server or not self.resolve(server):
                message = f'could not translate RADIUS server name "{server}" to address: Name or service not known'
                raise Refused(message, shown=False)

    def _radiusports(self, name: str, value: str) -> None:
        ports = split_guc_list(value, self.server.major)
        if ports is None:
            raise Refused(f'invalid RADIUS port number: "{value}"')
        if any(as_c_int(port) == 0 for port in ports):
            raise Refused(f'invalid RADIUS port number: "{value}"', shown=False)
        self.radius[name] = ports
        self.values[name] = value

    def _radiussecrets(self, name: str, value: str) -> None:
        self._radius_list(name, value, "secret")

    def _radiusidentifiers(self, name: str, value: str) -> None:
        self._radius_list(name, value, "identifiers")

    def _radius_list(self, name: str, value: str, what: str) -> list[str]:
        items = split_guc_list(value, self.server.major)
        if items is None:
            raise Refused(f'could not parse RADIUS {what} list "{value}"', shown=False)
        self.radius[name] = items
        self.values[name] = value
        return items

    # ---------------------------------------------------------------------------------------------- together, at the end

    def _need(self, name: str, present: bool) -> None:
        if not present:
            raise Refused(f'authentication method "{self.method}" requires argument "{name}" to be set')

    def _finish_ldap(self) -> None:
        has = self.values.keys()
        if has & {"ldapprefix", "ldapsuffix"}:
            if has & {"ldapbasedn", "ldapbinddn", "ldapbindpasswd", "ldapsearchattribute", "ldapsearchfilter"}:
                if self.server.major >= 18:
                    raise Refused("cannot mix options for simple bind and search+bind modes")
                raise Refused(
                    "cannot use ldapbasedn, ldapbinddn, ldapbindpasswd, ldapsearchattribute, ldapsearchfilter, or ldapurl"
                    " together with ldapprefix"
                )
        elif "ldapbasedn" not in has:
            raise Refused('authentication method "ldap" requires argument "ldapbasedn", "ldapprefix", or "ldapsuffix" to be set')
        if has >= {"ldapsearchattribute", "ldapsearchfilter"}:
            raise Refused("cannot use ldapsearchattribute together with ldapsearchfilter")

    def _finish_radius(self) -> None:
        servers = len(self.radius.get("radiusservers", ()))
        self._need("radiusservers", servers > 0)
        secrets = len(self.radius.get("radiussecrets", ()))
        self._need("radiussecrets", secrets > 0)
        counts = (
            ("secrets", secrets, {1, servers}),
            ("ports", len(self.radius.get("radiusports", ())), {0, 1, servers}),
            ("identifiers", len(self.radius.get("radiusidentifiers", ())), {0, 1, servers}),
        )
        for what, count, allowed in counts:
            if count not in allowed:
                message = f"the number of RADIUS {what} ({count}) must be 1 or the same as the number of RADIUS servers ({servers})"
                raise Refused(message, shown=self.server.major >= 14)

    def _finish_oauth(self) -> None:
        self._need("scope", "scope" in self.values)
        self._need("issuer", "issuer" in self.values)
        if self.server.oauth_validator_libraries is not None:
            self._choose_validator(self.server.oauth_validator_libraries)
        if self.flags.get("delegate_ident_mapping") and "map" in self.values:
            raise Refused("map cannot be used in combination with delegate_ident_mapping")

    def _choose_validator(self, libraries: tuple[str, ...]) -> None:
        setting = '"oauth_validator_libraries"' if self.server.major >= 19 else "oauth_validator_libraries"
        if not libraries:
            raise Refused(f"{setting} must be set for authentication method oauth")
        chosen = self.values.get("validator")
        if chosen is None:
            if len(libraries) != 1:
                raise Refused(
                    f'authentication method "oauth" requires argument "validator" to be set when {setting} contains multiple options'
                )
            self.values["validator"] = libraries[0]
        elif chosen not in libraries:
            raise Refused(f'validator "{chosen}" is not permitted by {setting}')

    # -------------------------------------------------------------------------------------------------------- the view

    def shown(self) -> tuple[tuple[str, str], ...]:
        """Options in effect as ``pg_hba_file_rules.options`` lists them."""
        items: list[tuple[str, str]] = []
        values = self.values
        if self.method in {"gss", "sspi"}:
            if self.flags["include_realm"]:
                items.append(("include_realm", "true"))
            items += _present(values, "krb_realm")
        items += _present(values, "map")
        if self.clientcert is not None:
            items.append(("clientcert", self.clientcert))
        items += _present(values, "pamservice")
        if self.method == "ldap":
            items += self._shown_ldap()
        elif self.method == "radius":
            items += _present(values, *("radius" + name for name in catalog.RADIUS_SHOWN))
        elif self.method == "oauth":
            items += _present(values, "issuer", "scope", "validator")
            if self.flags.get("delegate_ident_mapping"):
                items.append(("delegate_ident_mapping", "true"))
        return tuple(items)

    def _shown_ldap(self) -> list[tuple[str, str]]:
        items = _present(self.values, "ldapserver", "ldapport")
        if _shows_ldapscheme(self.server):
            items += _present(self.values, "ldapscheme")
        if self.flags.get("ldaptls"):
            items.append(("ldaptls", "true"))
        items += _present(self.values, *("ldap" + name for name in catalog.LDAP_SHOWN))
        if self.ldap_scope:
            items.append(("ldapscope", str(self.ldap_scope)))
        return items


_SPECIAL: dict[str, t.Callable[[Options, str, str], None]] = {
    "clientcert": Options._clientcert,
    "clientname": Options._clientname,
    "ldapport": Options._ldapport,
    "ldapurl": Options._ldapurl,
    "radiusservers": Options._radiusservers,
    "radiussecrets": Options._radiussecrets,
    "radiusports": Options._radiusports,
    "radiusidentifiers": Options._radiusidentifiers,
}


def _present(values: dict[str, str], *names: str) -> list[tuple[str, str]]:
    return [(name, values[name]) for name in names if name in values]


def _shows_ldapscheme(server: Server) -> bool:
    if server.major == 12:
        return False
    return server.minor is None or server.minor >= catalog.LDAPSCHEME_SHOWN_SINCE_MINOR.get(server.major, 0)


def split_guc_list(text: str, major: int) -> list[str] | None:
    """A comma list as ``SplitGUCList`` reads it: items may be double-quoted, quotes doubled inside. None when the syntax is wrong."""
    blanks = " \t\n\r\f\v" if major >= 17 else " \t\n\r\f"
    rest = text.strip(blanks)
    if not rest:
        return []
    items: list[str] = []
    pos, size = 0, len(rest)
    while True:
        found = _list_item(rest, pos, blanks)
        if found is None:
            return None
        item, pos = found
        items.append(item)
        while pos < size and rest[pos] in blanks:
            pos += 1
        if pos >= size:
            return items
        if rest[pos] != ",":
            return None
        pos += 1
        while pos < size and rest[pos] in blanks:
            pos += 1


def _list_item(text: str, pos: int, blanks: str) -> tuple[str, int] | None:
    if not text.startswith('"', pos):
        end = pos
        while end < len(text) and text[end] != "," and text[end] not in blanks:
            end += 1
        return (text[pos:end], end) if end > pos else None
    parts: list[str] = []
    pos += 1
    while True:
        close = text.find('"', pos)
        if close < 0:
            return None
        parts.append(text[pos:close])
        pos = close + 1
        if not text.startswith('"', pos):
            return "".join(parts), pos
        parts.append('"')
        pos += 1
