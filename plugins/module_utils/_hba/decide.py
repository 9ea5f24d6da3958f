# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Which rule a client hits: ``decide(rules, client) → Decision``, and for each rule before it why not.

Source: ``check_hba`` and its helpers in PostgreSQL's ``src/backend/libpq/hba.c``, and 689 real connections on each major
(reference 4 and 5). Nothing is guessed. Where a rule's match cannot be told, the outcome is ``undecided``, ``rule`` is that rule and
``reason`` says what is missing; rules after it are not looked at. Four things can be missing:

- a resolver, for a rule with a host name (all other columns match);
- the server's interfaces, for ``samehost`` and ``samenet`` and a client that is not on the loopback network;
- the roles, for ``+role`` and ``samerole``: neither ``roles`` nor the client's ``memberships`` were given;
- a regular expression that :mod:`regex` does not cover.
"""

from __future__ import annotations

import functools
import ipaddress
import typing as t

from . import catalog
from .errors import HbaError, UnsupportedPattern
from .model import Address, Client, Field, Role, Rule, Server, Token, decode, encode
from .roles import Memberships

if t.TYPE_CHECKING:
    from .regex import Pattern

REJECTED = "rejected"
NO_ENTRY = "no_entry"
UNDECIDED = "undecided"
MAX_NAME_BYTES = 63
TRANSPORTS = ("local", "tcp", "tls", "gss")
EXPECTATIONS = ("allowed", "refused", REJECTED, NO_ENTRY)

_KEYS = ("user", "database", "address", "transport", "replication", "memberships", "expect")


class InvalidClient(HbaError, ValueError):
    """A description of a client is not one; the message names the field and says what would be right."""

    def __init__(self, where: str, field: str, problem: str) -> None:
        super().__init__(f"{where}: {field}: {problem}" if field else f"{where}: {problem}")
        self.where = where
        self.field = field
        self.problem = problem


class WhyNot(t.NamedTuple):
    """Why a rule is not the one."""

    rule: Rule
    reason: str
    """``type``, ``address``, ``database`` or ``user``: the first column that does not match, in the server's order."""
    detail: str


class Decision(t.NamedTuple):
    """What happens to a client."""

    outcome: str
    """The method of the rule that matches, ``rejected`` (a reject rule), ``no_entry``, or ``undecided``."""
    rule: Rule | None = None
    """The rule that matches, or that cannot be decided; None for ``no_entry``."""
    why_not: tuple[WhyNot, ...] = ()
    """For each earlier rule why not; empty when it was not asked for."""
    reason: str = ""
    """What is missing, for ``undecided``."""


class Interface(t.NamedTuple):
    """An address of one of the server's network interfaces."""

    family: int
    """4 or 6."""
    value: int
    mask: int


LOOPBACK = (Interface(4, 0x7F000001, 0xFF000000), Interface(6, 1, (1 << 128) - 1))
"""What every host has, and all that is known where no interfaces are given."""


def interface(text: str) -> Interface:
    """An interface from ``192.0.2.7/24`` or ``2001:db8::7/64``. Raises ValueError."""
    parsed = ipaddress.ip_interface(text)
    return Interface(parsed.version, int(parsed.ip), int(parsed.netmask))


class Resolver(t.Protocol):
    """Host names, as the server's own resolver sees them."""

    def reverse(self, address: str) -> str | None:
        """The name of a numeric address; None when there is none or the look-up fails."""

    def forward(self, name: str) -> t.Iterable[str]:
        """The numeric addresses of a name; empty when there are none or the look-up fails."""


# ------------------------------------------------------------------------------------------------------------------- clients


