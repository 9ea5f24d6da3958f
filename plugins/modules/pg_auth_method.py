#!/usr/bin/python
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: pg_auth_method
short_description: Moves access from one authentication method to another, from md5 to SCRAM above all, and locks nobody out
version_added: 1.0.0
author:
  - The pgops.access developers (@pgops)
description:
  - Joins the server's roles and what is stored as their passwords with the rules in C(pg_hba.conf) that each of them can hit, and says for
    each role what would happen to it under another method, and for each rule whether it can change now or who holds it back.
  - With O(state=migrated) sets C(password_encryption), makes SCRAM verifiers of the given passwords, and changes the method of the
    rules that are ready. A role that can log in by a rule today, and could not under the new method, keeps that rule as it is.
  - Clear passwords never leave this module but as the answers of a login. Verifiers are made here, and are kept out of the server's log and
    statistics as far as the role in O(login_user) may do that.
  - Everything is checked before anything is changed, and every step leaves all clients where they were, so a run that is cut off is simply
    continued by the next.
extends_documentation_fragment:
  - pgops.access.client
  - pgops.access.connection
  - pgops.access.patroni
  - pgops.access.attributes
attributes:
  check_mode:
    support: full
    details:
      - Check mode makes the same checks, and returns roles and rules as they would be.
  diff_mode:
    support: full
    details:
      - Shows the files. Passwords and verifiers are in no difference.
  platform:
    support: full
    platforms: posix
options:
  state:
    description:
      - V(audited) only reports.
      - V(migrated) also moves what can be moved.
    type: str
    default: audited
    choices: [audited, migrated]
  from:
    description:
      - The methods to move away from. Rules with other methods are left alone.
    type: list
    elements: str
    default: [md5, password]
  to:
    description:
      - The method to move to, any that the server knows. With O(from) and O(to) swapped a move is taken back.
      - Nothing remembers which rules a move has changed. When it is taken back, rules that had the method before go along, unless O(only)
        leaves them out, and V(password) comes back as V(md5).
      - An V(md5) rule takes SCRAM verifiers too, so taking back C(scram-sha-256) needs no passwords. Clients that know md5 only need md5
        verifiers besides, which nothing but a new password makes.
    type: str
    default: scram-sha-256
  options:
    description:
      - Options that the target method needs, for every changed rule, such as C(ldapserver) or C(map). Options that belong to no method,
        such as C(clientcert), stay; those of the old method go.
    type: dict
    default: {}
  only:
    description:
      - Move only some rules, for a change in stages. With both suboptions a rule has to be in both.
    type: dict
    suboptions:
      rules:
        description:
          - Numbers of lines, C(FILE:LINE), or rules as they are written, whatever their method.
        type: list
        elements: str
      addresses:
        description:
          - Networks - rules whose every client is inside. V(local) is the Unix socket. Host names, V(samehost) and V(samenet) stand for
            rules with this very word.
        type: list
        elements: str
  passwords:
    description:
      - Clear passwords of roles whose stored passwords are md5, by the role's name, from a vault or files. Each is held against what is
        stored; when one is not the stored one, or its role is unknown or has no password, nothing is changed.
      - Passwords of roles whose stored passwords are SCRAM already are used for O(verify_logins) only.
      - They are taken as UTF-8 and prepared as PostgreSQL does it (SASLprep).
    type: dict
    default: {}
  vouched:
    description:
      - Vouch that clients can do what the target method asks for, where no server can know that - a certificate, a directory, Kerberos.
        Without it rules that somebody uses are held back for such methods.
    type: bool
    default: false
  set_password_encryption:
    description:
      - With O(to=scram-sha-256) set C(password_encryption) for the server with C(ALTER SYSTEM), so that new passwords are SCRAM too.
    type: bool
    default: true
  path:
    description:
      - The C(pg_hba.conf), on the machine where the task runs. Without it, the C(hba_file) of the server.
      - Files that it includes are changed as well.
      - With O(patroni) the rules are those of the cluster's dynamic configuration, C(password_encryption) is set there, and passwords are
        stored on the leader.
    type: path
  backup:
    description:
      - Keep each old file beside the new one, under a name with the time. Not with O(patroni).
    type: bool
    default: false
  expect:
    description:
      - What has to happen to which client afterwards. When a file would break one of them nothing is written.
  lockout:
    description:
      - What to do when the connection that manages the server is not proved to get in afterwards, or when a PgBouncer would be locked
        out (O(pgbouncer_auth_file)).
    type: str
    default: refuse
    choices: [refuse, warn, ignore]
  verify_logins:
    description:
      - Log in as every role in O(passwords), by each rule that it can hit from this machine. When one fails that should not, the old
        rules are put back.
      - A role with a connection limit is left out, as the login could take an application's last connection.
    type: bool
    default: true
  reload_timeout:
    description:
      - Seconds that the server may take to reload.
    type: float
    default: 10.0
  pgbouncer_auth_file:
    description:
      - A PgBouncer's C(auth_file) on the machine where the task runs. With an md5 entry PgBouncer cannot log in as a role whose stored
        password is SCRAM, so with O(lockout=refuse) nothing is changed when O(passwords) holds such a role.
    type: path
  fail_on:
    description:
      - V(held_back) fails the task when a rule is held back or cannot have the method, after everything that could be done.
    type: str
    default: never
    choices: [held_back, never]
  result_limit:
    description:
      - So many entries of RV(roles), RV(rules), RV(access_changes) and RV(edits) are returned, those that hold back or are held back first;
        V(0) for all. RV(summary) counts everything, and nothing of the work is limited.
    type: int
    default: 1000
  logs:
    description:
      - The server's log on the machine where the task runs - files, directories, patterns - for when and how each role logged in last, and
        which clients speak md5 over the wire. See M(pgops.access.pg_hba_info) for formats and what the server has to log.
    type: list
    elements: path
  log_line_prefix:
    description:
      - The server's C(log_line_prefix) when the log was written. The live server's unless given.
    type: str
  log_timezone:
    description:
      - The server's C(log_timezone) when the log was written. The live server's unless given.
    type: str
