# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as a browser would read it: hostile names stay text, nothing is loaded from anywhere, and it says what is so."""

from __future__ import annotations

import html.parser
import re
import typing as t
from pathlib import Path

import pytest

from .test_bad_input import ROOT, Playbook

TEMPLATE = ROOT / "roles/pg_access/templates/report.html.j2"
EVIL = ['<script>alert(1)</script>', '"><img src=x onerror=alert(2)>', "'-->&lt;b>", "{{ 7 * 191 }}", "{% raw %}"]  # fmt: skip


def quoted(name: str) -> str:
    """A name as a field of the file."""
    return '"' + name.replace('"', '""') + '"'


RULES = "".join(
    [
        "local all postgres peer\n",
        *[f"hostssl {quoted('db of ' + name)} {quoted(name)} 203.0.113.0/24 scram-sha-256\n" for name in EVIL],
        "host all all 0.0.0.0/0 trust\n",
        "host orders app 10.0.0.0 255.0.0.0 md5\n",
        "hostssl all all 2001:db8::/33 cert\n",
    ]
)
ADDRESS = "192.0.2.9"
REFUSAL = f'2026-05-01 10:00:00.000 UTC [77] app@orders FATAL:  no pg_hba.conf entry for host "{ADDRESS}", user "app", database "orders"\n'
VOID = {"meta"}


class Page(html.parser.HTMLParser):
    """Elements, their attributes, and the text of each cell; every element has to be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.cells: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _value in attrs}
        if tag not in VOID and tag != "br":
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open:
            self.cells[-1] += data


@pytest.fixture(scope="module")
def playbook(tmp_path_factory: pytest.TempPathFactory) -> Playbook:
    return Playbook(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(playbook: Playbook) -> Page:
    """Three servers in one page, one of them with a file that would not load, one with a log."""
    path = playbook.folder / "page.html"
    hosts: dict[str, dict[str, t.Any]] = {
        "db1": {"pg_access_report_clients": [{"user": EVIL[0], "database": "x", "address": "192.0.2.1", "expect": "refused"}]},
        "db2": {},
        "db3": {"pg_access_report_logs": [str(playbook.folder / "server.log")]},
    }
    (playbook.folder / "server.log").write_text(REFUSAL)
    found = playbook.run(hosts, rules={"db1": RULES, "db2": "host all all 10.0.0.0/33 md5\n"}, playbook="report",
                         pg_access_report_path=str(path), pg_access_report_title=EVIL[0])  # fmt: skip
    assert not found["db1"].get("failed"), found["db1"]
    assert found["db1"]["msg"] == f"It is {path}"
    read = Page(path.read_text())
    assert not read.open
    return read


def test_every_expression_of_the_template_is_escaped() -> None:
    """`e` is the last filter of each; the one call of a macro has its own inside."""
    expressions = re.findall(r"\{\{-?\s*(.*?)\s*-?\}\}", TEMPLATE.read_text(), re.DOTALL)
    assert len(expressions) > 50
    assert [text for text in expressions if not text.endswith("| e") and not text.startswith("network(")] == []


def test_hostile_names_are_text(page: Page) -> None:
    tables = {"table", "thead", "tbody", "tr", "th", "td"}
    text = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "ul", "li", "a", "code", "small", "span", "br"}
    assert page.elements <= tables | text
    assert page.attributes <= {"lang", "charset", "name", "content", "http-equiv", "id", "class", "href", "data-label"}
    assert not [name for name in EVIL if name not in page.cells or f"db of {name}" not in page.cells]


def test_nothing_is_loaded(playbook: Playbook, page: Page) -> None:
    text = (playbook.folder / "page.html").read_text()
    assert "default-src 'none'" in text
    assert set(re.findall(r'href="([^"]*)"', text)) == {"#server-1", "#server-2", "#server-3"}
    assert "url(" not in text
    assert "@import" not in text
    assert 'name="viewport"' in text


def test_it_says_what_is_so(playbook: Playbook, page: Page) -> None:
    text = (playbook.folder / "page.html").read_text()
    assert {"every IPv4 address", "203.0.113.0/24", "10.0.0.0/8", "2001:db8::/33"} <= set(page.cells)
    assert "trust-network" in text
    dead = re.findall(r'<tr class="dead">\n<td data-label="Line">(\d+)<', text)
    assert dead == [str(len(EVIL) + 3)]
    assert "refused - not met" in page.cells
    assert "The server would not load this file" in text
    assert "10.0.0.0/33" in text


def test_a_log_without_any_use_says_nothing_about_use(playbook: Playbook, page: Page) -> None:
    """A server that does not log connections: its rules are not called unused."""
    part = (playbook.folder / "page.html").read_text().split('<h2 id="server-')[3]
    assert "so nothing is said about use" in part
    assert "1 without a rule" in part
    assert ">never<" not in part
    assert "not logged" in part


def test_the_page_is_private(playbook: Playbook, page: Page) -> None:
    assert Path(playbook.folder / "page.html").stat().st_mode & 0o007 == 0
