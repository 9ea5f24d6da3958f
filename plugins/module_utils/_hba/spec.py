# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""The rules that callers ask for: from dictionaries and from plain lines, checked by the parser for the server's major.

Values carry what the file would: ``all``, ``sameuser``, ``replication``, ``+role``, ``@file`` and ``/regex`` (16 and later) are special,
and quotes inside the value make a name of them, as in the file: ``'"all"'`` is the database called all. In a list, an item without a
leading quote is one whole token, whatever blanks, commas or ``#`` it holds. A text is a comma list in the file's own syntax.
"""

from __future__ import annotations

import typing as t

from . import catalog, comments
from .address import numeric
from .errors import InvalidRule, NotRepresentable
from .lexer import logical_lines, scan
from .model import Field, LineError, Rule, Server, Token, encode
from .parser import Place, parse_fields
from .render import ANY_HOST, PLAIN, rendered


class RuleSpec(t.NamedTuple):
    """A rule that somebody wants to be in a file, or (without a method: whatever the method) not to be in it."""

    type: str
    databases: Field = (Token("all"),)
    users: Field = (Token("all"),)
    address: Token | None = None
    netmask: str | None = None
    method: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    comment: str | None = None
    """None: nothing is said about the comment; one that is there stays."""
    expires: str | None = None
    """A date (valid to its end, UTC) or a time with its offset; None: no expiry, and one that is there is taken away."""


FIELDS = RuleSpec._fields


def spec_from_dict(data: t.Mapping[str, t.Any], server: Server, where: str = "rule", *, absent: bool = False) -> RuleSpec:
    """A rule from a dictionary with the keys of :class:`RuleSpec`; ``databases`` and ``users`` default to ``all``.

    ``absent`` allows ``method`` to be missing. Raises InvalidRule whose ``where`` names the option (``rules[2].method``).
    """
    for name in data:
        if name not in FIELDS:
            raise InvalidRule(f"{where}.{name}", f"is not a part of a rule; these are: {', '.join(FIELDS)}")
    spec = RuleSpec(
        type=word(data, "type", where) or "",
        databases=_tokens(data.get("databases"), f"{where}.databases", server),
        users=_tokens(data.get("users"), f"{where}.users", server),
        address=_address(word(data, "address", where), f"{where}.address", server),
        netmask=word(data, "netmask", where),
        method=word(data, "method", where),
        options=_options(data.get("options"), f"{where}.options", server),
        comment=word(data, "comment", where, blank=True),
        expires=word(data, "expires", where),
    )
    return check_spec(spec, server, where, absent=absent)


def spec_from_line(text: str, server: Server, where: str = "rule", *, absent: bool = False) -> RuleSpec:
    """A rule from one line as it stands in a file, its comment included. Raises InvalidRule."""
    line = text[:-1] if text.endswith("\n") else text
    if "\n" in line or "\0" in line or len(logical_lines(encode(line) + b"\nx", server)) != 2:
        raise InvalidRule(where, "is not one line (it holds a line feed or NUL, or ends with a backslash)")
    fields = scan(line, server)
    if fields.error is not None:
        raise InvalidRule(where, fields.error)
    if not fields.fields:
        raise InvalidRule(where, f"holds no rule: {line!r}")
    if fields.fields[0][0].text in catalog.INCLUDE_WORDS and len(fields.fields) == 2:
        raise InvalidRule(where, "is an include record, not a rule")
    _unused, comment, expires = comments.split(line)
    spec = _from_fields(fields.fields, server, where, absent=absent)
    return check_spec(spec._replace(comment=comment or None, expires=expires), server, where, absent=absent)


def spec_of_rule(fields: t.Sequence[Field], rule: Rule) -> RuleSpec:
    """A rule that was read, as a wanted one. ``fields`` are those that the rule was parsed from."""
    address: Token | None = None
    netmask: str | None = None
    method = 3
    if rule.address is not None:
        address = fields[3][0]
        method = 4
        if rule.address.kind == "network" and "/" not in address.text:
            netmask = fields[4][0].text
            method = 5
    return RuleSpec(rule.type, rule.databases, rule.users, address, netmask, fields[method][0].text, rule.given_options)


def check_spec(spec: RuleSpec, server: Server, where: str = "rule", *, absent: bool = False) -> RuleSpec:
    """Raise InvalidRule when no line can hold the rule or the server would refuse it; else give it back."""
    if not spec.type:
        raise InvalidRule(f"{where}.type", f"is missing; it is one of {', '.join(sorted(catalog.RECORD_TYPES))}")
    _check_address(spec, where)
    whole = spec
    if spec.method is None:
        if not absent:
            raise InvalidRule(f"{where}.method", "is missing")
        if spec.options:
            raise InvalidRule(f"{where}.options", "cannot be given without a method")
        whole = spec._replace(method="reject")
    try:
        rendered(whole, server)
    except NotRepresentable as exc:
        if exc.what in {"rule", "option"}:  # options may be passwords: their values stay out of messages
            raise InvalidRule(f"{where}.options" if exc.what == "option" else where, exc.reason) from None
        raise InvalidRule(f"{where}.{_PARTS.get(exc.what, exc.what)}", f"{exc.value!r}: {exc.reason}") from exc
    except InvalidRule as exc:
        raise InvalidRule(f"{where}{_part_of(exc.reason, spec)}", exc.reason) from exc
    return spec


_PARTS = {"database": "databases", "user": "users"}


def _part_of(message: str, spec: RuleSpec) -> str:
    """Which option the server's message is about."""
    if "connection type" in message:
        return ".type"
    if "netmask" in message or "IP mask" in message or "address and mask" in message:
        return ".netmask"
    if any(part in message for part in ("IP address", "host address", "host name and CIDR", "CIDR mask")):
        return ".address"
    if (
        message.startswith(("invalid authentication method", "MD5 authentication"))
        or "only supported on" in message
        or "on local" in message
    ):
        return ".method"
    if message.startswith("invalid regular expression"):
        return ".databases" if any(_quotes(message, token) for token in spec.databases) else ".users"
    return "" if message.startswith("end-of-line") else ".options"


