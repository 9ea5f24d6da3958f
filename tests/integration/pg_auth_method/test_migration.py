# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Audit and migration, on every major: what is said, what is done, what is left alone, and the way back."""

from __future__ import annotations

from pathlib import Path

import psycopg2
import pytest

from .conftest import PASSWORDS, RULES, Server, auth, enters, move, role_of, rules, setting, state_of, stored


def test_an_audit_says_who_would_be_locked_out(ready: Server) -> None:
    before = stored(ready)
    result = auth(ready, fail_on="never")
    assert result["changed"] is False
    assert state_of(result) == {2: "left_alone", 3: "held_back", 4: "held_back", 5: "ready", 6: "held_back", 7: "left_alone"}
    held = {rule["line_number"]: rule["held_back_by"] for rule in result["rules"]}
    assert (held[3], held[4], held[6]) == (["app"], ["anna"], ["anna", "app", "oldie"])
    assert role_of(result, "app")["password"] == "md5"
    assert role_of(result, "modern")["iterations"] == 4096
    assert role_of(result, "keyless")["password"] == "none"
    assert role_of(result, "asleep")["expired"] is True
    assert role_of(result, "shelf")["target"] == "cannot_log_in"
    assert role_of(result, "modern")["target"] == "ready"
    assert result["password_encryption"] == "md5"
    assert {finding["code"] for finding in result["findings"]} >= {"dormant_md5"}
    assert any(line.split()[:2] == ["app", "md5"] for line in result["table"])
    assert stored(ready) == before
    refused = auth(ready, fail_on="held_back")
    assert refused["failed"] is True
    assert "line 3: app" in refused["msg"]


def test_what_the_audit_says_is_what_a_server_does(ready: Server) -> None:
    """Every rule becomes scram-sha-256 by force: who was to be refused is, who was ready gets in."""
    audit = auth(ready)
    rules(ready, RULES.replace(b"md5", b"scram-sha-256"))
    for name, password in (*PASSWORDS.items(), ("modern", "pw of modern"), ("asleep", "pw of asleep")):
        role = role_of(audit, name)
        reachable = bool({3, 4, 5} & {audit["rules"][number - 1]["line_number"] for number in role["rules"]})
        assert enters(ready, name, password) == (role["target"] == "ready" and reachable), name


def test_four_runs_move_everything_once(ready: Server) -> None:
    path = ready.data / "pg_hba.conf"
    before = stored(ready)
    predicted = move(ready, passwords=PASSWORDS, check=True)
    assert "failed" not in predicted, predicted.get("msg")
    assert (stored(ready), path.read_bytes(), setting(ready)) == (before, RULES, "md5"), "check mode wrote"
    made = move(ready, passwords=PASSWORDS, backup=True)
    assert "failed" not in made, made.get("msg")
    for name in ("rehashed", "edits", "access_changes", "steps", "diff", "password_encryption_set"):
        assert predicted[name] == made[name], name
    assert state_of(predicted) == state_of(made)
    assert made["rehashed"] == sorted(PASSWORDS)
    assert setting(ready) == "scram-sha-256"
    text = path.read_bytes()
    assert text == RULES.replace(b"md5", b"scram-sha-256").replace(b"password", b"scram-sha-256")
    for name in PASSWORDS:
        assert stored(ready)[name].startswith("SCRAM-SHA-256$4096:")
    assert {name: stored(ready)[name] for name in ("asleep", "shelf", "modern")} == {
        name: before[name] for name in ("asleep", "shelf", "modern")
    }
    for name, password in PASSWORDS.items():
        if name != "oldie":
            assert enters(ready, name, password)
            assert not enters(ready, name, password + "x")
    assert made["summary"]["md5_reachable"] == 0
    assert made["logins"]
    assert all(login["met"] for login in made["logins"])
    assert Path(made["backup_files"][0]).read_bytes() == RULES
    for check in (True, False):
        again = move(ready, passwords=PASSWORDS, check=check)
        assert "failed" not in again, again.get("msg")
        assert again["changed"] is False, again["steps"]
        assert path.read_bytes() == text


