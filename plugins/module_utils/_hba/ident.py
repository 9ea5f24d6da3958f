# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""User name maps (pg_ident.conf): read them, tell which system user may become which role, write a line.

Source: ``parse_ident_line``, ``check_ident_usermap`` and ``check_usermap`` in PostgreSQL's ``src/backend/libpq/hba.c``; measured on
12 to 18 (reference 9). Reading shares lines, ``@files`` and includes with pg_hba.conf (:mod:`ruleset`).
"""

from __future__ import annotations

import functools
import heapq
import typing as t

from . import catalog, view
from .errors import NotRepresentable, UnsupportedPattern
from .lexer import logical_lines, scan
from .model import LineError, Role, Server, Token, encode
from .render import quote_token
from .roles import Memberships
from .ruleset import AuthLine, Lines, lines_of_text, read_lines

if t.TYPE_CHECKING:
    from .reader import Reader
    from .regex import Pattern


class Mapping(t.NamedTuple):
    """One line of a user name map."""

    map_name: str
    system_user: Token
    role: Token
    """The third column. 16 and later: ``all``, ``+role`` and ``/regex`` are special, as in a rule's user column."""
    file: str = ""
    line: int = 0
    last_line: int = 0
    number: int | None = None
    """``map_number``: position among the lines without an error, from 1."""
    raw: str = ""


IdentRow = t.Union[Mapping, LineError]


class IdentFile(t.NamedTuple):
    """What a server makes of a pg_ident.conf."""

    rows: tuple[IdentRow, ...]
    """One per line that is not blank, in load order: the rows of ``pg_ident_file_mappings``."""
    mappings: tuple[Mapping, ...]
    errors: tuple[LineError, ...]
    loads: bool
    """False: at start the server runs without any map, at reload it keeps those it had."""
    unreadable: str | None = None
    """The server's message when the main file cannot be opened; the view raises it instead of showing rows."""
    files: tuple[str, ...] = ()

    def view_rows(self, server: Server) -> list[view.ViewRow]:
        """Rows as ``pg_ident_file_mappings`` shows them (15 and later)."""
        return [_view_row(row, server) for row in self.rows]


def _view_row(row: IdentRow, server: Server) -> view.ViewRow:
    columns = view.ident_columns(server)
    shown: view.ViewRow = dict.fromkeys(columns)
    if "map_number" in columns:
        shown["map_number"] = row.number
        shown["file_name"] = row.file
    shown["line_number"] = row.line
    if isinstance(row, LineError):
        shown["error"] = row.message
    else:
        shown.update(map_name=row.map_name, sys_name=row.system_user.text, pg_username=row.role.text)
    return shown


# ------------------------------------------------------------------------------------------------------------------- reading


def load(path: str, reader: Reader, server: Server) -> IdentFile:
    """Read a pg_ident.conf as the server does. Never raises for what files hold or for files that are missing."""
    return _ident_file(read_lines(path, reader, server, usermap=True), path, server)


def parse_text(raw: bytes, server: Server, file: str = "pg_ident.conf", reader: Reader | None = None) -> IdentFile:
    """Read one text. What it includes is looked up through ``reader``; without one every inclusion is a missing file."""
    return _ident_file(lines_of_text(raw, server, file, reader), file, server)


def _ident_file(lines: Lines, path: str, server: Server) -> IdentFile:
    if lines.unreadable is not None:
        return IdentFile((), (), (LineError(lines.unreadable, path),), False, lines.unreadable)
    rows: list[IdentRow] = []
    number = 1
    for line in lines.lines:
        row = parse_line(line, server, number)
        if isinstance(row, Mapping):
            number += 1
        rows.append(row)
    mappings = tuple([row for row in rows if isinstance(row, Mapping)])
    errors = tuple([row for row in rows if isinstance(row, LineError)])
    return IdentFile(tuple(rows), mappings, errors, not errors, None, lines.files)


