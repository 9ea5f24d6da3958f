# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One container at a time works on a data directory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pgops.entrypoint import alone
from pgops.entrypoint.errors import CANNOT, StartError, Stopped

HOLDER = "import fcntl, os, sys, time; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX); print(flush=True); time.sleep({})"


def holder(data: Path, seconds: float) -> subprocess.Popen[bytes]:
    """Another process that works on the directory for so long."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER.format(seconds), data], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"\n"
    return process


def test_somebody_elses_directory_is_refused_and_left_as_it_is(tmp_path):
    with holder(tmp_path, 60) as other:
        with pytest.raises(StartError, match="another container works on") as refused:
            alone.hold(str(tmp_path), patience=0.2)
        other.kill()
    assert refused.value.status == CANNOT
    assert list(tmp_path.iterdir()) == []


def test_a_predecessor_that_is_being_stopped_is_waited_for(tmp_path):
    with holder(tmp_path, 0.3):
        began = time.monotonic()
        alone.hold(str(tmp_path))
        assert time.monotonic() - began < alone.PATIENCE


def test_whoever_waits_is_told_once_and_may_be_stopped(tmp_path):
    texts: list[str] = []

    def stop(_seconds: float) -> None:
        if len(texts) > 1 or time.monotonic() > began + 0.3:
            raise Stopped

    with holder(tmp_path, 60) as other:
        began = time.monotonic()
        with pytest.raises(Stopped):
            alone.hold(str(tmp_path), patience=60, pause=stop, told=texts.append)
        other.kill()
    assert texts == [alone.WAITING]


def test_each_of_several_directories_is_held(tmp_path):
    (tmp_path / "pgdata").mkdir()
    with holder(tmp_path, 60) as other:
        with pytest.raises(StartError):
            alone.hold(str(tmp_path / "pgdata"), str(tmp_path), patience=0)
        other.kill()


def test_what_cannot_be_locked_keeps_nobody_from_starting(tmp_path):
    alone.hold(str(tmp_path / "missing"))


PROGRAM = """
import subprocess, sys, time
from entrypoint import alone
alone.hold({data!r})
print(subprocess.Popen(["sleep", "60"], {more}).pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("server", [False, True], ids=["program", "server"])
def test_it_is_held_until_the_last_process_of_the_server_ends(tmp_path, server):
    """And by no other program. The kernel closes the files of a container's PID 1 before its other processes end."""
    program = PROGRAM.format(data=str(tmp_path), more="pass_fds=alone.inherited()" if server else "")
    environment = {**os.environ, "PYTHONPATH": str(Path(alone.__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as first:
        assert first.stdout
        child = int(first.stdout.readline())
        with pytest.raises(StartError):
            alone.hold(str(tmp_path), patience=0)
        first.kill()
    if server:
        with pytest.raises(StartError):
            alone.hold(str(tmp_path), patience=0)
    else:
        alone.hold(str(tmp_path), patience=5)
    os.kill(child, 9)
    if server:
        alone.hold(str(tmp_path), patience=5)
