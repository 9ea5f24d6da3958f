# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""A server's log as bytes → the records that tell about connections and reloads: stderr, csvlog, jsonlog, and our image's own lines.

Nothing is read here: callers hand in chunks of any size. Only lines with one of the marks are looked at, so a log costs what a search for
a few words costs, and no more memory than one chunk. Where the values of a client can hold line ends (a user's name in
``log_line_prefix``) a stderr log can be forged by whoever connects; csvlog and jsonlog cannot.

Sources: ``log_line_prefix``, ``write_csvlog``, ``write_jsonlog`` and ``send_message_to_server_log`` in PostgreSQL's
``src/backend/utils/error``; continuation lines of stderr begin with a tab (``append_with_tabs``).
"""

from __future__ import annotations

import csv
import datetime
import json
import re
import typing as t

from .model import decode

STDERR, CSV, JSON = "stderr", "csvlog", "jsonlog"
LONGEST = 8 << 20
"""Bytes of one record that are waited for; a longer one (a statement of many megabytes) is cut, so that memory stays flat."""

_MARKS = re.compile(
    rb"connection authenticated: |connection authorized: |connection received: |Connection matched |FATAL"
    rb"|received SIGHUP|was not reloaded|starting PostgreSQL |external_connection"
)
_CSV_FIELD = rb'(?:"(?:[^"]|"")*"|[^",\n]*),'
_CSV_LINE = re.compile(
    rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [^,\n]+," + _CSV_FIELD * 2 + rb"\d*," + _CSV_FIELD + rb"[0-9a-f]+\.[0-9a-f]+,\d+,"
)
_SEVERITY = r"(?P<severity>LOG|FATAL|DETAIL|PANIC|ERROR|WARNING|NOTICE|INFO|HINT|CONTEXT|STATEMENT|QUERY|LOCATION|DEBUG[1-5]?):  "
_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})? [A-Za-z0-9+:<>-]+"
_GUESS = re.compile(r"(?P<head>.*?)" + _SEVERITY)
_GUESS_TIME = re.compile(_TIME)
_GUESS_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d+ ?[A-Za-z0-9+:<>-]+")
_GUESS_EPOCH = re.compile(r"(?<![\d.])\d{10}\.\d{3}(?![\d.])")
_GUESS_PID = re.compile(r"\[(\d+)(?:-\d+)?\]|\bpid[=: ](\d+)|\b[0-9a-f]{8}\.([0-9a-f]+)\b|\|(\d+)\|", re.IGNORECASE)
_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(\.\d+)?\s*(\S*)$")
_OFFSET = re.compile(r"<?([+-])(\d\d):?(\d\d)?>?$")


class Record(t.NamedTuple):
    """One entry of a log, as far as it was logged and understood."""

    time: float | None
    """Seconds since 1970 in UTC; None when the line has no time, or one in a zone that is not known."""
    precision: float
    """How far the logged time may lie before the real one: a second, or a thousandth."""
    pid: str | None
    severity: str
    message: str
    detail: str = ""
    user: str | None = None
    database: str | None = None
    host: str | None = None
    event: t.Mapping[str, t.Any] | None = None
    """Our image's own record of an attempt to connect."""