def client_from_dict(item: t.Any, where: str = "client") -> Client:
    """A client from a dictionary: ``user``, ``database``, ``address``, ``transport``, ``replication``, ``memberships``, ``expect``.

    ``transport`` left out is ``tcp`` with an address and ``local`` without. ``where`` names it in errors. An empty list of
    ``memberships`` says that the user is in no group, leaving it out says nothing. Raises :class:`InvalidClient`.
    """
    if not isinstance(item, dict):
        raise InvalidClient(where, "", "an object with at least a user is wanted")
    unknown = sorted(str(key) for key in item if key not in _KEYS)
    if unknown:
        raise InvalidClient(where, unknown[0], f"unknown field; fields are {', '.join(_KEYS)}")
    user = _name(item.get("user"), where, "user")
    if user is None:
        raise InvalidClient(where, "user", "is missing; the server refuses a connection without a user name")
    transport, address = _place(item, where)
    replication = item.get("replication")
    if not (replication is None or isinstance(replication, bool) or replication == "database"):
        raise InvalidClient(where, "replication", f"{replication!r} is neither true (a physical replication client) nor false")
    expectation(item, where)
    database = _name(item.get("database"), where, "database")
    return Client(user, database, address, transport, replication is True, _groups(item.get("memberships"), user, where))


def _name(value: t.Any, where: str, field: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidClient(where, field, f"{value!r} is no text; quote it in YAML")
    if "\0" in value:
        raise InvalidClient(where, field, "holds a NUL, which no client can send")
    try:
        encode(value)
    except UnicodeEncodeError:
        raise InvalidClient(where, field, f"{value!r} is no text that can be sent") from None
    return value


def _place(item: dict[str, t.Any], where: str) -> tuple[str, str | None]:
    """Transport and address, which belong together."""
    address = item.get("address")
    transport = item.get("transport")
    if transport is None:
        transport = "tcp" if address is not None else "local"
    if transport not in TRANSPORTS:
        raise InvalidClient(where, "transport", f"{transport!r} is none of {', '.join(TRANSPORTS)}")
    if transport == "local":
        if address is not None:
            raise InvalidClient(where, "address", f"{address!r} given, but a client of the Unix socket (transport local) has none")
        return transport, None
    if address is None:
        raise InvalidClient(where, "address", f"is missing; a client with transport {transport} has a numeric address")
    if not isinstance(address, str) or _client_address(address) is None:
        raise InvalidClient(where, "address", f"{address!r} is no numeric IPv4 or IPv6 address of one client")
    return transport, address


def _groups(value: t.Any, user: str, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) and name for name in value):
        raise InvalidClient(where, "memberships", f"{value!r} is no list of role names")
    return tuple(value) or (user,)


def expectation(item: t.Mapping[str, t.Any], where: str = "client") -> str | None:
    """The ``expect`` of a client dictionary; None when it has none. Raises :class:`InvalidClient` for what cannot be expected."""
    expect = item.get("expect")
    if expect is None:
        return None
    methods = sorted(set(catalog.METHODS) - {"reject"})
    if expect not in EXPECTATIONS and expect not in methods:
        hint = "; a reject rule is expected with rejected" if expect == "reject" else ""
        raise InvalidClient(where, "expect", f"{expect!r} is none of {', '.join((*EXPECTATIONS, *methods))}{hint}")
    return str(expect)


def role_from_dict(item: t.Any, where: str = "role") -> Role:
    """A role from ``{"name", "superuser", "member_of"}``. Raises :class:`InvalidClient`."""
    if not isinstance(item, dict):
        raise InvalidClient(where, "", "an object with name, superuser and member_of is wanted")
    unknown = sorted(str(key) for key in item if key not in ("name", "superuser", "member_of"))
    if unknown:
        raise InvalidClient(where, unknown[0], "unknown field; fields are name, superuser, member_of")
    name = _name(item.get("name"), where, "name")
    if name is None:
        raise InvalidClient(where, "name", "is missing")
    superuser = item.get("superuser")
    superuser = False if superuser is None else superuser
    if not isinstance(superuser, bool):
        raise InvalidClient(where, "superuser", f"{superuser!r} is neither true nor false")
    groups = item.get("member_of") or []
    if not isinstance(groups, (list, tuple)) or not all(isinstance(group, str) for group in groups):
        raise InvalidClient(where, "member_of", f"{groups!r} is no list of role names")
    return Role(name, superuser, tuple(groups))


def meets(decision: Decision, expect: str) -> bool:
    """Whether a decision is what was expected: a method, ``allowed``, ``refused``, ``rejected`` or ``no_entry``; undecided never is."""
    outcome = decision.outcome
    if outcome == UNDECIDED:
        return False
    if expect == "allowed":
        return outcome not in (REJECTED, NO_ENTRY)
    if expect == "refused":
        return outcome in (REJECTED, NO_ENTRY)
    return outcome == expect


