# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""From one authentication method to another: what each role would meet, which rules may change now, and who holds the others back. Pure.

A rule is *ready* when every role that can hit it (``reach``) and can log in by it today can log in by the target method too. What a role
can do with a password method follows from its stored verifier (reference 6.8, measured on 12 to 18): ``md5`` takes md5 and SCRAM
verifiers, as the server does SCRAM with the latter; ``scram-sha-256`` takes SCRAM verifiers only and refuses others with the message of a
wrong password; a role without a password, or whose password has expired, is refused by all three. What other methods ask for (a
certificate, a directory) no server knows beforehand: it is *unknown*, and holds a rule back unless the caller vouches for it.
"""

from __future__ import annotations

import typing as t

from .._hba import catalog
from .._hba.errors import InvalidRule
from .._hba.model import Role, Rule, Server, Token
from .._hba.spec import RuleSpec, check_spec
from . import verifier as verifiers
from .reach import Reach
from .verifier import Verifier

YES, NO, UNKNOWN = "yes", "no", "unknown"
PASSWORD_METHODS = ("password", "md5", "scram-sha-256")

READY, HELD_BACK, DONE, LEFT_ALONE, NOT_CHOSEN, IMPOSSIBLE = "ready", "held_back", "done", "left_alone", "not_chosen", "impossible"
STATES = {
    READY: "every role that can log in by it can do so by the target method",
    HELD_BACK: "some roles that can log in by it could not do so by the target method",
    DONE: "it has the target method",
    LEFT_ALONE: "its method is not one of those to move from",
    NOT_CHOSEN: "it is not among the chosen rules",
    IMPOSSIBLE: "the server would not take the target method in it",
}


class Login(t.NamedTuple):
    """A role as far as logging in is concerned."""

    name: str
    can_login: bool = True
    superuser: bool = False
    replication: bool = False
    connection_limit: int = -1
    valid_until: str | None = None
    """ISO 8601; None: for ever."""
    expired: bool = False
    verifier: Verifier = Verifier(verifiers.NONE)

    @property
    def barred(self) -> str:
        """Why it cannot log in whatever the method; empty when it can."""
        if not self.can_login:
            return "it may not log in (NOLOGIN)"
        if self.connection_limit == 0 and not self.superuser:
            return "its connection limit is 0"
        return ""


class Ability(t.NamedTuple):
    """Whether a role can log in by a method."""

    answer: str
    reason: str


def can(role: Login, method: str) -> Ability:
    """What happens to a role under a method, from what the server stores about it."""
    if role.barred:
        return Ability(NO, role.barred)
    if method == "trust":
        return Ability(YES, "no password is asked for")
    if method == "reject":
        return Ability(NO, "the rule rejects")
    if method not in PASSWORD_METHODS:
        return Ability(UNKNOWN, f"what {method} asks for is not stored in the server")
    kind = role.verifier.kind
    if kind == verifiers.NONE:
        return Ability(NO, "it has no password")
    if kind == verifiers.INVALID:
        return Ability(NO, "what is stored as its password is none that the server can use")
    if role.expired:
        return Ability(NO, f"its password has expired ({role.valid_until})")
    if method == "scram-sha-256" and kind == verifiers.MD5:
        return Ability(NO, "its stored password is md5, which scram-sha-256 refuses")
    return Ability(YES, "its stored password fits")


class Request(t.NamedTuple):
    """What is to become of the rules."""

    from_methods: tuple[str, ...]
    to: str
    options: tuple[tuple[str, str], ...] = ()
    """Options that the target method needs, for every changed rule."""
    vouched: bool = False
    """The caller vouches that clients can do what the target method asks for where no server knows."""
    chosen: frozenset[int] | None = None
    """Indexes of the rules to change; None: all."""


class RuleVerdict(t.NamedTuple):
    """What may become of a rule."""

    at: int
    """Its index among the rules."""
    rule: Rule
    state: str
    reason: str
    reached_by: int
    """How many roles that may log in can hit it."""
    held_by: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    """The options that it would have under the target method."""


class RoleVerdict(t.NamedTuple):
    """What the change means for a role."""

    role: Login
    rules: tuple[int, ...]
    """Indexes of the rules that it can hit."""
    target: Ability
    """Under the target method."""
    holds_back: tuple[int, ...] = ()
    """Indexes of the rules that wait for it."""


class Audit(t.NamedTuple):
    """Roles joined with rules."""

    roles: tuple[RoleVerdict, ...]
    rules: tuple[RuleVerdict, ...]

    def with_state(self, state: str) -> list[RuleVerdict]:
        """The rules of a state."""
        return [verdict for verdict in self.rules if verdict.state == state]


def audit(rules: t.Sequence[Rule], logins: t.Sequence[Login], roles: t.Sequence[Role], server: Server, request: Request) -> Audit:
    """Judge every role and every rule. ``rules``: as the server loads them; ``roles``: all of the server's, for memberships."""
    reach = Reach(rules, server, roles)
    moving = {index for index, rule in enumerate(rules) if rule.method in request.from_methods and rule.method != request.to}
    held: dict[int, list[str]] = {index: [] for index in moving}
    reached: list[int] = [0] * len(rules)
    verdicts = []
    for role in logins:
        hits = () if role.barred else reach.of(role.name, replication=role.replication or role.superuser)
        target = can(role, request.to)
        for index in hits:
            reached[index] += 1
        waits: tuple[int, ...] = ()
        if target.answer != YES and not (target.answer == UNKNOWN and request.vouched):
            today = {method: can(role, method).answer for method in request.from_methods}
            waits = tuple([index for index in hits if index in moving and today[rules[index].method] != NO])
            for index in waits:
                held[index].append(role.name)
        verdicts.append(RoleVerdict(role, hits, target, waits))
    judge = _Rules(server, request, held, reached)
    return Audit(tuple(verdicts), tuple([judge.verdict(index, rule) for index, rule in enumerate(rules)]))


