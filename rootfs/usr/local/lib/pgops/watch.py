# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs beside Patroni, started by the entrypoint as `python3 -I`."""

import sys

sys.path.insert(0, "/usr/local/lib")

from pgops.entrypoint.watch import run

run(sys.argv[1])