# ------------------------------------------------------------------------------------------------------------------ matching


class _Numeric(t.NamedTuple):
    family: int
    value: int


@functools.lru_cache(maxsize=65536)
def _client_address(text: str) -> _Numeric | None:
    """A client's address; an IPv4-mapped one is IPv4, as the server sees it, and a zone does not count."""
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return _Numeric(4, int(mapped)) if mapped is not None else _Numeric(parsed.version, int(parsed))


def cut(name: str) -> str:
    """A name as the server keeps it: the first 63 bytes, even in the middle of a character."""
    raw = encode(name)
    return name if len(raw) <= MAX_NAME_BYTES else decode(raw[:MAX_NAME_BYTES])


def server_names(client: Client, server: Server) -> tuple[str, str]:
    """User and database as the server matches them; the database is empty for physical replication.

    Raises :class:`InvalidClient` for an empty user, which the server refuses before it looks at any rule.
    """
    if not client.user:
        raise InvalidClient("client", "user", "is empty; the server refuses a connection without a user name")
    user, database = client.user, client.database or client.user
    if server.db_user_namespace and server.major <= 16:
        user = user[:-1] if user.find("@") == len(user) - 1 else f"{user}@{database}"
    return cut(user), "" if client.replication else cut(database)


_Truth = t.Optional[bool]
_UNKNOWN_ROLES = "whether {user!r} is a member of {role!r} is not known; give the roles, or memberships of the client"


class _Subject:
    """One client, prepared; answers are remembered because many rules ask the same."""

    def __init__(self, owner: Decider, client: Client) -> None:
        if client.transport not in TRANSPORTS:
            raise InvalidClient("client", "transport", f"{client.transport!r} is none of {', '.join(TRANSPORTS)}")
        self.client = client
        self.local = client.transport == "local"
        self.address: _Numeric | None = None
        if not self.local:
            self.address = _client_address(client.address or "")
            if self.address is None:
                raise InvalidClient("client", "address", f"{client.address!r} is no numeric address; only transport local has none")
        self.user, self.database = server_names(client, owner.server)
        self.user_bytes, self.database_bytes = encode(self.user), encode(self.database)
        self.groups = owner.groups_of(client, self.user)
        self.host: tuple[str, bool] | None = None
        self.columns: dict[tuple[str, Field], tuple[_Truth, str]] = {}


