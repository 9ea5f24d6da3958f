# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Findings about how a single rule is written: tokens, addresses, options that mean something else than they look like."""

from __future__ import annotations

import re

from . import lexer
from .address import numeric
from .effect_rules import MAX_NAME_BYTES
from .findings_base import Judge, listed
from .model import Address, Token, encode

CODES: dict[str, str] = {
    "never-matches": "warning",
    "name-too-long": "warning",
    "keyword-case": "warning",
    "keyword-misplaced": "warning",
    "regex-unanchored": "warning",
    "regex-is-literal": "notice",
    "unknown-role": "notice",
    "octal-address": "warning",
    "short-address": "warning",
    "host-bits": "notice",
    "mask-not-contiguous": "warning",
    "mask-inverted": "warning",
    "address-typo": "warning",
    "mapped-address": "warning",
    "option-repeated": "warning",
    "option-boolean": "warning",
    "carriage-return": "warning",
}

KEYWORDS = {"all", "sameuser", "samerole", "samegroup", "replication"}
ADDRESS_KEYWORDS = {"all", "samehost", "samenet"}
BOOLEANS = {"include_realm", "ldaptls", "pam_use_hostname", "compat_realm", "upn_username", "delegate_ident_mapping"}


def check(judge: Judge) -> None:
    """All checks of this file, for the rule at hand."""
    rule = judge.rule
    if rule.type == "hostssl" and (not judge.server.ssl or "ssl" not in judge.server.features):
        judge.add("never-matches", "hostssl never matches while the server's setting ssl is off.", "Set ssl = on, or remove the rule.")
    if rule.type == "hostgssenc" and "gssapi" not in judge.server.features:
        judge.add("never-matches", "hostgssenc never matches on a server built without GSSAPI.", "Remove the rule.")
    for noun, tokens in (("database", rule.databases), ("user", rule.users)):
        for token in tokens:
            if (noun, token) not in judge.quiet:
                before = len(judge.found)
                if token != ALL:
                    _name(judge, noun, token)
                if len(judge.found) == before:  # it depends on the name alone
                    judge.quiet.add((noun, token))
    if rule.address is not None:
        if rule.address.kind == "network":
            _network(judge, rule.address)
        elif rule.address.kind == "name":
            _host_name(judge, rule.address.text)
    if rule.given_options:
        _options(judge)
    if "\r" in rule.raw:
        judge.add(
            "carriage-return",
            "A carriage return stands within the line: PostgreSQL 18 and earlier read it as a blank, 19 as part of a word.",
            "Replace it by a blank or a line feed.",
        )


ALL = Token("all")


def _name(judge: Judge, noun: str, token: Token) -> None:
    text, quoted = token
    if text.startswith("/"):
        _regex(judge, noun, text)
        return
    group = noun == "user" and text.startswith("+") and not quoted
    if not quoted and text not in KEYWORDS and text.lower() in KEYWORDS:
        judge.add(
            "keyword-case",
            f'{noun.capitalize()} "{text}" is a name: keywords are lower case only.',
            f'Write {text.lower()} for the keyword; quote the name ("{text}") where it is meant.',
        )
    elif noun == "user" and not quoted and text in KEYWORDS:
        judge.add(
            "keyword-misplaced",
            f'In the user column "{text}" is an ordinary name; only all and +role are special.',
            "Write all, a name or +role.",
        )
    elif noun == "database" and text.startswith("+") and not quoted:
        judge.add(
            "keyword-misplaced",
            f'In the database column "{text}" is an ordinary name; + has no meaning there.',
            "Write samerole, or the names.",
        )
    if (len(text) > 15 or not text) and not (noun == "database" and not quoted and text in KEYWORDS):
        _length(judge, noun, text[1:] if group else text)
    if judge.memberships is not None and noun == "user":
        name = text[1:] if group else text
        if name not in judge.memberships:
            judge.add("unknown-role", f'The server has no role "{name}".', "Create the role, or correct or remove the name.")


def _length(judge: Judge, noun: str, text: str) -> None:
    size = len(encode(text))
    if size > MAX_NAME_BYTES:
        judge.add(
            "name-too-long",
            f'{noun.capitalize()} "{text}" has {size} bytes and never matches: the server cuts the names of clients to {MAX_NAME_BYTES}.',
            f"Write its first {MAX_NAME_BYTES} bytes.",
        )
    elif not text:
        judge.add("never-matches", f"An empty {noun} name never matches.", "Write a name, or remove the empty token.")


