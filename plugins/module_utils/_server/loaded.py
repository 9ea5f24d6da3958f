# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Proof that a server loaded the rules that were written (docs/decisions/0040-a-reload-is-proved-from-four-sides.md).

``pg_reload_conf()`` only sends a signal. The postmaster sets its load time, then reads pg_hba.conf, before it forks again; so a *new*
session whose ``pg_conf_load_time()`` is not before the moment of our request proves that the postmaster is through with a reload that
began after our write (``process_pm_reload_request`` and ``ProcessConfigFile`` in PostgreSQL's sources). What that reload made of the file
follows from four things: the file that the server reads holds our bytes, its own parser shows our rows and no error, none is among those
which the view hides (the caller's engine knows them), and, where the server writes its log by itself, the log has no refusal.
"""

from __future__ import annotations

import json
import re
import time
import typing as t

from . import session
from .errors import CannotConnect, ServerError
from .facts import Denied, ServerFiles, sqlstate, translated

Rows = t.List[t.Dict[str, t.Any]]
Connect = t.Callable[[], t.ContextManager[t.Any]]
PAUSE = 0.05
"""Seconds between two looks at the load time; a reload usually takes a few milliseconds."""
_REASON = re.compile(r"(?:LOG|CONTEXT|HINT|ERROR|FATAL):\s+(.*)")


class Kind(t.NamedTuple):
    """One of the two files that a reload reads."""

    setting: str
    """The server's setting that says where the file is."""
    view: str
    """The view that shows the file as the server's parser reads it."""
    since: int
    """First major release that has the view."""
    name: str
    """What the server's log calls the file."""
    refused: re.Pattern[str]
    """What the server's log says when it refuses the file."""


HBA = Kind(
    "hba_file",
    "pg_hba_file_rules",
    10,
    "pg_hba",
    re.compile(r"pg_hba\.conf\"? was not reloaded|could not load|contains no entries", re.IGNORECASE),
)
IDENT = Kind(
    "ident_file",
    "pg_ident_file_mappings",
    15,
    "pg_ident",
    re.compile(r"pg_ident\.conf\"? was not reloaded|could not (?:load|open usermap file)[^\n]*pg_ident", re.IGNORECASE),
)


class NotLoaded(ServerError):
    """The server did not load the rules, or nothing proves that it did. ``proof`` says what was seen until then."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Expected(t.NamedTuple):
    """What the server is to have loaded."""

    content: bytes
    rows: Rows
    """The rows that the view has to show, with the columns of the server's major; ``file_name`` is not compared."""
    problem: str = ""
    """Why the server refuses the file, as far as the caller knows; the view hides some errors, and shows warnings as errors."""
    without_view: t.Callable[[str, ServerFiles], str] | None = None
    """Where the release has no view: reads the file of that name, and what it includes, through the server's eyes; says what is wrong."""


class Proof(t.NamedTuple):
    """What was seen of a reload that loaded the rules."""

    load_time: str
    """``pg_conf_load_time()`` of a session that was opened after the request, ISO 8601."""
    file: bool
    """The server's file was read over SQL and holds our bytes; false where the role may not read files (the rows are compared anyway)."""
    log: bool
    """The server's log was read and holds no refusal; false where the server does not write log files by itself."""
    seconds: float


def check_privileges(connection: t.Any, kind: Kind = HBA) -> None:
    """Before anything is written: raise :class:`Denied` when this role could not reload and look at the rules."""
    look = "has_function_privilege('pg_catalog.pg_read_binary_file(text)', 'execute')"
    if has_view(connection, kind):
        look = f"has_table_privilege('pg_catalog.{kind.view}', 'select') and has_function_privilege('pg_catalog.{kind.view}()', 'execute')"
    sql = f"select has_function_privilege('pg_catalog.pg_reload_conf()', 'execute'), {look}"
    may_reload, may_look = session.rows(connection, sql)[0]
    if not may_reload or not may_look:
        missing = kind.view if has_view(connection, kind) else f"pg_read_binary_file(text), and before {kind.since} there is no {kind.view}"
        missing = "pg_reload_conf()" if not may_reload else missing
        raise Denied(f"the role may not use {missing}: use a superuser, grant it, or set reload to false and reload by other means")


def has_view(connection: t.Any, kind: Kind) -> bool:
    """Whether the server's release has the view."""
    return int(connection.server_version) >= kind.since * 10000


def pending(connection: t.Any, files: t.Sequence[str]) -> bool | None:
    """Whether a file was modified after the server's last load; None when the role may not know. The server tells whole seconds only."""
    sql = """
        select coalesce(bool_or((pg_catalog.pg_stat_file(name, true)).modification > pg_catalog.pg_conf_load_time()), false)
          from unnest(%s::text[]) as found(name)"""
    try:
        return bool(session.rows(connection, sql, [list(files)])[0][0])
    except Exception as error:
        if sqlstate(error) != "42501":
            raise
        return None


def changed(connection: t.Any, files: t.Sequence[str]) -> dict[str, float]:
    """When files were put in their place, in seconds since 1970; the server tells whole seconds only. Without what it may not tell."""
    sql = """
        select name, extract(epoch from greatest(found.change, found.modification))::float8
          from unnest(%s::text[]) as names(name), pg_catalog.pg_stat_file(name, true) as found
         where found.modification is not null"""
    try:
        return {str(name): float(moment) for name, moment in session.rows(connection, sql, [list(files)])}
    except Exception as error:
        if sqlstate(error) != "42501":
            raise
        return {}


class LogSettings(t.NamedTuple):
    """How a server writes its log, and when it loaded its rules last (seconds since 1970)."""

    line_prefix: str | None
    timezone: str | None
    load_time: float | None
    hba_file: str


def log_settings(connection: t.Any) -> LogSettings:
    """Any role may ask; ``hba_file`` is empty where it may not know."""
    sql = """
        select pg_catalog.current_setting('log_line_prefix'), pg_catalog.current_setting('log_timezone'),
               extract(epoch from pg_catalog.pg_conf_load_time())::float8,
               (select setting from pg_catalog.pg_settings where name = 'hba_file')"""
    prefix, timezone, moment, hba_file = session.rows(connection, sql)[0]
    return LogSettings(prefix, timezone, float(moment), hba_file or "")


def view_rows(connection: t.Any, kind: Kind = HBA) -> Rows:
    """The server's own reading of the file on its disk. Raises :class:`NotLoaded` when it cannot open it, :class:`Denied`."""
    try:
        found = session.rows(connection, f"select to_jsonb(v)::text from pg_catalog.{kind.view} as v")  # noqa: S608 - a constant
    except Exception as error:
        text = session.one_line(error)
        if sqlstate(error) == "42501" and kind.view in text:
            raise Denied(f"the role may not read {kind.view}: {text}") from error
        if sqlstate(error):
            raise NotLoaded(f"the server cannot read its file: {text}") from error
        raise
    return [json.loads(row[0]) for row in found]


def reload(connection: t.Any, connect: Connect, timeout: float, expected: Expected | None = None, kind: Kind = HBA) -> Proof:
    """Reload, and prove it; without ``expected`` only that the postmaster is through with the reload.

    ``connection`` stays from before, so that it works whatever the new rules say; ``connect`` opens a new session each time; that it
    cannot is a proof of its own. ``timeout`` is in seconds. Raises :class:`NotLoaded`.
    """
    try:
        with translated("to load the rules"):
            return _reload(connection, connect, timeout, expected, kind)
    except CannotConnect as error:
        raise NotLoaded(str(error)) from error


def _reload(connection: t.Any, connect: Connect, timeout: float, expected: Expected | None, kind: Kind) -> Proof:
    began = time.monotonic()
    log = _Log(connection, kind)
    moment = session.rows(connection, "select clock_timestamp()")[0][0]
    if not session.rows(connection, "select pg_catalog.pg_reload_conf()")[0][0]:
        raise NotLoaded("the server could not be told to reload: pg_reload_conf() returned false")
    deadline = began + timeout
    problem = ""
    while True:
        try:
            with connect() as fresh:
                loaded = session.rows(fresh, "select pg_catalog.pg_conf_load_time()")[0][0]
                if loaded >= moment:
                    holds = _compare(fresh, expected, kind) if expected is not None else False
                    log.check()
                    return Proof(loaded.isoformat(), holds, log.readable, round(time.monotonic() - began, 3))
                problem = (
                    f"no session that was opened within {timeout:g} s has a load time after the request"
                    " (an error in postgresql.conf, shown by pg_file_settings, keeps the load time as it was; a pooler in between hides it)"
                )
        except CannotConnect as error:
            problem = f"after the reload, {error}"
        if time.monotonic() >= deadline:
            raise NotLoaded(problem)
        time.sleep(PAUSE)


def _compare(connection: t.Any, expected: Expected, kind: Kind) -> bool:
    """Raise NotLoaded unless the server's file is ours; True when its bytes were compared too."""
    found = session.rows(connection, "select setting from pg_catalog.pg_settings where name = %s", [kind.setting])
    where = str(found[0][0]) if found else ""  # nothing is shown to who may not know
    if has_view(connection, kind):
        _compare_rows(view_rows(connection, kind), expected.rows, where)
    if expected.problem:
        raise NotLoaded(f"the server refuses the file: {expected.problem}")
    files = ServerFiles(connection)
    try:
        if where and files.read(where) != expected.content:
            raise NotLoaded(f"the file that the server reads, {where}, does not hold what was written: is it this file?")
        problem = expected.without_view(where, files) if where and expected.without_view and not has_view(connection, kind) else ""
    except Denied:
        where = ""
    except OSError as error:
        raise NotLoaded(f"the server cannot read its file: {session.one_line(error)}") from error
    if not where and not has_view(connection, kind):
        raise NotLoaded(f"the role may not read the server's {kind.setting}, and this release has no view of it")
    if where and problem:
        raise NotLoaded(problem)
    return bool(where)


def _compare_rows(rows: Rows, wanted: Rows, where: str) -> None:
    errors = [row for row in rows if row["error"] is not None]
    if _columns(rows) == _columns(wanted):
        return
    if errors and [row["error"] for row in wanted] != [row["error"] for row in rows]:
        first = errors[0]
        raise NotLoaded(f"the server refuses line {first['line_number']} of its file: {first['error']}")
    shown = where or "another file"
    raise NotLoaded(f"the server shows other rules than those that were written; it reads {shown}: is that this file?")


def _columns(rows: Rows) -> Rows:
    return [{name: value for name, value in row.items() if name != "file_name"} for row in rows]


class _Log:
    """The end of the server's log, from the moment of creation on; readable where the logging collector runs and the role may."""

    def __init__(self, connection: t.Any, kind: Kind) -> None:
        self._connection = connection
        self._kind = kind
        self.readable = False
        try:
            found = session.rows(connection, "select f, (pg_catalog.pg_stat_file(f, true)).size from pg_catalog.pg_current_logfile() as f")
        except Exception as error:
            if sqlstate(error) != "42501":
                raise
            return
        self._path, self._start = found[0]
        self.readable = self._path is not None and self._start is not None

    def check(self) -> None:
        """Raise NotLoaded when the log has refused the rules since, with the reasons that it gives."""
        if not self.readable:
            return
        time.sleep(PAUSE)  # the collector writes a little later than the postmaster speaks
        sql = "select pg_catalog.pg_read_binary_file(%s, %s, 65536, true)"
        try:
            raw = session.rows(self._connection, sql, [self._path, self._start])[0][0]
        except Exception as error:
            if sqlstate(error) not in ("XX000", "58030", "58P01"):
                raise
            self.readable = False  # a pipe ("Illegal seek"), as in the project's container, or rotated away: no log to read from a place on
            return
        text = bytes(raw or b"").decode("utf-8", "replace")
        if self._kind.name in text and self._kind.refused.search(text):
            reasons = [match.group(1) for match in _REASON.finditer(text) if "parameter" not in match.group(1)]
            raise NotLoaded("the server's log says: " + "; ".join(reasons[:6] or [text.strip()[:500]]))
