# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numeric addresses, as ``getaddrinfo`` and ``strtol`` of a glibc server read them."""

from __future__ import annotations

import random
import socket
import sys

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba.address import numeric, prefix_mask


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("127.1", "127.0.0.1"),
        ("0x7f.0.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("010.0.0.1", "8.0.0.1"),
        ("10", "0.0.0.10"),
        ("255.255.255", "255.255.0.255"),
        ("1.2.65535", "1.2.255.255"),
        ("::1%1", "::1"),
        ("fe80::1%lo", "fe80::1"),
        ("ff01::1%lo", "ff01::1"),
        ("FE80:0:0:0::1", "fe80::1"),
        ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
    ],
)
def test_numeric(text: str, canonical: str) -> None:
    found = numeric(text)
    assert found is not None
    assert found.text == canonical


@pytest.mark.parametrize(
    "text",
    [
        "300.1.1.1",
        "1.2.3.4.5",
        "08.0.0.1",
        "127.0.0.1.",
        "127.0.0.1 ",
        "ALL",
        "",
        "127.0.0.1%lo",
        "::1%lo",
        "fe80::1%",
        "fe80::1%nosuch",
        "[::1]",
        "1.2.65536",
        "4294967296",
        "0x",
        "::1%4294967296",
        "1::2::3",
        "\u0661.2.3.4",
        "1.2.3.4\x0b",
        "fe80::1%1x",
    ],
)
def test_not_numeric(text: str) -> None:
    assert numeric(text) is None


def test_prefix() -> None:
    good = {"08": 8, "+8": 8, " 8": 8, "\x0b8": 8, "-0": 0, "0": 0, "32": 32, "0" * 50 + "8": 8}
    for text, bits in good.items():
        assert prefix_mask(text, 4) == (0xFFFFFFFF << (32 - bits)) & 0xFFFFFFFF, text
    for text in ("", "8x", "8 ", "0x8", "8/8", "255.0.0.0", "-1", "33", "9" * 5000, "+", "\u0661"):
        assert prefix_mask(text, 4) is None, text
    assert prefix_mask("129", 6) is None
    assert prefix_mask("128", 6) == (1 << 128) - 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="compares with glibc")
def test_agrees_with_getaddrinfo() -> None:
    """Random texts, asked of this machine's own ``getaddrinfo`` (numeric only: nothing is looked up)."""
    chance = random.Random(4)
    atoms = [
        "0",
        "1",
        "7",
        "9",
        "255",
        "256",
        "0x",
        "f",
        ".",
        ".",
        ":",
        "::",
        "%",
        "lo",
        "1.2.3.4",
        "fe80",
        "ffff",
        "08",
        " ",
        "4294967295",
        "ff01",
    ]
    for _unused in range(20_000):
        text = "".join(chance.choices(atoms, k=chance.randrange(1, 7)))
        try:
            answer = socket.getaddrinfo(text.encode(), None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
        except OSError:
            assert numeric(text) is None, text
            continue
        found = numeric(text)
        assert found is not None, text
        assert (found.family, found.text) == (4 if answer[0] == socket.AF_INET else 6, answer[4][0].partition("%")[0])
