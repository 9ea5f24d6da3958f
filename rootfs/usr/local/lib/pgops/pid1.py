# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PID 1 of the container, started as `python3 -I` (Dockerfile): nothing but the image decides what is imported, neither the working
directory nor PYTHON* variables.
"""

import sys

sys.path.insert(0, "/usr/local/lib")

from pgops.entrypoint.main import run

run()
