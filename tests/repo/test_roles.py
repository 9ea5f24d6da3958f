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

# Defaults that another variable decides. A specification takes a literal of the option's type only, so for what is no string
# it says nothing, and the description names both; what the option ends up as is validated all the same.
COMPUTED = {"pg_node_port": "pgops_port", "pg_node_purge": "pgops_purge", "pg_cluster_purge": "pgops_purge"}


def load(path: Path) -> t.Any:
    return yaml.safe_load(path.read_text())


def test_there_are_roles() -> None:
    assert {"pg_image", "pg_node"} <= set(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_defaults_equal_specs(root: Path, role: str) -> None:
    defaults = load(root / "roles" / role / "defaults" / "main.yml") or {}
    specs = load(root / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    spec_defaults = {name: option.get("default") for entry in specs.values() for name, option in entry["options"].items()}
    literal = {name: value for name, value in defaults.items() if name not in COMPUTED}
    assert set(literal) == {name for name, value in spec_defaults.items() if value is not None}
    different = {name: (literal[name], spec_defaults[name]) for name in literal if literal[name] != spec_defaults[name]}
    assert not different


def test_computed_defaults_are_described(root: Path) -> None:
    for name, source in COMPUTED.items():
        role = "_".join(name.split("_")[:2])
        defaults = load(root / "roles" / role / "defaults/main.yml")
        options = load(root / "roles" / role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
        fallback = str(defaults[name]).split(f"{{{{ {source} | default(")[1].split(")")[0]
        assert options[name]["type"] in ("int", "bool"), name
        assert f"C({source})" in options[name]["description"], name
        assert f"or else {fallback}" in options[name]["description"].replace("V(false)", "false"), name


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
