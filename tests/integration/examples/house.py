# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The house in which examples run unless they need another world: one real server that is as the examples say, and what lies around it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import typing as t
from pathlib import Path

import pytest
from differential import fetch
from differential.servers import Server

MAJOR = int(os.environ.get("PGOPS_MAJORS", "18").split(",")[-1])

RULES = """\
local all all trust
hostssl orders app 127.0.0.0/8 scram-sha-256
hostssl orders app ::1/128 scram-sha-256
hostssl replication replica 127.0.0.0/8 cert map=hosts
hostssl replication replica ::1/128 cert map=hosts
hostssl stock report 203.0.113.0/24 md5
"""
IDENT = "hosts certuser replica\n"
POLICY = "hostssl orders app 203.0.113.0/24 scram-sha-256\n"
STATEMENTS = (
    "create role app login password 'pw-app'",
    "create role replica login replication",
    "set password_encryption = 'md5'",
    "create role report login password 'pw-report'",
    "create database orders",
)


@dataclasses.dataclass
class World:
    """What has to be put into a module's examples so that they run here, and nothing else: names of this machine and its server."""

    replace: dict[str, str]
    """Host names, addresses and paths as they are written → as they are here."""
    variables: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    """Variables that the examples leave to the reader, such as passwords."""
    defaults: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    """Options for every task of the module, such as the port, which a server of a test cannot choose."""
    reset: t.Callable[[], None] = lambda: None
    """Called before each run."""


def _certificates(home: Path) -> dict[str, str]:
    """A small authority and a client's certificate."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60, cwd=home)

    new = ["req", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    openssl(*new, "-x509", "-subj", "/CN=clients", "-keyout", "ca.key", "-out", "ca.crt")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=certuser", "-keyout", "client.key", "-out", "client.csr")
    openssl("x509", "-req", "-in", "client.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-out", "client.crt")
    (home / "client.key").chmod(0o600)
    return {"/etc/replica/client.crt": str(home / "client.crt"), "/etc/replica/client.key": str(home / "client.key")}


@contextlib.contextmanager
def house(folder: Path, major: int = MAJOR) -> t.Iterator[World]:
    """A server with the roles, rules, certificates and logs that examples speak of."""
    server = Server(major)
    server.switches = {"logging_collector": "on", "log_directory": "'logs'", "log_filename": "'postgresql.log'"}
    try:
        server.start()
    except fetch.Unavailable as reason:
        pytest.skip(str(reason))
    try:
        certificates = _certificates(folder)
        server._write(server.data / "clients.crt", (folder / "ca.crt").read_bytes())
        server.switches["ssl_ca_file"] = "'clients.crt'"
        server._write_switches()
        for statement in STATEMENTS:
            server.sql(statement)
        policy = folder / "policy"
        policy.mkdir()

        def reset() -> None:
            server._write(server.data / "pg_hba.conf", RULES.encode())
            server._write(server.data / "pg_ident.conf", IDENT.encode())
            for name in ("pg_hba.conf", "pg_ident.conf"):
                server._give(server.data / name)
            (policy / "pg_hba.conf").write_text(POLICY)
            (policy / "pg_ident.conf").write_text(IDENT)
            server.sql("select pg_reload_conf()")

        yield World(
            replace={
                "/var/run/postgresql": str(server.sockets),
                f"/etc/postgresql/{major}/main/": f"{server.data}/",
                "/etc/postgresql/16/main/": f"{server.data}/",
                "/var/log/postgresql/": f"{server.data}/logs/",
                "/srv/policy/": f"{policy}/",
                "/etc/ssl/certs/example-ca.pem": str(server.data / "server.crt"),
                "db.example.com": "localhost",
                "192.0.2.": "127.0.0.",
                **certificates,
            },
            variables={"app_password": "pw-app", "application_passwords": {"app": "pw-app", "report": "pw-report"}},
            defaults={"login_port": server.port},
            reset=reset,
        )
    finally:
        server.stop()