class Decider:
    """Rules compiled for many clients; see :func:`decide` for the arguments."""

    def __init__(
        self,
        rules: t.Iterable[Rule],
        *,
        server: Server,
        roles: t.Iterable[Role] | None = None,
        resolver: Resolver | None = None,
        interfaces: t.Iterable[Interface] | None = None,
    ) -> None:
        self.rules = tuple(rules)
        self.server = server
        self.resolver = resolver
        self.interfaces = None if interfaces is None else tuple(interfaces)
        self._memberships = None if roles is None else Memberships(roles)
        self._regexes = server.major >= catalog.REGEX_SINCE
        self._patterns: dict[str, Pattern | str] = {}
        self._hosts: dict[str, tuple[str, bool]] = {}
        self._compiled: _Compiled | None = None

    # -- what a client brings

    def groups_of(self, client: Client, user: str) -> frozenset[str] | None:
        """All roles that a client's user is a member of; None when nothing is known."""
        if self._memberships is not None:
            return self._memberships.of_client(client, user)
        return frozenset((user, *client.memberships)) if client.memberships else None

    def decide(self, client: Client, *, explain: bool = True) -> Decision:
        """The decision for one client. Without ``explain`` there is no ``why_not``, and that is much faster with many rules.

        Raises :class:`InvalidClient` for a client that cannot be.
        """
        subject = _Subject(self, client)
        why_not: list[WhyNot] = []
        for rule in self.rules if explain else self._candidates(subject):
            column, truth, detail = self._match(rule, subject)
            if truth is False:
                if explain:
                    why_not.append(WhyNot(rule, column, detail))
                continue
            if truth is None:
                return Decision(UNDECIDED, rule, tuple(why_not), detail)
            return Decision(REJECTED if rule.method == "reject" else rule.method, rule, tuple(why_not))
        return Decision(NO_ENTRY, None, tuple(why_not))

    def decide_all(self, clients: t.Iterable[Client], *, explain: bool = False) -> list[Decision]:
        """Decisions for many clients, in their order."""
        return [self.decide(client, explain=explain) for client in clients]

    def _match(self, rule: Rule, subject: _Subject) -> tuple[str, _Truth, str]:
        """(column, False, why not), ("", True, "") or ("", None, what is missing)."""
        missing = ""
        problem = self._type(rule.type, subject)
        if problem:
            return "type", False, problem
        if rule.address is not None and rule.address.kind != "all":
            truth, detail = self._address(rule.address, subject)
            if truth is False:
                return "address", False, detail
            missing = "" if truth else detail
        for column, field in (("database", rule.databases), ("user", rule.users)):
            truth, detail = self._column(column, field, subject)
            if truth is False:
                return column, False, detail
            missing = missing or ("" if truth else detail)
        return "", None if missing else True, missing

    # -- type

    def _type(self, kind: str, subject: _Subject) -> str:
        """Why a record type does not fit; empty when it does."""
        transport = subject.client.transport
        if (kind == "local") != subject.local:
            return "the client comes over TCP" if kind == "local" else "the client comes over the Unix socket"
        if transport == "tls" and not (self.server.ssl and "ssl" in self.server.features):
            return "the server does not offer TLS, so no client can use it"
        if transport == "gss" and "gssapi" not in self.server.features:
            return "the server does not offer GSSAPI encryption, so no client can use it"
        wanted = {"hostssl": transport == "tls", "hostnossl": transport != "tls"}
        wanted.update(hostgssenc=transport == "gss", hostnogssenc=transport != "gss")
        return "" if wanted.get(kind, True) else f"{kind} does not fit a client over {transport}"

    # -- address

    def _address(self, address: Address, subject: _Subject) -> tuple[_Truth, str]:
        client = t.cast(_Numeric, subject.address)
        text = subject.client.address
        if address.kind == "network":
            good = client.family == address.family and not (client.value ^ address.value) & address.mask
            return good, "" if good else f"{text} is not in {address.text} mask {address.netmask}"
        if address.kind in ("samehost", "samenet"):
            return self._same(address.kind, client, text)
        return self._named(address.text, subject)

    def _same(self, kind: str, client: _Numeric, text: str | None) -> tuple[_Truth, str]:
        interfaces = LOOPBACK if self.interfaces is None else self.interfaces
        for family, value, mask in interfaces:
            if family == client.family and not (client.value ^ value) & (mask if kind == "samenet" else -1):
                return True, ""
        loopback = client.value >> 24 == 127 if client.family == 4 else client.value == 1
        if self.interfaces is None and not loopback:
            return None, f"whether {text} is {kind} depends on the server's interfaces, which were not given"
        return False, f"{text} is {'no address' if kind == 'samehost' else 'in no network'} of the server's interfaces"

    def _named(self, pattern: str, subject: _Subject) -> tuple[_Truth, str]:
        """A host name or ``.suffix``. The server's memory of failed look-ups changes no answer, as all rules ask for the same name."""
        text = subject.client.address or ""
        if pattern in ("", "."):
            return False, f"no host is called {pattern!r}"
        if self.resolver is None:
            return None, f"whether {text} is the host {pattern!r} takes name resolution, and no resolver was given"
        if subject.host is None:
            subject.host = self._host(text, t.cast(_Numeric, subject.address))
        name, verified = subject.host
        if not name:
            return False, f"{text} has no host name"
        low, actual = _lower(pattern), _lower(name)
        if not (actual.endswith(low) if low.startswith(".") else actual == low):
            return False, f"{text} is the host {name!r}, not {pattern!r}"
        return verified, "" if verified else f"{text} calls itself {name!r}, but that name does not lead back to it"

    def _host(self, text: str, address: _Numeric) -> tuple[str, bool]:
        """The client's host name, empty when it has none, and whether the name leads back to the client."""
        found = self._hosts.get(text)
        if found is None:
            resolver = t.cast(Resolver, self.resolver)
            name = resolver.reverse(text)
            verified = name is not None and address in [_client_address(other) for other in resolver.forward(name)]
            found = self._hosts[text] = (name or "", verified)
        return found

    # -- database and user

    def _column(self, column: str, field: Field, subject: _Subject) -> tuple[_Truth, str]:
        key = (column, field)
        found = subject.columns.get(key)
        if found is None:
            found = subject.columns[key] = self._any(column, field, subject)
        return found

    def _any(self, column: str, field: Field, subject: _Subject) -> tuple[_Truth, str]:
        """Whether any token of a list matches."""
        missing = ""
        for token in field:
            truth, detail = self._token(token, subject) if column == "user" else self._database(token, subject)
            if truth:
                return True, ""
            if truth is None:
                missing = missing or detail
        if missing:
            return None, missing
        if column == "user":
            return False, f"user {subject.user!r} is not named"
        return False, "physical replication is not named" if subject.client.replication else f"database {subject.database!r} is not named"

    def _database(self, token: Token, subject: _Subject) -> tuple[_Truth, str]:
        text, quoted = token
        if subject.client.replication:
            return text == "replication" and not quoted, ""
        if not quoted:
            if text == "all":
                return True, ""
            if text == "sameuser":
                return subject.database == subject.user, ""
            if text in ("samerole", "samegroup"):
                return self._member(subject, subject.database)
            if text == "replication":
                return False, ""
        return self._plain(text, subject.database, subject.database_bytes)

    def _token(self, token: Token, subject: _Subject) -> tuple[_Truth, str]:
        text, quoted = token
        if not quoted:
            if text == "all":
                return True, ""
            if text.startswith("+"):
                return self._member(subject, text[1:])
        return self._plain(text, subject.user, subject.user_bytes)

    def _plain(self, text: str, name: str, raw: bytes) -> tuple[_Truth, str]:
        """A regular expression or a literal name."""
        if not (self._regexes and text.startswith("/")):
            return text == name, ""
        pattern = self._pattern(text[1:])
        if isinstance(pattern, str):
            return None, pattern
        try:
            return pattern.search(raw), ""
        except UnsupportedPattern as error:
            return None, str(error)

    def _member(self, subject: _Subject, role: str) -> tuple[_Truth, str]:
        if not role:
            return False, ""
        if subject.groups is None:
            return (True, "") if role == subject.user else (None, _UNKNOWN_ROLES.format(user=subject.user, role=role))
        return role in subject.groups, ""

    def _pattern(self, text: str) -> Pattern | str:
        """The compiled expression, or why it is not covered."""
        found = self._patterns.get(text)
        if found is None:
            from .regex import compile_pattern  # noqa: PLC0415 - only files with regular expressions pay for its import

            try:
                found = compile_pattern(text, major=self.server.major)
            except (UnsupportedPattern, ValueError) as error:
                found = str(error)
            self._patterns[text] = found
        return found

    # -- many clients

    def _candidates(self, subject: _Subject) -> t.Iterator[Rule]:
        """The rules that a quick look does not exclude, in order."""
        compiled = self._compiled
        if compiled is None:
            compiled = self._compiled = _Compiled(self.rules, self._regexes)
        fits = {kind for kind in catalog.RECORD_TYPES if not self._type(kind, subject)}
        family, value = subject.address or (0, 0)
        users: list[_Truth | int] = [_NOT_ASKED] * len(compiled.users)
        databases: list[_Truth | int] = [_NOT_ASKED] * len(compiled.databases)
        for index in compiled.worth(subject):
            kind, network, user, database = compiled.rules[index]
            if kind not in fits:
                continue
            if network is not None and (network[0] != family or (network[1] ^ value) & network[2]):
                continue
            if users[user] == _NOT_ASKED:
                users[user] = self._column("user", compiled.users[user], subject)[0]
            if users[user] is False:
                continue
            if databases[database] == _NOT_ASKED:
                databases[database] = self._column("database", compiled.databases[database], subject)[0]
            if databases[database] is not False:
                yield self.rules[index]


