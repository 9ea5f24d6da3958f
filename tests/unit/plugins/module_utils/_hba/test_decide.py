# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``decide`` against real connections to servers 12 to 18, and what it refuses to guess."""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba import decide as d
from ansible_collections.pgops.access.plugins.module_utils._hba import ruleset
from ansible_collections.pgops.access.plugins.module_utils._hba.__main__ import main
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Client, Role, Server
from hypothesis import given, settings
from hypothesis import strategies as st

DATA = next(parent for parent in Path(__file__).parents if (parent / "differential").is_dir()) / "differential/data/hba_match_cases.json"
RECORDED = json.loads(DATA.read_text(encoding="utf-8"))
MAJORS = (12, 13, 14, 15, 16, 17, 18)
NEWER = ["create role nis login", "grant grp to nis", "create role adm login", "grant grp to adm"]
"""What the last line of setup_sql did on 16 and later, with options that matching ignores."""


def roles_of(statements: t.Iterable[str], newer: bool) -> list[Role]:
    """The roles that the recorded setup made, read from its SQL."""
    superusers = {"postgres": True}
    groups: dict[str, list[str]] = {"postgres": []}
    for statement in [*statements, *(NEWER if newer else [])]:
        name = r'("[^"]+"|\w+)'
        if made := re.match(rf"create role {name}", statement):
            groups[made[1].strip('"')] = []
            superusers[made[1].strip('"')] = "superuser" in statement
        elif granted := re.match(rf"grant {name} to {name}", statement):
            groups[granted[2].strip('"')].append(granted[1].strip('"'))
    return [Role(name, superusers[name], tuple(above)) for name, above in groups.items()]


class Hosts:
    """A resolver over a hosts file, as the recording machine had it: 127.0.0.1 is localhost, nothing else has a name."""

    def __init__(self, names: t.Mapping[str, str], forward: t.Mapping[str, t.Sequence[str]] | None = None) -> None:
        self.names = names
        self.addresses = forward if forward is not None else {name: [address] for address, name in names.items()}

    def reverse(self, address: str) -> str | None:
        return self.names.get(address)

    def forward(self, name: str) -> t.Sequence[str]:
        return self.addresses.get(name, ())


def client_of(case: dict[str, t.Any]) -> Client:
    """The client of a recorded connection."""
    connection = case["connection"]
    transport = {"unix": "local", "tcp": "tcp", "ssl": "tls"}[connection["transport"]]
    address = None if transport == "local" else connection["client_ip"] or connection["server_host"]
    return Client(connection["user"], connection["database"], address, transport, connection["replication"] == "true")


def answer(decision: d.Decision) -> t.Any:
    """A decision in the recording's words; all rules there have the method password or reject."""
    if decision.outcome == d.REJECTED:
        return "reject"
    if decision.outcome == d.NO_ENTRY:
        return "none"
    if decision.outcome == d.UNDECIDED:
        return "undecided"
    return decision.rule.line if decision.rule else None


def replay(major: int, resolver: d.Resolver | None) -> tuple[int, list[t.Any], list[str]]:
    server = Server(major)
    roles = roles_of(RECORDED["setup_sql"], major >= 16)
    asked, wrong, undecided = 0, [], []
    for case in RECORDED["cases"]:
        expected = [outcome["matched"] for outcome in case["outcomes"] if major in outcome["majors"]]
        if not expected:
            continue
        rules = ruleset.parse_text(case["hba"].encode(), server)
        assert rules.loads, case["name"]
        decider = d.Decider(rules.rules, server=server, roles=roles, resolver=resolver)
        client = client_of(case)
        got = answer(decider.decide(client))
        assert got == answer(decider.decide(client, explain=False)), case["name"]
        asked += 1
        if got == "undecided":
            undecided.append(case["name"])
        elif got != expected[0]:
            wrong.append((case["name"], got, expected[0]))
    return asked, wrong, undecided


