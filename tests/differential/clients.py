# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients: who really connects, and what the engine's ``decide`` says of the same client."""

from __future__ import annotations

import ctypes
import json
import socket
import typing as t

from . import corpus
from .corpus import Case
from .engine import described, engine_module, model, read
from .generate import Generator
from .servers import Attempt, Server

decide = engine_module("decide")

PASSWORD_METHODS = {
    "password": {"cleartext"},
    "md5": {"md5", "sasl"},
    "scram-sha-256": {"sasl"},
    "ldap": {"cleartext"},
    "pam": {"cleartext"},
}
MAPPED = "::ffff:"

# fmt: off
USERS = [
    "alice", "m", "mm", "su", "sum", "ni", "mg", "grp", "grp2", "+grp", "all", "ALL", "Café", "u,x", "sameuser", "d1", "nobody", "@x",
    "/^al",
]
DATABASES = [
    "postgres", "d1", "all", "replication", "sameuser", "samerole", "alice", "m", "grp", "Café", "/^d", "+grp", "my grp", "nope",
]
NETWORKS = [
    "127.0.0.1/32", "127.0.0.0/8", "127.0.0.0/30", "127.0.0.2/31", "0.0.0.0/0", "127/8", "127.1/32", "10.0.0.0/8", "127.0.0.1/0",
    "127.0.0.0 255.0.0.1", "127.0.0.2 255.0.0.2", "::1/128", "::/0", "::ffff:127.0.0.1/128", "::ffff:0:0/96", "::1 ffff::ffff",
    "samehost", "samenet", "all", "all", "fe80::1%1/10", "0x7f000001/32", "2130706433/31", "0177.0.0.1/32", "::2/126",
    "127.0.0.3 0.0.0.3",
]
PATTERNS = [
    "/^al", "/^m+$", "/(?i)^ALICE$", "/^(al|d)", "/.", "/^.{1,3}$", "/u$", "/^\\w+$", "/^[[:alpha:]]+$", "/é", "/^Caf..$", "/^Caf.$",
    "/^(.)\\1$", "/\\mgrp", "/^(?!al)", "/[^a-z]", "/", "/^$", "/^\\+", "/^[dm]1?$", "/a.*e", "/***=al", "/\\d", "/^s(u|um)$",
    "/^(?=.*m)", "/^\\S{2,4}?$",
]
RULE_METHODS = [
    "password", "password", "password", "reject", "md5", "scram-sha-256",
]
SOURCES = [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "127.0.0.2"), ("127.0.0.1", "127.0.0.3"), ("127.0.0.1", "127.1.2.3")]
SOURCES_WITH_IPV6 = [*SOURCES, ("::1", "::1"), ("::ffff:127.0.0.1", "127.0.0.1")]
# fmt: on


class Attempted(t.NamedTuple):
    """A client that can really be: bytes as in the startup packet, addresses of this machine."""

    user: bytes
    database: bytes | None
    address: str | None = None
    """The server's address that it connects to; None for the Unix socket."""
    source: str | None = None
    tls: bool = False
    replication: str | None = None

    def client(self) -> t.Any:
        """The engine's sentence for it."""
        transport = "local" if self.address is None else "tls" if self.tls else "tcp"
        return model.Client(
            model.decode(self.user),
            None if self.database is None else model.decode(self.database),
            self.source if self.address is not None else None,
            transport,
            self.replication == "true",
        )

    def connect(self, server: Server) -> Attempt:
        """Really connect. A mapped address is the socket's affair: the client's own address follows from it."""
        source = None if self.address is None or self.address.startswith(MAPPED) else self.source
        return server.attempt(self.user, self.database, address=self.address, source=source, tls=self.tls, replication=self.replication)


names = engine_module("host").Names


class _SockAddr(ctypes.Structure):
    _fields_ = (("family", ctypes.c_ushort), ("data", ctypes.c_ubyte * 26))


class _IfAddrs(ctypes.Structure):
    pass


_IfAddrs._fields_ = (
    ("next", ctypes.POINTER(_IfAddrs)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.POINTER(_SockAddr)),
    ("netmask", ctypes.POINTER(_SockAddr)),
)


def interfaces() -> list[t.Any]:
    """This machine's interfaces, from getifaddrs(3), as the server asks for them."""
    libc = ctypes.CDLL(None)
    head = ctypes.POINTER(_IfAddrs)()
    if libc.getifaddrs(ctypes.byref(head)):
        raise OSError("getifaddrs failed")
    found, item = [], head
    while item:
        entry = item.contents
        if entry.address and entry.netmask and entry.address.contents.family in (socket.AF_INET, socket.AF_INET6):
            family = 4 if entry.address.contents.family == socket.AF_INET else 6
            # sockaddr_in: port, address; sockaddr_in6: port, flow information, address
            start, stop = (2, 6) if family == 4 else (6, 22)
            value, mask = (int.from_bytes(bytes(part.contents.data[start:stop]), "big") for part in (entry.address, entry.netmask))
            found.append(decide.Interface(family, value, mask))
        item = entry.next
    libc.freeifaddrs(head)
    return found


