# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What outsiders get, for each value of the environment contract; asked with psql from a second container."""

from __future__ import annotations

import time

import pytest
from image_support import docker, make_certificate

NO_ENTRY = "no pg_hba.conf entry for host"
BASE = [
    "local all postgres peer",
    "local replication postgres peer",
    "local all all scram-sha-256",
    "host all all 127.0.0.1/32 scram-sha-256",
    "host all all ::1/128 scram-sha-256",
    "host replication all 127.0.0.1/32 scram-sha-256",
    "host replication all ::1/128 scram-sha-256",
]


def opened(method: str, kind: str = "host") -> list[str]:
    return [f"{kind} all all 0.0.0.0/0 {method}", f"{kind} all all ::/0 {method}"]


def test_one_data_directory_through_every_answer(start, connect, volume):
    """The same volume, started with one environment after the other: each is in force, and nothing of the one before is left."""
    mount = f"--volume={volume}:/var/lib/postgresql/data"
    steps: list[tuple[dict[str, str], list[str], str, str]] = [
        ({}, opened("md5"), "ok postgres", ""),
        ({"EXTERNAL_ACCESS_ENABLE": "false"}, [], NO_ENTRY, ""),
        ({"EXTERNAL_ACCESS_ENABLE": "perhaps"}, [], NO_ENTRY, "error:EXTERNAL_ACCESS_ENABLE"),
        ({"EXTERNAL_ACCESS_ENABLE": ""}, [], NO_ENTRY, "error:EXTERNAL_ACCESS_ENABLE"),
        ({"EXTERNAL_ACCESS_METHOD": "scram-sha-256"}, opened("scram-sha-256"), "ok postgres", ""),
        ({"EXTERNAL_ACCESS_METHOD": "garbage"}, opened("md5"), "ok postgres", "warning:md5 is used"),
        ({"EXTERNAL_ACCESS_METHOD": "ldap,password"}, opened("password"), "ok postgres", "warning:clear text"),
        ({"EXTERNAL_ACCESS_METHOD": "reject"}, opened("reject"), "pg_hba.conf rejects connection", ""),
        ({"EXTERNAL_ACCESS_METHOD": "trust"}, opened("md5"), "ok postgres", "warning:EXTERNAL_ACCESS_ALLOW_INSECURE"),
        ({"EXTERNAL_ACCESS_TLS": "require"}, opened("md5", "hostssl"), "ok postgres", ""),
        ({"EXTERNAL_ACCESS_TLS": "sometimes"}, opened("md5", "hostssl"), "ok postgres", "error:EXTERNAL_ACCESS_TLS"),
        ({"EXTERNAL_ACCESS_USERS": "somebody"}, ["host all somebody 0.0.0.0/0 md5", "host all somebody ::/0 md5"], NO_ENTRY, ""),
    ]
    for environment, section, outcome, said in steps:
        server = start(mount, env=environment).healthy()
        assert server.hba() == BASE + section, environment
        for family in (4, 6):
            assert outcome in connect(server, family), (environment, family)
        if outcome.startswith("ok"):
            assert "password authentication failed" in connect(server, password="wrong"), environment
        if environment.get("EXTERNAL_ACCESS_TLS"):
            assert NO_ENTRY in connect(server, sslmode="disable")
        if said:
            level, part = said.split(":")
            assert server.said(level, part), environment
        server.remove()


def test_trust_with_the_word_lets_in_without_a_password(start, connect):
    server = start(env={"EXTERNAL_ACCESS_METHOD": "trust", "EXTERNAL_ACCESS_ALLOW_INSECURE": "true"}).healthy()
    assert connect(server, password="") == "ok postgres"
    event = server.events(outcome="accepted")[0]
    assert event["method"] == "trust"
    assert event["rule"].startswith("/var/lib/postgresql/data/pg_hba.conf:")


