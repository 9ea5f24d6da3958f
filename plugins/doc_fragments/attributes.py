# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the attributes that every module of the collection states."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragment C(pgops.access.attributes)."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and predict the change without making it.
  diff_mode:
    description: Shows what was or would be changed in diff mode.
  platform:
    description: Operating systems on which the module runs.
    platforms: posix
  action_group:
    description: Use C(group/pgops.access.all) in C(module_defaults) to set options once for every module of the collection.
    support: full
    membership:
      - pgops.access.all
"""
