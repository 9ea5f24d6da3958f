# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Stored passwords and the setting that new ones follow, over SQL. Nothing here sees or sends a clear password.

``Settings`` is where a setting of the whole server is put: ``AlterSystem`` for a server of its own; a cluster whose configuration lives
elsewhere brings its own.
"""

from __future__ import annotations

import contextlib
import typing as t

from .._auth import verifier
from .._auth.planner import Login
from . import loaded, session
from .errors import ServerError
from .facts import Denied, sqlstate

SETTING = "password_encryption"
OVERRIDES = ("database", "user", "database user", "client", "session")
"""Sources of a setting that say nothing about the rest of the server."""
QUIET = {
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_min_error_statement": "panic",
    "log_parser_stats": "off",
    "debug_print_parse": "off",
    "track_activities": "off",
    "pg_stat_statements.track": "none",
    "pg_stat_monitor.pgsm_track": "none",
    "pgaudit.log": "none",
}
"""What keeps the text of our statements, which hold verifiers, out of logs and statistics, for one transaction."""


class CannotChange(ServerError):
    """A password or a setting was not changed; the server is as it was."""


class Policy(t.NamedTuple):
    """What the server makes of new passwords."""

    encryption: str | None
    """``password_encryption`` of the server as a whole; None: this session sees another, and may not look further."""
    iterations: int
    overrides: tuple[str, ...] = ()
    """Roles and databases with a ``password_encryption`` of their own, in words."""


def logins(connection: t.Any) -> tuple[Login, ...]:
    """Every role with what is stored as its password, but the server's own groups (pg_…). Raises :class:`Denied`, naming the privilege."""
    sql = """
        select rolname::text, rolcanlogin, rolsuper, rolreplication, rolconnlimit,
               case when isfinite(rolvaliduntil) then to_char(rolvaliduntil at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') end,
               coalesce(rolvaliduntil < now(), false), rolpassword
          from pg_catalog.pg_authid
         where rolcanlogin or rolpassword is not null or rolname !~ '^pg_' order by rolname"""
    try:
        found = session.rows(connection, sql)
    except Exception as error:
        if sqlstate(error) != "42501":
            raise
        user, database = session.rows(connection, "select current_user::text, current_database()::text")[0]
        raise Denied(
            f"the role {user} may not read pg_authid, where passwords are stored: use a superuser, or, in the database {database}: "
            f'GRANT SELECT ON pg_catalog.pg_authid TO "{user}"'
        ) from error
    return tuple([Login(*row[:-1], verifier.parse(row[-1])) for row in found])  # type: ignore[call-arg]


def policy(connection: t.Any) -> Policy:
    """How the server would store a new password."""
    found = {
        name: (value, source)
        for name, value, source in session.rows(
            connection, "select name, setting, source from pg_catalog.pg_settings where name = any(%s)", [[SETTING, "scram_iterations"]]
        )
    }
    value, source = found[SETTING]
    encryption: str | None = "md5" if value == "on" else value
    if source in OVERRIDES:
        encryption = _server_wide(connection)
    iterations = int(found["scram_iterations"][0]) if "scram_iterations" in found else verifier.DEFAULT_ITERATIONS
    sql = r"""
        select coalesce('role ' || r.rolname, ''), coalesce('database ' || d.datname, ''), s.setting
          from pg_catalog.pg_db_role_setting x cross join unnest(x.setconfig) as s(setting)
          left join pg_catalog.pg_roles r on r.oid = x.setrole left join pg_catalog.pg_database d on d.oid = x.setdatabase
         where s.setting like 'password\_encryption=%' and s.setting <> 'password_encryption=scram-sha-256' order by 1, 2"""
    rows = session.rows(connection, sql)
    overrides = tuple([f"{' in '.join(part for part in row[:2] if part) or 'all roles'}: {row[2].partition('=')[2]}" for row in rows])
    return Policy(encryption, iterations, overrides)


def _server_wide(connection: t.Any) -> str | None:
    """The setting in the server's files, for a session that has another; None when the role may not look."""
    sql = "select setting from pg_catalog.pg_file_settings where name = %s and applied order by seqno desc limit 1"
    try:
        found = session.rows(connection, sql, [SETTING])
    except Exception as error:
        if sqlstate(error) != "42501":
            raise
        return None
    if found:
        return str(found[0][0])
    return str(session.rows(connection, "select boot_val from pg_catalog.pg_settings where name = %s", [SETTING])[0][0])


def check_may_store(connection: t.Any, names: t.Sequence[str]) -> None:
    """Before anything changes: raise :class:`Denied` when this role could not give these roles a password."""
    user, superuser, creator, standby = session.rows(
        connection,
        "select rolname::text, rolsuper, rolcreaterole, pg_is_in_recovery() from pg_catalog.pg_roles where rolname = current_user",
    )[0]
    if standby and names:
        raise Denied("this server is a standby, where no password can be stored: run the task on the primary")
    if superuser or not names:
        return
    if not creator and list(names) != [user]:
        raise Denied(f"the role {user} may not change the passwords of other roles: use a superuser, or give it CREATEROLE")
    above = session.rows(connection, "select rolname::text from pg_catalog.pg_roles where rolsuper and rolname = any(%s)", [list(names)])
    if above:
        raise Denied(f"the role {user} may not change the password of the superuser {above[0][0]}: use a superuser")


