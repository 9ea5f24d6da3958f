# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's main() in the process of the tests: no fork, no import, and so hundreds of runs in seconds."""

from __future__ import annotations

import contextlib
import io
import json
import typing as t

import pytest
from ansible.module_utils import basic
from ansible.module_utils.common import warnings


def once(module: t.Any, arguments: dict[str, t.Any], *, check: bool = False) -> dict[str, t.Any]:
    """One run; its result."""
    warnings._global_warnings.clear()  # a process of its own would have none of those before
    common = {"_ansible_check_mode": check, "_ansible_diff": True}
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, **common}}).encode())
        if hasattr(basic, "_ANSIBLE_PROFILE"):
            patch.setattr(basic, "_ANSIBLE_PROFILE", "legacy")
        patch.setattr(basic, "_load_params", basic._load_params)
        with pytest.raises(SystemExit):
            module.main()
    warnings._global_warnings.clear()
    return t.cast("dict[str, t.Any]", json.loads(out.getvalue().splitlines()[-1]))
