# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PID 1 of the container: environment → settings → data directory, access rules, certificate → PostgreSQL, supervised.

``settings``, ``access`` and ``logs`` are pure; ``initdb``, ``server``, ``tls`` and ``main`` act. Standard library and the engine only.
"""
