# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers as oracles: one PostgreSQL, started in a temporary folder, asked what a file means and who gets in.

A server answers three questions about a :class:`~.corpus.Case`: what its view shows, whether a reload takes the file, and
which line a connection attempt meets. Which line: a refused attempt makes the server log ``Connection matched … line N``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from . import fetch
from .corpus import Case
from .wire import Answer, Connection, WireError

OPEN_HBA = "local all all trust\nlocal replication all trust\n"
PATIENCE = 30.0
"""Seconds that a server may take to start, stop, or reload."""
FULL_BUILDS = Path("/usr/lib/postgresql")
"""Where Debian and PGDG install servers that are built with GSSAPI, LDAP and PAM."""
VALIDATOR = "myval"
"""oauth_validator_libraries of the recorded answers (18 and later); parsing does not look for the library."""
SETTINGS = """\
listen_addresses = '{listen}'
port = {port}
unix_socket_directories = '{sockets}'
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
fsync = off
full_page_writes = off
synchronous_commit = off
autovacuum = off
shared_buffers = 4MB
max_connections = 20
max_wal_senders = 4
wal_level = replica
log_line_prefix = '%e|%p|'
log_connections = on
log_min_messages = log
lc_messages = 'C'
logging_collector = off
authentication_timeout = 20s
include 'switches.conf'
"""
MATCHED = re.compile(r'Connection matched (?:pg_hba\.conf|file "(?P<file>[^"]*)") line (?P<line>\d+): ')
PROVEN = re.compile(r"LOG:  connection authenticated: (?:identity|user)=.* method=\S+ \((?P<file>.*):(?P<line>\d+)\)$")
LOG_LINE = re.compile(r"^[0-9A-Z]{5}\|\d+\|")


class Verdict(t.NamedTuple):
    """What a server says about a file."""

    rows: list[dict[str, t.Any]] | None
    """The view's rows as ``to_jsonb`` gives them; None when the major has no such view, or it failed."""
    failure: str | None
    """The error with which the view failed as a whole, or ``crash`` when the server died of it."""
    loads: bool | None
    """Whether a reload took the file; None when it was not tried because the view had killed the server."""
    log: tuple[str, ...] = ()
    """Log entries of the reload: severity and message, continuation lines joined."""


class Attempt(t.NamedTuple):
    """What a server did with one connection attempt."""

    answer: Answer
    file: str | None
    """The file that holds the rule which was met; None when the log does not say."""
    line: int | None
    log: tuple[str, ...]


def account() -> pwd.struct_passwd | None:
    """Who runs the servers: nobody else when we are an ordinary user (None), an unprivileged account when we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise fetch.Unavailable("PostgreSQL refuses to run as root and there is neither a user postgres nor nobody")


def full_builds() -> list[int]:
    """Majors that are installed as full builds (Debian, PGDG)."""
    found = [path.parent.parent.name for path in FULL_BUILDS.glob("*/bin/initdb")]
    return sorted(int(name) for name in found if name.isdigit() and int(name) in fetch.majors())


def addresses() -> list[str]:
    """Loopback addresses to listen on: IPv6 too where the machine has it."""
    listen = ["127.0.0.1"]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        listen.append("::1")
    return listen


def _say(text: str) -> None:
    if not text.endswith("in the cache"):
        print(text, file=sys.stderr, flush=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    """In the child: a fast shutdown when the tests are killed, so that no server outlives them (Linux: PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGINT)


