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
from pgops.entrypoint.errors import CANNOT, StartError

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
            alone.hold(str(tmp_path), 0.2)
        other.kill()
    assert refused.value.status == CANNOT
    assert list(tmp_path.iterdir()) == []


def test_a_predecessor_that_is_being_stopped_is_waited_for(tmp_path):
    with holder(tmp_path, 0.3):
        began = time.monotonic()
        alone.hold(str(tmp_path))
        assert time.monotonic() - began < alone.PATIENCE


def test_it_is_held_until_the_process_ends_and_no_program_it_starts_holds_it(tmp_path):
    program = f"""
import os, subprocess, sys, time
from entrypoint import alone
alone.hold({str(tmp_path)!r})
print(subprocess.Popen(["sleep", "60"]).pid, flush=True)
time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(alone.__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as first:
        assert first.stdout
        child = int(first.stdout.readline())
        with pytest.raises(StartError):
            alone.hold(str(tmp_path), 0)
        first.kill()
    alone.hold(str(tmp_path), 2)
    os.kill(child, 9)
