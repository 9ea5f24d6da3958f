# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Records of a log → what happened: somebody was let in by a rule, or was not; the rules were loaded.

A server tells a connection in pieces with ``log_connections``: *received* (address), *authenticated* (14 and later: who proved to be
whom, by which method, at which line; for ``trust`` only from 17 on), *authorized* (role and database). *Authenticated* comes before user
name maps and client certificates are looked at, so a use counts when *authorized* follows, or nothing does. Pieces are put together
by process id; without one in the log's lines each piece speaks for itself.

Source: hba-reference section 10, measured on 12 to 18; ``set_authn_id`` and ``ClientAuthentication`` in ``src/backend/libpq/auth.c``.
"""

from __future__ import annotations

import re
import typing as t

from .usage_log import Record

ADMITTED, REFUSED, REJECTED, NO_ENTRY = "admitted", "refused", "rejected", "no_entry"
LOADED, STARTED, NOT_LOADED = "loaded", "started", "not_loaded"
MAX_PENDING = 10_000
"""Connections put together at once; beyond, the oldest counts as it is."""

_AUTHENTICATED = re.compile(r'connection authenticated: (?:identity|user)="(.*)" method=(\S+) \((.*):(\d+)\)$', re.DOTALL)
_AUTHORIZED = re.compile(r"(?:replication )?connection authorized: user=(.*)$", re.DOTALL)
_TAIL = re.compile(r"(?: application_name=.*)?(?: SSL enabled \(.*\)| GSS \(.*\))*$", re.DOTALL)
_RECEIVED = re.compile(r"connection received: host=(\S*)(?: port=\d+)?$")
_MATCHED = re.compile(r'(?:^|\n)Connection matched (?:pg_hba\.conf|file "(.*)") line (\d+): "(.*)"\s*$', re.DOTALL)
_NOT_RELOADED = re.compile(r'"?(.*?)"? was not reloaded$', re.DOTALL)
_NO_ENTRY = re.compile(r'no pg_hba\.conf entry for (?:replication connection from )?host "([^"]*)", user "(.*?)"', re.DOTALL)
_REJECTS = re.compile(r'pg_hba\.conf rejects (?:replication )?connection for host "([^"]*)", user "(.*?)"', re.DOTALL)
_USER = re.compile(r'for user "(.*)"$', re.DOTALL)


class Event(t.NamedTuple):
    """One thing that happened, as far as the log tells; None is what it does not."""

    kind: str
    """``admitted``, ``refused`` (by the rule's method), ``rejected``, ``no_entry``; ``loaded``, ``started``, ``not_loaded``."""
    time: float | None
    precision: float = 0.001
    file: str | None = None
    """The file as the server names it; None for the main file of 15 and earlier, and where no rule is told."""
    line: int | None = None
    method: str | None = None
    """The rule's method (an md5 rule is ``md5`` whatever the role's verifier makes of it)."""
    identity: str | None = None
    """Who was authenticated, before user name maps: a role, an operating system's user, a certificate's subject."""
    user: str | None = None
    database: str | None = None
    host: str | None = None
    raw: str | None = None
    """The rule as the log quotes it (only with ``refused``); may hold secrets."""


class Connections:
    """Puts the pieces together: feed records in the log's order, then :meth:`rest`."""

    def __init__(self) -> None:
        self._hosts: dict[str, str] = {}
        self._pending: dict[str, Event] = {}
        self._loose = 0
        self.unreadable = 0
        """Records about an authentication that could not be understood."""

    def feed(self, record: Record) -> t.Iterator[Event]:
        """The events that a record completes."""
        message = record.message
        if record.event is not None:
            yield from _image_event(record)
        elif record.severity == "FATAL":
            yield from self._fatal(record)
        elif record.severity != "LOG":
            return
        elif message.startswith("connection received: "):
            self._received(record)
        elif message.startswith("connection authenticated: "):
            yield from self._authenticated(record)
        elif message.startswith(("connection authorized: ", "replication connection authorized: ")):
            yield from self._authorized(record)
        else:
            yield from self._load(record)

    def rest(self) -> t.Iterator[Event]:
        """Authenticated connections of which the log says nothing more."""
        pending, self._pending = self._pending, {}
        yield from pending.values()

    def _received(self, record: Record) -> None:
        match = _RECEIVED.match(record.message)
        if match is None or record.pid is None:
            return
        if len(self._hosts) >= MAX_PENDING:
            del self._hosts[next(iter(self._hosts))]
        self._hosts[record.pid] = match[1]

    def _authenticated(self, record: Record) -> t.Iterator[Event]:
        match = _AUTHENTICATED.match(record.message)
        if match is None:
            self.unreadable += 1
            return
        pid = record.pid
        host = record.host or (self._hosts.get(pid) if pid is not None else None)
        place = (match[3], int(match[4]), match[2], match[1])
        event = Event(ADMITTED, record.time, record.precision, *place, user=record.user, database=record.database, host=host)
        if pid is None:
            self._loose += 1
            yield event
            return
        if pid in self._pending:
            yield self._pending.pop(pid)
        elif len(self._pending) >= MAX_PENDING:
            yield self._pending.pop(next(iter(self._pending), pid))
        self._pending[pid] = event

    def _authorized(self, record: Record) -> t.Iterator[Event]:
        pid = record.pid
        if pid is None and self._loose:
            self._loose -= 1  # the authenticated line has been counted
            return
        match = _AUTHORIZED.match(record.message)
        user, _word, database = _TAIL.sub("", match[1] if match else "", count=1).partition(" database=")
        host = record.host or (self._hosts.pop(pid, None) if pid is not None else None)
        event = self._pending.pop(pid, None) if pid is not None else None
        event = event or Event(ADMITTED, record.time, record.precision, host=host)
        yield event._replace(user=record.user or user, database=record.database or database or None, host=event.host or host)

    def _fatal(self, record: Record) -> t.Iterator[Event]:
        pid = record.pid or ""
        proved, host = self._pending.pop(pid, None), record.host or self._hosts.pop(pid, None)
        when = (record.time, record.precision)
        for kind, pattern in ((NO_ENTRY, _NO_ENTRY), (REJECTED, _REJECTS)):
            match = pattern.match(record.message)
            if match is not None:
                yield Event(kind, *when, user=match[2], database=record.database, host=match[1])
                return
        match = _MATCHED.search(record.detail)
        named = _USER.search(record.message)
        user = record.user or (named[1] if named is not None else None)
        if match is not None:
            yield Event(REFUSED, *when, match[1], int(match[2]), user=user, database=record.database, host=host, raw=match[3])
        elif proved is not None:
            yield proved._replace(kind=REFUSED, user=user or proved.user, host=host or proved.host)

    def _load(self, record: Record) -> t.Iterator[Event]:
        message = record.message
        match = _NOT_RELOADED.match(message)
        if match is not None:
            yield Event(NOT_LOADED, record.time, record.precision, match[1])
            return
        kind = LOADED if message.startswith("received SIGHUP") else STARTED if message.startswith("starting PostgreSQL ") else ""
        if kind:
            yield from self.rest()
            yield Event(kind, record.time, record.precision)


def _image_event(record: Record) -> t.Iterator[Event]:
    """An attempt as our image tells it: every piece is in one line."""
    item = t.cast("t.Mapping[str, t.Any]", record.event)
    refusal = {"no_entry": NO_ENTRY, "rejected": REJECTED}.get(str(item.get("reason")), REFUSED)
    kinds = {"accepted": ADMITTED, "refused": refusal}
    kind = kinds.get(str(item.get("outcome")))
    if kind is None:
        return
    file, _colon, line = str(item.get("rule") or "").rpartition(":")
    number = int(line) if file and line.isdecimal() else None
    method, user, database, host = [
        None if item.get(name) is None else str(item[name]) for name in ("method", "user", "database", "address")
    ]
    if kind == REFUSED and number is None:
        return  # refused for another reason than a rule
    yield Event(kind, record.time, record.precision, file or None, number, method, None, user, database, host)
