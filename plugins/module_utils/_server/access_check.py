# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""The check itself: many clients at once, each verdict compared with what was expected, all within a time limit."""

from __future__ import annotations

import dataclasses
import getpass
import ipaddress
import queue
import threading
import time
import typing as t

from . import outcome as verdicts
from . import session
from .channel import DEFAULT_SOCKET_DIRECTORY, TlsSettings, is_local_address, tls_context
from .conversation import Evidence, Login, Target, converse
from .errors import CannotConnect, InvalidInput

MAX_PARALLEL = 256
TRANSPORTS = ("local", "tcp", "tls", "gss")
GRACE = 0.5
"""Seconds beyond the total limit for conversations that end by their own deadline; only a resolver can outlast it."""


NO_TLS_FILES = TlsSettings()


@dataclasses.dataclass(frozen=True)
class Client:
    """One sentence for a client, complete. ``where`` is how messages name its place, for example ``clients[2]``."""

    user: str
    host: str
    port: int = 5432
    database: str | None = None
    address: str | None = None
    transport: str = "tcp"
    replication: bool = False
    password: str | None = dataclasses.field(default=None, repr=False)
    expect: str | None = None
    name: str | None = None
    tls: TlsSettings = NO_TLS_FILES
    where: str = "client"

    @property
    def label(self) -> str:
        """What people read: the given name, or USER@DATABASE."""
        database = "[replication]" if self.replication else self.database or self.user
        return self.name or f"{self.user}@{database}"


@dataclasses.dataclass(frozen=True)
class Limits:
    """Seconds and connections."""

    parallel: int = 16
    timeout: float = 5.0
    total_timeout: float = 60.0


@dataclasses.dataclass
class Check:
    """One client's verdict."""

    client: Client
    evidence: Evidence
    outcome: str
    methods: tuple[str, ...] = ()
    met: bool | None = None
    """None: nothing was expected."""
    other_transport: tuple[str, str] | None = None
    """The transport that was tried after a refusal, and its outcome."""
    libpq: str | None = None
    """``connected``, or libpq's reason why not; None where it was not asked."""
    notes: list[str] = dataclasses.field(default_factory=list)


def validate(clients: t.Sequence[Client], limits: Limits) -> None:
    """Refuses what cannot be tried, before the first connection: :class:`InvalidInput` names the client and the option."""
    if not 1 <= limits.parallel <= MAX_PARALLEL:
        raise InvalidInput("parallel", f"{limits.parallel} is not between 1 and {MAX_PARALLEL}")
    for name, seconds in (("timeout", limits.timeout), ("total_timeout", limits.total_timeout)):
        if not 0 < seconds <= 86400:
            raise InvalidInput(name, f"{seconds} is not a number of seconds between 0 and 86400")
    for client in clients:
        _validate(client)


def _validate(client: Client) -> None:
    for option, value in (("user", client.user), ("database", client.database), ("password", client.password), ("host", client.host)):
        if value is not None and "\0" in value:
            raise InvalidInput(f"{client.where}.{option}", "it holds a NUL character")
    if not client.user:
        raise InvalidInput(f"{client.where}.user", "it is empty; every connection has a user")
    if not 1 <= client.port <= 65535:
        raise InvalidInput(f"{client.where}.port", f"{client.port} is not a port, 1 to 65535")
    if client.transport not in TRANSPORTS:
        raise InvalidInput(f"{client.where}.transport", f"{client.transport!r} is none of {', '.join(TRANSPORTS)}")
    if client.transport == "local" and not client.host.startswith("/"):
        raise InvalidInput(f"{client.where}.host", f"transport local needs a socket directory such as {DEFAULT_SOCKET_DIRECTORY}")
    if client.transport != "local" and client.host.startswith("/"):
        raise InvalidInput(f"{client.where}.transport", f"{client.transport} does not go over the Unix socket {client.host}; say local")
    _validate_address(client)
    if client.expect is not None and client.expect not in verdicts.expectations():
        raise InvalidInput(f"{client.where}.expect", f"{client.expect!r} is none of {', '.join(verdicts.expectations())}")


def _validate_address(client: Client) -> None:
    if client.address is None:
        return
    if client.transport == "local":
        raise InvalidInput(f"{client.where}.address", "a client on the Unix socket has no address")
    try:
        ipaddress.ip_address(client.address.partition("%")[0])
    except ValueError as error:
        raise InvalidInput(f"{client.where}.address", f"{client.address!r} is not a numeric IPv4 or IPv6 address") from error


