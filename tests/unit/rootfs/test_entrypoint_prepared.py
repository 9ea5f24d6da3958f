# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the copy of the prepared cluster has of its own for a quick start is what the collection's and the build's own code makes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from pgops._auth import verifier
from pgops.entrypoint import prepared

PREPARE = Path(__file__).resolve().parents[3] / "image/prepare/prepare.py"


def build():
    """The build's program, as a module."""
    specification = importlib.util.spec_from_file_location("prepare", PREPARE)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("password", ["secret", " ", "with 'quotes' \"and\" \\", "x" * 512])
def test_the_verifier_is_the_collections(password):
    made = prepared._verifier(password)
    assert made is not None
    found = verifier.parse(made.decode())
    assert (found.kind, found.iterations) == (verifier.SCRAM, verifier.DEFAULT_ITERATIONS)
    assert verifier.matches(found, password, "postgres")
    assert verifier.make(password, salt=found.salt) == made.decode()
    assert len(made) == len(build().BLANK_VERIFIER), "it takes the blank one's place"


@pytest.mark.parametrize("password", ["", "pässword", "x" * 513, "md5" + "0" * 32, verifier.make("x")])
def test_what_the_server_has_to_be_asked_about_is_left_to_it(password):
    assert prepared._verifier(password) is None


@pytest.mark.parametrize("data", [b"", b"123456789", bytes(range(256)), b"\xff" * 300])
def test_the_builds_checksum_is_the_containers(data):
    assert build().crc32c(data) == prepared.crc32c(data)
    assert prepared.crc32c(b"123456789") == 0xE3069283, "the check value of CRC-32C"
