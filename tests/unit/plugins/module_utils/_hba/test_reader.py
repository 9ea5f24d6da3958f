# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dictionary-backed reader fails as a file system does."""

from __future__ import annotations

import errno

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba.reader import DictReader, Entry

FILES = {
    "/d/a.conf": b"a",
    "/d/sub/b.conf": b"b",
    "/d/secret": errno.EACCES,
    "/d/odd": OSError(errno.EIO, "Input/output error", "/d/odd"),
    "/empty": None,
}


def failure(path: str) -> int | None:
    with pytest.raises(OSError, match=path) as caught:
        DictReader(FILES).read(path)
    return caught.value.errno


def test_reading() -> None:
    assert DictReader(FILES).read("/d/sub/../a.conf") == b"a"
    assert failure("/d/nope") == errno.ENOENT
    assert failure("/d/sub") == errno.EISDIR
    assert failure("/empty") == errno.EISDIR
    assert failure("/d/a.conf/x") == errno.ENOTDIR
    assert failure("/d/secret") == errno.EACCES
    assert failure("/d/odd") == errno.EIO
    assert failure("/d/" + "x" * 256) == errno.ENAMETOOLONG


def test_two_leading_slashes_are_one() -> None:
    """A regression: a missing file below ``//`` was looked for without end."""
    assert DictReader(FILES).read("//d/a.conf") == b"a"
    assert failure("//nope") == errno.ENOENT
    assert failure("//d/a.conf/x") == errno.ENOTDIR


def test_listing() -> None:
    reader = DictReader(FILES, broken_links=["/d/gone.conf"])
    assert reader.list_directory("/d/") == [
        Entry("a.conf"),
        Entry("gone.conf", broken=True),
        Entry("odd"),
        Entry("secret"),
        Entry("sub", is_directory=True),
    ]
    assert reader.list_directory("/empty") == []
    for path, code in (("/d/a.conf", errno.ENOTDIR), ("/nope", errno.ENOENT)):
        with pytest.raises(OSError, match=path) as caught:
            reader.list_directory(path)
        assert caught.value.errno == code
