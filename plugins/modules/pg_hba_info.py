#!/usr/bin/python
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: pg_hba_info
short_description: Tells what the rules in pg_hba.conf mean, who gets in, and what is dead or weak in them
version_added: 1.0.0
author:
  - The pgops.access developers (@pgops)
description:
  - Reads the rules of a file, of a text or of a live server as PostgreSQL 12 to 18 reads them, includes and quoting too, and returns
    them with every error that would keep the server from loading them.
  - Decides for each of O(clients) which rule it hits, and for each earlier rule why not.
  - Looks for dead, weak and surprising rules.
  - Tells from the server's own log how often each rule let somebody in, and which rules never did.
  - Never changes anything.
extends_documentation_fragment:
  - pgops.access.connection
  - pgops.access.attributes
attributes:
  check_mode:
    support: full
    details:
      - The module only reads, so check mode does the same.
  diff_mode:
    support: none
    details:
      - The module changes nothing, so there is no difference to show.
  platform:
    support: full
    platforms: posix
options:
  path:
    description:
      - A C(pg_hba.conf) on the machine where the task runs. What it includes is read too.
      - Without O(path) and O(content) the rules of the live server are read, through the server, so that no access to its files is needed.
    type: path
  content:
    description:
      - The text of a C(pg_hba.conf). Files that it includes count as missing.
    type: str
  postgres_version:
    description:
      - The release whose reading counts, V(16) or V(16.3). A major release stands for its newest minor one.
      - Needed with O(path) and O(content), unless C(PG_VERSION) lies beside the file, the file is in one of Debian's folders, or
        O(login_host) or O(login_unix_socket) names a server to ask.
    type: str
  clients:
    description:
      - The clients to decide about, in the order in which they are reported.
      - C(+role) and C(samerole) are decided with the server's roles when a server is asked, else with O(clients[].memberships).
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
          - The roles that the user is a member of, for when no server is asked. An empty list says that it is a member of none.
        type: list
        elements: str
      expect:
        description:
          - What has to happen to it - a method such as V(scram-sha-256), V(allowed) (any method), V(refused) (no rule, or a rejecting
            one), V(rejected) (a rejecting rule), V(no_entry) (no rule).
        type: str
  fail_on:
    description:
      - V(mismatch) fails the task when at least one expectation is not met; V(never) only reports.
    type: str
    default: mismatch
    choices: [mismatch, never]
  logs:
    description:
      - The server's log on the machine where the task runs - files, directories, and patterns such as C(/var/log/postgresql/*.log*).
      - Formats C(stderr), C(csvlog), C(jsonlog) (15 and later) and the lines of this collection's image, told apart by their content;
        compressed with gzip, bzip2, xz or (with a library for it) zstd. Of a log that is written in several formats one is read.
      - The server has to log connections (C(log_connections); from 18 on with C(authentication)), in English (C(lc_messages)). PostgreSQL
        logs the rule from 14 on, for C(trust) from 17 on, and never for C(reject).
      - A log names a rule by its line, and lines move. A use counts for a rule only when it is known which text the server had loaded then
        - from the reloads in the log, the live server's load time, the file's time of change, and backups beside the file. What cannot be
        told is counted in RV(logs.unattributed_reasons).
      - Needs O(path) or a live server. With both, O(path) is the server's file as it is seen on this machine.
    type: list
    elements: path
  log_line_prefix:
    description:
      - The server's C(log_line_prefix), for C(stderr) logs. Without it the live server's, or what the lines look like.
      - With a process id (C(%p) or C(%c)) in it, addresses and databases are known, and attempts that fail after authentication do
        not count.
    type: str
  log_timezone:
    description:
      - The server's C(log_timezone), such as V(Europe/Berlin). Without it the live server's, or this machine's.
    type: str
  log_hba_file:
    description:
      - What the server calls the file at O(path), where that is another name, for example in a container.
    type: str
  in_force_since:
    description:
      - Says that the server has had the rules as they are now since this moment, for logs and files that were copied from somewhere else.
      - A date and time such as V(2026-05-04T10:00:00Z).
    type: str