@pytest.mark.parametrize(
    ("environment", "status", "part"),
    [
        ({"EXTERNAL_ACCESS_ADDRESSES": "300.1.1.1"}, 78, "EXTERNAL_ACCESS_ADDRESSES: '300.1.1.1' is no address"),
        ({"EXTERNAL_ACCESS_DATABASES": "a\nhost all all all trust"}, 78, "EXTERNAL_ACCESS_DATABASES"),
        ({"EXTERNAL_ACCESS_OPTIONS": "clientcert=perhaps", "EXTERNAL_ACCESS_METHOD": "x"}, 78, "EXTERNAL_ACCESS_OPTIONS"),
        ({"POSTGRES_PASSWORD_FILE": "/run/secrets/x"}, 78, "both set"),
        ({"PGDATA": "here"}, 78, "PGDATA"),
        ({"PATRONI_SCOPE": "main"}, 78, "PATRONI_REPLICATION_PASSWORD"),
    ],
)
def test_what_cannot_be_understood_does_not_start(start, environment, status, part):
    server = start(env=environment)
    assert server.wait() == status
    records = server.records()
    assert records[-1]["level"] == "error"
    assert part in records[-1]["message"]
    assert not any(record["source"] == "initdb" for record in records), "refused before anything is made"


def test_a_new_database_needs_a_password(start):
    server = start(password=None)
    assert server.wait() == 78
    assert "POSTGRES_PASSWORD" in server.records()[-1]["message"]


def test_a_missing_secret_file_is_named(start):
    server = start(password=None, env={"POSTGRES_PASSWORD_FILE": "/run/secrets/nothing"})
    assert server.wait() == 78
    assert "/run/secrets/nothing: No such file" in server.records()[-1]["message"]


def test_other_owners_rules_stay_and_rules_that_would_not_load_stop_the_start(start, connect, volume):
    mount = f"--volume={volume}:/var/lib/postgresql/data"
    server = start(mount, env={"EXTERNAL_ACCESS_ENABLE": "false"}).healthy()
    server.exec("sh", "-c", "printf '# mine\\nhost postgres postgres 0.0.0.0/0 scram-sha-256\\n' >> $PGDATA/pg_hba.conf")
    server.remove()
    server = start(mount, env={"EXTERNAL_ACCESS_ENABLE": "false"}).healthy()
    assert server.hba() == [*BASE, "host postgres postgres 0.0.0.0/0 scram-sha-256"]
    assert server.said("warning", "not from this environment")
    assert connect(server) == "ok postgres"
    server.exec("sh", "-c", "echo 'host all all 10.0.0.0/8 nonsense' >> $PGDATA/pg_hba.conf")
    server.remove()
    server = start(mount)
    assert server.wait() == 78
    assert 'invalid authentication method "nonsense"' in server.records()[-1]["message"]


@pytest.mark.parametrize(
    "damage", ["rm $PGDATA/pg_hba.conf && mkdir $PGDATA/pg_hba.conf", "rm $PGDATA/pg_hba.conf && ln -s /etc/passwd $PGDATA/pg_hba.conf"]
)
def test_rules_that_cannot_be_written_stop_the_start(start, volume, damage):
    mount = f"--volume={volume}:/var/lib/postgresql/data"
    server = start(mount).healthy()
    server.exec("sh", "-c", damage)
    server.remove()
    server = start(mount)
    assert server.wait() != 0
    assert "so the server does not start" in server.records()[-1]["message"]


def test_a_misspelt_variable_is_told(start):
    server = start(env={"EXTERNAL_ACCESS_ADRESSES": "10.0.0.0/8"}).healthy()
    assert server.said("warning", "did you mean EXTERNAL_ACCESS_ADDRESSES?")


def test_client_certificates(start, connect, tmp_path):
    """A mounted certificate and authority: cert is possible, and a client without a certificate is refused."""
    make_certificate(tmp_path)
    mount = f"--volume={tmp_path}:/etc/pgops/tls:ro"
    server = start(mount, env={"EXTERNAL_ACCESS_METHOD": "cert"}).healthy()
    assert server.hba()[-2:] == opened("cert", "hostssl")
    assert "connection requires a valid client certificate" in connect(server)
    assert server.events(outcome="refused", reason="certificate_required")
    assert server.exec("psql", "-XAtqc", "SHOW ssl_cert_file") == "/etc/pgops/tls/tls.crt"
    # A renewed one is taken with a reload: the server reads the mounted certificate, and our copy of its key.
    serial = "openssl s_client -connect 127.0.0.1:5432 -starttls postgres </dev/null 2>/dev/null | openssl x509 -noout -serial"
    old = server.exec("sh", "-c", serial)
    make_certificate(tmp_path)
    docker("kill", "--signal", "HUP", server.name)
    deadline = time.monotonic() + 20
    while server.exec("sh", "-c", serial) == old:
        assert time.monotonic() < deadline, server.raw_lines()[-5:]
        time.sleep(0.2)