def test_non_ascii_passwords_log_in_with_libpq(ready: Server) -> None:
    rules(ready, b"local all postgres trust\nhost all all 127.0.0.1/32 md5\n")
    assert enters(ready, "oldie", PASSWORDS["oldie"], client_encoding="UTF8")
    result = move(ready, passwords=PASSWORDS)
    assert "failed" not in result, result.get("msg")
    assert enters(ready, "oldie", PASSWORDS["oldie"], client_encoding="UTF8")
    # SASLprep makes IX of the Roman numeral, for libpq as for us
    assert enters(ready, "oldie", "p\u00e4ssword IX", client_encoding="UTF8")


def test_without_passwords_only_what_is_ready_moves(ready: Server) -> None:
    result = move(ready)
    assert "failed" not in result, result.get("msg")
    assert (ready.data / "pg_hba.conf").read_bytes() == RULES.replace(b"modern all md5", b"modern all scram-sha-256")
    assert enters(ready, "app", PASSWORDS["app"])
    assert enters(ready, "anna", PASSWORDS["anna"])
    assert enters(ready, "modern", "pw of modern")
    strict = move(ready, fail_on="held_back")
    assert strict["failed"] is True
    assert "3 rules are held back" in strict["msg"]


def test_stages_by_rules_and_addresses(ready: Server) -> None:
    path = ready.data / "pg_hba.conf"
    first = move(ready, passwords=PASSWORDS, only={"rules": ["3"]})
    assert "failed" not in first, first.get("msg")
    assert path.read_bytes() == RULES.replace(b"127.0.0.1/32   md5", b"127.0.0.1/32   scram-sha-256")
    assert state_of(first)[4] == "not_chosen"
    second = move(ready, only={"rules": ["host all +staff 127.0.0.0/8 md5"], "addresses": ["127.0.0.0/8"]})
    assert "failed" not in second, second.get("msg")
    assert state_of(second) == {2: "left_alone", 3: "done", 4: "done", 5: "not_chosen", 6: "not_chosen", 7: "left_alone"}
    third = move(ready, only={"addresses": ["192.0.0.0/16"]})
    assert state_of(third)[6] == "done"
    wrong = move(ready, only={"rules": ["99"]})
    assert wrong["failed"] is True
    assert "only.rules[0]" in wrong["msg"]


def test_there_and_back(ready: Server) -> None:
    rules(ready, RULES.replace(b"password", b"md5"))
    before = (ready.data / "pg_hba.conf").read_bytes()
    move(ready, passwords=PASSWORDS)
    back = move(ready, **{"from": ["scram-sha-256"], "to": "md5"})
    assert "failed" not in back, back.get("msg")
    assert (ready.data / "pg_hba.conf").read_bytes() == before
    for name in ("app", "anna"):
        assert enters(ready, name, PASSWORDS[name])
    assert stored(ready)["app"].startswith("SCRAM-SHA-256$")


def test_settings_of_their_own_are_found(ready: Server) -> None:
    ready.sql("alter role anna set password_encryption = 'md5'")
    ready.sql("alter role postgres set password_encryption = 'md5'")
    try:
        result = move(ready, passwords=PASSWORDS)
        assert "failed" not in result, result.get("msg")
        finding = next(one for one in result["findings"] if one["code"] == "password_encryption_override")
        assert "role anna" in finding["reason"]
        assert result["password_encryption"] == "scram-sha-256"
        assert move(ready, passwords=PASSWORDS)["changed"] is False
    finally:
        ready.sql("alter role postgres reset password_encryption")


