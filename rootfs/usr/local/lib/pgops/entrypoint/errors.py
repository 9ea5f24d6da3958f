# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why the container does not start: one exception, with the exit status that tells its kind."""

from __future__ import annotations

USAGE = 64
"""Asked for something that this image does not do (sysexits.h, EX_USAGE)."""
SOFTWARE = 70
"""A fault of ours (EX_SOFTWARE)."""
CANNOT = 73
"""Something on disk is in the way (EX_CANTCREAT)."""
CONFIGURATION = 78
"""A setting is wrong (EX_CONFIG)."""


class StartError(Exception):
    """The container refuses to start. The message says what, where, and what to do next."""

    def __init__(self, message: str, status: int = CANNOT) -> None:
        super().__init__(message)
        self.status = status


class Stopped(Exception):
    """Somebody asked the container to stop before the server ran."""
