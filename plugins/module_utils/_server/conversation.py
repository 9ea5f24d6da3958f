# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""One login, from the first byte to the verdict. Everything learned on the way is kept as evidence, whatever ends the conversation."""

from __future__ import annotations

import dataclasses
import re
import ssl
import time
import typing as t

from . import scram, wire
from .channel import Channel, Deadline, Failed, Tls
from .errors import ProtocolError

MAX_AUTH_MESSAGES = 100
"""A login needs five; a server that keeps talking is none."""
APPLICATION_NAME = "pgops.access check"

_SEEN_SQL = (
    "SELECT pg_catalog.host(pg_catalog.inet_client_addr()), s.version, {identity} "
    "FROM pg_catalog.pg_stat_ssl s WHERE s.pid = pg_catalog.pg_backend_pid()"
)


class Target(t.NamedTuple):
    """Where to connect, from where, and over what."""

    host: str
    """A name, a numeric address, or a socket directory (begins with ``/``)."""
    port: int
    transport: str
    """``local``, ``tcp``, ``tls`` or ``gss``."""
    source: str | None = None
    """Numeric address of this machine to send from."""
    tls: ssl.SSLContext | None = None
    """For ``tls``."""
    sends_certificate: bool = False


@dataclasses.dataclass(frozen=True)
class Login:
    """Who logs in to what. The password is no part of the representation."""

    user: str
    database: str | None = None
    replication: bool = False
    password: str | None = dataclasses.field(default=None, repr=False)
    send_for: frozenset[str] | None = None
    """Requests for which the password may be sent (libpq's require_auth); None: for any."""


@dataclasses.dataclass
class Evidence:
    """What one conversation showed. Times are milliseconds from its beginning."""

    transport: str = "tcp"
    stage: str = "connect"
    """The last stage entered: ``connect``, ``encrypt``, ``authenticate``, ``session``, ``done``."""
    failure: str | None = None
    """Why it ended without a verdict, one of outcome.FAILURES."""
    reason: str = ""
    """The words that belong to ``failure``."""
    error: wire.ServerMessage | None = None
    requests: list[str] = dataclasses.field(default_factory=list)
    """What the server asked for: ``password``, ``md5``, ``scram-sha-256``, ``oauth``, ``gss``, ``sspi``."""
    mechanisms: tuple[str, ...] = ()
    encryption_answer: str = ""
    """The server's one byte for SSLRequest or GSSENCRequest."""
    sent_certificate: bool = False
    sent_password: bool = False
    withheld_password: bool = False
    """True when the server asked for the password in a way for which it may not be sent."""
    authenticated: bool = False
    logged_in: bool = False
    parameters: dict[str, str] = dataclasses.field(default_factory=dict)
    tls: Tls | None = None
    source_address: str | None = None
    server_address: str | None = None
    address_seen: str | None = None
    seen_known: bool = False
    """True when the server answered the question about our address (and None means: a Unix socket)."""
    server_tls: str | None = None
    """The TLS version that the server itself sees (pg_stat_ssl); None where something between us ends the encryption."""
    identity: str | None = None
    """system_user of 16 and later: METHOD:IDENTITY, None for trust."""
    identity_known: bool = False
    connect_ms: float | None = None
    total_ms: float = 0.0


def converse(target: Target, login: Login, seconds: float) -> Evidence:
    """Tries to log in. Never raises for what a server or network does: it is in the evidence."""
    evidence = Evidence(transport=target.transport)
    channel = Channel(Deadline(seconds))
    started = time.monotonic()
    try:
        channel.connect(target.host, target.port, target.source)
        evidence.connect_ms = _milliseconds(started)
        evidence.source_address, evidence.server_address = channel.addresses()
        if _encrypt(channel, target, evidence):
            _log_in(channel, login, evidence)
            evidence.total_ms = _milliseconds(started)
            if evidence.logged_in:
                _look(channel, login, evidence)
    except Failed as failed:
        evidence.failure, evidence.reason = failed.kind, failed.reason
    except ProtocolError as error:
        evidence.failure, evidence.reason = "protocol_error", str(error)
    finally:
        channel.close()
    evidence.tls = channel.tls
    evidence.total_ms = evidence.total_ms or _milliseconds(started)
    return evidence


def _milliseconds(since: float) -> float:
    return round((time.monotonic() - since) * 1000, 2)


def _encrypt(channel: Channel, target: Target, evidence: Evidence) -> bool:
    """Negotiates what the transport needs; False when the server has it not, or when we cannot go on."""
    if target.transport not in ("tls", "gss"):
        return True
    evidence.stage = "encrypt"
    tls = target.transport == "tls"
    channel.send(wire.ssl_request() if tls else wire.gssenc_request())
    answer = channel.receive_bytes(1)
    evidence.encryption_answer = answer.decode("latin-1")
    if answer == b"E":  # an error instead of an answer: no process could be started for us; libpq does not trust its text either
        raise Failed("closed", "the server answered the encryption request with an error")
    if answer not in (b"N", b"S" if tls else b"G"):
        raise ProtocolError(f"the answer to the encryption request is not PostgreSQL's: {wire.printable(answer)}")
    if answer == b"S" and target.tls is not None:
        evidence.sent_certificate = target.sends_certificate
        channel.start_tls(target.tls, target.host)
        return True
    return False


