# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""pg_auth_method between Ansible's parameters and the planner: what is asked for, what the server holds, and the audit of both."""

from __future__ import annotations

import os
import typing as t

from .._auth import findings as advice
from .._auth import pgbouncer, planner
from .._auth.planner import Audit, Login
from .._hba import catalog, host, ident, ruleset
from .._hba.meaning import meaning_of
from .._hba.model import Address, Rule, Server
from .._hba.render import rendered
from .._hba.spec import spec_from_line
from .._hba.usage_events import ADMITTED, REFUSED
from .._server import loaded, passwords, session
from .._server.errors import ServerError
from .._server.facts import Denied, Facts, ServerFiles
from . import arguments, hba_common, hba_usage, patroni_options
from .hba_common import Invalid

if t.TYPE_CHECKING:
    from .._hba.reader import Reader

ADDRESS_WORDS = ("local", "all", "samehost", "samenet")


def argument_spec() -> dict[str, dict[str, t.Any]]:
    """The module's options; DOCUMENTATION says what they mean."""
    only = {"rules": {"type": "list", "elements": "str"}, "addresses": {"type": "list", "elements": "str"}}
    logs = hba_usage.options()
    return {
        **arguments.connection_options(),
        "state": {"type": "str", "default": "audited", "choices": ["audited", "migrated"]},
        "from": {"type": "list", "elements": "str", "default": ["md5", "password"]},
        "to": {"type": "str", "default": "scram-sha-256"},
        "options": {"type": "dict", "default": {}},
        "only": {"type": "dict", "options": only},
        "passwords": {"type": "dict", "default": {}, "no_log": True},
        "vouched": {"type": "bool", "default": False},
        "set_password_encryption": {"type": "bool", "default": True, "no_log": False},
        "path": {"type": "path"},
        "patroni": patroni_options.option(),
        "backup": {"type": "bool", "default": False},
        "expect": {"type": "list", "elements": "dict", "options": arguments.client_options()},
        "lockout": {"type": "str", "default": "refuse", "choices": ["refuse", "warn", "ignore"]},
        "verify_logins": {"type": "bool", "default": True},
        "reload_timeout": {"type": "float", "default": 10.0},
        "pgbouncer_auth_file": {"type": "path"},
        "fail_on": {"type": "str", "default": "never", "choices": ["held_back", "never"]},
        "result_limit": {"type": "int", "default": 1000},
        **{name: logs[name] for name in ("logs", "log_line_prefix", "log_timezone")},
    }


class LastLogin(t.NamedTuple):
    """A role's newest login that the logs tell of."""

    time: float
    method: str | None
    address: str | None
    file: str | None
    line: int | None


class Logs(t.NamedTuple):
    """What the logs say about roles."""

    last: dict[str, LastLogin]
    seen: tuple[advice.Seen, ...] = ()
    refused: t.Mapping[str, int] = {}


