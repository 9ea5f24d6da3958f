# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The world of examples about a cluster: three members, healthy, with the configuration that they began with, before and after."""

from __future__ import annotations

import contextlib
import typing as t
from pathlib import Path

import patroni_support
import pytest
from differential import fetch

from .house import World


@contextlib.contextmanager
def world(folder: Path) -> t.Iterator[World]:
    """The cluster that all tests of Patroni share."""
    try:
        cluster = patroni_support.shared()
    except fetch.Unavailable as reason:
        pytest.skip(str(reason))
    folder.mkdir(exist_ok=True)

    def reset() -> None:
        cluster.wait_for_all()
        if cluster.config() != cluster.dynamic():
            cluster.reset()

    replace = {f"http://db{number}.example.com:8008": url for number, url in enumerate(cluster.urls, 1)}
    replace["username: operator"] = f"username: {patroni_support.REST_USER}"
    replace["login_user: postgres"] = f"login_user: {cluster.superuser}"
    passwords = patroni_support.PASSWORDS
    try:
        yield World(replace, {"patroni_password": passwords["restapi"], "postgres_password": passwords["superuser"]}, reset=reset)
    finally:
        reset()
