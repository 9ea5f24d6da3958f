# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one loop of PID 1: reads every pipe, writes every line of stdout, reaps every child, hears every signal.

One thread and one writer: lines of different programs cannot mix, and nothing waits for a lock. Reading the server's log at
once matters, since its logger, and then its backends, wait when nobody reads.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
import typing as t

from . import logs

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)
_CHUNK = 1 << 18
LineHandler = t.Callable[[bytes], None]


class Output:
    """Records to stdout, those below the threshold left out."""

    def __init__(self, threshold: str = "info", descriptor: int = 1) -> None:
        self.threshold = threshold
        self._descriptor = descriptor

    def write(self, made: logs.Record) -> None:
        """Write one record. A reader that has gone away must not stop a database, so that is no error."""
        if not logs.shown(made["level"], self.threshold):
            return
        data = memoryview(logs.encode(made))
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                time.sleep(0.01)
            except (BrokenPipeError, OSError):
                return

    def say(self, level: str, message: str, **fields: t.Any) -> None:
        """A line of the entrypoint's own."""
        self.write(logs.record("entrypoint", level, message, **fields))


class _Lines:
    """Splits what a descriptor gives into lines; a last line without its end counts when the descriptor closes."""

    def __init__(self, handler: LineHandler) -> None:
        self._handler = handler
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> None:
        first, *rest = data.split(b"\n")
        self._parts.append(first)
        for part in rest:
            self._emit()
            self._parts.append(part)

    def finish(self) -> None:
        self._emit()

    def _emit(self) -> None:
        line = b"".join(self._parts).rstrip(b"\r")
        self._parts = []
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
        heard: list[int] = []
        for key, _unused in events:
            if key.fd == self._wakeup:
                with contextlib.suppress(BlockingIOError):
                    heard = list(os.read(self._wakeup, 512))
            else:
                self._read(key.fd)
        self._reap()
        for number in heard:
            if number != signal.SIGCHLD:
                self.on_signal(number)

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
