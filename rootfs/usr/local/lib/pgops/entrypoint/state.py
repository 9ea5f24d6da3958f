# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the health check needs to know, in a file of the runtime directory."""

from __future__ import annotations

import os
import typing as t

from .place import Place
from .stream import Output


class State:
    """Lines of the form name=value, read by a shell one by one, never evaluated."""

    def __init__(self, here: Place, user: str, watch: str = "") -> None:
        self.user = user
        self._path = os.path.join(here.runtime, "state")
        self._data = here.data
        self._watch = watch
        self.statistics = ""
        """Libraries that count statements, for the health check's text."""
        self.remark = ""
        """What somebody should know of a server that is healthy."""

    def waits(self, output: Output) -> t.Callable[[str], None]:
        """Tells log and health check what this start waits for."""

        def tell(text: str) -> None:
            output.say("info", text)
            self.write(text)

        return tell

    def write(self, phase: str) -> None:
        """Tell the phase; ``running`` means that the server is started and the health check shall ask it."""
        member = f"watch={self._watch}\n" if self._watch else ""
        more = "; ".join(text for text in (self.statistics, self.remark) if text)
        counted = f"statistics={more}\n" if more else ""
        with open(self._path + ".new", "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(f"phase={phase}\ndata={self._data}\nuser={self.user}\n{member}{counted}")
        os.rename(self._path + ".new", self._path)
