# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every line of stdout is JSON, every attempt from outside is one event, and no secret is in any of them."""

from __future__ import annotations

from image_support import PASSWORD, docker

HBA = "/var/lib/postgresql/data/pg_hba.conf"


def test_events_of_every_outcome(start, connect, outsider):
    server = start(env={"POSTGRES_USER": "app", "POSTGRES_DB": "orders"}).healthy()
    line = server.exec("grep", "-n", "0.0.0.0/0", HBA).split(":")[0]
    assert connect(server, user="app", database="orders") == "ok app"
    assert connect(server, user="app", database="orders", sslmode="disable") == "ok app"
    assert "authentication failed" in connect(server, user="app", database="orders", password="wrong", sslmode="disable")
    assert "authentication failed" in connect(server, user="ghost", database="orders", sslmode="disable")
    assert "does not exist" in connect(server, user="app", database="nowhere", sslmode="disable")
    assert "no pg_hba.conf entry" in connect(server, user="app", database="orders", replication="true", sslmode="disable")
    address = outsider.address()
    accepted = server.events(2, outcome="accepted", user="app", database="orders", address=address, method="md5", rule=f"{HBA}:{line}")
    assert sorted(event["tls"] for event in accepted) == [False, True]
    wrong = server.events(outcome="refused", user="app", reason="authentication_failed")
    assert [(event["method"], event["rule"]) for event in wrong] == [("md5", f"{HBA}:{line}")]
    ghost = server.events(outcome="refused", user="ghost")
    assert [event["detail"] for event in ghost] == ['Role "ghost" does not exist.']
    assert [event["reason"] for event in server.events(outcome="refused", database="nowhere")] == ["unknown_database"]
    entry = server.events(outcome="refused", reason="no_entry")
    assert [(event["replication"], event["rule"], event["tls"]) for event in entry] == [(True, None, False)]
    assert len(server.events()) == 6, "one event an attempt, none from inside"


def test_rejected_names_its_rule(start, connect):
    server = start(env={"EXTERNAL_ACCESS_METHOD": "reject"}).healthy()
    line = server.exec("grep", "-n", "0.0.0.0/0", HBA).split(":")[0]
    assert "rejects" in connect(server, sslmode="disable")
    events = server.events(outcome="refused")
    assert [(event["reason"], event["method"], event["rule"]) for event in events] == [("rejected", "reject", f"{HBA}:{line}")]


def test_no_secret_and_nothing_but_json_from_the_first_line_to_the_last(start, connect):
    server = start(env={"LOG_LEVEL": "debug"}).healthy()
    inside = ("psql", "-XAtq", "-c")
    for statement in (
        "CREATE ROLE a PASSWORD 'Tops3cret!' NONSENSE",
        "ALTER ROLE nobody PASSWORD Tops3cret!",
        "CREATE ROLE b LOGIN PASSWORD 'Tops3cret!'; SELECT 1/0",
    ):
        server.exec(*inside, statement, check=False)
    server.exec(*inside, f"SELECT '{'x' * 60000}' || nothing", check=False)
    server.exec(*inside, "SELECT E'two\\nlines', nothing", check=False)
    connect(server, user="x\tyé")
    server.exec("bash", "-c", r"printf '\0\0\0\x1f\0\3\0\0user\0\xff\xfe\0database\0\xff\0\0' >/dev/tcp/$(hostname -i)/5432", check=False)
    server.exec("sh", "-c", "kill -9 $(psql -XAtqc \"SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'\")", check=False)
    server.healthy()
    text = "\n".join(server.raw_lines())
    docker("stop", "--time", "30", server.name)
    records = server.records()
    assert "Tops3cret!" not in text + "\n".join(server.raw_lines())
    assert PASSWORD not in "\n".join(server.raw_lines())
    assert any(len(record.get("statement", "")) > 60000 for record in records)
    assert any("database system was not properly shut down" in record["message"] for record in records), "crash recovery is told"
    assert records[-1]["message"] == "PostgreSQL has stopped"
    assert any(record["message"] == "database system is shut down" for record in records)


def test_log_level_turns_every_source(start, connect):
    server = start(env={"LOG_LEVEL": "error"}).healthy()
    server.exec("psql", "-XAtqc", "SELECT nothing", check=False)
    connect(server, password="wrong", sslmode="disable")
    assert {record["level"] for record in server.records()} == {"error"}
