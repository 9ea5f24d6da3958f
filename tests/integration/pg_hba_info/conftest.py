# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers and the module as Ansible runs it on a target: a process that reads its parameters and prints its result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from differential import fetch  # noqa: E402
from differential.servers import Server  # noqa: E402

MAJORS = [int(major) for major in os.environ.get("PGOPS_MAJORS", "13,15,16,18").split(",")]
MODULE = "ansible_collections.pgops.access.plugins.modules.pg_hba_info"
QUIET = ("SSH_CONNECTION", "JOURNAL_STREAM")


def run(arguments: dict[str, t.Any], *, module: str = MODULE, check: bool = False, diff: bool = True) -> dict[str, t.Any]:
    """One run of a module; its result, with ``rc`` where it failed."""
    common = {"_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_no_log": False}
    given = json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, **common}})
    program = (
        "import sys, runpy\n"
        "from ansible.module_utils import basic\n"
        "basic._ANSIBLE_ARGS = sys.stdin.buffer.read()\n"
        "if hasattr(basic, '_ANSIBLE_PROFILE'): basic._ANSIBLE_PROFILE = 'legacy'\n"
        f"runpy.run_module({module!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], input=given, capture_output=True, text=True, timeout=120, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stdout + done.stderr
    return t.cast("dict[str, t.Any]", json.loads(lines[-1]))


@pytest.fixture(scope="session", params=MAJORS)
def server(request: pytest.FixtureRequest) -> t.Iterator[Server]:
    """A server of each major."""
    one = Server(request.param)
    try:
        one.start()
    except fetch.Unavailable as reason:
        pytest.skip(str(reason))
    try:
        yield one
    finally:
        one.stop()


def reach(server: Server, **more: t.Any) -> dict[str, t.Any]:
    """Options that lead to the server's socket."""
    return {"login_unix_socket": str(server.sockets), "login_port": server.port, "login_user": "postgres", **more}
