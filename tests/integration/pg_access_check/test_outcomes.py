# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every outcome that a server decides, provoked on servers of several majors, and held against psycopg2 and the server's log."""

from __future__ import annotations

import contextlib
import typing as t

import psycopg2
import pytest

from .conftest import Certificates, Check, Client, Server, check, client, tls

# name → (sentence, outcome, methods on 15 and below, methods on 16 and above)
Case = t.Tuple[t.Dict[str, t.Any], str, t.Tuple[str, ...], t.Tuple[str, ...]]


def _case(outcome: str, below: t.Sequence[str], above: t.Sequence[str] | None = None, **sentence: t.Any) -> Case:
    return sentence, outcome, tuple(below), tuple(below if above is None else above)


SCRAM = ("scram-sha-256", "md5")
CLEAR = ("password", "ldap", "pam", "radius", "bsd")
CASES: dict[str, Case] = {
    "scram": _case("allowed", SCRAM, ["scram-sha-256"], user="scramuser", password="pw-scramuser"),
    "scram over tls": _case("allowed", SCRAM, ["scram-sha-256"], user="scramuser", password="pw-scramuser", transport="tls"),
    "scram, wrong password": _case("wrong_password", SCRAM, user="scramuser", password="wrong"),
    "scram, no password": _case("asked", SCRAM, user="scramuser"),
    "scram under an md5 rule": _case("allowed", SCRAM, user="scram_under_md5", password="pw-scram_under_md5"),
    "md5": _case("allowed", ["md5"], user="md5user", password="pw-md5user"),
    "md5, wrong password": _case("wrong_password", ["md5"], user="md5user", password="wrong"),
    "md5, no password": _case("asked", ["md5"], user="md5user"),
    "md5 verifier under a scram rule": _case("wrong_password", SCRAM, user="md5_under_scram", password="pw-md5_under_scram"),
    "cleartext": _case("allowed", CLEAR, ["password"], user="clear", password="pw-clear"),
    "cleartext, wrong password": _case("wrong_password", CLEAR, user="clear", password="wrong"),
    "cleartext, no password": _case("asked", CLEAR, user="clear"),
    "no such role under scram": _case("wrong_password", SCRAM, user="unknown_to_all", password="x"),
    "trust": _case("allowed", ["trust", "ident"], ["trust"], user="truster"),
    "trust over the socket": _case("allowed", ["trust", "peer"], ["trust"], user="all_local", transport="local"),
    "peer of somebody else": _case("authentication_failed", ["peer"], user="peeruser", transport="local"),
    "ident without an ident server": _case("authentication_failed", ["ident"], user="identuser"),
    "rejected": _case("rejected", ["reject"], user="rejected"),
    "rejected over tls": _case("rejected", ["reject"], user="rejected", transport="tls"),
    "no entry": _case("no_entry", [], user="nobody_knows"),
    "no entry on the socket": _case("no_entry", [], user="scramuser", transport="local"),
    "no entry over tls": _case("no_entry", [], user="nobody_knows", transport="tls"),
    "no entry for replication": _case("no_entry", [], user="scramuser", replication=True),
    "tls required": _case("tls_required", [], user="tlsonly"),
    "tls given": _case("allowed", SCRAM, ["scram-sha-256"], user="tlsonly", password="pw-tlsonly", transport="tls"),
    "tls forbidden": _case("tls_forbidden", [], user="plainonly", transport="tls"),
    "tls required by a reject rule": _case("rejected", ["reject"], user="tlsreject"),
    "certificate required by cert": _case("certificate_required", [], user="certuser", transport="tls"),
    "certificate required by clientcert": _case("certificate_required", [], user="needcert", transport="tls"),
    "no such role under trust": _case("unknown_role", ["trust", "ident"], user="ghost"),
    "a role that may not log in": _case("may_not_log_in", ["trust", "ident"], user="nologin"),
    "no such database": _case("unknown_database", ["trust", "ident"], user="truster", database="nowhere"),
    "database that is closed": _case("database_closed", ["trust", "ident"], user="truster", database="closed"),
    "database without CONNECT": _case("database_forbidden", ["trust", "ident"], user="truster", database="private"),
    "no connection left for the role": _case("too_many_connections", SCRAM, user="limited", password="pw-limited"),
    "replication": _case("allowed", SCRAM, user="repl", password="pw-repl", replication=True, database=None),
    "role without REPLICATION": _case("may_not_replicate", ["trust", "ident"], user="truster", replication=True, database=None),
    "the second address": _case("rejected", ["reject"], user="scramuser", address="127.0.0.9"),
    "an address without a rule": _case("no_entry", [], user="scramuser", address="127.0.0.77"),
}


@pytest.fixture(scope="module")
def verdicts(server: Server) -> dict[str, Check]:
    """All cases in one run, eight at a time."""
    clients = [client(server, **sentence) for sentence, *_rest in CASES.values()]
    return dict(zip(CASES, check(*clients)))


