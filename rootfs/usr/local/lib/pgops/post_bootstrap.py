# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new cluster runs once; Patroni starts it as `python3 -I post_bootstrap.py first.json CONNECTION` on the member that makes it."""

import sys

sys.path.insert(0, "/usr/local/lib")

from pgops.entrypoint.new_cluster import run

sys.exit(run(sys.argv[1]))
