#!/usr/bin/python
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: patroni_config
short_description: The dynamic configuration of a Patroni cluster, checked before it is written and waited for afterwards
version_added: 1.0.0
author:
  - The pgops.access developers (@pgops)
description:
  - Changes the dynamic configuration so that it holds what O(config) says, and waits until every member has it.
  - Patroni stores whatever it is given, and answers that all is well. Here structure and timings are checked before, and rules by the
    grammar of the cluster's PostgreSQL release; what a cluster could not live with is refused.
  - Reads the configuration from the DCS, compares right before the write, and reads back after it. Another writer's change is kept; when
    both change the same, the task plans again from what the other wrote.
  - When a member does not take the new configuration in time, the old one is put back, unless it was faulty itself.
extends_documentation_fragment:
  - pgops.access.connection
  - pgops.access.attributes
  - pgops.access.patroni
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Values of settings whose names end in C(password), C(passphrase) or C(secret) are hidden.
  platform:
    support: full
    platforms: posix
options:
  patroni:
    required: true
  config:
    description:
      - What the dynamic configuration has to hold. Mappings are merged, V(null) takes a setting away, lists and other values replace.
      - Sections of C(pg_hba) and C(pg_ident) are better managed with M(pgops.access.pg_hba) and M(pgops.access.pg_ident), which edit lists.
    type: dict
    required: true
  state:
    description:
      - V(merged) - other settings stay. V(replaced) - O(config) is all there is.
    type: str
    default: merged
    choices: [merged, replaced]
  validate:
    description:
      - Refuse what Patroni would choke on, silently adjust, or ignore, and rules that PostgreSQL would not load.
    type: bool
    default: true
  lockout:
    description:
      - What to do when a new list C(pg_hba) would keep the cluster's own clients out, as in M(pgops.access.pg_hba).
    type: str
    default: refuse
    choices: [refuse, warn, ignore]
  wait:
    description:
      - Wait until every member has the configuration, and its server has the changed parameters in its files or waits for a restart with
        them. That also proves a configuration that needed no change.
    type: bool
    default: true
  ask_servers:
    description:
      - Whether every member's server is asked over SQL. V(false) goes by the REST API alone, without psycopg2, without the check of rules
        and without the lock that keeps other writers of this collection out.
    type: bool
    default: true
notes:
  - Parameters that need a restart are set, not applied; RV(pending_restart) names the members that wait for one.
seealso:
  - module: pgops.access.patroni_cluster_info
  - module: pgops.access.pg_hba
  - name: Dynamic configuration settings
    description: Patroni's own description.
    link: https://patroni.readthedocs.io/en/latest/dynamic_configuration.html
"""

EXAMPLES = r"""
- name: No commit is lost by a failover
  pgops.access.patroni_config:
    patroni:
      urls: ["http://db1.example.com:8008", "http://db2.example.com:8008"]
      username: operator
      password: "{{ patroni_password }}"
    login_user: postgres
    login_password: "{{ postgres_password }}"
    config:
      synchronous_mode: quorum
      failsafe_mode: true
      postgresql:
        parameters:
          work_mem: 16MB
          log_statement: null

- name: A cluster whose configuration somebody has broken, by its REST API alone
  pgops.access.patroni_config:
    patroni:
      urls: ["http://db1.example.com:8008"]
      username: operator
      password: "{{ patroni_password }}"
    ask_servers: false
    config:
      loop_wait: 5
"""

RETURN = r"""
config:
  description: The dynamic configuration afterwards; in check mode, as it would be. Values of secret settings are hidden.
  returned: success, or when members do not take it
  type: dict
patch:
  description: What changed, as it was sent.
  returned: success, or when members do not take it
  type: dict
  sample: {synchronous_mode: quorum}
members:
  description: The members. Empty without O(wait) and in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The member's name.
      returned: always
      type: str
    role:
      description: Its role.
      returned: always
      type: str
    state:
      description: Its state.
      returned: always
      type: str
    has_config:
      description: Whether it has the configuration.
      returned: always
      type: bool
    reason:
      description: Why not; V(null) when it has.
      returned: always
      type: str
    pending_restart:
      description: Whether parameters wait for a restart.
      returned: always
      type: bool
    pending_restart_reason:
      description: Which ones, with the old and the new value.
      returned: always
      type: dict
pending_restart:
  description: Names of the members that wait for a restart.
  returned: success
  type: list
  elements: str
rolled_back:
  description: Whether the old configuration was put back.
  returned: when members do not take the new one
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.access.plugins.module_utils._ansible import patroni_config
from ansible_collections.pgops.access.plugins.module_utils._ansible.run import finish


def main() -> None:
    module = AnsibleModule(argument_spec=patroni_config.argument_spec(), supports_check_mode=True)
    finish(module, patroni_config.manage)


if __name__ == "__main__":
    main()
