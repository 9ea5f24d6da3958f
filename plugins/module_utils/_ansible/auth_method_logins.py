# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Real logins of roles whose passwords are known, by the rules that a migration has changed, as far as this machine can reach them."""

from __future__ import annotations

import typing as t

from .._auth import planner
from .._hba.model import Client as HbaClient
from .._hba.model import Rule
from .._server import report, session
from .._server.access_check import AccessCheck, Check, Client, Limits
from .._server.channel import DEFAULT_SOCKET_DIRECTORY, TlsSettings
from . import hba_common
from .auth_method import Inquiry

FAILED = frozenset({"wrong_password", "no_entry", "rejected", "denied", "authentication_failed", "tls_required", "tls_forbidden"})
"""Outcomes that a change of rules or passwords can be to blame for; others (no connection left, no database) are not."""
DATABASES = 8


class Place(t.NamedTuple):
    """A way to the server."""

    transport: str
    host: str
    """Or the socket's folder."""
    port: int
    address: str | None
    """The address that the server sees."""


def mismatches(checks: t.Sequence[Check]) -> list[str]:
    """Sentences about logins that a change is to blame for."""
    return [report.mismatch(check) for check in checks if check.met is False and check.outcome in FAILED]


class Trial:
    """Who can be tried, from where. The password goes over the wire as the method asks for it, and nowhere else."""

    def __init__(self, ways: t.Sequence[Place], connection: t.Any, inquiry: Inquiry, given: t.Mapping[str, str]) -> None:
        self._places, self._inquiry, self._given = ways, inquiry, given
        self._databases = self._open_to(connection)
        self._checks: dict[tuple[str, str, int], Check] = {}

    def run(self, rules: t.Sequence[Rule], among: t.Container[tuple[str, int]] | None) -> list[Check]:
        """Logs every role in once by every rule that it can hit from here; ``among``: only by these (file, line); None: by those that
        have the target method or one of those to move from."""
        methods = {self._inquiry.request.to, *self._inquiry.request.from_methods}
        clients: list[Client] = []
        keys: list[tuple[str, str, int]] = []
        roles = {role.name: role for role in self._inquiry.logins}
        facts = self._inquiry.facts
        decider = hba_common.decider(rules, self._inquiry.server, facts.roles, facts.interfaces)
        for name in self._given:
            if name not in roles or planner.can(roles[name], "password").answer != planner.YES or roles[name].connection_limit > 0:
                continue  # a login of our own could take the role's last connection from an application
            met: set[tuple[str, int]] = set()
            for place in self._places:
                for database in self._databases.get(name, ()):
                    rule = decider.decide(HbaClient(name, database, place.address, place.transport), explain=False).rule
                    if rule is None or (rule.file, rule.line) in met:
                        continue
                    if (rule.method in methods) if among is None else ((rule.file, rule.line) in among):
                        met.add((rule.file, rule.line))
                        keys.append((name, rule.file, rule.line))
                        clients.append(self._client(name, database, place, rule.method))
        checks = AccessCheck(Limits(parallel=8, timeout=10.0, total_timeout=120.0)).run(clients)
        self._checks.update(zip(keys, checks))
        return checks

    def shown(self) -> list[dict[str, t.Any]]:
        """Each login that was tried last, for the module's result."""
        return [
            {
                "user": check.client.user,
                "database": check.client.database,
                "transport": check.client.transport,
                "file_name": hba_common.text_of(file),
                "line_number": line,
                "outcome": check.outcome,
                "method": check.methods[0] if check.methods else None,
                "met": check.met,
            }
            for (_name, file, line), check in self._checks.items()
        ]

    def _client(self, name: str, database: str, place: Place, method: str) -> Client:
        expect = method if method == "scram-sha-256" else "allowed"
        return Client(
            user=name,
            host=place.host,
            port=place.port,
            database=database,
            transport=place.transport,
            password=self._given[name],
            expect=expect,
            tls=TlsSettings(),
            where=f"passwords.{name}",
        )

    def _open_to(self, connection: t.Any) -> dict[str, list[str]]:
        """For each role some databases that it may connect to, its own and ours first."""
        sql = """
            select r.rolname::text, d.datname::text
              from pg_catalog.pg_roles r cross join pg_catalog.pg_database d
             where r.rolname = any(%s) and d.datallowconn and d.datconnlimit <> 0 and has_database_privilege(r.oid, d.oid, 'CONNECT')
             order by d.datname <> r.rolname, d.datname <> current_database(), d.datname"""
        found: dict[str, list[str]] = {}
        for role, database in session.rows(connection, sql, [list(self._given)]):
            known = found.setdefault(role, [])
            if len(known) < DATABASES:
                known.append(database)
        return found


def places(params: t.Mapping[str, t.Any], connection: t.Any, inquiry: Inquiry) -> list[Place]:
    """The socket, and TCP to this machine: the server's files are here, so the server is."""
    sql = "select current_setting('listen_addresses'), current_setting('unix_socket_directories', true)"
    listen, sockets = session.rows(connection, sql)[0]
    given, host, port = params["login_unix_socket"] or "", params["login_host"] or "", params["login_port"]
    folders = [folder.strip() for folder in (sockets or "").split(",") if folder.strip().startswith("/")]
    found: list[Place] = []
    if given or host.startswith("/") or folders:
        folder = given or (host if host.startswith("/") else "") or (folders or [DEFAULT_SOCKET_DIRECTORY])[0]
        found.append(Place("local", folder, port, None))
    names = {name.strip() for name in listen.split(",")}
    transports = ("tcp", "tls") if inquiry.server.ssl else ("tcp",)
    for address, others in (("127.0.0.1", {"*", "0.0.0.0", "localhost", "127.0.0.1"}), ("::1", {"::1"})):  # noqa: S104 - compared
        if names & others:
            found += [Place(transport, address, port, address) for transport in transports]
    return found
