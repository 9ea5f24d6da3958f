# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines in, records out: levels, one line each, no secret, whatever bytes come."""

from __future__ import annotations

import json
import time

import pytest
from pgops.entrypoint import logs
from pgops.entrypoint.redact import Redactor

PLAIN = Redactor()


def row(**fields) -> dict:
    return {
        "timestamp": "2026-11-24 15:42:39.459 UTC",
        "pid": 22,
        "session_id": "6b05b06f.16",
        "line_num": 1,
        "error_severity": "LOG",
        **fields,
    }


def recorded(told: dict) -> logs.Record:
    return logs.server_record(told, logs.level_of(told), PLAIN)


def test_a_servers_row_becomes_a_record():
    made = recorded(
        row(
            error_severity="ERROR",
            state_code="42P01",
            message='relation "x" does not exist',
            user="app",
            dbname="orders",
            remote_host="192.0.2.7",
            remote_port=5,
            statement="select * from x",
            query_id=0,
        ),
    )
    assert made == {
        "time": "2026-11-24T15:42:39.459Z",
        "level": "error",
        "source": "postgresql",
        "message": 'relation "x" does not exist',
        "severity": "ERROR",
        "sqlstate": "42P01",
        "pid": 22,
        "user": "app",
        "database": "orders",
        "address": "192.0.2.7",
        "port": 5,
        "statement": "select * from x",
        "session": "6b05b06f.16",
    }


@pytest.mark.parametrize(
    ("severity", "level"),
    [
        ("LOG", "info"),
        ("INFO", "info"),
        ("NOTICE", "info"),
        ("WARNING", "warning"),
        ("ERROR", "error"),
        ("FATAL", "error"),
        ("PANIC", "error"),
        ("DEBUG1", "debug"),
        ("DEBUG5", "debug"),
        ("NEW", "info"),
    ],
)
def test_levels(severity, level):
    assert recorded(row(error_severity=severity, message="m"))["level"] == level


@pytest.mark.parametrize(
    "message", ["connection received: host=192.0.2.7 port=5", "connection authorized: user=app", "disconnection: session time"]
)
def test_the_pieces_of_a_connection_are_for_debug(message):
    assert recorded(row(message=message))["level"] == "debug"


def test_another_time_zone_is_not_mistaken_for_utc():
    made = recorded(row(timestamp="2026-11-24 17:42:39.459 CEST", message="m"))
    assert made["time"] != "2026-11-24T17:42:39.459Z"
    assert made["time"].endswith("Z")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"message":"user \\"\xff\xfe\\""}', 'user "\\xff\\xfe"'),
        (b'{"message":"user \\\\x41\\\\\xff"}', "user \\x41\\\\xff"),
        (b'{"message":"a\\nb\\u0000c\x7f"}', "a\nb\0c\x7f"),
        (b'{"message":"\\ud800"}', "\\ud800"),
        ('{"message":"ä → 漢\u2028\u2029\u0085\u202e\u009b1m"}'.encode(), "ä → 漢\u2028\u2029\u0085\u202e\u009b1m"),
        ('{"message":"\U0001f418"}'.encode(), "\U0001f418"),
    ],
)
def test_whatever_comes_one_line_of_json_goes_out(raw, message):
    """One line for every reader, those too that end lines where Unicode says; nothing that a terminal would obey."""
    found = logs.server_row(raw)
    assert found is not None
    text = logs.encode(recorded(found)).decode("utf-8")
    assert len(text.splitlines()) == 1
    assert text.rstrip("\n").isprintable()
    assert json.loads(text)["message"] == message


@pytest.mark.parametrize("raw", [b"", b"plain", b"[1]", b'{"message":', b'"x"'])
def test_what_is_no_row_is_none(raw):
    assert logs.server_row(raw) is None


@pytest.mark.parametrize(
    ("raw", "level", "message"),
    [
        (b"2026-11-24 15:42:39 UTC [7] FATAL:  data directory has wrong ownership", "error", "data directory has wrong ownership"),
        (b"LOG:  starting", "info", "starting"),
        (b"initdb: error: directory exists", "error", "initdb: error: directory exists"),
        (b"psql:/x.sql:3: ERROR:  syntax error", "error", "syntax error"),
        (b"creating subdirectories ... ok", "info", "creating subdirectories ... ok"),
        (b"\xff rubbish", "info", "\\xff rubbish"),
        (b"HINT:  Future log output will appear in directory", "debug", "Future log output will appear in directory"),
    ],
)
def test_plain_lines(raw, level, message):
    made = logs.plain_record("x", raw, PLAIN)
    assert (made["level"], made["message"]) == (level, message)


