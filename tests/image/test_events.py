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


# Raw start-up packets, fifty at a time, from one process: what a scanner or a broken pool does.
BURST = """
import socket, struct, sys
address = (sys.argv[1], 5432)
body = b"user\\0nobody\\0database\\0x\\0\\0"
packet = struct.pack("!II", len(body) + 8, 196608) + body
waiting = []
def finish(one):
    one.settimeout(30)
    try:
        while one.recv(1000):
            pass
    except OSError:
        pass
    one.close()
for number in range(int(sys.argv[2])):
    one = socket.create_connection(address)
    one.sendall(packet)
    waiting.append(one)
    if len(waiting) > 50:
        finish(waiting.pop(0))
for one in waiting:
    finish(one)
"""


def test_each_of_many_attempts_is_one_event_and_no_line_is_lost(start, outsider):
    """As fast as this machine's server takes them: some hundred a second."""
    server = start(env={"EXTERNAL_ACCESS_ENABLE": "false"}, command=("-c", "max_connections=200")).healthy()
    docker("exec", outsider.name, "python3", "-c", BURST, server.address(), "3000", timeout=120)
    docker("stop", "--time", "30", server.name)
    records = server.records()
    events = [record for record in records if record.get("event") == "external_connection"]
    assert len(events) == 3000
    assert {(event["outcome"], event["reason"], event["user"]) for event in events} == {("refused", "no_entry", "nobody")}
    assert records[-1]["message"] == "PostgreSQL has stopped"


def test_a_statement_of_a_megabyte_is_one_line(start):
    server = start().healthy()
    script = "python3 -c \"print('SELECT ' + repr('x' * 1000000) + ' || nothing')\" | psql -XAtq"
    server.exec("sh", "-c", script, check=False)
    docker("stop", "--time", "30", server.name)
    assert any(len(record.get("statement", "")) > 1_000_000 for record in server.records())


def test_a_fault_of_ours_is_a_line_of_json_too(start):
    """What nobody has thought of: here, a program of the server that is something else."""
    server = start("--volume=/dev/null:/opt/pgops/prepared.gz")
    assert server.wait() == 70
    last = server.records()[-1]
    assert last["level"] == "error"
    assert "Traceback" in last["traceback"]
