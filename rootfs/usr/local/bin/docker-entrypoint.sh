#!/bin/sh
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The name that docker-library's image gives to its entrypoint; compose files and other people's scripts call it.
exec /usr/bin/python3 -I /usr/local/lib/pgops/pid1.py "$@"
