# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Statistics of statements on a cluster's member: the dynamic configuration decides what is loaded, so the server is asked.

Done when the member begins to lead or to follow, never while a cluster is made: its databases are copies of template1, and nobody may
be connected to that while one is copied; and scripts of the first start may make the extensions themselves.
"""

from __future__ import annotations

import typing as t

from . import statistics
from .place import Place
from .stream import Hub

_LIST = "string_to_array(replace(replace(current_setting('shared_preload_libraries'), ' ', ''), '\"', ''), ',')"
_FOUND = """SELECT 'found ' || coalesce(string_agg(extname || ' ' || extversion, ', ' ORDER BY extname DESC), 'none')
 FROM pg_extension WHERE extname IN ({names}) AND extname = ANY ({listed});
"""


def script(database: str) -> str:
    """What psql is to do: make what is missing on a primary, then say ``loaded NAME,…`` and ``found NAME VERSION, …``."""
    literal = "'" + database.replace("'", "''") + "'"
    name = '"' + database.replace('"', '""') + '"'
    flags = ", ".join(f"'{library}' = ANY ({_LIST}) AS {library}" for library in statistics.LIBRARIES)
    there = f"EXISTS (SELECT FROM pg_database WHERE datname = {literal} AND datallowconn) AS there"
    create = "".join(f"\\if :{library}\nCREATE EXTENSION IF NOT EXISTS {library};\n\\endif\n" for library in statistics.LIBRARIES)
    return (
        f"SELECT NOT pg_is_in_recovery() AS writable, {there}, {flags} \\gset\n"
        f"SELECT 'loaded ' || array_to_string({_LIST}, ',');\n"
        f"\\if :writable\n\\connect template1\n{create}\\connect postgres\n{create}"
        f"\\if :there\n\\connect {name}\n{create}\\endif\n\\endif\n\\connect postgres\n"
        + _FOUND.format(names=",".join(f"'{library}'" for library in statistics.LIBRARIES), listed=_LIST)
    )


def report(hub: Hub, place: Place, user: str, database: str, told: t.Callable[[tuple[str, ...]], None]) -> int:
    """Make the extensions and say what answers; ``told`` gets the libraries that are loaded. Does not wait; psql's process id, or 0."""
    loaded: list[str] = []

    def hear(line: bytes) -> None:
        kind, _unused, rest = line.decode("utf-8", "replace").partition(" ")
        if kind == "loaded":
            loaded.extend(library for library in statistics.LIBRARIES if library in rest.split(","))
            told(tuple(loaded))
        elif kind == "found":
            missing = hint(loaded, statistics.available(place.major))
            hub.output.say("info", f"statistics of statements: {rest}{missing}", event="statistics", loaded=loaded)
        else:
            hub.output.say("warning", f"statistics of statements: {kind} {rest}")

    return statistics.run_psql(hub, place, user, script(database), hear) if statistics.address(place.data)[0] else 0


def hint(loaded: t.Sequence[str], available: t.Sequence[str]) -> str:
    """What somebody may want to know of those that do not count."""
    absent = [library for library in statistics.LIBRARIES if library not in available]
    unused = [library for library in available if library not in loaded]
    said = f"; {' and '.join(absent)} is not in this image" if absent else ""
    if unused:
        said += f"; shared_preload_libraries of the cluster's dynamic configuration leaves out {' and '.join(unused)}"
    return said
