# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of a sentence about a client; its specification is client_options() in module_utils/_ansible/arguments.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragment C(pgops.access.client). What the sentences are for a module says itself."""

    DOCUMENTATION = r"""
options:
  expect:
    type: list
    elements: dict
    suboptions:
      user:
        description:
          - The role that logs in.
        type: str
        required: true
      database:
        description:
          - The database. Without one PostgreSQL takes the user's name.
        type: str
      address:
        description:
          - The client's numeric IPv4 or IPv6 address; none for V(local).
        type: str
      transport:
        description:
          - V(local) is the Unix socket, V(tcp) TCP without encryption, V(tls) TCP with TLS, V(gss) TCP with GSSAPI encryption.
          - Without it, V(tcp) for a client with an address and V(local) for one without.
        type: str
        choices: [local, tcp, tls, gss]
      replication:
        description:
          - Whether it is a physical replication client, which hits only rules that name C(replication).
        type: bool
        default: false
      memberships:
        description:
          - Roles that the user is a member of, besides those that a server tells. An empty list says, where no server is asked, that it is
            a member of none.
        type: list
        elements: str
      expect:
        description:
          - What has to happen to it - a method such as V(scram-sha-256), V(allowed) (any method), V(refused) (no rule, or a rejecting
            one), V(rejected) (a rejecting rule), V(no_entry) (no rule).
        type: str
"""
