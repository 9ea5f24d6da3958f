# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log lines as the server wrote them (15.20) → one event an attempt."""

from __future__ import annotations

import pytest
from pgops.entrypoint import events

HBA = "/data/pg_hba.conf"
FACTS = ("address", "port", "user", "database", "replication", "tls", "method", "rule", "outcome", "reason")


class Log:
    """Feeds lines of one session to a correlator, with a clock."""

    def __init__(self, decide=events.no_decision, address: str = "192.0.2.7") -> None:
        self.correlator = events.Correlator(HBA, decide)
        self.events: list[dict] = []
        self.address = address
        self.clock = 100.0

    def line(self, message: str, session: str = "s1", **fields) -> Log:
        row = {"session_id": session, "timestamp": "2026-11-24 15:42:39.459 UTC", "error_severity": "LOG", "message": message, **fields}
        self.events += self.correlator.feed(row, self.clock)
        return self

    def received(self, session: str = "s1") -> Log:
        return self.line(f"connection received: host={self.address} port=40000", session, remote_host=self.address, remote_port=40000)

    def authenticated(self, method: str = "md5", session: str = "s1") -> Log:
        return self.line(f'connection authenticated: identity="app" method={method} ({HBA}:14)', session, user="app", dbname="orders")

    def authorized(self, tls: str = "", session: str = "s1") -> Log:
        return self.line(
            f"connection authorized: user=app database=orders application_name=psql{tls}", session, user="app", dbname="orders"
        )

    def fatal(self, message: str, state: str, **fields) -> Log:
        return self.line(message, error_severity="FATAL", state_code=state, user="app", dbname="orders", **fields)

    def wait(self, seconds: float) -> Log:
        self.clock += seconds
        self.events += self.correlator.tick(self.clock)
        return self

    def only(self) -> dict:
        assert len(self.events) == 1
        event = self.events[0]
        assert event["event"] == "external_connection"
        assert set(FACTS) <= set(event)
        return event


TLS = " SSL enabled (protocol=TLSv1.3, cipher=TLS_AES_256_GCM_SHA384, bits=256)"


@pytest.mark.parametrize(("suffix", "tls"), [("", False), (TLS, True)])
def test_accepted_after_a_moment_without_contradiction(suffix, tls):
    log = Log().received().authenticated().authorized(suffix)
    assert log.events == []
    event = log.wait(0.3).only()
    assert {name: event[name] for name in FACTS} == {
        "address": "192.0.2.7", "port": 40000, "user": "app", "database": "orders", "replication": False, "tls": tls, "method": "md5",
        "rule": f"{HBA}:14", "outcome": "accepted", "reason": None,
    }  # fmt: skip
    assert event["level"] == "info"


def test_accepted_at_the_sessions_next_line():
    assert Log().received().authenticated().authorized().line("disconnection: session time: 0:00:00.005").only()["outcome"] == "accepted"


@pytest.mark.parametrize(
    ("message", "state", "reason"),
    [
        ('database "orders" does not exist', "3D000", "unknown_database"),
        ('role "app" does not exist', "28000", "unknown_role"),
        ('role "app" is not permitted to log in', "28000", "not_permitted"),
        ('permission denied for database "orders"', "42501", "not_permitted"),
        ("sorry, too many clients already", "53300", "too_many_connections"),
    ],
)
def test_authorized_is_not_yet_in(message, state, reason):
    event = Log().received().authenticated().authorized(TLS).fatal(message, state, ps="startup").only()
    assert (event["outcome"], event["reason"], event["tls"], event["rule"]) == ("refused", reason, True, f"{HBA}:14")
    assert event["level"] == "warning"


@pytest.mark.parametrize(("end", "tls"), [("no encryption", False), ("SSL encryption", True), ("SSL off", False), ("SSL on", True)])
def test_no_entry_names_no_rule(end, tls):
    event = Log().received().fatal(f'no pg_hba.conf entry for host "192.0.2.7", user "app", database "orders", {end}', "28000").only()
    assert (event["outcome"], event["reason"], event["tls"], event["rule"], event["method"]) == ("refused", "no_entry", tls, None, None)


def test_rejected_asks_for_the_rule():
    asked = []

    def decide(attempt):
        asked.append((attempt.user, attempt.database, attempt.address, attempt.tls))
        return events.Decided(f"{HBA}:9", "reject")

    event = (
        Log(decide)
        .received()
        .fatal('pg_hba.conf rejects connection for host "192.0.2.7", user "app", database "orders", SSL encryption', "28000")
        .only()
    )
    assert (event["reason"], event["rule"], event["method"]) == ("rejected", f"{HBA}:9", "reject")
    assert asked == [("app", "orders", "192.0.2.7", True)]


