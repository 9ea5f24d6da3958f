# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new data directory: made beside its final place, moved in whole, then given its database and the user's scripts.

A first start that was interrupted must not look like a finished one. So initdb works in a subdirectory, its files are moved
up with PG_VERSION last, and a marker stays until the scripts have ended well; a start that finds the marker knows how far it went.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
import typing as t

from .._hba import ruleset
from .._hba.model import Server as HbaServer
from .._hba.model import encode
from .._hba.render import quote_token
from . import alone, init_scripts, locales, logs, prepared, regular
from .errors import CONFIGURATION, StartError
from .place import INIT_SCRIPTS, Place
from .redact import Redactor
from .settings import Settings
from .stream import Hub

MARKER = "pgops-first-start"
"""In PGDATA while a first start is going on; its text is ``initdb`` or ``scripts``."""
_STAGING = ".pgops-initdb"
_PREPARED_ENVIRONMENT = {"LANG": "C.UTF-8", "TZ": "Etc/UTC"}
"""With these, initdb makes what the build made; it takes locale and time zone from the environment."""
_HARMLESS = frozenset({"lost+found", _STAGING, MARKER, ".snapshot"})
_USER_MAP = "pgops"


class FirstStart:
    """Makes a data directory when there is none."""

    def __init__(self, place: Place, settings: Settings, hub: Hub, redactor: Redactor) -> None:
        self._place, self._settings, self._hub, self._redactor = place, settings, hub, redactor

    def needed(self) -> bool:
        """Whether there is no finished data directory yet. Raises StartError for one that is not ours to use."""
        stage = _read(self._place.path(MARKER))
        if stage == "scripts":
            raise StartError(
                f"PGDATA: the first start of {self._place.data} did not finish: a script of {INIT_SCRIPTS} failed or was "
                "interrupted. Start again with an empty volume, or, to keep the database as the scripts left it, remove "
                f"{self._place.path(MARKER)}"
            )
        version = _read(self._place.path("PG_VERSION"))
        if stage is None and version is not None:
            if version != str(self._place.major):
                raise StartError(
                    f"PGDATA: {self._place.data} was made by PostgreSQL {version}, and this image has {self._place.major}; "
                    "use the image of that version, or move the data with pg_upgrade or pg_dump"
                )
            return False
        if stage is None:
            others = sorted(set(os.listdir(self._place.data)) - _HARMLESS)
            if others:
                raise StartError(
                    f"PGDATA: {self._place.data} is neither empty nor a database (it holds {', '.join(others[:5])}); "
                    "mount an empty volume, or set PGDATA to a subdirectory of it"
                )
        return True

    def run(self) -> None:
        """Make it. Raises StartError, Stopped."""
        if not self._settings.password and not self._settings.trust_asked:
            raise StartError(
                "POSTGRES_PASSWORD: the superuser of a new database needs a password; set POSTGRES_PASSWORD_FILE (a mounted secret) or "
                "POSTGRES_PASSWORD",
                CONFIGURATION,
            )
        try:
            self._initdb()
        except OSError as error:
            raise StartError(f"PGDATA: cannot write to {self._place.data}: {error.strerror}; check the volume's space and owner") from None
        scripts = init_scripts.found()
        if scripts:
            _write(self._place.path(MARKER), "scripts")
            self._run_scripts(scripts)
        os.unlink(self._place.path(MARKER))
        prepared.flush(self._place.data)

    def _initdb(self) -> None:
        staging = self._place.path(_STAGING)
        _write(self._place.path(MARKER), "initdb")
        # What an interrupted run left, here or already moved up; nobody has worked with it, for the marker still says initdb.
        for name in os.listdir(self._place.data):
            if name not in _HARMLESS or name == _STAGING:
                _remove(self._place.path(name))
        statements: list[str] = []
        copy = self._can_copy()
        self._hub.output.say("info", "copying the cluster that the build prepared" if copy else "running initdb", event="new_cluster")
        if copy:
            named = self._settings.user == "postgres"
            done = prepared.unpack(staging, self._settings.password if named else "")
            statements = [] if done else self._naming()
        else:
            self._run_initdb(staging)
        names = (self._place.system_user, self._settings.user, HbaServer(self._place.major))
        _write(os.path.join(staging, "pg_hba.conf"), base_rules(*names), sync=False)
        _write(os.path.join(staging, "pg_ident.conf"), user_map(*names), sync=False)
        os.chmod(self._place.data, 0o700)
        if self._settings.database not in init_scripts.BUILT_IN:
            statements.append(f"CREATE DATABASE {_quoted(self._settings.database)}")
        if statements:
            self._single_user(staging, statements)
        # The user's statistics begin with the user's statements.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(staging, "pg_stat", "pg_stat_statements.stat"))
        for name in sorted(os.listdir(staging), key=lambda name: name == "PG_VERSION"):
            os.rename(os.path.join(staging, name), self._place.path(name))
        os.rmdir(staging)
        # One call for each file system that was written to; initdb's own way, one call a file, takes a second.
        places = {os.stat(path).st_dev: path for path in (self._place.data, self._place.path("pg_wal"))}
        for path in places.values():
            prepared.flush(path)

    def _can_copy(self) -> bool:
        """Whether the cluster that the build prepared is the one that initdb would make now."""
        locale = any(name.startswith("LC_") and value for name, value in self._place.environment.items())
        return (
            prepared.available()
            and not (self._settings.initdb_arguments or self._settings.wal_directory or locale)
            and bool(self._settings.password)
            and not self._settings.user.startswith("pg_")
            and all(self._place.environment.get(name) == value for name, value in _PREPARED_ENVIRONMENT.items())
        )

    def _naming(self) -> list[str]:
        """The prepared cluster's superuser gets its password and the name that was asked for; ALTER ROLE would not rename its session."""
        user, password = self._settings.user, self._settings.password
        rename = f"UPDATE pg_authid SET rolname = {_literal(user)} WHERE oid = 10"  # noqa: S608 - quoted, and the user's own database
        return [*([rename] if user != "postgres" else []), f"ALTER ROLE {_quoted(user)} PASSWORD {_literal(password)}"]

    def _run_initdb(self, staging: str) -> None:
        locales.check_wanted(self._place.environment, self._settings.initdb_arguments)
        secret, write_end = os.pipe()
        os.write(write_end, self._settings.password.encode("utf-8", "surrogateescape") + b"\n")
        os.close(write_end)
        arguments = [
            self._place.program("initdb"), f"--pgdata={staging}", f"--username={self._settings.user}", "--encoding=UTF8",
            "--auth-local=peer", "--auth-host=scram-sha-256", "--no-instructions",
        ]  # fmt: skip
        if self._settings.password:
            arguments.append(f"--pwfile=/dev/fd/{secret}")
        if self._settings.wal_directory:
            arguments.append(f"--waldir={self._settings.wal_directory}")
        self._must("initdb", [*arguments, *self._settings.initdb_arguments], pass_fds=(secret,))
        os.close(secret)

    def _single_user(self, data: str, statements: list[str]) -> None:
        """Name, password and database, without starting a server for it."""
        problems: list[str] = []

        def hear(line: bytes) -> None:
            made = logs.plain_record("postgresql", line, self._redactor)
            if made["level"] == "error":
                problems.append(made["message"])
            if made.get("severity"):
                self._hub.output.write(made)

        read_end, write_end = os.pipe()
        os.write(write_end, "".join(f"{statement};\n" for statement in statements).encode("utf-8", "surrogateescape"))
        os.close(write_end)
        # Without fsync, as initdb's own server runs: all is flushed at once afterwards.
        settings = ["-c", "log_destination=stderr", "-c", "fsync=off", "-c", "log_checkpoints=off"]
        # No library that would keep the statement, and the password in it, for its statistics.
        settings += ["-c", "shared_preload_libraries="]
        argv = [self._place.program("postgres"), "--single", "-D", data, *settings, "postgres"]
        pid = self._hub.spawn(argv, self._place.environment, hear, stdin=read_end)
        os.close(read_end)
        code = self._hub.wait(pid)
        self._hub.drain(time.monotonic() + 2)
        if code or problems:
            raise StartError(
                f"the user {self._settings.user!r} and the database {self._settings.database!r} could not be made: "
                f"{'; '.join(problems) or f'status {code}'}; check POSTGRES_USER and POSTGRES_DB"
            )

    def _run_scripts(self, scripts: list[str]) -> None:
        wanted = self._settings
        environment = init_scripts.environment(self._place.environment, wanted.user, wanted.password, wanted.database)
        server = _LocalServer(self._place, self._hub, self._redactor)
        server.start()
        try:
            for path in scripts:
                command = init_scripts.command(path)
                if command is None:
                    self._hub.output.say("info", f"{path} {init_scripts.IGNORED}")
                    continue
                self._hub.output.say("info", f"running {path}")
                self._must("init-script", command, environment=environment, what=path)
        finally:
            server.stop()

    def _must(self, source: str, argv: list[str], environment: dict[str, str] | None = None, what: str = "", **more: t.Any) -> None:
        """Run a program to its end and tell what it says. Raises StartError with its last words when it fails."""
        words: list[str] = []

        def hear(line: bytes) -> None:
            made = logs.plain_record(source, line, self._redactor)
            words.append(made["message"])
            del words[:-3]
            self._hub.output.write(made)

        try:
            pid = self._hub.spawn(argv, environment or self._place.environment, hear, **more)
        except OSError as error:
            raise StartError(f"cannot run {what or argv[0]}: {error.strerror}") from None
        code = self._hub.wait(pid)
        if code:
            raise StartError(f"{what or source} failed with status {code}: {' / '.join(words) or 'it said nothing'}")


