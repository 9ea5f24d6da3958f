# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Python's cycle collector at rest while many small values without cycles are made."""

from __future__ import annotations

import contextlib
import gc
import typing as t


@contextlib.contextmanager
def paused() -> t.Iterator[None]:
    """No cycle collection meanwhile. Rules and results are many small tuples without cycles; looking for cycles among all of them over and
    over makes reading superlinear, and took 40 % of the time for 10,000 rules (docs/bench.md).
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
