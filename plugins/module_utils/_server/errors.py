# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Exceptions of everything that talks to a live server. Each says what, where and what to do next; none carries a password."""

from __future__ import annotations


class ServerError(Exception):
    """Base of everything that this package raises on purpose."""


class InvalidInput(ServerError, ValueError):
    """What the caller asked for cannot be tried: an impossible client, an unknown expectation, an unreadable certificate."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason


class MissingLibrary(ServerError):
    """A Python library that this work needs cannot be imported on the machine where the task runs."""

    def __init__(self, library: str, purpose: str, cause: str) -> None:
        super().__init__(f"{library} is needed {purpose}: {cause}")
        self.library = library
        self.purpose = purpose
        self.cause = cause


class CannotConnect(ServerError):
    """A session that the caller needs cannot be opened."""


class ProtocolError(ServerError):
    """The other side does not speak PostgreSQL's protocol 3.0, or speaks it wrongly."""
