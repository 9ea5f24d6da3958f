# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""User name maps: who may become whom, asked by real ``peer`` logins of several operating system users.

The view's rows and the load verdict of pg_ident.conf are compared in ``test_cases.py`` and ``test_random.py``.
"""

from __future__ import annotations

import os
import pwd
import random
import re
import sys

import pytest

from . import engine
from .clients import populate, roles
from .corpus import Case
from .servers import Server
from .test_random import SEED, N

HBA = b"local all postgres trust\nlocal all all peer map=m\n"
WITHOUT_MAP = b"local all postgres trust\nlocal all all peer\n"
PEERS = ["root", "nobody", "daemon", "bin", "mail", "backup"]
# fmt: off
ROLES = [
    "alice", "m", "mm", "su", "grp", "grp2", "+grp", "all", "ALL", "Café", "d1", "nobody", "root", "oot", "bin", "daemon", "x", "nope",
    "/^al", "\\1", "", "\\2", "ot", "b", "ma", "bodynobody",
]
SYSTEMS = [
    "root", "nobody", "all", "+root", "/^root$", "/^(.)(.*)$", "/^(no)?body$", "/o", "/(o+)t", "/^(?:r|n)(.*)", "/^([a-z]+)$",
    "/(x)?n", "/", "/^(?i)ROOT$", "/(?=(n))no", "/((o)t)$", "/^(.*?)o", "/(a|ai|ail)l?$", "/(.)\\1", "/^(b?).*(n)$", "/[[:alpha:]]{4}",
    "Root", "/^(d.*|bin)$", "/(o|oo)(t|ot)?", "/^()", "/(?:(m)|(b))", "/^(.)*$", "/^(..){2}", "/o*$", "/(a*)(b*)",
]
TARGETS = [
    "alice", "all", '"all"', "ALL", "+grp", '"+grp"', "+grp2", "+nope", "+", "\\1", "\\1\\1", "x\\1", "\\1t", "\\2", "/^al", '"/^al"',
    "/", "/^\\\\1$", "/(.)\\1", "nobody", "root", "r\\1", "+\\1", "al\\1", '"\\1"', "no\\1", "/^(m|mm)$", "/^.{3}$", "\\\\1", "@", "m",
    "Café", "/é", "\\1body\\1",
]
MAPS = [
    "m", "m", "m", "m", "m", '"m"', "M", "n", "/m", "all",
]
# fmt: on


def peers() -> dict[str, int]:
    """Operating system users that a connection can come from: several for root, else ourselves."""
    if os.geteuid() != 0:
        return {pwd.getpwuid(os.geteuid()).pw_name: os.geteuid()}
    known = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    return {name: known[name] for name in PEERS if name in known}


def outcome(server: Server, role: str, uid: int) -> str:
    """What a peer login came to: past authentication, or refused by it."""
    attempt = server.attempt(engine.model.encode(role), b"postgres", uid=uid)
    answer = attempt.answer
    if answer.sqlstate == "28000" and answer.message.startswith("Peer authentication failed"):
        return "refused"
    assert answer.sqlstate is None or re.match(r'role ".*" (does not exist|is not permitted to log in)', answer.message), attempt
    return "allowed"


def disagreements(server: Server, hba: bytes, text: bytes, drawn: list[tuple[str, str]]) -> list[str]:
    """Hold ``may_become`` against peer logins for pairs of a system user and a role."""
    assert server.use(hba, text), text
    maps = engine.ident.parse_text(text, engine.described(server))
    judge = engine.ident.UserMaps(maps.mappings, server=engine.described(server), roles=roles(server))
    name = "m" if hba == HBA else None
    uids, wrong = peers(), []
    for system, role in drawn:
        said = judge.may_become(name, system, role)
        seen = outcome(server, role, uids[system])
        if said.outcome != seen:
            wrong.append(f"{text!r} {system} as {role!r}: engine {said}, server {seen}")
    return wrong


@pytest.fixture(autouse=True)
def _closed_again(server: Server) -> object:
    yield
    server.use(b"local all all trust\n")


def written(rng: random.Random, text: str) -> str:
    """A column's value; quoted where it must be, and sometimes where it need not be."""
    if text.startswith('"') or not (set(text) & set(' ,#"') or text.startswith("@") or rng.random() < 0.2):
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def test_random_maps(server: Server) -> None:
    """Random maps, system users and roles."""
    populate(server)
    rng = random.Random(SEED + server.major)
    wrong: list[str] = []
    count = 0
    for _ in range(N // 2):
        lines = [
            f"{rng.choice(MAPS)} {written(rng, rng.choice(SYSTEMS))} {written(rng, rng.choice(TARGETS))}\n"
            for _ in range(rng.randint(1, 4))
        ]
        text = "".join(lines).encode()
        if not server.use(HBA, text):
            target = engine.described(server)
            assert not engine.ident.parse_text(text, target).loads, f"the server refuses {text!r}, the engine would load it"
            continue
        drawn = [(rng.choice(sorted(peers())), rng.choice([role for role in ROLES if role])) for _ in range(10)]
        count += len(drawn)
        wrong += disagreements(server, HBA, text, drawn)
    print(f"\n{server!r}: {count} peer logins through random maps, PGOPS_DIFFERENTIAL_SEED={SEED}", file=sys.stderr)
    assert count >= N // 2
    assert not wrong, f"{len(wrong)} of {count} differ (seed {SEED}):\n" + "\n".join(wrong[:20])


def test_without_a_map(server: Server) -> None:
    """Without ``map=`` both names have to be equal, byte for byte."""
    populate(server)
    drawn = [(system, role) for system in peers() for role in (*ROLES, system, system.upper(), system[:-1]) if role]
    assert not disagreements(server, WITHOUT_MAP, b"m root all\n", drawn)


def test_a_broken_map_keeps_the_old_ones(server: Server) -> None:
    """A pg_ident.conf with an error does not load; the engine says so, and logins go on by the old maps."""
    populate(server)
    system, uid = next(iter(peers().items()))
    assert server.use(HBA, f"m {system} alice\n".encode())
    broken = Case("broken", "ident", b"m only\n")
    assert engine.compare(server, broken) is None
    assert not server.use(HBA, broken.text)
    assert outcome(server, "alice", uid) == "allowed"
