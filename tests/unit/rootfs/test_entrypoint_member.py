# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A member's environment → Patroni's configuration, the cluster's rules, and what is done when the cluster has others."""

from __future__ import annotations

import json
import urllib.error
from email.message import Message

import pytest
from pgops._auth import verifier
from pgops._hba import ruleset
from pgops._hba.errors import HbaError
from pgops._hba.model import Server
from pgops.entrypoint import (
    access,
    cluster_rules,
    member,
    member_logins,
    member_notices,
    member_settings,
    member_statistics,
    new_cluster,
    patroni_config,
    settings,
    statistics,
    watch,
)
from pgops.entrypoint.redact import Redactor
from pgops.entrypoint.settings import SettingsError

SERVER = Server(15)
MINIMUM = {
    "PATRONI_SCOPE": "orders",
    "PATRONI_ETCD3_HOSTS": "192.0.2.1:2379",
    "POSTGRES_PASSWORD": "super secret",
    "PATRONI_REPLICATION_PASSWORD": "copy secret",
}


def no_file(path: str) -> bytes:
    raise AssertionError(f"{path} is read, but no file was named")


def parse(read=no_file, **changes: str | None) -> member_settings.Member:
    environment = {name: value for name, value in {**MINIMUM, **changes}.items() if value is not None}
    return member_settings.parse(environment, read, "192.0.2.21", "node1")


def rules_of(found: member_settings.Member, **environment: str) -> cluster_rules.Rules:
    parsed = settings.parse({"PATRONI_SCOPE": "orders", **environment}, no_file).settings
    return cluster_rules.rules(found, access.wanted(parsed.access, SERVER, client_ca=False).rules, SERVER)


def build(found: member_settings.Member, **changes) -> dict:
    local = patroni_config.Local("/data", "/bin", "/run/x", {"ssl": "on"}, (), "info", "")
    return patroni_config.build(found, local._replace(**changes), rules_of(found), SERVER)


def test_the_minimum_is_enough() -> None:
    found = parse()
    assert (found.scope, found.name) == ("orders", "node1")
    assert found.superuser == ("postgres", "super secret")
    assert found.connect_address == "192.0.2.21:5432"
    assert found.rest_connect_address == "192.0.2.21:8008"
    assert found.rest_url == "http://127.0.0.1:8008"
    assert found.rewind.name == "rewind_user"
    assert found.rewind.password not in {found.superuser.password, found.rest.password}


def test_a_rest_password_is_derived_from_what_members_share_and_nothing_else() -> None:
    first, second = parse(PATRONI_NAME="a"), parse(PATRONI_NAME="b")
    assert first.rest == second.rest
    assert first.rest_derived
    assert len(first.rest.password) == 64
    assert first.rest != parse(PATRONI_SCOPE="other").rest
    assert first.rest != parse(POSTGRES_PASSWORD="another secret").rest
    assert "super secret" not in first.rest.password
    given = parse(PATRONI_RESTAPI_PASSWORD="rest secret", PATRONI_RESTAPI_USERNAME="ops")
    assert (given.rest, given.rest_derived) == (("ops", "rest secret"), False)


