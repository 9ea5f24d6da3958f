# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are: the server's programs, the data directory that is really used, the runtime directory, and a name for our user id."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
import shutil
import typing as t

from .errors import CONFIGURATION, StartError

SOCKET_DIRECTORY = "/run/postgresql"
INIT_SCRIPTS = "/docker-entrypoint-initdb.d"
MOUNTED_TLS = "/etc/pgops/tls"
"""Where a certificate may be mounted, with the names of a Kubernetes TLS secret: tls.crt, tls.key, and ca.crt for clients' certificates."""


@dataclasses.dataclass(frozen=True)
class Place:
    """What the other modules need to know of this container."""

    major: int
    data: str
    runtime: str
    """A directory of ours alone, outside the volume: log pipes, state for the health check, temporary files."""
    environment: dict[str, str]
    """For every program that we start: without secrets, with a name for our user id where it has none."""
    system_user: str
    """What the operating system calls our user id: what ``peer`` compares."""

    def program(self, name: str) -> str:
        """The path of one of PostgreSQL's programs."""
        return f"/usr/lib/postgresql/{self.major}/bin/{name}"

    def path(self, name: str) -> str:
        """A path in the data directory."""
        return os.path.join(self.data, name)

    @property
    def hba_file(self) -> str:
        """The access rules."""
        return self.path("pg_hba.conf")


def find(environment: t.Mapping[str, str], data: str) -> Place:
    """Look around. Raises StartError."""
    major = _major(environment)
    runtime = _runtime_directory()
    clean = {
        name: value
        for name, value in environment.items()
        if not name.startswith(("POSTGRES_PASSWORD", "PGPASS", "EXTERNAL_ACCESS_", "PATRONI_"))
        and name not in ("PGDATA_FILE", "NOTIFY_SOCKET")
    }
    name = _named(runtime)
    used = _data_directory(data)
    clean["PGDATA"] = used
    return Place(major, used, runtime, clean, name)


def _major(environment: t.Mapping[str, str]) -> int:
    text = environment.get("PG_MAJOR", "")
    if not text.isdigit() or not os.path.isdir(f"/usr/lib/postgresql/{text}/bin"):
        raise StartError(f"PG_MAJOR={text!r} is not the version that this image has; do not set this variable", CONFIGURATION)
    return int(text)


def _runtime_directory() -> str:
    try:
        if not os.path.isdir(SOCKET_DIRECTORY):
            os.mkdir(SOCKET_DIRECTORY)
            os.chmod(SOCKET_DIRECTORY, 0o775)  # noqa: S103 - clients of other user ids in this container use the socket
        runtime = os.path.join(SOCKET_DIRECTORY, "pgops")
        if os.path.lexists(runtime):
            shutil.rmtree(runtime)
        os.mkdir(runtime, 0o700)
    except OSError as error:
        raise StartError(
            f"cannot write to {SOCKET_DIRECTORY}: {error.strerror}; mount a temporary file system on /run or on {SOCKET_DIRECTORY} "
            f"that user {os.geteuid()} may write to (for example: --tmpfs {SOCKET_DIRECTORY}:mode=1777)"
        ) from None
    return runtime


def _named(runtime: str) -> str:
    """The name of our user id; one that has none is called postgres from now on.

    initdb and the server's ``peer`` ask the operating system for it, which also looks into this file (libnss-extrausers, from id 500).
    """
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(os.geteuid()).pw_name
    # Nor does it answer with a group below 500, and the group of this line is nobody's business here.
    with open(os.path.join(runtime, "passwd"), "w", encoding="ascii") as file:
        file.write(f"postgres:x:{os.geteuid()}:{max(os.getegid(), 999)}:PostgreSQL:/var/lib/postgresql:/bin/bash\n")
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise StartError(
            f"user id {os.geteuid()} has no name in this image and is too low to be given one; use 999, or one from 500"
        ) from None


def _data_directory(data: str) -> str:
    """The directory that is used: PGDATA, or a subdirectory where the mount point belongs to somebody else.

    PostgreSQL insists on owning its directory, and a volume's root cannot be given away without privileges.
    """
    try:
        os.makedirs(data, mode=0o700, exist_ok=True)
        owner = os.stat(data).st_uid
    except OSError as error:
        raise StartError(
            f"PGDATA: cannot make or look into {data}: {error.strerror}; mount a volume that user {os.geteuid()} may write to"
        ) from None
    if owner == os.geteuid():
        return data
    if os.path.exists(os.path.join(data, "PG_VERSION")):
        raise StartError(
            f"PGDATA: {data} holds a database that belongs to user id {owner}, and this container runs as {os.geteuid()}; "
            f"run it as that user (--user {owner}) or change the owner of the files"
        )
    inner = os.path.join(data, "pgdata")
    try:
        os.makedirs(inner, mode=0o700, exist_ok=True)
    except OSError as error:
        other = "run with group 0, or mount" if os.getegid() else "or mount"
        raise StartError(
            f"PGDATA: {data} belongs to user id {owner}, and user {os.geteuid()} (group {os.getegid()}) may not write there: "
            f"{error.strerror}; if it holds a database, run as its owner (--user {owner}), {other} a volume that this user owns"
        ) from None
    if os.path.islink(inner):
        raise StartError(f"PGDATA: {inner} is a symbolic link, and anybody may have put it there; remove it, or set PGDATA to its target")
    if os.stat(inner).st_uid != os.geteuid():
        raise StartError(
            f"PGDATA: {inner} belongs to user id {os.stat(inner).st_uid}, and this container runs as {os.geteuid()}; run it as that user"
        )
    return inner
