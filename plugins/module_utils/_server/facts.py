# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""What the engine wants to know of a live server, asked over SQL: version, settings, roles, its files, and the client that we are.

``ServerFiles`` reads the server's own files through ``pg_read_binary_file`` and ``pg_ls_dir``: superusers may, and who was granted
``pg_read_server_files`` and the functions. It is a reader for ``_hba.ruleset.load``, so that includes are followed on the server.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import struct
import typing as t

from .._hba.model import ALL_FEATURES, Client, Role, Server
from .._hba.reader import Entry
from . import session
from .errors import CannotConnect, ServerError

_SETTINGS = ("server_version_num", "ssl", "hba_file", "ident_file", "db_user_namespace", "oauth_validator_libraries")
_BUILD_MARKS = {"ssl": "openssl", "gssapi": "with-gssapi", "ldap": "with-ldap", "pam": "with-pam"}
_NOT_THERE, _NO_FOLDER, _DENIED = "58P01", "42809", "42501"


class Denied(ServerError):
    """The role may not read what is needed."""


class Facts(t.NamedTuple):
    """A server, as far as access rules depend on it."""

    server: Server
    version: str
    hba_file: str
    """Where the server reads its rules; empty when the role may not know."""
    roles: tuple[Role, ...]
    client: Client
    """The session that asked, as the server sees it."""
    ident_file: str = ""
    """Where the server reads its user name maps; empty when the role may not know."""
    interfaces: tuple[tuple[int, int, int], ...] | None = None
    """The server's network interfaces as (family, address, mask), when it is known to have this machine's."""


def ask(connection: t.Any) -> Facts:
    """Everything at once. Roles need no privilege; ``hba_file`` needs a superuser or pg_read_all_settings."""
    found = {name: value or "" for name, value in session.rows(connection, _SETTINGS_SQL, [list(_SETTINGS)])}
    number = int(found["server_version_num"])
    server = Server(
        major=number // 10000,
        ssl=found["ssl"] == "on",
        features=_features(connection),
        db_user_namespace=found.get("db_user_namespace") == "on",
        oauth_validator_libraries=tuple([name.strip() for name in found.get("oauth_validator_libraries", "").split(",") if name.strip()]),
        minor=number % 10000,
    )
    version = f"{number // 10000}.{number % 10000}"
    roles, client = _roles(connection), _own_client(connection)
    return Facts(server, version, found.get("hba_file", ""), roles, client, found.get("ident_file", ""), _interfaces(connection))


_SETTINGS_SQL = "select name, setting from pg_catalog.pg_settings where name = any(%s)"


def _interfaces(connection: t.Any) -> tuple[tuple[int, int, int], ...] | None:
    """This machine's interfaces, when the server is in the network namespace that we are in: a container's socket is here, it is not.

    The process behind a Unix socket is known to the kernel. Looking at its namespace needs root or the server's own account.
    """
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as peer:
            if peer.family != socket.AF_UNIX:
                return None
            process = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))[0]
        if os.stat(f"/proc/{process}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino:
            return None
        from .._hba import interfaces  # noqa: PLC0415 - only needed where the server is here

        return interfaces.interfaces()
    except (OSError, AttributeError):
        return None


def _features(connection: t.Any) -> frozenset[str]:
    """How the server was built; where that is not told (no privilege, or a build without configure), as Debian's is."""
    try:
        built = str(session.rows(connection, "select setting from pg_catalog.pg_config() where name = 'CONFIGURE'")[0][0])
    except Exception as error:
        if sqlstate(error) != _DENIED:
            raise
        return ALL_FEATURES
    if "--" not in built:
        return ALL_FEATURES
    return frozenset(name for name, mark in _BUILD_MARKS.items() if mark in built)


def _roles(connection: t.Any) -> tuple[Role, ...]:
    sql = """
        select r.rolname::text, r.rolsuper,
               coalesce(json_agg(g.rolname) filter (where g.rolname is not null), '[]')::text
          from pg_catalog.pg_roles r
          left join pg_catalog.pg_auth_members m on m.member = r.oid
          left join pg_catalog.pg_roles g on g.oid = m.roleid
         group by r.rolname, r.rolsuper order by r.rolname"""
    return tuple([Role(name, superuser, tuple(sorted(json.loads(groups)))) for name, superuser, groups in session.rows(connection, sql)])


def _own_client(connection: t.Any) -> Client:
    sql = """
        select session_user::text, current_database()::text, host(inet_client_addr()),
               coalesce((select ssl from pg_catalog.pg_stat_ssl where pid = pg_backend_pid()), false),
               coalesce((select encrypted from pg_catalog.pg_stat_gssapi where pid = pg_backend_pid()), false)"""
    user, database, address, tls, gss = session.rows(connection, sql)[0]
    transport = "local" if address is None else "gss" if gss else "tls" if tls else "tcp"
    return Client(user, database, address, transport)


def sqlstate(error: BaseException) -> str:
    """The server's error code; empty for what is no error of the server."""
    return str(getattr(error, "pgcode", None) or "")


@contextlib.contextmanager
def translated(purpose: str) -> t.Iterator[None]:
    """The driver's errors (a server that goes away, a statement that is refused) as :class:`CannotConnect`."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("psycopg2"):
            raise
        raise CannotConnect(f"the server cannot be asked {purpose}: {session.one_line(error)}") from error


class ServerFiles:
    """The server's files, read through its own eyes; see ``_hba.reader.Reader``."""

    def __init__(self, connection: t.Any) -> None:
        self._connection = connection

    def read(self, path: str) -> bytes:
        """Content of a file. Raises OSError for the file's own problems, and :class:`Denied` when the role may not read files."""
        try:
            return bytes(session.rows(self._connection, "select pg_catalog.pg_read_binary_file(%s)", [path])[0][0])
        except Exception as error:
            raise self._problem(error, path) from error

    def list_directory(self, path: str) -> list[Entry]:
        """Entries of a directory. Raises as :meth:`read` does."""
        sql = "select name, (pg_catalog.pg_stat_file(%s || '/' || name, true)).isdir from pg_catalog.pg_ls_dir(%s) as found(name)"
        try:
            return [Entry(name, bool(folder), folder is None) for name, folder in session.rows(self._connection, sql, [path, path])]
        except Exception as error:
            raise self._problem(error, path) from error

    @staticmethod
    def _problem(error: BaseException, path: str) -> BaseException:
        """The server gives one code to its own refusal and the operating system's; only the text of the latter names the file."""
        code, text = sqlstate(error), session.one_line(error)
        if code == _DENIED and f'"{path}"' not in text:
            return Denied(f"the role may not read the server's files: {text}")
        numbers = {_NOT_THERE: errno.ENOENT, _DENIED: errno.EACCES, _NO_FOLDER: errno.EISDIR}
        if code in numbers:
            return OSError(numbers[code], text, path)
        return error
