# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles: argument specs and defaults say the same, by value; every entry point has a spec; READMEs list every option."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml

ROLES = sorted(p.name for p in (Path(__file__).resolve().parents[2] / "roles").iterdir() if p.is_dir())


def load(path: Path) -> t.Any:
    return yaml.safe_load(path.read_text())


def test_there_are_roles() -> None:
    assert {"pg_image", "pg_node"} <= set(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_defaults_equal_specs(root: Path, role: str) -> None:
    defaults = load(root / "roles" / role / "defaults" / "main.yml") or {}
    specs = load(root / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    spec_defaults = {name: option.get("default") for entry in specs.values() for name, option in entry["options"].items()}
    assert set(defaults) == {name for name, value in spec_defaults.items() if value is not None}
    different = {name: (defaults[name], spec_defaults[name]) for name in defaults if defaults[name] != spec_defaults[name]}
    assert not different


@pytest.mark.parametrize("role", ROLES)
def test_every_option_is_described_and_prefixed(root: Path, role: str) -> None:
    specs = load(root / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    for entry, spec in specs.items():
        assert spec["short_description"], entry
        for name, option in spec["options"].items():
            assert name.startswith(f"{role}_"), name
            assert option["description"], name
            assert option["type"], name


@pytest.mark.parametrize("role", ROLES)
def test_readme_lists_every_option(root: Path, role: str) -> None:
    specs = load(root / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    readme = (root / "roles" / role / "README.md").read_text()
    missing = [name for spec in specs.values() for name in spec["options"] if f"`{name}`" not in readme]
    assert not missing


@pytest.mark.parametrize("role", ROLES)
def test_main_tasks_are_a_table_of_contents(root: Path, role: str) -> None:
    assert len((root / "roles" / role / "tasks" / "main.yml").read_text().splitlines()) <= 60