class _LocalServer:
    """The server while scripts run: on the socket only, open to whoever is in the container, as scripts expect."""

    def __init__(self, place: Place, hub: Hub, redactor: Redactor) -> None:
        self._place, self._hub, self._redactor = place, hub, redactor
        self._pid = 0

    def start(self) -> None:
        """Returns when it answers. Raises StartError."""
        rules = os.path.join(self._place.runtime, "first_start_hba.conf")
        _write(rules, "local all all trust\nlocal replication all trust\n")
        argv = [
            self._place.program("postgres"), "-D", self._place.data, "-c", "listen_addresses=", "-c", f"hba_file={rules}",
            "-c", "logging_collector=off", "-c", "log_destination=stderr", "-c", "ssl=off", *self._place.socket_arguments,
        ]  # fmt: skip
        self._pid = self._hub.spawn(argv, self._place.environment, self._hear, pass_fds=alone.inherited())
        while status_line(self._place) != "ready":
            if self._hub.wait(self._pid, time.monotonic() + 0.02) is not None:
                raise StartError("the server for the first start's scripts ended; its log lines above say why")

    def stop(self) -> None:
        """Fast shutdown, and wait for it; also of one that a script has started in its place."""
        self._stop(self._pid)
        process = (_read(self._place.path("postmaster.pid")) or "").partition("\n")[0]
        if process.isdigit():
            self._stop(int(process))

    def _stop(self, pid: int) -> None:
        if pid in self._hub.statuses:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        while pid not in self._hub.statuses and os.path.exists(f"/proc/{pid}"):
            self._hub.pump(0.05)

    def _hear(self, line: bytes) -> None:
        self._hub.output.write(logs.plain_record("postgresql", line, self._redactor))


