# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets out of log texts, whatever the server or a script puts there.

PostgreSQL logs the statement that failed, whole, and the pg_hba.conf line that decided, whole (``log_min_error_statement``;
the DETAIL of an authentication failure), so both can carry clear-text secrets. What nobody can know from the text alone, such as
the value of a bind parameter, stays; ``docs/container.md`` says so.
"""

from __future__ import annotations

import re
import typing as t

HIDDEN = "***"
# A run of quotes opens and closes: inside another literal (DO, EXECUTE, CONNECTION) quotes are doubled.
_LITERAL = r"(?:[EeNn]|[Uu]&)?'{1,4}(?:[^'\\]|''|\\.)*(?:'{1,4}|$)|\$(\w*)\$.*?(?:\$\1\$|$)"
# PASSWORD 'x' anywhere: SQL keeps the literal quoted, so an ordinary sentence about passwords does not match.
_QUOTED = re.compile(rf"\b(PASSWORD\s+)(?:{_LITERAL})", re.IGNORECASE | re.DOTALL)
# In a statement also what forgot its quotes.
_BARE = re.compile(r"\b(PASSWORD\s+)(?!NULL\b|'?\*\*\*)([^\s;]+)", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"""\b(password|sslpassword|ldapbindpasswd|radiussecrets)(["']?\s*[=:]\s*)("(?:[^"]|"")*"|'{1,4}(?:[^'\\]|''|\\.)*(?:'{1,4}|$)|[^\s,;"']+)""",
    re.IGNORECASE,
)
# Bounded, so that a megabyte of almost-addresses costs no more than another megabyte.
_URI = re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://[^\s:/@]{0,200}:)[^\s@]{1,500}(@)", re.IGNORECASE)
_VERIFIER = re.compile(r"(SCRAM-SHA-256\$)[0-9]+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+|\bmd5[0-9a-f]{32}\b")
_NEAR = re.compile(r'(at or near )".*"', re.DOTALL)
_HINTS = ("pass", "secret", "://", "scram-sha", "md5")
_STATEMENT_MESSAGE = re.compile(r"\s*(?:duration: [\d.]+ ms\s+)?(?:statement|execute|parse|bind)\b")


class Redactor:
    """Takes secrets out of texts. ``secrets`` are known values; short ones are left to the patterns, as they would match words."""

    def __init__(self, secrets: t.Iterable[str] = (), words: t.Iterable[str] = ()) -> None:
        self._common = set(words)
        self._secrets: tuple[str, ...] = ()
        self.learn(secrets)

    def learn(self, secrets: t.Iterable[str]) -> None:
        """More of them; those that were known stay secrets."""
        found = {secret for secret in (*self._secrets, *secrets) if len(secret) >= 6 and secret not in self._common}
        self._secrets = tuple(sorted(found, key=len, reverse=True))

    def text(self, text: str, *, statement: bool = False) -> str:
        """``text`` without secrets; ``statement`` says that it is SQL."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        folded = text.lower()
        if not any(hint in folded for hint in _HINTS):
            return text
        text = _QUOTED.sub(rf"\1'{HIDDEN}'", text)
        if statement:
            text = _BARE.sub(rf"\1{HIDDEN}", text)
        text = _ASSIGNED.sub(rf"\1\2{HIDDEN}", text)
        text = _URI.sub(rf"\1{HIDDEN}\2", text)
        return _VERIFIER.sub(lambda match: (match[1] or "md5") + HIDDEN, text)

    def message(self, text: str, statement: str | None) -> str:
        """The message of a server's line, which may quote its statement."""
        text = self.text(text, statement=bool(_STATEMENT_MESSAGE.match(text)))
        if statement and "password" in statement.lower():
            # A password without quotes is a syntax error, and the error names the word.
            text = _NEAR.sub(rf'\1"{HIDDEN}"', text)
        return text