class _Rules:
    """Verdicts on rules, once it is known who reaches them."""

    def __init__(self, server: Server, request: Request, held: dict[int, list[str]], reached: list[int]) -> None:
        self._server, self._request = server, request
        self._held, self._reached = held, reached
        self._refusals: dict[tuple[t.Any, ...], str] = {}

    def verdict(self, index: int, rule: Rule) -> RuleVerdict:
        options = options_under(rule, self._request, self._server)
        held: tuple[str, ...] = ()
        reason = ""
        if rule.method == self._request.to:
            state = DONE
        elif index not in self._held:
            state = LEFT_ALONE
        else:
            reason = self._refusal(rule, options)
            held = tuple(self._held[index])
            state = IMPOSSIBLE if reason else HELD_BACK if held else READY
            if self._request.chosen is not None and index not in self._request.chosen:
                state, reason = NOT_CHOSEN, ""
        return RuleVerdict(index, rule, state, reason or STATES[state], self._reached[index], held, options)

    def _refusal(self, rule: Rule, options: tuple[tuple[str, str], ...]) -> str:
        """The server's reason against the target method in such a rule; empty when it takes it."""
        key = (rule.type, options)
        if key not in self._refusals:
            address = None if rule.type == "local" else Token("all")
            spec = RuleSpec(rule.type, (Token("all"),), (Token("all"),), address, None, self._request.to, options)
            try:
                check_spec(spec, self._server, "rule")
                self._refusals[key] = ""
            except InvalidRule as error:
                self._refusals[key] = error.reason
        return self._refusals[key]


def options_under(rule: Rule, request: Request, server: Server) -> tuple[tuple[str, str], ...]:
    """A rule's options under the target method: those that no method owns stay, the target's own are added."""
    known = catalog.OPTIONS[server.major]
    added = {name for name, _value in request.options}
    kept = [(name, value) for name, value in rule.given_options if name not in added and name in known and known[name].methods is None]
    return (*kept, *request.options)


class Settings(t.NamedTuple):
    """What target methods depend on beyond the rule itself. None: not known."""

    ssl_ca_file: str | None = None
    maps: frozenset[str] | None = None
    """Names of the user name maps in pg_ident.conf."""


def requirements(request: Request, server: Server, settings: Settings) -> list[str]:
    """What the target method needs and the server does not have, in sentences; empty when nothing is in the way.

    That it exists in this major and this build, and which record types may use it, is judged for each rule by the parser.
    """
    to, options = request.to, dict(request.options)
    found = []
    method = catalog.method_of(to, server.major)
    if method is None:
        names = ", ".join(name for name in catalog.METHODS if catalog.method_of(name, server.major) and name != "reject")
        found.append(f"to: {to!r} is not a method of PostgreSQL {server.major}; these are: {names}")
    elif method.feature is not None and (method.feature not in server.features or method.feature in ("sspi", "bsd")):
        found.append(f"to: the server is built without what {to} needs ({method.feature})")
    if to == "cert" and not server.ssl:
        found.append("to: cert needs TLS, and the server's setting ssl is off; turn it on first")
    if (to == "cert" or "clientcert" in options) and settings.ssl_ca_file == "":
        found.append("to: client certificates can only be checked against an authority; set ssl_ca_file first")
    if to == "ldap" and "ldapserver" not in options and "://" not in options.get("ldapurl", "").replace(":///", ""):
        found.append("options: ldap needs ldapserver, or an ldapurl with a host; without one the library's own default would be asked")
    name = options.get("map", "")
    if name and settings.maps is not None and name not in settings.maps:
        known = ", ".join(sorted(settings.maps)) or "none"
        found.append(f"options: there is no user name map {name!r} in pg_ident.conf (maps: {known}); everybody would be refused")
    return found
