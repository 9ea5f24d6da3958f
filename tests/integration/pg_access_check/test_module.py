# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as Ansible runs it: results, messages, defaults of the action group, and no password at any verbosity."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from .conftest import Certificates, Server

SECRET = "pw-scramuser"
WRONG = "quite-another-secret"


def ansible(program: str, *words: str, env: t.Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a program of the Ansible that runs this test, on localhost, with this Python for the module."""
    command = [str(Path(sys.executable).parent / program), *words, "-e", f"ansible_python_interpreter={sys.executable}"]
    quiet = {
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    }
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **quiet, **(env or {})})


def adhoc(arguments: t.Mapping[str, t.Any], *words: str) -> tuple[dict[str, t.Any], str]:
    """One run of the module; its result and everything that was printed."""
    done = ansible("ansible", "localhost", "-m", "pgops.access.pg_access_check", "-a", json.dumps(arguments), *words)
    printed = done.stdout + done.stderr
    start = done.stdout.find(" => {")
    assert start > 0, printed
    result, _end = json.JSONDecoder().raw_decode(done.stdout[start + 4 :])
    return t.cast("dict[str, t.Any]", result), printed


@pytest.fixture
def reach(any_server: Server) -> dict[str, t.Any]:
    return {"login_host": "127.0.0.1", "login_port": any_server.port}


@pytest.mark.parametrize("check_mode", [False, True])
def test_what_was_expected(reach: dict[str, t.Any], any_server: Server, check_mode: bool) -> None:
    clients = [
        {"user": "scramuser", "database": "postgres", "password": SECRET, "expect": "scram-sha-256"},
        {"user": "tlsonly", "database": "postgres", "expect": "tls_required", "name": "without TLS"},
        {"user": "all_local", "database": "postgres", "transport": "local", "host": str(any_server.sockets)},
    ]
    result, printed = adhoc({**reach, "clients": clients}, *(["--check"] if check_mode else []))
    assert "SUCCESS" in printed, printed
    assert result["changed"] is False
    assert result["mismatches"] == []
    assert result["summary"] == {"allowed": 2, "tls_required": 1}
    assert [one["met"] for one in result["checks"]] == [True, True, None]
    assert result["checks"][0]["address_seen"] == "127.0.0.1"
    heading, *lines = result["table"]
    assert heading.split() == ["CLIENT", "TO", "OVER", "SEEN", "AS", "METHOD", "TLS", "OUTCOME", "EXPECTED", "MS"]
    assert lines[0].split()[:7] == [
        "scramuser@postgres",
        f"127.0.0.1:{any_server.port}",
        "tcp",
        "127.0.0.1",
        "scram-sha-256",
        "-",
        "allowed",
    ]
    column = heading.index("OUTCOME")
    assert [line[column:].split()[0] for line in lines] == ["allowed", "tls_required", "allowed"]


def test_a_mismatch_fails_the_task_and_says_what_to_do(reach: dict[str, t.Any]) -> None:
    clients = [
        {"user": "rejected", "database": "postgres", "expect": "allowed"},
        {"user": "scramuser", "database": "postgres", "password": SECRET, "expect": "scram-sha-256"},
        {"user": "scramuser", "database": "postgres", "password": WRONG, "expect": "allowed"},
    ]
    result, printed = adhoc({**reach, "clients": clients})
    assert "FAILED" in printed
    assert result["msg"].startswith("2 of 3 expectations are not met.")
    assert len(result["checks"]) == 3
    assert len(result["table"]) == 4
    first, second = result["mismatches"]
    assert "expected allowed, got rejected" in first
    assert 'pg_hba.conf rejects connection for host "127.0.0.1"' in first
    assert "next: find the reject rule" in first
    assert "expected allowed, got wrong_password" in second
    result, printed = adhoc({**reach, "clients": clients, "fail_on": "never"})
    assert "SUCCESS" in printed
    assert len(result["mismatches"]) == 2


@pytest.mark.parametrize(
    "change",
    [{}, {"clients": [{"user": "scramuser", "password": SECRET, "expect": "nonsense"}]}, {"confirm_with": "psycopg2"}, {"parallel": 0}],
    ids=["a mismatch", "bad input", "with libpq", "bad option"],
)
def test_no_password_is_printed_at_any_verbosity(reach: dict[str, t.Any], change: dict[str, t.Any], tmp_path: Path) -> None:
    """Arguments come from a vars file, so that only Ansible and the module could print them; ANSIBLE_LOG_PATH is searched too."""
    clients = [
        {"user": "scramuser", "database": "postgres", "password": SECRET, "expect": "scram-sha-256"},
        {"user": "md5user", "database": "postgres", "password": WRONG, "expect": "md5"},
        {"user": "clear", "database": "postgres", "password": WRONG, "expect": "password"},
        {"user": "scramuser", "database": "postgres", "password": WRONG, "transport": "tls", "expect": "allowed"},
    ]
    book = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "vars": {"given": {**reach, "login_password": "the-module's-own", "clients": clients, **change}},
            "tasks": [{"pgops.access.pg_access_check": "{{ given }}"}],
        }
    ]
    (tmp_path / "book.yml").write_text(json.dumps(book))
    log = tmp_path / "log"
    done = ansible(
        "ansible-playbook", str(tmp_path / "book.yml"), "-vvvvv", env={"ANSIBLE_LOG_PATH": str(log), "ANSIBLE_INJECT_FACT_VARS": "0"}
    )
    printed = done.stdout + done.stderr + log.read_text()
    assert done.returncode == 2, printed
    assert "pg_access_check" in printed
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in printed
    for secret in (SECRET, WRONG, "the-module's-own"):
        assert secret not in printed


def test_defaults_of_the_action_group_apply(any_server: Server, tmp_path: Path) -> None:
    """Everything that community.postgresql's users set once, among it what this module has no use for."""
    group = {"login_host": "127.0.0.1", "login_port": any_server.port, "login_user": "x", "login_password": "y", "login_db": "z"}
    book = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "module_defaults": {"group/pgops.access.all": group},
            "tasks": [{"pgops.access.pg_access_check": {"clients": [{"user": "rejected", "database": "postgres", "expect": "reject"}]}}],
        }
    ]
    (tmp_path / "book.yml").write_text(json.dumps(book))
    done = ansible("ansible-playbook", str(tmp_path / "book.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"clients": [{"user": "u", "expect": "alowed"}]}, "clients[0].expect: 'alowed' is none of allowed, asked, "),
        ({"clients": [{"user": "u"}, {"user": "u", "address": "10.1.2.0/24"}]}, "clients[1].address: '10.1.2.0/24' is not a numeric"),
        ({"clients": [{"user": "u", "ssl_key": "/k"}]}, "clients[0].ssl_key: it needs ssl_cert"),
        ({"clients": [{"database": "d"}]}, "missing required arguments: user"),
        ({"clients": [{"user": "u", "transport": "udp"}]}, "value of transport must be one of: local, tcp, tls, gss, got: udp"),
        ({"clients": [{"user": "u"}], "parallel": 1000}, "parallel: 1000 is not between 1 and 256"),
        ({"clients": [{"user": "u"}], "timeout": -1}, "timeout: -1.0 is not a number of seconds"),
        ({"clients": [{"user": "u"}], "ca_cert": "/nowhere.pem", "ssl_mode": "verify-full"}, "ca_cert: /nowhere.pem cannot be read"),
    ],
)
def test_bad_input_has_a_clear_message(change: dict[str, t.Any], words: str) -> None:
    result, printed = adhoc(change)
    assert "FAILED" in printed
    assert words in result["msg"], result["msg"]
    assert "Traceback" not in printed