@pytest.mark.parametrize("major", MAJORS)
def test_every_recorded_connection(major: int) -> None:
    asked, wrong, undecided = replay(major, Hosts({"127.0.0.1": "localhost"}))
    assert (wrong, undecided) == ([], [])
    assert asked == (689 if major >= 16 else 652)


# --------------------------------------------------------------------------------------------------- what cannot be told offline


HOST_NAMES = {'"all"', '"samehost"', ".localhost", "300.1.1.1", "ALL", "LocalHost", "local.", "localhost"}
HOST_NAME_COUNT = 27


@pytest.mark.parametrize("major", MAJORS)
def test_without_a_resolver_only_host_names_are_undecided(major: int) -> None:
    """The recorded connections that take name resolution: the exact list, so that nothing else hides behind it."""
    _unused, wrong, undecided = replay(major, None)
    assert wrong == []
    columns = {case["name"]: case["hba"].split()[3] for case in RECORDED["cases"]}
    assert {columns[name] for name in undecided} == HOST_NAMES
    assert len(undecided) == HOST_NAME_COUNT


def read(text: str, major: int = 17) -> tuple[t.Any, ...]:
    rules = ruleset.parse_text(text.encode("utf-8", "surrogateescape"), Server(major))
    assert rules.loads, rules.errors
    return rules.rules


def outcome(text: str, client: Client, *, major: int = 17, server: Server | None = None, **more: t.Any) -> str:
    server = server or Server(major)
    rules = read(text, server.major)
    decider = d.Decider(rules, server=server, **more)
    full, quick = decider.decide(client), decider.decide(client, explain=False)
    assert (full.outcome, full.rule, full.reason) == (quick.outcome, quick.rule, quick.reason)
    assert len(full.why_not) == (len(rules) if full.rule is None else rules.index(full.rule))
    return full.outcome


def tcp(address: str = "192.0.2.5", user: str = "app", database: str | None = "db", transport: str = "tcp") -> Client:
    return Client(user, database, address, transport)


# ------------------------------------------------------------------------------------------------------------------- record types


@pytest.mark.parametrize(
    ("kind", "fits"),
    [
        ("host", {"tcp", "tls", "gss"}),
        ("hostssl", {"tls"}),
        ("hostnossl", {"tcp", "gss"}),
        ("hostgssenc", {"gss"}),
        ("hostnogssenc", {"tcp", "tls"}),
    ],
)
def test_record_types(kind: str, fits: set[str]) -> None:
    text = f"{kind} all all all trust\n"
    met = {transport for transport in ("tcp", "tls", "gss") if outcome(text, tcp(transport=transport)) == "trust"}
    assert met == fits
    assert outcome(text, Client("app", "db", None, "local")) == d.NO_ENTRY
    assert outcome("local all all trust\n", Client("app", "db", None, "local")) == "trust"
    assert outcome("local all all trust\n", tcp()) == d.NO_ENTRY


def test_a_server_without_tls_or_gssapi_has_no_such_clients() -> None:
    text = "hostssl all all all trust\nhostgssenc all all all trust\nhost all all all md5\n"
    plain = Server(17, ssl=False, features=frozenset())
    decider = d.Decider(ruleset.parse_text(text.encode(), plain).rules, server=plain)
    assert decider.decide(tcp()).outcome == "md5"
    for transport in ("tls", "gss"):
        decision = decider.decide(tcp(transport=transport))
        assert decision.outcome == d.NO_ENTRY
        assert {why.reason for why in decision.why_not} == {"type"}