notes:
  - Whoever connects can put line ends into a user's name. With C(%u), C(%d) or C(%a) in C(log_line_prefix) a C(stderr) log can be forged
    that way, a C(csvlog) or C(jsonlog) cannot.
  - A live server is asked when neither O(path) nor O(content) is given, and for its version, settings and roles when O(login_host) or
    O(login_unix_socket) is. That needs psycopg2 where the task runs.
  - Reading a live server's files needs a superuser, or C(pg_read_server_files) with execute on C(pg_read_binary_file), C(pg_ls_dir) and
    C(pg_stat_file). A role that may only read the view C(pg_hba_file_rules) gets its rows and errors; nothing is decided then, because
    the view does not tell a quoted name from a keyword.
  - The view, and so this module, shows the files on the disk. RV(pending_reload) says when they are newer than what the server loaded.
seealso:
  - module: pgops.access.pg_access_check
  - name: The pg_hba.conf file
    description: PostgreSQL's own description of the rules.
    link: https://www.postgresql.org/docs/current/auth-pg-hba-conf.html
"""

EXAMPLES = r"""
- name: Who gets into the running server, and how
  pgops.access.pg_hba_info:
    login_unix_socket: /var/run/postgresql
    clients:
      - {user: app, database: orders, address: 203.0.113.7, transport: tls}
      - {user: standby, address: 203.0.113.8, transport: tls, replication: true}
  register: access

- name: Show the weak and dead rules
  ansible.builtin.debug:
    msg: "{{ access.findings | map(attribute='reason') }}"

- name: A file in a repository keeps its promises, before any server sees it
  pgops.access.pg_hba_info:
    path: /srv/policy/pg_hba.conf
    postgres_version: "16"
    clients:
      - {user: app, database: orders, address: 203.0.113.7, transport: tls, expect: scram-sha-256}
      - {user: app, database: orders, address: 203.0.113.7, transport: tcp, expect: refused}

- name: Rules that let nobody in, in all logs that are kept
  pgops.access.pg_hba_info:
    login_unix_socket: /var/run/postgresql
    logs:
      - /var/log/postgresql/
  register: used

- name: Show them
  ansible.builtin.debug:
    msg: "{{ used.logs.never_used }}"

- name: What a text means
  pgops.access.pg_hba_info:
    postgres_version: "16"
    content: |
      host orders,stock app 203.0.113.0/24 scram-sha-256
      host all all all reject
"""

RETURN = r"""
source:
  description: V(server), V(path) or V(content); V(view) when the role may not read the server's files.
  returned: always
  type: str
  sample: server
file:
  description: The file that was read, as the server or the machine names it. V(content) for a text.
  returned: always
  type: str
  sample: /etc/postgresql/16/main/pg_hba.conf
postgres_version:
  description: The release whose reading counts.
  returned: always
  type: str
  sample: "16.3"
loads:
  description: Whether the server would load the file. V(null) when RV(source) is V(view), which hides some errors.
  returned: always
  type: bool
pending_reload:
  description:
    - Whether a file was modified after the server loaded its rules last, to the second that the server tells.
    - V(null) without a live server's files.
  returned: always
  type: bool
rules:
  description:
    - The rules in the order in which they are tried, as C(pg_hba_file_rules) shows them, each with its text.
    - With O(logs) also how often each let somebody in (C(uses), V(null) where the server does not log it), when first and last, how often
      its method refused somebody (C(refused)), and the users and addresses of its uses, 200 at most by name.
  returned: always
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
      uses: 17
      first_used: "2026-05-01T08:00:00.123Z"
      last_used: "2026-05-04T09:59:58.001Z"
      refused: 1
      used_by: {app: 17}
      used_from: {203.0.113.7: 12, 203.0.113.9: 5}
