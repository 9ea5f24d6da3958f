#!/usr/bin/python
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: pg_hba
short_description: Manages who may connect to PostgreSQL, and proves what a change does before and after it is made
version_added: 1.0.0
author:
  - The pgops.access developers (@pgops)
description:
  - Manages rules in a C(pg_hba.conf), any number in one task, in the order in which they are given. Other lines, comments, line ends and
    odd spacing stay as they are; nothing is sorted.
  - Plans the edit, then proves it before anything is written - the server would load the result, everything in O(expect) holds, and the
    connection that manages the server still gets in - and tells for which clients access changes.
  - Writes atomically, keeping owner, mode, access list, security label and symbolic links.
  - With O(patroni) it does the same to the list in a Patroni cluster's dynamic configuration, and every member's server has to load it; a
    member that does not puts the old list back everywhere.
  - With a server at hand it then reloads, proves that the server has loaded exactly these rules, and puts the old file and the old rules
    back when it has not.
extends_documentation_fragment:
  - ansible.builtin.files
  - pgops.access.managed
  - pgops.access.client
  - pgops.access.connection
  - pgops.access.attributes
  - pgops.access.patroni
attributes:
  check_mode:
    support: full
    details:
      - Check mode takes the same path without the write and the reload.
  diff_mode:
    support: full
    details:
      - Values of C(ldapbindpasswd) and C(radiussecrets) are hidden, so a change of nothing else shows no difference.
  platform:
    support: full
    platforms: posix
options:
  path:
    description:
      - The file, on the machine where the task runs.
      - Without it, the C(hba_file) of the server at hand. It does not go with O(patroni).
    type: path
  rules:
    description:
      - The rules - a list of dictionaries and of lines as they stand in the file, in the order in which the server has to try them.
        A text of several lines will do as well; its comment lines are skipped.
      - A dictionary has C(type) (V(local), V(host), V(hostssl), V(hostnossl), V(hostgssenc), V(hostnogssenc)), C(databases) and C(users)
        (lists, or comma lists in the file's syntax; V(all) unless given), C(address) and C(netmask), C(method), C(options) (a
        dictionary, a list of C(name=value), or a text), C(comment), and C(expires).
      - In a dictionary a name with blanks or commas needs no quotes. A name that is quoted inside its value, C('"all"'), is a name and no
        keyword.
      - C(expires) is a date, valid to its end in UTC, or a time with its offset. It is kept in the line's comment, and the first run after
        it removes the rule, whoever wrote it.
      - A rule without a comment leaves the comment that is there; an empty one takes it away.
      - With O(state=absent) C(method) may be left out, which means every method and all options.
    type: raw
  state:
    description:
      - V(present) - the rules are in the file. The entry that is about the same clients is changed where it stands, because the first match
        decides; new entries go beside their neighbours in the given list, else to O(position).
      - V(absent) - every entry that means the same goes, repeated ones too, in all sections; from an entry with several names only the
        given ones go. RV(still_granted) tells whom other rules still let in.
    type: str
    default: present
    choices: [present, absent]
  expect:
    description:
      - What has to happen to which client. When the result would break one of them, nothing is written, and the task fails with the rule
        that decides and one that would help. They are proved even when nothing changes.
      - C(+role) and C(samerole) are decided with the server's roles when one is at hand, else with O(expect[].memberships). What cannot be
        decided is not proved.
  lockout:
    description:
      - What to do when the connection that manages the server, the module's own session, is not proved to get in afterwards.
      - Without a server at hand no such connection is known; say it with O(expect).
    type: str
    default: refuse
    choices: [refuse, warn, ignore]
notes:
  - A server is at hand when O(login_host) or O(login_unix_socket) is given, when O(path) is not, or with O(reload=true). That needs
    psycopg2 where the task runs, and for the reload a role that may call C(pg_reload_conf) and read C(pg_hba_file_rules).
  - Ansible writes the parameters of a task to the target's system log before the module runs. Set C(no_log) on a task
    whose rules hold C(ldapbindpasswd) or C(radiussecrets). Results and differences never show their values.
  - Writers that use this module take turns. A program that does not lock is noticed unless it writes in the instant of the replacement.
seealso:
  - module: pgops.access.pg_hba_info
  - module: pgops.access.pg_access_check
  - name: The pg_hba.conf file
    description: PostgreSQL's own description of the rules.
    link: https://www.postgresql.org/docs/current/auth-pg-hba-conf.html
"""

EXAMPLES = r"""
- name: The application gets in over TLS with SCRAM, nobody of its name without TLS, and that is proved before anything is written
  pgops.access.pg_hba:
    login_unix_socket: /var/run/postgresql
    section: orders
    rules:
      - {type: hostssl, databases: orders, users: app, address: 203.0.113.0/24, method: scram-sha-256, comment: order service}
      - {type: host, databases: orders, users: app, address: all, method: reject}
    expect:
      - {user: app, database: orders, address: 203.0.113.7, transport: tls, expect: scram-sha-256}
      - {user: app, database: orders, address: 203.0.113.7, transport: tcp, expect: rejected}
    backup: true