class Server:
    """One PostgreSQL server; ``start`` before use, ``stop`` after."""

    def __init__(self, major: int, full: bool = False) -> None:
        self.major = major
        self.full = full
        self.features: frozenset[str] = frozenset()
        self.version = ""
        self.ssl = True
        self.switches: dict[str, str] = {}
        self.crashes = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.session: Connection | None = None
        self.reloads = 0
        self._populated = False

    def __repr__(self) -> str:
        return f"{'full' if self.full else 'min'} {self.version or self.major}"

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Install, initialise and run; raises :class:`fetch.Unavailable` when this machine cannot have it."""
        self.account = account()
        source = FULL_BUILDS / str(self.major) if self.full else fetch.fetch(self.major, _say)
        if not shutil.which("openssl"):
            raise fetch.Unavailable("openssl is needed to make the servers' certificate")
        base = tempfile.gettempdir()
        self.root = Path(tempfile.mkdtemp(prefix=f"pgd{self.major}-", dir=base if len(base) < 40 else "/tmp")).resolve()
        try:
            self.root.chmod(0o755)
            self.install = self._readable(source)
            self.data, self.sockets, self.logfile = self.root / "data", self.root / "s", self.root / "log"
            for folder in (self.data, self.sockets):
                folder.mkdir(mode=0o700)
                self._give(folder)
            self.sockets.chmod(0o755)
            self._initialise()
            self._launch()
        except BaseException:
            self.stop()
            raise

    def _readable(self, source: Path) -> Path:
        """The installation where the server's account can read it: root's cache is usually closed to others."""
        if self.account is None or self.full:
            return source
        copy = self.root / "pg"

        def link(one: str, other: str) -> str:
            try:
                os.link(one, other)
            except OSError:
                shutil.copy2(one, other)
            return other

        shutil.copytree(source, copy, symlinks=True, copy_function=link)
        return copy

    def _give(self, path: Path) -> None:
        if self.account is not None:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        identity: dict[str, t.Any] = {}
        if self.account is not None:
            identity = {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
        with self.logfile.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.root,
                env={**environment, "LC_ALL": "C"},
                preexec_fn=_die_with_parent,  # noqa: PLW1509 (one thread)
                **identity,
            )

    def _initialise(self) -> None:
        program = str(self.install / "bin" / "initdb")
        done = self._run(program, "-N", "-A", "trust", "-U", "postgres", "--locale=C", "-D", str(self.data))
        if done.wait(PATIENCE * 4):
            raise RuntimeError(f"initdb failed: {self.logfile.read_text(errors='replace')[-2000:]}")
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        key, certificate = self.data / "server.key", self.data / "server.crt"
        subprocess.run([*request, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True, timeout=PATIENCE)
        for path in (key, certificate):
            path.chmod(0o600)
            self._give(path)
        self.listen = addresses()
        self.original_ident = (self.data / "pg_ident.conf").read_bytes()

    def _launch(self) -> None:
        """Run the postmaster with an open pg_hba.conf and open the superuser's session."""
        self._write(self.data / "pg_hba.conf", OPEN_HBA.encode())
        self._write(self.data / "pg_ident.conf", b"")
        self._write_switches()
        for _ in range(3):
            self.port = _free_port()
            settings = SETTINGS.format(listen=",".join(self.listen), port=self.port, sockets=self.sockets)
            self._write(self.data / "postgresql.conf", settings.encode())
            self.process = self._run(str(self.install / "bin" / "postgres"), "-D", str(self.data))
            if self._wait_until_ready():
                break
        else:
            raise RuntimeError(f"{self!r} did not start: {self.logfile.read_text(errors='replace')[-2000:]}")
        if not self.version:
            self._introduce()

    def _wait_until_ready(self) -> bool:
        assert self.process is not None
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError, WireError):
                self.session = self.connect_as_superuser()
                return True
            time.sleep(0.05)
        self._kill()
        return False

    def _introduce(self) -> None:
        self.version = (self.sql("show server_version")[0][0] or b"").decode().split()[0]
        built = (self.sql("select setting from pg_config() where name = 'CONFIGURE'")[0][0] or b"").decode()
        marks = {"ssl": ("openssl",), "gssapi": ("--with-gssapi",), "ldap": ("--with-ldap",), "pam": ("--with-pam",)}
        self.features = frozenset(name for name, signs in marks.items() if any(sign in built for sign in signs))

    def connect_as_superuser(self) -> Connection:
        connection = Connection.open(socket_path=self.socket_path)
        try:
            answer = connection.log_in(b"postgres", b"postgres")
            if answer.sqlstate is not None:
                raise WireError(answer.message)
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def socket_path(self) -> str:
        return str(self.sockets / f".s.PGSQL.{self.port}")

    def _kill(self) -> None:
        if self.session is not None:
            self.session.close()
            self.session = None
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(PATIENCE)
        self.process = None

    def stop(self) -> None:
        """Shut down and remove every file."""
        self._kill()
        shutil.rmtree(self.root, ignore_errors=True)

    def revive(self) -> None:
        """After a file has killed the server or its session: start again from a file that loads."""
        self.crashes += 1
        self._kill()
        with contextlib.suppress(FileNotFoundError):
            (self.data / "postmaster.pid").unlink()
        self._launch()

    # --- asking ---------------------------------------------------------------------------------------------------

    def sql(self, text: str) -> list[list[bytes | None]]:
        """Run SQL as superuser; raises RuntimeError with the server's message when it fails."""
        assert self.session is not None
        result = self.session.query(text.encode())
        if result.sqlstate is not None:
            raise RuntimeError(f"{text}: {result.sqlstate} {result.message}")
        return result.rows

    def _write(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        path.chmod(0o644)

    def _write_switches(self) -> None:
        defaults = {"oauth_validator_libraries": f"'{VALIDATOR}'"} if self.major >= 18 else {}
        switches = {**defaults, **self.switches, "ssl": "on" if self.ssl else "off"}
        text = "".join(f"{name} = {value}\n" for name, value in switches.items())
        self._write(self.data / "switches.conf", text.encode())

    def switch(self, ssl: bool = True, **settings: str) -> None:
        """Set ``ssl`` and other settings for what follows; takes effect at once, with a file that loads."""
        if ssl == self.ssl and settings == self.switches:
            return
        self.ssl, self.switches = ssl, settings
        self._write_switches()
        self._write(self.data / "pg_hba.conf", OPEN_HBA.encode())
        self.reload()

    def reload(self) -> tuple[str, ...]:
        """SIGHUP, wait until the postmaster is through with it, and return what it logged meanwhile.

        The postmaster does one thing at a time: once it has announced the reload, a connection that it answers comes after it.
        """
        assert self.process is not None
        self.reloads += 1
        start = self._log_size()
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while b"received SIGHUP" not in self._log_since(start):
            if self.process.poll() is not None:
                raise WireError("the postmaster died of the reload")
            if time.monotonic() > deadline:
                raise WireError("the postmaster does not react to SIGHUP")
            time.sleep(0.0005)
        try:
            with Connection.open(socket_path=self.socket_path) as probe:
                probe.ask_for_tls()
        except OSError as error:
            raise WireError(f"the postmaster died of the reload: {error}") from error
        return self._entries(start)

    def _log_size(self) -> int:
        return self.logfile.stat().st_size

    def _log_since(self, start: int) -> bytes:
        with self.logfile.open("rb") as log:
            log.seek(start)
            return log.read()

    def _entries(self, start: int) -> tuple[str, ...]:
        entries: list[str] = []
        for line in self._log_since(start).decode("utf-8", "surrogateescape").split("\n"):
            if LOG_LINE.match(line):
                entries.append(line.split("|", 2)[2])
            elif entries and line:
                entries[-1] += "\n" + line
        return tuple(entries)

    def view(self, kind: str) -> tuple[list[dict[str, t.Any]] | None, str | None]:
        """The view's rows, or its error, for the files that lie in the data folder now."""
        name = {"hba": "pg_hba_file_rules", "ident": "pg_ident_file_mappings"}[kind]
        if kind == "ident" and self.major < 15:
            return None, None
        assert self.session is not None
        try:
            result = self.session.query(f"select to_jsonb(v)::text from {name} v".encode())
        except WireError:
            return None, "crash"
        if result.sqlstate is not None:
            return None, self._normal(result.message)
        return [json.loads(self._normal((row[0] or b"").decode("utf-8", "surrogateescape"))) for row in result.rows], None

    def _normal(self, text: str) -> str:
        return text.replace(str(self.data), "$PGDATA")

    def judge(self, case: Case, load: bool = True) -> Verdict:
        """Ask the view and a reload about a case. The files are gone again afterwards."""
        self.switch(ssl=case.ssl, **case.settings)
        with self.holding(case):
            rows, failure = self.view(case.kind)
            if failure == "crash":
                self.revive()
                return Verdict(None, failure, None)
            if not load:
                return Verdict(rows, failure, None)
            try:
                log = self.reload()
            except WireError:
                self.revive()
                return Verdict(rows, failure, None)
        refused = re.compile(r'LOG:  ("?)(?:.*/)?pg_' + case.kind + r"\.conf\1 was not reloaded$")
        loads = not any(refused.match(entry) for entry in log)
        return Verdict(rows, failure, loads, tuple(self._normal(entry) for entry in log))

    @contextlib.contextmanager
    def holding(self, case: Case) -> t.Iterator[Path]:
        """Put a case's files into the data folder; yields the main file's path."""
        made: list[Path] = []
        main = self.data / f"pg_{case.kind}.conf"
        try:
            for name, content in case.files.items():
                self._make_room(self.data / name, made)
                self._write(self.data / name, content)
            for name, target in case.symlinks.items():
                self._make_room(self.data / name, made)
                (self.data / name).symlink_to(target)
            for name, mode in case.chmod.items():
                (self.data / name).chmod(mode)
            self._write(main, case.text)
            yield main
        finally:
            for path in reversed(made):
                with contextlib.suppress(OSError):
                    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
            self._write(main, OPEN_HBA.encode() if case.kind == "hba" else b"")

    def _make_room(self, path: Path, made: list[Path]) -> None:
        for folder in reversed(path.parents):
            if not folder.exists():
                folder.mkdir()
                made.append(folder)
        made.append(path)

    def use(self, hba: bytes, ident: bytes = b"", files: t.Mapping[str, bytes] | None = None) -> bool:
        """Load these files and keep them, for connection attempts; False when the server does not take them."""
        for name, content in (files or {}).items():
            self._write(self.data / name, content)
        self._write(self.data / "pg_hba.conf", hba)
        self._write(self.data / "pg_ident.conf", ident)
        return not any("was not reloaded" in entry for entry in self.reload())

    def attempt(
        self,
        user: bytes,
        database: bytes | None,
        *,
        address: str | None = None,
        source: str | None = None,
        tls: bool = False,
        replication: str | None = None,
        uid: int | None = None,
    ) -> Attempt:
        """One real connection attempt: over the socket, or from ``source`` to ``address``; the password is always wrong."""
        start = self._log_size()
        where: dict[str, t.Any] = (
            {"socket_path": self.socket_path} if address is None else {"address": (address, self.port), "source": source}
        )
        with Connection.open(**where, tls=tls, uid=uid) as connection:
            answer = connection.log_in(user, database, replication)
        entries = self._entries(start)
        found = next((m for entry in entries for m in [MATCHED.search(entry)] if m), None)
        found = found or next((m for entry in entries for m in [PROVEN.search(entry)] if m), None)
        file, line = (found["file"], int(found["line"])) if found else (None, None)
        return Attempt(answer, file or (str(self.data / "pg_hba.conf") if found else None), line, entries)

    def populate(self, statements: t.Iterable[str]) -> None:
        """Run statements once in a server's life: the roles of connection attempts."""
        if not self._populated:
            for statement in statements:
                self.sql(statement)
            self._populated = True


if __name__ == "__main__":
    if sys.argv[1:] != ["fetch"]:
        sys.exit("usage: python -m tests.differential.servers fetch")
    sys.exit(fetch.main())
