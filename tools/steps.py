# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How one step of tools/stages.py is run: its output goes to a log, the screen shows signs of life, summaries, and the end of a failure."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import IO

from house import VENV, Stop, ansible_env, say, shown
from stages import Step

HEARTBEAT = 15
TAIL = 60
SUMMARY = re.compile(r"^=+ .*\b\d+ (passed|failed|error|errors|skipped)\b.* =+$")
ERROR = re.compile(r"^(ERROR|FATAL|FAILED|E   )")
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\x1b\]8;[^\x1b]*\x1b\\")
# Programs that Debian has, for platforms on which the pinned wheels do not carry them.
DEBIAN = {"shellcheck": "shellcheck"}
# Process groups under way, of all steps that run side by side.
RUNNING: set[int] = set()


def provide(program: str, env: dict[str, str]) -> None:
    """Make sure that a step's program is there: from the environment, or from Debian when we are root; else say what to do."""
    if shutil.which(program, path=env["PATH"]):
        return
    package = DEBIAN.get(program)
    command = f"apt-get update && apt-get install -y --no-install-recommends {package}"
    if package is None:
        raise Stop(f"{program} is not in {shown(VENV)}. Run: tools/bootstrap dev")
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Stop(f"{program} is needed. Run: sudo sh -c '{command}'")
    say(f"  installing {package} with apt-get (we are root)")
    subprocess.run(["sh", "-c", command], env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"), stdout=subprocess.DEVNULL, check=True)


def watch(process: subprocess.Popen[bytes], log: IO[bytes], title: str, limit: int) -> tuple[list[str], bool]:
    """Copy a process's output to the log as it comes; return its lines, and whether it was stopped for taking longer than `limit`."""
    began = told = time.monotonic()
    lines, partial = [""], b""
    stream = process.stdout
    while stream is not None:
        ready, _, _ = select.select([stream], [], [], 1.0)
        if ready:
            chunk = os.read(stream.fileno(), 65536)
            if not chunk:
                break
            log.write(chunk)
            log.flush()
            *complete, partial = (partial + chunk).split(b"\n")
            for raw in complete:
                line = COLOUR.sub("", raw.decode(errors="replace")).rstrip()
                lines.append(line)
                if SUMMARY.match(line):
                    say(f"  {title}: {line}")
        now = time.monotonic()
        if now - began > limit:
            os.killpg(process.pid, signal.SIGTERM)
            return lines, True
        if now - told >= HEARTBEAT:
            told = now
            current = COLOUR.sub("", partial.decode(errors="replace")).strip() or next((one for one in reversed(lines) if one.strip()), "")
            say(f"  {title} {now - began:4.0f} s  {current.strip()[:100]}")
    lines.append(partial.decode(errors="replace"))
    return lines, False


def run_step(step: Step, log: IO[bytes]) -> bool:
    """Run one step; return whether it passed."""
    began = time.monotonic()
    try:
        command = step.command if isinstance(step.command, list) else step.command()
        if not command:
            raise Stop("there is nothing to check, which is no success: the tests of this step are missing")
        env = {**ansible_env(), **step.env}
        provide(command[0], env)
        log.write(f"\n$ {' '.join(command)}\n".encode())
        log.flush()
        program = shutil.which(command[0], path=env["PATH"]) or command[0]
        process = subprocess.Popen(
            [program, *command[1:]],
            cwd=step.cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        RUNNING.add(process.pid)
        try:
            lines, too_long = watch(process, log, step.title, step.limit)
            code = process.wait(timeout=60)
        finally:
            RUNNING.discard(process.pid)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
    except (Stop, OSError, subprocess.SubprocessError) as problem:
        say(f"  {step.title}: FAILED: {problem}")
        return False
    took = time.monotonic() - began
    nothing = bool(step.empty) and any(step.empty in line for line in lines)
    if code == 0 and not too_long and not nothing:
        say(f"  {step.title}: ok ({took:.1f} s)")
        return True
    earlier = [line for line in lines[:-TAIL] if ERROR.match(line)]
    say("\n".join("  | " + line for line in earlier[:TAIL] + lines[-TAIL:]))
    why = f"stopped after {step.limit} s" if too_long else "nothing was checked" if nothing else f"exit code {code}"
    say(f"  {step.title}: FAILED ({why}; {took:.1f} s); all of it: {shown(Path(log.name))}")
    return False


def stop_all() -> None:
    """End what still runs; each step is a process group of its own."""
    for pid in list(RUNNING):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGTERM)
