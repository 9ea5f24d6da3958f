# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One ``external_connection`` event for each attempt to connect from outside, put together from the server's log lines.

The server tells an attempt in pieces (``log_connections``): *received*, *authenticated* with the rule's place, *authorized*, or a FATAL
line. *Authorized* comes before the role's existence, LOGIN right and limits are looked at (hba-reference 10), so it becomes
``accepted`` only when nothing contradicts it for a moment. A client that never answers leaves no line at all; after the server's
own time limit it becomes ``abandoned``. Pure: time and rows come in, records go out.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from . import logs

SETTLE_SECONDS = 0.25
"""An authorized session without a further line for so long is in."""
ABANDON_SECONDS = 65.0
"""authentication_timeout is 60 s by default; a longer one makes the event early, not wrong: a late answer makes a second event."""
MAX_ATTEMPTS = 20_000
"""Attempts kept at once; beyond, the oldest is closed as abandoned, so that a flood cannot take the memory."""

_AUTHENTICATED = re.compile(r'^connection authenticated: (?:identity|user)="(.*)" method=(\S+) \((.*):(\d+)\)$', re.DOTALL)
_AUTHORIZED = re.compile(r"^(?:replication )?connection authorized: ")
# The last line of the detail: a role's name in the one before it may hold any text, this one, too.
_MATCHED = re.compile(r'(?:\A|\n)Connection matched (?:file "(?P<path>[^\n]*?)"|pg_hba\.conf) line (?P<line>\d+): "(?P<raw>[^\n]*)"\Z')
_TLS_ON = re.compile(r" SSL enabled \(protocol=[^ ]+, cipher=[^ ]+, bits=\d+\)(?: GSS \([^()]*\))?$|, SSL encryption$|, SSL on$")
_TLS_OFF = re.compile(r", no encryption$|, SSL off$")
_BEFORE_IN = frozenset({"authentication", "startup"})
"""The server's word (``ps``) for a session that is not in yet; later it is the command."""
_REASONS: tuple[tuple[str, str, str], ...] = (
    ("no pg_hba.conf entry for ", "", "no_entry"),
    ("pg_hba.conf rejects ", "", "rejected"),
    ("connection requires a valid client certificate", "", "certificate_required"),
    ('role "', '" does not exist', "unknown_role"),
    ('role "', '" is not permitted to log in', "not_permitted"),
    ('database "', '" does not exist', "unknown_database"),
)
_STATES = {
    "28P01": "authentication_failed", "28000": "authentication_failed", "3D000": "unknown_database", "42501": "not_permitted",
    "53300": "too_many_connections", "57P03": "not_ready", "57P01": "shutting_down", "08P01": "protocol_error", "0A000": "protocol_error",
}  # fmt: skip


@dataclasses.dataclass
class Attempt:
    """What is known so far of one attempt."""

    address: str
    port: int | None
    started: float
    time: str
    user: str | None = None
    database: str | None = None
    identity: str | None = None
    method: str | None = None
    rule: str | None = None
    tls: bool | None = None
    replication: bool = False
    authorized: bool = False
    deadline: float = 0.0


class Decided(t.NamedTuple):
    """What the rules say about a client, for the cases in which the server does not name the rule."""

    rule: str | None
    method: str | None


Decide = t.Callable[[Attempt], Decided]


def no_decision(_unused: Attempt) -> Decided:
    """For when no rules are at hand."""
    return Decided(None, None)


