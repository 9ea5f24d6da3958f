# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Where rules live. ``base`` is the interface and the update loop, ``file`` the file store; standard library only.

Importing the package imports nothing of it: a target that edits a file never pays for another store.
"""
