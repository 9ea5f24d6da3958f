# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options with which modules reach a server; their specification is module_utils/_ansible/arguments.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragment C(pgops.access.connection)."""

    DOCUMENTATION = r"""
options:
  login_host:
    description:
      - Host name or address of the server.
      - A value that begins with V(/) is the directory of the server's Unix socket.
    type: str
  login_port:
    description:
      - Port of the server; it is part of the Unix socket's name too.
    type: int
    default: 5432
  login_unix_socket:
    description:
      - Directory of the server's Unix socket.
    type: str
  login_user:
    description:
      - Role with which the module opens its own session.
    type: str
    default: postgres
  login_password:
    description:
      - Password of O(login_user).
    type: str
  login_db:
    description:
      - Database to which the module's own session connects.
    type: str
  ssl_mode:
    description:
      - Whether the connection uses TLS, and how far the server's certificate is verified, as libpq's C(sslmode).
    type: str
    default: prefer
    choices: [allow, disable, prefer, require, verify-ca, verify-full]
  ca_cert:
    description:
      - File with the certificates of the authorities that are trusted.
    type: path
    aliases: [ssl_rootcert]
  ssl_cert:
    description:
      - File with the client's certificate.
    type: path
  ssl_key:
    description:
      - File with the private key of O(ssl_cert). It must not be protected by a pass phrase.
    type: path
"""
