# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role pg_image as its users run it: ansible-playbook, a real engine, and the engine's own answers. No mocks of an engine.

Only the choice among clients is tried with programs made for the test, since no machine has every kind of broken Docker.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FILES = ROOT / "roles" / "pg_image" / "files"


@dataclass(frozen=True)
class Run:
    """What one ansible-playbook said."""

    code: int
    output: str

    @property
    def changed(self) -> int:
        """Changed tasks, from the recap."""
        return int(self.output.rsplit("changed=", 1)[1].split()[0])


class Role:
    """Runs the role on this host, with a state directory and a context of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.playbook = folder / "play.yml"
        self.playbook.write_text("- hosts: localhost\n  gather_facts: false\n  roles: [pgops.access.pg_image]\n", encoding="utf-8")

    def __call__(self, *options: str, env: dict[str, str] | None = None, **variables: t.Any) -> Run:
        wanted = {"pg_image_state_dir": str(self.state), **variables}
        command = ["ansible-playbook", str(self.playbook), "--extra-vars", json.dumps(wanted), *options]
        done = subprocess.run(command, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=900, check=False)
        return Run(done.returncode, done.stdout + done.stderr)


@pytest.fixture
def role(tmp_path: Path) -> Role:
    """The role, not yet run."""
    return Role(tmp_path)


@pytest.fixture(scope="session")
def docker() -> str:
    """A Docker client whose daemon answers."""
    client = shutil.which("docker")
    if not client or subprocess.run([client, "info"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no Docker answers on this machine")
    return client


def script(name: str, *arguments: str, env: dict[str, str] | None = None) -> t.Any:
    """Run one of the role's programs and read its JSON."""
    done = subprocess.run([sys.executable, str(FILES / name), *arguments], env=env, capture_output=True, text=True, timeout=120, check=True)
    return json.loads(done.stdout)