class Clock:
    """Logged times as seconds. Zones are shown by abbreviation, which only ``zone`` (the server's ``log_timezone``) makes unambiguous."""

    def __init__(self, zone: datetime.tzinfo | None = None) -> None:
        self._zone = zone
        self._minutes: dict[tuple[str, str], float | None] = {}
        self.unknown: set[str] = set()
        """Zones that could not be read."""

    def read(self, text: str) -> tuple[float | None, float]:
        """Seconds and their precision; see :class:`Record`."""
        match = _MOMENT.match(text)
        if match is None:
            return None, 1.0
        zone, fraction = match[8], match[7]
        minute = self._minute(text[:16], zone)
        if minute is None:
            self.unknown.add(zone)
            return None, 1.0
        return minute + int(match[6]) + float(fraction or 0), 10.0 ** -(len(fraction) - 1) if fraction else 1.0

    def _minute(self, text: str, zone: str) -> float | None:
        key = (text, zone)
        if key not in self._minutes:
            if len(self._minutes) > 100_000:
                self._minutes.clear()
            self._minutes[key] = self._converted(text, zone)
        return self._minutes[key]

    def _converted(self, text: str, zone: str) -> float | None:
        try:
            local = datetime.datetime.strptime(text.replace("T", " "), "%Y-%m-%d %H:%M")
        except ValueError:
            return None
        offset = _OFFSET.match(zone)
        if zone in ("UTC", "GMT", "Z", "UCT", ""):
            return local.replace(tzinfo=datetime.timezone.utc).timestamp()
        if offset is not None:
            delta = datetime.timedelta(hours=int(offset[2]), minutes=int(offset[3] or 0))
            signed = delta if offset[1] == "+" else -delta
            return local.replace(tzinfo=datetime.timezone(signed)).timestamp()
        for fold in (0, 1) if self._zone is not None else ():
            there = local.replace(tzinfo=self._zone, fold=fold)
            if there.tzname() == zone:
                return there.timestamp()
        return None


# ---------------------------------------------------------------------------------------------------------------------- the pieces


def format_of(start: bytes) -> str:
    """The format of a log by its first bytes."""
    if start[:1] == b"{":
        return JSON
    return CSV if _CSV_LINE.match(start) is not None else STDERR


def first_moment(start: bytes, form: str, clock: Clock, prefix: Prefix | None = None) -> float | None:
    """The time of a log's first entry, to put several logs in order; None when its beginning does not tell."""
    for raw in start.split(b"\n")[:100]:
        if form == STDERR:
            record = (prefix or Prefix(None)).read(decode(raw), clock)
            found = None if record is None else record.time
        else:
            match = _GUESS_MOMENT.search(decode(raw[:500]))
            found = None if match is None else clock.read(match[0])[0]
        if found is not None:
            return found
    return None


def records(chunks: t.Iterable[bytes], form: str, clock: Clock, prefix: Prefix | None = None) -> t.Iterator[Record]:
    """The records of one log that matter here, in its order."""
    if form == CSV:
        return _csv_records(chunks, clock)
    if form == JSON:
        return _json_records(chunks, clock)
    return _stderr_records(chunks, clock, prefix or Prefix(None))


def _marked_lines(chunks: t.Iterable[bytes], continued: bool) -> t.Iterator[bytes]:
    """Lines with a mark; ``continued``: with the lines that begin with a tab, of which none begins an entry."""
    rest = b""
    for chunk in chunks:
        buffer = rest + chunk
        cut = buffer.rfind(b"\n") + 1
        while continued and cut and (cut == len(buffer) or buffer[cut : cut + 1] == b"\t"):
            cut = buffer.rfind(b"\n", 0, cut - 1) + 1
        if not cut and len(buffer) > LONGEST:
            cut = len(buffer)
        yield from _marked(buffer, cut, continued)
        rest = buffer[cut:]
    yield from _marked(rest, len(rest), continued)


def _marked(buffer: bytes, stop: int, continued: bool) -> t.Iterator[bytes]:
    done = 0
    match = _MARKS.search(buffer, 0, stop)
    while match is not None:
        start = buffer.rfind(b"\n", done, match.start()) + 1 or done
        end = buffer.find(b"\n", match.end(), stop)
        end = stop if end < 0 else end
        if continued:
            while start > done and buffer[start : start + 1] == b"\t":  # an entry begins further up
                start = buffer.rfind(b"\n", done, start - 1) + 1 or done
            while buffer[end + 1 : end + 2] == b"\t" and end + 1 < stop:
                after = buffer.find(b"\n", end + 1, stop)
                end = stop if after < 0 else after
        yield buffer[start:end]
        done = min(end + 1, stop)
        match = _MARKS.search(buffer, done, stop)


