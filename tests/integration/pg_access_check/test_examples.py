# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every example of the module's documentation runs, against a server that is as the examples say."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from ansible_collections.pgops.access.plugins.modules import pg_access_check as module

from .conftest import MAJORS, Certificates, Server, start
from .test_module import ansible

RULES = b"""\
local all all trust
hostssl orders app 127.0.0.0/8 scram-sha-256
hostssl orders app ::1/128 scram-sha-256
hostssl replication replica 127.0.0.0/8 cert map=hosts
hostssl replication replica ::1/128 cert map=hosts
"""
IDENT = b"hosts certuser replica\n"


def test_the_examples_run(certificates: Certificates, tmp_path: Path) -> None:
    with start(Server(MAJORS[-1]), certificates) as server:
        for statement in ("create role app login password 'pw-app'", "create role replica login replication", "create database orders"):
            server.sql(statement)
        assert server.use(RULES, IDENT)
        text = module.EXAMPLES
        for written, here in (
            ("db.example.com", f"localhost\n    login_port: {server.port}"),
            ("login_host: 127.0.0.1", f"login_host: 127.0.0.1\n    login_port: {server.port}"),
            ("/etc/ssl/certs/example-ca.pem", str(server.data / "server.crt")),
            ("/etc/replica/client.crt", str(certificates.client)),
            ("/etc/replica/client.key", str(certificates.client_key)),
            ("192.0.2.", "127.0.0."),
        ):
            assert written in text
            text = text.replace(written, here)
        tasks = yaml.safe_load(text)
        assert len(tasks) == 5
        book = [{"hosts": "localhost", "gather_facts": False, "vars": {"app_password": "pw-app"}, "tasks": tasks}]
        (tmp_path / "book.yml").write_text(json.dumps(book))
        done = ansible("ansible-playbook", str(tmp_path / "book.yml"), "-v")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok=5" in done.stdout
    assert "skipping:" not in done.stdout