def parse_line(line: AuthLine, server: Server, number: int = 1) -> IdentRow:
    """One line: three columns of one token each; further columns are ignored by the server."""
    message = line.error
    if message is None:
        message = _problem(line, server)
    if message is not None:
        return LineError(message, line.file, line.line, raw=line.raw, last_line=line.last_line)
    (name,), (system_user,), (role,) = line.fields[:3]
    return Mapping(name.text, system_user, role, line.file, line.line, line.last_line, number, line.raw)


def _problem(line: AuthLine, server: Server) -> str | None:
    """The server's error, in its order: column by column, then the two regular expressions."""
    for column in range(3):
        if column >= len(line.fields):
            return "missing entry at end of line"
        if len(line.fields[column]) > 1:
            return "multiple values in ident field"
    columns = line.fields[1:3] if server.major >= catalog.REGEX_SINCE else line.fields[1:2]
    for (token,) in columns:
        if token.text.startswith("/"):
            from .regex import compile_error  # noqa: PLC0415 - only files with regular expressions pay for its import

            reason = compile_error(token.text[1:], major=server.major)
            if reason is not None:
                return f'invalid regular expression "{token.text[1:]}": {reason}'
    return None


def group_problem(mapping: Mapping, server: Server) -> str:
    """Why the server gives up a map's look-up at this line, whenever its system user matches; empty when it does not.

    ``\\1`` without a group is no error at load time; ``check_ident_usermap`` reports it at login, and tries no later line.
    """
    text, wanted = mapping.system_user.text, mapping.role.text
    if not text.startswith("/") or "\\1" not in wanted or (server.major >= catalog.REGEX_SINCE and _ignores_groups(mapping.role)):
        return ""
    pattern = _pattern(text[1:], server.major)
    if isinstance(pattern, str) or pattern.groups:
        return ""
    return f'regular expression "{text[1:]}" has no subexpressions as requested by backreference in "{wanted}"'


def role_is_all(token: Token, server: Server) -> bool:
    """Whether a database user column stands for every role."""
    return server.major >= catalog.REGEX_SINCE and token == Token("all")


def role_is_name(token: Token, server: Server) -> bool:
    """Whether a database user column, its ``\\1`` aside, is a mere name."""
    return server.major < catalog.REGEX_SINCE or not (role_is_all(token, server) or _ignores_groups(token))


def matches_system(mapping: Mapping, system_user: str, server: Server) -> bool:
    """Whether a line is about a system user; False also where the expression cannot be judged."""
    text = mapping.system_user.text
    if not text.startswith("/"):
        return text == system_user
    pattern = _pattern(text[1:], server.major)
    try:
        return not isinstance(pattern, str) and pattern.search(system_user)
    except UnsupportedPattern:
        return False


def _ignores_groups(token: Token) -> bool:
    """16 and later look at ``+role`` and ``/regex`` as they are written."""
    return token.text.startswith("/") or (token.text.startswith("+") and not token.quoted)


# ------------------------------------------------------------------------------------------------------------------- simulate

ALLOWED = "allowed"
REFUSED = "refused"
UNDECIDED = "undecided"


class MapResult(t.NamedTuple):
    """Whether an authenticated system user may connect as a role."""

    outcome: str
    """``allowed``, ``refused``, or ``undecided`` where something is missing; then ``mapping`` is the line that cannot be told."""
    mapping: Mapping | None = None
    """The line that allows it, or that ended the look-up."""
    reason: str = ""
    """Why not, in the words of the server's log where it has some."""