_NOT_ASKED = 2
_Network = t.Optional[t.Tuple[int, int, int]]


class _Names:
    """Which rules name a name in one column, and which may match any."""

    def __init__(self, fields: list[Field], words: t.Container[str], marks: str, regexes: bool) -> None:
        self.named: dict[str, list[int]] = {}
        self.open: list[int] = []
        for number, field in enumerate(fields):
            if any(
                (regexes and text.startswith("/")) or (not quoted and (text in words or text.startswith(tuple(marks))))
                for text, quoted in field
            ):
                self.open.append(number)
                continue
            for token in field:
                self.named.setdefault(token.text, []).append(number)

    def rules_for(self, name: str) -> list[int]:
        named = self.named.get(name)
        return sorted([*named, *self.open]) if named else self.open


class _Compiled:
    """Rules prepared for a quick look: equal columns are asked once for each client, rules that name others not at all."""

    def __init__(self, rules: tuple[Rule, ...], regexes: bool) -> None:
        users: dict[Field, int] = {}
        databases: dict[Field, int] = {}
        self.rules: list[tuple[str, _Network, int, int]] = []
        for rule in rules:
            address = rule.address
            network = None
            if address is not None and address.kind == "network":
                network = (address.family or 4, address.value, address.mask)
            user = users.setdefault(rule.users, len(users))
            database = databases.setdefault(rule.databases, len(databases))
            self.rules.append((rule.type, network, user, database))
        self.users, self.databases = list(users), list(databases)
        self.by_user = _Names([rule.users for rule in rules], ("all",), "+", regexes)
        words = ("all", "sameuser", "samerole", "samegroup", "replication")
        self.by_database = _Names([rule.databases for rule in rules], words, "", regexes)

    def worth(self, subject: _Subject) -> list[int]:
        """Rules that may match by one of the two name columns, whichever leaves fewer, in order."""
        if subject.client.replication or len(self.by_user.open) <= len(self.by_database.open):
            return self.by_user.rules_for(subject.user)
        return self.by_database.rules_for(subject.database)


