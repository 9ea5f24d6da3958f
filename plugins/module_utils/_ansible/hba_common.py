# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""What pg_hba and pg_hba_info share: options that describe clients and the server, readers, rules and secrets as results."""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

from .._hba import catalog, view
from .._hba.errors import HbaError
from .._hba.host import Names
from .._hba.lexer import logical_lines
from .._hba.model import Client, LineError, Role, Row, Rule, Server, decode, encode

if t.TYPE_CHECKING:
    from .._hba import decide

MASK = "********"
SECRETS = ("ldapbindpasswd", "radiussecrets")
_SECRET = re.compile(r"(?:ldapbindpasswd|radiussecrets)\"*=")
_DEBIAN = re.compile(r"/etc/postgresql/(\d+)/[^/]+/")


class Invalid(HbaError, ValueError):
    """An option cannot be used as it is given; the message names it."""


class Refused(HbaError):
    """A proof does not hold, so the change is not made; the prover knows what it would have been."""


class Sentence(t.NamedTuple):
    """A client as given, as the engine's value, and what is expected of it."""

    given: dict[str, t.Any]
    client: Client
    expect: str | None


def sentences(items: t.Sequence[t.Mapping[str, t.Any]] | None, option: str) -> list[Sentence]:
    """The clients of an option. Raises ``decide.InvalidClient`` with the option's name and number."""
    if not items:
        return []
    from .._hba import decide  # noqa: PLC0415 - only modules that decide pay for the import

    found = []
    for number, item in enumerate(items):
        given = {name: value for name, value in item.items() if value is not None}
        where = f"{option}[{number}]"
        found.append(Sentence(given, decide.client_from_dict(given, where), decide.expectation(given, where)))
    return found


S = t.TypeVar("S")


