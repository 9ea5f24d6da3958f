#!/usr/bin/env python3
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what is generated: the option tables of the roles' READMEs and the module pages under docs/modules.

``tools/docs.py`` writes; ``tools/docs.py --check`` only says which file differs and exits 1. tests/repo runs the check.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import typing as t
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- BEGIN generated options -->", "<!-- END generated options -->"


def plain(text: str | list[str]) -> str:
    """Ansible's semantic markup as Markdown, on one line that fits a table cell."""
    line = " ".join([text] if isinstance(text, str) else text)
    line = re.sub(r"\b[OVCE]\((?:[a-z_]+--)?((?:[^()]|\([^()]*\))*)\)", r"`\1`", line)
    line = re.sub(r"\b(?:P|M)\(([^#)]*)(?:#\w+)?\)", r"`\1`", line)
    return re.sub(r"\s+", " ", line).replace("|", "\\|").strip()


def shown(value: t.Any) -> str:
    if value in ("", None):
        return ""
    if isinstance(value, (list, dict)):
        return f"`{value}`" if value else ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def option_table(options: dict[str, t.Any]) -> list[str]:
    """A Markdown table of options, sub-options indented by their path."""
    rows = ["| option | type | default | meaning |", "|---|---|---|---|"]

    def add(prefix: str, group: dict[str, t.Any]) -> None:
        for name, option in group.items():
            kind = option.get("type", "str") + (f" of {option['elements']}" if "elements" in option else "")
            meaning = plain(option["description"])
            if "choices" in option:
                meaning += " One of " + ", ".join(f"`{c}`" for c in option["choices"]) + "."
            need = "**required**" if option.get("required") else shown(option.get("default")).replace("|", "\\|")
            rows.append(f"| `{prefix}{name}` | {kind} | {need} | {meaning} |")
            add(f"{prefix}{name}.", option.get("options") or option.get("suboptions") or {})

    add("", options)
    return rows


def role_section(role: Path) -> str:
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    parts: list[str] = []
    for entry, spec in specs.items():
        parts += [f"## Entry point `{entry}`", "", f"{plain(spec['short_description'])}.", ""]
        described = spec.get("description", [])
        parts += [f"- {plain(line)}" for line in ([described] if isinstance(described, str) else described)] + [""]
        # A YAML alias loads as the very same object.
        same = next((name for name, other in specs.items() if name != entry and other.get("options") is spec.get("options")), "")
        if same and same in list(specs)[: list(specs).index(entry)]:
            parts += [f"The options are those of entry point `{same}`.", ""]
        else:
            parts += [*option_table(spec.get("options", {})), ""]
    return "\n".join(parts)


def role_readme(role: Path) -> str:
    readme = role / "README.md"
    text = readme.read_text() if readme.exists() else f"# Role `pgops.access.{role.name}`\n\n{BEGIN}\n{END}\n"
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n{role_section(role)}{END}{rest.split(END)[1]}"


def module_constant(path: Path, name: str) -> t.Any:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return yaml.safe_load(ast.literal_eval(node.value))
    raise SystemExit(f"{path}: no {name}")


def module_page(path: Path) -> str:
    documentation = module_constant(path, "DOCUMENTATION")
    options: dict[str, t.Any] = dict(documentation.get("options") or {})
    for fragment in documentation.get("extends_documentation_fragment") or []:
        for name, option in fragment_options(fragment).items():
            options[name] = {**option, **options.get(name, {})}  # as Ansible merges them: what the module says itself counts
    parts = [f"# Module `pgops.access.{path.stem}`", "", f"{plain(documentation['short_description'])}.", ""]
    parts += [f"- {plain(line)}" for line in documentation["description"]]
    parts += ["", "## Options", "", *option_table(options), "", "## Examples", "", "```yaml"]
    parts += [example_text(path), "```", "", "## Return values", "", *return_table(module_constant(path, "RETURN")), ""]
    return "\n".join(parts)


def fragment_options(name: str) -> dict[str, t.Any]:
    if not name.startswith("pgops.access."):
        return {}
    stem, _, part = name.removeprefix("pgops.access.").partition(".")
    tree = ast.parse((ROOT / "plugins" / "doc_fragments" / f"{stem}.py").read_text())
    wanted = part.upper() or "DOCUMENTATION"
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == wanted:
            return (yaml.safe_load(ast.literal_eval(node.value)) or {}).get("options") or {}
    raise SystemExit(f"doc fragment {name}: no {wanted}")


def example_text(path: Path) -> str:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXAMPLES":
            return str(ast.literal_eval(node.value)).strip()
    raise SystemExit(f"{path}: no EXAMPLES")


def return_table(values: dict[str, t.Any]) -> list[str]:
    rows = ["| value | type | returned | meaning |", "|---|---|---|---|"]

    def add(prefix: str, group: dict[str, t.Any]) -> None:
        for name, value in group.items():
            rows.append(f"| `{prefix}{name}` | {value.get('type', '')} | {value.get('returned', '')} | {plain(value['description'])} |")
            add(f"{prefix}{name}.", value.get("contains") or {})

    add("", values)
    return rows


def generated() -> dict[Path, str]:
    pages = {role / "README.md": role_readme(role) for role in sorted((ROOT / "roles").iterdir()) if role.is_dir()}
    for module in sorted((ROOT / "plugins" / "modules").glob("[a-z]*.py")):
        pages[ROOT / "docs" / "modules" / f"{module.stem}.md"] = module_page(module)
    return pages


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file differs")
    check = parser.parse_args().check
    stale = {path: text for path, text in generated().items() if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        print(f"{'differs' if check else 'wrote'}: {path.relative_to(ROOT)}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
