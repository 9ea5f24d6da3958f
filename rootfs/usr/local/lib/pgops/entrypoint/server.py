# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL as a supervised child: how it is started, how its log is read, how signals reach it, and what its end means."""

from __future__ import annotations

import os
import signal
import time
import typing as t

from . import alone, logs, tls
from .errors import StartError
from .events import Correlator
from .place import Place
from .redact import Redactor
from .stream import Hub

_DRAIN_SECONDS = 10.0
_LOG_NAME = "postgresql"
_READY = "database system is ready to accept "
_TOLD_BY_CLIENTS = ("message", "user", "database", "server_message", "detail")
_BELIEVED = ("postmaster", "walreceiver")
JSONLOG_SINCE = 15
_STOP = {signal.SIGTERM: signal.SIGINT, signal.SIGINT: signal.SIGINT, signal.SIGQUIT: signal.SIGQUIT}
"""What stops the container → what the postmaster gets: SIGINT is its fast shutdown, SIGTERM would wait for every client to leave."""
_PASSED_ON = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Server:
    """The server process. ``run`` returns the container's exit status."""

    def __init__(self, place: Place, hub: Hub, redactor: Redactor, correlator: Correlator, log_level: str) -> None:
        self._place, self._hub, self._redactor, self._correlator = place, hub, redactor, correlator
        self._log_level = log_level
        self._pid = 0
        self._stopping = 0
        self.on_ready: t.Callable[[], None] = lambda: None
        """Called whenever the server says that it accepts connections."""

    def run(self, arguments: t.Sequence[str], user_arguments: t.Sequence[str]) -> int:
        """Start it, serve until it ends, tell its end. ``user_arguments`` come last and so win. Raises StartError."""
        log_arguments = self._open_logs()
        argv = [self._place.program("postgres"), "-D", self._place.data, *log_arguments, *arguments, *user_arguments]
        self._hub.on_signal = self.on_signal
        self._hub.ticker = self._tick
        try:
            self._pid = self._hub.spawn(argv, self._place.environment, self._plain, pass_fds=alone.inherited())
        except OSError as error:
            raise StartError(f"cannot run {argv[0]}: {error.strerror}") from None
        status = self._hub.wait(self._pid)
        self._hub.hurry()
        self._hub.drain(time.monotonic() + _DRAIN_SECONDS)
        self._tell(self._correlator.flush())
        return self._end(status or 0)

    def on_signal(self, number: int) -> None:
        """A signal to PID 1."""
        if number in _PASSED_ON:
            if number == signal.SIGHUP:
                self._renew_key()
            self._kill(signal.Signals(number))
            return
        if number not in _STOP:
            return
        wanted = _STOP[signal.Signals(number)]
        if self._stopping:
            wanted = signal.SIGQUIT
        self._stopping += 1
        kind = "immediate" if wanted == signal.SIGQUIT else "fast"
        self._hub.output.say("info", f"{signal.Signals(number).name}: {kind} shutdown of PostgreSQL")
        self._kill(wanted)

    def _renew_key(self) -> None:
        """A mounted certificate may be another one now, and the server has a copy of its key."""
        try:
            tls.renew(self._place)
        except StartError as error:
            self._hub.output.say("error", f"the certificate is not renewed: {error}")

    def _kill(self, number: signal.Signals) -> None:
        if self._pid and self._pid not in self._hub.statuses:
            os.kill(self._pid, number)

    def _end(self, status: int) -> int:
        if self._stopping and status == 0:
            self._hub.output.say("info", "PostgreSQL has stopped")
            return 0
        if status == 0:
            self._hub.output.say("warning", "PostgreSQL was stopped from inside the container")
            return 0
        how = f"was killed by {signal.Signals(status - 128).name}" if status > 128 else f"ended with status {status}"
        self._hub.output.say("error", f"PostgreSQL {how}; the container ends with {status}")
        return status

    def _open_logs(self) -> list[str]:
        """Pipes for the server's logger to open as its files; held open for writing too, so that they never report an end.

        A pipe, not a file, since nothing can fill a disk or needs rotation; not stdout itself, which the logger would lose
        (its own stdout is another pipe), may not be allowed to open, or cannot open where it is a socket.
        """
        if self._place.major < JSONLOG_SINCE:
            self._hub.output.say(
                "info", f"PostgreSQL {self._place.major} has no JSON log: its lines are wrapped, without external_connection events"
            )
            return ["-c", "logging_collector=off", "-c", "log_destination=stderr"]
        self._hub.output.note = os.path.join(self._place.runtime, "unread")
        directory = os.path.join(self._place.runtime, "log")
        os.mkdir(directory, 0o700)
        for name, handler in ((f"{_LOG_NAME}.json", self._json), (f"{_LOG_NAME}.log", self._plain)):
            path = os.path.join(directory, name)
            os.mkfifo(path, 0o600)
            self._hub.read_lines(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC), handler)
        settings = [
            "logging_collector=on", "log_destination=jsonlog", f"log_directory={directory}", f"log_filename={_LOG_NAME}.log",
            "log_rotation_age=0", "log_rotation_size=0", "log_truncate_on_rotation=off", "log_file_mode=0600", "log_connections=on",
        ]  # fmt: skip
        if self._log_level == "debug":
            settings.append("log_min_messages=debug1")
        return [word for setting in settings for word in ("-c", setting)]

    def _json(self, raw: bytes) -> None:
        row = logs.server_row(raw)
        if row is None:
            self._plain(raw)
            return
        output = self._hub.output
        events = self._correlator.feed(row, time.monotonic())
        # An event tells all that the line does which refuses a client.
        level = "debug" if any(event["outcome"] == "refused" for event in events) else logs.level_of(row)
        if output.shows(level):
            output.write(logs.server_record(row, level, self._redactor))
        self._tell(events)
        if row.get("backend_type") in _BELIEVED:
            # A session may say the same words (RAISE LOG).
            self._seen({"source": "postgresql", "message": str(row.get("message", "")), "backend": row["backend_type"]})

    def _plain(self, raw: bytes) -> None:
        made = logs.plain_record("postgresql", raw, self._redactor)
        self._hub.output.write(made)
        self._seen(made)

    def _seen(self, made: logs.Record) -> None:
        """The server itself said something."""
        if made["message"].startswith(_READY):
            self.on_ready()

    def _tell(self, events: list[logs.Record]) -> None:
        """What a client says of itself may be anything, a password in the wrong place, too."""
        for event in events:
            for name in _TOLD_BY_CLIENTS:
                if event.get(name):
                    event[name] = self._redactor.text(event[name])
            self._hub.output.write(event)

    def _tick(self) -> float | None:
        clock = time.monotonic()
        self._tell(self._correlator.tick(clock))
        return self._correlator.wait(clock)
