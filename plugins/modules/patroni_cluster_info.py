#!/usr/bin/python
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: patroni_cluster_info
short_description: Members of a Patroni cluster, their state, and where each one's access rules come from
version_added: 1.0.0
author:
  - The pgops.access developers (@pgops)
description:
  - Asks a cluster's REST API and every member's server. Changes nothing.
  - Tells for each member and each list (C(pg_hba), C(pg_ident)) whether its server reads the cluster's dynamic configuration, a list of the
    member's own configuration that hides it, a file that Patroni does not write, or a file elsewhere, and so whether a change of the
    cluster's list would have any effect there.
extends_documentation_fragment:
  - pgops.access.connection
  - pgops.access.attributes
  - pgops.access.patroni
attributes:
  check_mode:
    support: full
    details:
      - Nothing is ever changed.
  diff_mode:
    support: none
  platform:
    support: full
    platforms: posix
options:
  patroni:
    required: true
  ask_servers:
    description:
      - Whether every member's server is asked over SQL, with a role that may read the server's files (a superuser, or C(pg_monitor) and
        C(pg_read_server_files) with the functions granted). V(false) goes by the REST API alone, without psycopg2.
    type: bool
    default: true
seealso:
  - module: pgops.access.patroni_config
  - module: pgops.access.pg_hba
  - name: Patroni's REST API
    description: What the members answer.
    link: https://patroni.readthedocs.io/en/latest/rest_api.html
"""

EXAMPLES = r"""
- name: Where do the rules of each member come from?
  pgops.access.patroni_cluster_info:
    patroni:
      urls: ["http://db1.example.com:8008", "http://db2.example.com:8008"]
    login_user: postgres
    login_password: "{{ postgres_password }}"
  register: cluster

- name: Nobody's own configuration hides the cluster's rules
  ansible.builtin.assert:
    that: cluster.writable.pg_hba.effective
    fail_msg: "{{ cluster.writable.pg_hba.reasons | to_nice_yaml }}"

- name: Roles, lag and pending restarts, by the REST API alone
  pgops.access.patroni_cluster_info:
    patroni:
      urls: ["http://db1.example.com:8008"]
    ask_servers: false
"""

RETURN = r"""
scope:
  description: The cluster's name; V(null) before Patroni 4.
  returned: success
  type: str
  sample: orders
leader:
  description: The member that leads; V(null) when none does.
  returned: success
  type: str
  sample: db1
paused:
  description: Whether the cluster is paused.
  returned: success
  type: bool
scheduled_switchover:
  description: The switchover that is scheduled, if one is.
  returned: success
  type: dict
config:
  description: The dynamic configuration, as a member saw it last; values of secret settings are hidden.
  returned: success
  type: dict
config_problems:
  description: What is wrong with its structure, which Patroni itself does not check.
  returned: success
  type: list
  elements: str
pending_restart:
  description: Names of the members that wait for a restart.
  returned: success
  type: list
  elements: str
writable:
  description:
    - For C(pg_hba) and C(pg_ident), whether the cluster has such a list, and whether a change of it (or its creation) would have effect on
      every member that could be asked.
  returned: success
  type: dict
  sample: {pg_hba: {exists: true, effective: true, reasons: {}}, pg_ident: {exists: false, effective: true, reasons: {}}}
members:
  description:
    - The members. Where the DCS cannot be reached, the task fails, and each one that answers is listed with what it says of itself.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The member's name.
      returned: always
      type: str
    role:
      description: V(leader), V(standby_leader), V(sync_standby), V(quorum_standby) or V(replica).
      returned: always
      type: str
    state:
      description: V(running), V(streaming), V(starting), V(stopped) and others of Patroni's words.
      returned: always
      type: str
    api_url:
      description: Its REST API.
      returned: always
      type: str
    host:
      description: The address of its server.
      returned: success
      type: str
    port:
      description: The port of its server.
      returned: success
      type: int
    timeline:
      description: Its timeline.
      returned: success
      type: int
    lag:
      description: Bytes behind the leader; V(null) for the leader, and when unknown.
      returned: success
      type: int
    tags:
      description: Its tags.
      returned: success
      type: dict
    pending_restart:
      description: Whether parameters wait for a restart.
      returned: success
      type: bool
    pending_restart_reason:
      description: Which ones, with the old and the new value.
      returned: success
      type: dict
    patroni_version:
      description: The release of Patroni.
      returned: success
      type: str
    postgres_version:
      description: The release of PostgreSQL.
      returned: success
      type: str
    api_problem:
      description: Why its REST API does not answer; V(null) when it does.
      returned: success
      type: str
    server_problem:
      description: Why its server could not be asked; V(null) when it could.
      returned: success
      type: str
    rules:
      description: For C(pg_hba) and C(pg_ident), where they come from; V(null) when the server was not asked.
      returned: success
      type: dict
      contains:
        source:
          description:
            - V(dynamic_configuration) - the cluster's list.
            - V(local_configuration) - a list of the member's own configuration, or an older one because the member has missed a change.
            - V(local_file) - a file that Patroni has not written.
            - V(hba_file) - a file in another place, which Patroni leaves alone.
          returned: always
          type: str
        path:
          description: The file that the server reads.
          returned: always
          type: str
        current:
          description: Whether it is what the dynamic configuration asks for.
          returned: always
          type: bool
        reason:
          description: That in a sentence.
          returned: always
          type: str
        errors:
          description: Lines that the server refuses. Patroni tells nobody of them, and the next start fails.
          returned: always
          type: list
          elements: dict
        loaded:
          description: Whether the file is older than the server's last load and without error; V(null) when the role may not know.
          returned: always
          type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.access.plugins.module_utils._ansible import patroni_info
from ansible_collections.pgops.access.plugins.module_utils._ansible.run import finish


def main() -> None:
    module = AnsibleModule(argument_spec=patroni_info.argument_spec(), supports_check_mode=True)
    finish(module, patroni_info.info)


if __name__ == "__main__":
    main()
