# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""psycopg2 sessions: for modules that query a server, and as the outsider that repeats an access check the way applications connect.

psycopg2 is imported when it is needed and not before: what never opens a session must work on a machine without it.

Text is the engine's (see ``_hba.model``): a session speaks SQL_ASCII, so that the server converts nothing, and names are the very bytes
that it compares with its files, whatever the encoding of the database. Databases of the locale C are SQL_ASCII themselves.
"""

from __future__ import annotations

import codecs
import contextlib
import importlib
import typing as t

from .._hba.model import decode, encode
from .errors import CannotConnect, MissingLibrary

APPLICATION_NAME = "pgops.access"
ENCODING = "SQL_ASCII"
CODEC = "pgops_engine_text"


def _codec(name: str) -> codecs.CodecInfo | None:
    """Python's codec of engine text, by its name."""
    if name != CODEC:
        return None
    return codecs.CodecInfo(
        lambda text, _errors="strict": (encode(text), len(text)),
        lambda raw, _errors="strict": (decode(bytes(raw)), len(raw)),
        name=CODEC,
    )


def psycopg2(purpose: str) -> t.Any:
    """The library, or :class:`MissingLibrary` that says for which ``purpose`` ("to …") it was wanted."""
    try:
        library = importlib.import_module("psycopg2")
        known = importlib.import_module("psycopg2.extensions").encodings
    except ImportError as error:
        raise MissingLibrary("psycopg2", purpose, str(error)) from error
    if known.get("SQLASCII") != CODEC:
        codecs.register(_codec)
        known["SQLASCII"] = known["SQL_ASCII"] = CODEC
    return library


def parameters(
    *,
    host: str,
    port: int,
    user: str,
    password: str | None = None,
    database: str | None = None,
    ssl_mode: str = "prefer",
    ca_cert: str | None = None,
    ssl_cert: str | None = None,
    ssl_key: str | None = None,
    timeout: float = 10,
    extra: t.Mapping[str, t.Any] | None = None,
) -> dict[str, t.Any]:
    """libpq's connection parameters; what is not given is left to libpq, ``extra`` wins. ``timeout``: seconds, which libpq rounds."""
    given = {
        "host": host or None,
        "port": port,
        "user": user,
        "password": password or None,
        "dbname": database,
        "sslmode": ssl_mode,
        "sslrootcert": ca_cert,
        "sslcert": ssl_cert,
        "sslkey": ssl_key,
        "connect_timeout": max(2, round(timeout)),
        "application_name": APPLICATION_NAME,
        "client_encoding": ENCODING,
    }
    return {**{name: value for name, value in given.items() if value is not None}, **(extra or {})}


@contextlib.contextmanager
def session(purpose: str, connection_parameters: t.Mapping[str, t.Any]) -> t.Iterator[t.Any]:
    """An autocommit psycopg2 connection, closed at the end. :class:`CannotConnect` carries libpq's reason, never the password."""
    library = psycopg2(purpose)
    try:
        connection = library.connect(**connection_parameters)
    except library.Error as error:
        where = f"{connection_parameters.get('user')}@{connection_parameters.get('host', 'the local socket')}"
        raise CannotConnect(f"no session {purpose} as {where}: {one_line(error)}") from error
    try:
        connection.autocommit = True
        yield connection
    finally:
        connection.close()


def rows(connection: t.Any, sql: str, values: t.Sequence[t.Any] = ()) -> list[tuple[t.Any, ...]]:
    """All rows of one statement; psycopg2 does the quoting of ``values``."""
    with connection.cursor() as cursor:
        cursor.execute(sql, tuple(values) or None)
        return list(cursor.fetchall())


def one_line(error: BaseException) -> str:
    """A driver's message of several lines as one."""
    return " ".join(str(error).split())