def test_no_clients_is_no_check() -> None:
    result, printed = adhoc({"clients": []})
    assert "SUCCESS" in printed
    assert (result["checks"], len(result["table"])) == ([], 1)


def test_without_psycopg2(reach: dict[str, t.Any], tmp_path: Path) -> None:
    """A Python that has none: the check itself needs none, and confirm_with says what is missing and where."""
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True, timeout=60)
    interpreter = ("-e", f"ansible_python_interpreter={bare}/bin/python")
    clients = [{"user": "scramuser", "database": "postgres", "password": SECRET, "expect": "scram-sha-256"}]
    done = ansible_with(interpreter, {**reach, "clients": clients})
    assert "SUCCESS" in done, done
    done = ansible_with(interpreter, {**reach, "clients": clients, "confirm_with": "psycopg2"})
    assert "FAILED" in done
    assert "Failed to import the required Python library (psycopg2)" in done
    assert "to confirm every verdict with libpq" in done


def ansible_with(interpreter: tuple[str, str], arguments: t.Mapping[str, t.Any]) -> str:
    command = [
        str(Path(sys.executable).parent / "ansible"),
        "localhost",
        "-m",
        "pgops.access.pg_access_check",
        "-a",
        json.dumps(arguments),
        *interpreter,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


def test_certificates_by_option(reach: dict[str, t.Any], certificates: Certificates, any_server: Server) -> None:
    """The module's own ssl_cert is every client's; a client's own wins."""
    clients = [
        {"user": "certuser", "database": "postgres", "transport": "tls", "expect": "cert"},
        {
            "user": "certuser",
            "database": "postgres",
            "transport": "tls",
            "ssl_cert": str(certificates.stranger),
            "ssl_key": str(certificates.stranger_key),
            "expect": "certificate_refused",
        },
    ]
    options = {"ssl_mode": "verify-ca", "ca_cert": str(any_server.data / "server.crt")}
    own = {"ssl_cert": str(certificates.client), "ssl_key": str(certificates.client_key)}
    result, printed = adhoc({**reach, **options, **own, "clients": clients})
    assert "SUCCESS" in printed, result.get("msg")
