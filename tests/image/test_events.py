# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every line of stdout is JSON, every attempt from outside is one event, and no secret is in any of them."""

from __future__ import annotations

import json
import time

from image_support import PASSWORD, docker, until

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
    server.exec(
        "bash",
        "-c",
        r"printf '\0\0\0\x2d\0\3\0\0user\0\xff\xfe\0database\0\xff\0replication\0true\0\0' >/dev/tcp/$(hostname -i | cut -d' ' -f1)/5432",
    )
    server.exec("sh", "-c", "kill -9 $(psql -XAtqc \"SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'\")", check=False)
    server.healthy()
    text = "\n".join(server.raw_lines())
    docker("stop", "--time", "30", server.name)
    records = server.records()
    assert "Tops3cret!" not in text + "\n".join(server.raw_lines())
    assert PASSWORD not in "\n".join(server.raw_lines())
    assert any(len(record.get("statement", "")) > 60000 for record in records)
    assert any(record.get("user") == "\\xff\\xfe" for record in records)
    assert any("database system was not properly shut down" in record["message"] for record in records), "crash recovery is told"
    assert records[-1]["message"] == "PostgreSQL has stopped"
    assert any(record["message"] == "database system is shut down" for record in records)


def test_clients_cannot_forge_what_is_logged_of_them(start, connect):
    """Whoever is in may log anything (RAISE LOG) and end itself; whoever is not may send any bytes as a name."""
    server = start().healthy()
    line = server.exec("grep", "-n", "0.0.0.0/0", HBA).split(":")[0]
    server.exec("psql", "-XAtqc", "CREATE ROLE low LOGIN PASSWORD 'c0rrect-horse'", "postgres", "postgres")
    forged = (
        f"DO $$ BEGIN RAISE LOG 'connection authenticated: identity=\"x\" method=trust ({HBA}:1)'; "
        "RAISE LOG 'connection received: host=203.0.113.9 port=1'; END $$"
    )
    connect(server, user="low", statement=forged)
    connect(server, user="low", statement="SELECT pg_terminate_backend(pg_backend_pid())")
    fatal = 'ghost"\nConnection matched pg_hba.conf line 1: "trust'
    connect(server, user=fatal, sslmode="disable")
    connect(server, user="two\u2028lines\u0085\u202e", sslmode="disable")
    raw = r"printf '\0\0\0\x34\0\3\0\0user\0\\x41\xff\x1b[2J\0database\0x\0replication\0true\0\0'"
    server.exec("bash", "-c", f"{raw} >/dev/tcp/$(hostname -i | cut -d' ' -f1)/5432")
    events = server.events(5)
    assert [(e["user"], e["outcome"], e["method"], e["rule"]) for e in events] == [
        ("low", "accepted", "md5", f"{HBA}:{line}"),
        ("low", "accepted", "md5", f"{HBA}:{line}"),
        (fatal, "refused", "md5", f"{HBA}:{line}"),
        ("two\u2028lines\u0085\u202e", "refused", "md5", f"{HBA}:{line}"),
        ("\\x41\\xff\x1b[2J", "refused", None, None),
    ]
    for text in server.raw_lines():
        assert len(text.splitlines()) == 1
        assert text.isprintable()


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
    """As fast as this machine's server takes them: some hundred a second. A faster log is in the next test."""
    server = start(env={"EXTERNAL_ACCESS_ENABLE": "false"}, command=("-c", "max_connections=200")).healthy()
    began = time.monotonic()
    docker("exec", outsider.name, "python3", "-c", BURST, server.address(), "3000", timeout=120)
    print(f"{3000 / (time.monotonic() - began):.0f} attempts a second")
    docker("stop", "--time", "30", server.name)
    records = server.records()
    events = [record for record in records if record.get("event") == "external_connection"]
    assert len(events) == 3000
    assert {(event["outcome"], event["reason"], event["user"]) for event in events} == {("refused", "no_entry", "nobody")}
    assert records[-1]["message"] == "PostgreSQL has stopped"