def _marked_csv(chunks: t.Iterable[bytes]) -> t.Iterator[bytes]:
    """Records with a mark. A record ends at a line end before which the number of quotes is even."""
    rest = b""
    for chunk in chunks:
        buffer = rest + chunk
        done = 0
        match = _MARKS.search(buffer)
        while match is not None:
            start = _boundary_before(buffer, done, match.start())
            end = _boundary_after(buffer, start, match.end())
            if end < 0:
                break
            yield buffer[start:end]
            done = end + 1
            match = _MARKS.search(buffer, done)
        done = _boundary_before(buffer, done, len(buffer))
        if len(buffer) - done > LONGEST:
            done = len(buffer)
        rest = buffer[done:]
    if rest:
        yield rest


def _boundary_before(buffer: bytes, done: int, place: int) -> int:
    line = buffer.rfind(b"\n", done, place)
    while line >= 0 and buffer.count(b'"', done, line) % 2:
        line = buffer.rfind(b"\n", done, line)
    return line + 1 if line >= 0 else done


def _boundary_after(buffer: bytes, start: int, place: int) -> int:
    line = buffer.find(b"\n", place)
    counted, quotes = start, 0
    while line >= 0:
        quotes += buffer.count(b'"', counted, line)
        if quotes % 2 == 0:
            return line
        counted = line
        line = buffer.find(b"\n", line + 1)
    return -1


# --------------------------------------------------------------------------------------------------------------------- the formats


def _csv_records(chunks: t.Iterable[bytes], clock: Clock) -> t.Iterator[Record]:
    for raw in _marked_csv(chunks):
        try:
            row = next(csv.reader([decode(raw)], strict=True), [])
        except csv.Error:
            continue
        if len(row) < 15:
            continue
        seconds, precision = clock.read(row[0])
        yield Record(seconds, precision, row[3] or None, row[11], row[13], row[14], row[1] or None, row[2] or None, _host(row[4]))


def _host(text: str) -> str | None:
    """``connection_from``: ``host:port``, or ``[local]``."""
    if not text or text == "[local]":
        return text or None
    return text.rpartition(":")[0] or text


def _json_records(chunks: t.Iterable[bytes], clock: Clock) -> t.Iterator[Record]:
    for raw in _marked_lines(chunks, continued=False):
        try:
            item = json.loads(decode(raw))
        except ValueError:
            continue
        if not isinstance(item, dict):
            continue
        if "error_severity" in item:
            seconds, precision = clock.read(str(item.get("timestamp", "")))
            texts = [None if item.get(name) is None else str(item[name]) for name in ("pid", "user", "dbname", "remote_host")]
            severity, message = str(item["error_severity"]), str(item.get("message", ""))
            yield Record(seconds, precision, texts[0], severity, message, str(item.get("detail", "")), texts[1], texts[2], texts[3])
        elif item.get("source") in ("access", "postgresql") and "time" in item:
            yield from _image_record(item, clock)


def _image_record(item: dict[str, t.Any], clock: Clock) -> t.Iterator[Record]:
    """A line of the image. Of the server's own lines only those about reloads: attempts come as events of their own."""
    seconds, precision = clock.read(str(item["time"]))
    if item.get("event") == "external_connection":
        yield Record(seconds, precision, None, "LOG", "", event=item)
    elif item["source"] == "postgresql" and not re.match("connection |FATAL", str(item.get("message", ""))):
        yield Record(seconds, precision, None, "LOG", str(item.get("message", "")))