def _log_in(channel: Channel, login: Login, evidence: Evidence) -> None:
    """Startup packet, then whatever the server asks, up to ReadyForQuery, an error, or a request that we do not answer."""
    evidence.stage = "authenticate"
    parameters = {"user": login.user, "application_name": APPLICATION_NAME, "client_encoding": "UTF8"}
    if login.database is not None:
        parameters["database"] = login.database
    if login.replication:
        parameters["replication"] = "true"
    channel.send(wire.startup_packet(parameters))
    dialogue = _Dialogue(login, evidence)
    for _number in range(MAX_AUTH_MESSAGES):
        message = channel.receive()
        if message.type == b"E":
            evidence.error = wire.server_message(message.body)
            return
        if message.type == b"Z":
            evidence.logged_in = evidence.authenticated
            return
        if message.type == b"R":
            answer = dialogue.answer(wire.authentication(message.body))
            if answer is None:
                return
            channel.send(answer)
        elif message.type == b"S":
            name, value = wire.parameter_status(message.body)
            evidence.parameters[name] = value
        elif message.type not in (b"N", b"K", b"v"):
            raise ProtocolError(f"unexpected message of type {wire.printable(message.type)} during the login")
    raise ProtocolError(f"no end of the login after {MAX_AUTH_MESSAGES} messages")


class _Dialogue:
    """Answers the server's authentication requests and notes them down. ``b""`` sends nothing; None ends the conversation."""

    def __init__(self, login: Login, evidence: Evidence) -> None:
        self._login = login
        self._evidence = evidence
        self._scram: scram.Scram | None = None

    def answer(self, request: wire.AuthRequest) -> bytes | None:
        if request.name == "ok":
            if self._scram is not None and not self._scram.verified:
                raise ProtocolError("the server let us in without proving that it knows the password")
            self._evidence.authenticated = True
            self._evidence.stage = "session"
            return b""
        if request.name == "sasl-continue" and self._scram is not None:
            return wire.sasl_response(self._scram.final(request.data))
        if request.name == "sasl-final" and self._scram is not None:
            self._scram.verify(request.data)
            return b""
        return self._first_answer(request)

    def _first_answer(self, request: wire.AuthRequest) -> bytes | None:
        name = request.name
        if name not in ("password", "md5", "sasl", "gss", "sspi"):
            raise ProtocolError(f"the server asks for the authentication step {name}, which makes no sense here")
        if name == "sasl":
            self._evidence.mechanisms = request.mechanisms
            name = "oauth" if "OAUTHBEARER" in request.mechanisms else "scram-sha-256"
        self._evidence.requests.append(name)
        password = self._login.password
        if not password or name not in ("password", "md5", "scram-sha-256"):
            return None
        if self._login.send_for is not None and name not in self._login.send_for:
            self._evidence.withheld_password = True
            return None
        self._evidence.sent_password = True
        if name == "password":
            return wire.password_message(password.encode("utf-8", "surrogateescape"))
        if name == "md5":
            return wire.password_message(scram.md5_answer(self._login.user, password, request.data))
        if scram.MECHANISM not in request.mechanisms:
            raise ProtocolError(f"the server offers none but {', '.join(request.mechanisms)}; this check speaks {scram.MECHANISM}")
        self._scram = scram.Scram(password)
        return wire.sasl_initial_response(scram.MECHANISM, self._scram.first())


def _look(channel: Channel, login: Login, evidence: Evidence) -> None:
    """Asks the server, once, how it sees us. A physical replication session has no SQL, so there nothing is asked."""
    if not login.replication:
        major = server_major(evidence.parameters.get("server_version", ""))
        channel.send(wire.query(_SEEN_SQL.format(identity="system_user" if major >= 16 else "NULL")))
        message = channel.receive()
        while message.type != b"Z":
            if message.type == b"D":
                row = wire.data_row(message.body)
                if len(row) != 3:
                    raise ProtocolError(f"a row of {len(row)} columns where 3 were asked for")
                evidence.address_seen, evidence.server_tls, evidence.identity = row
                evidence.seen_known, evidence.identity_known = True, major >= 16
            message = channel.receive()
    channel.send(wire.terminate())
    evidence.stage = "done"


def server_major(version: str) -> int:
    """``16.2 (Debian …)`` → 16; 0 when a pooler or a fork says something else."""
    found = re.match(r"[0-9]{1,3}", version)
    return int(found.group()) if found else 0