class Inquiry:
    """One question to one server: from which methods, to which, for which rules; and what the server holds for an answer."""

    def __init__(self, params: t.Mapping[str, t.Any], connection: t.Any, facts: Facts) -> None:
        self.params, self.connection, self.facts = params, connection, facts
        if params["result_limit"] < 0:
            raise Invalid("result_limit: is negative; give 0 for everything, or how many roles and rules are wanted")
        self.server: Server = facts.server
        if self.server.db_user_namespace and self.server.major <= 16:
            raise Invalid(
                "the server has db_user_namespace on, which makes other names of users' names; that is not covered: turn it off first"
            )
        self.request = _request(params)
        self.logins = passwords.logins(connection)
        self.policy = passwords.policy(connection)
        self.settings = planner.Settings(self._ssl_ca_file(), self._maps())
        self.pooler = self._pooler()
        self._logs: Logs | None = None

    def problems(self) -> list[str]:
        """What the target method needs and the server lacks."""
        return planner.requirements(self.request, self.server, self.settings)

    def rules(self) -> tuple[ruleset.Ruleset, str]:
        """The rules as the server would load them now, and their file: through this machine's files, or through the server's eyes."""
        found, path = self._read()
        if found.unreadable is not None:
            raise Invalid(f"path: {found.unreadable}")
        if not found.loads:
            first = found.errors[0]
            raise Invalid(
                f"path: the server would not load {path} as it is (line {first.line}: {hba_common.text_of(first.message)}), "
                "so nothing can be said about who gets in; correct it first, pg_hba_info shows everything that is wrong"
            )
        return found, path

    def _read(self) -> tuple[ruleset.Ruleset, str]:
        path = self.params["path"]
        if path is not None:
            path = os.path.abspath(path)
            return ruleset.load(path, host.Files(), self.server), path
        if not self.facts.hba_file:
            raise Denied(
                "the role may not know where the server's rules are (hba_file): use a superuser, GRANT pg_read_all_settings to it, "
                "or give path"
            )
        path = self.facts.hba_file
        try:
            return ruleset.load(path, ServerFiles(self.connection), self.server), path
        except Denied as denied:
            if os.access(path, os.R_OK):
                return ruleset.load(path, host.Files(), self.server), path
            raise Denied(
                f"the rules in {path} cannot be read: {denied}; use a superuser, grant pg_read_server_files with execute on "
                "pg_read_binary_file(text), or run the task where the file can be read and give path"
            ) from denied

    def audit(self, rules: t.Sequence[Rule], logins: t.Sequence[Login] | None = None) -> Audit:
        """Judge roles and rules. ``logins``: as they would be; without them as the server holds them."""
        chosen = chosen_rules(rules, self.params["only"], self.server)
        roles = self.facts.roles
        return planner.audit(rules, self.logins if logins is None else logins, roles, self.server, self.request._replace(chosen=chosen))

    def advice(self, audit: Audit, logs: Logs, coming: t.Container[str] = ()) -> list[advice.Finding]:
        """Everything that somebody should know."""
        logins = [verdict.role for verdict in audit.roles]
        found = [*advice.of_target(self.request), *advice.of_audit(audit), *advice.of_roles(logins, self.policy.iterations)]
        if self.pooler is not None:
            found += advice.of_pooler(self.pooler, self.params["pgbouncer_auth_file"], self.logins, coming)
        if self.policy.overrides:
            remedy = "reset it: ALTER ROLE … RESET password_encryption, ALTER DATABASE … RESET password_encryption"
            text = f"new passwords are stored by another method for some: {advice.few(self.policy.overrides)}"
            found.append(advice.Finding("password_encryption_override", advice.WARNING, (), text, remedy))
        return found + advice.of_logs(logs.seen, logs.refused, logins)

    def logs(self) -> Logs:
        """What the logs tell of logins, read once; nothing when none are given. Raises :class:`Invalid`."""
        if self._logs is None:
            self._logs = self._read_logs()
        return self._logs

    def _read_logs(self) -> Logs:
        if not self.params["logs"]:
            return Logs({})
        known = loaded.log_settings(self.connection)
        prefix, zone = self.params["log_line_prefix"] or known.line_prefix, self.params["log_timezone"] or known.timezone
        return _logins_in(hba_usage.events(self.params["logs"], hba_usage.reading(prefix, zone)))

    def _ssl_ca_file(self) -> str | None:
        found = session.rows(self.connection, "select setting from pg_catalog.pg_settings where name = 'ssl_ca_file'")
        return str(found[0][0] or "") if found else None

    def _maps(self) -> frozenset[str] | None:
        """Names of the user name maps; None when nobody can tell."""
        if not self.request.options or not self.facts.ident_file:
            return None
        readers: tuple[Reader, ...] = (ServerFiles(self.connection), host.Files())
        for reader in readers:
            try:
                found = ident.load(self.facts.ident_file, reader, self.server)
            except ServerError:
                continue
            return frozenset(mapping.map_name for mapping in found.mappings)
        return None

    def _pooler(self) -> pgbouncer.AuthFile | None:
        name = self.params["pgbouncer_auth_file"]
        if name is None:
            return None
        try:
            with open(name, encoding="utf-8", errors="surrogateescape") as file:
                return pgbouncer.parse(file.read())
        except OSError as error:
            raise Invalid(f"pgbouncer_auth_file: {name} cannot be read: {error.strerror}") from error