notes:
  - Needs psycopg2 where the task runs. V(migrated) runs on the server's machine, because it changes files there.
  - The role in O(login_user) has to read C(pg_authid), where passwords are stored - a superuser, or who was granted select on it. It also
    has to know the rules, and for V(migrated) to alter the roles, to set C(password_encryption), and to reload. What is missing is named.
  - Only a superuser can keep verifiers out of the server's own log. From a verifier nobody can log in, but who has one can guess passwords.
  - Roles are the server's; a standby or an application that logs in by a rule's other means (a map, a directory) is seen by its role only.
  - When a rule is out of reach of everybody who could log in today, it is ready. Roles that cannot log in today, because they are expired
    or NOLOGIN, hold nothing back; RV(findings) names those among them with md5.
seealso:
  - module: pgops.access.pg_hba
  - module: pgops.access.pg_hba_info
  - module: pgops.access.pg_access_check
  - name: Password authentication
    description: PostgreSQL's own description of the methods.
    link: https://www.postgresql.org/docs/current/auth-password.html
"""

EXAMPLES = r"""
- name: Who would be locked out if md5 became scram-sha-256 today?
  pgops.access.pg_auth_method:
    login_unix_socket: /var/run/postgresql
  register: audit

- name: Show it
  ansible.builtin.debug:
    var: audit.table

- name: Re-hash the passwords that are in the vault, and move every rule that nobody holds back
  pgops.access.pg_auth_method:
    login_unix_socket: /var/run/postgresql
    state: migrated
    passwords: "{{ application_passwords }}"
    backup: true

- name: First one network only
  pgops.access.pg_auth_method:
    login_unix_socket: /var/run/postgresql
    state: migrated
    only:
      addresses: [203.0.113.0/24]

- name: Take it back
  pgops.access.pg_auth_method:
    login_unix_socket: /var/run/postgresql
    state: migrated
    from: [scram-sha-256]
    to: md5
"""

RETURN = r"""
path:
  description: The main file of the rules.
  returned: always
  type: str
  sample: /etc/postgresql/15/main/pg_hba.conf
postgres_version:
  description: The server's release.
  returned: success, or when logins fail afterwards
  type: str
  sample: "15.3"
password_encryption:
  description: How the server stores new passwords; V(null) when that cannot be told.
  returned: success, or when logins fail afterwards
  type: str
  sample: scram-sha-256
requirements:
  description: What the target method needs and the server lacks, in sentences.
  returned: success, or when logins fail afterwards
  type: list
  elements: str