def test_why_not_names_the_first_column_that_differs() -> None:
    text = (
        "hostssl db app 192.0.2.0/24 trust\nhost other other 10.0.0.0/8 trust\nhost other other 192.0.2.0/24 trust\n"
        "host db other 192.0.2.0/24 trust\nhost db app 192.0.2.0/24 reject\nhost all all all trust\n"
    )
    decision = d.decide(read(text), tcp(), server=Server(17))
    assert decision.outcome == d.REJECTED
    assert decision.rule is not None
    assert decision.rule.line == 5
    assert [(why.rule.line, why.reason) for why in decision.why_not] == [(1, "type"), (2, "address"), (3, "database"), (4, "user")]
    assert decision.why_not[1].detail == "192.0.2.5 is not in 10.0.0.0 mask 255.0.0.0"


# ---------------------------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("column", "address", "matches"),
    [
        ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.77/24", "192.0.2.1", True),
        ("192.0.2.0/24", "192.0.3.0", False),
        ("192.0.2.0/24", "::ffff:192.0.2.9", True),
        ("::ffff:192.0.2.0/120", "::ffff:192.0.2.9", False),
        ("0.0.0.0/0", "::1", False),
        ("::/0", "192.0.2.1", False),
        ("10/8", "10.0.0.1", False),
        ("0.0.0.1 0.0.0.255", "7.8.9.1", True),
        ("0.0.0.1 0.0.0.255", "7.8.9.2", False),
        ("fe80::/10", "fe80::1%eth0", True),
        ("2001:db8::/32", "2001:DB8:0:0::7", True),
        ("all", "2001:db8::7", True),
    ],
)
def test_addresses(column: str, address: str, matches: bool) -> None:
    assert outcome(f"host all all {column} trust\n", tcp(address)) == ("trust" if matches else d.NO_ENTRY)


def test_samehost_and_samenet() -> None:
    mine = [d.interface("192.0.2.7/24"), d.interface("2001:db8::7/64"), *d.LOOPBACK]
    for address, host, net in [
        ("192.0.2.7", True, True), ("192.0.2.8", False, True), ("192.0.3.7", False, False),
        ("2001:db8::7", True, True), ("2001:db8::8", False, True), ("127.0.0.1", True, True), ("127.0.0.2", False, True),
    ]:  # fmt: skip
        for word, expected in (("samehost", host), ("samenet", net)):
            text = f"host all all {word} trust\n"
            assert outcome(text, tcp(address), interfaces=mine) == ("trust" if expected else d.NO_ENTRY)
            alone = outcome(text, tcp(address))
            assert alone == (d.UNDECIDED if not address.startswith("127") else "trust" if expected else d.NO_ENTRY)


def test_host_names() -> None:
    """The order of look-ups and the remembered failure (reference 4.6)."""
    hosts = Hosts(
        {"192.0.2.5": "Web1.Example.COM", "192.0.2.6": "liar.example.com", "192.0.2.7": "lost.example.com"},
        {"Web1.Example.COM": ["192.0.2.4", "192.0.2.5"], "liar.example.com": ["192.0.2.99"], "lost.example.com": []},
    )
    for pattern, address, matches in [
        ("web1.example.com", "192.0.2.5", True),
        (".example.com", "192.0.2.5", True),
        ("example.com", "192.0.2.5", False),
        (".", "192.0.2.5", False),
        ("web1.example.com.", "192.0.2.5", False),
        ("*.example.com", "192.0.2.5", False),
        ("liar.example.com", "192.0.2.6", False),
        ("lost.example.com", "192.0.2.7", False),
        ("web1.example.com", "192.0.2.8", False),
    ]:
        assert outcome(f"host all all {pattern} trust\n", tcp(address), resolver=hosts) == ("trust" if matches else d.NO_ENTRY)
    text = "host all all liar.example.com trust\nhost all all .example.com trust\nhost all all 192.0.2.6/32 md5\n"
    assert outcome(text, tcp("192.0.2.6"), resolver=hosts) == "md5"


