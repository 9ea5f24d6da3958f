# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""User name maps that callers ask for, and pg_ident.conf as plans see it.

Values carry what the file would: ``/regex``, in ``database_user`` of 16 and later ``all`` and ``+role``, and ``@file`` are special; quotes
inside the value (``'"all"'``) make a name of all but the expression. Every line of a map is an alternative, so that an entry is there or
not, and is never changed into another. What counts: the map's name, the system user and the database user as the server reads them
(``parse_ident_line`` in PostgreSQL's ``hba.c``); further columns, which the server ignores, do not.

Example::

    spec = mapping_from_dict({"map": "staff", "system_user": "alice", "database_user": "app"}, server)
    plan.plan(Document.parse(raw, server), plan.Request(rules=(spec,)), IDENT)
"""

from __future__ import annotations

import functools
import typing as t

from . import catalog, comments
from .edits import recommented
from .errors import InvalidRule, NotRepresentable
from .ident import Mapping, group_problem, parse_line
from .lexer import logical_lines, scan
from .meaning import name_key
from .model import Field, LineError, Server, Token, encode
from .render import Role, render_token
from .ruleset import AuthLine
from .spec import name_token, word

if t.TYPE_CHECKING:
    from .document import Document
    from .edits import Entries, Entry
    from .parser import Line

COLUMNS = ("map", "system_user", "database_user")
_ROLES: tuple[Role, ...] = ("map", "system-user", "user")
_WIDTHS = (16, 24)
"""The columns of PostgreSQL's own sample: MAPNAME, SYSTEM-USERNAME, DATABASE-USERNAME."""


class MappingSpec(t.NamedTuple):
    """A mapping that somebody wants to be in a file, or (without a user: whatever the user) not to be in it."""

    map: Token
    system_user: Token | None = None
    database_user: Token | None = None
    comment: str | None = None
    """None: nothing is said about the comment; one that is there stays."""
    expires: str | None = None
    """A date (valid to its end, UTC) or a time with its offset; None: no expiry, and one that is there is taken away."""


FIELDS = MappingSpec._fields


class MapMeaning(t.NamedTuple):
    """A mapping as comparable texts; the first letter says what each is (``meaning.name_key``)."""

    map: str
    system_user: str
    database_user: str

    @property
    def key(self) -> MapMeaning:
        """All of it: nothing is left that two entries of one key could disagree about."""
        return self


def mapping_from_dict(data: t.Mapping[str, t.Any], server: Server, where: str = "rule", *, absent: bool = False) -> MappingSpec:
    """A mapping from a dictionary with the keys of :class:`MappingSpec`; ``absent`` allows the users to be missing.

    Raises InvalidRule whose ``where`` names the option (``rules[2].system_user``).
    """
    for name in data:
        if name not in FIELDS:
            raise InvalidRule(f"{where}.{name}", f"is not a part of a user name map; these are: {', '.join(FIELDS)}")
    given = {name: name_token(data[name], f"{where}.{name}", server) for name in COLUMNS if data.get(name) is not None}
    for name in COLUMNS:
        if name not in given and not (absent and name != "map"):
            raise InvalidRule(f"{where}.{name}", "is missing")
    spec = MappingSpec(
        map=given["map"],
        system_user=given.get("system_user"),
        database_user=given.get("database_user"),
        comment=word(data, "comment", where, blank=True),
        expires=word(data, "expires", where),
    )
    return check_mapping(spec, server, where)


def mapping_from_line(text: str, server: Server, where: str = "rule", *, absent: bool = False) -> MappingSpec:
    """A mapping from one line as it stands in a file, its comment included. Raises InvalidRule."""
    line = text[:-1] if text.endswith("\n") else text
    if "\n" in line or "\0" in line or len(logical_lines(encode(line) + b"\nx", server)) != 2:
        raise InvalidRule(where, "is not one line (it holds a line feed or NUL, or ends with a backslash)")
    found = scan(line, server)
    if found.error is None and not found.fields:
        raise InvalidRule(where, f"holds no user name map: {line!r}")
    if found.error is None and len(found.fields) == 2 and found.fields[0][0].text in catalog.INCLUDE_WORDS:
        raise InvalidRule(where, "is an include record, not a user name map")
    fields = found.fields
    if absent and found.error is None and 0 < len(fields) < 3:
        fields = (*fields, *[(_ANYBODY,)] * (3 - len(fields)))
    row = parse_line(AuthLine("", 1, 1, fields, line, found.error), server)
    if isinstance(row, LineError):
        raise InvalidRule(where, row.message)
    if len(fields) > 3:
        raise InvalidRule(where, "has more than three columns; the server ignores the others, so put them into a comment")
    _unused, comment, expires = comments.split(line)
    system_user, role = [None if field[0] is _ANYBODY else field[0] for field in fields[1:]]
    return check_mapping(MappingSpec(fields[0][0], system_user, role, comment or None, expires), server, where)


_ANYBODY = Token("x", True)


def check_mapping(spec: MappingSpec, server: Server, where: str = "rule") -> MappingSpec:
    """Raise InvalidRule when no line can hold the mapping or the server would refuse it; else give it back."""
    system_user = spec.system_user or _ANYBODY
    whole = spec._replace(system_user=system_user, database_user=spec.database_user or _ANYBODY)
    try:
        _line, mapping = rendered(whole, server)
    except NotRepresentable as exc:
        names = dict(zip(_ROLES, COLUMNS))
        raise InvalidRule(f"{where}.{names.get(t.cast(Role, exc.what), exc.what)}", f"{exc.value!r}: {exc.reason}") from exc
    except InvalidRule as exc:
        theirs = system_user.text.startswith("/") and exc.reason.startswith(f'invalid regular expression "{system_user.text[1:]}":')
        column = "" if not exc.reason.startswith("invalid regular") else ".system_user" if theirs else ".database_user"
        raise InvalidRule(f"{where}{column}", exc.reason) from exc
    problem = group_problem(mapping, server)
    if problem:
        raise InvalidRule(f"{where}.database_user", f"{problem}; the server would stop looking at the map there")
    return spec


@functools.lru_cache(maxsize=32768)
def rendered(spec: MappingSpec, server: Server) -> tuple[str, Mapping]:
    """A mapping as one line without line end, comment and expiry included, and what the server makes of it.

    The line is read back before it is returned. Raises NotRepresentable for a value that no line can hold, InvalidRule with the server's
    own reason.
    """
    tokens = _tokens(spec)
    columns = [render_token(token, role, server) for token, role in zip(tokens, _ROLES)]
    padded = [column.ljust(width - 1) + " " for column, width in zip(columns, _WIDTHS)]
    code = "".join([*padded, columns[2]])
    comment = comments.join(spec.comment, spec.expires, server)
    line = f"{code}  {comment}" if comment else code
    read = logical_lines(encode(line) + b"\nx", server)
    if len(read) != 2 or read[0].text != line or read[0].error is not None:
        raise NotRepresentable("mapping", line, read[0].error or "it would not stay one line")
    found = scan(line, server)
    row = parse_line(AuthLine("", 1, 1, found.fields, line, found.error), server)
    if isinstance(row, LineError):
        raise InvalidRule("mapping", row.message)
    if _meaning(found.fields, server) != _meaning(tuple([(token,) for token in tokens]), server):
        raise NotRepresentable("mapping", line, "the server would read other values than the ones given")
    return line, row


def _tokens(spec: MappingSpec) -> tuple[Token, Token, Token]:
    if spec.system_user is None or spec.database_user is None:
        raise InvalidRule("system_user" if spec.system_user is None else "database_user", "is missing")
    return spec.map, spec.system_user, spec.database_user


def _meaning(fields: t.Sequence[Field], server: Server) -> MapMeaning:
    (name,), (system_user,), (role,) = fields[:3]
    special = server.major >= catalog.REGEX_SINCE
    user = name_key(role, "user", special) if special or _is_file(role) else "n" + role.text
    return MapMeaning(_name(name), "r" + system_user.text if system_user.text.startswith("/") else _name(system_user), user)


def _name(token: Token) -> str:
    return ("f" if _is_file(token) else "n") + token.text


def _is_file(token: Token) -> bool:
    return not token.quoted and len(token.text) > 1 and token.text.startswith("@")


class IdentGrammar:
    """pg_ident.conf as plans see it; implements :class:`grammar.Grammar`."""

    may_be_empty = True

    def line(self, spec: MappingSpec, server: Server) -> tuple[str, MapMeaning]:
        """See :meth:`grammar.Grammar.line`."""
        return rendered(spec, server)[0], _meaning([(token,) for token in _tokens(spec)], server)

    def check(self, spec: MappingSpec, server: Server, where: str) -> None:
        """See :meth:`grammar.Grammar.check`."""
        check_mapping(spec, server, where)

    def read(self, line: Line, server: Server) -> tuple[Mapping | None, MapMeaning | None]:
        """See :meth:`grammar.Grammar.read`."""
        fields = line.scan().fields
        row = parse_line(AuthLine("", 1, 1, fields, ""), server)
        return (row, _meaning(fields, server)) if isinstance(row, Mapping) else (None, None)

    def about(self, keys: t.Sequence[MapMeaning]) -> t.Callable[[str], bool]:
        """A line without quotes is about a key only if it holds its texts."""
        wanted = [[column[1:] for column in key] for key in keys]
        return lambda text: '"' in text or any(all(column in text for column in columns) for columns in wanted)

    def changed(self, text: str, entry: Entry, spec: MappingSpec, server: Server) -> str:
        """Entries of one key mean the same, so nothing has to change."""
        return text

    def commented(self, text: str, comment: str | None, expires: str | None, server: Server) -> str:
        """See :meth:`grammar.Grammar.commented`."""
        line = recommented(text, comment, expires, server)
        if line is not None:
            return line
        fields = scan(text[: comments.comment_start(text)].rstrip(" \t\r"), server).fields
        (name,), (system_user,), (role,) = fields[:3]
        return rendered(MappingSpec(name, system_user, role, comment, expires), server)[0]

    def subtract(
        self, document: Document, entries: Entries, lines: t.Sequence[int], specs: t.Sequence[MappingSpec]
    ) -> t.Iterator[tuple[Entry, list[str]]]:
        """Every entry that a spec names goes, whole: a line is one map, one system user, one database user."""
        server = document.server
        unwanted: set[tuple[str, str | None, str | None]] = set()
        for index, spec in enumerate(specs):
            check_mapping(spec, server, f"rules[{index}]")
            whole = (spec.map, spec.system_user or _ANYBODY, spec.database_user or _ANYBODY)
            name, system_user, role = _meaning([(token,) for token in whole], server)
            unwanted.add((name, system_user if spec.system_user else None, role if spec.database_user else None))
        for entry in entries.read(lines):
            if entry.meaning is None:
                continue
            name, system_user, role = entry.meaning
            if any((name, one, other) in unwanted for one in (system_user, None) for other in (role, None)):
                yield entry, []


IDENT = IdentGrammar()