def _quotes(message: str, token: Token) -> bool:
    """Whether the server's message about a regular expression is about this token's."""
    return token.text.startswith("/") and message.startswith(f'invalid regular expression "{token.text[1:]}":')


def _check_address(spec: RuleSpec, where: str) -> None:
    """The server's own words for these slips mislead: it takes the next column for a mask or a method."""
    if spec.type == "local":
        if spec.address is not None or spec.netmask is not None:
            raise InvalidRule(f"{where}.address", "a local rule has no address: it is about the Unix socket")
        return
    if spec.address is None:
        if spec.type in catalog.RECORD_TYPES:
            raise InvalidRule(f"{where}.address", f"is missing; type {spec.type} needs one (all, an address with its mask, a host name)")
        return
    if spec.netmask is None and "/" in spec.address.text:
        return  # no numeric address that lacks its mask
    found = None if spec.address.quoted else numeric(spec.address.text)
    if found is not None and spec.netmask is None:
        bits = 32 if found.family == 4 else 128
        raise InvalidRule(f"{where}.address", f"{spec.address.text} has no mask; one host is {spec.address.text}/{bits}")
    if found is None and spec.netmask is not None:
        raise InvalidRule(f"{where}.netmask", f"{spec.address.text} takes no netmask")


def _from_fields(fields: tuple[Field, ...], server: Server, where: str, *, absent: bool) -> RuleSpec:
    row = parse_fields(fields, server, Place(), host=ANY_HOST)
    if isinstance(row, Rule):
        return spec_of_rule(fields, row)
    if absent and row.message == "end-of-line before authentication method":
        row = parse_fields((*fields, (Token("reject"),)), server, Place(), host=ANY_HOST)
        if isinstance(row, Rule):
            return spec_of_rule((*fields, (Token("reject"),)), row)._replace(method=None)
    if isinstance(row, LineError):
        raise InvalidRule(where, row.message if row.hint is None else f"{row.message}. {row.hint}")
    raise InvalidRule(where, "is not a rule")


def word(data: t.Mapping[str, t.Any], name: str, where: str, *, blank: bool = False) -> str | None:
    """One value that is a text, None where there is none. Raises InvalidRule."""
    value = data.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        value = value.isoformat() if name == "expires" and hasattr(value, "isoformat") else value  # YAML makes dates of dates
        if not isinstance(value, str):
            raise InvalidRule(f"{where}.{name}", f"must be a text, not {type(value).__name__}")
    if not value and not blank:
        raise InvalidRule(f"{where}.{name}", "is empty")
    return value