def status_line(place: Place) -> str:
    """The server's own word on its state: ``starting``, ``ready``, ``standby``, ``stopping``; empty when it does not run."""
    lines = (_read(place.path("postmaster.pid")) or "").splitlines()
    return lines[7].strip() if len(lines) > 7 else ""


def base_rules(system_user: str, superuser: str, server: HbaServer) -> str:
    """pg_hba.conf of a new data directory, before the managed section."""
    name = quote_token(superuser, "user", server)
    peer = "peer" if system_user == superuser else f"peer map={_USER_MAP}"
    return f"""\
# Access rules, read from top to bottom; the first that matches a connection decides (PostgreSQL documentation, "The pg_hba.conf File").
# The marked section is rewritten by the container from EXTERNAL_ACCESS_* at every start; every other line is yours and stays.

# TYPE  DATABASE        USER            ADDRESS                 METHOD
# The container's own user is the superuser over the socket, whatever the rules below say.
local   all             {name:<15}                         {peer}
local   replication     {name:<15}                         {peer}
local   all             all                                     scram-sha-256
host    all             all             127.0.0.1/32            scram-sha-256
host    all             all             ::1/128                 scram-sha-256
host    replication     all             127.0.0.1/32            scram-sha-256
host    replication     all             ::1/128                 scram-sha-256
"""


def user_map(system_user: str, superuser: str, server: HbaServer) -> str:
    """pg_ident.conf of a new data directory: our system user is the superuser, whatever either is called."""
    name = quote_token(superuser, "map", server)
    lines = [f"{_USER_MAP:<15} {user:<23} {name}\n" for user in dict.fromkeys([system_user, "postgres"])]
    return "# MAPNAME       SYSTEM-USERNAME         PG-USERNAME\n" + "".join(lines)


def recorded_superuser(place: Place) -> str | None:
    """The superuser of a data directory that this image made, from the map that lets us in; None for one that it did not make."""
    text = _read(place.path("pg_ident.conf")) or ""
    server = HbaServer(place.major)
    for line in ruleset.lines_of_text(encode(text), server, "pg_ident.conf").lines:
        if line.error is None and len(line.fields) > 2 and line.fields[0][0].text == _USER_MAP:
            return line.fields[2][0].text
    return None


def _quoted(name: str) -> str:
    """A name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    """A text in SQL, whatever standard_conforming_strings says."""
    escaped = text.replace("'", "''").replace("\\", "\\\\")
    return f" E'{escaped}'" if "\\" in text else f"'{escaped}'"


def _read(path: str) -> str | None:
    try:
        return regular.read(path).decode("utf-8", "surrogateescape").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StartError(f"PGDATA: cannot read {path}: {error.strerror}; check the volume") from None


def _write(path: str, text: str, *, sync: bool = True) -> None:
    """Never through a symbolic link: whoever can plant one in a volume must not choose what is overwritten. Raises OSError."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW, 0o600)

    with open(path, "w", encoding="utf-8", errors="surrogateescape", opener=opener) as file:
        file.write(text)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