@functools.lru_cache(maxsize=4096)
def _lower(text: str) -> str:
    """ASCII letters in lower case, others as they are."""
    return decode(encode(text).lower())


def decide(
    rules: t.Iterable[Rule],
    client: Client,
    *,
    server: Server,
    roles: t.Iterable[Role] | None = None,
    resolver: Resolver | None = None,
    interfaces: t.Iterable[Interface] | None = None,
) -> Decision:
    """The decision for one client; :class:`Decider` is for many.

    ``rules``: what the server loaded, in load order. ``roles``: all roles of the server; without them the client's own
    ``memberships`` are taken for complete. ``resolver``: host names as the server sees them. ``interfaces``: the addresses of the
    server's interfaces, loopback included; without them only the loopback network is known. Raises :class:`InvalidClient`.
    """
    return Decider(rules, server=server, roles=roles, resolver=resolver, interfaces=interfaces).decide(client)


# -------------------------------------------------------------------------------------------------------------- command line


def clients_from_json(items: t.Any) -> list[Client]:
    """Clients from a JSON array. Raises :class:`InvalidClient` naming the element and the field."""
    if not isinstance(items, list):
        raise InvalidClient("clients", "", "an array of clients is wanted")
    return [client_from_dict(item, f"clients[{number}]") for number, item in enumerate(items)]


def as_dict(decision: Decision, expect: str | None = None) -> dict[str, t.Any]:
    """A decision as the command line prints it; ``reason`` only when it is undecided, ``meets`` only when something was expected."""
    rule = decision.rule
    shown: dict[str, t.Any] = {"outcome": decision.outcome, **_where(rule)}
    shown["why_not"] = [{**_where(item.rule), "reason": item.reason, "detail": item.detail} for item in decision.why_not]
    if decision.outcome == UNDECIDED:
        shown["reason"] = decision.reason
    if expect is not None:
        shown["meets"] = meets(decision, expect)
    return shown


def _where(rule: Rule | None) -> dict[str, t.Any]:
    if rule is None:
        return {"file": None, "line": None, "rule_number": None}
    return {"file": rule.file, "line": rule.line, "rule_number": rule.number}
