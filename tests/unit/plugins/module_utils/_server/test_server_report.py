# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results and tables: aligned, on one line, and without anything that a stranger could do to a terminal."""

from __future__ import annotations

from ansible_collections.pgops.access.plugins.module_utils._server import report
from ansible_collections.pgops.access.plugins.module_utils._server.access_check import Check, Client
from ansible_collections.pgops.access.plugins.module_utils._server.conversation import Evidence, Login
from ansible_collections.pgops.access.plugins.module_utils._server.wire import ServerMessage

SECRET = "do-not-show-me"


def checked(**more: object) -> Check:
    client = Client(user="app", host="::1", database="orders", password=SECRET, expect="allowed", address="::1", transport="tls")
    evidence = Evidence(error=ServerMessage("FATAL", "28000", "no \x1b[31mentry\r\nat all"), total_ms=12.4)
    return Check(client, evidence, "no_entry", met=False, other_transport=("tcp", "asked"), notes=["a\tnote"], **more)  # type: ignore[arg-type]


def test_no_password_in_anything_that_is_shown() -> None:
    one = checked()
    shown = repr(one) + repr(report.as_data(one)) + report.mismatch(one) + repr(report.table([one])) + repr(Login("u", password=SECRET))
    assert SECRET not in shown


def test_a_message_cannot_move_the_cursor() -> None:
    assert report.message(checked()) == "no ?[31mentry? at all"
    assert len(report.visible("x" * 10_000)) == report.MAX_MESSAGE


def test_a_mismatch_has_three_parts() -> None:
    sentence = report.mismatch(checked())
    assert sentence.startswith("app@orders from ::1 over tls to [::1]:5432: expected allowed, got no_entry (no rule of pg_hba.conf is")
    assert "; the server said [28000]: no ?[31mentry? at all; over tcp it is asked; a note; next: add a rule" in sentence
    assert "\n" not in sentence


def test_the_table_is_aligned() -> None:
    wide = Check(Client(user="u" * 30, host="/run/postgresql", transport="local"), Evidence(transport="local"), "asked", methods=("md5",))
    heading, first, second = report.table([checked(), wide])
    for word, cells in (("OVER", ("tls", "local")), ("OUTCOME", ("no_entry", "asked")), ("EXPECTED", ("allowed NO", "-"))):
        column = heading.index(word)
        assert (first[column:].startswith(cells[0]), second[column:].startswith(cells[1])) == (True, True)
    assert report.table([]) == ["  ".join(report.HEADINGS)]


def test_what_a_client_is_called() -> None:
    assert Client(user="app", host="h", database="orders").label == "app@orders"
    assert Client(user="app", host="h").label == "app@app"
    assert Client(user="app", host="h", replication=True).label == "app@[replication]"
    assert Client(user="app", host="h", name="the shop").label == "the shop"


def test_summary() -> None:
    assert report.summary([checked(), checked()]) == {"no_entry": 2}