@pytest.mark.parametrize("name", CASES)
def test_outcome_and_methods(server: Server, verdicts: dict[str, Check], name: str) -> None:
    _sentence, outcome, below, above = CASES[name]
    verdict = verdicts[name]
    assert verdict.outcome == outcome, verdict
    assert verdict.methods == (above if server.major >= 16 else below), verdict


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "address" not in case[0]])
def test_libpq_comes_to_the_same_result(server: Server, verdicts: dict[str, Check], name: str) -> None:
    """psycopg2 gets in exactly where we did, and otherwise is told the same words."""
    verdict = verdicts[name]
    reason = libpq(verdict.client)
    assert (reason is None) == (verdict.outcome == "allowed"), (reason, verdict)
    if verdict.outcome == "asked":
        assert reason is not None
        assert "no password supplied" in reason
    elif reason is not None:
        assert verdict.evidence.error is not None, verdict
        assert verdict.evidence.error.message in reason


def libpq(one: Client) -> str | None:
    """What psycopg2 is told; None when it gets in."""
    parameters: dict[str, t.Any] = {"dbname": one.database, "password": one.password, "passfile": "/nonexistent"}
    parameters = {name: value for name, value in parameters.items() if value is not None}
    if one.replication:
        parameters["replication"] = "true"
    try:
        psycopg2.connect(
            host=one.host,
            port=one.port,
            user=one.user,
            sslmode="require" if one.transport == "tls" else "disable",
            gssencmode="disable",
            sslcert="/nonexistent",
            connect_timeout=20,
            **parameters,
        ).close()
    except psycopg2.OperationalError as error:
        return str(error)
    return None


def test_the_log_names_one_of_our_methods(server: Server, verdicts: dict[str, Check]) -> None:
    """From 14 on the server logs the method by which it authenticated somebody."""
    if server.major < 14:
        pytest.skip("13 logs no method")
    for name in ("scram", "scram under an md5 rule", "md5", "cleartext", "tls given", "replication"):
        start = server._log_size()
        (again,) = check(verdicts[name].client)
        said = [entry for entry in server._entries(start) if "connection authenticated" in entry]
        assert len(said) == 1, said
        method = said[0].partition(" method=")[2].partition(" ")[0]
        assert method in again.methods, (name, said)


def test_a_login_shows_what_the_server_sees(server: Server, verdicts: dict[str, Check]) -> None:
    evidence = verdicts["scram over tls"].evidence
    assert evidence.address_seen == evidence.source_address == evidence.server_address == "127.0.0.1"
    assert evidence.tls is not None
    assert evidence.server_tls == evidence.tls.version == "TLSv1.3"
    assert evidence.tls.bits >= 128
    assert evidence.parameters["server_version"] == server.version
    assert evidence.identity == ("scram-sha-256:scramuser" if server.major >= 16 else None)
    assert evidence.connect_ms is not None
    assert 0 <= evidence.connect_ms <= evidence.total_ms < 10_000
    assert verdicts["trust over the socket"].evidence.address_seen is None


def test_the_source_address_is_ours_to_choose(server: Server) -> None:
    """127.0.0.9 meets its reject rule, 127.0.0.1 the SCRAM rule above it, and the server confirms the latter."""
    first, second = check(
        client(server, "scramuser", address="127.0.0.9", password="pw-scramuser", expect="rejected"),
        client(server, "scramuser", address="127.0.0.1", password="pw-scramuser", expect="scram-sha-256"),
    )
    assert (first.met, second.met) == (True, True)
    assert 'host "127.0.0.9"' in (first.evidence.error.message if first.evidence.error else "")
    assert second.evidence.address_seen == "127.0.0.1"


def test_a_password_goes_to_no_server_that_asks_by_another_method(server: Server) -> None:
    """The rule says password (clear text), SCRAM is expected: nothing is sent, so the server has nothing to refuse."""
    start = server._log_size()
    (verdict,) = check(client(server, "clear", password="wrong", expect="scram-sha-256"))
    assert (verdict.outcome, verdict.met, verdict.evidence.sent_password) == ("asked", False, False)
    assert any("was not sent" in note for note in verdict.notes)
    assert not any("password authentication failed" in entry for entry in server._entries(start))
    (verdict,) = check(client(server, "clear", password="wrong", expect="password"))
    assert verdict.outcome == "wrong_password"


def test_ipv6(server: Server) -> None:
    if "::1" not in server.listen:
        pytest.skip("this machine has no IPv6")
    (verdict,) = check(client(server, "scramuser", host="::1"))
    assert verdict.outcome == "no_entry"
    assert verdict.evidence.error is not None
    assert 'host "::1"' in verdict.evidence.error.message


