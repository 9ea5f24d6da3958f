# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""A server's log files, rotated and compressed ones too, read as a stream: events for whoever wants them, and the uses of rules."""

from __future__ import annotations

import contextlib
import datetime
import glob
import importlib
import math
import os
import re
import stat
import typing as t
import zoneinfo

from .._hba import ruleset, usage, usage_log
from .._hba.model import Rule, Server, encode
from .._hba.usage_events import Connections, Event
from . import hba_common
from .hba_common import Invalid

CHUNK = 1 << 20
"""Bytes that are read at once; what is in memory is a few times that, whatever a log's size."""

# By the first bytes of a file: the module that reads it. zstd came into the standard library with Python 3.14.
_COMPRESSED = {
    b"\x1f\x8b": ("gzip",),
    b"BZh": ("bz2",),
    b"\xfd7zXZ\x00": ("lzma",),
    b"\x28\xb5\x2f\xfd": ("compression.zstd", "zstandard", "pyzstd"),
}
_FORMATS = (usage_log.JSON, usage_log.CSV, usage_log.STDERR)
_SUFFIXES = re.compile(r"(?:\.(?:gz|bz2|xz|lzma|zst|zstd))?$")
_OURS = re.compile(r"\.(\d{8}T\d{6}\.\d{6})Z\.bak$")
_ANSIBLES = re.compile(r"\.\d+\.(\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d)~$")


class Log(t.NamedTuple):
    """One file of a log."""

    path: str
    form: str
    first: float


class Reading(t.NamedTuple):
    """How logs are to be read."""

    prefix: usage_log.Prefix
    clock: usage_log.Clock


def options() -> dict[str, dict[str, t.Any]]:
    """The options about logs; DOCUMENTATION of pg_hba_info says what they mean."""
    return {
        "logs": {"type": "list", "elements": "path"},
        "log_line_prefix": {"type": "str"},
        "log_timezone": {"type": "str"},
        "log_hba_file": {"type": "str"},
        "in_force_since": {"type": "str"},
    }


def reading(line_prefix: str | None, timezone: str | None) -> Reading:
    """How to read logs. Without a zone this machine's is taken for abbreviations that are not UTC. Raises :class:`Invalid`."""
    zone: datetime.tzinfo | None = None
    if timezone is not None:
        try:
            zone = zoneinfo.ZoneInfo(timezone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise Invalid(f"log_timezone: {timezone!r} is not a time zone that this machine knows, as Europe/Berlin is") from error
    else:
        with contextlib.suppress(OSError, ValueError), open("/etc/localtime", "rb") as file:
            zone = zoneinfo.ZoneInfo.from_file(file)
    return Reading(usage_log.Prefix(line_prefix), usage_log.Clock(zone))


def moment_of(text: str) -> float:
    """``in_force_since`` in seconds. Raises :class:`Invalid`."""
    try:
        found = datetime.datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text.strip()))
    except ValueError as error:
        raise Invalid(f"in_force_since: {text!r} is not a date and time, as 2026-05-04T10:00:00Z is") from error
    return found.timestamp()  # this machine's zone, when none is given


# ------------------------------------------------------------------------------------------------------------------------- reading


def find(places: t.Sequence[str], how: Reading) -> list[Log]:
    """The files of paths, globs and directories, the oldest first. A server that logs in several formats at once writes each event in
    each of them, side by side: then one format is read. Raises :class:`Invalid`."""
    found: dict[str, list[Log]] = {}
    for path in _paths(places):
        start = b"".join(_pieces(path, 1 << 16, 1))
        if not start:
            continue
        form = usage_log.format_of(start)
        first = usage_log.first_moment(start, form, how.clock, how.prefix)
        stem = re.sub(r"\.(?:log|csv|json)(?=$|[.-])", "", _SUFFIXES.sub("", path))
        found.setdefault(stem, []).append(Log(path, form, os.stat(path).st_mtime if first is None else first))
    logs: list[Log] = []
    for same in found.values():
        best = min((log.form for log in same), key=_FORMATS.index)
        logs += [log for log in same if log.form == best]
    return sorted(logs, key=lambda log: (log.first, log.path))


