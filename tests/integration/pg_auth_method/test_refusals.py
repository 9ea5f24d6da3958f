# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stops a migration: nothing is half done, the message says what and what next, and the next run continues."""

from __future__ import annotations

import threading
import time
import typing as t
from pathlib import Path

import psycopg2
import pytest

from .conftest import PASSWORDS, RULES, Server, auth, enters, move, role_of, rules, setting, state_of, stored


def untouched(server: Server, before: dict[str, str]) -> None:
    assert stored(server) == before
    assert (server.data / "pg_hba.conf").read_bytes() == RULES
    assert setting(server) == "md5"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"passwords": {"app": "wrong", "anna": PASSWORDS["anna"]}}, "app: the given password is not the stored one"),
        ({"passwords": {"nobody": "x"}}, "nobody: there is no such role"),
        ({"passwords": {"keyless": "x"}}, "keyless: the role has no password"),
        ({"passwords": {"modern": "wrong"}}, "modern: the given password is not the stored one"),
        ({"passwords": {"app": ""}}, "passwords.app: is empty"),
        ({"passwords": {"app": 12345}}, "passwords.app: must be a text"),
        ({"from": []}, "from: is empty"),
        ({"from": ["crypt"]}, "from: 'crypt' is no method to log in by"),
        ({"to": "reject"}, "to: 'reject' is no method to log in by; a reject rule lets nobody in"),
        ({"to": "md5"}, "to: md5 is also among the methods to move from"),
        ({"to": "ldap", "vouched": True}, "built without"),
        ({"to": "cert"}, "ssl_ca_file"),
        ({"from": ["md5"], "to": "peer", "options": {"map": "none"}}, "no user name map 'none'"),
        ({"only": {"addresses": ["198.51.100.0/24"]}}, "only.addresses[0]: '198.51.100.0/24' is none of the rules"),
        ({"only": {"addresses": ["198.51.100.0/99"]}}, "only.addresses[0]"),
        ({"only": {"rules": ["host all nobody all md5"]}}, "only.rules[0]"),
        ({"expect": [{"user": "app", "database": "x", "address": "127.0.0.1", "expect": "md5"}]}, "expected md5, but the method is scram"),
        ({"pgbouncer_auth_file": "/nowhere/users.txt"}, "pgbouncer_auth_file: /nowhere/users.txt cannot be read"),
        ({"logs": ["/nowhere/postgresql.log"]}, "logs: there is no /nowhere/postgresql.log"),
        ({"result_limit": -1}, "result_limit: is negative"),
    ],
)
def test_bad_input_changes_nothing(ready: Server, arguments: dict[str, t.Any], words: str) -> None:
    before = stored(ready)
    for check in (True, False):
        result = move(ready, check=check, **{"passwords": PASSWORDS, **arguments})
        assert result["failed"] is True
        assert words in result["msg"]
        assert "exception" not in result
        untouched(ready, before)


def test_all_wrong_passwords_are_named_at_once(ready: Server) -> None:
    result = move(ready, passwords={"app": "wrong 1", "nobody": "wrong 2", "keyless": "wrong 3"})
    assert "because of 3 of 3" in result["msg"]
    assert not any(f"wrong {number}" in str(result) for number in (1, 2, 3))


def test_rules_that_would_not_load_stop_it(ready: Server) -> None:
    before = stored(ready)
    path = rules(ready, RULES + b"host all all all md6\n")
    result = move(ready, passwords=PASSWORDS)
    assert result["failed"] is True
    assert "would not load" in result["msg"]
    assert stored(ready) == before
    assert path.read_bytes() == RULES + b"host all all all md6\n"
    assert "line 8" in auth(ready)["msg"]


def test_a_pooler_that_would_be_locked_out(ready: Server, tmp_path: Path) -> None:
    file = tmp_path / "userlist.txt"
    before = stored(ready)
    file.write_text(f'"app" "{before["app"]}"\n')
    arguments: dict[str, t.Any] = {"passwords": PASSWORDS, "pgbouncer_auth_file": str(file)}
    result = move(ready, **arguments)
    assert result["failed"] is True
    assert "holds md5 entries for app" in result["msg"]
    untouched(ready, before)
    assert [one["code"] for one in auth(ready, pgbouncer_auth_file=str(file))["findings"]][-1] == "pooler_md5"
    file.write_text('"app" "pw of app"\n')
    assert "failed" not in move(ready, **arguments)


def test_a_lost_connection_half_way_stores_nothing(ready: Server) -> None:
    """Another session holds one of the roles; ours waits for it in the middle of its work, and is cut off."""
    before = stored(ready)
    other = psycopg2.connect(host=str(ready.sockets), port=ready.port, user="postgres", dbname="postgres")
    found: list[dict[str, t.Any]] = []
    with other.cursor() as cursor:
        cursor.execute("alter role oldie connection limit 5")  # not committed
        thread = threading.Thread(target=lambda: found.append(move(ready, passwords=PASSWORDS)))
        thread.start()
        deadline = time.monotonic() + 20
        while not ready.sql("select pg_terminate_backend(pid) from pg_locks where not granted") and time.monotonic() < deadline:
            time.sleep(0.1)
        thread.join(30)
    other.rollback()
    other.close()
    assert found[0]["failed"] is True
    assert "passwords: no password was stored" in found[0]["msg"]
    assert "SCRAM-SHA-256$" not in str(found[0])
    assert stored(ready) == before
    assert (ready.data / "pg_hba.conf").read_bytes() == RULES
    assert enters(ready, "app", PASSWORDS["app"])
    again = move(ready, passwords=PASSWORDS)
    assert "failed" not in again, again.get("msg")
    assert state_of(again)[3] == "done"
    assert enters(ready, "app", PASSWORDS["app"])


