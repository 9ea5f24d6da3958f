# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every recorded answer of real servers: view rows and load verdict, for each server that gave it.

``hba_cases.json`` was recorded with servers 12 to 18, two builds of them, some old minors, and 19's release candidate;
``hba_edge_cases.json`` with the newest minors of 12 to 18 and Debian's 15.18.
"""

from __future__ import annotations

import base64
import errno
import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba.model import ALL_FEATURES, Server
from ansible_collections.pgops.access.plugins.module_utils._hba.reader import DictReader
from ansible_collections.pgops.access.plugins.module_utils._hba.ruleset import load
from ansible_collections.pgops.access.plugins.module_utils._hba.view import hba_rows

DATA = Path(__file__).resolve().parents[4] / "differential" / "data"
FOLDER = "/srv/postgresql/data"
VALIDATORS = ("myval",)
"""The recording servers' oauth_validator_libraries."""


def _cases() -> list[dict[str, t.Any]]:
    found = [case for name in ("hba_cases.json", "hba_edge_cases.json") for case in json.loads((DATA / name).read_text())]
    return [case for case in found if case["kind"] == "hba"]


CASES = _cases()


def _bytes(value: str | dict[str, str]) -> bytes:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value.encode()


def _reader(case: dict[str, t.Any]) -> DictReader:
    files: dict[str, bytes | OSError | int | None] = {f"{FOLDER}/pg_hba.conf": _bytes(case["file_text"]), f"{FOLDER}/base/1/x": b""}
    for name, content in case.get("extra_files", {}).items():
        files[name if name.startswith("/") else f"{FOLDER}/{name}"] = _bytes(content)
    for name in case.get("chmod", {}):
        files[f"{FOLDER}/{name}"] = errno.EACCES
    broken = []
    for name, target in case.get("symlinks", {}).items():
        if target == "nowhere":
            broken.append(f"{FOLDER}/{name}")
        else:
            files[f"{FOLDER}/{name}"] = None  # the only other link leads to a directory
    return DictReader(files, broken)


def _server(name: str, ssl: bool) -> Server:
    """From ``min 13.23`` (built with OpenSSL only), ``full 15.18`` (Debian's build) or ``full 19rc1``."""
    build, version = name.split()
    major, _unused, minor = version.replace("rc", ".").partition(".")
    features = ALL_FEATURES if build == "full" else frozenset({"ssl"})
    return Server(
        int(major), ssl=ssl, features=features, oauth_validator_libraries=VALIDATORS, minor=None if "rc" in version else int(minor)
    )


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_same_rows_and_verdict(case: dict[str, t.Any]) -> None:
    reader = _reader(case)
    for outcome in case["outcomes"]:
        for name in outcome["servers"]:
            server = _server(name, case["ssl"] == "on")
            rules = load(f"{FOLDER}/pg_hba.conf", reader, server)
            rows = json.loads(json.dumps(hba_rows(rules.rows, server)).replace(FOLDER, "$PGDATA"))
            assert rows == outcome["rows_or_error"], name
            assert rules.loads == outcome["reload_ok"], name


def test_enough_was_asked() -> None:
    answers = sum(len(outcome["servers"]) for case in CASES for outcome in case["outcomes"])
    assert answers >= 4500
    assert {name.split()[1].split(".")[0] for case in CASES for outcome in case["outcomes"] for name in outcome["servers"]} >= {
        str(major) for major in range(12, 19)
    }
