# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real files, real processes, real file systems: what the file store promises, looked at from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import typing as t

import pytest
from file_support import mount

__all__ = ["mount"]


class Child:
    """Runs Python code in a process of its own that can import the collection."""

    @staticmethod
    def start(code: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start it; standard input, output and error are pipes."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [sys.executable, "-c", code, *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)


@pytest.fixture
def child() -> type[Child]:
    """How to start another process."""
    return Child


@pytest.fixture
def as_user() -> t.Callable[[t.Callable[[], t.Any]], str]:
    """Run a function as a user without privileges, in a forked process; gives what it returned or raised, as text."""

    def run(function: t.Callable[[], t.Any]) -> str:
        if os.geteuid() != 0:
            pytest.skip("becoming another user needs root")
        reader, writer = os.pipe()
        process = os.fork()
        if process == 0:
            text = "?"
            try:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
                text = f"returned {function()!r}"
            except BaseException as exc:
                text = f"{type(exc).__name__} {exc}"
            finally:
                os.write(writer, text.encode())
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            text = pipe.read().decode()
        os.waitpid(process, 0)
        return text

    return run