def test_a_password_that_somebody_changes_meanwhile_wins(ready: Server) -> None:
    other = psycopg2.connect(host=str(ready.sockets), port=ready.port, user="postgres", dbname="postgres")
    found: list[dict[str, t.Any]] = []
    with other.cursor() as cursor:
        cursor.execute("set password_encryption = 'md5'")
        cursor.execute("alter role app password 'a new one'")
        thread = threading.Thread(target=lambda: found.append(move(ready, passwords=PASSWORDS)))
        thread.start()
        deadline = time.monotonic() + 20
        while not ready.sql("select 1 from pg_locks where not granted") and time.monotonic() < deadline:
            time.sleep(0.1)
    other.commit()
    thread.join(30)
    other.close()
    assert found[0]["failed"] is True
    assert "nothing was stored" in found[0]["msg"] or "no password was stored" in found[0]["msg"]
    assert "SCRAM-SHA-256$" not in str(found[0])
    assert stored(ready)["anna"].startswith("md5")
    assert enters(ready, "app", "a new one")


def test_logins_that_fail_bring_the_old_rules_back(ready: Server) -> None:
    """The task vouches for a method that nobody here can do; the first real login tells."""
    text = b"local all postgres trust\nhost all app 127.0.0.1/32 md5\n"
    path = rules(ready, text)
    result = move(ready, passwords={"app": PASSWORDS["app"]}, vouched=True, **{"from": ["md5"], "to": "ident"})
    assert result["failed"] is True
    assert "logins by the changed rules fail" in result["msg"]
    assert "The old file is back" in result["msg"]
    assert path.read_bytes() == text
    assert enters(ready, "app", PASSWORDS["app"])
    unchecked = move(ready, passwords={}, vouched=True, verify_logins=False, **{"from": ["md5"], "to": "ident"})
    assert "failed" not in unchecked, unchecked.get("msg")
    assert not enters(ready, "app", PASSWORDS["app"])


def test_what_a_role_lacks_is_named(ready: Server, tmp_path: Path) -> None:
    ready.sql("create role auditor login")
    rules(ready, b"local all auditor trust\n" + RULES)
    try:
        poor = auth(ready, login_user="auditor")
        assert "may not read pg_authid" in poor["msg"]
        assert 'in the database postgres: GRANT SELECT ON pg_catalog.pg_authid TO "auditor"' in poor["msg"]
        ready.sql("grant select on pg_authid to auditor")
        assert "hba_file" in auth(ready, login_user="auditor")["msg"]
        ready.sql("grant pg_read_all_settings to auditor")
        result = auth(ready, login_user="auditor", path=str(ready.data / "pg_hba.conf"))
        assert "failed" not in result, result.get("msg")
        assert role_of(result, "app")["password"] == "md5"
        moving = move(ready, login_user="auditor", passwords=PASSWORDS)
        assert moving["failed"] is True
        assert "pg_reload_conf" in moving["msg"]
        ready.sql("grant execute on function pg_reload_conf() to auditor")
        ready.sql("grant select on pg_hba_file_rules to auditor")
        ready.sql("grant execute on function pg_hba_file_rules() to auditor")
        assert "may not set password_encryption" in move(ready, login_user="auditor", passwords=PASSWORDS)["msg"]
        arguments: dict[str, t.Any] = {"login_user": "auditor", "passwords": PASSWORDS, "set_password_encryption": False}
        assert "CREATEROLE" in move(ready, **arguments)["msg"]
    finally:
        ready.sql("revoke all on pg_authid from auditor")
        ready.sql("revoke all on function pg_reload_conf() from auditor")
        ready.sql("revoke all on pg_hba_file_rules from auditor")
        ready.sql("revoke all on function pg_hba_file_rules() from auditor")
        ready.sql("drop role auditor")


def test_our_own_connection_is_not_cut_off(ready: Server) -> None:
    """The role that manages the server logs in with md5 itself: its rule waits."""
    ready.sql("set password_encryption = 'md5'")
    ready.sql("alter role postgres password 'pw of postgres'")
    try:
        path = rules(ready, b"local all postgres trust\nhost all postgres 127.0.0.1/32 md5\nhost all modern all md5\n")
        how: dict[str, t.Any] = {
            "login_unix_socket": None,
            "login_host": "127.0.0.1",
            "login_password": "pw of postgres",
            "ssl_mode": "disable",
        }
        result = move(ready, **how)
        assert "failed" not in result, result.get("msg")
        assert state_of(result) == {1: "left_alone", 2: "held_back", 3: "done"}
        assert b"127.0.0.1/32 md5" in path.read_bytes()
        result = move(ready, **how, passwords={"postgres": "pw of postgres"})
        assert "failed" not in result, result.get("msg")
        assert state_of(result)[2] == "done"
    finally:
        ready.sql("alter role postgres password null")
        ready.sql("reset password_encryption")
