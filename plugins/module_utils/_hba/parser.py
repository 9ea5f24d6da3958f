# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""One line's fields → a :class:`~.model.Rule` or a :class:`~.model.LineError`, in the server's order of checks: its first error wins.

Source: ``parse_hba_line`` in PostgreSQL's ``src/backend/libpq/hba.c``, majors 12 to 18, checked against running servers.
"""

from __future__ import annotations

import re
import typing as t
from functools import lru_cache

from . import catalog
from .address import DEFAULT_INTERFACES, V4, V4_MASKS, Numeric, Resolver, network, numeric, numeric_or_localhost, plain_network, prefix_mask
from .errors import Refused
from .lexer import Scan, scan, token_limit, word
from .model import Address, Field, LineError, Row, Rule, Server


class Host(t.NamedTuple):
    """What parsing asks of the machine that the server runs on."""

    resolve: Resolver = numeric_or_localhost
    """Whether a RADIUS server's name resolves."""
    interfaces: frozenset[str] = DEFAULT_INTERFACES
    """Names of network interfaces, for zones of IPv6 addresses (``fe80::1%eth0``)."""


class Place(t.NamedTuple):
    """Where a line stands."""

    file: str = ""
    line: int = 0
    last_line: int = 0
    raw: str = ""


DEFAULT_HOST = Host()
_NO_PLACE = Place()


def parse_fields(fields: t.Sequence[Field], server: Server, place: Place = _NO_PLACE, number: int = 1, host: Host = DEFAULT_HOST) -> Row:
    """Parse one record.

    ``fields`` are the expanded fields of the line, at least one. ``number`` is the rule_number that the row has unless the view shows
    an error for it. Never raises for what a file may hold.
    """
    file, line, last_line, raw = place
    warning, hint = _warning(fields[0][0].text, server)
    try:
        record_type, databases, users, address, rest = _columns(fields, server, host)
        method = _method(fields, rest, record_type, server)
        shown: tuple[tuple[str, str], ...] = ()
        given: tuple[tuple[str, str], ...] = ()
        if len(fields) > rest + 1 or method in _HAS_REQUIREMENTS:
            from .options import Options  # noqa: PLC0415 - only lines with options, or a method that needs some, pay for its import

            options = Options(record_type, method, server, host.resolve)
            for field in fields[rest + 1 :]:
                for token in field:
                    options.read(token)
            if options.finish():
                warning = hint = None  # 18's check of the validator library clears it
            shown, given = options.shown(), tuple(options.given)
    except Refused as refused:
        return _refusal(refused, warning, place, number)
    return Rule(
        record_type,
        databases,
        users,
        address,
        method,
        shown,
        given,
        file,
        line,
        last_line,
        None if warning else number,
        warning,
        hint,
        raw,
    )


class Line:
    """A logical line's text as it is read: its fields and, when it is asked for, its rule. A file is read before and after an edit, and
    most lines are the same; a line that is about to be written is read before it is (``render.checked``) and again with its file."""

    __slots__ = ("_lines", "_placed", "_scan", "plain", "text")

    def __init__(self, text: str, lines: LineReader) -> None:
        self.text = text
        self._lines = lines
        self._scan: Scan | None = None
        self.plain = False
        """Known, once :meth:`rule` was asked, to be five words with nothing quoted, listed or commented."""
        self._placed: Rule | bool = True
        """The rule, at the place where it was seen last; True as long as nobody has looked, False when there is none to keep."""

    def scan(self) -> Scan:
        """Its fields, and the tokenizer's error."""
        found = self._scan
        if found is None:
            found = Scan(tuple(map(word, self.text.split()))) if self.plain else scan(self.text, self._lines.server)
            self._scan = found
        return found

    def rule(self, file: str = "", line: int = 0, last_line: int = 0, number: int = 1) -> Rule | None:
        """What :func:`parse_fields` makes of the line whatever the host; None when it is no rule, or when that may depend on the host or
        on other files (a RADIUS server's name, a zone, an ``@file``): then the caller has to parse it."""
        known = self._placed
        if known is True:
            plain = self._lines.plain_rule(self.text, file, line, last_line, number)
            self.plain = plain is not None
            known = self._placed = plain or self._parse()
        if known is False or known is True:
            return None
        if known.line != line or known.number != number or known.last_line != last_line or known.file != file:
            shown = None if known.number is None else number  # a row with a warning has none
            known = self._placed = Rule._make((*known[:7], file, line, last_line, shown, known.warning, known.hint, self.text))
        return known

    def _parse(self) -> Rule | bool:
        text = self.text
        fields, error = self.scan()
        if not fields or error is not None or "@" in text or "%" in text or "radius" in text:
            return False
        row = parse_fields(fields, self._lines.server, Place(raw=text))
        return row if isinstance(row, Rule) else False


