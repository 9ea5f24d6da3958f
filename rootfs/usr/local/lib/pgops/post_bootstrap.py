# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new cluster runs once, called by Patroni with a connection string: makes the database of POSTGRES_DB."""

import os
import subprocess
import sys

name = os.environ.get("POSTGRES_DB", "")
path = os.environ.get("POSTGRES_DB_FILE", "")
if path:
    with open(path, encoding="utf-8") as file:
        name = file.read().rstrip("\r\n")
quoted = '"' + name.replace('"', '""') + '"'
sys.exit(
    subprocess.run(
        ["psql", "-XqwAt", "-v", "ON_ERROR_STOP=1", "-d", sys.argv[1], "-c", f"CREATE DATABASE {quoted}"], check=False
    ).returncode
)