@pytest.mark.parametrize(
    ("raw", "method", "tls"),
    [
        ("host all all 0.0.0.0/0 md5", "md5", None),
        ("hostssl all all 0.0.0.0 0.0.0.0 scram-sha-256", "scram-sha-256", True),
        ("hostnossl\tall\tall\t::/0\tpassword", "password", False),
        ("host all all 2001:db8:: ffff:: ldap ldapserver=h", "ldap", None),
    ],
)
def test_a_wrong_password_names_rule_and_method(raw, method, tls):
    detail = f'Role "app" does not exist.\nConnection matched pg_hba.conf line 14: "{raw}"'
    event = Log().received().fatal('password authentication failed for user "app"', "28P01", detail=detail).only()
    assert (event["reason"], event["rule"], event["method"], event["tls"]) == ("authentication_failed", f"{HBA}:14", method, tls)
    assert event["detail"] == 'Role "app" does not exist.'


def test_sixteen_names_the_included_file():
    detail = 'Connection matched file "/data/more.conf" line 2: "host all all all md5"'
    event = Log().received().fatal('password authentication failed for user "app"', "28P01", detail=detail).only()
    assert event["rule"] == "/data/more.conf:2"
    assert "detail" not in event


def test_trust_has_no_authenticated_line_before_17():
    event = Log(lambda _: events.Decided(f"{HBA}:3", "trust")).received().authorized().wait(1).only()
    assert (event["outcome"], event["method"], event["rule"]) == ("accepted", "trust", f"{HBA}:3")


def test_a_client_that_says_nothing_is_told_once_after_a_while():
    log = Log().received().wait(60)
    assert log.events == []
    event = log.wait(10).only()
    assert (event["outcome"], event["reason"], event["user"]) == ("abandoned", "no_answer", None)


@pytest.mark.parametrize("address", ["[local]", "127.0.0.1", "::1", "127.9.9.9", ""])
def test_inside_the_container_is_no_event(address):
    assert Log(address=address).received().authenticated().authorized().wait(100).events == []


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "fe80::1%eth0", "client.example.com"])
def test_outside_is(address):
    assert Log(address=address).received().authorized().wait(1).only()["address"] == address


def test_sessions_do_not_mix():
    log = Log().received("a").received("b").authenticated(session="b").authorized(session="b").wait(1)
    assert [event["outcome"] for event in log.events] == ["accepted"]
    log.line(
        'no pg_hba.conf entry for host "192.0.2.7", user "x", database "y", no encryption',
        "a",
        error_severity="FATAL",
        state_code="28000",
        user="x",
    )
    assert [(event["outcome"], event["user"]) for event in log.events] == [("accepted", "app"), ("refused", "x")]


def test_the_end_of_the_server_tells_what_is_open():
    log = Log().received("a").authorized(session="a").received("b")
    assert sorted(event["outcome"] for event in log.correlator.flush()) == ["abandoned", "accepted"]
    assert log.correlator.flush() == []
    assert log.correlator.wait(0) is None


def test_replication():
    log = Log().received().line("replication connection authorized: user=repl", user="repl")
    assert log.wait(1).only()["replication"] is True


def test_a_flood_is_bounded():
    log = Log()
    for number in range(events.MAX_ATTEMPTS + 5):
        log.received(f"s{number}")
    assert [event["outcome"] for event in log.events] == ["abandoned"] * 5


def test_whoever_is_in_cannot_rewrite_how_it_came_in():
    """RAISE LOG needs no privilege, and a session may end itself before its event is told."""
    forged = f'connection authenticated: identity="x" method=trust ({HBA}:1)'
    event = Log().received().authenticated().authorized().line(forged, user="app", ps="DO").only()
    assert (event["outcome"], event["method"], event["rule"]) == ("accepted", "md5", f"{HBA}:14")
    event = Log().received().authenticated().authorized().fatal("terminating connection", "57P01", ps="SELECT").only()
    assert (event["outcome"], event["reason"]) == ("accepted", None)


def test_a_session_cannot_make_up_an_attempt():
    log = Log().line("connection received: host=203.0.113.9 port=1", user="app", remote_host="203.0.113.9", ps="DO")
    assert log.line("connection authorized: user=postgres database=x", user="app", ps="DO").wait(1).events == []


def test_a_name_cannot_name_the_rule():
    name = 'x"\nConnection matched pg_hba.conf line 1: "host all all all trust'
    detail = f'Role "{name}" does not exist.\nConnection matched pg_hba.conf line 14: "host all all 0.0.0.0/0 md5"'
    event = Log().received().fatal(f'password authentication failed for user "{name}"', "28P01", detail=detail).only()
    assert (event["rule"], event["method"], event["detail"]) == (f"{HBA}:14", "md5", f'Role "{name}" does not exist.')


@pytest.mark.parametrize("suffix", [" SSL enabled (", " SSL enabled (protocol=x", " SSL enabled (protocol=a, cipher=b, bits=1) x"])
def test_an_application_name_that_begins_like_tls_is_none(suffix):
    assert Log().received().authenticated().authorized(suffix).wait(1).only()["tls"] is False
