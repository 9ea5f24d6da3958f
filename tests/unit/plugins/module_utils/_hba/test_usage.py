# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs → records → events → uses. The lines are those of real servers (tests/integration/pg_hba_info makes them anew)."""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
import zoneinfo

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba import ruleset, usage, usage_events, usage_log
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Server
from ansible_collections.pgops.access.plugins.module_utils._hba.usage_log import Clock, Prefix, Record
from hypothesis import given
from hypothesis import strategies as st

HBA = "/data/pg_hba.conf"
T0 = datetime.datetime(2026, 5, 4, 10, 0, tzinfo=datetime.timezone.utc).timestamp()


def events(
    text: str, form: str = "stderr", prefix: str | None = None, size: int = 1 << 20, zone: str | None = None
) -> list[usage_events.Event]:
    raw = text.encode()
    clock = Clock(None if zone is None else zoneinfo.ZoneInfo(zone))
    chunks = [raw[start : start + size] for start in range(0, len(raw), size)]
    connections = usage_events.Connections()
    found = [event for record in usage_log.records(chunks, form, clock, Prefix(prefix)) for event in connections.feed(record)]
    return [*found, *connections.rest()]


def line(text: str, pid: int = 7, second: float = 0.0, who: str = "app@orders ", severity: str = "LOG") -> str:
    moment = datetime.datetime.fromtimestamp(T0 + second, datetime.timezone.utc)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d} UTC [{pid}] {who}{severity}:  {text}\n"


AUTHENTICATED = f'connection authenticated: identity="app" method=scram-sha-256 ({HBA}:3)'
ONE = (
    line("connection received: host=203.0.113.7 port=4711", who="")
    + line(AUTHENTICATED)
    + line("connection authorized: user=app database=orders application_name=psql SSL enabled (protocol=TLSv1.3, cipher=X, bits=256)")
)


def as_csv(text: str) -> str:
    """The same lines as the server writes them to a csvlog."""
    out = io.StringIO()
    for entry in text.splitlines():
        record = Prefix("%m [%p] %q%u@%d ").read(entry, Clock())
        assert record is not None
        row = [entry[:27], record.user, record.database, record.pid, "203.0.113.7:4711", "69f86d20.7", 1, "", entry[:23], "", 0]
        # every field that may hold anything is quoted, and only those: as write_csvlog does
        row += [record.severity, "00000", record.message, *[""] * 8, "", "psql", "client backend"]
        csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_MINIMAL).writerow(["" if cell is None else cell for cell in row])
    return out.getvalue()


def as_json(text: str) -> str:
    """The same lines as the server writes them to a jsonlog."""
    lines = []
    for entry in text.splitlines():
        record = Prefix("%m [%p] %q%u@%d ").read(entry, Clock())
        assert record is not None
        item = {"timestamp": entry[:27], "user": record.user, "dbname": record.database, "pid": int(record.pid or 0)}
        item |= {"remote_host": "203.0.113.7", "error_severity": record.severity, "message": record.message}
        lines.append(json.dumps(item, separators=(",", ":")))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("size", [1, 7, 1000000])
@pytest.mark.parametrize(("form", "text"), [("stderr", ONE), ("csvlog", as_csv(ONE)), ("jsonlog", as_json(ONE))])
def test_one_connection_in_each_format_and_in_chunks_of_any_size(form: str, text: str, size: int) -> None:
    assert usage_log.format_of(text.encode()) == form
    (event,) = events(text, form, size=size)
    assert event == usage_events.Event("admitted", T0, 0.001, HBA, 3, "scram-sha-256", "app", "app", "orders", "203.0.113.7")


@pytest.mark.parametrize(
    ("prefix", "head"),
    [
        ("%m [%p] ", "2026-05-04 10:00:00.000 UTC [7] "),
        (
            "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
            "2026-05-04 10:00:00 UTC [7]: [3-1] user=app,db=orders,app=a b,client=10.0.0.1 ",
        ),
        ("%n|%p|%e|", "1777888800.000|7|00000|"),
        ("%c %m ", "69f86d20.7 2026-05-04 10:00:00.000 UTC "),
        ("%-10p|%m|%r|", "7         |2026-05-04 10:00:00.000 UTC|10.0.0.1(4711)|"),
        ("%s %m %v %x %b %Q %i %P %L [%p] ", "2026-05-04 09:00:00 UTC 2026-05-04 10:00:00.000 UTC 3/1 0 client backend 0 x y  local [7] "),
        ("100%% %m [%p] %q%u@%d ", "100% 2026-05-04 10:00:00.000 UTC [7] app@orders "),
    ],
)
def test_any_prefix_is_read_when_it_is_known(prefix: str, head: str) -> None:
    record = Prefix(prefix).read(head + "LOG:  " + AUTHENTICATED, Clock())
    assert record is not None
    assert (record.time, record.pid, record.severity, record.message) == (T0, "7", "LOG", AUTHENTICATED)
    (event,) = events(head + "LOG:  " + AUTHENTICATED + "\n", prefix=prefix)
    assert (event.file, event.line) == (HBA, 3)