def roles(server: Server) -> list[t.Any]:
    """All roles of a server with their direct memberships."""
    rows = server.sql(
        "select jsonb_build_array(r.rolname, r.rolsuper, coalesce((select jsonb_agg(g.rolname) from pg_auth_members m"
        " join pg_roles g on g.oid = m.roleid where m.member = r.oid), '[]'))::text from pg_roles r"
    )
    found = [json.loads((row[0] or b"").decode("utf-8", "surrogateescape")) for row in rows]
    return [model.Role(name, superuser, tuple(groups)) for name, superuser, groups in found]


def populate(server: Server) -> None:
    """The roles of the recorded attempts. Databases need not exist: nobody gets past the password."""
    recorded = corpus.match_cases()
    later = [line for line in recorded["setup_sql"] if line.startswith("-- 16+: ")]
    statements = [line for line in recorded["setup_sql"] if not line.startswith("--")]
    if server.major >= 16:
        statements += [part for line in later for part in line.removeprefix("-- 16+: ").split("; ")]
    server.populate(statements)


class Judge:
    """The engine's decisions about one loaded file."""

    def __init__(self, server: Server, case: Case) -> None:
        self.verdict, rules = read(server, case)
        target = described(server, case)
        self.decider = decide.Decider(rules.rules, server=target, roles=roles(server), resolver=names(), interfaces=interfaces())

    def expected(self, attempted: Attempted) -> t.Any:
        """The decision, without and with explanation: they have to agree."""
        quick = self.decider.decide(attempted.client(), explain=False)
        full = self.decider.decide(attempted.client())
        if quick.outcome != full.outcome or quick.rule != full.rule:
            raise AssertionError(f"with why_not {full}, without {quick}")
        return full


def unlike(decision: t.Any, attempt: Attempt) -> str | None:
    """In what a decision differs from what really happened; None when they agree."""
    seen = outcome(attempt)
    said = decision.outcome
    if said == "undecided":
        return f"the engine cannot decide: {decision.reason}"
    if said in ("rejected", "no_entry") or seen in ("rejected", "no_entry"):
        return None if said == seen else f"engine {said} by line {decision.rule and decision.rule.line}, server {attempt}"
    if attempt.line is not None and (decision.rule.line, decision.rule.file) != (attempt.line, attempt.file):
        return f"engine {said} by {decision.rule.file}:{decision.rule.line}, server {attempt}"
    if said in PASSWORD_METHODS and attempt.answer.asked not in PASSWORD_METHODS[said]:
        return f"engine {said}, server asked for {attempt.answer.asked}"
    if said == "trust" and (attempt.answer.asked != "nothing" or (attempt.line is not None and server_refused(attempt))):
        return f"engine trust, server {attempt}"
    return None


def server_refused(attempt: Attempt) -> bool:
    """Whether authentication itself failed, not what comes after it."""
    return "authentication failed" in attempt.answer.message


def outcome(attempt: Attempt) -> str:
    """``no_entry``, ``rejected`` or ``met``: a rule that is neither."""
    message = attempt.answer.message
    if attempt.answer.sqlstate == "28000" and message.startswith("no pg_hba.conf entry"):
        return "no_entry"
    if attempt.answer.sqlstate == "28000" and message.startswith("pg_hba.conf rejects"):
        return "rejected"
    return "met"


class ClientGenerator(Generator):
    """Files that load, about names and addresses that clients of this machine can have; and such clients."""

    def named(self, usual: list[str], words: list[str]) -> str:
        tokens = []
        for _ in range(self.rng.choice([1, 1, 1, 2, 3])):
            roll = self.rng.random()
            if roll < 0.40:
                tokens.append(self.rng.choice(words))
            elif roll < 0.80:
                tokens.append(self.token(self.rng.choice(usual)))
            else:
                tokens.append(self.token(self.rng.choice(PATTERNS)))
        return ",".join(tokens)

    def token(self, text: str) -> str:
        if set(text) & set(' ,#"') or text.startswith("@") or self.chance(3):
            return '"' + text.replace('"', '""') + '"'
        return text

    def rules(self, count: int) -> bytes:
        """A file of rules that all load."""
        lines = []
        for _ in range(count):
            kind = self.rng.choice(["local", "local", "host", "host", "hostssl", "hostnossl", "hostnogssenc", "hostgssenc"])
            databases = self.named(
                DATABASES, ["all", "all", "sameuser", "samerole", "samegroup", "replication", '"all"', '"replication"', 'al"l"']
            )
            users = self.named(USERS, ["all", "all", "+grp", '"+grp"', '+"my grp"', "+grp2", "+d1", "+nope", "+", "+all", '"all"'])
            address = "" if kind == "local" else " " + self.rng.choice(NETWORKS)
            lines.append(f"{kind} {databases} {users}{address} {self.rng.choice(RULE_METHODS)}\n")
        return "".join(lines).encode()

    def client(self, ipv6: bool) -> Attempted:
        """A client that this machine can be."""
        users = [*USERS, "n" * 64, "é", "Alice", "a b", "\x80"]
        user = self.rng.choice(users).encode("utf-8") if not self.chance(30) else b"\xe9\xff"
        database = self.rng.choice([None, *(name.encode() for name in DATABASES), b"n" * 70, user])
        replication = self.rng.choice([None, None, None, None, "true", "database"])
        if self.chance(2.5):
            return Attempted(user, database, replication=replication)
        address, source = self.rng.choice(SOURCES_WITH_IPV6 if ipv6 else SOURCES)
        return Attempted(user, database, address, source, self.chance(2.5) and not address.startswith(MAPPED), replication)
