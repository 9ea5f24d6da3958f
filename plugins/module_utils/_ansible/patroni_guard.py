# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Lockout on a cluster: whoever keeps it alive has to get in afterwards, on every member that may lead or follow.

Patroni checks nothing: a list that keeps its replicas or itself out is stored with status 200, and bites at the next failover or the
next broken connection. Who has to get in is taken from what is connected now (Patroni's own sessions, walsenders), from what the members
say of each other (their addresses, ``primary_conninfo``), and from the options that name its users.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import typing as t

from .._hba import decide
from .._hba.model import Client
from .._hba.ruleset import Ruleset
from .._server import session
from .._server.facts import translated
from . import hba_common
from .hba_common import Refused
from .patroni import Cluster, Node

if t.TYPE_CHECKING:
    from .._hba.ident import IdentFile
    from .hba_proof import Prover
    from .ident_proof import Prover as IdentProver


class Guard(t.NamedTuple):
    """One client that has to get in."""

    client: Client
    why: str
    connected: bool
    """True when it is connected in this way now; False when it would be after a failover."""
    certificate: bool = False
    """Whether it shows a client certificate that the server has verified."""


_SESSIONS = """
    select a.usename::text, a.datname::text, host(a.client_addr), coalesce(s.ssl, false), coalesce(g.encrypted, false),
           a.backend_type = 'walsender' as walsender, a.application_name,
           s.client_dn is not null as certificate
      from pg_catalog.pg_stat_activity a
      left join pg_catalog.pg_stat_ssl s using (pid)
      left join pg_catalog.pg_stat_gssapi g using (pid)
     where a.usename is not null
       and (a.backend_type = 'walsender' and a.datname is null
            or a.backend_type = 'client backend' and a.application_name like 'Patroni%')"""
_REWINDERS = """
    select distinct r.rolname::text
      from pg_catalog.pg_proc p, pg_catalog.aclexplode(p.proacl) acl
      join pg_catalog.pg_roles r on r.oid = acl.grantee
     where p.oid = 'pg_catalog.pg_read_binary_file(text,bigint,bigint,boolean)'::pg_catalog.regprocedure
       and acl.privilege_type = 'EXECUTE' and r.rolcanlogin and not r.rolsuper"""
_CONNINFO = "select pg_catalog.regexp_replace(pg_catalog.current_setting('primary_conninfo', true), '.*\\muser=(\\S+).*', '\\1')"
_SSL = "select pg_catalog.current_setting('ssl') = 'on'"
_STORED_MD5 = "select rolname::text from pg_catalog.pg_authid where rolname = any(%s) and rolpassword ~ '^md5'"


class Guards(t.NamedTuple):
    """All clients of a cluster that have to get in, and what could not be found out."""

    clients: tuple[Guard, ...]
    superuser: str | None
    """Whom Patroni logs in as; None when that is not known."""
    on_socket: bool
    """Whether Patroni talks to its servers over the Unix socket."""
    unknown: tuple[str, ...] = ()
    stored_md5: frozenset[str] = frozenset()
    """Those of their users whose stored password is md5, as far as the session may know."""


def guards_of(cluster: Cluster) -> Guards:
    """Who has to get in. Raises CannotConnect."""
    found: dict[Client, Guard] = {}
    names: dict[str, str | None] = {role: cluster.given[option] for role, option in _OPTIONS.items()}
    on_socket = False
    for node in cluster.ready:
        with translated(f"on {node.name} who is connected"):
            for user, database, address, tls, gss, walsender, application, certificate in session.rows(node.connection, _SESSIONS):
                client = Client(user, None if walsender else database, address, _transport(address, tls, gss), bool(walsender))
                why = f"walsender {application} on {node.name}" if walsender else f"Patroni's own session on {node.name}"
                found.setdefault(client, Guard(client, why, True, certificate))
                role = "replication" if walsender else "superuser"
                names[role] = names[role] or user
                on_socket = on_socket or (not walsender and address is None)
            _name_the_rest(node, names)
    unknown = [f"patroni.{_OPTIONS[role]}" for role, name in names.items() if name is None and role != "rewind"]
    with_certificate = {guard.client.user for guard in found.values() if guard.certificate}
    for guard in _after_a_failover(cluster, names, unknown):
        found.setdefault(guard.client, guard._replace(certificate=guard.client.user in with_certificate))
    users = sorted({client.user for client in found})
    return Guards(tuple(found.values()), names["superuser"], on_socket, tuple(unknown), _stored_md5(cluster, users))


def _stored_md5(cluster: Cluster, users: list[str]) -> frozenset[str]:
    """Whom a rule scram-sha-256 would refuse; nobody where the session may not read stored passwords."""
    connection = cluster.first().connection
    if not session.rows(connection, "select pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')")[0][0]:
        return frozenset()
    return frozenset([str(row[0]) for row in session.rows(connection, _STORED_MD5, [users])])


_OPTIONS = {"superuser": "superuser", "replication": "replication_user", "rewind": "rewind_user"}


def _transport(address: str | None, tls: bool, gss: bool) -> str:
    return "local" if address is None else "gss" if gss else "tls" if tls else "tcp"


def _name_the_rest(node: Node, names: dict[str, str | None]) -> None:
    """The replication user as a replica is told it, and the rewind user by the functions that Patroni grants it (bootstrap.py)."""
    if names["replication"] is None and not node.member.leads:
        told = session.rows(node.connection, _CONNINFO)[0][0]
        names["replication"] = told if told and "=" not in told else None
    if names["rewind"] is None:
        rewinders = [str(row[0]) for row in session.rows(node.connection, _REWINDERS)]
        names["rewind"] = rewinders[0] if len(rewinders) == 1 else None


def _after_a_failover(cluster: Cluster, names: t.Mapping[str, str | None], unknown: list[str]) -> t.Iterator[Guard]:
    """Every member may lead, and then every other streams from it and rewinds against it."""
    tls = _speaks_tls(cluster)
    for node in cluster.nodes:
        addresses = _addresses(node.member.host)
        if not addresses:
            unknown.append(f"the address of {node.name} ({node.member.host})")
        for address in addresses:
            transport = "tls" if tls else "tcp"
            replication, rewind = names["replication"], names["rewind"] or names["superuser"]
            if replication is not None:
                yield Guard(Client(replication, None, address, transport, True), f"replication by {node.name}", False)
            if rewind is not None:
                yield Guard(Client(rewind, "postgres", address, transport), f"pg_rewind by {node.name}", False)


def _speaks_tls(cluster: Cluster) -> bool:
    """What libpq's ``prefer`` would choose, which Patroni uses unless told otherwise."""
    with translated("whether it speaks TLS"):
        return bool(session.rows(cluster.first().connection, _SSL)[0][0])


def _addresses(host: str | None) -> list[str]:
    """A member's numeric addresses, resolved here where it is a name."""
    if not host:
        return []
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    with contextlib.suppress(OSError):
        return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    return []


class Judge:
    """Refuses, or warns of, a plan that keeps a cluster's own clients out; one judge of a :class:`hba_proof.Prover`."""

    def __init__(self, guards: Guards, lockout: str) -> None:
        self.guards = guards
        self.lockout = lockout

    def __call__(self, prover: Prover, before: Ruleset, after: Ruleset) -> None:
        """Raises Refused."""
        if self.lockout == "ignore":
            return
        clients = [guard.client for guard in self.guards.clients]
        was, now = prover._decide(before, clients), prover._decide(after, clients)
        lost = []
        for guard, old, new in zip(self.guards.clients, was, now):
            reason = "" if new.outcome in _SHUT else self._unfit(guard, old, new)
            if new.outcome not in _SHUT and not reason:
                continue
            text = f"{guard.why}, {hba_common.name_of(guard.client)}: {hba_common.outcome_of(new)}{reason}"
            if guard.connected or old.outcome not in _SHUT:
                lost.append(text)
            else:
                prover.warnings.append(f"A client that the cluster will need gets in neither before nor after: {text}.")
        lost += self._first_rule(prover, before, after)
        _refuse(prover, lost, self.lockout)

    def _unfit(self, guard: Guard, old: decide.Decision, new: decide.Decision) -> str:
        """Why a client that a rule is about would not get in by it, when the rule asks for something else than before."""
        if hba_common.asks_for_certificate(new) and not hba_common.asks_for_certificate(old) and not guard.certificate:
            return ", which asks for a client certificate, and it shows none"
        if new.outcome == old.outcome or new.outcome in ("trust", "md5", "password", "cert"):
            return ""
        if new.outcome == "scram-sha-256":
            refused = guard.client.user in self.guards.stored_md5
            return ", which refuses its stored password, an md5 one: see pg_auth_method" if refused else ""
        return f", and nothing proves that it has what that takes instead of {old.outcome}" if old.outcome in _BY_PASSWORD else ""

    def _first_rule(self, prover: Prover, before: Ruleset, after: Ruleset) -> list[str]:
        """The one lockout that no PATCH repairs: Patroni's own way in has to be the first rule (docs/guides/patroni.md)."""
        superuser = self.guards.superuser
        if superuser is None or not self.guards.on_socket or not after.loads or not after.rules:
            return []
        client = Client(superuser, "postgres", None, "local")
        if prover._decide(after, [client])[0].rule == after.rules[0] and after.rules[0].method in ("peer", "trust"):
            return []
        text = (
            f"the first rule is not Patroni's own way in (local all {superuser} peer), so that a later list can keep it out of its server"
        )
        if before.loads and before.rules and prover._decide(before, [client])[0].rule == before.rules[0]:
            return [text]
        prover.warnings.append(text[0].upper() + text[1:] + ".")
        return []


class MapJudge:
    """The same for user name maps: entries by which the cluster's own clients get in may not go."""

    def __init__(self, guards: Guards, lockout: str) -> None:
        self.guards = guards
        self.lockout = lockout

    def __call__(self, prover: IdentProver, _before: IdentFile, _after: IdentFile) -> None:
        """Raises Refused."""
        if self.lockout == "ignore" or not prover.policy.rules:
            return
        clients = [guard.client for guard in self.guards.clients]
        decider = hba_common.decider(prover.policy.rules, prover.policy.server, prover.policy.roles)
        used = set()
        for client, decision in zip(clients, decider.decide_all(clients, explain=False)):
            if decision.rule is not None and "map" in dict(decision.rule.options):
                used.add((dict(decision.rule.options)["map"], client.user))
        lost = [
            f"{change.describe()}, which is how the cluster's own {change.database_user} gets in"
            for change in prover.changes
            if change.change == "loses" and any((change.map, user) in used for user in (change.database_user, *(change.roles or ())))
        ]
        _refuse(prover, lost, self.lockout)


def _refuse(prover: Prover | IdentProver, lost: t.Sequence[str], lockout: str) -> None:
    if not lost:
        return
    if lockout == "refuse":
        head = f"{len(lost)} of the cluster's own clients would not get in" if len(lost) > 1 else "the cluster would lock itself out"
        remedy = "Add rules for them, or set lockout to warn"
        raise Refused(f"{prover.policy.path}: nothing was written, because {head}.\n" + "\n".join(lost) + f"\n{remedy}")
    prover.warnings.extend(text[0].upper() + text[1:] for text in lost)


_BY_PASSWORD = ("md5", "password", "scram-sha-256")
_SHUT = (decide.REJECTED, decide.NO_ENTRY, decide.UNDECIDED)