class UserMaps:
    """Maps compiled for many questions."""

    def __init__(self, mappings: t.Iterable[Mapping], *, server: Server, roles: t.Iterable[Role] | None = None) -> None:
        self._by_name: dict[str, list[Mapping]] = {}
        self._literal: dict[tuple[str, str], list[tuple[int, Mapping]]] = {}
        self._regex: dict[str, list[tuple[int, Mapping]]] = {}
        for number, mapping in enumerate(mappings):
            name, text = mapping.map_name, mapping.system_user.text
            self._by_name.setdefault(name, []).append(mapping)
            if text.startswith("/"):
                self._regex.setdefault(name, []).append((number, mapping))
            else:
                self._literal.setdefault((name, text), []).append((number, mapping))
        self._special = server.major >= catalog.REGEX_SINCE
        self._major = server.major
        self.memberships = None if roles is None else Memberships(roles)

    def may_become(self, map_name: str | None, system_user: str, role: str, *, ignore_case: bool = False) -> MapResult:
        """Whether ``system_user``, once authenticated, may connect as ``role``.

        ``map_name``: the rule's ``map=``; None or empty means that both names must be equal. ``role`` as the server keeps it
        (63 bytes). It need not exist: a map with ``all`` lets unknown roles pass, and the server refuses them afterwards.
        ``ignore_case``: gss and sspi with ``krb_caseins_users = on``.
        """
        if not map_name:
            if _same(system_user, role, ignore_case):
                return MapResult(ALLOWED)
            return MapResult(REFUSED, None, f"provided user name ({role}) and authenticated user name ({system_user}) do not match")
        for mapping in self._by_name.get(map_name, ()) if ignore_case else self._candidates(map_name, system_user):
            try:
                result = self._line(mapping, system_user, role, ignore_case)
            except UnsupportedPattern as error:
                return MapResult(UNDECIDED, mapping, str(error))
            if result is not None:
                return result
        return MapResult(REFUSED, None, f'no match in usermap "{map_name}" for user "{role}" authenticated as "{system_user}"')

    def _candidates(self, map_name: str, system_user: str) -> t.Iterator[Mapping]:
        """The lines that may be about a system user, in order: those with its name, and the expressions."""
        literal, regex = self._literal.get((map_name, system_user), []), self._regex.get(map_name, [])
        return (mapping for _number, mapping in heapq.merge(literal, regex, key=lambda item: item[0]))

    def _line(self, mapping: Mapping, system_user: str, role: str, ignore_case: bool) -> MapResult | None:
        """What one line says; None to go on with the next."""
        wanted = mapping.role.text
        if not mapping.system_user.text.startswith("/"):
            if not _same(mapping.system_user.text, system_user, ignore_case):
                return None
            return self._role(mapping, mapping.role, role, ignore_case)
        pattern = _pattern(mapping.system_user.text[1:], self._major)
        if isinstance(pattern, str):
            return MapResult(UNDECIDED, mapping, pattern)
        if "\\1" not in wanted or (self._special and _ignores_groups(mapping.role)):
            return self._role(mapping, mapping.role, role, ignore_case) if pattern.search(system_user) else None
        try:
            match = pattern.match(system_user)
        except UnsupportedPattern as error:
            return MapResult(UNDECIDED, mapping, str(error))
        if match is None:
            return None
        span = match.groups[0] if match.groups else None
        if span is None:
            text = mapping.system_user.text[1:]
            reason = f'regular expression "{text}" has no subexpressions as requested by backreference in "{wanted}"'
            return MapResult(REFUSED, mapping, reason)
        group = encode(system_user)[span[0] : span[1]]
        # The outcome is a literal name: "all" made of \1 is the role of that name.
        made = encode(wanted).replace(b"\\1", group, 1).decode("utf-8", "surrogateescape")
        return MapResult(ALLOWED, mapping) if _same(made, role, ignore_case) else None

    def _role(self, mapping: Mapping, token: Token, role: str, ignore_case: bool) -> MapResult | None:
        text = token.text
        if self._special:
            if text == "all" and not token.quoted:
                return MapResult(ALLOWED, mapping)
            if text.startswith("+") and not token.quoted:
                return self._group(mapping, text[1:], role)
            if text.startswith("/"):
                pattern = _pattern(text[1:], self._major)
                if isinstance(pattern, str):
                    return MapResult(UNDECIDED, mapping, pattern)
                return MapResult(ALLOWED, mapping) if pattern.search(role) else None
        return MapResult(ALLOWED, mapping) if _same(text, role, ignore_case) else None

    def _group(self, mapping: Mapping, group: str, role: str) -> MapResult | None:
        if self.memberships is None:
            if role == group:
                return MapResult(ALLOWED, mapping)
            return MapResult(UNDECIDED, mapping, f"whether {role!r} is a member of {group!r} is not known; give the roles")
        return MapResult(ALLOWED, mapping) if self.memberships.is_member(role, group) else None

    def reachable_roles(self, map_name: str | None, system_user: str, candidates: t.Iterable[str] | None = None) -> tuple[str, ...]:
        """The roles that a system user may become, sorted: of ``candidates``, or of all roles that were given.

        Roles whose answer is undecided are left out. Raises ValueError when there is nothing to choose from.
        """
        if candidates is None:
            if self.memberships is None:
                raise ValueError("give the roles of the server, or candidates")
            candidates = self.memberships.names
        return tuple(sorted(name for name in candidates if self.may_become(map_name, system_user, name).outcome == ALLOWED))