def test_without_a_resolver_a_name_matters_only_where_the_rest_matches() -> None:
    text = "host all other web1.example.com trust\nhost db app web1.example.com trust\nhost all all all md5\n"
    decision = d.decide(read(text), tcp(), server=Server(17))
    assert (decision.outcome, decision.rule.line if decision.rule else 0) == (d.UNDECIDED, 2)
    assert "no resolver was given" in decision.reason
    assert outcome(text, tcp(user="third")) == "md5"


# ---------------------------------------------------------------------------------------------------------- databases and users


def test_physical_replication_only_by_the_word() -> None:
    walreceiver = Client("rep", None, "192.0.2.5", "tcp", replication=True)
    for column, matches in [
        ("replication", True), ("all", False), ("/.*", False), ('"replication"', False), ("rep", False), ("sameuser", False),
        ("all,replication", True),
    ]:  # fmt: skip
        assert outcome(f"host {column} rep all trust\n", walreceiver) == ("trust" if matches else d.NO_ENTRY)
    assert outcome("host replication rep all trust\n", Client("rep", "replication", "192.0.2.5")) == d.NO_ENTRY


def test_missing_database_is_the_user_s_and_names_are_cut() -> None:
    assert outcome("host sameuser all all trust\n", tcp(database=None)) == "trust"
    assert outcome("host app all all trust\n", tcp(database="")) == "trust"
    long = "x" * 62 + "é"
    cut = b"x" * 62 + "é".encode()[:1]
    text = f"host {cut.decode('utf-8', 'surrogateescape')} all all trust\nhost {long} all all md5\n"
    assert outcome(text, tcp(database=long)) == "trust"
    assert outcome(f"host {long} all all md5\n", tcp(database=long)) == d.NO_ENTRY


@pytest.mark.parametrize("major", [15, 16])
def test_expressions_since_16(major: int) -> None:
    text = 'host "/^d.$" /^(app|web)$ all trust\n'
    assert outcome(text, tcp(), major=major) == ("trust" if major >= 16 else d.NO_ENTRY)
    assert outcome(text, tcp(user="/^(app|web)$", database="/^d.$"), major=major) == (d.NO_ENTRY if major >= 16 else "trust")


def test_expressions_see_bytes() -> None:
    for pattern, matches in [("^..$", True), ("^.$", False), ("^é$", True), ("^[é]$", False), ("^\\w+$", False), ("(?i)É", False)]:
        assert outcome(f'host all "/{pattern}" all trust\n', tcp(user="é")) == ("trust" if matches else d.NO_ENTRY)


def test_an_expression_that_is_not_covered_is_undecided() -> None:
    decision = d.decide(read("host all /^(?:a{255}){60}$ all trust\n"), tcp(), server=Server(17))
    assert decision.outcome == d.UNDECIDED
    assert "too many states" in decision.reason
    assert outcome("host all /^(?:a{255}){60}$,app all trust\n", tcp()) == "trust"


def test_memberships_of_roles_and_of_the_client() -> None:
    text = "host all +grp all trust\nhost samerole all all md5\n"
    roles = [Role("app", member_of=("mid",)), Role("mid", member_of=("grp", "app")), Role("grp"), Role("db"), Role("su", superuser=True)]
    assert outcome(text, tcp(), roles=roles) == "trust"
    assert outcome(text, tcp(user="su"), roles=roles) == d.NO_ENTRY
    assert outcome(text, tcp(user="nobody"), roles=roles) == d.NO_ENTRY
    assert outcome(text, tcp(user="grp"), roles=roles) == "trust"
    assert outcome(text, tcp()._replace(memberships=("grp",))) == "trust"
    assert outcome(text, tcp()._replace(memberships=("db",))) == "md5"
    assert outcome(text, tcp()._replace(memberships=("app",))) == d.NO_ENTRY
    assert outcome(text, tcp(user="new")._replace(memberships=("mid",)), roles=roles) == "trust"
    unknown = d.decide(read(text), tcp(), server=Server(17))
    assert (unknown.outcome, unknown.rule and unknown.rule.line) == (d.UNDECIDED, 1)
    assert "give the roles" in unknown.reason


