# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""This machine's files and names, behind the engine's two interfaces. The command line and the modules hand these to the engine;
the engine itself never imports this file.
"""

from __future__ import annotations

import os
import socket
import typing as t

from .model import decode, encode
from .reader import Entry


class Files:
    """Files of this machine, of which some may be looked at as they would be; implements :class:`reader.Reader`."""

    def __init__(self, instead: t.Mapping[str, bytes] | None = None) -> None:
        self._instead = dict(instead or {})

    def read(self, path: str) -> bytes:
        """Content of a file; raises OSError, with EISDIR for a directory."""
        if path in self._instead:
            return self._instead[path]
        # Non-blocking: an included FIFO that nobody writes to is empty, not a hang.
        with open(encode(path), "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            return file.read() or b""

    def list_directory(self, path: str) -> list[Entry]:
        """Entries of a directory; raises OSError."""
        entries: list[Entry] = []
        with os.scandir(encode(path)) as found:
            for item in found:
                name = decode(item.name)
                try:
                    if item.is_symlink():
                        item.stat()
                    entries.append(Entry(name, item.is_dir()))
                except OSError:
                    entries.append(Entry(name, broken=True))
        return entries


class Names:
    """Host names as a server on this machine sees them; implements :class:`decide.Resolver`."""

    def reverse(self, address: str) -> str | None:
        """The name of a numeric address; None when there is none."""
        try:
            return socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
        except OSError:
            return None

    def forward(self, name: str) -> list[str]:
        """The numeric addresses of a name; empty when there are none."""
        try:
            return [str(found[4][0]) for found in socket.getaddrinfo(name, None)]
        except (OSError, UnicodeError):
            return []
