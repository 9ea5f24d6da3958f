# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Known vulnerabilities that are fixed already: packages that are older here than in Debian's security archive.

``fixed.py STATUS PACKAGES…``: dpkg's records, and lists of packages of security archives. Each package that is installed in a lower
version than such a list has is one line, and the exit status is 1. Debian publishes a fix there and nowhere else, so a package that
is as new as the list has every fix that exists. What has no fix yet is no finding: nobody could act on it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import typing as t
from pathlib import Path

_FIELD = re.compile(r"^(Package|Version|Architecture|Status|Source): (.*)$", re.MULTILINE)


def records(text: str) -> t.Iterator[dict[str, str]]:
    """The records of a control file."""
    for block in text.split("\n\n"):
        found = dict(_FIELD.findall(block))
        if "Package" in found and "Version" in found:
            yield found


def older(one: str, other: str) -> bool:
    """Whether a version is lower than another, by dpkg's own order."""
    return subprocess.run(["dpkg", "--compare-versions", one, "lt", other], check=False).returncode == 0  # noqa: S603, S607


def findings(status: str, lists: t.Iterable[str]) -> list[tuple[str, str, str]]:
    """Package, version here, version with the fix."""
    here = {record["Package"]: record["Version"] for record in records(status) if record.get("Status", "").endswith(" installed")}
    fixed: dict[str, str] = {}
    for text in lists:
        for record in records(text):
            name, version = record["Package"], record["Version"]
            if name in here and (name not in fixed or older(fixed[name], version)):
                fixed[name] = version
    return [(name, here[name], version) for name, version in sorted(fixed.items()) if here[name] != version and older(here[name], version)]


def main(arguments: list[str]) -> int:
    """Print the findings."""
    found = findings(Path(arguments[0]).read_text(encoding="utf-8"), [Path(name).read_text(encoding="utf-8") for name in arguments[1:]])
    for name, here, fixed in found:
        print(f"{name} {here} has known vulnerabilities that {fixed} fixes")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
