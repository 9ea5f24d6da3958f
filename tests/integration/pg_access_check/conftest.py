# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers, real certificates, and an outsider (psycopg2) for pg_access_check. No mocks."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from ansible_collections.pgops.access.plugins.module_utils._server.access_check import AccessCheck, Check, Client, Limits  # noqa: E402
from ansible_collections.pgops.access.plugins.module_utils._server.channel import TlsSettings  # noqa: E402
from differential import fetch  # noqa: E402
from differential.servers import Server, full_builds  # noqa: E402

MAJORS = [int(major) for major in os.environ.get("PGOPS_MAJORS", "13,15,16,18").split(",")]

FULL = full_builds()

RULES = b"""\
local all all_local trust
local all postgres trust
local all peeruser peer
host all rejected 127.0.0.0/8 reject
hostnossl all tlsreject 127.0.0.0/8 reject
hostssl all tlsreject 127.0.0.0/8 scram-sha-256
host all truster 127.0.0.0/8 trust
host all nologin 127.0.0.0/8 trust
host all ghost 127.0.0.0/8 trust
host all md5user 127.0.0.0/8 md5
host all scram_under_md5 127.0.0.0/8 md5
host all clear 127.0.0.0/8 password
host all scramuser 127.0.0.1/32 scram-sha-256
host all scramuser 127.0.0.9/32 reject
host all md5_under_scram 127.0.0.0/8 scram-sha-256
host all limited 127.0.0.0/8 scram-sha-256
host all unknown_to_all 127.0.0.0/8 scram-sha-256
hostssl all tlsonly 127.0.0.0/8 scram-sha-256
hostnossl all plainonly 127.0.0.0/8 scram-sha-256
hostssl all certuser 127.0.0.0/8 cert
hostssl all needcert 127.0.0.0/8 trust clientcert=verify-ca
host all identuser 127.0.0.0/8 ident
host replication repl 127.0.0.0/8 scram-sha-256
host replication truster 127.0.0.0/8 trust
"""

ROLES = """\
set password_encryption = 'scram-sha-256'
create role all_local login
create role peeruser login
create role rejected login
create role tlsreject login password 'pw-tlsreject'
create role truster login
create role nologin
create role scram_under_md5 login password 'pw-scram_under_md5'
create role clear login password 'pw-clear'
create role scramuser login password 'pw-scramuser'
create role limited login password 'pw-limited' connection limit 0
create role tlsonly login password 'pw-tlsonly'
create role plainonly login password 'pw-plainonly'
create role certuser login
create role needcert login
create role identuser login
create role repl login replication password 'pw-repl'
create role "Zoë Müller" login password 'pw-Zoë-½-Ⅸ'
set password_encryption = 'md5'
create role md5user login password 'pw-md5user'
create role md5_under_scram login password 'pw-md5_under_scram'
reset password_encryption
create database closed
update pg_database set datallowconn = false where datname = 'closed'
create database private
revoke connect on database private from public
"""


@dataclasses.dataclass(frozen=True)
class Certificates:
    """Files of a small certificate authority and of one that nobody trusts."""

    ca: Path
    client: Path
    client_key: Path
    stranger: Path
    stranger_key: Path
    locked_key: Path


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    home = tmp_path_factory.mktemp("certificates")
    for authority, name in (("ca", "certuser"), ("other", "certuser")):
        ca, ca_key = home / f"{authority}.crt", home / f"{authority}.key"
        _openssl(
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            f"/CN=test {authority}",
            "-keyout",
            str(ca_key),
            "-out",
            str(ca),
        )
        request, key, cert = home / f"{authority}-client.csr", home / f"{authority}-client.key", home / f"{authority}-client.crt"
        _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(request))
        _openssl(
            "x509", "-req", "-in", str(request), "-CA", str(ca), "-CAkey", str(ca_key), "-CAcreateserial", "-days", "2", "-out", str(cert)
        )
    locked = home / "locked.key"
    _openssl("rsa", "-aes256", "-passout", "pass:phrase", "-in", str(home / "ca-client.key"), "-out", str(locked))
    for key in home.glob("*.key"):
        key.chmod(0o600)
    return Certificates(
        ca=home / "ca.crt",
        client=home / "ca-client.crt",
        client_key=home / "ca-client.key",
        stranger=home / "other-client.crt",
        stranger_key=home / "other-client.key",
        locked_key=locked,
    )


def prepare(server: Server, certificates: Certificates) -> None:
    """Roles, rules and the certificate authority, on a server that runs."""
    for statement in ROLES.splitlines():
        server.sql(statement)
    (server.data / "clients.crt").write_bytes(certificates.ca.read_bytes())
    (server.data / "clients.crt").chmod(0o644)
    server.switch(ssl_ca_file="'clients.crt'")
    assert server.use(RULES), "the server did not take the rules of this test"


@contextlib.contextmanager
def start(server: Server, certificates: Certificates) -> t.Iterator[Server]:
    """The server, running and prepared; the test is skipped where it cannot be had."""
    try:
        server.start()
    except fetch.Unavailable as reason:
        pytest.skip(str(reason))
    try:
        prepare(server, certificates)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module", params=MAJORS)
def server(request: pytest.FixtureRequest, certificates: Certificates) -> t.Iterator[Server]:
    """A server of each major with the roles and rules above."""
    with start(Server(request.param), certificates) as one:
        yield one


@pytest.fixture(scope="module")
def any_server(certificates: Certificates) -> t.Iterator[Server]:
    """One server, for what no major changes; where Debian's full build is installed, that one."""
    with start(Server(FULL[-1], full=True) if FULL else Server(MAJORS[-1]), certificates) as one:
        yield one


def client(server: Server, user: str, **more: t.Any) -> Client:
    """A sentence for this server: database postgres, 127.0.0.1, TCP, unless it says otherwise."""
    given: dict[str, t.Any] = {"user": user, "host": "127.0.0.1", "port": server.port, "database": "postgres", **more}
    if given.get("transport") == "local":
        given["host"] = str(server.sockets)
    return Client(**given)


def check(*clients: Client, parallel: int = 8, timeout: float = 10, total_timeout: float = 60, **more: t.Any) -> list[Check]:
    """Runs the check, with patience for a busy machine."""
    return AccessCheck(Limits(parallel, timeout, total_timeout), **more).run(list(clients))


def tls(**settings: t.Any) -> TlsSettings:
    return TlsSettings(**{name: value if name == "verify" else str(value) for name, value in settings.items()})