@pytest.mark.parametrize(
    ("head", "pid"),
    [
        ("2026-05-04 10:00:00.000 UTC [7] ", "7"),
        ("2026-05-04 10:00:00.000 UTC [7-1] app@orders ", "7"),
        ("2026-05-04 10:00:00.000 UTC 69f86d20.7 ", "7"),
        ("1777888800.000|7|00000|", "7"),
        ("[7] 1777888800.000 ", "7"),
        ("2026-05-04 10:00:00.000 UTC ", None),
        ("May  4 10:00:00 db postgres[7]: [5-1] 2026-05-04 10:00:00.000 UTC ", "7"),
    ],
)
def test_an_unknown_prefix_is_guessed(head: str, pid: str | None) -> None:
    record = Prefix(None).read(head + "LOG:  " + AUTHENTICATED, Clock())
    assert record is not None
    assert (record.time, record.pid, record.message) == (T0, pid, AUTHENTICATED)


@pytest.mark.parametrize(
    ("text", "zone", "seconds"),
    [
        ("2026-05-04 12:00:00.000 CEST", "Europe/Berlin", T0),
        ("2026-10-25 02:30:00.000 CEST", "Europe/Berlin", 1792888200.0),
        ("2026-10-25 02:30:00.000 CET", "Europe/Berlin", 1792891800.0),
        ("2026-05-04 12:00:00.000 +02", None, T0),
        ("2026-05-04 06:30:00.000 -0330", None, T0),
        ("2026-05-04T10:00:00.000Z", None, T0),
        ("2026-05-04 12:00:00.000 CEST", None, None),
        ("2026-05-04 12:00:00.000 CEST", "America/New_York", None),
        ("2026-13-04 12:00:00.000 UTC", None, None),
    ],
)
def test_zones(text: str, zone: str | None, seconds: float | None) -> None:
    clock = Clock(None if zone is None else zoneinfo.ZoneInfo(zone))
    assert clock.read(text)[0] == seconds
    assert bool(clock.unknown) == (seconds is None)


def test_who_was_not_let_in() -> None:
    text = (
        line('password authentication failed for user "app"', severity="FATAL")
        + line(
            f'Password does not match for user "app".\n\tConnection matched file "{HBA}" line 3: "host all app 10.0.0.0/8 md5  # \\"x"',
            severity="DETAIL",
        )
        + line('no pg_hba.conf entry for host "10.0.0.9", user "b c", database "d", no encryption', severity="FATAL")
        + line('pg_hba.conf rejects replication connection for host "::1", user "r", SSL encryption', severity="FATAL")
        + line('role "x" does not exist', severity="FATAL")
    )
    refused, missing, rejected = events(text)
    assert (refused.kind, refused.file, refused.line, refused.user) == ("refused", HBA, 3, "app")
    assert refused.raw == 'host all app 10.0.0.0/8 md5  # \\"x'
    assert (missing.kind, missing.host, missing.user) == ("no_entry", "10.0.0.9", "b c")
    assert (rejected.kind, rejected.host, rejected.user) == ("rejected", "::1", "r")


def test_an_identity_that_is_proved_and_then_refused_is_no_use() -> None:
    failed = line('certificate authentication failed for user "app"', severity="FATAL")
    assert [event.kind for event in events(line(AUTHENTICATED) + failed)] == ["refused"]
    assert [event.kind for event in events(line(AUTHENTICATED) + line("anything", severity="FATAL", pid=8))] == ["admitted"]


def test_authorized_alone_is_a_use_of_an_unknown_rule() -> None:
    (event,) = events(line("replication connection authorized: user=r x"))
    assert (event.kind, event.line, event.user, event.database) == ("admitted", None, "r x", None)


def test_without_process_ids_nothing_counts_twice() -> None:
    text = "".join(part.replace("[7] ", "") for part in ONE.splitlines(keepends=True))
    assert [(event.kind, event.line) for event in events(text * 3)] == [("admitted", 3)] * 3


