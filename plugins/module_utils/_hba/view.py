# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Rows as the server's views show them: columns, values and nulls of ``pg_hba_file_rules`` for each major.

Source: ``fill_hba_line`` in PostgreSQL's ``src/backend/utils/adt/hbafuncs.c``, checked against running servers.
"""

from __future__ import annotations

import typing as t

from .model import LineError, Row, Rule, Server

Value = t.Union[str, int, t.List[str], None]
ViewRow = t.Dict[str, Value]

_FILE_COLUMNS_SINCE = 16

HBA_COLUMNS = ("line_number", "type", "database", "user_name", "address", "netmask", "auth_method", "options", "error")
IDENT_COLUMNS = ("line_number", "map_name", "sys_name", "pg_username", "error")
IDENT_VIEW_SINCE = 15


def hba_columns(server: Server) -> tuple[str, ...]:
    """Columns of ``pg_hba_file_rules``, in the view's order."""
    return ("rule_number", "file_name", *HBA_COLUMNS) if server.major >= _FILE_COLUMNS_SINCE else HBA_COLUMNS


def ident_columns(server: Server) -> tuple[str, ...]:
    """Columns of ``pg_ident_file_mappings`` (15 and later), in the view's order."""
    return ("map_number", "file_name", *IDENT_COLUMNS) if server.major >= _FILE_COLUMNS_SINCE else IDENT_COLUMNS


def hba_rows(rows: t.Iterable[Row], server: Server) -> list[ViewRow]:
    """Rows of a ruleset as ``pg_hba_file_rules`` shows them, each with exactly the columns of the major."""
    return [hba_row(row, server) for row in rows]


def hba_row(row: Row, server: Server) -> ViewRow:
    """One row."""
    shown: ViewRow = dict.fromkeys(hba_columns(server))
    if server.major >= _FILE_COLUMNS_SINCE:
        shown["rule_number"] = row.number
        shown["file_name"] = row.file
    shown["line_number"] = row.line
    if isinstance(row, LineError):
        shown["error"] = row.message if row.shown else row.view_error
        return shown
    _fill(shown, row)
    return shown


def _fill(shown: ViewRow, rule: Rule) -> None:
    shown["type"] = rule.type
    shown["database"] = [token.text for token in rule.databases]
    shown["user_name"] = [token.text for token in rule.users]
    if rule.address is not None:
        shown["address"] = rule.address.text
        shown["netmask"] = rule.address.netmask
    shown["auth_method"] = rule.method
    if rule.options:
        shown["options"] = [f"{name}={value}" for name, value in rule.options]
    shown["error"] = rule.warning