_PLAIN_LINE = re.compile("[A-Za-z0-9_.:/ \t-]+")
"""Nothing quoted, listed, included, commented or joined; and no expression where a slash begins no word."""
_KEPT = 65536


class LineReader:
    """Lines as one server reads them, each text once."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._known: dict[str, Line] = {}
        self._methods: dict[tuple[str, str], Rule | None] = {}
        limit = token_limit(server)
        self._longest = 2000 if limit is None else min(2000, limit)

    def __call__(self, text: str) -> Line:
        """The line of a text; it is kept, until there are very many."""
        found = self._known.get(text)
        if found is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            found = self._known[text] = Line(text, self)
        return found

    def plain_rule(self, text: str, file: str, line: int, last_line: int, number: int) -> Rule | None:
        """The rule of a line of five plain words, as most lines are; None for the others, which are to be parsed."""
        words = text.split()
        if len(words) != 5 or len(text) >= self._longest or _PLAIN_LINE.fullmatch(text) is None or " /" in text or "\t/" in text:
            return None
        kind, database, user, where, method = words
        key = (kind, method)
        if key not in self._methods:
            self._methods[key] = self._pattern(kind, method)
        pattern = self._methods[key]
        address = _host_or_network(where, DEFAULT_INTERFACES) if pattern is not None else None
        if pattern is None or not isinstance(address, Address) or where in catalog.ADDRESS_KEYWORDS:
            return None
        shown, method = (None if pattern.number is None else number), pattern.method
        columns = (kind, word(database), word(user), address, method, (), (), file, line, last_line, shown, pattern.warning)
        return Rule._make((*columns, pattern.hint, text))

    def _pattern(self, kind: str, method: str) -> Rule | None:
        """A rule of this type and method; None when a line of five words with them is not accepted, or needs more."""
        if kind == "local" or method in _HAS_REQUIREMENTS:
            return None
        row = parse_fields([word(text) for text in (kind, "a", "a", "10.0.0.0/8", method)], self.server)
        return row if isinstance(row, Rule) else None


line_reader = lru_cache(maxsize=8)(LineReader)
"""A server → its :class:`LineReader`."""


_HAS_REQUIREMENTS = frozenset({"ldap", "radius", "oauth", "cert", "gss", "sspi"})


def _refusal(refused: Refused, warning: str | None, place: Place, number: int) -> LineError:
    """An error that only the log knows leaves the row to the warning, if the line has one."""
    silent = not refused.shown
    return LineError(
        refused.message,
        place.file,
        place.line,
        refused.hint,
        refused.shown,
        number if silent and warning is None else None,
        place.raw,
        place.last_line,
        warning if silent else None,
    )


def _warning(record_type: str, server: Server) -> tuple[str | None, str | None]:
    """The two errors that the view shows although the line loads, with the log's hint."""
    if record_type == "hostssl":
        if "ssl" not in server.features:
            with_option = "--with-ssl" if server.major >= 14 else "--with-openssl"
            return catalog.WARN_SSL_BUILD, f"Compile with {with_option} to use SSL connections."
        if not server.ssl:
            setting = '"ssl = on"' if server.major >= 17 else "ssl = on"
            return catalog.WARN_SSL_OFF, f"Set {setting} in postgresql.conf."
    elif record_type == "hostgssenc" and "gssapi" not in server.features:
        return catalog.WARN_GSS_BUILD, "Compile with --with-gssapi to use GSSAPI connections."
    return None, None


