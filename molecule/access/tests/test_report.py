# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on servers that have been used: what the page says of rules, their use, and maps. After test_policy, on what it leaves."""

from __future__ import annotations

import re
from pathlib import Path

from conftest import Policy, Server, play


def test_the_page_knows_the_rules_and_their_use(changed: Policy, tmp_path: Path) -> None:
    assert Server("debian").connect("stranger", "reader") == "reader from 172.30.244.11"
    before = [Server(name).rules() for name in ("image", "debian")]
    changed["expect"] = [{"user": "app", "database": "orders", "address": "172.30.244.10", "expect": "allowed"}]
    done = play(changed, "--extra-vars", f"pg_access_report_path={tmp_path}/page.html", playbook="report")
    assert done.returncode == 0, done.stdout
    assert f"It is {tmp_path}/page.html" in done.stdout
    page = (tmp_path / "page.html").read_text()
    image, debian = page.split('<h2 id="server-')[1:]
    row = re.search(r"<tr>\n<td data-label=\"Line\">\d+</td>\n<td data-label=\"Who\">\+readers</td>.*?</tr>", debian, re.DOTALL)
    assert row is not None
    assert re.search(r'data-label="Used">[1-9][0-9]*<br><small>last [^<]* by reader', row[0]), row[0]
    assert "No logs were given" in image
    for part in (image, debian):
        assert "172.30.244.0/24" in part
        assert "allowed - not met" in part
    assert [Server(name).rules() for name in ("image", "debian")] == before
