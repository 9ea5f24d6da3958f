# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long an audit takes: every role held against every rule that it can hit. Prints the table rows of docs/bench.md.

Three shapes: rules for names and groups and networks as people write them; the same with a third of regular expressions (16 and later);
and the worst that names can do, every role matched by rules in its own way.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from plugins.module_utils._auth import planner, verifier  # noqa: E402
from plugins.module_utils._hba import ruleset  # noqa: E402
from plugins.module_utils._hba.model import Role, Server  # noqa: E402

METHODS = ("md5", "md5", "scram-sha-256", "password", "reject", "peer")
SERVER = Server(16)


def mixed(rules: int, chance: random.Random, roles: int, patterns: int = 0) -> str:
    """Rules for names, groups and everybody, from networks of all sizes."""
    lines = ["local all postgres peer"]
    for number in range(rules - 1):
        user = chance.choice([f"role{chance.randrange(roles)}", f"+group{chance.randrange(50)}", "all"])
        if number < patterns:
            user = f"/^role{number}[0-9]*$"
        network = f"10.{chance.randrange(256)}.{chance.randrange(256)}.0/{chance.choice((8, 16, 24))}"
        database = chance.choice(["all", f"db{chance.randrange(100)}", "sameuser"])
        lines.append(f"host {database} {user} {network} {chance.choice(METHODS[:5])}")
    return "\n".join(lines) + "\n"


def own(rules: int, chance: random.Random, roles: int) -> str:
    """Half of the rules for everybody, each of the others for ten roles of its own."""
    lines = []
    for number in range(rules):
        names = ",".join(f"role{chance.randrange(roles)}" for _unused in range(10))
        user = "all" if number % 2 else names
        lines.append(f"host all {user} 10.{number % 256}.{number // 256}.0/24 md5")
    return "\n".join(lines) + "\n"


def people(roles: int, chance: random.Random) -> tuple[list[planner.Login], list[Role]]:
    """Roles in three groups each, a third with md5."""
    kinds = [verifier.parse(verifier.make("x", 1)), verifier.parse(verifier.make_md5("x", "role")), verifier.parse(None)]
    logins = [planner.Login(f"role{number}", verifier=chance.choice(kinds)) for number in range(roles)]
    groups = [tuple(f"group{chance.randrange(50)}" for _unused in range(3)) for _login in logins]
    return logins, [Role(login.name, False, group) for login, group in zip(logins, groups)]


def measure(title: str, text: str, roles: int, chance: random.Random) -> None:
    logins, known = people(roles, chance)
    rules = ruleset.parse_text(text.encode(), SERVER)
    assert rules.loads, rules.errors[:3]
    started = time.process_time()
    audit = planner.audit(rules.rules, logins, known, SERVER, planner.Request(("md5", "password"), "scram-sha-256"))
    seconds = time.process_time() - started
    held = len(audit.with_state(planner.HELD_BACK))
    reached = sum(len(verdict.rules) for verdict in audit.roles) // roles
    print(
        f"| audit, {roles:,} roles and {len(rules.rules):,} rules, {title} | {seconds:.2f} s | {held} held back, {reached} rules a role |",
        flush=True,
    )


def main() -> None:
    for roles, rules in ((1000, 100), (10000, 1000)):
        chance = random.Random(1)
        measure("mixed", mixed(rules, chance, roles), roles, chance)
        measure("a third regular expressions", mixed(rules, chance, roles, rules // 3), roles, chance)
        measure("every role its own way", own(rules, chance, roles), roles, chance)


if __name__ == "__main__":
    main()