def test_db_user_namespace() -> None:
    server = Server(15, db_user_namespace=True)
    text = "host all app@db all trust\nhost all app all password\n"
    assert outcome(text, tcp(), server=server) == "trust"
    assert outcome(text, tcp(user="app@"), server=server) == "password"
    assert outcome(text, tcp(), server=Server(17, db_user_namespace=True)) == "password"


def test_ident_on_the_socket_is_peer() -> None:
    assert outcome("local all all ident\n", Client("app", "db", None, "local")) == "peer"


def test_clients_that_cannot_be() -> None:
    rules = read("host all all all trust\n")
    for client in (
        Client("", "db", "192.0.2.1"),
        Client("app", "db", None, "tcp"),
        Client("app", "db", "host.example.com"),
        tcp(transport="udp"),
    ):
        with pytest.raises(d.InvalidClient):
            d.decide(rules, client, server=Server(17))


# ------------------------------------------------------------------------------------------------------------------- many clients


WORDS = ["all", "app", "web", "db", '"all"', "sameuser", "samerole", "replication", "/^a", "/b$", "+grp", "+app", "app,web", "db,+grp"]
COLUMNS = ["all", "192.0.2.0/24", "192.0.2.5/32", "10.0.0.0/8", "2001:db8::/32", "samenet", ".example.com"]


@given(
    lines=st.lists(
        st.tuples(
            st.sampled_from(["host", "hostssl", "hostnossl", "local"]),
            st.sampled_from(WORDS),
            st.sampled_from(WORDS),
            st.sampled_from(COLUMNS),
        ),
        max_size=8,
    ),
    user=st.sampled_from(["app", "web", "grp", "all", "zed"]),
    database=st.sampled_from([None, "db", "app", "all"]),
    address=st.sampled_from([None, "192.0.2.5", "10.1.1.1", "2001:db8::1"]),
    tls=st.booleans(),
    replication=st.booleans(),
    known=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_the_quick_way_agrees_with_the_long_one(
    *,
    lines: list[tuple[str, str, str, str]],
    user: str,
    database: str | None,
    address: str | None,
    tls: bool,
    replication: bool,
    known: bool,
) -> None:
    text = "".join(
        f"{kind} {data} {who} {'' if kind == 'local' else column} {('md5', 'trust', 'reject')[number % 3]}\n"
        for number, (kind, data, who, column) in enumerate(lines)
    )
    rules = ruleset.parse_text((text or "#\n").encode(), Server(17)).rules
    client = Client(user, database, address, "local" if address is None else "tls" if tls else "tcp", replication)
    roles = [Role("app", member_of=("grp",)), Role("web"), Role("grp")] if known else None
    decider = d.Decider(rules, server=Server(17), roles=roles, interfaces=[d.interface("192.0.2.7/24")])
    full, quick = decider.decide(client), decider.decide(client, explain=False)
    assert (full.outcome, full.rule, full.reason) == (quick.outcome, quick.rule, quick.reason)


# --------------------------------------------------------------------------------------------------------- dictionaries and expect


def test_a_client_s_dictionary() -> None:
    full = {
        "user": "app",
        "database": "db",
        "address": "192.0.2.5",
        "transport": "tls",
        "replication": False,
        "memberships": ["grp"],
        "expect": "allowed",
    }
    assert d.client_from_dict(full) == Client("app", "db", "192.0.2.5", "tls", False, ("grp",))
    assert d.client_from_dict({"user": "app"}) == Client("app", None, None, "local")
    assert d.client_from_dict({"user": "app", "address": "::1", "database": None}) == Client("app", None, "::1", "tcp")
    assert d.client_from_dict({"user": "rep", "replication": True}).replication
    assert d.client_from_dict({"user": "app", "memberships": []}).memberships == ("app",)


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({}, "user"),
        ({"user": ""}, "user"),
        ({"user": 7}, "user"),
        ({"user": "a\0b"}, "user"),
        ({"user": "a\ud800"}, "user"),
        ({"user": "a", "database": ["x"]}, "database"),
        ({"user": "a", "address": "10.0.0.0/8"}, "address"),
        ({"user": "a", "address": "host.example.com"}, "address"),
        ({"user": "a", "transport": "local", "address": "10.0.0.1"}, "address"),
        ({"user": "a", "transport": "tls"}, "address"),
        ({"user": "a", "transport": "ssl", "address": "10.0.0.1"}, "transport"),
        ({"user": "a", "replication": "yes"}, "replication"),
        ({"user": "a", "memberships": "grp"}, "memberships"),
        ({"user": "a", "expect": "reject"}, "expect"),
        ({"user": "a", "expect": "scram"}, "expect"),
        ({"user": "a", "adress": "10.0.0.1"}, "adress"),
    ],
)
def test_a_bad_dictionary_names_the_field(item: dict[str, t.Any], field: str) -> None:
    with pytest.raises(d.InvalidClient, match=rf"clients\[1\]: {field}: ") as caught:
        d.clients_from_json([{"user": "ok"}, item])
    assert caught.value.field == field


