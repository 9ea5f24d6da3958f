# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that is copied from the build is what initdb makes, is nobody else's, and is whole."""

from __future__ import annotations

import re

from image_support import IMAGE, PASSWORD, docker

SHAPE = """
SELECT 'setting', name, setting FROM pg_settings WHERE source IN ('configuration file', 'override')
 AND name NOT IN ('hba_file', 'ident_file', 'config_file', 'data_directory') AND name NOT LIKE 'log_%' AND name NOT LIKE 'ssl%'
UNION ALL SELECT 'database', datname, concat_ws(' ', datdba::regrole, pg_encoding_to_char(encoding), datlocprovider, datcollate, datctype,
 daticulocale, datcollversion, datacl) FROM pg_database
UNION ALL SELECT 'role', rolname, concat_ws(' ', rolsuper, rolcanlogin, left(rolpassword, 19)) FROM pg_authid LEFT JOIN pg_shadow ON false
UNION ALL SELECT 'class', c.oid::regclass::text, concat_ws(' ', relkind, relowner::regrole, relacl) FROM pg_class c WHERE c.oid < 16384
UNION ALL SELECT 'collation', c.oid::text, concat_ws(' ', collname, collversion) FROM pg_collation c
ORDER BY 1, 2, 3
"""


COPIED = "copying the cluster that the build prepared"


def made(server) -> str:
    """How the cluster came to be, by the entrypoint's own word."""
    return next(record["message"] for record in server.records() if record.get("event") == "new_cluster")


def control(server) -> dict[str, str]:
    """pg_controldata's facts."""
    return dict(re.findall(r"(?m)^(.*?): +(.*)$", server.exec("pg_controldata")))


def test_a_copy_is_what_initdb_makes(start, connect):
    names = {"POSTGRES_USER": "the app", "POSTGRES_DB": "Or\"ders'"}
    copied = start(env=names, password="b\\ack'slash")
    initialized = start(env={**names, "POSTGRES_INITDB_ARGS": "--locale=C.UTF-8"}, password="b\\ack'slash").healthy()
    copied.healthy()
    assert (made(copied), made(initialized)) == (COPIED, "running initdb")
    query = ("psql", "-XAtqU", "the app", "Or\"ders'", "-c", SHAPE)
    shape = copied.exec(*query)
    assert len(shape.splitlines()) > 1000
    assert shape == initialized.exec(*query)
    assert copied.exec("sh", "-c", "cat $PGDATA/postgresql.conf") == initialized.exec("sh", "-c", "cat $PGDATA/postgresql.conf")
    assert copied.hba() == initialized.hba()
    for server in (copied, initialized):
        assert connect(server, user="the app", database="Or\"ders\\'", password="b\\ack'slash") == "ok the app"
        # How it was made is in nobody's statistics: one of the statements holds the password.
        counted = "SELECT query FROM pg_stat_statements WHERE query ~* '^(alter|create|update)'"
        assert server.exec("psql", "-XAtqU", "the app", "postgres", "-c", counted) == ""
    kept = {"Bytes per WAL segment", "Data page checksum version", "wal_level setting", "Catalog version number", "max_connections setting"}
    one, other = control(copied), control(initialized)
    assert {name: one[name] for name in kept} == {name: other[name] for name in kept}


def test_no_two_are_the_same(start):
    servers = [start() for _number in range(2)]
    for server in servers:
        server.healthy()
    assert {made(server) for server in servers} == {COPIED}
    facts = [control(server) for server in servers]
    for name in ("Database system identifier", "Mock authentication nonce"):
        assert facts[0][name] != facts[1][name], name
        assert set(facts[0][name]) != {"0"}
    began = int(facts[0]["Database system identifier"]) >> 32
    now = int(servers[0].exec("date", "+%s"))
    assert now - 600 < began <= now, "its upper half is the time, as the server makes it"
    for server, fact in zip(servers, facts):
        answer = server.exec("psql", "-XAtqc", "SELECT system_identifier FROM pg_control_system()")
        assert answer == fact["Database system identifier"]
    salts = {server.exec("psql", "-XAtqc", "SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'") for server in servers}
    assert len(salts) == 2