def test_certificates(server: Server, certificates: Certificates) -> None:
    ours = tls(cert=certificates.client, key=certificates.client_key)
    stranger = tls(cert=certificates.stranger, key=certificates.stranger_key)
    good, wrong_name, unknown = check(
        client(server, "certuser", transport="tls", tls=ours, expect="cert"),
        client(server, "tlsonly", transport="tls", tls=ours, password="pw-tlsonly", expect="scram-sha-256"),
        client(server, "certuser", transport="tls", tls=stranger, expect="certificate_refused"),
    )
    assert (good.outcome, good.met) == ("allowed", True)
    assert good.methods == (("cert",) if server.major >= 16 else ("cert", "trust", "ident"))
    assert wrong_name.met, "a certificate does no harm where the rule asks for a password"
    assert (unknown.outcome, unknown.met) == ("certificate_refused", True), unknown


def test_a_certificate_of_somebody_else(server: Server, certificates: Certificates) -> None:
    """needcert's rule wants any valid certificate; a cert rule wants the role's own name in it."""
    server.sql("create role certother login")
    assert server.use(
        b"hostssl all certother 127.0.0.0/8 cert\nhostssl all needcert 127.0.0.0/8 trust clientcert=verify-ca\n" + b"local all all trust\n"
    )
    ours = tls(cert=certificates.client, key=certificates.client_key)
    other, any_valid = check(
        client(server, "certother", transport="tls", tls=ours), client(server, "needcert", transport="tls", tls=ours, expect="trust")
    )
    assert (other.outcome, other.methods) == ("authentication_failed", ("cert",))
    assert any_valid.met


def test_who_verifies_the_server(server: Server, certificates: Certificates) -> None:
    own = server.data / "server.crt"
    chain, name, wrong_name, nobody = check(
        client(server, "nobody_knows", transport="tls", tls=tls(verify="ca", ca_cert=own)),
        client(server, "nobody_knows", transport="tls", tls=tls(verify="full", ca_cert=own), host="localhost"),
        client(server, "nobody_knows", transport="tls", tls=tls(verify="full", ca_cert=own)),
        client(server, "nobody_knows", transport="tls", tls=tls(verify="ca", ca_cert=certificates.ca)),
    )
    assert [one.outcome for one in (chain, name, wrong_name, nobody)] == [
        "no_entry",
        "no_entry",
        "server_not_trusted",
        "server_not_trusted",
    ]
    assert "127.0.0.1" in wrong_name.evidence.reason


def test_passwords_beyond_ascii(server: Server) -> None:
    """SASLprep: the stored verifier was made by the server from these very characters."""
    assert server.use('local all all trust\nhost all "Zoë Müller" 127.0.0.1/32 scram-sha-256\n'.encode())
    right, composed, wrong = check(
        client(server, "Zoë Müller", password="pw-Zoë-½-Ⅸ", expect="scram-sha-256"),
        client(server, "Zoë Müller", password="pw-Zoe\u0308-1\u20442-IX", expect="scram-sha-256"),
        client(server, "Zoë Müller", password="pw-Zoe-½-Ⅸ", expect="wrong_password"),
    )
    assert right.met
    assert composed.met, "NFKC makes both spellings the same password"
    assert wrong.met


def test_tls_switched_off(server: Server) -> None:
    server.switch(ssl=False)
    try:
        off, over_tcp = check(
            client(server, "scramuser", transport="tls", expect="tls_not_offered"), client(server, "tlsonly", expect="no_entry")
        )
    finally:
        server.switch(ssl=True)
    assert off.met
    assert over_tcp.met, over_tcp
    assert over_tcp.other_transport == ("tls", "tls_not_offered")


def test_tls_that_cannot_be_agreed_upon(server: Server) -> None:
    server.switch(ssl_min_protocol_version="'TLSv1'", ssl_max_protocol_version="'TLSv1.1'")
    try:
        (verdict,) = check(client(server, "scramuser", transport="tls"))
    finally:
        server.switch()
    assert verdict.outcome == "tls_failed", verdict
    assert verdict.evidence.reason


def test_every_slot_taken(server: Server) -> None:
    """Real sessions until the server has none left for ordinary roles."""
    assert server.use(b"local all all trust\nhost all all 127.0.0.1/32 trust\n")
    held: list[t.Any] = []
    try:
        with contextlib.suppress(psycopg2.OperationalError):
            while len(held) < 100:
                held.append(psycopg2.connect(host="127.0.0.1", port=server.port, user="truster", dbname="postgres", sslmode="disable"))
        assert 0 < len(held) < 100
        (verdict,) = check(client(server, "truster", expect="too_many_connections"))
    finally:
        for one in held:
            one.close()
    assert verdict.met, verdict
    assert verdict.evidence.error is not None
    assert verdict.evidence.error.sqlstate == "53300"


def test_gss_encryption(server: Server) -> None:
    (verdict,) = check(client(server, "scramuser", transport="gss"))
    assert verdict.outcome == ("gss_offered" if "gssapi" in server.features else "gss_not_offered")
