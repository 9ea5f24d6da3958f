# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the network, a server between two states, and time itself do to a check. Everything on loopback."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import threading
import time
import typing as t

import psycopg2
import pytest
from ansible_collections.pgops.access.plugins.module_utils._server.errors import InvalidInput

from .conftest import FULL, Certificates, Client, Server, check, client, start, tls


@contextlib.contextmanager
def listener(answer: t.Callable[[socket.socket], None] | None = None, backlog: int = 50) -> t.Iterator[int]:
    """A port on 127.0.0.1 that does with every connection what ``answer`` says; None: nothing is ever accepted."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen(backlog)
        if answer is not None:
            threading.Thread(target=_serve, args=(one, answer), daemon=True).start()
        yield int(one.getsockname()[1])


def _serve(listening: socket.socket, answer: t.Callable[[socket.socket], None]) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _where = listening.accept()
            with connection:
                answer(connection)


def at(port: int, **more: t.Any) -> Client:
    return Client(user="app", host=more.pop("host", "127.0.0.1"), port=port, **more)


def test_nothing_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (verdict,) = check(at(free.getsockname()[1], expect="connection_refused"))
    assert verdict.met, verdict


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_a_server_that_hangs(transport: str) -> None:
    """The TCP connection is there, and then nothing."""
    began = time.monotonic()
    with listener() as port:
        (verdict,) = check(at(port, transport=transport, expect="unreachable"), timeout=0.5)
    assert verdict.outcome == "timed_out"
    assert verdict.met
    assert verdict.evidence.connect_ms is not None
    assert 0.4 < time.monotonic() - began < 8


def test_packets_that_are_dropped() -> None:
    """A listener whose queue is full: Linux drops further SYNs, as a firewall would."""
    with listener(backlog=0) as port, contextlib.ExitStack() as held:
        for _number in range(4):
            filler = held.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        (verdict,) = check(at(port), timeout=0.5)
    assert verdict.outcome == "timed_out"
    assert verdict.evidence.connect_ms is None


def test_one_byte_at_a_time_does_not_stretch_the_limit() -> None:
    def drip(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for byte in b"N\x00\x00\x10\x00" + b"x" * 100:
                connection.sendall(bytes([byte]))
                time.sleep(0.1)

    began = time.monotonic()
    with listener(drip) as port:
        (verdict,) = check(at(port), timeout=0.7)
    assert verdict.outcome == "timed_out"
    assert time.monotonic() - began < 6


def test_no_way_there() -> None:
    """TCP to a multicast address has no route, by definition."""
    (verdict,) = check(at(5432, host="224.0.0.1", expect="unreachable"))
    assert (verdict.outcome, verdict.met) == ("unreachable", True), verdict


def test_a_name_with_several_addresses() -> None:
    """localhost is ::1 and 127.0.0.1 on most machines; only the latter answers."""
    with listener(lambda connection: connection.sendall(b"")) as port:
        (verdict,) = check(at(port, host="localhost"))
    assert verdict.outcome == "closed", verdict
    assert verdict.evidence.server_address == "127.0.0.1"


def test_a_source_of_the_other_family(any_server: Server) -> None:
    (verdict,) = check(client(any_server, "scramuser", address="::1"))
    assert verdict.outcome == "unreachable"
    assert "family" in verdict.evidence.reason


def test_a_name_that_is_none() -> None:
    (verdict,) = check(at(5432, host="no-such-host.invalid", expect="unknown_host"), timeout=20)
    assert verdict.met, verdict
    assert "no-such-host.invalid" in verdict.evidence.reason


@pytest.mark.parametrize(("transport", "expected"), [("tcp", "closed"), ("tls", "closed")])
def test_a_proxy_without_a_server(transport: str, expected: str) -> None:
    """What a published port of a container without a server does: accept, then close."""

    def hang_up(connection: socket.socket) -> None:
        connection.recv(200)

    with listener(hang_up) as port:
        (verdict,) = check(at(port, transport=transport, expect=expected))
    assert verdict.met, verdict


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_something_else_answers(transport: str) -> None:
    with listener(
        lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n" if transport == "tcp" else b"HTTP/1.1 400\r\n")
    ) as port:
        (verdict,) = check(at(port, transport=transport, expect="protocol_error"))
    assert verdict.met, verdict


def test_a_postmaster_that_cannot_fork() -> None:
    """It answers in protocol 2 style, without lengths (report_fork_failure_to_client)."""
    words = b"Ecould not fork new process for connection: Cannot allocate memory\n\0"
    with listener(lambda connection: (connection.recv(200), connection.sendall(words))[1]) as port:
        (verdict,) = check(at(port))
    assert verdict.outcome == "server_error"
    assert verdict.evidence.error is not None
    assert "could not fork" in verdict.evidence.error.message


def test_clear_text_behind_the_answer_to_the_tls_request_is_not_believed() -> None:
    """CVE-2021-23222: bytes that follow the ``S`` belong to TLS or to an attacker, never to the session."""
    let_in = b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"
    with listener(lambda connection: (connection.recv(8), connection.sendall(b"S" + let_in), connection.recv(2000))[1]) as port:
        (verdict,) = check(at(port, transport="tls"), timeout=2)
    assert verdict.outcome in ("tls_failed", "closed"), verdict
    assert not verdict.evidence.authenticated


def test_a_server_that_lets_everybody_in_without_knowing_the_password() -> None:
    """It asks for SCRAM, then says ok: the exchange was not finished, so it has proved nothing."""

    def impostor(connection: socket.socket) -> None:
        connection.recv(2000)
        connection.sendall(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0")
        connection.recv(2000)
        connection.sendall(b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I")

    with listener(impostor) as port:
        (verdict,) = check(at(port, password="secret", expect="allowed"))
    assert (verdict.outcome, verdict.met) == ("protocol_error", False), verdict


def test_no_socket(any_server: Server) -> None:
    (verdict,) = check(
        Client(user="postgres", host=str(any_server.sockets), port=any_server.port + 1, transport="local", expect="no_socket")
    )
    assert verdict.met, verdict
    (verdict,) = check(Client(user="postgres", host="/" + "x" * 200, transport="local"))
    assert verdict.outcome == "no_socket"
    assert "107" in verdict.evidence.reason


def test_a_socket_that_others_may_not_use(any_server: Server) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    any_server.sockets.chmod(0o700)
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        (verdict,) = check(client(any_server, "all_local", transport="local", expect="socket_forbidden"))
    finally:
        os.seteuid(0)
        any_server.sockets.chmod(0o755)
    assert verdict.met, verdict


@pytest.mark.parametrize("major", [13, 18])
def test_a_server_that_starts_up_and_one_that_shuts_down(major: int, certificates: Certificates) -> None:
    """Starting: a standby whose first WAL file never comes. Stopping: a smart shutdown that waits for a session."""
    with start(Server(major), certificates) as server:
        (server.data / "standby.signal").write_text("")
        server.switches = {"restore_command": "'sleep 60'"}
        server._kill()
        server._write_switches()
        server.process = server._run(str(server.install / "bin" / "postgres"), "-D", str(server.data))
        outcomes = _until(lambda: check(client(server, "truster"))[0].outcome, lambda outcome: outcome != "connection_refused")
        assert outcomes == "starting_up"
        server._kill()
        (server.data / "standby.signal").unlink()
        server.switches = {}
        server._launch()
        server._write(server.data / "pg_hba.conf", b"local all all trust\nhost all all 127.0.0.1/32 trust\n")
        server.reload()
        assert server.process is not None
        holding = psycopg2.connect(host="127.0.0.1", port=server.port, user="truster", dbname="postgres", sslmode="disable")
        try:
            server.process.terminate()
            stopping = _until(lambda: check(client(server, "truster"))[0].outcome, lambda outcome: outcome != "allowed")
        finally:
            holding.close()
        assert stopping == "shutting_down"


def _until(ask: t.Callable[[], str], enough: t.Callable[[str], bool]) -> str:
    deadline = time.monotonic() + 20
    answer = ask()
    while not enough(answer) and time.monotonic() < deadline:
        time.sleep(0.1)
        answer = ask()
    return answer


class German(Server):
    """A server whose messages are in German: gettext takes LANGUAGE for every locale but C itself."""

    def _run(self, *command: str) -> t.Any:
        return super()._run("env", "LANGUAGE=de", *command)


def test_a_server_that_speaks_another_language(certificates: Certificates) -> None:
    """SQLSTATE and routine carry most verdicts; what only words could tell becomes ``denied``, and no guess."""
    if 15 not in FULL:
        pytest.skip("the message catalogues come with Debian's server")
    with start(German(15, full=True), certificates) as server:
        server.switches = {"ssl_ca_file": "'clients.crt'", "lc_messages": "'C.UTF-8'"}
        server._write_switches()
        assert server.process is not None
        server.process.send_signal(signal.SIGHUP)  # not reload(), which waits for an English line in the log
        _until(lambda: str(server.sql("show lc_messages")), lambda setting: "C.UTF-8" in setting)
        reject, none, wrong, database, peer = check(
            client(server, "rejected", expect="refused"),
            client(server, "nobody_knows", expect="no_entry"),
            client(server, "scramuser", password="wrong", expect="wrong_password"),
            client(server, "truster", database="nowhere", expect="unknown_database"),
            client(server, "peeruser", transport="local", expect="authentication_failed"),
        )
    assert reject.evidence.error is not None
    if "pg_hba.conf rejects" in reject.evidence.error.message:
        pytest.skip("this server has no German catalogue")
    assert [one.outcome for one in (reject, none)] == ["denied", "denied"]
    assert (reject.met, none.met) == (True, False)
    assert wrong.met
    assert database.met
    assert peer.met


def test_many_at_once() -> None:
    """Sixty that take half a second each, thirty at a time: about a second on an idle machine, not half a minute."""
    began = time.monotonic()
    with listener(backlog=200) as port:
        verdicts = check(*[at(port) for _number in range(60)], parallel=30, timeout=0.5)
    assert {one.outcome for one in verdicts} == {"timed_out"}
    assert 0.9 < time.monotonic() - began < 15


def test_parallel_is_a_bound() -> None:
    """A server that counts how many connections it has open at the same time."""
    open_now, most, lock = 0, 0, threading.Lock()

    def count(connection: socket.socket) -> None:
        nonlocal open_now, most
        with lock:
            open_now += 1
            most = max(most, open_now)
        time.sleep(0.05)
        with lock:
            open_now -= 1

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen(50)
        for _number in range(20):
            threading.Thread(target=_serve, args=(one, count), daemon=True).start()
        check(*[at(one.getsockname()[1]) for _number in range(30)], parallel=3)
    assert 1 < most <= 3


def test_the_total_limit() -> None:
    """Ten clients of 5 s each, two at a time, but one second for all."""
    began = time.monotonic()
    with listener() as port:
        verdicts = check(*[at(port, expect="allowed") for _number in range(10)], parallel=2, timeout=5, total_timeout=1)
    assert time.monotonic() - began < 8
    assert [one.outcome for one in verdicts] == ["timed_out"] * 2 + ["not_checked"] * 8
    assert not any(one.met for one in verdicts)


def test_an_address_of_another_machine(any_server: Server) -> None:
    """198.51.100.7 (a documentation address) is not ours: tried anyway and said so, or left out."""
    sentence = client(any_server, "scramuser", address="198.51.100.7", password="pw-scramuser", expect="scram-sha-256")
    (tried,) = check(sentence)
    assert tried.met
    assert any("not an address of this machine" in note for note in tried.notes)
    assert any("the server saw 127.0.0.1" in note for note in tried.notes)
    (skipped,) = check(sentence, address_elsewhere="skip")
    assert (skipped.outcome, skipped.met) == ("skipped", None)


def test_confirmed_by_libpq(any_server: Server, certificates: Certificates) -> None:
    ours = tls(cert=certificates.client, key=certificates.client_key)
    verdicts = check(
        client(any_server, "scramuser", password="pw-scramuser", expect="scram-sha-256"),
        client(any_server, "certuser", transport="tls", tls=ours, expect="cert"),
        client(any_server, "repl", password="pw-repl", replication=True, database=None, expect="scram-sha-256"),
        client(any_server, "rejected", expect="rejected"),
        client(any_server, "all_local", transport="local", expect="trust"),
        client(any_server, "scramuser", address="127.0.0.9", expect="rejected"),
        confirm=True,
    )
    assert all(one.met for one in verdicts), [one.notes for one in verdicts]
    assert [one.libpq for one in verdicts[:3]] == ["connected"] * 3
    assert "pg_hba.conf rejects" in (verdicts[3].libpq or "")
    assert verdicts[4].libpq == "connected"
    assert verdicts[5].libpq is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"expect": "scram"}, "'scram' is none of"),
        ({"address": "10.0.0.0/8"}, "not a numeric"),
        ({"address": "db.example.com"}, "not a numeric"),
        ({"user": ""}, "empty"),
        ({"user": "a\0b"}, "NUL"),
        ({"port": 0}, "1 to 65535"),
        ({"transport": "local"}, "socket directory"),
        ({"host": "/tmp"}, "does not go over the Unix socket"),
        ({"transport": "local", "host": "/tmp", "address": "::1"}, "no address"),
    ],
)
def test_bad_input_is_refused_before_any_connection(change: dict[str, t.Any], words: str) -> None:
    reached: list[str] = []
    with listener(lambda _connection: reached.append("connected")) as port:
        fine = at(port)
        wrong = Client(**{"user": "app", "host": "127.0.0.1", "port": port, "where": "clients[1]", **change})
        with pytest.raises(InvalidInput, match=words) as error:
            check(fine, wrong)
    assert str(error.value).startswith("clients[1].")
    assert not reached


def test_files_that_are_none(any_server: Server, certificates: Certificates, tmp_path: t.Any) -> None:
    missing = tmp_path / "missing.pem"
    for settings, words in (
        ({"verify": "ca", "ca_cert": missing}, "ca_cert"),
        ({"cert": missing}, "ssl_cert"),
        ({"key": certificates.client_key}, "ssl_key"),
        ({"cert": certificates.client, "key": certificates.stranger_key}, "belong together"),
        ({"cert": certificates.client, "key": certificates.locked_key}, "pass phrase"),
    ):
        with pytest.raises(InvalidInput, match=words):
            check(client(any_server, "truster", transport="tls", tls=tls(**settings)))
