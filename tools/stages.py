# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tools/check runs: the stages in order, each a list of steps. To add a check, add a step here."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import sanity
from house import COLLECTIONS, ROOT, STATE, VENV


@dataclass(frozen=True)
class Step:
    """One command of a stage.

    `command` may be a function, called when the step's turn comes: it can prepare things, and an empty list means that there is
    nothing to check, which fails the step. `limit` is in seconds. `empty` is what the program says when it checked nothing.
    """

    title: str
    command: list[str] | Callable[[], list[str]]
    limit: int = 600
    env: dict[str, str] = field(default_factory=dict)
    cwd: Path = ROOT
    empty: str = ""


def tracked() -> list[str]:
    """Return every file that git knows or would add, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    return [name for name in listed if (ROOT / name).is_file()]


def first_line(name: str) -> str:
    """Return a file's first line; empty when it is no text."""
    with (ROOT / name).open("rb") as file:
        return file.readline(100).decode("ascii", errors="replace")


def programs(words: tuple[str, ...], suffix: str) -> list[str]:
    """Return the tracked files of a language: by suffix, or by the interpreter that their first line names."""
    plain = [name for name in tracked() if "." not in Path(name).name]
    by_shebang = [name for name in plain if (line := first_line(name)).startswith("#!") and line.split("/")[-1].split()[-1] in words]
    return [name for name in tracked() if name.endswith(suffix)] + by_shebang


def python_files() -> list[str]:
    """Return our Python files, those without a suffix as well."""
    return programs(("python", "python3"), ".py")


def pytest(*places: str, options: tuple[str, ...] = ()) -> Callable[[], list[str]]:
    """Run the tests of `places`; a place without tests is an error, not a success."""

    def command() -> list[str]:
        with_tests = [place for place in places if list((ROOT / place).rglob("test_*.py"))]
        return ["python", "-m", "pytest", *options, *with_tests] if len(with_tests) == len(places) else []

    return command


def molecule(scenario: str) -> Step:
    """Run one scenario from creation to destruction."""

    def command() -> list[str]:
        there = (ROOT / "molecule" / scenario / "molecule.yml").is_file()
        return ["molecule", "test", "--scenario-name", scenario, "--no-command-borders"] if there else []

    return Step(f"molecule {scenario}", command, 1800, {"NO_COLOR": "1"})


TOOLS = ["bootstrap", "check", "play", "house.py", "sanity.py", "stages.py", "steps.py"]
PYTHONPATH = {"PYTHONPATH": str(COLLECTIONS)}
# The tests of the image and of the playbooks ask Docker; a Podman that answers must not be taken in its place.
VARIABLES = json.dumps({"pgops_state_dir": str(STATE), "pgops_engine": "docker"})
IMAGE = ["ansible", "localhost", "--module-name", "ansible.builtin.include_role", "--args", "name=pgops.access.pg_image"]

# A run of every day has 150 random files a server; thousands take hours.
DIFFERENTIAL_LIMIT = 1800 if int(os.environ.get("PGOPS_DIFFERENTIAL_N") or 150) < 1000 else 24 * 3600

# Targets that share nothing, two at a time (tests/integration/conftest.py); they wait more than they work.
SIDE_BY_SIDE = ("--numprocesses", "2", "--dist", "loadscope", "--no-loadscope-reorder")
# Tests of the image wait for containers; those of a file share some.
FILES_SIDE_BY_SIDE = ("--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder")

STAGES: dict[str, list[Step]] = {
    "lint": [
        Step("ruff check", lambda: ["ruff", "check", "--no-cache", *python_files()]),
        Step("ruff format", lambda: ["ruff", "format", "--no-cache", "--check", *python_files()]),
        Step("mypy", lambda: ["mypy", "plugins/module_utils"]),
        Step("mypy of the tools", ["mypy", "--scripts-are-modules", *TOOLS], cwd=ROOT / "tools"),
        Step("yamllint", ["yamllint", "--strict", "."]),
        Step("shellcheck", lambda: ["shellcheck", *programs(("sh", "bash", "dash"), ".sh")]),
        Step("hadolint", ["hadolint", "Dockerfile"]),
        Step("ansible-lint", ["ansible-lint", "--offline", "--profile", "production"], env={"NO_COLOR": "1"}),
        Step("changelog", ["antsibull-changelog", "lint"]),
        Step("module documentation", ["antsibull-docs", "lint-collection-docs", ".", "--plugin-docs", "--skip-rstcheck"]),
    ],
    "unit": [Step("unit tests", pytest("tests/unit", options=("--numprocesses", "auto", "--dist", "worksteal")), 300, PYTHONPATH)],
    "repo": [Step("house rules", pytest("tests/repo"), 300, PYTHONPATH)],
    "sanity": [Step("ansible-test sanity", sanity.prepare, 1200, sanity.environment(), sanity.TREE, "All targets skipped")],
    "differential": [Step("against real servers", pytest("tests/differential"), DIFFERENTIAL_LIMIT, PYTHONPATH)],
    "image": [
        Step("the image is built", [*IMAGE, "--extra-vars", VARIABLES], 1200),
        Step("image tests", pytest("tests/image", options=FILES_SIDE_BY_SIDE), 1800, PYTHONPATH),
    ],
    "integration": [Step("integration tests", pytest("tests/integration", options=SIDE_BY_SIDE), 1800, PYTHONPATH)],
    "molecule": [
        molecule("cluster"),
        molecule("default"),
        molecule("access"),
        molecule("scram"),
        molecule("podman"),
        molecule("hardening"),
    ],
    "bench": [Step("measurements", lambda: [str(VENV / "bin" / "python"), "tests/bench/run.py"], 3600, PYTHONPATH)],
}
# `make test` runs all but these.
ON_REQUEST = ("bench",)
# The jobs of a round run side by side, in this order: the image is there before others use it, the long ones begin, and nothing
# heavy runs while time is taken. A stage is one job; of those in APART, which wait for containers, each step is one.
ROUNDS = (("image", "lint", "unit", "repo", "sanity"), ("integration", "molecule", "differential"), ("bench",))
APART = ("molecule",)