@pytest.mark.parametrize("missing", ["POSTGRES_PASSWORD", "PATRONI_REPLICATION_PASSWORD"])
def test_a_missing_password_is_refused_with_its_variable(missing: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(**{missing: None})
    assert refused.value.variable in {missing, "PATRONI_SUPERUSER_PASSWORD"}
    assert "_FILE" in str(refused.value)


def test_every_variable_of_patroni_may_come_from_a_file() -> None:
    files = {"/s/repl": b"from a file\n", "/s/etcd": b"etcd secret\r\n", "/s/any": b"42"}
    found = parse(
        files.__getitem__,
        PATRONI_REPLICATION_PASSWORD=None, PATRONI_REPLICATION_PASSWORD_FILE="/s/repl",
        PATRONI_ETCD3_USERNAME="root", PATRONI_ETCD3_PASSWORD_FILE="/s/etcd",
        PATRONI_LOG_MAX_QUEUE_SIZE_FILE="/s/any",
    )  # fmt: skip
    assert found.replication.password == "from a file"
    assert found.etcd == ("root", "etcd secret")
    assert found.passed["PATRONI_LOG_MAX_QUEUE_SIZE"] == "42"
    assert not any(name.endswith("_FILE") for name in found.passed)


def test_secrets_stay_out_of_patronis_environment() -> None:
    found = parse(PATRONI_REWIND_PASSWORD="rewind secret", PATRONI_RESTAPI_PASSWORD="rest secret", PATRONI_LOG_LEVEL="DEBUG")
    assert not [value for value in found.passed.values() if "secret" in value]
    assert found.passed["PATRONI_LOG_LEVEL"] == "DEBUG"
    assert set(found.secrets) == {"super secret", "copy secret", "rewind secret", "rest secret"}


@pytest.mark.parametrize(
    ("changes", "variable"),
    [
        ({"PATRONI_CONFIGURATION": "scope: x"}, "PATRONI_CONFIGURATION"),
        ({"PATRONI_SCOPE": "a/b"}, "PATRONI_SCOPE"),
        ({"PATRONI_NAME": "a b"}, "PATRONI_NAME"),
        ({"PATRONI_REPLICATION_USERNAME": "postgres"}, "PATRONI_REPLICATION_USERNAME"),
        ({"PATRONI_REPLICATION_PASSWORD_FILE": "/x"}, "PATRONI_REPLICATION_PASSWORD"),
        ({"PATRONI_RESTAPI_LISTEN": "8008"}, "PATRONI_RESTAPI_LISTEN"),
        ({"PATRONI_ETCD3_PASSWORD": "x"}, "PATRONI_ETCD3_USERNAME"),
        ({"CLUSTER_ADDRESSES": "10.0.0.0/8,,"}, "CLUSTER_ADDRESSES"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, str], variable: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(**changes)
    assert refused.value.variable == variable


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb", b"a\0b", b"\xff"])
def test_a_secret_file_holds_one_line(content: bytes) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(lambda path: content, PATRONI_REWIND_PASSWORD_FILE="/s/x")
    assert refused.value.variable == "PATRONI_REWIND_PASSWORD_FILE"


def test_the_rest_url_follows_listen_and_certificate() -> None:
    assert parse(PATRONI_RESTAPI_LISTEN="192.0.2.9:9000", PATRONI_RESTAPI_CERTFILE="/c").rest_url == "https://192.0.2.9:9000"
    assert parse(PATRONI_RESTAPI_LISTEN="[::]:9000").rest_url == "http://127.0.0.1:9000"
    assert parse(PATRONI_RESTAPI_LISTEN="[fd00::1]:9000").rest_url == "http://[fd00::1]:9000"


def test_the_first_rule_lets_patroni_in() -> None:
    lines = cluster_rules.first_list(rules_of(parse()), SERVER)
    assert lines[0] == "local all postgres peer"
    assert lines[-1] == "# END pgops.access section: external-access"
    loaded = ruleset.lines_of_text("".join(line + "\n" for line in lines).encode(), SERVER, "pg_hba.conf")
    assert not [line for line in loaded.lines if line.error is not None]


def test_no_rule_lets_anybody_in_without_a_password_over_the_network() -> None:
    made = rules_of(parse())
    for line in made.cluster:
        words = line.split()
        assert words[0] == "local" or words[4] == "scram-sha-256", line


def test_replication_and_rewind_come_from_the_cluster_only() -> None:
    made = rules_of(parse(PATRONI_REWIND_PASSWORD="rewind secret", CLUSTER_ADDRESSES="192.0.2.0/24"))
    outside = [line.split() for line in made.cluster if line.startswith("host") and "127.0.0.1" not in line and "::1" not in line]
    assert outside == [
        ["host", "replication", "replicator", "192.0.2.0/24", "scram-sha-256"],
        ["host", "postgres", "rewind_user", "192.0.2.0/24", "scram-sha-256"],
    ]


def test_names_that_mean_something_are_quoted() -> None:
    made = rules_of(parse(PATRONI_SUPERUSER_USERNAME="all", PATRONI_REPLICATION_USERNAME="+copy"))
    assert [line.split()[:4] for line in made.cluster[:2]] == [
        ["local", "replication", '"+copy"', "peer"],
        ["local", "all", '"all"', "peer"],
    ]
    assert cluster_rules.user_map(parse(PATRONI_SUPERUSER_USERNAME="all"), SERVER)[0].split()[:2] == ["pgops", "postgres"]


def test_a_wrong_address_of_the_cluster_is_refused() -> None:
    with pytest.raises(SettingsError) as refused:
        rules_of(parse(CLUSTER_ADDRESSES="192.0.2.0/33"))
    assert refused.value.variable == "CLUSTER_ADDRESSES"


def test_merging_keeps_what_others_own_and_is_stable() -> None:
    wanted = rules_of(parse(), EXTERNAL_ACCESS_ADDRESSES="198.51.100.0/24")
    lines = [*cluster_rules.first_list(rules_of(parse()), SERVER), "# theirs", "host all bob 203.0.113.7/32 scram-sha-256"]
    merged = cluster_rules.merged(lines, wanted, SERVER)
    assert merged[-2:] == lines[-2:]
    assert merged[0] == lines[0]
    assert any("198.51.100.0/24" in line for line in merged)
    assert not any(line.split()[3:4] == ["::/0"] and "md5" in line for line in merged)
    assert cluster_rules.merged(merged, wanted, SERVER) == merged


def test_closing_takes_the_rules_away() -> None:
    closed = rules_of(parse(), EXTERNAL_ACCESS_ENABLE="false")
    merged = cluster_rules.merged(cluster_rules.first_list(rules_of(parse()), SERVER), closed, SERVER)
    place = merged.index("# BEGIN pgops.access section: external-access")
    assert merged[place + 1] == "# END pgops.access section: external-access"
    assert closed.digest != rules_of(parse()).digest


def test_a_damaged_list_is_not_edited() -> None:
    lines = cluster_rules.first_list(rules_of(parse()), SERVER)
    with pytest.raises(HbaError):
        cluster_rules.merged([line for line in lines if not line.startswith("# END")], rules_of(parse()), SERVER)


@pytest.mark.parametrize(
    ("recorded", "leading", "others", "action", "named"),
    [
        ("own", True, {"b": "own"}, "nothing", ()),
        ("old", True, {"b": "own", "c": "own"}, "write", ()),
        ("old", True, {}, "write", ()),
        (None, True, {"b": "own"}, "write", ()),
        # Not known is no contradiction: a member of another image, or one that has just begun.
        ("old", True, {"b": None}, "write", ()),
        ("old", True, {"b": "old", "c": "own"}, "conflict", ("b",)),
        ("old", False, {"b": "own"}, "nothing", ()),
        ("old", False, {"b": "old"}, "conflict", ("b",)),
    ],
)
def test_rules_change_when_all_ask_for_the_same(
    recorded: str | None, leading: bool, others: dict[str, str | None], action: str, named: tuple[str, ...]
) -> None:
    assert cluster_rules.judge("own", recorded, leading, others) == (action, named)


@pytest.mark.parametrize("value", [None, "host all all all md5", [1, 2], [], {"a": 1}])
def test_what_is_no_list_of_rules_is_not_read(value: object) -> None:
    assert cluster_rules.readable(value) is None


def test_local_configuration_has_no_rules_and_dynamic_is_durable() -> None:
    made = build(parse())
    assert "pg_hba" not in made["postgresql"]
    assert "pg_ident" not in made["postgresql"]
    dynamic = made["bootstrap"]["dcs"]
    assert (dynamic["synchronous_mode"], dynamic["failsafe_mode"]) == ("quorum", True)
    assert dynamic["loop_wait"] + 2 * dynamic["retry_timeout"] <= dynamic["ttl"]
    assert dynamic["postgresql"]["pg_hba"][0] == "local all postgres peer"
    assert dynamic["pgops"]["external_access"] == made["tags"]["external_access"]
    assert "data-checksums" in made["bootstrap"]["initdb"]
    assert made["postgresql"]["use_unix_socket"] is True
    json.dumps(made)


def test_initdb_arguments_become_patronis() -> None:
    made = build(parse(), initdb=("--locale=C.UTF-8", "--allow-group-access"))
    assert made["bootstrap"]["initdb"][-2:] == [{"locale": "C.UTF-8"}, "allow-group-access"]
    with pytest.raises(SettingsError):
        build(parse(), initdb=("-k",))


@pytest.mark.parametrize("path", patroni_config.HIDING)
def test_a_file_that_hides_the_clusters_rules_is_refused(path: tuple[str, ...]) -> None:
    content: object = ["local all all trust"]
    for key in reversed(path):
        content = {key: content}
    with pytest.raises(SettingsError) as refused:
        patroni_config.check_foreign("/etc/pgops/patroni/mine.yml", content)
    assert ".".join(path) in str(refused.value)


def test_an_empty_list_hides_the_rules_as_well() -> None:
    with pytest.raises(SettingsError):
        patroni_config.check_foreign("x.yml", {"postgresql": {"pg_hba": []}})


def test_other_local_settings_are_the_users() -> None:
    patroni_config.check_foreign(
        "x.yml", {"tags": {"nofailover": True}, "postgresql": {"parameters": {"work_mem": "8MB"}}, "bootstrap": None}
    )
    with pytest.raises(SettingsError):
        patroni_config.check_foreign("x.yml", None)
    assert patroni_config.names_store({"etcd3": {"hosts": "x"}})
    assert not patroni_config.names_store({"tags": {}})


def test_patronis_log_lines_become_records() -> None:
    redactor = Redactor(["super secret"])
    line = {"time": "2026-11-24T18:00:00+0000", "level": "WARNING", "message": "password super secret", "logger": "patroni.ha"}
    made = member.patroni_record(json.dumps(line).encode(), redactor)
    assert (made["source"], made["level"], made["logger"]) == ("patroni", "warning", "patroni.ha")
    assert "super secret" not in made["message"]
    assert member.patroni_record(b"server signaled", redactor)["message"] == "server signaled"
    assert member.patroni_record(b'{"level": "CRITICAL", "message": "x"}', redactor)["level"] == "error"
    assert member.patroni_record(b"[1]", redactor)["message"] == "[1]"


def test_a_program_of_ours_under_patroni_says_whose_line_it_is() -> None:
    line = {"source": "init-script", "level": "error", "message": "no"}
    assert member.patroni_record(json.dumps(line).encode(), Redactor())["source"] == "init-script"
    assert member.patroni_record(json.dumps({**line, "source": "access"}).encode(), Redactor())["source"] == "patroni"


def line_of(message: str, logger: str = "patroni.dcs.etcd3", source: str = "patroni") -> dict[str, str]:
    return {"source": source, "message": message, "logger": logger}


def test_foreign_data_are_told_with_both_identifiers_and_the_scope() -> None:
    notices = member_notices.Notices("orders", "/data")
    found = notices.of(line_of("system ID mismatch, node one belongs to a different cluster: 111 != 222", "patroni.ha"))
    assert found is not None
    assert (
        "the data in /data belong to another cluster: their system identifier is 222, and that of PATRONI_SCOPE=orders is 111" in found.text
    )
    assert notices.fatal


def test_a_store_that_does_not_answer_at_the_start_is_told_once_and_its_answer_too() -> None:
    notices = member_notices.Notices("orders", "/data")
    first = notices.of(line_of("waiting on etcd", "patroni.dcs.etcd"))
    assert first is not None
    assert (first.level, first.phase) == ("error", member_notices.WAITING)
    assert notices.of(line_of("waiting on etcd", "patroni.dcs.etcd")) is None
    again = notices.of(line_of("Lock owner: None; I am one", "patroni.ha"))
    assert again is not None
    assert (again.level, again.phase) == ("info", "running")
    assert notices.of(line_of("waiting on etcd", "patroni.dcs.etcd")) is None, "later its outage is not a start"


REFUSED_LOGIN = 'connection to server at "192.0.2.7", port 5432 failed: FATAL:  password authentication failed for user "{}"'


def test_a_password_that_the_primary_refuses_is_told_once_a_role_until_the_member_follows() -> None:
    notices = member_notices.Notices("orders", "/data")
    refused = {
        "source": "postgresql", "backend": "walreceiver",
        "message": "could not connect to the primary server: " + REFUSED_LOGIN.format("replicator"),
    }  # fmt: skip
    said = notices.of(refused)
    assert said is not None
    assert (said.level, said.event) == ("error", "login_refused")
    assert "'replicator'" in said.text
    assert "PATRONI_REPLICATION_PASSWORD_FILE" in said.text
    assert notices.of(refused) is None
    traceback = line_of("Exception when working with leader", "patroni.postgresql.rewind")
    traceback["exc_info"] = REFUSED_LOGIN.format("rewind_user")
    assert notices.of(traceback) is not None
    assert notices.remark == "the primary refuses the password of replicator", "without the other one it may follow all the same"
    follows = {"source": "postgresql", "backend": "walreceiver", "message": "started streaming WAL from primary at 0/3000000 on timeline 1"}
    again = notices.of(follows)
    assert again is not None
    assert (again.level, again.event, notices.remark) == ("info", "login_accepted", "")
    assert notices.of(follows) is None
    assert notices.of(refused) is not None, "and the next time it is told again"
    notices.leads()
    assert notices.remark == ""
    said = notices.of(traceback)
    assert said is not None
    assert "PATRONI_REWIND_PASSWORD_FILE" in said.text
    again = notices.of(line_of("primary_timeline=3", "patroni.postgresql.rewind"))
    assert again is not None
    assert again.event == "login_accepted"
    assert notices.of(line_of("primary_timeline=3", "patroni.postgresql.rewind")) is None


def test_a_copy_that_the_primary_refuses_is_told() -> None:
    notices = member_notices.Notices("orders", "/data")
    said = notices.of(line_of("pg_basebackup: error: " + REFUSED_LOGIN.format("replicator"), ""))
    assert said is not None
    assert "PATRONI_REPLICATION_PASSWORD_FILE" in said.text


@pytest.mark.parametrize("backend", ["postmaster", "client backend"])
def test_what_clients_are_refused_is_not_the_members_own_trouble(backend: str) -> None:
    notices = member_notices.Notices("orders", "/data")
    assert notices.of({"source": "postgresql", "backend": backend, "message": REFUSED_LOGIN.format("app")}) is None
    assert notices.remark == ""


def kept(found: member_settings.Member, **other: str) -> dict[int, str]:
    """The verifiers of a cluster that has this member's passwords, except for the ones given here."""
    logins = {"superuser": found.superuser, "replication": found.replication, "rewind": found.rewind}
    return {number: verifier.make(other.get(name, login.password), 10) for number, (name, login) in enumerate(logins.items())}


def test_passwords_that_are_the_clusters_are_no_difference() -> None:
    found = parse(PATRONI_REWIND_PASSWORD="rewind")
    assert member_logins.differing(found, kept(found)) == ()
    old = {**kept(found), 1: verifier.make_md5("copy secret", "replicator")}
    assert member_logins.differing(found, old) == ()
    huge = {**kept(found), 1: kept(found)[1].replace("$10:", "$2000000000:")}
    assert member_logins.differing(found, huge) == (), "what takes minutes to compare is not compared"


@pytest.mark.parametrize("stored", [verifier.make("other", 10), "md5" + "0" * 32, "", "nonsense", None])
def test_a_password_that_is_not_the_clusters_is_told_with_its_variable(stored: str | None) -> None:
    found = parse()
    cluster = kept(found)
    del cluster[1]
    cluster.update({} if stored is None else {1: stored})
    differences = member_logins.differing(found, cluster)
    assert differences == ((1, "replicator"),)
    text = member_logins.told(found, differences)
    assert text.startswith("PATRONI_REPLICATION_PASSWORD is not the password that the role 'replicator' has in the cluster: ")
    assert "SIGHUP" in text
    assert not [secret for secret in MINIMUM.values() if "secret" in secret and secret in text]


def test_a_derived_rewind_password_is_set_by_the_leader_that_has_the_clusters_superuser_password() -> None:
    found = parse()
    stored = kept(found, rewind="of the old superuser's")
    differences = member_logins.differing(found, stored)
    assert [difference.role for difference in differences] == ["rewind_user"]
    assert member_logins.told(found, differences) == "", "nobody has to do anything"
    statement = member_logins.to_be_set(found, differences, stored, "leader")
    start, made, _end = statement.split("'")
    assert start == 'ALTER ROLE "rewind_user" PASSWORD '
    assert verifier.matches(verifier.parse(made), found.rewind.password, "rewind_user")
    assert member_logins.to_be_set(found, differences, stored, "replica") == ""
    unknown = kept(found, rewind="old", superuser="renewed, and this member was forgotten")
    assert member_logins.to_be_set(found, member_logins.differing(found, unknown), unknown, "leader") == ""
    missing = {number: text for number, text in stored.items() if number != 2}
    assert member_logins.to_be_set(found, member_logins.differing(found, missing), missing, "leader") == "", "there is no such role"
    given = parse(PATRONI_REWIND_PASSWORD="given")
    differences = member_logins.differing(given, stored)
    assert member_logins.to_be_set(given, differences, stored, "leader") == ""
    assert "PATRONI_REWIND_PASSWORD" in member_logins.told(given, differences)


@pytest.mark.parametrize(
    "message",
    [
        "Etcd3 authentication failed: <InvalidArgument error: 'etcdserver: authentication failed, invalid user ID or password', code: 3>",
        "Username or password not set, authentication is not possible",
        "<InvalidArgument error: 'etcdserver: user name is empty', code: 3>",
    ],
)
def test_a_store_that_refuses_the_login_is_told(message: str) -> None:
    found = member_notices.Notices("orders", "/data").of(line_of(message))
    assert found is not None
    assert found.phase == member_notices.REFUSED
    assert "PATRONI_ETCD3_PASSWORD_FILE" in found.text
    # A member that runs goes on running, and the health check asks for itself.
    running = member_notices.Notices("orders", "/data")
    running.of(line_of("Lock owner: one; I am one", "patroni.ha"))
    later = running.of(line_of(message))
    assert later is not None
    assert later.phase == ""


@pytest.mark.parametrize(
    ("message", "end"),
    [
        ("could not load /data/pg_hba.conf", "and this member starts by itself"),
        ("could not load pg_hba.conf", "and this member starts by itself"),
        ("/data/pg_hba.conf was not reloaded", "patronictl edit-config)"),
    ],
)
def test_rules_that_the_server_does_not_load_are_the_clusters(message: str, end: str) -> None:
    notices = member_notices.Notices("orders", "/data")
    found = notices.of(line_of(message, source="postgresql"))
    assert found is not None
    assert "dynamic configuration" in found.text
    assert found.text.endswith(end)
    assert notices.of(line_of(message)) is None, "Patroni never says so"


def test_other_lines_of_the_server_mean_nothing() -> None:
    assert member_notices.Notices("orders", "/data").of(line_of("connection received", source="postgresql")) is None


def test_a_new_clusters_settings_are_for_its_own_image() -> None:
    made = build(parse(), shared=statistics.shared_settings(("pg_stat_statements", "pg_stat_monitor")))
    parameters = made["bootstrap"]["dcs"]["postgresql"]["parameters"]
    assert parameters["shared_preload_libraries"] == "pg_stat_statements,pg_stat_monitor"
    assert parameters["pg_stat_statements.track_utility"] == parameters["pg_stat_monitor.pgsm_track_utility"] == "off"
    assert "shared_preload_libraries" not in made["postgresql"]["parameters"], "a local one would hide the cluster's"
    assert "shared_preload_libraries" not in build(parse())["bootstrap"]["dcs"]["postgresql"]["parameters"]


def test_the_database_of_a_new_cluster_is_made_when_it_is_not_there() -> None:
    assert new_cluster.statement('a"b') == 'CREATE DATABASE "a""b";\n'
    assert new_cluster.statement("template1") == new_cluster.statement("postgres") == ""


def test_names_of_databases_are_quoted_for_psql() -> None:
    made = member_statistics.script('it\'s "odd"')
    assert "datname = 'it''s \"odd\"'" in made
    assert '\\connect "it\'s ""odd"""' in made


@pytest.mark.parametrize(
    ("loaded", "available", "said"),
    [
        (("pg_stat_statements", "pg_stat_monitor"), ("pg_stat_statements", "pg_stat_monitor"), ""),
        (("pg_stat_statements",), ("pg_stat_statements",), "; pg_stat_monitor is not in this image"),
        ((), ("pg_stat_statements", "pg_stat_monitor"), "leaves out pg_stat_statements and pg_stat_monitor"),
    ],
)
def test_what_does_not_count_is_explained(loaded: tuple[str, ...], available: tuple[str, ...], said: str) -> None:
    assert member_statistics.hint(loaded, available).endswith(said)


class FakeRest:
    """Answers by path; a PATCH is refused."""

    def __init__(self, digest: str, lines: object) -> None:
        self.state = "running"
        self.leader, self.config = 503, {"postgresql": {"pg_hba": lines}, "pgops": {"external_access": digest}}

    def status(self, _path: str) -> int:
        return self.leader

    def get(self, path: str) -> dict:
        return {"/config": self.config, "/patroni": {"role": "replica", "state": self.state}, "/cluster": {"members": []}}[path]

    def patch(self, _content: object) -> None:
        raise urllib.error.HTTPError("http://x/config", 401, "no", Message(), None)


def test_the_watch_tells_roles_and_a_refused_login_once(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = rules_of(parse())
    rest = FakeRest("old", cluster_rules.first_list(wanted, SERVER))
    seen = watch.Watch(rest, "one", wanted, SERVER)
    for state, leader in (("creating replica", 503), ("running", 503), ("running", 503), ("running", 200), ("running", 200)):
        rest.state, rest.leader = state, leader
        seen.once()
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("role") for line in said] == ["replica", "replica", "leader", None, "leader"], "nothing while it has no server"
    assert said[3]["event"] == "access_not_managed"
    assert "refuses our login (401)" in said[3]["message"]


@pytest.mark.parametrize("value", [None, "x", {"pg_hba": "host all all all md5"}, {"pg_hba": []}])
def test_a_configuration_that_nobody_of_us_wrote_is_named_and_left_alone(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = rules_of(parse())
    rest = FakeRest("old", [])
    rest.config = {"postgresql": value, "pgops": "x"}
    rest.leader = 200
    watch.Watch(rest, "one", wanted, SERVER).once()
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("event") for line in said] == ["role", "access_not_managed"]


def test_renewed_secrets_are_hidden_as_the_old_ones_are() -> None:
    redactor = Redactor(["first secret"])
    redactor.learn(["second secret", "short"])
    assert redactor.text("first secret, second secret, short") == "***, ***, short"