def test_included_files_move_too(ready: Server) -> None:
    if ready.major < 16:
        pytest.skip("includes came with 16")
    path = rules(ready, b"local all postgres trust\ninclude more.conf\nhost all modern all md5\n")
    more = ready.data / "more.conf"
    more.write_bytes(b"# included\nhost all app 127.0.0.1/32 md5\n")
    ready._give(more)
    ready.reload()
    result = move(ready, passwords=PASSWORDS)
    assert "failed" not in result, result.get("msg")
    assert more.read_bytes() == b"# included\nhost all app 127.0.0.1/32 scram-sha-256\n"
    assert path.read_bytes().endswith(b"modern all scram-sha-256\n")
    assert {edit["file_name"] for edit in result["edits"]} == {str(path), str(more)}
    assert enters(ready, "app", PASSWORDS["app"])
    assert move(ready, passwords=PASSWORDS)["changed"] is False


def test_iterations_are_the_servers(ready: Server) -> None:
    if ready.major < 16:
        pytest.skip("scram_iterations came with 16")
    ready.switch(scram_iterations="1000")
    rules(ready, RULES)
    move(ready, passwords={"app": PASSWORDS["app"]})
    assert stored(ready)["app"].startswith("SCRAM-SHA-256$1000:")
    assert enters(ready, "app", PASSWORDS["app"])


@pytest.mark.parametrize("name", ['50%s "off"; x', "käthe \u65e5"])
def test_a_strange_name(ready: Server, name: str) -> None:
    """A quote, a placeholder of the driver, a semicolon, letters beyond ASCII (in a database that is SQL_ASCII) are a name."""
    quoted = '"' + name.replace('"', '""') + '"'
    ready.sql(f"set password_encryption = 'md5'; create role {quoted} login password 'pw of fifty'")
    try:
        assert role_of(move(ready, passwords={name: "pw of fifty"}), name)["password"] == "scram-sha-256"
        assert stored(ready)[name].startswith("SCRAM-SHA-256$")
        assert stored(ready)["app"].startswith("md5")
    finally:
        ready.sql(f"drop role {quoted}")


def test_logs_tell_when_and_how(ready: Server, tmp_path: Path) -> None:
    if ready.major < 14:
        pytest.skip("who was authenticated is logged from 14 on")
    ready.switch(log_line_prefix="'%m [%p] '")
    rules(ready, RULES)
    start = ready._log_size()
    assert enters(ready, "app", PASSWORDS["app"])
    log = tmp_path / "postgresql.log"
    log.write_bytes(ready._log_since(start))
    result = auth(ready, logs=[str(log)], log_line_prefix="%m [%p] ")
    last = role_of(result, "app")["last_login"]
    assert (last["method"], last["line"], last["address"]) == ("md5", 3, "127.0.0.1")
    assert role_of(result, "keyless")["last_login"] is None
    wire = [one for one in result["findings"] if one["code"] == "md5_on_the_wire"]
    assert [one["roles"] for one in wire] == [["app"]]
    assert "127.0.0.1" in wire[0]["reason"]


def test_a_session_that_is_open_stays(ready: Server) -> None:
    connection = psycopg2.connect(
        host="127.0.0.1", port=ready.port, user="app", password=PASSWORDS["app"], dbname="postgres", sslmode="disable"
    )
    move(ready, passwords=PASSWORDS)
    with connection.cursor() as cursor:
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)
    connection.close()


def test_many_rules_at_once(ready: Server) -> None:
    """The engine's answer for hundreds of changed rules is not waited for; everything else is as ever."""
    text = RULES + b"".join(b"host db%d modern 10.0.0.0/8 md5\n" % number for number in range(150))
    path = rules(ready, text.replace(b"host all modern all md5\n", b""))
    result = move(ready)
    assert "failed" not in result, result.get("msg")
    assert result["access_changes"] is None
    assert [warning for warning in result["warnings"] if "150 rules change at once" in str(warning)], result["warnings"]
    assert len(result["edits"]) == 150
    assert path.read_bytes().count(b"scram-sha-256") == 150
