# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Exceptions of everything that talks to a Patroni cluster: a store's errors, so that one handler does for files and clusters."""

from __future__ import annotations

from .._store import base


class PatroniError(base.StoreError):
    """A cluster could not be asked or told; ``path`` is the member's URL or the part of the configuration."""


class Unreachable(PatroniError):
    """No member's REST API answers, or the member that does cannot reach the DCS (etcd without quorum, say)."""


class Forbidden(PatroniError):
    """The REST API refuses us: wrong or missing credentials, certificate, or address."""


class OutcomeUnknown(PatroniError):
    """A write was sent and its answer never came: the configuration has to be read to know."""


class InvalidConfiguration(PatroniError):
    """The dynamic configuration holds something that it must not, or would afterwards."""


class NotConverged(PatroniError):
    """A member's server did not load the rules, or nothing proves that it did."""