def test_it_is_whole_before_and_after_a_crash(start, volume):
    mount = f"--volume={volume}:/var/lib/postgresql/data"
    server = start(mount).healthy()
    server.exec("psql", "-Xqc", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
    docker("kill", "--signal", "KILL", server.name)
    server = start(mount).healthy()
    assert server.exec("psql", "-XAtqc", "SELECT sum(n) FROM t") == "500500"
    server.exec("psql", "-Xqc", "CREATE EXTENSION amcheck")
    server.exec("pg_amcheck", "--all", "--heapallindexed", "--install-missing", "--parent-check")
    server.exec("pg_basebackup", "--pgdata=/tmp/copy", "--checkpoint=fast", "--wal-method=stream", "--username=postgres")
    assert server.exec("pg_verifybackup", "/tmp/copy") == "backup successfully verified"
    docker("stop", server.name)
    script = "pg_checksums --enable --no-sync >/dev/null && pg_checksums --check | grep -E 'Bad|scanned' && pg_controldata | grep state"
    answer = docker("run", "--rm", mount, IMAGE, "bash", "-c", script).stdout
    assert re.search(r"Bad checksums: +0\n", answer)
    assert "shut down" in answer


def test_every_password_is_stored_as_the_server_stores_it(start, connect):
    """Usual ones are written in place; the server normalizes what is not ASCII (ﬁ becomes fi) and takes a verifier as it is."""
    stored = "SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'"
    usual, ligature = start(password="it's $ecret"), start(password="ﬁsh")
    usual.healthy()
    ligature.healthy()
    assert (made(usual), made(ligature)) == (COPIED, COPIED)
    verifier = usual.exec("psql", "-XAtqc", stored)
    assert re.fullmatch(r"SCRAM-SHA-256[$]4096:[A-Za-z0-9+/]{22}==[$][A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=", verifier)
    assert connect(usual, password="it's $ecret") == "ok postgres"
    assert connect(usual, password="another") != "ok postgres"
    assert connect(ligature, password="fish") == "ok postgres"
    # The place is the row's own: the server itself changes it, and a change is a new version.
    usual.exec("psql", "-Xqc", "ALTER ROLE postgres PASSWORD 'later'")
    assert connect(usual, password="later") == "ok postgres"
    ligature.remove()
    again = start(password=verifier).healthy()
    assert again.exec("psql", "-XAtqc", stored) == verifier
    assert connect(again, password="it's $ecret") == "ok postgres"


def test_what_it_cannot_be_made_of_is_made_by_initdb(start):
    for environment in ({"TZ": "Europe/Berlin"}, {"LC_COLLATE": "C"}, {"POSTGRES_INITDB_WALDIR": "/var/lib/postgresql/data2"}):
        server = start(env=environment)
        assert server.event_of("new_cluster")["message"] == "running initdb", environment
        server.remove()


def test_the_archive_shares_no_secret():
    code = (
        "import gzip, json, re\n"
        "head, _end, body = gzip.open('/opt/pgops/prepared.gz').read().partition(b'\\n')\n"
        "head = json.loads(head); note = head['note']; files = {name: body[at:at + size] for name, at, size in head['files']}\n"
        "control, log = files['global/pg_control'], files[note['log']]\n"
        "print(set(control[:8]) | set(control[note['nonce']:note['nonce'] + 32]) | set(log[note['log_identifier']:][:8]))\n"
        "print([name for name in files if 'hba' in name or name.endswith(('.key', '.pem'))], len(log) < note['log_bytes'])\n"
        "where = note['verifier']; blank = files[where['file']][where['place']:][:where['length']]\n"
        "print(set(blank[19:].decode()) - set('=$:'))\n"
        "files.pop(where['file']); text = rb'SCRAM-SHA-256[$][0-9]+:|md5[0-9a-f]{32}'\n"
        "print([name for name, content in files.items() if '/' in name and re.search(text, content)])"
    )
    said = docker("run", "--rm", "--entrypoint", "python3", IMAGE, "-c", code).stdout.splitlines()
    assert said == ["{0}", "[] True", "{'A'}", "[]"]
    assert PASSWORD not in docker("run", "--rm", "--entrypoint", "cat", IMAGE, "/usr/share/postgresql/15/postgresql.conf.sample").stdout