- name: Two owners' rules at once, and what has to come of both
  pgops.access.pg_hba:
    login_unix_socket: /var/run/postgresql
    sections:
      - name: orders
        comment: team orders
        rules:
          - {type: hostssl, databases: orders, users: app, address: 203.0.113.0/24, method: scram-sha-256}
      - name: last-word
        position: after:orders
        rules: [host all all all reject]
    expect:
      - {user: app, database: orders, address: 203.0.113.7, transport: tls, expect: scram-sha-256}
      - {user: app, database: stock, address: 203.0.113.7, transport: tls, expect: rejected}

- name: An auditor, until the end of the year
  pgops.access.pg_hba:
    login_unix_socket: /var/run/postgresql
    rules:
      - type: hostssl
        databases: [orders, stock]
        users: [auditor]
        address: 198.51.100.20/32
        method: scram-sha-256
        expires: "2099-12-31"

- name: A file that no server reads yet, in plain lines
  pgops.access.pg_hba:
    path: /srv/policy/pg_hba.conf
    postgres_version: "16"
    create: true
    exclusive: true
    mode: "0640"
    rules: |
      local all postgres peer
      hostssl all all 203.0.113.0/24 scram-sha-256

- name: Nobody called intern gets in by a rule of that name
  pgops.access.pg_hba:
    path: /srv/policy/pg_hba.conf
    postgres_version: "16"
    state: absent
    rules:
      - {type: hostssl, users: intern, address: 203.0.113.0/24}
"""

RETURN = r"""
path:
  description: The file.
  returned: always
  type: str
  sample: /etc/postgresql/16/main/pg_hba.conf
postgres_version:
  description: The release whose reading counted.
  returned: success, or when the change is refused or rolled back
  type: str
  sample: "16.3"
access_changes:
  description:
    - For which clients access changes, complete and without overlap, as the files say. V(null) when it cannot be told completely.
    - The first O(result_limit) of them; so it is with RV(findings), RV(rules) and RV(edits).
  returned: success, or when the change is refused or rolled back
  type: list
  elements: dict
  contains:
    change:
      description: V(gains), V(loses), V(method), V(options), or V(refusal) (refused before and after, for another reason).
      returned: always
      type: str
    transports:
      description: Any of V(local), V(tcp), V(tls), V(gss).
      returned: always
      type: list
      elements: str
    replication:
      description: Whether it is about physical replication.
      returned: always
      type: bool
    databases:
      description: The databases, as names or as any name with exceptions; V(null) for physical replication.
      returned: always
      type: dict
    users:
      description: The users, likewise.
      returned: always
      type: dict
    relation:
      description: How the database's name has to relate to the user, when that counts.
      returned: always
      type: list
      elements: str
    addresses:
      description: Networks and ranges; V(null) for the Unix socket.
      returned: always
      type: list
      elements: str
    addresses_if:
      description: Further addresses, for clients that fit a condition.
      returned: always
      type: list
      elements: dict
    before:
      description: The outcome and the rule before.
      returned: always
      type: dict
      sample: {outcome: no_entry, options: {}, file: null, line: null, rule_number: null}
    after:
      description: The outcome and the rule after.
      returned: always
      type: dict
    text:
      description: The change in a sentence.
      returned: always
      type: str
      sample: "gains access: user app to database orders from 203.0.113.0/24 over tls (scram-sha-256, line 4); before: no entry"
still_granted:
  description: With O(state=absent), the clients of the given rules whom other rules still let in; each is a warning too.
  returned: success, or when the change is refused or rolled back
  type: list
  elements: dict
counts:
  description: How many there are of what O(result_limit) may cut.
  returned: success, or when the change is refused or rolled back
  type: dict
  sample: {access_changes: {gains: 2, loses: 1}, findings: {warning: 3}, rules: 40, edits: 1}
  contains:
    access_changes:
      description: RV(access_changes) by the kind of change; a kind that does not occur is left out.
      returned: always
      type: dict
    findings:
      description: RV(findings) by severity, likewise.
      returned: always
      type: dict
    rules:
      description: RV(rules).
      returned: always
      type: int
    edits:
      description: RV(edits).
      returned: always
      type: int
edits:
  description: The lines that change.
  returned: success, or when the change is refused or rolled back
  type: list
  elements: dict
  sample:
    - {action: insert, line: 4, before: null, after: "hostssl orders app 203.0.113.0/24 scram-sha-256", reason: requested}