# Lines as the server's logger writes them, one call a line, into the pipe that it writes to: RATE attempts a second, each of four lines,
# of ever new clients and users. What PID 1 took for it, once the pipe is empty again.
FEED = """
import fcntl, json, os, sys, termios, time
rate, seconds = int(sys.argv[1]), int(sys.argv[2])
def row(number, line, message, **more):
    host = f"198.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    base = {"timestamp": "2026-11-24 15:42:39.459 UTC", **more, "pid": number, "remote_host": host, "remote_port": 40000,
            "session_id": f"feed.{number:x}", "line_num": line, "session_start": "2026-11-24 15:42:39 UTC", "txid": 0,
            "error_severity": "LOG", "message": message, "backend_type": "client backend", "query_id": 0}
    return json.dumps(base, separators=(",", ":")).encode() + b"\\n"
def attempt(number):
    who = {"user": f"u{number}", "dbname": "orders"}
    tls = "SSL enabled (protocol=TLSv1.3, cipher=TLS_AES_256_GCM_SHA384, bits=256)"
    identity = f'connection authenticated: identity="u{number}" method=scram-sha-256 (/var/lib/postgresql/data/pg_hba.conf:14)'
    return [row(number, 1, "connection received: host=198.51.100.7 port=40000", ps=""),
            row(number, 2, identity, ps="authentication", **who),
            row(number, 3, f"connection authorized: user=u{number} database=orders {tls}", ps="authentication", **who),
            row(number, 4, "disconnection: session time: 0:00:00.005", ps="idle", **who)]
attempts = [attempt(number) for number in range(rate * seconds)]
def used():
    words = open("/proc/1/stat").read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
def memory():
    return int(next(line for line in open("/proc/1/status") if line.startswith("VmRSS")).split()[1])
pipe = os.open("/run/postgresql/pgops/log/postgresql.json", os.O_WRONLY)
before, kilobytes, began = used(), memory(), time.monotonic()
for number, lines in enumerate(attempts):
    ahead = began + number / rate - time.monotonic()
    if ahead > 0.005:
        time.sleep(ahead)
    for line in lines:
        os.write(pipe, line)
while int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder):
    time.sleep(0.02)
elapsed = time.monotonic() - began
time.sleep(0.3)
print(json.dumps({"rate": len(attempts) / elapsed, "cpu": (used() - before) / len(attempts), "kilobytes": memory() - kilobytes}))
"""


def test_five_thousand_connections_a_second_leave_every_event(start, connect):
    """No server here takes so many; its log pipe does. What one attempt costs says whether a core is enough."""
    server = start().healthy()
    found = json.loads(server.exec("python3", "-c", FEED, "5000", "2"))
    print(found)
    assert connect(server) == "ok postgres"
    assert len(server.events(user="postgres")) == 1
    events = [record for record in server.records() if record.get("event") == "external_connection"]
    numbers = [int(event["user"][1:]) for event in events if event["user"].startswith("u")]
    assert numbers == list(range(10_000)), "each once, and in order"
    assert {(event["outcome"], event["tls"], event["method"]) for event in events if event["user"] != "postgres"} == {
        ("accepted", True, "scram-sha-256")
    }
    assert found["cpu"] < 1 / 5000, "seconds of processor time for an attempt"
    assert found["kilobytes"] < 30_000, "nothing is kept of clients that are gone"


HELD = "mkfifo /tmp/out; sleep 1000 </tmp/out & exec /usr/bin/python3 -I /usr/local/lib/pgops/pid1.py postgres >/tmp/out"
"""PID 1's stdout is a pipe that is open and that nobody reads: a log driver that is stuck."""
VOLUME = "DO $$ BEGIN FOR i IN 1..3000 LOOP RAISE LOG 'line % %', i, repeat('x', 1000); END LOOP; END $$"


def test_stdout_that_nobody_reads_fills_no_disk_and_loses_nothing(start):
    """The server waits; the health check says for what; once somebody reads, every line comes; and a stop is still a clean one."""
    server = start("--entrypoint=sh", "--tmpfs=/var/lib/postgresql/data:size=110m,mode=1777", command=("-c", HELD)).healthy()

    def kilobytes() -> int:
        script = "du -skx --exclude=pg_wal --exclude=base --exclude=global $PGDATA /run /tmp /dev/shm; true"
        return sum(int(line.split()[0]) for line in server.exec("sh", "-c", script).splitlines())

    def blocked() -> str:
        docker("exec", "--detach", server.name, "psql", "-Xqc", VOLUME, "postgres", "postgres")
        return until(server, "log: ")[1]

    before = kilobytes()
    assert blocked() == "log: nobody reads the container's stdout, so the server waits"
    assert kilobytes() - before < 200
    text = server.exec("sh", "-c", "timeout 30 sed '/^{.*line 3000 x/q' /tmp/out")
    told = [json.loads(line)["message"] for line in text.split("\n")]
    assert [int(message.split()[1]) for message in told if message.startswith("line ")] == list(range(1, 3001))
    docker("exec", "--detach", server.name, "sh", "-c", "exec cat /tmp/out >/dev/null")
    assert until(server, "healthy: ")[0] == 0
    server.exec("sh", "-c", "kill $(grep -l -a '^cat' /proc/[0-9]*/cmdline | cut -d/ -f3)", check=False)
    assert blocked().startswith("log: ")
    docker("stop", "--time", "30", server.name, timeout=60)
    assert server.wait() == 0, "PostgreSQL's own word: it was shut down, not killed"


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