def _tokens(value: object, where: str, server: Server) -> Field:
    """Names of a column: a list of tokens, or a comma list in the file's syntax."""
    if value is None:
        return (Token("all"),)
    if isinstance(value, str):
        return _comma_list(value, where, server)
    if not isinstance(value, (list, tuple)):
        raise InvalidRule(where, f"must be a list or a comma-separated text, not {type(value).__name__}")
    if not value:
        raise InvalidRule(where, "is an empty list; a rule needs at least one name (all for every one)")
    return tuple([name_token(item, f"{where}[{index}]", server) for index, item in enumerate(value)])


def name_token(value: object, where: str, server: Server) -> Token:
    """One name, as an item of a list: a whole token, or with a leading quote in the file's syntax. Raises InvalidRule."""
    if not isinstance(value, str):
        raise InvalidRule(where, f"must be a text, not {type(value).__name__}")
    _single_line(value, where)
    if not value:
        raise InvalidRule(where, "is empty")
    if not value.startswith('"'):
        return Token(value)
    tokens = _comma_list(value, where, server)
    if len(tokens) != 1:
        raise InvalidRule(where, "holds more than one name; write each as an item of its own")
    return tokens[0]


def _comma_list(value: str, where: str, server: Server) -> Field:
    if PLAIN.fullmatch(value) is not None:
        return (Token(value),)
    _single_line(value, where)
    if comments.comment_start(value) != len(value):
        raise InvalidRule(where, f"{value!r} holds a comment sign (#) outside quotes; quote the name that has it")
    if value.count('"') % 2:
        raise InvalidRule(where, f"{value!r} holds a quote that is not closed")
    found = scan(value, server)
    if found.error is not None:
        raise InvalidRule(where, found.error)
    if len(found.fields) != 1:
        reason = "holds no name" if not found.fields else "holds blanks between names; use commas, or quote a name that has a blank"
        raise InvalidRule(where, f"{value!r} {reason}")
    return found.fields[0]


def _single_line(value: str, where: str, *, secret: bool = False) -> None:
    """Options may be passwords: with ``secret`` the value stays out of the message."""
    for bad, name in (("\n", "a line feed"), ("\0", "a NUL byte")):
        if bad in value:
            raise InvalidRule(where, f"{'' if secret else repr(value) + ' '}holds {name}, which no quoting protects")


def _address(value: str | None, where: str, server: Server) -> Token | None:
    return None if value is None else name_token(value, where, server)


def _options(value: object, where: str, server: Server) -> tuple[tuple[str, str], ...]:
    """Options as a dictionary, as a list of ``name=value``, or as a text in the file's syntax; the order is kept."""
    if value is None:
        return ()
    if isinstance(value, t.Mapping):
        return tuple([(str(name), _value(item, f"{where}.{name}")) for name, item in value.items()])
    if isinstance(value, str):
        tokens = _option_text(value, where, server)
    elif isinstance(value, (list, tuple)):
        tokens = [_option_item(item, f"{where}[{index}]", server) for index, item in enumerate(value)]
    else:
        raise InvalidRule(where, f"must be a dictionary, a list or a text, not {type(value).__name__}")
    pairs = []
    for token in tokens:
        name, equals, rest = token.text.partition("=")
        if not equals:
            raise InvalidRule(where, "holds an option that is not of the form name=value")
        pairs.append((name, rest))
    return tuple(pairs)


def _option_item(value: object, where: str, server: Server) -> Token:
    if isinstance(value, str) and value.startswith('"'):
        tokens = _option_text(value, where, server)
        if len(tokens) != 1:
            raise InvalidRule(where, "holds more than one option; write each as an item of its own")
        return tokens[0]
    if isinstance(value, str) and value:
        _single_line(value, where, secret=True)
        return Token(value)
    raise InvalidRule(where, "is empty" if value == "" else f"must be a text, not {type(value).__name__}")


def _option_text(value: str, where: str, server: Server) -> list[Token]:
    if not value.strip():
        return []
    _single_line(value, where, secret=True)
    if comments.comment_start(value) != len(value):
        raise InvalidRule(where, "holds a comment sign (#) outside quotes; quote the option that has it")
    if value.count('"') % 2:
        raise InvalidRule(where, "holds a quote that is not closed")
    return [token for field in scan(value, server).fields for token in field]


def _value(value: object, where: str) -> str:
    """Booleans become the only spelling that PostgreSQL takes for true, ``1``."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        _single_line(value, where, secret=True)
        return value
    raise InvalidRule(where, f"must be a text, a number or a boolean, not {type(value).__name__}")
