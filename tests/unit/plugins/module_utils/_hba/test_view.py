# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Columns and nulls of the views."""

from __future__ import annotations

from ansible_collections.pgops.access.plugins.module_utils._hba.model import Server
from ansible_collections.pgops.access.plugins.module_utils._hba.ruleset import parse_text
from ansible_collections.pgops.access.plugins.module_utils._hba.view import hba_columns, hba_rows, ident_columns

OLD = ("line_number", "type", "database", "user_name", "address", "netmask", "auth_method", "options", "error")


def test_columns() -> None:
    assert hba_columns(Server(12)) == hba_columns(Server(15)) == OLD
    assert hba_columns(Server(16)) == hba_columns(Server(18)) == ("rule_number", "file_name", *OLD)
    assert ident_columns(Server(15)) == ("line_number", "map_name", "sys_name", "pg_username", "error")
    assert ident_columns(Server(16))[:2] == ("map_number", "file_name")


def test_rows() -> None:
    raw = b'# c\nhostssl a,"a" +g 10.1.2.3/8 cert map=m\nlocal a a\nhostssl a a all trust clientcert=zz\nlocal a a trust\n'
    server = Server(18)
    rule, error, silent, last = hba_rows(parse_text(raw, server, "/x/pg_hba.conf").rows, server)
    assert rule == {
        "rule_number": 1,
        "file_name": "/x/pg_hba.conf",
        "line_number": 2,
        "type": "hostssl",
        "database": ["a", "a"],
        "user_name": ["+g"],
        "address": "10.1.2.3",
        "netmask": "255.0.0.0",
        "auth_method": "cert",
        "options": ["map=m", "clientcert=verify-full"],
        "error": None,
    }
    nothing = dict.fromkeys(hba_columns(server))
    assert error == {**nothing, "file_name": "/x/pg_hba.conf", "line_number": 3, "error": "end-of-line before authentication method"}
    assert silent == {**nothing, "file_name": "/x/pg_hba.conf", "line_number": 4, "rule_number": 2}
    assert (last["rule_number"], last["options"]) == (3, None)