roles:
  description: Every role, in the order of their names.
  returned: success, or when logins fail afterwards
  type: list
  elements: dict
  contains:
    name:
      description: The role.
      returned: always
      type: str
    password:
      description: What is stored - V(scram-sha-256), V(md5), V(none), or V(invalid), which no password fits.
      returned: always
      type: str
    iterations:
      description: Of a SCRAM verifier.
      returned: always
      type: int
    can_login:
      description: Whether it has LOGIN.
      returned: always
      type: bool
    superuser:
      description: Whether it is a superuser.
      returned: always
      type: bool
    replication:
      description: Whether it has REPLICATION.
      returned: always
      type: bool
    connection_limit:
      description: Its limit, -1 for none.
      returned: always
      type: int
    valid_until:
      description: When its password expires; V(null) for never.
      returned: always
      type: str
    expired:
      description: Whether its password has expired.
      returned: always
      type: bool
    rules:
      description: Numbers of the rules that it can hit, see RV(rules[].number).
      returned: always
      type: list
      elements: int
    target:
      description: What the target method would do to it - V(ready), V(refused), V(unknown), or V(cannot_log_in) whatever the method.
      returned: always
      type: str
    reason:
      description: Why.
      returned: always
      type: str
    holds_back:
      description: Numbers of the rules that wait for it.
      returned: always
      type: list
      elements: int
    last_login:
      description: Its newest login in O(logs), with C(time), C(method), C(address), C(file), C(line); V(null) when there is none.
      returned: always
      type: dict
rules:
  description: Every rule, in load order.
  returned: success, or when logins fail afterwards
  type: list
  elements: dict
  contains:
    number:
      description: Its place among the rules, from 1.
      returned: always
      type: int
    file_name:
      description: The file that holds it.
      returned: always
      type: str
    line_number:
      description: Its line.
      returned: always
      type: int
    text:
      description: The rule as it is written.
      returned: always
      type: str
    method:
      description: Its method.
      returned: always
      type: str
    state:
      description:
        - V(ready), V(held_back), V(done) (it has the target method), V(left_alone) (its method is none of O(from)), V(not_chosen)
          (see O(only)), V(impossible) (the server would not take the method there).
      returned: always
      type: str
    reason:
      description: What that means, or the server's reason.
      returned: always
      type: str
    reached_by:
      description: How many roles can hit it.
      returned: always
      type: int
    held_back_by:
      description: The first 20 roles that it waits for.
      returned: always
      type: list
      elements: str
    held_back_count:
      description: How many roles it waits for.
      returned: always
      type: int
summary:
  description:
    - How many roles have which stored password, how many rules are in which state, and how many roles log in with md5 over the wire.
  returned: success, or when logins fail afterwards
  type: dict
  sample: {roles: {scram-sha-256: 40, md5: 2, none: 3, invalid: 0}, rules: {ready: 0, held_back: 1, done: 6}, md5_reachable: 2}
findings:
  description: What somebody should know about roles, poolers, clients and settings.
  returned: success, or when logins fail afterwards
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
    roles:
      description: Whom it is about; empty for everybody.
      returned: always
      type: list
      elements: str
    reason:
      description: What is so, in a sentence.
      returned: always
      type: str
    remedy:
      description: What to do about it.
      returned: always
      type: str
table:
  description: The same for people, two tables of aligned lines.
  returned: success, or when logins fail afterwards
  type: list
  elements: str
rehashed:
  description: Roles whose stored passwords became (in check mode, would become) SCRAM verifiers in this run.
  returned: when O(state=migrated)
  type: list
  elements: str
password_encryption_set:
  description: Whether this run set C(password_encryption).
  returned: when O(state=migrated)
  type: bool
steps:
  description: What was done, in sentences.
  returned: when O(state=migrated)
  type: list
  elements: str
logins:
  description:
    - The logins that were made, with C(user), C(database), C(transport), C(file_name), C(line_number), C(outcome), C(method) and C(met).
  returned: when O(state=migrated)
  type: list
  elements: dict
access_changes:
  description:
    - For which clients the method changes, as M(pgops.access.pg_hba) returns it. V(null), with a warning, when more than 100 rules change.
  returned: when O(state=migrated)
  type: list
  elements: dict
edits:
  description: The lines that change, with their file.
  returned: when O(state=migrated)
  type: list
  elements: dict
decisions:
  description: One entry for each of O(expect), as M(pgops.access.pg_hba) returns it.
  returned: when O(state=migrated)
  type: list
  elements: dict
backup_files:
  description: Where old files were kept.
  returned: when O(state=migrated)
  type: list
  elements: str
reloaded:
  description: Whether the server loaded changed rules, proved.
  returned: when O(state=migrated)
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.access.plugins.module_utils._ansible import auth_method, auth_method_apply
from ansible_collections.pgops.access.plugins.module_utils._ansible.run import finish


def main() -> None:
    module = AnsibleModule(argument_spec=auth_method.argument_spec(), supports_check_mode=True)
    finish(module, auth_method_apply.manage)


if __name__ == "__main__":
    main()
