#!/usr/bin/python
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: pg_ident
short_description: Manages which system users may become which role of PostgreSQL, and proves what a change does before and after it is made
version_added: 1.0.0
author:
  - The pgops.access developers (@pgops)
description:
  - Manages user name maps in a C(pg_ident.conf), any number of entries in one task. Other lines, comments, line ends and odd spacing stay
    as they are; nothing is sorted.
  - Plans the edit, then proves it before anything is written - the server would load the result, everything in O(expect) holds, and the
    connection that manages the server still gets in - and tells which system users gain or lose which role.
  - Writes atomically, keeping owner, mode, access list, security label and symbolic links.
  - With a server at hand it then reloads, proves that the server has loaded exactly these maps, and puts the old file and the old maps
    back when it has not.
  - Without O(rules) and O(section) nothing is changed, and the result tells what is there. With C(check_mode) such a task is certain
    not to reload either.
extends_documentation_fragment:
  - ansible.builtin.files
  - pgops.access.managed
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
  platform:
    support: full
    platforms: posix
options:
  path:
    description:
      - The file, on the machine where the task runs.
      - Without it, the C(ident_file) of the server at hand. It does not go with O(patroni).
    type: path
  rules:
    description:
      - The entries - a list of dictionaries and of lines as they stand in the file. A text of several lines will do as well; its comment
        lines are skipped.
      - A dictionary has C(map), C(system_user) (a name, or C(/) and a regular expression), C(database_user) (the name of a role, C(\1) for
        what the expression's first group matched, and from PostgreSQL 16 on V(all), C(+role), or C(/) and a regular expression),
        C(comment), and C(expires).
      - In a dictionary a name with blanks or commas needs no quotes. A name that is quoted inside its value, C('"all"'), is a name and no
        keyword.
      - C(expires) is a date, valid to its end in UTC, or a time with its offset. It is kept in the line's comment, and the first run after
        it removes the entry, whoever wrote it.
      - An entry without a comment leaves the comment that is there; an empty one takes it away.
      - With O(state=absent) C(database_user), C(system_user) or both may be left out, which means whatever they are.
    type: raw
  state:
    description:
      - V(present) - the entries are in the file. New entries go beside their neighbours in the given list, else to O(position).
      - V(absent) - every entry that means the same goes, repeated ones too, in all sections. RV(still_granted) tells what other entries
        still grant.
    type: str
    default: present
    choices: [present, absent]
  exclusive:
    description:
      - The file holds exactly O(rules), which may be none. Other entries, includes, broken lines and section markers go; comments stay.
  expect:
    description:
      - Who has to be able to become whom. When the result would break one of them, nothing is written, and the task fails with the line
        that decides and an entry that would help. They are proved even when nothing changes.
      - C(+role) is decided with the server's roles when one is at hand, and with O(expect[].memberships). What cannot be decided is not
        proved.
    type: list
    elements: dict
    suboptions:
      map:
        description:
          - The map, as a rule of C(pg_hba.conf) names it with C(map=).
        type: str
        required: true
      system_user:
        description:
          - The name that the client has proved - the operating system's user for C(peer) and C(ident), the certificate's common name for
            C(cert), C(user@REALM) for C(gss).
        type: str
        required: true
      user:
        description:
          - The role that it wants to log in as, as O(pgops.access.pg_hba#module:expect[].user). Without it only RV(decisions[].roles)
            is told.
        type: str
      memberships:
        description:
          - Roles that the user is a member of, for when no server is asked. An empty list says that it is a member of none.
        type: list
        elements: str
      expect:
        description:
          - V(allowed) or V(refused). Without it the answer is only returned.
        type: str
  lockout:
    description:
      - What to do when a map lets in the connection that manages the server, the module's own session, and it is not proved to do so
        afterwards.
      - Known for C(peer) and C(ident) where the role may read the server's C(pg_hba.conf). In every other case the session that is opened
        after the reload proves it, and the change is rolled back when it cannot be opened.
    type: str
    default: refuse
    choices: [refuse, warn, ignore]
notes:
  - A server is at hand when O(login_host) or O(login_unix_socket) is given, when O(path) is not, or with O(reload=true). That needs
    psycopg2 where the task runs, and for the reload a role that may call C(pg_reload_conf) and read C(pg_ident_file_mappings).
  - Before PostgreSQL 15 that view does not exist. There the proof is that the server, with its own account, reads the bytes that were
    written, and that all it reads, included files too, is a file that loads; the role needs C(pg_read_binary_file) for it.
  - A reload reads C(pg_hba.conf), too. Whether that file loads is no matter of this module.
  - Maps change who gets in only by rules that name them. RV(findings) tells of rules with a map that does not exist, and of maps that no
    rule names, where the role may read the server's C(pg_hba.conf).
seealso:
  - module: pgops.access.pg_hba
  - module: pgops.access.pg_access_check
  - name: User name maps
    description: PostgreSQL's own description of the file.
    link: https://www.postgresql.org/docs/current/auth-username-maps.html
"""

EXAMPLES = r"""
- name: The system users alice and postgres, whom a rule with map=staff lets in, and whom they may become
  pgops.access.pg_ident:
    login_unix_socket: /var/run/postgresql
    section: staff
    rules:
      - {map: staff, system_user: postgres, database_user: postgres}
      - {map: staff, system_user: alice, database_user: app, comment: until the web form is there}
    expect:
      - {map: staff, system_user: alice, user: app, expect: allowed}
      - {map: staff, system_user: alice, user: postgres, expect: refused}
    backup: true

- name: Everybody of the realm is the role of the same name, an auditor until the end of the year
  pgops.access.pg_ident:
    path: /srv/policy/pg_ident.conf
    postgres_version: "16"
    create: true
    mode: "0640"
    rules:
      - {map: realm, system_user: '/^([a-z]+)@EXAMPLE\.COM$', database_user: '\1'}
      - {map: realm, system_user: eve@AUDIT.EXAMPLE, database_user: +readers, expires: "2099-12-31"}

- name: The file is exactly these lines
  pgops.access.pg_ident:
    path: /srv/policy/pg_ident.conf
    postgres_version: "16"
    exclusive: true
    rules: |
      staff alice app
      staff bob   app

- name: Bob becomes nobody any more
  pgops.access.pg_ident:
    path: /srv/policy/pg_ident.conf
    postgres_version: "16"
    state: absent
    rules:
      - {map: staff, system_user: bob}

- name: What is there, and which roles alice may become; nothing is changed
  pgops.access.pg_ident:
    login_unix_socket: /var/run/postgresql
    expect:
      - {map: staff, system_user: alice}
  check_mode: true
  register: maps
"""

RETURN = r"""
path:
  description: The file.
  returned: always
  type: str
  sample: /etc/postgresql/16/main/pg_ident.conf
postgres_version:
  description: The release whose reading counted.
  returned: success, or when the change is refused or rolled back
  type: str
  sample: "16.3"
access_changes:
  description:
    - Which system users gain or lose which role by which map, in the words of the lines. Complete; names are decided exactly, while what a
      regular expression grants may be granted by another expression, too.
  returned: success, or when the change is refused or rolled back
  type: list
  elements: dict
  contains:
    change:
      description: V(gains) or V(loses).
      returned: always
      type: str
    map:
      description: The map.
      returned: always
      type: str
    system_user:
      description: A name, or C(/) and a regular expression for all whom it matches.
      returned: always
      type: str
    database_user:
      description: The role, or what stands for roles.
      returned: always
      type: str
    keyword:
      description: Whether RV(access_changes[].database_user) is more than a name - V(all), C(+role), an expression, or made with C(\1).
      returned: always
      type: bool
    roles:
      description: The existing roles that it comes to; V(null) without a server at hand, and where a group decides.
      returned: always
      type: list
      elements: str
    file:
      description: The file of the line that grants it, or that did.
      returned: always
      type: str
    line:
      description: That line.
      returned: always
      type: int
    text:
      description: The change in a sentence.
      returned: always
      type: str
      sample: "map staff: alice may become role app, line 4"
still_granted:
  description: With O(state=absent), what other entries still grant of what the given ones name; each is a warning too.
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
    - {action: insert, line: 4, before: null, after: "staff alice app", reason: requested}
decisions:
  description: One entry a sentence, in the order of O(expect).
  returned: success, or when the change is refused or rolled back
  type: list
  elements: dict
  contains:
    map:
      description: The map, as given.
      returned: always
      type: str
    system_user:
      description: The system user, as given.
      returned: always
      type: str
    user:
      description: The role, as given.
      returned: always
      type: str
    outcome:
      description: V(allowed), V(refused), or V(undecided) when something is missing that RV(decisions[].reason) names.
      returned: always
      type: str
    reason:
      description: Why not, in the words of the server's log, or what is missing; V(null) when allowed.
      returned: always
      type: str
    file_name:
      description: The file of the line that decides.
      returned: always
      type: str
    line_number:
      description: The line that decides; V(null) when none matches.
      returned: always
      type: int
    text:
      description: That line as it is written.
      returned: always
      type: str
    roles:
      description: The existing roles that the system user may become by this map; V(null) without a server at hand.
      returned: always
      type: list
      elements: str
    expect:
      description: What was expected, as given.
      returned: always
      type: str
    met:
      description: Whether it is so; V(null) when nothing was expected.
      returned: always
      type: bool
findings:
  description: What is dead, weak or surprising.
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
      description: The file, C(pg_hba.conf) for a rule whose map does not exist.
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
  description:
    - The entries of the result in the order in which they are tried, as C(pg_ident_file_mappings) shows them, each with its text.
      Before PostgreSQL 16 without C(map_number).
  returned: success, or when the change is refused or rolled back
  type: list
  elements: dict
  sample:
    - map_number: 1
      file_name: /etc/postgresql/16/main/pg_ident.conf
      line_number: 3
      map_name: staff
      sys_name: alice
      pg_username: app
      error: null
      text: staff alice app
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
  description: Whether the server has loaded the maps, with proof; in check mode, whether it would.
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
      description: Whether the bytes of the server's file were compared; before PostgreSQL 15 they always are.
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
from ansible_collections.pgops.access.plugins.module_utils._ansible import ident
from ansible_collections.pgops.access.plugins.module_utils._ansible.run import finish


def main() -> None:
    module = AnsibleModule(argument_spec=ident.argument_spec(), add_file_common_args=True, supports_check_mode=True)
    finish(module, ident.manage)


if __name__ == "__main__":
    main()
