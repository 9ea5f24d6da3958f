# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Argument specifications that modules share. The texts that belong to them are in plugins/doc_fragments."""

from __future__ import annotations

import typing as t

from .._server import session

SSL_MODES = ["allow", "disable", "prefer", "require", "verify-ca", "verify-full"]


def connection_options() -> dict[str, dict[str, t.Any]]:
    """How to reach a server: the names that community.postgresql made known, without its deprecated aliases."""
    return {
        "login_host": {"type": "str"},
        "login_port": {"type": "int", "default": 5432},
        "login_unix_socket": {"type": "str"},
        "login_user": {"type": "str", "default": "postgres"},
        "login_password": {"type": "str", "no_log": True},
        "login_db": {"type": "str"},
        "ssl_mode": {"type": "str", "default": "prefer", "choices": list(SSL_MODES)},
        "ca_cert": {"type": "path", "aliases": ["ssl_rootcert"]},
        "ssl_cert": {"type": "path"},
        "ssl_key": {"type": "path"},
    }


def connection_parameters(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """libpq's parameters from the module's."""
    return session.parameters(
        host=params["login_host"] or params["login_unix_socket"] or "",
        port=params["login_port"],
        user=params["login_user"],
        password=params["login_password"],
        database=params["login_db"] or "postgres",
        ssl_mode=params["ssl_mode"],
        ca_cert=params["ca_cert"],
        ssl_cert=params["ssl_cert"],
        ssl_key=params["ssl_key"],
    )


def client_options() -> dict[str, dict[str, t.Any]]:
    """One sentence for a client, without what only a real connection needs."""
    return {
        "user": {"type": "str", "required": True},
        "database": {"type": "str"},
        "address": {"type": "str"},
        "transport": {"type": "str", "choices": ["local", "tcp", "tls", "gss"]},
        "replication": {"type": "bool", "default": False},
        "memberships": {"type": "list", "elements": "str"},
        "expect": {"type": "str"},
    }
