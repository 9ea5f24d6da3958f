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

from . import regular
from .errors import CONFIGURATION, StartError

SOCKET_DIRECTORY = "/run/postgresql"
SHARED_MEMORY = "/dev/shm/pgops"  # noqa: S108 - made new, ours alone, never followed when it is a link
"""Runtime and socket directory of who may not write to SOCKET_DIRECTORY, where the image has links to it; and where names are."""
HIDDEN_SOCKET = (
    f"what is mounted on {SOCKET_DIRECTORY} cannot be written by this user, so the socket is in {SHARED_MEMORY} (psql -h {SHARED_MEMORY}); "
    "nothing needs to be mounted there"
)
_READ_FIRST = (
    "PG_VERSION", "pgops-first-start", "postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf", "postmaster.pid",
    "global/pg_control",
)  # fmt: skip
"""What we or the server read before anybody could be told that it waits."""
_CHOWN = "chown {} it there, for nothing in this image runs as root; a named volume: mount it on /var/lib/postgresql/data"
_LINKS = ("pgops", ".s.PGSQL.5432")
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
    socket_directory: str = SOCKET_DIRECTORY

    def program(self, name: str) -> str:
        """The path of one of PostgreSQL's programs."""
        return f"/usr/lib/postgresql/{self.major}/bin/{name}"

    def path(self, name: str) -> str:
        """A path in the data directory."""
        return os.path.join(self.data, name)

    @property
    def socket_arguments(self) -> tuple[str, ...]:
        """For the server, where the socket is not in its default directory."""
        return () if self.socket_directory == SOCKET_DIRECTORY else ("-c", f"unix_socket_directories={self.socket_directory}")

    @property
    def socket_is_hidden(self) -> bool:
        """Whether programs that are not told where the socket is do not find it."""
        return bool(self.socket_arguments) and os.path.realpath(os.path.join(SOCKET_DIRECTORY, "pgops")) != self.socket_directory

    @property
    def hba_file(self) -> str:
        """The access rules."""
        return self.path("pg_hba.conf")


def find(environment: t.Mapping[str, str], data: str) -> Place:
    """Look around. Raises StartError."""
    major = _major(environment)
    runtime, sockets = _runtime_directory()
    clean = {
        name: value
        for name, value in environment.items()
        if not name.startswith(("POSTGRES_PASSWORD", "PGPASS", "EXTERNAL_ACCESS_", "PATRONI_"))
        and name not in ("PGDATA_FILE", "NOTIFY_SOCKET")
    }
    name = _named()
    used = _data_directory(data)
    regular.check(*(os.path.join(used, name) for name in _READ_FIRST))
    clean["PGDATA"] = used
    if sockets != SOCKET_DIRECTORY:
        clean["PGHOST"] = sockets
    if not os.access("/tmp", os.W_OK):  # noqa: S108 - asked about, not written to
        clean.setdefault("TMPDIR", runtime)
    return Place(major, used, runtime, clean, name, sockets)


def _major(environment: t.Mapping[str, str]) -> int:
    text = environment.get("PG_MAJOR", "")
    if not text.isdigit() or not os.path.isdir(f"/usr/lib/postgresql/{text}/bin"):
        raise StartError(f"PG_MAJOR={text!r} is not the version that this image has; do not set this variable", CONFIGURATION)
    return int(text)


def _runtime_directory() -> tuple[str, str]:
    """The runtime directory, made anew, and the directory for the server's socket."""
    runtime = os.path.join(SOCKET_DIRECTORY, "pgops")
    try:
        if not os.path.isdir(SOCKET_DIRECTORY):
            os.mkdir(SOCKET_DIRECTORY)
            os.chmod(SOCKET_DIRECTORY, 0o775)  # noqa: S103 - clients of other user ids in this container use the socket
        for name in _LINKS:
            if os.path.islink(os.path.join(SOCKET_DIRECTORY, name)):
                os.unlink(os.path.join(SOCKET_DIRECTORY, name))
        _make_anew(runtime)
        return runtime, SOCKET_DIRECTORY
    except OSError as error:
        with contextlib.suppress(OSError):
            _make_anew(SHARED_MEMORY)
            return SHARED_MEMORY, SHARED_MEMORY
        raise StartError(
            f"cannot write to {SOCKET_DIRECTORY}: {error.strerror}, nor to /dev/shm; mount a temporary file system on {SOCKET_DIRECTORY} "
            f"that user {os.geteuid()} may write to (for example: --tmpfs {SOCKET_DIRECTORY}:mode=1777)"
        ) from None


def _make_anew(directory: str) -> None:
    """An empty directory of ours alone. Raises OSError, also for a link: nothing is written where somebody else points to."""
    if os.path.lexists(directory):
        shutil.rmtree(directory)
    os.mkdir(directory, 0o700)


def _named() -> str:
    """The name of our user id; one that has none is called postgres from now on.

    initdb and the server's ``peer`` ask the operating system for it, which also looks into this file (libnss-extrausers, from id 500).
    """
    user = os.geteuid()
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(user).pw_name
    try:
        os.makedirs(SHARED_MEMORY, mode=0o700, exist_ok=True)
        if os.path.islink(SHARED_MEMORY) or os.stat(SHARED_MEMORY).st_uid != user:
            raise StartError(f"{SHARED_MEMORY} is not ours: it belongs to somebody who shares this container's memory")
        new = os.path.join(SHARED_MEMORY, "passwd.new")
        with open(new, "w", encoding="ascii") as file:
            # Nor does it answer with a group below 500, and the group of this line is nobody's business here.
            file.write(f"postgres:x:{user}:{max(os.getegid(), 999)}:PostgreSQL:/var/lib/postgresql:/bin/bash\n")
        os.rename(new, os.path.join(SHARED_MEMORY, "passwd"))
        return pwd.getpwuid(user).pw_name
    except OSError as error:
        raise StartError(f"cannot write to {SHARED_MEMORY}: {error.strerror}; PostgreSQL needs shared memory, too") from None
    except KeyError:
        raise StartError(f"user id {user} has no name in this image and is too low to be given one; use 999, or one from 500") from None


def _data_directory(data: str) -> str:
    """The directory that is used: PGDATA, or a subdirectory where the mount point belongs to somebody else.

    PostgreSQL insists on owning its directory, and a volume's root cannot be given away without privileges.
    """
    try:
        os.makedirs(data, mode=0o700, exist_ok=True)
        owner = os.stat(data).st_uid
    except OSError as error:
        raise StartError(
            f"PGDATA: cannot make or look into {data}: {error.strerror}; mount a volume that user {os.geteuid()} may write to "
            f"(a directory of the host: {_CHOWN.format(os.geteuid())})"
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
        there = f"if it holds a database, run as its owner (--user {owner})" if owner else f"a directory of the host: {_CHOWN}"
        raise StartError(
            f"PGDATA: {data} belongs to user id {owner}, and user {os.geteuid()} (group {os.getegid()}) may not write there: "
            f"{error.strerror}; {there.format(os.geteuid())}, {other} a volume that this user owns"
        ) from None
    if os.path.islink(inner):
        raise StartError(f"PGDATA: {inner} is a symbolic link, and anybody may have put it there; remove it, or set PGDATA to its target")
    if os.stat(inner).st_uid != os.geteuid():
        raise StartError(
            f"PGDATA: {inner} belongs to user id {os.stat(inner).st_uid}, and this container runs as {os.geteuid()}; run it as that user"
        )
    return inner
