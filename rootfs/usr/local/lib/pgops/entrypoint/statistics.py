# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Statistics of statements: which libraries are loaded, kept away from passwords, made an extension of every new database, and reported.

pg_stat_statements is in every image; pg_stat_monitor is where somebody built it in. Both keep the text of utility statements, and so
``CREATE ROLE … PASSWORD '…'``, unless they are told not to track them; pg_stat_monitor also keeps literals unless it normalizes, and the
text of every statement that fails, for which no setting of its own helps: the build lays GUARD beside it, a library that does.
"""

from __future__ import annotations

import os
import re
import typing as t

from . import configured
from .place import Place
from .stream import Hub

LIBRARIES = ("pg_stat_statements", "pg_stat_monitor")
"""In the order in which they must be loaded: pg_stat_monitor calls on what was there before it."""
GUARD = "pgops_discreet"
"""Keeps failed statements that may carry a secret from pg_stat_monitor (image/setup/discreet); must be loaded after it."""
_DISCREET = {
    "pg_stat_statements": {"pg_stat_statements.track_utility": "off"},
    "pg_stat_monitor": {"pg_stat_monitor.pgsm_track_utility": "off", "pg_stat_monitor.pgsm_normalized_query": "on"},
}
_SETTING = "shared_preload_libraries"
_DATABASE = """
SELECT NOT pg_is_in_recovery() AS writable \\gset
\\if :writable
{create}
\\endif
"""
_REPORT = """SELECT 'statistics ' || coalesce(string_agg(extname || ' ' || extversion, ', ' ORDER BY extname DESC), 'none')
 FROM pg_extension WHERE extname IN ({names});
"""


class Statistics(t.NamedTuple):
    """What the server is told, and what is loaded."""

    arguments: tuple[str, ...]
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    """Libraries of ours that are in the image and that the user's own arguments leave out."""
    unguarded: bool = False
    """Whether pg_stat_monitor will keep failed statements with their secrets."""


def available(major: int) -> tuple[str, ...]:
    """Those that are in this image."""
    return tuple(name for name in LIBRARIES if _in_image(major, name))


def guarded(libraries: t.Sequence[str], major: int) -> tuple[str, ...]:
    """These, and after pg_stat_monitor what keeps secrets from it, where this image has it."""
    return (*libraries, *([GUARD] if LIBRARIES[1] in libraries and _in_image(major, GUARD) else []))


def shared_settings(libraries: t.Sequence[str]) -> dict[str, str]:
    """The server parameters that load them discreetly, for a new cluster's dynamic configuration."""
    if not libraries:
        return {}
    discreet = {setting: value for name in libraries for setting, value in _DISCREET.get(name, {}).items()}
    return {_SETTING: ",".join(libraries), **discreet}


def prepare(place: Place, server_arguments: t.Sequence[str]) -> Statistics:
    """Decide. Raises StartError when the server does not accept its configuration."""
    present = available(place.major)
    listed = [name.strip().strip('"') for name in (_configured(place, server_arguments) or "").split(",") if name.strip()]
    given = re.search(rf"(?m)^(?:-c\s*|--)?{_SETTING}\s*=", "\n".join(server_arguments).replace("shared-preload", "shared_preload"))
    arguments: list[str] = []
    loaded = listed
    if not given:
        others = [name for name in listed if name not in (*present, GUARD)]
        loaded = [*guarded(present, place.major), *others]
        if loaded != listed:
            arguments.append(f"{_SETTING}={','.join(loaded)}")
    for name in present:
        for setting, value in _DISCREET[name].items():
            if name in loaded and not configured.mentions(place, server_arguments, re.escape(setting)):
                arguments.append(f"{setting}={value}")
    words = tuple(word for argument in arguments for word in ("-c", argument))
    ours = tuple(name for name in LIBRARIES if name in loaded)
    unguarded = LIBRARIES[1] in loaded and GUARD not in loaded[loaded.index(LIBRARIES[1]) :]
    return Statistics(words, ours, tuple(name for name in present if name not in loaded), unguarded)


def report(hub: Hub, place: Place, user: str, database: str, loaded: t.Sequence[str]) -> None:
    """Make the extensions where they are missing, on a primary, and say what answers. Called when the server is ready; does not wait."""
    if not loaded or not address(place.data)[0]:
        return
    create = "\n".join(f"CREATE EXTENSION IF NOT EXISTS {name};" for name in loaded)
    step = _DATABASE.format(create=create)
    names = list(dict.fromkeys(["template1", database, "postgres"]))
    connects = "".join(f'\\connect "{_escaped(name)}"\n{step}' for name in names)
    asks = "".join(f"SELECT count(*) AS ignored FROM {name} \\gset\n" for name in loaded)  # noqa: S608 - names of ours
    script = connects + asks + _REPORT.format(names=",".join(f"'{name}'" for name in loaded))

    def hear(line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        if not text.startswith("statistics "):
            hub.output.say("warning", f"statistics of statements: {text}")
            return
        absent = "" if "pg_stat_monitor" in loaded else "; pg_stat_monitor is not in this image"
        hub.output.say("info", f"statistics of statements: {text[11:]}{absent}", event="statistics", loaded=list(loaded))

    run_psql(hub, place, user, script, hear)


def run_psql(hub: Hub, place: Place, user: str, script: str, hear: t.Callable[[bytes], None]) -> int:
    """Start psql with a script; does not wait for it. Its process id."""
    port, directory = address(place.data)
    read_end, write_end = os.pipe()
    argv = [place.program("psql"), "-XAtqw", "-h", directory, "-p", port, "-U", user, "-d", "template1"]
    # Not waiting for a standby: an extension is no client's data.
    options = "-c client_min_messages=error -c statement_timeout=60s -c synchronous_commit=local"
    pid = hub.spawn(argv, {**place.environment, "PGOPTIONS": options, "PGAPPNAME": "pgops"}, hear, stdin=read_end)
    os.close(read_end)
    os.write(write_end, script.encode("utf-8", "surrogateescape"))
    os.close(write_end)
    return pid


def _in_image(major: int, library: str) -> bool:
    return os.path.exists(f"/usr/lib/postgresql/{major}/lib/{library}.so")


def _configured(place: Place, arguments: t.Sequence[str]) -> str | None:
    """The list as configured; read from our own line where that is all there is, since asking the server takes a moment of every start."""
    text = configured.text(place)
    simple = re.findall(rf"(?mi)^\s*{_SETTING}\s*=?\s*'([^']*)'", text)
    elsewhere = re.search(rf"(?mi){_SETTING}|config_file", "\n".join(arguments).replace("-", "_"))
    if not elsewhere and not re.search(r"(?mi)^\s*include", text) and len(re.findall(rf"(?mi)^\s*{_SETTING}", text)) == len(simple) == 1:
        return str(simple[0])
    return configured.setting(place, arguments, _SETTING)


def address(data: str) -> tuple[str, str]:
    """Port and socket directory, from the running server's own file; empty when none runs."""
    try:
        with open(os.path.join(data, "postmaster.pid"), encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return "", ""
    return (lines[3], lines[4]) if len(lines) > 4 else ("", "")


def _escaped(name: str) -> str:
    return name.replace('"', '""')