def _request(params: t.Mapping[str, t.Any]) -> planner.Request:
    wanted, to = tuple(params["from"]), params["to"]
    if not wanted:
        raise Invalid("from: is empty; name at least one method to move from")
    for option, names in (("from", wanted), ("to", (to,))):
        for name in names:
            if name not in catalog.METHODS or name == "reject":
                known = ", ".join(name for name in catalog.METHODS if name != "reject")
                hint = "a reject rule lets nobody in, pg_hba changes such rules" if name == "reject" else f"methods are {known}"
                raise Invalid(f"{option}: {name!r} is no method to log in by; {hint}")
    if to in wanted:
        raise Invalid(f"to: {to} is also among the methods to move from")
    values = {True: "1", False: "0"}
    options = tuple([(str(name), values[value] if isinstance(value, bool) else str(value)) for name, value in params["options"].items()])
    return planner.Request(wanted, to, options, params["vouched"])


# ------------------------------------------------------------------------------------------------------------------------- choosing


def chosen_rules(rules: t.Sequence[Rule], only: t.Mapping[str, t.Any] | None, server: Server) -> frozenset[int] | None:
    """Indexes of the rules that ``only`` names; None for all. Raises :class:`Invalid` for what names none."""
    if only is None or (only["rules"] is None and only["addresses"] is None):
        return None
    found = set(range(len(rules)))
    for option, single in (("rules", _by_rule), ("addresses", _by_address)):
        if only[option] is None:
            continue
        mine: set[int] = set()
        for number, text in enumerate(only[option]):
            hits = single(rules, text, server, f"only.{option}[{number}]")
            if not hits:
                raise Invalid(f"only.{option}[{number}]: {text!r} is none of the rules, nor does it hold one")
            mine.update(hits)
        found &= mine
    return frozenset(found)


def _by_rule(rules: t.Sequence[Rule], text: str, server: Server, where: str) -> list[int]:
    """By line number, FILE:LINE, or as it is written, whatever its method."""
    file, _colon, line = text.rpartition(":")
    if line.isdecimal():
        main = rules[0].file if rules else ""
        return [at for at, rule in enumerate(rules) if rule.line == int(line) and rule.file == (file or main)]
    spec = spec_from_line(text, server, where, absent=True)
    key = meaning_of(rendered(spec._replace(method="reject", options=()), server)[1], server).key
    return [at for at, rule in enumerate(rules) if meaning_of(rule, server).key == key]


def _by_address(rules: t.Sequence[Rule], text: str, server: Server, where: str) -> list[int]:
    """Rules whose every client is in a network, or that have this very word or host name as their address."""
    if text == "local":
        return [at for at, rule in enumerate(rules) if rule.address is None]
    line = f"host all all {text} reject"
    address = rendered(spec_from_line(line, server, where), server)[1].address
    return [at for at, rule in enumerate(rules) if rule.address is not None and address is not None and _within(rule.address, address)]


def _within(inner: Address, outer: Address) -> bool:
    if outer.kind == "all":
        return True
    if outer.kind != "network" or inner.kind != "network":
        return (inner.kind, inner.text.lower()) == (outer.kind, outer.text.lower())
    wider = inner.mask & outer.mask == outer.mask
    return inner.family == outer.family and wider and not (inner.value ^ outer.value) & outer.mask


# ----------------------------------------------------------------------------------------------------------------------------- logs


def _logins_in(events: t.Iterable[t.Any]) -> Logs:
    last: dict[str, LastLogin] = {}
    seen: dict[tuple[str, str, str | None], tuple[int, float | None]] = {}
    refused: dict[str, int] = {}
    for event in events:
        role = event.user or event.identity
        if role is None or event.kind not in (ADMITTED, REFUSED):
            continue
        if event.kind == REFUSED:
            if event.raw is not None and "scram-sha-256" in event.raw.split():
                refused[role] = refused.get(role, 0) + 1
            continue
        if event.method is not None:
            times, before = seen.get((role, event.method, event.host), (0, None))
            seen[role, event.method, event.host] = (times + 1, event.time or before)
        newest = last.get(role)
        if event.time is not None and (newest is None or event.time >= newest.time):
            last[role] = LastLogin(event.time, event.method, event.host, event.file, event.line)
    return Logs(last, tuple([advice.Seen(*key, *value) for key, value in seen.items()]), refused)