@pytest.mark.parametrize(
    ("threshold", "shown"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_threshold(threshold, shown):
    assert [level for level in logs.LEVELS if logs.shown(level, threshold)] == shown


SECRET = "Tops3cret!"


@pytest.mark.parametrize(
    "statement",
    [
        f"CREATE ROLE x PASSWORD '{SECRET}'",
        f"alter user x with encrypted password '{SECRET}' valid until 'infinity'",
        f"ALTER ROLE x PASSWORD E'{SECRET}\\'s'",
        f"ALTER ROLE x PASSWORD '{SECRET}''s'",
        f"DO $$ BEGIN EXECUTE 'ALTER ROLE x PASSWORD ''{SECRET}'''; END $$",
        f"ALTER ROLE x PASSWORD $q${SECRET}$q$",
        f"ALTER ROLE x PASSWORD '{SECRET}",
        f"ALTER ROLE x PASSWORD {SECRET};",
        f"ALTER ROLE x PASSWORD\n'{SECRET}'",
        f"CREATE SUBSCRIPTION s CONNECTION 'host=h password={SECRET} user=u' PUBLICATION p",
        f"CREATE SUBSCRIPTION s CONNECTION 'host=h password=''{SECRET}''' PUBLICATION p",
        f"CREATE SUBSCRIPTION s CONNECTION 'postgresql://u:{SECRET}@h/d' PUBLICATION p",
        f"CREATE USER MAPPING FOR x SERVER s OPTIONS (user 'u', password '{SECRET}')",
    ],
)
def test_no_password_of_a_failed_statement_is_logged(statement):
    made = recorded(row(error_severity="ERROR", message="failed", statement=statement))
    assert SECRET not in logs.encode(made).decode()
    assert "***" in made["statement"]
    logged = recorded(row(message=f"statement: {statement}"))
    assert SECRET not in logs.encode(logged).decode()


def test_the_word_that_a_syntax_error_names():
    made = recorded(row(error_severity="ERROR", message=f'syntax error at or near "{SECRET}"', statement=f"ALTER ROLE x PASSWORD {SECRET}"))
    assert SECRET not in logs.encode(made).decode()


@pytest.mark.parametrize(
    "option", [f"ldapbindpasswd={SECRET}", f'"ldapbindpasswd={SECRET}"', f'radiussecrets="{SECRET}"', f"radiussecrets={SECRET}"]
)
def test_no_secret_of_a_rule_is_logged(option):
    detail = f'Connection matched pg_hba.conf line 3: "host all all all ldap ldapserver=h {option}"'
    made = recorded(row(error_severity="FATAL", message="LDAP authentication failed", detail=detail))
    assert SECRET not in made["detail"]


def test_verifiers_are_secrets_too():
    scram = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2E=$c3RvcmVk:c2VydmVya2V5"
    text = PLAIN.text(f"values {scram} and md5{'0' * 32}")
    assert text == "values SCRAM-SHA-256$*** and md5***"


@pytest.mark.parametrize(
    "text",
    [
        'password authentication failed for user "app"',
        "Password does not match for user",
        "connection to host=h user=u",
        "md5 and scram-sha-256 rules",
    ],
)
def test_ordinary_sentences_stay(text):
    assert PLAIN.message(text, None) == text


def test_a_known_secret_never_passes():
    redactor = Redactor(["correct horse", "app", "short"], ["app"])
    assert redactor.text("echo correct horse short app") == "echo *** short app"


@pytest.mark.parametrize(
    "piece", ["password '", "password $a$", "a.", "h://x:", "'", "x password ", "password=", "password '\\", "md5", "SCRAM-SHA-256$1:a$b:"]
)
def test_no_text_takes_long(piece):
    """A client that may fail a statement may fail a long one; the log must not stand still for it."""
    text = "://pass" + piece * (300_000 // len(piece))
    began = time.process_time()
    PLAIN.text(text, statement=True)
    assert time.process_time() - began < 3