def store(connection: t.Any, texts: t.Mapping[str, str], known: t.Mapping[str, verifier.Verifier]) -> None:
    """All new verifiers or none: one transaction. ``known``: what was stored when the new ones were made; another value stops it.

    Raises :class:`CannotChange`; its text holds no verifier.
    """
    if not texts:
        return
    quote = session.psycopg2("to quote the names of roles").extensions.quote_ident
    problem: BaseException | None = None
    reason = ""
    with connection.cursor() as cursor:
        try:
            cursor.execute("begin")
            _be_quiet(connection)
            rows = session.rows(
                connection, "select rolname::text, rolpassword from pg_catalog.pg_authid where rolname = any(%s)", [list(texts)]
            )
            now = {name: verifier.parse(text) for name, text in rows}
            changed = sorted(name for name in texts if now.get(name) != known[name])
            if changed:
                raise CannotChange(
                    f"passwords: somebody has changed the password of {', '.join(changed[:5])} meanwhile; nothing was stored: run it again"
                )
            for name, text in texts.items():
                role = quote(name, connection).replace("%", "%%")  # the driver looks for its placeholders in names, too
                cursor.execute(f"alter role {role} password %s", [text])
            cursor.execute("commit")
        except CannotChange:
            cursor.execute("rollback")
            raise
        except Exception as error:
            if not type(error).__module__.startswith("psycopg2"):
                raise
            problem = error
            diagnosis = getattr(error, "diag", None)  # the text of the error may quote the statement, and so the verifier
            reason = getattr(diagnosis, "message_primary", None) or (
                "the connection was lost" if connection.closed else type(error).__name__
            )
            with contextlib.suppress(Exception):
                cursor.execute("rollback")
    if problem is not None:
        raise CannotChange(f"passwords: no password was stored: {reason}; run it again when that is mended") from None


def _be_quiet(connection: t.Any) -> None:
    """Keep our statements out of logs and statistics, as far as this role may."""
    present = {row[0] for row in session.rows(connection, "select name from pg_catalog.pg_settings where name = any(%s)", [list(QUIET)])}
    with connection.cursor() as cursor:
        for name, value in QUIET.items():
            if name not in present:
                continue
            cursor.execute("savepoint quiet")
            try:
                cursor.execute("select pg_catalog.set_config(%s, %s, true)", [name, value])
            except Exception as error:
                if not sqlstate(error):
                    raise
                cursor.execute("rollback to savepoint quiet")
            cursor.execute("release savepoint quiet")


class Settings(t.Protocol):
    """Where a setting of the whole server, or cluster, is put."""

    def check(self) -> None:
        """Before anything changes: raise :class:`Denied` when it could not be put."""

    def put(self, name: str, value: str) -> None:
        """Make it so, for every session from now on. Raises :class:`CannotChange`."""


class AlterSystem:
    """A server whose settings are its own; implements :class:`Settings`. ``connect`` opens a new session; ``timeout`` is in seconds."""

    def __init__(self, connection: t.Any, connect: loaded.Connect, timeout: float) -> None:
        self._connection, self._connect, self._timeout = connection, connect, timeout

    def check(self) -> None:
        """See :class:`Settings`. From 15 on the right can be granted for one setting."""
        sql = (
            "select rolsuper, rolname::text, current_setting('allow_alter_system', true) = 'off' from pg_roles where rolname = current_user"
        )
        maybe, user, forbidden = session.rows(self._connection, sql)[0]
        if not maybe and self._connection.server_version >= 150000:
            maybe = session.rows(self._connection, "select has_parameter_privilege(%s, 'ALTER SYSTEM')", [SETTING])[0][0]
        if forbidden:
            raise Denied(
                f"ALTER SYSTEM is not allowed on this server (allow_alter_system is off): set {SETTING} where its settings are kept, and "
                "run this again, or set set_password_encryption to false"
            )
        if not maybe:
            raise Denied(
                f"the role {user} may not set {SETTING} for the server: use a superuser, or (15 and later) "
                f'GRANT ALTER SYSTEM ON PARAMETER {SETTING} TO "{user}", or set set_password_encryption to false'
            )

    def put(self, name: str, value: str) -> None:
        """ALTER SYSTEM, reload, and a look with a new session whether it is so."""
        quote = session.psycopg2("to quote a name").extensions.quote_ident
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(f"alter system set {quote(name, self._connection)} = %s", [value])
            loaded.reload(self._connection, self._connect, self._timeout)
        except loaded.NotLoaded as error:
            raise CannotChange(f"{name}: the server did not load it: {error.reason}") from error
        except Exception as error:
            if not sqlstate(error):
                raise
            raise CannotChange(f"{name}: {session.one_line(error)}") from error
        with self._connect() as fresh:
            sql = "select setting, source from pg_catalog.pg_settings where name = %s"
            now, source = session.rows(fresh, sql, [name])[0]
        if now != value and source not in OVERRIDES:
            raise CannotChange(
                f"{name}: is still {now} after ALTER SYSTEM and a reload; it comes from {source}, which has to be changed there"
            )