decisions:
  description: One entry a client, in the order of O(expect).
  returned: success, or when the change is refused or rolled back
  type: list
  elements: dict
  contains:
    user:
      description: The role, as given.
      returned: always
      type: str
    database:
      description: The database, as given.
      returned: always
      type: str
    address:
      description: The address, as given.
      returned: always
      type: str
    transport:
      description: V(local), V(tcp), V(tls) or V(gss).
      returned: always
      type: str
    replication:
      description: Whether it is a physical replication client.
      returned: always
      type: bool
    outcome:
      description:
        - The method, V(rejected), V(no_entry), or V(undecided) when something is missing that RV(decisions[].reason) names.
      returned: always
      type: str
    reason:
      description: What is missing; V(null) unless undecided.
      returned: always
      type: str
    file_name:
      description: The file with the deciding rule.
      returned: always
      type: str
    line_number:
      description: The line of the deciding rule; V(null) when there is none.
      returned: always
      type: int
    text:
      description: The deciding rule as it is written.
      returned: always
      type: str
    expect:
      description: What was expected, as given.
      returned: always
      type: str
    met:
      description: Whether it is so; V(null) when nothing was expected.
      returned: always
      type: bool
findings:
  description: What is dead, weak or surprising, in the order of the rules.
  returned: success, or when the change is refused or rolled back
  type: list
  elements: dict
  contains:
    code:
      description: What kind of finding it is.
      returned: always
      type: str
    severity:
      description: V(error), V(warning) or V(notice).
      returned: always
      type: str
    file:
      description: The file.
      returned: always
      type: str
    line:
      description: The line.
      returned: always
      type: int
    reason:
      description: What is so, in a sentence.
      returned: always
      type: str
    remedy:
      description: What to do about it.
      returned: always
      type: str
rules:
  description: The rules of the result in the order in which they are tried, as C(pg_hba_file_rules) shows them, each with its text.
  returned: success, or when the change is refused or rolled back
  type: list
  elements: dict
  sample:
    - rule_number: 1
      file_name: /etc/postgresql/16/main/pg_hba.conf
      line_number: 3
      type: hostssl
      database: [orders]
      user_name: [app]
      address: 203.0.113.0
      netmask: 255.255.255.0
      auth_method: scram-sha-256
      options: null
      error: null
      text: hostssl orders app 203.0.113.0/24 scram-sha-256
members:
  description: With O(patroni), every member, and whether its server has loaded the rules.
  returned: with O(patroni), success, or when the change is refused or rolled back
  type: list
  elements: dict
  contains:
    name:
      description: The member's name.
      returned: always
      type: str
    role:
      description: Its role, such as V(leader) or V(replica).
      returned: always
      type: str
    state:
      description: Its state, such as V(running) or V(streaming).
      returned: always
      type: str
    host:
      description: The address of its server as the cluster tells it.
      returned: always
      type: str
    port:
      description: The port of its server.
      returned: always
      type: int
    source:
      description:
        - Where its rules came from before the change - V(dynamic_configuration), V(local_configuration), V(local_file) or V(hba_file).
        - V(null) for a member that could not be asked.
      returned: always
      type: str
    loaded:
      description: Whether its server has proved that it has loaded the rules; V(null) when nothing was loaded.
      returned: always
      type: bool
    load_time:
      description: The server's load time, in a session that was opened after the reload.
      returned: when loaded
      type: str
    seconds:
      description: How long it took.
      returned: always
      type: float
    reason:
      description: Why it could not be asked, or does not prove it.
      returned: always
      type: str
backup_file:
  description: Where the old file is; V(null) without O(backup), or when nothing was written.
  returned: success, or when the change is refused or rolled back
  type: str
reloaded:
  description: Whether the server has loaded the rules, with proof; in check mode, whether it would.
  returned: success, or when the change is refused or rolled back
  type: bool
reload_proof:
  description: What proves it; V(null) without a reload.
  returned: success
  type: dict
  contains:
    load_time:
      description: The server's load time, in a session that was opened after the reload.
      returned: always
      type: str
    file:
      description: Whether the bytes of the server's file were compared. The rows of C(pg_hba_file_rules) always are.
      returned: always
      type: bool
    log:
      description: Whether the server's log was read, which holds no refusal.
      returned: always
      type: bool
    seconds:
      description: How long it took.
      returned: always
      type: float
rolled_back:
  description: Whether the old file was put back, because the server did not load the new one.
  returned: when the reload fails
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.access.plugins.module_utils._ansible import hba
from ansible_collections.pgops.access.plugins.module_utils._ansible.run import finish


def main() -> None:
    module = AnsibleModule(argument_spec=hba.argument_spec(), add_file_common_args=True, supports_check_mode=True)
    finish(module, hba.manage)


if __name__ == "__main__":
    main()