class Correlator:
    """Rows of jsonlog in, events out. ``decide`` names the rule where the server does not; ``hba_file`` is where unnamed lines are."""

    def __init__(self, hba_file: str, decide: Decide = no_decision) -> None:
        self._hba_file = hba_file
        self._decide = decide
        self._attempts: dict[str, Attempt] = {}
        self._settling: dict[str, float] = {}

    def feed(self, row: t.Mapping[str, t.Any], clock: float) -> list[logs.Record]:
        """Events that this row completes. ``clock`` is a monotonic time in seconds."""
        key = str(row.get("session_id") or row.get("pid") or "")
        message = str(row.get("message", ""))
        if message.startswith("connection received: ") and "user" not in row:
            return self._received(key, row, clock)
        attempt = self._attempts.get(key)
        if attempt is None:
            return []
        if attempt.authorized and row.get("ps") not in _BEFORE_IN:
            # Whatever a session says once it is in (RAISE LOG can say anything), even its end, is not about how it came in.
            return [self._finish(key, self._accepted(attempt))]
        attempt.user = row.get("user") or attempt.user
        attempt.database = row.get("dbname") or attempt.database
        if row.get("error_severity") in ("FATAL", "PANIC"):
            return [self._finish(key, self._refused(attempt, row))]
        authenticated = _AUTHENTICATED.match(message)
        if authenticated:
            attempt.identity, attempt.method = authenticated[1], authenticated[2]
            attempt.rule = f"{authenticated[3]}:{authenticated[4]}"
            return []
        if _AUTHORIZED.match(message):
            self._authorized(key, attempt, row, message, clock)
            return []
        return []

    def tick(self, clock: float) -> list[logs.Record]:
        """Events that time alone completes."""
        events = []
        while self._settling:
            key, deadline = next(iter(self._settling.items()))
            if deadline > clock:
                break
            events.append(self._finish(key, self._accepted(self._attempts[key])))
        while self._attempts:
            key, attempt = next(iter(self._attempts.items()))
            if attempt.started + ABANDON_SECONDS > clock and len(self._attempts) <= MAX_ATTEMPTS:
                break
            events.append(self._finish(key, self._closed(attempt)))
        return events

    def flush(self) -> list[logs.Record]:
        """Events for everything that is still open: the server is gone."""
        return [self._finish(key, self._closed(self._attempts[key])) for key in list(self._attempts)]

    def wait(self, clock: float) -> float | None:
        """Seconds until :meth:`tick` has something to do; None when nothing is open."""
        if self._settling:
            return max(0.0, next(iter(self._settling.values())) - clock)
        if self._attempts:
            return max(0.0, next(iter(self._attempts.values())).started + ABANDON_SECONDS - clock)
        return None

    def _received(self, key: str, row: t.Mapping[str, t.Any], clock: float) -> list[logs.Record]:
        address = str(row.get("remote_host", ""))
        if not outside(address):
            return []
        port = row.get("remote_port")
        self._attempts[key] = Attempt(address, port if isinstance(port, int) else None, clock, logs.server_time(row))
        return self.tick(clock) if len(self._attempts) > MAX_ATTEMPTS else []

    def _authorized(self, key: str, attempt: Attempt, row: t.Mapping[str, t.Any], message: str, clock: float) -> None:
        attempt.authorized = True
        attempt.time = logs.server_time(row)
        attempt.tls = bool(_TLS_ON.search(message))
        attempt.replication = message.startswith("replication ")
        self._settling[key] = clock + SETTLE_SECONDS

    def _finish(self, key: str, event: logs.Record) -> logs.Record:
        self._attempts.pop(key, None)
        self._settling.pop(key, None)
        return event

    def _closed(self, attempt: Attempt) -> logs.Record:
        return self._accepted(attempt) if attempt.authorized else self._event(attempt, "abandoned", "no_answer", "warning")

    def _accepted(self, attempt: Attempt) -> logs.Record:
        if attempt.method is None:
            # Before version 17 a connection that trust lets in has no "authenticated" line.
            decided = self._decide(attempt)
            attempt.rule, attempt.method = decided.rule, decided.method or "trust"
        return self._event(attempt, "accepted", None, "info")

    def _refused(self, attempt: Attempt, row: t.Mapping[str, t.Any]) -> logs.Record:
        message, detail = str(row.get("message", "")), str(row.get("detail", ""))
        if attempt.tls is None:
            attempt.tls = True if _TLS_ON.search(message) else False if _TLS_OFF.search(message) else None
        attempt.replication = attempt.replication or "replication connection" in message
        attempt.time = logs.server_time(row)
        matched = _MATCHED.search(detail)
        if matched:
            attempt.rule = f"{matched['path'] or self._hba_file}:{matched['line']}"
            kind, attempt.method = method_of(matched["raw"])
            if attempt.tls is None and kind in ("hostssl", "hostnossl"):
                attempt.tls = kind == "hostssl"
            detail = _MATCHED.sub("", detail).strip()
        reason = _reason(message, str(row.get("state_code", "")))
        if reason == "rejected" and attempt.rule is None:
            decided = self._decide(attempt)
            attempt.rule, attempt.method = decided.rule, "reject"
        if reason == "no_entry":
            attempt.rule = attempt.method = None
        return self._event(attempt, "refused", reason, "warning", server_message=message, detail=detail or None)

    def _event(self, attempt: Attempt, outcome: str, reason: str | None, level: str, **more: t.Any) -> logs.Record:
        """All ten facts are always there, null where nobody knows: whoever reads them need not guess."""
        who = f'user "{attempt.user}"' if attempt.user is not None else "unknown user"
        text = f"{outcome}: {who} from {attempt.address}" + (f" ({reason})" if reason else "")
        event: logs.Record = {
            "time": attempt.time, "level": level, "source": "access", "message": text, "event": "external_connection",
            "address": attempt.address, "port": attempt.port, "user": attempt.user, "database": attempt.database,
            "replication": attempt.replication, "tls": attempt.tls, "method": attempt.method, "rule": attempt.rule,
            "outcome": outcome, "reason": reason,
        }  # fmt: skip
        event.update((name, value) for name, value in more.items() if value is not None)
        return event


def outside(address: str) -> bool:
    """Whether an address of the log is one outside the container: neither the socket nor loopback."""
    try:
        return not ipaddress.ip_address(address.split("%", 1)[0]).is_loopback
    except ValueError:
        # "[local]", or a name because of log_hostname.
        return address not in ("", "[local]", "localhost")


def method_of(raw: str) -> tuple[str, str | None]:
    """Record type and method of a rule as the log quotes it; quoted blanks do not stand before a method in our own rules."""
    words = raw.split()
    kind = words[0] if words else ""
    place = 3 if kind == "local" else 4
    if kind != "local" and len(words) > 5 and re.fullmatch(r"[0-9.]+|[0-9A-Fa-f:]+:[0-9A-Fa-f:]*", words[4]):
        place = 5
    return kind, words[place] if len(words) > place else None


def _reason(message: str, state: str) -> str:
    for start, end, reason in _REASONS:
        if message.startswith(start) and message.endswith(end):
            return reason
    return _STATES.get(state, "error")