def wanted(rules: t.Any, of_dict: t.Callable[[t.Any, str], S], of_line: t.Callable[[str, str], S], option: str = "rules") -> tuple[S, ...]:
    """The rules of an option: a list of dictionaries and lines, one of them, or a text of several lines. Raises InvalidRule, Invalid."""
    if isinstance(rules, str):
        rules = [line for line in rules.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found: list[S] = []
    for number, item in enumerate([rules] if isinstance(rules, dict) else list(rules or ())):
        where = f"{option}[{number}]"
        if isinstance(item, dict):
            found.append(of_dict(item, where))
        elif isinstance(item, str):
            found.append(of_line(item, where))
        else:
            raise Invalid(f"{where}: must be a dictionary or a line of text, not {type(item).__name__}")
    return tuple(found)


def version_of(text: str) -> tuple[int, int | None]:
    """``15`` or ``15.3``. Raises :class:`Invalid`."""
    major, _dot, minor = text.partition(".")
    if not major.isdecimal() or (minor and not minor.isdecimal()) or not catalog.FIRST_MAJOR <= int(major) <= catalog.LAST_MAJOR:
        known = f"{catalog.FIRST_MAJOR} to {catalog.LAST_MAJOR - 1}"
        raise Invalid(f"postgres_version: {text!r} is not a version that is covered; give a major release, {known}, or major.minor")
    return int(major), int(minor) if minor else None


def server_of_file(path: str, version: str | None) -> Server:
    """The server that a file belongs to, when no server is asked: as given, by ``PG_VERSION`` beside it, or by Debian's folders."""
    text = version
    if text is None:
        with contextlib.suppress(OSError), open(os.path.join(os.path.dirname(os.path.realpath(path)), "PG_VERSION"), "rb") as file:
            text = file.read(16).decode("ascii", "replace").strip()
    if text is None and path:
        match = _DEBIAN.match(os.path.realpath(path))
        text = match.group(1) if match is not None else None
    if text is None:
        raise Invalid(
            "postgres_version: is needed; rules mean different things to different releases, and nothing beside the file tells it"
        )
    major, minor = version_of(text)
    return Server(major, minor=minor)


# ----------------------------------------------------------------------------------------------------------------------- results


def shown_rows(rows: t.Iterable[Row], server: Server) -> list[dict[str, t.Any]]:
    """Rows as ``pg_hba_file_rules`` shows them, with the file and the source text; secrets are masked."""
    found = []
    for row in rows:
        shown: dict[str, t.Any] = dict(view.hba_row(row, server))
        if shown.get("options"):
            shown["options"] = [masked_option(option) for option in shown["options"]]
        shown["file_name"] = text_of(row.file)
        shown["text"] = text_of(masked_line(row.raw))
        found.append({name: text_of(value) if isinstance(value, str) else value for name, value in shown.items()})
    return found


def masked_option(option: str) -> str:
    """One ``name=value`` as the view shows it, its value hidden when it is a secret."""
    name, equals, _value = option.partition("=")
    return f"{name}={MASK}" if equals and name in SECRETS else option


def shown_errors(errors: t.Iterable[LineError]) -> list[dict[str, t.Any]]:
    """What keeps a file from loading; ``line_number`` is null when it is about the file as a whole."""
    return [
        {"file_name": text_of(error.file), "line_number": error.line or None, "error": text_of(error.message), "hint": error.hint}
        for error in errors
    ]


def shown_decision(sentence: Sentence, decision: decide.Decision, why_not: bool = True) -> dict[str, t.Any]:
    """A decision with the client that it is about."""
    from .._hba import decide  # noqa: PLC0415 - only modules that decide pay for the import

    shown = decide.as_dict(decision, sentence.expect)
    given = sentence.given
    client = sentence.client
    result: dict[str, t.Any] = {
        "user": client.user,
        "database": client.database,
        "address": client.address,
        "transport": client.transport,
        "replication": client.replication,
        "expect": given.get("expect"),
        "met": shown.get("meets"),
        "outcome": shown["outcome"],
        "reason": shown.get("reason"),
        "file_name": shown["file"],
        "line_number": shown["line"],
        "text": None if decision.rule is None else text_of(masked_line(decision.rule.raw)),
    }
    if why_not:
        result["why_not"] = [
            {"file_name": item["file"], "line_number": item["line"], "reason": item["reason"], "detail": text_of(item["detail"])}
            for item in shown["why_not"]
        ]
    return result


def name_of(client: Client) -> str:
    """A client in a sentence: ``app to orders from 203.0.113.7 over tls``."""
    target = "replication" if client.replication else client.database or client.user
    where = "" if client.address is None else f" from {client.address}"
    return f"{client.user} to {target}{where} over {'the Unix socket' if client.transport == 'local' else client.transport}"


def outcome_of(decision: decide.Decision) -> str:
    """What happens, and by which rule, in a sentence."""
    from .._hba import decide  # noqa: PLC0415 - only modules that decide pay for the import

    rule = decision.rule
    where = "" if rule is None else f" (line {rule.line} of {text_of(rule.file)}: {text_of(masked_line(rule.raw.strip()))})"
    if decision.outcome == decide.NO_ENTRY:
        return "no rule matches, so the server refuses with no_entry"
    if decision.outcome == decide.UNDECIDED:
        return f"it cannot be told{where}: {decision.reason}"
    if decision.outcome == decide.REJECTED:
        return f"it is rejected{where}"
    return f"the method is {decision.outcome}{where}"


def asks_for_certificate(decision: decide.Decision) -> bool:
    """Whether the rule that decides lets in only who shows a client certificate."""
    rule = decision.rule
    return rule is not None and (rule.method == "cert" or dict(rule.options).get("clientcert", "0") not in ("0", "no-verify"))


def text_of(text: str) -> str:
    """Engine text as JSON may carry it: bytes that are not UTF-8 become replacement signs."""
    return text if text.isascii() else encode(text).decode("utf-8", "replace")


def masked(raw: bytes, server: Server) -> str:
    """A file's text for a diff: values of secret options are hidden."""
    if not any(name.encode() in raw for name in SECRETS):
        return raw.decode("utf-8", "replace")
    lines = [masked_line(decode(raw[line.start : line.end])) for line in logical_lines(raw, server)]
    return text_of("".join(lines))


def masked_line(text: str) -> str:
    """A logical line (its continuations included) with the values of secret options hidden, quoted or not, in comments too."""
    match = _SECRET.search(text)
    parts: list[str] = []
    start = 0
    while match is not None:
        parts.append(text[start : match.end()] + MASK)
        start = _token_end(text, match.end(), text.count('"', 0, match.end()) % 2 == 1)
        match = _SECRET.search(text, start)
    return "".join([*parts, text[start:]])


def _token_end(text: str, position: int, quoted: bool) -> int:
    """Where the token ends that the position is in; a quote opened before the position stays outside, and so does what ends the line."""
    outer = quoted
    while position < len(text):
        sign = text[position]
        if sign == '"':
            if quoted and text[position + 1 : position + 2] == '"':
                position += 1  # a doubled quote is a quote of the value
            elif quoted and outer:
                return position
            else:
                quoted = not quoted
        elif (sign in "\r\n" and text[position - 1] != "\\") or (not quoted and sign in " \t,#"):
            return position
        position += 1
    return position


def secrets_in(rules: t.Iterable[t.Any]) -> set[str]:
    """Values of secret options among rules as they were given, dictionaries or lines, for Ansible to hide wherever they appear."""
    found: set[str] = set()
    for rule in rules:
        options = rule.get("options") if isinstance(rule, dict) else rule
        if isinstance(options, dict):
            found.update(str(options[name]) for name in SECRETS if options.get(name))
            continue
        for part in [part for part in (options if isinstance(options, list) else [options]) if isinstance(part, str)]:
            for match in _SECRET.finditer(part):
                end = _token_end(part, match.end(), part.count('"', 0, match.end()) % 2 == 1)
                found.add(part[match.end() : end].strip('"'))
                found.add(part[match.end() : end])
    return {value for value in found if value}


def decider(
    rules: t.Iterable[Rule],
    server: Server,
    roles: t.Sequence[Role] | None,
    interfaces: t.Iterable[tuple[int, int, int]] | None = None,
) -> decide.Decider:
    """Who decides: with the server's roles and interfaces where they are known, names resolved by this machine."""
    from .._hba import decide  # noqa: PLC0415 - only modules that decide pay for the import

    known = None if interfaces is None else [decide.Interface(*one) for one in interfaces]
    return decide.Decider(rules, server=server, roles=roles, resolver=Names(), interfaces=known)
