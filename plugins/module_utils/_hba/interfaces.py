# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""This machine's network interfaces, for ``samehost`` and ``samenet``. Callers hand them to the engine, which never imports this file."""

from __future__ import annotations

import ctypes
import os
import socket


class _Interface(ctypes.Structure):
    """``struct ifaddrs`` of the C library."""


_Interface._fields_ = [
    ("next", ctypes.POINTER(_Interface)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
    ("mask", ctypes.c_void_p),
    ("other", ctypes.c_void_p),
    ("data", ctypes.c_void_p),
]


def interfaces() -> tuple[tuple[int, int, int], ...] | None:
    """This machine's addresses as (4 or 6, address, mask), as a server on it takes them for ``samehost`` and ``samenet``.

    From ``getifaddrs``, which PostgreSQL asks too (``pg_foreach_ifaddr`` in ``src/port/ifaddr.c``; interfaces that are down count there
    as well). None where the C library does not have it, or its structures are not those of Linux.
    """
    if os.uname().sysname != "Linux":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    first = ctypes.POINTER(_Interface)()
    if library.getifaddrs(ctypes.byref(first)) != 0:
        return None
    found: list[tuple[int, int, int]] = []
    try:
        node = first
        while node:
            one = node.contents
            if one.address and one.mask:
                pair = [_numeric(place) for place in (one.address, one.mask)]
                if pair[0] is not None and pair[1] is not None:
                    found.append((pair[0][0], pair[0][1], pair[1][1]))
            node = one.next
    finally:
        library.freeifaddrs(first)
    return tuple(found)


def _numeric(place: int) -> tuple[int, int] | None:
    """Family and value of a ``sockaddr``; a mask carries its family too."""
    family = ctypes.c_ushort.from_address(place).value
    if family == socket.AF_INET:
        return 4, int.from_bytes(ctypes.string_at(place + 4, 4), "big")
    if family == socket.AF_INET6:
        return 6, int.from_bytes(ctypes.string_at(place + 8, 16), "big")
    return None
