# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""The one place where an engine's exceptions become a failed task, and a result becomes the end of one."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib  # type: ignore[import-untyped]

from .._hba import collector
from .._hba.errors import HbaError
from .._server.errors import MissingLibrary, ServerError
from .._store.base import StoreError

Result = t.Dict[str, t.Any]


def finish(module: AnsibleModule, work: t.Callable[[AnsibleModule], Result]) -> None:
    """Does the work and ends the module. A result with ``msg`` and ``failed: true`` fails the task with everything in it.

    Errors that we raise on purpose become a message; Ansible adds the traceback by itself from -vvv on. Any other exception is a
    defect of ours and keeps its traceback.
    """
    with collector.paused():
        try:
            result = work(module)
        except MissingLibrary as error:
            module.fail_json(msg=missing_required_lib(error.library, reason=error.purpose) + f" ({error.cause})", changed=False)
        except (ServerError, HbaError, StoreError) as error:
            module.fail_json(msg=str(error), changed=bool(getattr(error, "written", False)))
        else:
            if result.pop("failed", False):
                module.fail_json(**result)
            module.exit_json(**result)
