# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""The option ``patroni``. Apart, because modules that manage files too need the specification and nothing else of a cluster."""

from __future__ import annotations

import typing as t


def option(required: bool = False) -> dict[str, t.Any]:
    """Its specification; the text that belongs to it is in plugins/doc_fragments/patroni.py."""
    return {
        "type": "dict",
        "required": required,
        "options": {
            "urls": {"type": "list", "elements": "str", "required": True},
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "ca_cert": {"type": "path"},
            "client_cert": {"type": "path"},
            "client_key": {"type": "path"},
            "validate_certs": {"type": "bool", "default": True},
            "timeout": {"type": "float", "default": 15.0},
            "wait": {"type": "float", "default": 60.0},
            "unreachable": {"type": "str", "default": "refuse", "choices": ["refuse", "report"]},
            "addresses": {"type": "dict", "default": {}},
            "superuser": {"type": "str"},
            "replication_user": {"type": "str"},
            "rewind_user": {"type": "str"},
        },
        "required_by": {"password": ("username",), "client_key": ("client_cert",)},
    }
