# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""How the engine reads files: a small interface, so that its logic stays pure.

The command line, the file store and tests bring their own readers. Paths are engine text (``model.decode``), ``/``-separated.
"""

from __future__ import annotations

import errno
import os
import posixpath
import typing as t

from .model import encode


class Entry(t.NamedTuple):
    """One name in a directory."""

    name: str
    is_directory: bool = False
    """After following symbolic links."""
    broken: bool = False
    """It cannot be examined (``stat`` fails), as a dangling symbolic link."""


class Reader(t.Protocol):
    """Reads files for the engine."""

    def read(self, path: str) -> bytes:
        """The content of a file.

        Raises OSError with ``errno`` set. ``EISDIR`` and ``EIO`` mean that the file could be opened but not read, which the server treats
        differently from a file that cannot be opened; every other code means that it could not be opened.
        """

    def list_directory(self, path: str) -> list[Entry]:
        """The entries of a directory, in any order. Raises OSError when it cannot be opened."""


class DictReader:
    """A reader over a dictionary: for tests, and for callers who hold the texts.

    Values are a file's bytes, an ``OSError`` to raise when it is read, or an errno number. A directory is there when a path lies below it,
    or when its own path maps to None.
    """

    def __init__(self, files: t.Mapping[str, bytes | OSError | int | None], broken_links: t.Collection[str] = ()) -> None:
        self._files = {_normal(path): content for path, content in files.items()}
        self._broken = frozenset(_normal(path) for path in broken_links)

    def read(self, path: str) -> bytes:
        """Content of ``path``; see :meth:`Reader.read`."""
        if max(len(encode(part)) for part in path.split("/")) > 255 or len(encode(path)) > 4095:
            raise _os_error(errno.ENAMETOOLONG, path)
        where = _normal(path)
        content = self._files.get(where)
        if isinstance(content, bytes):
            return content
        if isinstance(content, OSError):
            raise content
        if content is None and self._is_directory(where):
            raise _os_error(errno.EISDIR, path)
        if content is None and self._below_a_file(where):
            raise _os_error(errno.ENOTDIR, path)
        raise _os_error(errno.ENOENT if content is None else content, path)

    def list_directory(self, path: str) -> list[Entry]:
        """Entries of ``path``; see :meth:`Reader.list_directory`."""
        where = _normal(path)
        if not self._is_directory(where):
            raise _os_error(errno.ENOTDIR if where in self._files else errno.ENOENT, path)
        prefix = where.rstrip("/") + "/"
        names = {other[len(prefix) :].split("/")[0] for other in (*self._files, *self._broken) if other.startswith(prefix)}
        return [Entry(name, self._is_directory(prefix + name), prefix + name in self._broken) for name in sorted(names) if name]

    def _is_directory(self, where: str) -> bool:
        if where in self._files:
            return self._files[where] is None
        prefix = where.rstrip("/") + "/"
        return any(other.startswith(prefix) for other in self._files)

    def _below_a_file(self, where: str) -> bool:
        parent = posixpath.dirname(where)
        while parent not in {"", "/"}:
            if isinstance(self._files.get(parent), bytes):
                return True
            parent = posixpath.dirname(parent)
        return False


def _normal(path: str) -> str:
    """A path without ``.``, ``..`` and doubled slashes; POSIX lets two leading ones stay, Linux sees one."""
    normal = posixpath.normpath(path)
    return normal[1:] if normal.startswith("//") else normal


def _os_error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
