# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Numeric addresses and masks exactly as the server reads them, without asking the resolver.

The server hands the address column to ``getaddrinfo`` with ``AI_NUMERICHOST``. On glibc that takes the classic IPv4 forms (``127.1``,
``0x7f.0.0.1``, ``010.0.0.1``, ``2130706433``) and IPv6 with a zone; whatever it does not take is a host name. This module gives the same
answers from ``inet_aton``/``inet_pton`` and the zone rule of glibc's ``__inet6_scopeid_pton``, so they depend on no resolver configuration.
"""

from __future__ import annotations

import re
import socket
import typing as t
from functools import lru_cache

from .model import Address

DEFAULT_INTERFACES: frozenset[str] = frozenset({"lo"})
"""Interface names that a zone may use when the caller does not know the server's; every host has a loopback."""

V4 = re.compile(r"(?:0[xX][0-9a-fA-F]+|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]+|[0-9]+)){0,3}")
_PREFIX = re.compile(r"[ \t\n\v\f\r]*([+-]?)0*([0-9]+)")
_ZONE = re.compile(r"0*([0-9]{1,10})")


class Numeric(t.NamedTuple):
    """A numeric address."""

    family: int
    value: int

    @property
    def text(self) -> str:
        """Canonical text, as ``getnameinfo`` prints it; a zone is not shown."""
        return _canonical(self.family, self.value)


@lru_cache(maxsize=65536)
def _canonical(family: int, value: int) -> str:
    if family == 4:
        return socket.inet_ntoa(value.to_bytes(4, "big"))
    return socket.inet_ntop(socket.AF_INET6, value.to_bytes(16, "big"))


@lru_cache(maxsize=65536)
def numeric(text: str, interfaces: frozenset[str] = DEFAULT_INTERFACES) -> Numeric | None:
    """What ``getaddrinfo(text, AI_NUMERICHOST)`` makes of a text; None when it is not numeric (then the server takes it for a name)."""
    if V4.fullmatch(text):
        try:
            return Numeric(4, int.from_bytes(socket.inet_aton(text), "big"))
        except OSError:
            return None
    if ":" not in text or not text.isascii():
        return None
    host, percent, zone = text.partition("%")
    try:
        packed = socket.inet_pton(socket.AF_INET6, host)
    except (OSError, ValueError):
        return None
    if percent and not _zone_known(packed, zone, interfaces):
        return None
    return Numeric(6, int.from_bytes(packed, "big"))


def _zone_known(packed: bytes, zone: str, interfaces: frozenset[str]) -> bool:
    """Interface names only for link-local unicast, and link-local and node-local multicast; an interface number for any address."""
    scoped = (packed[0] == 0xFE and packed[1] & 0xC0 == 0x80) or (packed[0] == 0xFF and packed[1] & 0x0F in {1, 2})
    if scoped and zone in interfaces:
        return True
    number = _ZONE.fullmatch(zone)
    return number is not None and int(number[1]) <= 0xFFFFFFFF


def prefix_mask(text: str, family: int) -> int | None:
    """The mask of a prefix length as C's ``strtol`` reads it (leading blanks, a sign and zeros are fine); None when it is invalid."""
    match = _PREFIX.fullmatch(text)
    if match is None or len(match[2]) > 3:
        return None
    bits = -int(match[2]) if match[1] == "-" else int(match[2])
    width = 32 if family == 4 else 128
    if not 0 <= bits <= width:
        return None
    return ((1 << bits) - 1) << (width - bits)


@lru_cache(maxsize=65536)
def network(address: Numeric, mask: int) -> Address:
    """The address column of a numeric rule; host bits stay."""
    return Address("network", address.text, _canonical(address.family, mask), address.family, address.value, mask)


V4_MASKS: dict[str, tuple[int, str]] = {
    str(bits): (mask, socket.inet_ntoa(mask.to_bytes(4, "big"))) for bits in range(33) for mask in [((1 << bits) - 1) << (32 - bits)]
}
"""What :func:`prefix_mask` says of the usual spellings, as a number and as a text."""


def plain_network(text: str, mask: tuple[int, str]) -> Address | None:
    """:func:`network` of an IPv4 address's text that fits :data:`V4`; None when it is no address."""
    try:
        packed = socket.inet_aton(text)
    except OSError:
        return None
    return Address("network", socket.inet_ntoa(packed), mask[1], 4, int.from_bytes(packed, "big"), mask[0])


Resolver = t.Callable[[str], bool]
"""Whether a host name resolves; asked for RADIUS servers, which PostgreSQL resolves while it reads the line."""


def numeric_or_localhost(name: str) -> bool:
    """The default resolver: numeric addresses and ``localhost`` resolve, nothing else; no network is asked."""
    return name.lower() == "localhost" or numeric(name) is not None
