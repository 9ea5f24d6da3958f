# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the option that names a Patroni cluster; its specification is module_utils/_ansible/patroni_options.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragment C(pgops.access.patroni)."""

    DOCUMENTATION = r"""
options:
  patroni:
    description:
      - The Patroni cluster, by its REST API. The members' servers are asked over SQL with O(login_user), O(login_password) and the TLS
        options, at the addresses that the cluster tells; O(login_host) and O(login_unix_socket) do not go with it.
    type: dict
    suboptions:
      urls:
        description:
          - The REST API of one or more members, C(https://host:8008). They are tried in turn, so that one that is down does no harm.
        type: list
        elements: str
        required: true
      username:
        description:
          - User name of the members' C(restapi.authentication).
        type: str
      password:
        description:
          - Its password.
        type: str
      ca_cert:
        description:
          - File with the certificates of the authorities that the members' certificates are checked with; without it, the system's.
        type: path
      client_cert:
        description:
          - File with the certificate for members that verify their clients.
        type: path
      client_key:
        description:
          - File with the private key of O(patroni.client_cert), without a pass phrase.
        type: path
      validate_certs:
        description:
          - Whether the members' certificates are checked.
        type: bool
        default: true
      timeout:
        description:
          - Seconds that one request may take, all members and tries together, and that a leader or another writer is waited for.
        type: float
        default: 15.0
      wait:
        description:
          - Seconds that the members may take together to have what was written.
        type: float
        default: 60.0
      unreachable:
        description:
          - What to do about members whose server cannot be asked. V(refuse) writes nothing then, and puts everything back when one goes
            away before it has proved that it has what was written.
          - V(report) writes, warns, and tells them apart in the result. A member that is down gets the rules from Patroni when it starts.
        type: str
        default: refuse
        choices: [refuse, report]
      addresses:
        description:
          - For members whose server is reached in another way than the cluster tells, a mapping of their names to C(host:port).
        type: dict
        default: {}
      superuser:
        description:
          - Whom Patroni logs in as on its own servers. Found out from its sessions unless given.
        type: str
      replication_user:
        description:
          - Whom replicas log in as. Found out from their sessions unless given.
        type: str
      rewind_user:
        description:
          - Whom pg_rewind logs in as. Found out from the functions that Patroni grants it unless given; else the superuser.
        type: str
"""
