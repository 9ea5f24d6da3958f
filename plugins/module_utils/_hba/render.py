# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Values → text: quotes exactly when needed, and every line read back before it is given out.

What quoting means to the server (``src/backend/libpq/hba.c``, ``next_token`` and the token checks): quotes protect blanks, commas and
``#``; a quote that stands before the first byte also takes the special meaning from keywords, ``+role`` and ``@file``, but not from
the ``/`` of a regular expression. So a name that begins with ``/`` can, in 16 and later, only be written as a regular expression.
"""

from __future__ import annotations

import re
import typing as t
from functools import lru_cache

from . import catalog, comments
from .errors import InvalidRule, NotRepresentable
from .lexer import logical_lines
from .model import Field, LineError, Rule, Server, Token, encode
from .parser import Host, Place, line_reader, parse_fields

if t.TYPE_CHECKING:
    from .spec import RuleSpec

Role = t.Literal["database", "user", "address", "netmask", "method", "option", "type", "map", "system-user"]

_NEEDS_QUOTES = re.compile('[ \t\r,#"]')
PLAIN = re.compile("[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,62}")
"""Most tokens: nothing to quote, nothing special but perhaps a keyword, shorter than any limit."""
_REGEX_SPECIAL = re.compile(r"[][(){}.*+?^$|\\]")
_KEYWORDS: dict[str, frozenset[str]] = {
    "database": catalog.DATABASE_KEYWORDS,
    "user": frozenset({"all"}),
    "address": catalog.ADDRESS_KEYWORDS,
}
ANY_HOST = Host(resolve=lambda name: True)
"""Whether a RADIUS server's name resolves is the server's business at load time, not a property of the text."""
_WIDTHS = (8, 16, 16, 24)
"""The columns of PostgreSQL's own sample: TYPE, DATABASE, USER, ADDRESS."""


def quote_token(text: str, role: Role, server: Server, literal: bool = True) -> str:
    """One token as it is written in a file.

    With ``literal`` the text is a name, whatever it looks like: keywords, ``+`` and ``@`` are quoted, and a database or user name
    that begins with ``/`` becomes an anchored, escaped regular expression (16 and later). Otherwise the text keeps its special meaning
    (keyword, ``+role``, ``@file``, ``/regex``). Raises NotRepresentable for a line feed or NUL, and for an empty special token.
    """
    if literal and role in {"database", "user"} and text.startswith("/") and server.major >= catalog.REGEX_SINCE:
        text = "/^" + _REGEX_SPECIAL.sub(r"\\\g<0>", text) + "$"
    return render_token(Token(text, literal), role, server)


def render_token(token: Token, role: Role, server: Server) -> str:
    """A token as the server would have read it; ``quoted`` is kept where it means something. Raises NotRepresentable."""
    text = token.text
    if not token.quoted and PLAIN.fullmatch(text) is not None:
        return text
    for bad, name in (("\n", "a line feed"), ("\0", "a NUL byte")):
        if bad in text:
            raise NotRepresentable(role, text, f"it holds {name}, which no quoting protects")
    keeps_meaning = _is_special(text, role)
    if token.quoted and keeps_meaning:
        return _quoted(text)
    if not text or _NEEDS_QUOTES.search(text) is not None or (server.major >= 14 and text.endswith("\\")):
        if token.quoted or not keeps_meaning:
            return _quoted(text)
        return text[0] + _quoted(text[1:])  # the quote after the first byte: blanks are protected, the meaning stays
    return text


def _is_special(text: str, role: Role) -> bool:
    """Whether quoting changes what the token means."""
    if len(text) > 1 and text.startswith("@"):
        return True
    return text in _KEYWORDS.get(role, ()) or (role == "user" and text.startswith("+"))


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def render_field(field: Field, role: Role, server: Server) -> str:
    """A list of tokens, joined by commas without blanks. Raises NotRepresentable for an empty list."""
    if not field:
        raise NotRepresentable(role, "", "the list is empty")
    return ",".join([render_token(token, role, server) for token in field])


def render_option(name: str, value: str, server: Server) -> str:
    """``name=value`` as one token, quoted as a whole when the value needs it."""
    return render_token(Token(f"{name}={value}", False), "option", server)


def render_rule(spec: RuleSpec, server: Server) -> str:
    """A rule as one line without line end, comment and expiry included.

    The line is read back before it is returned: the fields must be the ones that were meant, the server must accept it, and the
    comment must be the one given. Raises NotRepresentable for a value that no line can hold, InvalidRule with the server's own reason.
    """
    return rendered(spec, server)[0]