def _stderr_records(chunks: t.Iterable[bytes], clock: Clock, prefix: Prefix) -> t.Iterator[Record]:
    """A FATAL entry's DETAIL is a line of its own, written in the same breath."""
    fatal: Record | None = None
    for raw in _marked_lines(chunks, continued=True):
        record = prefix.read(decode(raw), clock)
        if record is None:
            continue
        if record.severity == "DETAIL":
            if fatal is not None and fatal.pid == record.pid:
                yield fatal._replace(detail=record.message)
                fatal = None
            continue
        if fatal is not None:
            yield fatal
        fatal = record if record.severity == "FATAL" else None
        if fatal is None:
            yield record
    if fatal is not None:
        yield fatal


class Prefix:
    """What stands before the severity in a stderr log: ``log_line_prefix``, or whatever can be guessed."""

    def __init__(self, text: str | None) -> None:
        self._regex = None if text is None else re.compile(_prefix_regex(text) + _SEVERITY, re.DOTALL)

    def read(self, line: str, clock: Clock) -> Record | None:
        """A line and its continuations; None when no entry begins there."""
        match = self._regex.match(line) if self._regex is not None else None
        if match is None:
            match = _GUESS.match(line)
            if match is None:
                return None
            found = _guessed(match["head"])
        else:
            found = {name: value for name, value in match.groupdict().items() if value is not None}
            if "session" in found:
                found.setdefault("pid", str(int(found["session"].partition(".")[2], 16)))
        message = line[match.end() :].replace("\n\t", "\n")
        seconds, precision = _moment(found, clock)
        host = found.get("host")
        names = (found.get("user") or None, found.get("database") or None)
        return Record(seconds, precision, found.get("pid"), match["severity"], message, "", *names, host or None)


def _moment(found: t.Mapping[str, str], clock: Clock) -> tuple[float | None, float]:
    if "epoch" in found:
        return float(found["epoch"]), 0.001
    return clock.read(found.get("time", ""))


def _guessed(head: str) -> dict[str, str]:
    found: dict[str, str] = {}
    moment, epoch, pid = _GUESS_TIME.search(head), _GUESS_EPOCH.search(head), _GUESS_PID.search(head)
    if moment is not None:
        found["time"] = moment[0]
    elif epoch is not None:
        found["epoch"] = epoch[0]
    if pid is not None:
        found["pid"] = str(int(pid[3], 16)) if pid[3] else pid[1] or pid[2] or pid[4]
    return found


_ESCAPES = {
    "m": f"(?P<time>{_TIME})",
    "t": f"(?P<time>{_TIME})",
    "n": r"(?P<epoch>\d+\.\d{3})",
    "p": r"(?P<pid>\d+)",
    "c": r"(?P<session>[0-9a-f]+\.[0-9a-f]+)",
    "u": r"(?P<user>.*?)",
    "d": r"(?P<database>.*?)",
    "h": r"(?P<host>\S*)",
    "r": r"(?:(?P<host>[^\s(]*)(?:\(\d+\))?)",
    "s": _TIME,
    "l": r"\d+",
    "e": r"\w{5}",
    "v": r"[\d/]*",
    "x": r"\d+",
    "Q": r"-?\d+",
    "P": r"\d*",
}


def _prefix_regex(text: str) -> str:
    """A regular expression for ``log_line_prefix``. After ``%q`` comes what only sessions have."""
    parts: list[str] = []
    used: set[str] = set()
    optional = False
    for match in re.finditer(r"%-?\d*(.)|([^%]+)", text, re.DOTALL):
        sign, plain = match[1], match[2]
        if plain is not None:
            parts.append(re.escape(plain))
        elif sign == "%":
            parts.append("%")
        elif sign == "q":
            if not optional:
                parts.append("(?:")
            optional = True
        else:
            pattern = _ESCAPES.get(sign, ".*?")
            for name in re.findall(r"\?P<(\w+)>", pattern):
                pattern = pattern.replace(f"?P<{name}>", "?:") if name in used else pattern
                used.add(name)
            parts.append(rf"\s*{pattern}\s*?" if match[0][1:-1] else pattern)
    return "".join(parts) + (")?" if optional else "")
