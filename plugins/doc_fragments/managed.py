# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of what modules that manage a file of rules have in common; the specification is module_utils/_ansible/manage.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragment C(pgops.access.managed). An option that a module documents itself takes the place of the one here."""

    DOCUMENTATION = r"""
options:
  create:
    description:
      - Create the file when it does not exist, with mode 0600 unless O(mode) says otherwise, and as root with its directory's owner.
      - With O(patroni), create the list when the cluster has none. It begins with the leader's present file, and then replaces the file of
        every member.
    type: bool
    default: false
  section:
    description:
      - The name of a marked block that holds exactly O(rules), so that several owners can share a file.
      - With O(state=absent) the rules go from this section only, and without rules the whole section goes.
    type: str
  position:
    description:
      - Where new entries, or a new section, go - V(first), V(last), C(before:SECTION) or C(after:SECTION). Last unless given.
      - Sections of one position are ordered by name, so that it does not matter who comes first.
    type: str
  move:
    description:
      - Bring what is there already to O(position), too.
    type: bool
    default: false
  sections:
    description:
      - Several sections in one task, which are proved, written and loaded together - all of them or none.
      - Each stands for a task of its own with O(section). They are taken in the given order, so that one can stand before or after another
        that comes earlier in the list.
      - Goes neither with O(rules), O(section), O(position), O(move) and O(exclusive) nor with O(state).
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - The section's name.
        type: str
        required: true
      rules:
        description:
          - As O(rules).
        type: raw
      state:
        description:
          - As O(state) with O(section).
        type: str
        default: present
        choices: [present, absent]
      position:
        description:
          - As O(position).
        type: str
      move:
        description:
          - As O(move).
        type: bool
        default: false
      comment:
        description:
          - The comment of every rule in it that brings none of its own.
        type: str
  exclusive:
    description:
      - The file holds exactly O(rules). Other entries, includes, broken lines and section markers go; comments stay.
    type: bool
    default: false
  result_limit:
    description:
      - So many entries at most are returned in each of RV(access_changes), RV(findings), RV(rules) and RV(edits), the first ones;
        V(0) returns all. RV(counts) is always about all, and a warning says when RV(access_changes) is cut.
      - All of it is planned and proved, whatever is returned. Ansible copies and searches a result many times, which for 10,000 rules takes
        longer than the work.
    type: int
    default: 1000
  validate:
    description:
      - Refuse a result that the server would not load, even when the line that is at fault was there before.
      - V(false) lets such lines stay. A reload of such a file fails, and is rolled back.
    type: bool
    default: true
  reload:
    description:
      - Whether the server reloads after a change, with proof, and also when its file is newer than what it has loaded.
      - Unless given, V(true) with a server at hand, V(false) without.
    type: bool
  reload_timeout:
    description:
      - Seconds that the server may take to reload.
    type: float
    default: 10.0
  backup:
    description:
      - Keep the old file beside the new one, under a name with the time.
    type: bool
    default: false
  postgres_version:
    description:
      - The release whose reading counts, V(16) or V(16.3). A major release stands for its newest minor one.
      - Needed when no server is at hand, unless C(PG_VERSION) lies beside the file or the file is in one of Debian's folders.
    type: str
"""
