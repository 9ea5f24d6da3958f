# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cases: a file, its companions and settings, and what real servers of each major answered when they were recorded."""

from __future__ import annotations

import base64
import json
import typing as t
from pathlib import Path

DATA = Path(__file__).with_name("data")
FOUND = DATA / "found"


class Outcome(t.NamedTuple):
    """A recorded answer, shared by the servers that gave it."""

    servers: tuple[str, ...]
    rows: list[dict[str, t.Any]] | None
    loads: bool


class Case(t.NamedTuple):
    """One input. Names of companion files are relative to the data folder unless absolute."""

    name: str
    kind: str
    """``hba`` or ``ident``."""
    text: bytes
    ssl: bool = True
    files: dict[str, bytes] = {}  # noqa: RUF012 (never written to)
    chmod: dict[str, int] = {}  # noqa: RUF012
    symlinks: dict[str, str] = {}  # noqa: RUF012
    settings: dict[str, str] = {}  # noqa: RUF012
    outcomes: tuple[Outcome, ...] = ()

    def recorded(self, server: str) -> Outcome | None:
        """The outcome of ``min 18.4``, ``full 15.18``, …; majors decide, the minors that were recorded are the newest."""
        return next((outcome for outcome in self.outcomes if server in outcome.servers), None)


def to_json(case: Case) -> dict[str, t.Any]:
    """A case as it is kept: bytes as UTF-8 text where they are text, else in base64."""
    record: dict[str, t.Any] = {"name": case.name, "kind": case.kind, "ssl": "on" if case.ssl else "off"}
    record.update(_text("file_text", case.text))
    if case.files:
        record["extra_files"] = {name: _one(content) for name, content in case.files.items()}
    if case.chmod:
        record["chmod"] = {name: oct(mode) for name, mode in case.chmod.items()}
    if case.symlinks:
        record["symlinks"] = case.symlinks
    if case.settings:
        record["settings"] = case.settings
    return record


def _text(name: str, content: bytes) -> dict[str, t.Any]:
    return {name: _one(content)}


def _one(content: bytes) -> str | dict[str, str]:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _bytes(value: str | dict[str, str], latin1: bool = False) -> bytes:
    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    return value.encode("latin-1" if latin1 else "utf-8")


def from_json(record: dict[str, t.Any]) -> Case:
    """A case from the form of the recorded corpus, or of :func:`to_json`."""
    latin1 = bool(record.get("file_text_is_latin1"))
    return Case(
        name=record["name"],
        kind=record["kind"],
        text=_bytes(record["file_text"], latin1),
        ssl=record.get("ssl", "on") == "on",
        files={name: _bytes(content) for name, content in record.get("extra_files", {}).items()},
        chmod={name: int(mode, 8) for name, mode in record.get("chmod", {}).items()},
        symlinks=record.get("symlinks", {}),
        settings=record.get("settings", {}),
        outcomes=tuple(Outcome(tuple(o["servers"]), o["rows_or_error"], o["reload_ok"]) for o in record.get("outcomes", [])),
    )


def recorded_cases() -> list[Case]:
    """The corpus of recorded answers; those for switches come last, so that a server changes its settings rarely."""
    cases = [from_json(record) for record in json.loads((DATA / "hba_cases.json").read_text())]
    return sorted(cases, key=lambda case: not case.ssl)


def found_cases() -> list[Case]:
    """What random runs found and shrank, kept for ever."""
    return [from_json(json.loads(path.read_text())) for path in sorted(FOUND.glob("*.json"))]


def keep(case: Case) -> Path:
    """Write a case to where :func:`found_cases` finds it."""
    FOUND.mkdir(parents=True, exist_ok=True)
    path = FOUND / f"{case.name}.json"
    path.write_text(json.dumps(to_json(case), indent=1, ensure_ascii=True) + "\n")
    return path


def match_cases() -> dict[str, t.Any]:
    """Recorded connection attempts: ``setup_sql``, ``databases``, ``cases``."""
    found: dict[str, t.Any] = json.loads((DATA / "hba_match_cases.json").read_text())
    return found