def may_become(
    mappings: t.Iterable[Mapping],
    map_name: str | None,
    system_user: str,
    role: str,
    *,
    server: Server,
    roles: t.Iterable[Role] | None = None,
) -> MapResult:
    """A single question; see :meth:`UserMaps.may_become`."""
    return UserMaps(mappings, server=server, roles=roles).may_become(map_name, system_user, role)


def reachable_roles(
    mappings: t.Iterable[Mapping], map_name: str | None, system_user: str, *, server: Server, roles: t.Iterable[Role]
) -> tuple[str, ...]:
    """A single question; see :meth:`UserMaps.reachable_roles`."""
    return UserMaps(mappings, server=server, roles=roles).reachable_roles(map_name, system_user)


def _same(first: str, second: str, ignore_case: bool) -> bool:
    """Byte for byte, or without regard to the case of ASCII letters."""
    return encode(first).lower() == encode(second).lower() if ignore_case else first == second


@functools.lru_cache(maxsize=1024)
def _pattern(text: str, major: int) -> Pattern | str:
    """The compiled expression, or why it cannot be used."""
    from .regex import compile_pattern  # noqa: PLC0415 - only files with regular expressions pay for its import

    try:
        return compile_pattern(text, major=major)
    except (UnsupportedPattern, ValueError) as error:
        return str(error)


# -------------------------------------------------------------------------------------------------------------------- writing


def render_mapping(map_name: str, system_user: str, role: str, server: Server, *, literal: bool = True) -> str:
    """A line for three columns, quoted exactly where needed, read back before it is given out.

    ``literal``: ``role`` is a role's name, whatever it looks like. Otherwise it is what a line says: ``all``, ``+role`` and ``/regex``
    (16 and later) and ``\\1`` are special. ``system_user`` is always what a line says: one that begins with ``/`` is a regular
    expression, ``all`` and ``+x`` are names. Raises :class:`errors.NotRepresentable`, and ValueError for an invalid expression.
    """
    if literal and system_user.startswith("/") and "\\1" in role:
        raise NotRepresentable("role", role, "\\1 stands for a group of the system user's regular expression here")
    columns = (
        quote_token(map_name, "map", server),
        quote_token(system_user, "system-user", server),
        quote_token(role, "user", server, literal),
    )
    line = "\t".join(columns)
    read = parse_mapping(line, server)
    if (read.map_name, read.system_user.text) != (map_name, system_user):
        raise NotRepresentable("mapping", line, "the server would read other values than the ones given")
    return line


def parse_mapping(text: str, server: Server) -> Mapping:
    """A mapping from the text of one line. Raises ValueError with the server's reason, or when it is not exactly one mapping."""
    lines = logical_lines(encode(text), server)
    if len(lines) != 1:
        raise ValueError("exactly one line is wanted")
    fields, error = scan(lines[0].text, server)
    row = parse_line(AuthLine("", 1, 1, fields, lines[0].text, error), server)
    if isinstance(row, LineError):
        raise ValueError(row.message)
    return row