errors:
  description: Every error that keeps the server from loading the file, also those which the view hides.
  returned: always
  type: list
  elements: dict
  contains:
    file_name:
      description: The file.
      returned: always
      type: str
    line_number:
      description: The line; V(null) for an error of the file as a whole.
      returned: always
      type: int
    error:
      description: The server's message.
      returned: always
      type: str
    hint:
      description: The server's hint.
      returned: always
      type: str
decisions:
  description: One entry a client, in the order of O(clients).
  returned: always
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
    why_not:
      description: For each earlier rule, the first column that does not match.
      returned: always
      type: list
      elements: dict
      sample:
        - {file_name: /etc/postgresql/16/main/pg_hba.conf, line_number: 1, reason: address, detail: "203.0.113.7 is not in 10.0.0.0/8"}
mismatches:
  description: One sentence for each expectation that is not met.
  returned: always
  type: list
  elements: str
logs:
  description: What the logs tell in all.
  returned: with O(logs)
  type: dict
  contains:
    events:
      description: Attempts to connect about which the logs tell how they ended.
      returned: always
      type: int
    attributed:
      description: Uses that were tied to a rule as it is now.
      returned: always
      type: int
    unattributed:
      description: Uses that were not.
      returned: always
      type: int
    unattributed_reasons:
      description: Why not, each with RV(logs.unattributed_reasons[].reason), C(count), and C(text) that explains it.
      returned: always
      type: list
      elements: dict
      contains:
        reason:
          description:
            - V(before_first_load), V(file_changed), V(other_file), V(not_a_rule), V(rule_gone), V(method_differs), V(rule_not_logged) or
              V(unreadable).
          returned: always
          type: str
        count:
          description: How many.
          returned: always
          type: int
        text:
          description: What it means.
          returned: always
          type: str
    refused:
      description: Attempts that a rule's method refused, such as with a wrong password.
      returned: always
      type: int
    refused_unattributed:
      description: How many of them could not be tied to a rule.
      returned: always
      type: int
    rejected:
      description: Attempts that met a C(reject) rule. The server does not log which one.
      returned: always
      type: int
    no_entry:
      description: Attempts that no rule matched.
      returned: always
      type: int
    loads:
      description: Reloads and starts in the logs.
      returned: always
      type: int
    from:
      description: The first event's time, in UTC.
      returned: always
      type: str
    to:
      description: The last event's time, in UTC.
      returned: always
      type: str
    covered_from:
      description: The first admission for which the rules as they are now are known to have been in force; V(null) when there is none.
      returned: always
      type: str
    covered_to:
      description: The last such admission.
      returned: always
      type: str
    never_used:
      description:
        - The rules without a use, although the server logs uses of such rules.
        - Empty when RV(logs.covered_from) is V(null), as nothing shows then that the server logs connections at all.
      returned: always
      type: list
      elements: dict
      sample:
        - {file_name: /etc/postgresql/16/main/pg_hba.conf, line_number: 9, text: host all legacy 10.0.0.0/8 md5}
    unknown_time_zones:
      description: Abbreviations of zones in the logs that could not be read; O(log_timezone) helps.
      returned: always
      type: list
      elements: str
    files:
      description: The files that were read, the oldest first, each with C(format), C(bytes) (decompressed) and C(events).
      returned: always
      type: list
      elements: dict
      sample:
        - {path: /var/log/postgresql/postgresql-16-main.log.2.gz, format: stderr, bytes: 1048576, events: 311}
findings:
  description: What is dead, weak or surprising, in the order of the rules.
  returned: always
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
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.access.plugins.module_utils._ansible import hba_info
from ansible_collections.pgops.access.plugins.module_utils._ansible.run import finish


def main() -> None:
    module = AnsibleModule(argument_spec=hba_info.argument_spec(), mutually_exclusive=[("path", "content")], supports_check_mode=True)
    finish(module, hba_info.info)


if __name__ == "__main__":
    main()