def _columns(fields: t.Sequence[Field], server: Server, host: Host) -> tuple[str, Field, Field, Address | None, int]:
    """Type, databases, users and address, and the index of the method's field. Raises Refused."""
    if len(fields[0]) > 1:
        raise Refused("multiple values specified for connection type", catalog.HINT_CONNECTION_TYPE)
    record_type = fields[0][0].text
    if record_type not in catalog.RECORD_TYPES:
        raise Refused(f'invalid connection type "{record_type}"')
    count = len(fields)
    if count < 2:
        raise Refused("end-of-line before database specification")
    regexes = server.major >= catalog.REGEX_SINCE
    if regexes:
        _check_regexes(fields[1], server.major)
    if count < 3:
        raise Refused("end-of-line before role specification")
    if regexes:
        _check_regexes(fields[2], server.major)
    if record_type == "local":
        return record_type, fields[1], fields[2], None, 3
    address, rest = _address(fields, host)
    return record_type, fields[1], fields[2], address, rest


def _check_regexes(field: Field, major: int) -> None:
    for token in field:
        if token.text.startswith("/"):
            pattern = token.text[1:]
            reason = _compile_error(pattern, major)
            if reason is not None:
                raise Refused(f'invalid regular expression "{pattern}": {reason}')


@lru_cache(maxsize=4096)
def _compile_error(pattern: str, major: int) -> str | None:
    from .regex import compile_error  # noqa: PLC0415 - only files with regular expressions pay for its import

    return compile_error(pattern, major=major)


def _address(fields: t.Sequence[Field], host: Host) -> tuple[Address, int]:
    """The address column, its mask column if it has one, and the index of the next field. Raises Refused."""
    if len(fields) < 4:
        raise Refused("end-of-line before IP address specification")
    field = fields[3]
    if len(field) > 1:
        raise Refused("multiple values specified for host address", catalog.HINT_ADDRESS)
    token = field[0]
    if not token.quoted and token.text in catalog.ADDRESS_KEYWORDS:
        return Address(token.text, token.text), 4
    found = _host_or_network(token.text, host.interfaces)
    if isinstance(found, Address):
        return found, 4
    if isinstance(found, str):
        raise Refused(found)
    return network(found, _netmask(fields, found, host)), 5


@lru_cache(maxsize=65536)
def _host_or_network(text: str, interfaces: frozenset[str]) -> Address | Numeric | str:
    """What the column says: a name or CIDR network, an address that needs a mask column, or the server's error."""
    left, slash, prefix = text.partition("/")
    mask = V4_MASKS.get(prefix)
    if mask is not None and V4.fullmatch(left) is not None:
        found = plain_network(left, mask)
        if found is not None:
            return found
    address = numeric(left, interfaces)
    if address is None:
        if slash:
            return f'specifying both host name and CIDR mask is invalid: "{text}"'
        return Address("name", left)
    if not slash:
        return address
    bits = prefix_mask(prefix, address.family)
    if bits is None:
        return f'invalid CIDR mask in address "{text}"'
    return network(address, bits)


def _netmask(fields: t.Sequence[Field], address: Numeric, host: Host) -> int:
    if len(fields) < 5:
        raise Refused("end-of-line before netmask specification", catalog.HINT_NETMASK_MISSING)
    field = fields[4]
    if len(field) > 1:
        raise Refused("multiple values specified for netmask")
    mask = numeric(field[0].text, host.interfaces)
    if mask is None:
        raise Refused(f'invalid IP mask "{field[0].text}": Name or service not known')
    if mask.family != address.family:
        raise Refused("IP address and mask do not match")
    return mask.value


def _method(fields: t.Sequence[Field], index: int, record_type: str, server: Server) -> str:
    """The method in effect. Raises Refused."""
    if len(fields) <= index:
        raise Refused("end-of-line before authentication method")
    field = fields[index]
    if len(field) > 1:
        raise Refused("multiple values specified for authentication type", catalog.HINT_METHOD)
    name = field[0].text
    method = catalog.method_of(name, server.major)
    if method is None:
        raise Refused(f'invalid authentication method "{name}"')
    if name == "md5" and server.db_user_namespace and server.major <= 16:
        raise Refused('MD5 authentication is not supported when "db_user_namespace" is enabled')
    if method.feature is not None and method.feature not in server.features:
        raise Refused(f'invalid authentication method "{name}": not supported by this build')
    if method.restriction is not None and not _allowed(method.restriction, record_type):
        raise Refused(method.refusal)
    return "peer" if name == "ident" and record_type == "local" else name


def _allowed(restriction: str, record_type: str) -> bool:
    if restriction == "not local":
        return record_type != "local"
    return record_type == restriction
