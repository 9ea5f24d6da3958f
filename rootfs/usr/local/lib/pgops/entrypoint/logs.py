# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of programs as records, and records as the JSON lines of stdout. Pure; ``stream`` does the reading.

A record is ``{time, level, source, message, …fields}``. Times are RFC 3339 in UTC.
"""

from __future__ import annotations

import datetime
import json
import re
import typing as t

from .redact import Redactor
from .settings import LEVELS

Record = t.Dict[str, t.Any]
_SEVERITIES = {
    "LOG": "info", "INFO": "info", "NOTICE": "info", "STATEMENT": "info", "DETAIL": "info", "HINT": "info", "CONTEXT": "info",
    "QUERY": "info", "LOCATION": "info", "DEBUG": "debug", "WARNING": "warning", "ERROR": "error", "FATAL": "error", "PANIC": "error",
}  # fmt: skip
_LEVEL_OF = {**_SEVERITIES, **{f"DEBUG{number}": "debug" for number in range(1, 6)}}
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
# What ends a line for some reader, what a terminal obeys, what turns the order of letters, and halves of characters (invalid in UTF-8):
# a client's user name may hold any of them.
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_PLAIN = re.compile(
    rb"^(?:.*?[\s:\]])?(LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC|DEBUG\d?|DETAIL|HINT|CONTEXT|STATEMENT|QUERY|LOCATION):\s+(.*)$",
    re.DOTALL,
)
_PROGRAM = re.compile(r"^(?:initdb|pg_ctl|psql|postgres|pg_\w+): (?:(error|fatal|warning|detail|hint): )?", re.IGNORECASE)
_TIME = re.compile(r"^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?) (?:UTC|GMT)$")
# The server's names → ours; the others of its 29 keys say nothing to an operator, or are said already (timestamp, message).
_FIELDS = (
    ("error_severity", "severity"), ("state_code", "sqlstate"), ("pid", "pid"), ("user", "user"), ("dbname", "database"),
    ("remote_host", "address"), ("remote_port", "port"), ("application_name", "application"), ("backend_type", "backend"),
    ("detail", "detail"), ("hint", "hint"), ("context", "context"), ("statement", "statement"), ("internal_query", "internal_query"),
    ("session_id", "session"), ("query_id", "query_id"),
)  # fmt: skip
_SQL_FIELDS = frozenset({"statement", "internal_query", "context", "detail"})
# An attempt from outside is told by one event; the lines that it is made of are for those who ask for everything.
_CHATTER = (
    "connection received: ",
    "connection authenticated: ",
    "connection authorized: ",
    "replication connection authorized: ",
    "disconnection: ",
)
_STARTUP_CHATTER = ("redirecting log output to logging collector process", "ending log output to stderr", "Future log output will ")


def now() -> str:
    """This moment, as the ``time`` of a record."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def record(source: str, level: str, message: str, **fields: t.Any) -> Record:
    """A record of this moment; fields that are None are left out."""
    made: Record = {"time": now(), "level": level, "source": source, "message": message}
    made.update((name, value) for name, value in fields.items() if value is not None)
    return made


def shown(level: str, threshold: str) -> bool:
    """Whether a record of ``level`` is written when LOG_LEVEL is ``threshold``."""
    return LEVELS.index(level) >= LEVELS.index(threshold)


def encode(made: Record) -> bytes:
    """One line of stdout. Whatever bytes came in, one line of valid JSON in UTF-8 goes out."""
    line = _ENCODER.encode(made)
    if not line.isascii() or "\x7f" in line:
        line = _UNSAFE.sub(_escaped, line)
    return line.encode("utf-8") + b"\n"


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\\\x{code - 0xDC00:02x}"  # a byte that is no text
    return f"\\\\u{code:04x}" if 0xD800 <= code <= 0xDFFF else f"\\u{code:04x}"


def decode(raw: bytes) -> str:
    """Bytes as text; what is not UTF-8 (a client's user name may hold anything) is shown as ``\\xNN``."""
    return raw.decode("utf-8", "backslashreplace")


def server_row(raw: bytes) -> dict[str, t.Any] | None:
    """A line of PostgreSQL's jsonlog as it is, or None when it is no JSON object. Bytes that are no UTF-8 stay, as surrogates."""
    try:
        row = json.loads(raw.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def level_of(row: t.Mapping[str, t.Any]) -> str:
    """The level of a row of jsonlog."""
    level = _LEVEL_OF.get(row.get("error_severity", "LOG"), "info")
    return "debug" if level == "info" and str(row.get("message", "")).startswith(_CHATTER + _STARTUP_CHATTER) else level


def server_record(row: t.Mapping[str, t.Any], level: str, redactor: Redactor) -> Record:
    """A row of jsonlog as a record."""
    message = str(row.get("message", ""))
    made: Record = {
        "time": server_time(row),
        "level": level,
        "source": "postgresql",
        "message": redactor.message(message, row.get("statement")),
    }
    for theirs, ours in _FIELDS:
        value = row.get(theirs)
        if value in (None, "", 0):
            continue
        if theirs == "state_code" and value == "00000":
            continue
        made[ours] = redactor.text(value, statement=theirs in _SQL_FIELDS) if isinstance(value, str) else value
    return made


def server_time(row: t.Mapping[str, t.Any]) -> str:
    """The row's own time; with a ``log_timezone`` other than UTC, whose name tells no offset, the time of reading."""
    match = _TIME.match(str(row.get("timestamp", "")))
    return f"{match[1]}T{match[2]}Z" if match else now()


def plain_record(source: str, raw: bytes, redactor: Redactor) -> Record:
    """A line of plain text from the server's or another program's stdout or stderr."""
    match = _PLAIN.match(raw)
    text = decode(match[2] if match else raw).rstrip("\r\n")
    level = "info"
    severity = None
    if match:
        severity = match[1].decode("ascii")
        level = _SEVERITIES.get(severity.rstrip("0123456789"), "info")
    else:
        program = _PROGRAM.match(text)
        if program and program[1]:
            level = _SEVERITIES.get(program[1].upper(), "info")
    if text.startswith(_STARTUP_CHATTER):
        level = "debug"
    return record(source, level, redactor.text(text, statement=severity in ("STATEMENT", "QUERY")), severity=severity)
