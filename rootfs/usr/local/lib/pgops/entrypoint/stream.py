# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one loop of PID 1: reads every pipe, writes every line of stdout, reaps every child, hears every signal.

One thread and one writer: lines of different programs cannot mix, and nothing waits for a lock. Reading the server's log at
once matters, since its logger, and then its backends, wait when nobody reads. Where nobody reads stdout, all of them wait: no line is
lost and none is kept on a disk. Only an end of the container does not wait for a reader.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import stat
import subprocess
import time
import typing as t

from . import logs

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)
_STOPS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
_CHUNK = 1 << 18
_WRITE = 1 << 16
_LONGEST_LINE = 1 << 26
_HEAD = 1 << 16
"""A longer line is cut to its head: parsing it would take many times its size, and any client can send one of a gigabyte."""
_SLICE_SECONDS = 0.2
_NOTED_SECONDS = 1.0
_STOP_PATIENCE = 2.0
"""For so long a stop waits for a reader of stdout; an engine kills after 10 s, and the server wants some of them."""
_END_PATIENCE = 10.0
LineHandler = t.Callable[[bytes], None]


class Output:
    """Records to stdout, those below the threshold left out."""

    def __init__(self, threshold: str = "info", descriptor: int = 1) -> None:
        self.threshold = threshold
        self.note = ""
        """A file that is there while nobody reads stdout, for the health check."""
        self.may_wait: t.Callable[[], bool] = lambda: True
        """Asked again and again while nobody reads; False: what is not read is lost, and counted."""
        self._descriptor = descriptor
        self._pending = bytearray()
        self._within_line = self._held = self._noted = False
        self._lost = 0
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            os.set_blocking(descriptor, False)

    def shows(self, level: str) -> bool:
        """Whether records of this level are written."""
        return logs.shown(level, self.threshold)

    def write(self, made: logs.Record) -> None:
        """Write one record. A reader that has gone away must not stop a database, so that is no error."""
        if self.shows(made["level"]):
            self._pending += logs.encode(made)
            self._flush()

    def say(self, level: str, message: str, **fields: t.Any) -> None:
        """A line of the entrypoint's own."""
        self.write(logs.record("entrypoint", level, message, **fields))

    @contextlib.contextmanager
    def together(self) -> t.Iterator[None]:
        """What is written inside goes out at its end, in few calls."""
        held, self._held = self._held, True
        try:
            yield
        finally:
            self._held = held
            self._flush()

    def _flush(self) -> None:
        if self._held:
            return
        self._held = True  # whoever is told of a signal meanwhile writes, too
        try:
            while self._pending and self._send():
                pass
        finally:
            self._held = False
            self._mark(False)

    def _send(self) -> bool:
        """Write some; False when the rest is given up."""
        try:
            written = os.write(self._descriptor, self._pending[:_WRITE])
        except BlockingIOError:
            return self._wait() or self._give_up()
        except OSError:
            self._pending.clear()
            return False
        self._within_line = self._pending[written - 1] != 10
        del self._pending[:written]
        if self._lost and not self._pending:
            lost, self._lost = self._lost, 0
            self.say("warning", f"nobody read the container's stdout: {lost} lines are lost", lost=lost)
        return True

    def _wait(self) -> bool:
        began = time.monotonic()
        while self.may_wait():
            if select.select([], [self._descriptor], [], _SLICE_SECONDS)[1]:
                return True
            if time.monotonic() - began > _NOTED_SECONDS:
                self._mark(True)
        return False

    def _give_up(self) -> bool:
        """Drop what is pending, but for the rest of a line that has begun: every line stays whole."""
        end = self._pending.find(b"\n") + 1 if self._within_line else 0
        self._lost += self._pending.count(b"\n", end)
        del self._pending[end:]
        return False

    def _mark(self, blocked: bool) -> None:
        if self._noted == blocked or not self.note:
            return
        self._noted = blocked
        with contextlib.suppress(OSError):
            if blocked:
                os.close(os.open(self.note, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            else:
                os.unlink(self.note)


class _Lines:
    """Splits what a descriptor gives into lines; a last line without its end counts when the descriptor closes."""

    def __init__(self, handler: LineHandler) -> None:
        self._handler = handler
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        first, *rest = data.split(b"\n")
        self._add(first)
        for part in rest:
            self._emit()
            self._add(part)

    def finish(self) -> None:
        self._emit()

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= _LONGEST_LINE:
            self._parts.append(part)
        elif len(self._parts) > 1:
            self._parts = [b"".join(self._parts)[:_HEAD]]

    def _emit(self) -> None:
        line = b"".join(self._parts).rstrip(b"\r")
        if self._size > _LONGEST_LINE:
            line = line[:_HEAD] + f" … (the first {_HEAD} of {self._size} bytes)".encode()
        self._parts, self._size = [], 0
        if line.strip():
            self._handler(line)


class Hub:
    """Descriptors, children and signals. Make one only, in the main thread."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.statuses: dict[int, int] = {}
        """Exit statuses of children, as ``os.waitpid`` gives them."""
        self.on_signal: t.Callable[[int], None] = lambda number: None
        self.ticker: t.Callable[[], float | None] = lambda: None
        """Called in every round; returns after how many seconds it wants to be called again."""
        self._selector = selectors.DefaultSelector()
        self._readers: dict[int, _Lines] = {}
        self._spawned: list[int] = []
        self._patience: float | None = None
        output.may_wait = self._may_wait
        self._wakeup, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in SIGNALS:
            signal.signal(number, lambda *_unused: None)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        self._selector.register(self._wakeup, selectors.EVENT_READ)

    def read_lines(self, descriptor: int, handler: LineHandler) -> None:
        """Call ``handler`` for each line from a descriptor, which becomes ours to close."""
        os.set_blocking(descriptor, False)
        self._readers[descriptor] = _Lines(handler)
        self._selector.register(descriptor, selectors.EVENT_READ)

    def spawn(self, argv: t.Sequence[str], environment: t.Mapping[str, str], handler: LineHandler, **more: t.Any) -> int:
        """Start a program whose stdout and stderr go to ``handler``; its process id. Raises OSError."""
        process = subprocess.Popen(
            argv, env=dict(environment), stdin=more.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, **more,
        )  # fmt: skip
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                self.read_lines(os.dup(pipe.fileno()), handler)
                pipe.close()
        # Children are reaped here, all of them: Popen's own bookkeeping would race with it.
        process.returncode = 0
        self._spawned.append(process.pid)
        return process.pid

    def end_children(self, seconds: float) -> None:
        """Ask every child that still runs, with all that it has started, to end; then read their last lines."""
        self.hurry()
        for pid in self._spawned:
            if pid not in self.statuses:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGTERM)
        self.drain(time.monotonic() + seconds)

    def wait(self, pid: int, deadline: float | None = None) -> int | None:
        """Pump until the child has ended; its exit code (128 + signal number for a death by signal), or None at the deadline."""
        while pid not in self.statuses:
            if deadline is not None and time.monotonic() >= deadline:
                return None
            self.pump(None if deadline is None else deadline - time.monotonic())
        return exit_code(self.statuses[pid])

    def pump(self, seconds: float | None) -> None:
        """One round: wait for something to happen, at most ``seconds``, and deal with it."""
        waits = [value for value in (seconds, self.ticker()) if value is not None]
        events = self._selector.select(max(0.0, min(waits)) if waits else None)
        for key, _unused in events:
            if key.fd != self._wakeup and key.fd in self._readers:
                self._read(key.fd)
        self._hear()

    def _hear(self) -> None:
        """Children that have ended, then signals."""
        heard = b""
        with contextlib.suppress(BlockingIOError):
            heard = os.read(self._wakeup, 512)
        self._reap()
        for number in heard:
            if number in _STOPS:
                self.hurry(_STOP_PATIENCE)
            if number != signal.SIGCHLD:
                self.on_signal(number)

    def hurry(self, seconds: float = _END_PATIENCE) -> None:
        """From now on nobody who does not read stdout is waited for longer than this."""
        if self._patience is None:
            self._patience = time.monotonic() + seconds

    def _may_wait(self) -> bool:
        self._hear()
        return self._patience is None or time.monotonic() < self._patience

    def drain(self, deadline: float) -> None:
        """Read until every child has ended and every pipe is empty: the last lines are the ones that explain an end."""
        while time.monotonic() < deadline:
            self._reap()
            alone = not _have_children()
            self.pump(0.0 if alone else 0.05)
            if alone and not self._selector_busy():
                break
        for descriptor in list(self._readers):
            self._close(descriptor)

    def _selector_busy(self) -> bool:
        return bool(self._selector.select(0.0))

    def _read(self, descriptor: int) -> None:
        reader = self._readers[descriptor]
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            with self.output.together():
                reader.feed(data)
        else:
            self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        reader = self._readers.pop(descriptor)
        self._selector.unregister(descriptor)
        os.close(descriptor)
        reader.finish()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.statuses[pid] = status


def exit_code(status: int) -> int:
    """An exit status as a shell shows it."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _have_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
