# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster that all tests of Patroni share."""

from __future__ import annotations

from patroni_fixtures import call, cluster, running

__all__ = ["call", "cluster", "running"]