def test_roles_from_dictionaries() -> None:
    assert d.role_from_dict({"name": "a", "superuser": True, "member_of": ["b"]}) == Role("a", True, ("b",))
    for item, field in [
        ({}, "name"),
        ({"name": "a", "superuser": "yes"}, "superuser"),
        ({"name": "a", "member_of": "b"}, "member_of"),
        ({"name": "a", "members": []}, "members"),
    ]:
        with pytest.raises(d.InvalidClient) as caught:
            d.role_from_dict(item)
        assert caught.value.field == field


@pytest.mark.parametrize(
    ("got", "met"),
    [
        ("md5", {"md5", "allowed"}),
        (d.REJECTED, {"rejected", "refused"}),
        (d.NO_ENTRY, {"no_entry", "refused"}),
        (d.UNDECIDED, set()),
    ],
)
def test_expectations(got: str, met: set[str]) -> None:
    expects = {"md5", "scram-sha-256", *d.EXPECTATIONS}
    assert {expect for expect in expects if d.meets(d.Decision(got), expect)} == met


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, clients, roles = tmp_path / "pg_hba.conf", tmp_path / "clients.json", tmp_path / "roles.json"
    file.write_text("local all all peer\nhost all +grp 10.0.0.0/8 scram-sha-256\nhost all all all reject\n")
    asked = [
        {"user": "app", "database": "db", "address": "10.1.2.3", "transport": "tls", "expect": "scram-sha-256"},
        {"user": "zed", "database": None, "address": "10.1.2.3", "transport": "tcp"},
        {"user": "app"},
    ]
    clients.write_text(json.dumps(asked))
    roles.write_text(json.dumps([{"name": "app", "superuser": False, "member_of": ["grp"]}, {"name": "zed"}]))
    command = ["decide", "--postgres-version", "17", "--clients", str(clients), "--roles", str(roles), str(file)]
    assert main(command) == 0
    decisions = json.loads(capsys.readouterr().out)
    assert [(item["outcome"], item["line"], item["rule_number"]) for item in decisions] == [
        ("scram-sha-256", 2, 2), ("rejected", 3, 3), ("peer", 1, 1),
    ]  # fmt: skip
    assert decisions[0]["file"] == str(file)
    assert [(why["line"], why["reason"]) for why in decisions[1]["why_not"]] == [(1, "type"), (2, "user")]
    clients.write_text(json.dumps([{**asked[0], "expect": "md5"}]))
    assert main(command) == 1
    clients.write_text(json.dumps([{"user": "app", "transport": "tcp"}]))
    assert main(command) == 2
    assert "clients[0]: address: is missing" in capsys.readouterr().err