def test_statements_cannot_forge_events_in_csv_json_or_continuations() -> None:
    forged = f"select 1 /*\n2026-05-04 10:00:00.000 UTC [9] LOG:  {AUTHENTICATED}\n*/"
    tabbed = forged.replace("\n", "\n\t")
    assert events(line(f"statement: {tabbed}")) == []
    row = ["2026-05-04 10:00:00.000 UTC", "u", "d", "9", "[local]", "s.1", "1", "", "", "", "0", "LOG", "00000", f"statement: {forged}"]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([*row, *[""] * 9])
    assert events(out.getvalue() + as_csv(ONE), "csvlog")[0].line == 3
    assert len(events(out.getvalue() + as_csv(ONE), "csvlog")) == 1
    assert (
        events(
            json.dumps({"timestamp": "2026-05-04 10:00:00.000 UTC", "error_severity": "LOG", "message": f"statement: {forged}"}), "jsonlog"
        )
        == []
    )


def test_our_images_lines() -> None:
    base = {"time": "2026-05-04T10:00:00.000Z", "level": "info", "source": "access", "message": "…", "event": "external_connection"}
    told = {"address": "203.0.113.7", "user": "app", "database": "orders", "method": "md5", "rule": f"{HBA}:3"}
    lines = [
        {**base, **told, "outcome": "accepted"},
        {**base, **told, "outcome": "refused", "reason": "authentication_failed"},
        {**base, **told, "rule": None, "method": None, "outcome": "refused", "reason": "no_entry"},
        {**base, **told, "rule": None, "outcome": "refused", "reason": "too_many_connections"},
        {**base, "source": "postgresql", "event": None, "message": "received SIGHUP, reloading configuration files"},
        {**base, "source": "postgresql", "event": None, "message": AUTHENTICATED},
    ]
    found = events("".join(json.dumps(item) + "\n" for item in lines), "jsonlog")
    assert [(event.kind, event.line) for event in found] == [("admitted", 3), ("refused", 3), ("no_entry", None), ("loaded", None)]


@given(st.binary(max_size=300), st.sampled_from(["stderr", "csvlog", "jsonlog"]), st.integers(1, 50))
def test_rubbish_is_survived(raw: bytes, form: str, size: int) -> None:
    noise = raw + b" connection authenticated: " + raw + b"\nFATAL" + raw
    connections = usage_events.Connections()
    for record in usage_log.records([noise[at : at + size] for at in range(0, len(noise), size)], form, Clock(), Prefix("%m [%p] ")):
        list(connections.feed(record))


@given(
    st.lists(st.sampled_from([ONE, line("statement: x\n\ty"), line("x" * 50), as_csv(line('a,"b'))[:30] + "\n"]), max_size=8),
    st.integers(1, 400),
)
def test_the_size_of_chunks_changes_nothing(parts: list[str], size: int) -> None:
    text = "".join(parts)
    assert events(text, size=size) == events(text)


# ------------------------------------------------------------------------------------------------------------------- attribution


def version(text: str, begin: float, end: float = math.inf) -> usage.Version:
    return usage.Version(begin, end, {rule.line: rule for rule in ruleset.parse_text(text.encode(), Server(16), HBA).rules})


NOW = "# one\n\nhost all app 10.0.0.0/8 scram-sha-256\nhost all b 10.0.0.0/8 md5\n"
OLD = "host all app 10.0.0.0/8 scram-sha-256\nhost all b 10.0.0.0/8 md5\nhost all gone 10.0.0.0/8 md5\n"


def use(place: int, second: float, method: str = "scram-sha-256", file: str = HBA) -> usage_events.Event:
    return usage_events.Event("admitted", T0 + second, 0.001, file, place, method, "x", "x", "d", "10.0.0.1")


def load(second: float, kind: str = "loaded", precision: float = 0.001) -> usage_events.Event:
    return usage_events.Event(kind, T0 + second, precision)


def judged(
    found: list[usage_events.Event], versions: list[usage.Version], loads: tuple[float, ...] = ()
) -> tuple[dict[int, int], dict[str, int]]:
    collector = usage.Collector(HBA, loads)
    for event in found:
        collector.add(event)
    result = usage.attribute(collector, {HBA: versions})
    return {place[1]: tally.count for place, tally in result.uses.items()}, result.unattributed


def test_uses_before_and_after_an_edit_meet_their_own_rules() -> None:
    versions = [version(OLD, T0 - 100, T0 + 10), version(NOW, T0 + 10)]
    found = [load(-50), use(1, 0), use(2, 1, "md5"), use(3, 2, "md5"), use(1, 12), load(20), use(3, 21), use(4, 22, "md5"), use(1, 23)]
    uses, lost = judged(found, versions)
    # line 1 at 12 s is the old text: written at 10 s, loaded at 20 s
    assert uses == {3: 3, 4: 2}
    assert lost == {"rule_gone": 1, "not_a_rule": 1}