class AccessCheck:
    """Runs the clients. ``address_elsewhere``: ``connect`` or ``skip`` clients whose address this machine does not have."""

    def __init__(self, limits: Limits, *, address_elsewhere: str = "connect", confirm: bool = False) -> None:
        self._limits = limits
        self._skip_elsewhere = address_elsewhere == "skip"
        self._confirm = confirm
        self._contexts: dict[TlsSettings, t.Any] = {}
        self._os_user = _os_user()
        self._end = 0.0

    def run(self, clients: t.Sequence[Client]) -> list[Check]:
        """One check a client, in the same order. Raises :class:`InvalidInput` or ``MissingLibrary`` before any connection is made."""
        validate(clients, self._limits)
        for client in clients:
            if client.transport in ("tcp", "tls") and client.tls not in self._contexts:
                self._contexts[client.tls] = tls_context(client.tls)
        if self._confirm:
            session.psycopg2("to confirm every verdict with libpq")
        self._end = time.monotonic() + self._limits.total_timeout
        checks = self._in_parallel(clients)
        return [check or _unfinished(client) for client, check in zip(clients, checks)]

    def _in_parallel(self, clients: t.Sequence[Client]) -> list[Check | None]:
        """Daemon threads of our own: the standard pool waits at exit for a thread that a resolver holds."""
        results: list[Check | None] = [None] * len(clients)
        problems: list[BaseException] = []
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(len(clients)):
            waiting.put(number)

        def work() -> None:
            try:
                while True:
                    number = waiting.get_nowait()
                    results[number] = self._check(clients[number])
            except queue.Empty:
                return
            except BaseException as problem:  # raised again below, in the thread that asked
                problems.append(problem)

        threads = [threading.Thread(target=work, daemon=True) for _number in range(min(self._limits.parallel, len(clients)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, self._end + GRACE - time.monotonic()))
        if problems:
            raise problems[0]
        return list(results)

    def _seconds(self) -> float:
        return max(0.0, min(self._limits.timeout, self._end - time.monotonic()))

    def _check(self, client: Client) -> Check:
        if self._seconds() <= 0:
            return _unfinished(client)
        source, notes = client.address, []
        if client.address is not None and not is_local_address(client.address):
            if self._skip_elsewhere:
                return Check(client, Evidence(transport=client.transport), "skipped", notes=[_elsewhere(client.address)])
            source, notes = None, [_elsewhere(client.address) + ": connected from this machine's own"]
        evidence = self._converse(client, client.transport, source, client.password)
        check = Check(client, evidence, verdicts.outcome(evidence), notes=notes)
        self._try_other_transport(check, source)
        check.methods = verdicts.methods(evidence, check.outcome, client.user == self._os_user)
        if self._confirm:
            self._ask_libpq(check, source)
        self._judge(check)
        return check

    def _converse(self, client: Client, transport: str, source: str | None, password: str | None) -> Evidence:
        target = Target(client.host, client.port, transport, source, self._contexts.get(client.tls), client.tls.cert is not None)
        login = Login(client.user, client.database, client.replication, password, verdicts.requests_for(client.expect))
        return converse(target, login, self._seconds())

    def _try_other_transport(self, check: Check, source: str | None) -> None:
        """PostgreSQL does not say "TLS required": a client without a rule is tried once more the other way, without its password."""
        other = {"tcp": "tls", "tls": "tcp"}.get(check.client.transport)
        if other is None or check.outcome not in ("no_entry", "rejected") or self._seconds() <= 0:
            return
        result = verdicts.outcome(self._converse(check.client, other, source, None))
        check.other_transport = (other, result)
        if check.outcome == "no_entry" and result in verdicts.RULE_REACHED:
            check.outcome = "tls_required" if other == "tls" else "tls_forbidden"

    def _ask_libpq(self, check: Check, source: str | None) -> None:
        """The same login by psycopg2. libpq cannot choose its address, so a client with one of several is left out."""
        client = check.client
        if check.evidence.withheld_password:
            return
        if source is not None:
            check.notes.append("not confirmed with libpq, which cannot choose the address that it connects from")
            return
        try:
            with session.session("to confirm the verdict", _libpq_parameters(client, self._seconds())):
                check.libpq = "connected"
        except CannotConnect as error:
            check.libpq = session.one_line(error.__cause__ or error)
        if (check.libpq == "connected") != (check.outcome == "allowed"):
            check.notes.append(f"libpq came to another result: {check.libpq}")

    def _judge(self, check: Check) -> None:
        client, evidence = check.client, check.evidence
        if evidence.seen_known and client.address and evidence.address_seen and not _same(client.address, evidence.address_seen):
            check.notes.append(f"the server saw {evidence.address_seen}, not {client.address}")
        if evidence.seen_known and evidence.tls is not None and evidence.server_tls is None:
            check.notes.append("the server sees no TLS: something in between ends it")
        if evidence.withheld_password:
            check.notes.append(f"the password was not sent, because the server asked for it by {check.evidence.requests[0]}")
        if evidence.logged_in and client.password and not evidence.sent_password:
            check.notes.append("the server did not ask for the password")
        if client.expect is not None:
            let_in = check.other_transport is not None and check.other_transport[1] in verdicts.RULE_REACHED
            check.met = verdicts.meets(client.expect, check.outcome, check.methods, bool(client.password), let_in)
            # A verdict that libpq contradicts is none, whatever was expected.
            if check.libpq is not None and (check.libpq == "connected") != (check.outcome == "allowed"):
                check.met = False


def _unfinished(client: Client) -> Check:
    evidence = Evidence(transport=client.transport, failure="not_checked", reason="the total time limit came first")
    return Check(client, evidence, "not_checked", met=None if client.expect is None else False)


def _elsewhere(address: str) -> str:
    return f"{address} is not an address of this machine"


def _same(left: str, right: str) -> bool:
    try:
        return ipaddress.ip_address(left.partition("%")[0]) == ipaddress.ip_address(right.partition("%")[0])
    except ValueError:
        return left == right


def _libpq_parameters(client: Client, seconds: float) -> dict[str, t.Any]:
    encrypted = {"none": "require", "ca": "verify-ca", "full": "verify-full"}[client.tls.verify]
    extra: dict[str, t.Any] = {"gssencmode": "require" if client.transport == "gss" else "disable"}
    if client.replication:
        extra["replication"] = "true"
    return session.parameters(
        host=client.host,
        port=client.port,
        user=client.user,
        password=client.password,
        database=client.database,
        ssl_mode=encrypted if client.transport == "tls" else "disable",
        ca_cert=client.tls.ca_cert,
        ssl_cert=client.tls.cert,
        ssl_key=client.tls.key,
        timeout=seconds,
        extra=extra,
    )


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""