def _paths(places: t.Sequence[str]) -> list[str]:
    paths: dict[tuple[int, int], str] = {}
    for place in places:
        names = [place] if os.path.exists(place) else sorted(glob.glob(place))
        if not names:
            raise Invalid(f"logs: there is no {place}; give a file, a directory or a pattern of files on the machine where the task runs")
        files = [name for name in names if not os.path.isdir(name)]
        for folder in [name for name in names if os.path.isdir(name)]:
            try:
                files += [entry.path for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith(".")]
            except OSError as error:
                raise Invalid(f"logs: {folder}: {error.strerror}") from error
        for name in files:
            try:
                info = os.stat(name)
            except OSError as error:
                raise Invalid(f"logs: {name}: {error.strerror}") from error
            if not stat.S_ISREG(info.st_mode):
                raise Invalid(f"logs: {name} is not a regular file")
            paths.setdefault((info.st_dev, info.st_ino), name)
    return list(paths.values())


def _pieces(path: str, size: int = CHUNK, most: int = -1) -> t.Iterator[bytes]:
    """A file's bytes, decompressed by what its first bytes say."""
    try:
        with open(path, "rb") as raw, contextlib.ExitStack() as stack:
            file = _plain(path, raw, stack)
            chunk = file.read(size)
            while chunk and most:
                yield chunk
                most -= 1
                chunk = file.read(size) if most else b""
    except (EOFError, OSError, ValueError) as error:
        raise Invalid(f"logs: {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except Exception as error:
        if type(error).__name__ not in ("LZMAError", "ZstdError", "error"):
            raise
        raise Invalid(f"logs: {path} cannot be decompressed: {error}") from error


def _plain(path: str, file: t.BinaryIO, stack: contextlib.ExitStack) -> t.Any:
    """The file that gives the plain bytes: itself, or a decompressing one that ``stack`` closes."""
    start = file.read(8)
    names = next((names for magic, names in _COMPRESSED.items() if start.startswith(magic)), ())
    file.seek(0)
    return stack.enter_context(_library(path, names).open(file, "rb")) if names else file


def _library(path: str, names: t.Sequence[str]) -> t.Any:
    for name in names:
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    raise Invalid(
        f"logs: {path} is compressed, and the Python of this machine has none of {', '.join(names)}, which could read it;"
        " install one, or decompress the file"
    )


def read(log: Log, how: Reading, connections: Connections, counted: dict[str, int]) -> t.Iterator[Event]:
    """The events of one file; ``connections`` is shared by the files of one server. ``counted`` takes the bytes that were read."""

    def chunks() -> t.Iterator[bytes]:
        for chunk in _pieces(log.path):
            counted["bytes"] = counted.get("bytes", 0) + len(chunk)
            yield chunk

    for record in usage_log.records(chunks(), log.form, how.clock, how.prefix):
        yield from connections.feed(record)


def events(places: t.Sequence[str], how: Reading) -> t.Iterator[Event]:
    """All events of a server's logs, in order: for audits that want to know who logged in, when and how."""
    connections = Connections()
    for log in find(places, how):
        yield from read(log, how, connections, {})
    yield from connections.rest()


# ------------------------------------------------------------------------------------------------------------------------ versions


def versions_of(
    rules: ruleset.Ruleset, server: Server, changed: t.Mapping[str, float], *, backups: bool, since: float | None = None
) -> dict[str, list[usage.Version]]:
    """What each file held and when. ``changed``: when each was put in its place; ``backups``: look for them on this machine."""
    found: dict[str, list[usage.Version]] = {}
    for file in rules.files:
        lines = {rule.line: rule for rule in rules.rules if rule.file == file}
        old = _backups(file, server) if backups else []
        begin = changed.get(file, math.inf) if since is None else since
        found[file] = [*old, usage.Version(begin, math.inf, lines)]
    return found


def _backups(file: str, server: Server) -> list[usage.Version]:
    """Backups that this collection and Ansible's own modules keep beside a file: the name tells until when, the file's time since when."""
    kept: list[tuple[float, float, str]] = []
    real = os.path.realpath(file)
    with contextlib.suppress(OSError):
        for entry in os.scandir(os.path.dirname(real)):
            end = _end_of(entry.name, os.path.basename(real))
            if end is not None and entry.is_file():
                kept.append((end, entry.stat().st_mtime, entry.path))
    versions: list[usage.Version] = []
    before = -math.inf
    for end, begin, path in sorted(kept):
        with contextlib.suppress(OSError), open(path, "rb") as content:
            versions.append(usage.Version(max(begin, before), end, _lines(content.read(), server, file)))
        before = end
    return versions


def _end_of(name: str, main: str) -> float | None:
    if not name.startswith(main):
        return None
    rest = name[len(main) :]
    ours, ansibles = _OURS.match(rest), _ANSIBLES.match(rest)
    if ours is not None:
        return datetime.datetime.strptime(ours[1] + "+0000", "%Y%m%dT%H%M%S.%f%z").timestamp()
    if ansibles is not None:
        return datetime.datetime.strptime(ansibles[1], "%Y-%m-%d@%H:%M:%S").timestamp()
    return None


def _lines(raw: bytes, server: Server, file: str) -> dict[int, Rule]:
    return {rule.line: rule for rule in ruleset.parse_text(raw, server, file).rules if rule.file == file}


def changed_here(files: t.Iterable[str]) -> dict[str, float]:
    """When files of this machine were put in their place: the time of the last change of each one's inode."""
    found: dict[str, float] = {}
    for file in files:
        with contextlib.suppress(OSError):
            info = os.stat(encode(file))
            found[file] = max(info.st_ctime, info.st_mtime)
    return found


# ------------------------------------------------------------------------------------------------------------------------- results


class Source(t.NamedTuple):
    """Whose rules' uses are looked for."""

    main: str
    rules: ruleset.Ruleset
    server: Server
    versions: t.Mapping[str, t.Sequence[usage.Version]]
    loads: tuple[float, ...] = ()
    names: t.Mapping[str, str] = {}


def report(places: t.Sequence[str], how: Reading, source: Source, shown: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    """Reads the logs; puts its uses into each shown rule, and returns the summary ``logs``."""
    connections, collector = Connections(), usage.Collector(source.main, source.loads)
    files: list[dict[str, t.Any]] = []
    for log in find(places, how):
        counted: dict[str, int] = {"bytes": 0}
        before = collector.total
        for event in read(log, how, connections, counted):
            collector.add(event)
        files.append({"path": log.path, "format": log.form, "bytes": counted["bytes"], "events": collector.total - before})
    for event in connections.rest():
        collector.add(event)
    found = usage.attribute(collector, source.versions, source.names)
    lost = dict(found.unattributed)
    if connections.unreadable:
        lost[usage.UNREADABLE] = lost.get(usage.UNREADABLE, 0) + connections.unreadable
    never = _dress(source, found, shown)
    attributed = sum(tally.count for tally in found.uses.values())
    return {
        "events": collector.total + connections.unreadable,
        "attributed": attributed,
        "unattributed": sum(lost.values()),
        "unattributed_reasons": [{"reason": name, "count": lost[name], "text": usage.REASONS[name]} for name in sorted(lost)],
        "refused": sum(tally.count for tally in found.refusals.values()) + sum(found.unattributed_refusals.values()),
        "refused_unattributed": sum(found.unattributed_refusals.values()),
        "rejected": found.rejected,
        "no_entry": found.no_entry,
        "loads": collector.loads,
        "from": _iso(collector.first),
        "to": _iso(collector.last),
        "covered_from": _iso(found.covered[0] if found.covered else None),
        "covered_to": _iso(found.covered[1] if found.covered else None),
        "never_used": never,
        "unknown_time_zones": sorted(how.clock.unknown),
        "files": files,
    }


def _dress(source: Source, found: usage.Usage, shown: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Uses for each rule; the rules that were never used are returned. Without one admission in the logs nothing is said: connections
    may not be logged at all."""
    never: list[dict[str, t.Any]] = []
    for row, out in zip(source.rules.rows, shown):
        if not isinstance(row, Rule):
            continue
        place = (row.file, row.line)
        uses, refusals = found.uses.get(place), found.refusals.get(place)
        told = found.covered is not None and _is_logged(row, source.server.major)
        out["uses"] = uses.count if uses is not None else 0 if told else None
        out["first_used"], out["last_used"] = (None, None) if uses is None else (_iso(uses.first), _iso(uses.last))
        out["refused"] = 0 if refusals is None else refusals.count
        out["used_by"] = {} if uses is None else _names(uses.users, uses.other_users)
        out["used_from"] = {} if uses is None else _names(uses.addresses, uses.other_addresses)
        if out["uses"] == 0:
            never.append({"file_name": out["file_name"], "line_number": out["line_number"], "text": out["text"]})
    return never


def _is_logged(rule: Rule, major: int) -> bool:
    """Whether the server would log a use of the rule with its line: from 14 on, for trust from 17 on; a reject admits nobody."""
    return major >= (17 if rule.method == "trust" else 14) and rule.method != "reject"


def _names(counts: t.Mapping[str, int], others: int) -> dict[str, int]:
    found = {hba_common.text_of(name): count for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))}
    if others:
        found["(others)"] = others
    return found


def _iso(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