@lru_cache(maxsize=32768)
def rendered(spec: RuleSpec, server: Server) -> tuple[str, Rule]:
    """:func:`render_rule`, with the rule that the server makes of the line. Kept, as a rule is checked first and planned later."""
    return _rendered_plain(spec, server) or _rendered(spec, server)


def _rendered_plain(spec: RuleSpec, server: Server) -> tuple[str, Rule] | None:
    """Most rules: five words that need no quotes, read back as such; None for the others."""
    record_type, databases, users, address, netmask, method, options, comment, expires = spec
    if address is None or method is None or netmask or options or comment is not None or expires or len(databases) != 1 or len(users) != 1:
        return None
    if databases[0].quoted or users[0].quoted or address.quoted:
        return None
    words = (record_type, databases[0].text, users[0].text, address.text, method)
    line = _PLAIN_LINE.format(*words)
    read = line_reader(server)(line)
    rule = read.rule()
    return (line, rule) if rule is not None and read.plain and tuple(line.split()) == words else None


_PLAIN_LINE = "{:<7} {:<15} {:<15} {:<23} {}"
"""As ``_WIDTHS`` say."""


def _rendered(spec: RuleSpec, server: Server) -> tuple[str, Rule]:
    columns = [spec.type, render_field(spec.databases, "database", server), render_field(spec.users, "user", server)]
    if spec.address is not None:
        address = render_token(spec.address, "address", server)
        columns.append(address if spec.netmask is None else f"{address} {render_token(Token(spec.netmask), 'netmask', server)}")
    elif spec.type == "local":
        columns.append("")
    padded = [column.ljust(width - 1) + " " for column, width in zip(columns, _WIDTHS)]
    code = "".join(padded) + _method(spec, server)
    comment = comments.join(spec.comment, spec.expires, server)
    line = f"{code}  {comment}" if comment else code
    return line, checked(line, spec, server)


def describe(spec: RuleSpec, server: Server) -> str:
    """Whom a rule is about, for messages: no method, no options (they may hold passwords), no comment."""
    columns = [spec.type, render_field(spec.databases, "database", server), render_field(spec.users, "user", server)]
    columns += [] if spec.address is None else [render_token(spec.address, "address", server)]
    return " ".join(columns if spec.netmask is None else [*columns, spec.netmask])


def _method(spec: RuleSpec, server: Server) -> str:
    if spec.method is None:
        raise InvalidRule("method", "is missing")
    method = render_token(Token(spec.method), "method", server)
    return " ".join([method, *(render_option(name, value, server) for name, value in spec.options)])


def checked(line: str, spec: RuleSpec, server: Server) -> Rule:
    """Read a line back and compare it with what was meant. Raises NotRepresentable and InvalidRule."""
    _check_one_line(line, server)
    read = line_reader(server)(line)
    fields, error = read.scan()
    if error is not None:
        raise NotRepresentable("rule", line, error)
    if not _same_fields(fields, meant(spec)):
        raise NotRepresentable("rule", line, "the server would read other values than the ones given")
    row = read.rule() or parse_fields(fields, server, Place(raw=line), host=ANY_HOST)
    if isinstance(row, LineError):
        raise InvalidRule("rule", row.message)
    return row


def _check_one_line(line: str, server: Server) -> None:
    """Raise NotRepresentable when the server would not read exactly this line."""
    if line[-1:] not in {"\\", "\r"} and "\n" not in line and "\0" not in line and (server.major >= 14 or len(line) < 2000):
        return  # nothing that ends, joins or breaks a line
    read = logical_lines(encode(line) + b"\nx", server)
    if len(read) != 2 or read[0].text != line or read[0].error is not None:
        raise NotRepresentable("rule", line, read[0].error or "it would not stay one line")


def meant(spec: RuleSpec) -> tuple[Field, ...]:
    """The fields that a line for this rule must have."""
    fields: list[Field] = [(Token(spec.type),), spec.databases, spec.users]
    if spec.address is not None:
        fields.append((spec.address,))
    if spec.netmask is not None:
        fields.append((Token(spec.netmask),))
    fields.append((Token(spec.method or ""),))
    fields.extend([(Token(f"{name}={value}"),) for name, value in spec.options])
    return tuple(fields)


def _same_fields(read: tuple[Field, ...], wanted: tuple[Field, ...]) -> bool:
    """Texts are equal, and so is the flag wherever the server looks at it."""
    if read == wanted:
        return True
    if len(read) != len(wanted):
        return False
    roles: tuple[Role, ...] = ("type", "database", "user", "address")
    for column, (got, want) in enumerate(zip(read, wanted)):
        role: Role = roles[column] if column < len(roles) else "option"
        if len(got) != len(want):
            return False
        for one, other in zip(got, want):
            if one.text != other.text or (one.quoted != other.quoted and _is_special(one.text, role)):
                return False
    return True
