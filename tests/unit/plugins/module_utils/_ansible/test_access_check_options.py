# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences completed by the module's options, and results; no connection is made."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.pgops.access.plugins.module_utils._ansible import access_check
from ansible_collections.pgops.access.plugins.module_utils._server.access_check import Check, Client
from ansible_collections.pgops.access.plugins.module_utils._server.channel import TlsSettings
from ansible_collections.pgops.access.plugins.module_utils._server.conversation import Evidence
from ansible_collections.pgops.access.plugins.module_utils._server.errors import InvalidInput


def completed(params: dict[str, t.Any] | None = None, **sentence: t.Any) -> Client:
    """A client from options as Ansible hands them over: every one is there, with its default."""
    options = {name: option.get("default") for name, option in access_check.argument_spec().items()}
    own = {name: option.get("default") for name, option in access_check.client_options().items()}
    return access_check.client({**own, "user": "app", **sentence}, {**options, **(params or {})}, "clients[0]")


@pytest.mark.parametrize(
    ("params", "sentence", "transport", "host"),
    [
        ({}, {}, "tcp", "localhost"),
        ({"login_host": "db"}, {}, "tcp", "db"),
        ({"login_host": "db", "ssl_mode": "require"}, {}, "tls", "db"),
        ({"login_host": "db", "ssl_mode": "verify-full"}, {}, "tls", "db"),
        ({"login_host": "db", "ssl_mode": "verify-full"}, {"transport": "tcp"}, "tcp", "db"),
        ({"login_host": "/run/pg"}, {}, "local", "/run/pg"),
        ({"login_unix_socket": "/run/pg"}, {}, "local", "/run/pg"),
        ({"login_unix_socket": "/run/pg", "login_host": "db"}, {}, "tcp", "db"),
        ({"login_unix_socket": "/run/pg", "login_host": "db"}, {"transport": "local"}, "local", "/run/pg"),
        ({}, {"transport": "local"}, "local", "/var/run/postgresql"),
        ({"login_host": "db"}, {"host": "/s"}, "local", "/s"),
        ({"login_host": "/s"}, {"host": "db"}, "tcp", "db"),
    ],
)
def test_transport_and_host(params: dict[str, t.Any], sentence: dict[str, t.Any], transport: str, host: str) -> None:
    one = completed(params, **sentence)
    assert (one.transport, one.host) == (transport, host)


def test_port_and_password() -> None:
    assert completed({"login_port": 6000}).port == 6000
    assert completed({"login_port": 6000}, port=7000).port == 7000
    assert completed({"login_password": "the module's"}).password is None
    assert completed(password="").password is None
    assert completed(password="x").password == "x"


@pytest.mark.parametrize(
    ("params", "sentence", "expected"),
    [
        ({}, {}, TlsSettings("none")),
        ({"ssl_mode": "verify-ca"}, {}, TlsSettings("ca")),
        ({"ssl_mode": "verify-full", "ca_cert": "/ca"}, {}, TlsSettings("full", "/ca")),
        ({"ssl_mode": "require", "ca_cert": "/ca"}, {}, TlsSettings("ca", "/ca")),
        ({"ssl_cert": "/c", "ssl_key": "/k"}, {}, TlsSettings("none", None, "/c", "/k")),
        ({"ssl_cert": "/c", "ssl_key": "/k"}, {"ssl_cert": "/own"}, TlsSettings("none", None, "/own", None)),
    ],
)
def test_trust_and_certificates(params: dict[str, t.Any], sentence: dict[str, t.Any], expected: TlsSettings) -> None:
    assert completed(params, **sentence).tls == expected


def test_a_key_without_its_certificate() -> None:
    with pytest.raises(InvalidInput, match=r"clients\[0\]\.ssl_key: it needs ssl_cert"):
        completed({"ssl_cert": "/c"}, ssl_key="/k")


def test_result_and_failure() -> None:
    good = Check(Client(user="a", host="h", expect="allowed"), Evidence(), "allowed", met=True)
    bad = Check(Client(user="b", host="h", expect="allowed"), Evidence(), "rejected", methods=("reject",), met=False)
    unasked = Check(Client(user="c", host="h"), Evidence(), "rejected", methods=("reject",))
    fine = access_check.result([good, unasked], fail=True)
    assert "msg" not in fine
    assert fine["changed"] is False
    failed = access_check.result([good, bad, unasked], fail=True)
    assert failed["failed"] is True
    assert failed["msg"].startswith("1 of 2 expectations are not met.\nb@b over tcp to h:5432: expected allowed, got rejected")
    assert access_check.result([bad], fail=False)["failed"] is False


def test_every_secret_is_declared_as_one() -> None:
    for options in (access_check.argument_spec(), access_check.client_options()):
        for name, option in options.items():
            assert option.get("no_log", False) is ("password" in name), name
