# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entrypoint as the container sees it: one package ``pgops``, with the engine and the store beside it."""

from __future__ import annotations

import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

package = types.ModuleType("pgops")
package.__path__ = [str(ROOT / "rootfs/usr/local/lib/pgops"), str(ROOT / "plugins/module_utils")]
sys.modules.setdefault("pgops", package)