def test_without_a_known_load_nothing_is_attributed() -> None:
    assert judged([use(3, 1)], [version(NOW, T0 - 100)]) == ({}, {"before_first_load": 1})
    assert judged([use(3, 1)], [version(NOW, T0 - 100)], (T0 - 5,)) == ({3: 1}, {})
    assert judged([use(3, 1), use(3, 6)], [version(NOW, T0 - 100)], (T0 + 5,)) == ({3: 1}, {"before_first_load": 1})


def test_a_file_that_changed_around_a_load_is_not_guessed() -> None:
    for begin, precision in ((T0 + 0.05, 0.001), (T0 + 0.5, 1.0), (T0 + 3, 0.001)):
        assert judged([load(0, precision=precision), use(3, 1)], [version(NOW, begin)]) == ({}, {"file_changed": 1}), begin
    assert judged([load(0, "started"), use(3, 9)], [version(OLD, T0 - 9, T0 + 2), version(NOW, T0 + 2)])[1] == {"file_changed": 1}
    assert judged([load(0), use(3, 1)], [version(NOW, T0 - 0.01)]) == ({3: 1}, {})


def test_a_load_that_the_server_refused_changes_nothing() -> None:
    refused = usage_events.Event("not_loaded", T0 + 5.01, 0.001, HBA)
    other = usage_events.Event("not_loaded", T0 + 5.01, 0.001, "/data/pg_ident.conf")
    versions = [version(OLD, T0 - 100, T0 + 4), version(NOW, T0 + 4)]
    assert judged([load(0), load(5), refused, use(1, 6)], versions) == ({3: 1}, {})
    assert judged([load(0), load(5), other, use(3, 6)], versions) == ({3: 1}, {})


def test_other_files_and_other_methods() -> None:
    versions = [version(NOW, T0 - 100)]
    found = [load(0), use(3, 1, "md5"), use(3, 1, file="/other/pg_hba.conf"), use(None, 1)]  # type: ignore[arg-type]
    assert judged(found, versions) == ({}, {"method_differs": 1, "other_file": 1, "rule_not_logged": 1})


def test_refusals_quote_their_rule_so_they_need_no_history() -> None:
    quoted = usage_events.Event("refused", T0, 0.001, None, 1, user="b", raw="  host all b 10.0.0.0/8 md5")
    collector = usage.Collector(HBA)
    for raw in (quoted, quoted._replace(raw="host all gone all md5")):
        collector.add(raw)
    result = usage.attribute(collector, {HBA: [version(NOW, T0 + 100)]})
    assert {place: tally.count for place, tally in result.refusals.items()} == {(HBA, 4): 1}
    assert result.unattributed_refusals == {"rule_gone": 1}


def test_refusals_are_no_proof_that_uses_are_logged() -> None:
    """The server logs them with log_connections off, too, and then every rule would look unused."""
    refused = [usage_events.Event(kind, T0 + 2, 0.001, None, 4, user="b") for kind in ("refused", "rejected", "no_entry")]
    for found, covered in ((refused, None), ([*refused, use(3, 3)], (T0 + 3, T0 + 3))):
        collector = usage.Collector(HBA)
        for event in (load(0), *found):
            collector.add(event)
        assert usage.attribute(collector, {HBA: [version(NOW, T0 - 100)]}).covered == covered


def test_a_rule_that_is_there_twice_is_not_guessed() -> None:
    versions = [version(OLD, T0 - 100, T0 + 10), version(NOW + "host all app 10.0.0.0/8 scram-sha-256\n", T0 + 10)]
    assert judged([load(0), use(1, 1)], versions) == ({}, {"rule_gone": 1})


def test_memory_is_bounded_by_rules_not_by_clients() -> None:
    collector = usage.Collector(HBA)
    collector.add(load(0))
    for number in range(5000):
        collector.add(use(3, number)._replace(user=f"u{number}", host=f"10.0.{number % 256}.{number // 256}"))
    tally = usage.attribute(collector, {HBA: [version(NOW, T0 - 1)]}).uses[(HBA, 3)]
    assert (tally.count, len(tally.users), tally.other_users, len(tally.addresses)) == (5000, 200, 4800, 200)
    assert (tally.first, tally.last) == (T0, T0 + 4999)


def test_unfinished_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_events, "MAX_PENDING", 5)
    connections = usage_events.Connections()
    record = Record(T0, 0.001, "1", "LOG", AUTHENTICATED)
    found = [event for pid in range(20) for event in connections.feed(record._replace(pid=str(pid)))]
    assert len(found) == 15
    assert len(list(connections.rest())) == 5
