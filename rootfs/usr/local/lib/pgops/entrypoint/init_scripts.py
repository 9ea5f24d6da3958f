# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's scripts for a new database: which there are, how each is run, and what it finds in its environment."""

from __future__ import annotations

import os
import typing as t

from .errors import StartError
from .place import INIT_SCRIPTS, SHARED_MEMORY

BUILT_IN = frozenset({"postgres", "template0", "template1"})
"""Databases that nobody has to make."""
IGNORED = "is ignored: neither .sh nor .sql (plain, .gz, .xz or .zst)"
_SHELL = ["/bin/bash", "-Eeo", "pipefail", "-c"]
_UNPACK = {".sql": "cat", ".sql.gz": "gunzip -c", ".sql.xz": "xzcat", ".sql.zst": "zstd -dcq"}
_PRELUDE = """
docker_process_sql() {
    psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc --username "$POSTGRES_USER" ${POSTGRES_DB:+--dbname "$POSTGRES_DB"} "$@"
}
export -f docker_process_sql
file_env() {
    local file="${1}_FILE" value="${2:-}"
    if [ -n "${!1:-}" ] && [ -n "${!file:-}" ]; then
        echo "error: both $1 and $file are set (but are exclusive)" >&2
        return 1
    fi
    if [ -n "${!1:-}" ]; then value="${!1}"; elif [ -n "${!file:-}" ]; then value="$(<"${!file}")"; fi
    export "$1"="$value"
    unset "$file"
}
docker_temp_server_stop() { pg_ctl -D "$PGDATA" -m fast -w stop; }
docker_temp_server_start() { pg_ctl -D "$PGDATA" -w -o "$(sed 's/^[^ ]* //' "$PGDATA/postmaster.opts")" start; }
"""


def found() -> list[str]:
    """Their paths, in the order in which they run. Raises StartError."""
    try:
        return [os.path.join(INIT_SCRIPTS, name) for name in sorted(os.listdir(INIT_SCRIPTS)) if not name.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StartError(f"cannot look into {INIT_SCRIPTS}: {error.strerror}; check its mode") from None


def command(path: str) -> list[str] | None:
    """How one is run; None for a file that is no script."""
    if path.endswith(".sh"):
        # Executable scripts are programs of their own; others are read by a shell that has the function which such scripts use.
        # Started by a shell, which also runs those without a first line that names one.
        return ["/bin/bash", "-c", '"$0"', path] if os.access(path, os.X_OK) else [*_SHELL, _PRELUDE + '. "$0"', path]
    for end, program in _UNPACK.items():
        if path.endswith(end):
            return [*_SHELL, f'{_PRELUDE} {program} -- "$0" | docker_process_sql'.replace("cat --", "cat"), path]
    return None


def environment(base: t.Mapping[str, str], user: str, password: str, database: str) -> dict[str, str]:
    """What a script may count on."""
    return {
        **base,
        "POSTGRES_USER": user,
        "POSTGRES_PASSWORD": password,
        "PGPASSWORD": password,
        "POSTGRES_DB": database,
        "PGHOST": SHARED_MEMORY if base.get("PGHOST") == SHARED_MEMORY else "",
        "PGHOSTADDR": "",
    }