def _regex(judge: Judge, noun: str, text: str) -> None:
    if judge.server.major < 16:
        reason = f'Before PostgreSQL 16 {noun} "{text}" is an ordinary name, not an expression.'
        judge.add("regex-is-literal", reason, "List the names, or use a group role.")
        return
    body = text[1:]
    whole = body.startswith("^") and body.endswith("$") and not body.endswith("\\$")
    if whole or body.startswith(("***", "(?")):
        return
    where = "anywhere in the name" if not body.startswith("^") else "at the start of the name and ignores the rest"
    judge.add(
        "regex-unanchored",
        f'The expression of {noun} "{text}" matches {where if body else "every name"}.',
        f"Anchor it at both ends, such as /^{body.lstrip('^') or '.*'}$, unless that is meant.",
    )


def _network(judge: Judge, where: Address) -> None:
    bits = 32 if where.family == 4 else 128
    wild = ((1 << bits) - 1) ^ where.mask
    if wild & (wild + 1):
        if not (where.mask & (where.mask + 1)):
            judge.add(
                "mask-inverted",
                f"The mask {where.netmask} has its ones at the end: it compares the host part only, so it matches in every network.",
                "Write the prefix length, such as 10.0.0.0/8.",
            )
        else:
            judge.add("mask-not-contiguous", f"The mask {where.netmask} has gaps; a mask is rarely meant so.", "Write the prefix length.")
    elif where.value & wild:
        network = where.value & where.mask
        text = _text(where.family, network)
        judge.add(
            "host-bits",
            f"Bits of {where.text} outside the mask are ignored; it means {text}/{bits - wild.bit_length()}.",
            f"Write {text}/{bits - wild.bit_length()}, or {where.text}/{bits} for this one address.",
            None if where.mask else "warning",
        )
    if where.family == 6 and where.value >> 32 == 0xFFFF and where.mask >> 32 & 0xFFFF:
        judge.add(
            "mapped-address",
            "An IPv4-mapped IPv6 entry never matches: such clients are IPv4 clients to the server.",
            f"Write the IPv4 network, such as {_text(4, where.value & 0xFFFFFFFF)}/32.",
        )
    if where.family == 4 and where.text not in judge.rule.raw:
        _written(judge, where)


def _text(family: int | None, value: int) -> str:
    kind = numeric("0.0.0.0" if family == 4 else "::")  # noqa: S104 - a value, nothing listens on it
    return kind._replace(value=value).text if kind else ""


def _written(judge: Judge, where: Address) -> None:
    """The address as the line spells it; it may have come out of an ``@file``, then there is nothing to say."""
    fields = lexer.tokenize(judge.rule.raw, judge.server)
    if len(fields) < 4:
        return
    text = fields[3][0].text.partition("/")[0]
    found = numeric(text)
    if found is None or found.value != where.value:
        return
    if re.search(r"(^|\.)0[0-7]", text):
        judge.add(
            "octal-address",
            f"{text} means {where.text}: numbers with a leading zero are octal.",
            f"Write {where.text}, or the number without zeros in front.",
        )
    elif text.count(".") < 3:
        judge.add("short-address", f"{text} means {where.text}: the last part fills all that is missing.", "Write all four numbers.")


def _host_name(judge: Judge, text: str) -> None:
    problem = ""
    if text.lower() in ADDRESS_KEYWORDS and text != text.lower():
        problem = "keywords are lower case only"
    elif text in ADDRESS_KEYWORDS:
        problem = "a quoted keyword is a host name"
    elif not text or text == ".":
        problem = "it matches nobody"
    elif re.fullmatch(r"[0-9.]+", text):
        problem = "it looks like an address but is none"
    elif "*" in text or "?" in text:
        problem = "there are no wildcards; a leading dot means every host of a domain"
    elif text.endswith("."):
        problem = "a trailing dot never matches"
    elif ":" in text or re.search(r"[^A-Za-z0-9._-]", text):
        problem = "no host name holds such characters"
    if problem:
        judge.add(
            "address-typo",
            f'The server takes "{text}" for a host name; {problem}.',
            "Write a numeric network, all, samehost, samenet, a host name or .domain.",
        )


def _options(judge: Judge) -> None:
    counts: dict[str, int] = {}
    for name, value in judge.rule.given_options:
        counts[name] = counts.get(name, 0) + 1
        if name in BOOLEANS and value not in ("0", "1"):
            judge.add(
                "option-boolean",
                f"{name}={value} means off: only the value 1 turns it on.",
                f"Write {name}=1 or {name}=0.",
            )
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        judge.add("option-repeated", f"Of a repeated option the last one counts: {listed(repeated)}.", "Keep the one that is meant.")
