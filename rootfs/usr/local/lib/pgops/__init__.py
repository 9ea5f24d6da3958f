# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the container runs: the entrypoint; the build copies the collection's ``_hba``, ``_store`` and ``_auth`` beside it."""
