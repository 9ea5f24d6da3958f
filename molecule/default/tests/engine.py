# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the tests talk to the engine that the scenario's create step found; it left a note of it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

NOTE = json.loads((Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "engine.json").read_text())
NAME: str = NOTE["engine"]["engine"]
CLI: str = NOTE["engine"]["cli"]
NETWORK: str = NOTE["network"]
CLIENT = f"{NETWORK}-client"
# Testinfra's own backend starts the engine's command by its name, with this process's environment and search path.
os.environ.update(NOTE["engine"].get("env") or {})
os.environ["PATH"] = f"{Path(CLI).parent}{os.pathsep}{os.environ['PATH']}"


def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the engine's command; an answer other than success is an error of the test."""
    return subprocess.run([CLI, *arguments], check=True, capture_output=True, text=True, timeout=120)


def addresses(name: str) -> dict[str, str]:
    """IPv4 and IPv6 address of a container on the scenario's network."""
    networks = json.loads(ask("inspect", name).stdout)[0]["NetworkSettings"]["Networks"]
    found = {"ipv4": networks[NETWORK]["IPAddress"], "ipv6": networks[NETWORK]["GlobalIPv6Address"]}
    assert all(found.values()), f"{name} lacks an address on {NETWORK}: {found}"
    return found


def published(name: str) -> dict[str, str]:
    """The addresses at which this host reaches a published port.

    Podman publishes IPv6 by address translation alone, which the kernel does not do for ::1.
    """
    gateway = json.loads(ask("inspect", name).stdout)[0]["NetworkSettings"]["Networks"][NETWORK]["IPv6Gateway"]
    return {"ipv4": "127.0.0.1", "ipv6": "::1" if NAME == "docker" else gateway}


def state(name: str) -> dict[str, object]:
    """The engine's own record of a container's state."""
    return dict(json.loads(ask("inspect", name).stdout)[0]["State"])
