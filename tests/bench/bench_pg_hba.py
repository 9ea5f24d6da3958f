# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long `pg_hba` takes, with full proof, beside community.postgresql's `postgresql_pg_hba`, in one run on the same files.

    python tests/bench/bench_pg_hba.py [--sizes 10,100,1000,10000] [--rounds 5] [--server-bin /usr/lib/postgresql/15/bin] [--playbooks]

A module is measured as the process that runs on a target: Ansible's own package of module and arguments (AnsiballZ), made once before
the clock starts, run by this Python. The third column is a module that does nothing with the same arguments: what Ansible itself takes.
``--playbooks`` measures whole `ansible-playbook` runs as well. The two take turns. Seconds of wall time and of processor time, minimum and
median; ratios are of the minima of processor time. After every first run the file is read by a server (or, without one, by our reader,
which is said), and both tools must have made the very rules that were asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from ansible.plugins.loader import init_plugin_loader

init_plugin_loader()  # before any collection is imported: Ansible's own importer has to find them, to package them
# ruff: noqa: E402

from ansible.executor import module_common
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import module_loader
from ansible.template import Templar
from ansible_collections.pgops.access.plugins.module_utils._hba import ruleset
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Server
from bench_engine import OwnServer, exponent, machine

OURS, PEER, NOTHING = "pg_hba", "peer", "nothing"
MODULES = {OURS: "pgops.access.pg_hba", PEER: "community.postgresql.postgresql_pg_hba"}
LONG = 5.0
"""Seconds after which one round has to do."""
QUADRATIC = {"one key": 1000, "mixed": 10_000, "customers": 10_000}
"""Above so many rules the peer is not asked to make them in one task: its time grows with their square."""
NO_OP = """
from ansible.module_utils.basic import AnsibleModule
AnsibleModule(argument_spec={"rules": {"type": "raw"}}).exit_json(changed=False)
"""
Rule = t.Dict[str, str]


def rules_of(kind: str, size: int) -> list[Rule]:
    """``mixed``: 100 databases, 200 users, two record types, no order. ``customers``: 50 databases, each with a user of its own, whose
    networks came one after the other. ``one key``: one database and user, sorted. No network repeats.

    The peer sorts a file that it adds to, which is quick where it is sorted already. It holds each given rule against every rule that is
    there, by type, user and database, and only where all are equal by network, which takes it longest. One pair of two hundred has the same
    user in ``mixed``, one of fifty the same user and database in ``customers``, every pair in ``one key``.
    """
    found: list[Rule] = []
    for place in range(size):
        number = place
        one = {"type": "host", "databases": "orders", "users": "app", "method": "scram-sha-256"}
        if kind == "mixed":
            mixed = number * 2654435761 % 2**32  # Knuth's multiplicative hash: spread, and the same on every run
            one.update(databases=f"db{mixed % 100}", users=f"app{mixed // 100 % 200}", type="hostssl" if mixed % 4 == 0 else "host")
        if kind == "customers":
            one.update(databases=f"customer{place % 50}", users=f"customer{place % 50}")
        if kind != "one key":
            number = number * 40503 % 65536  # odd, so no two numbers below 65536 become one
        found.append({**one, "address": f"10.{number >> 8}.{number & 255}.0/24"})
    return found


ADDED: Rule = {"type": "host", "databases": "reports", "users": "auditor", "address": "192.168.7.0/24", "method": "scram-sha-256"}


def text_of(rules: list[Rule]) -> bytes:
    return "".join(" ".join([rule[name] for name in ("type", "databases", "users", "address", "method")]) + "\n" for rule in rules).encode()


class Case(t.NamedTuple):
    """One thing to do with one file."""

    kind: str
    work: str
    size: int
    before: list[Rule]
    given: list[Rule]
    after: list[Rule]

    def arguments(self, who: str, path: Path) -> dict[str, t.Any]:
        if who == OURS:
            return {"path": str(path), "postgres_version": "15", "rules": self.given}
        names = {"type": "contype", "address": "source"}
        rules = [{names.get(name, name): value for name, value in rule.items()} for rule in self.given]
        if who == NOTHING:
            return {"rules": rules}
        sort = {} if self.work != "add one" else {"sort_rules": False}
        return {"dest": str(path), "rules": rules, **sort}


def cases(sizes: list[int]) -> list[Case]:
    found = []
    for kind in ("mixed", "customers", "one key"):
        for size in sizes:
            rules = rules_of(kind, size)
            found.append(Case(kind, "add one", size, rules, [ADDED], [*rules, ADDED]))
            found.append(Case(kind, "add one, peer sorts", size, rules, [ADDED], [*rules, ADDED]))
            if size <= QUADRATIC[kind]:
                found.append(Case(kind, "all in one task", size, [], rules, rules))
            if size <= min(1000, QUADRATIC[kind]):
                found.append(Case(kind, "all again", size, rules, rules, rules))
    return found


# --- what is run -------------------------------------------------------------------------------------------------------


class Workshop:
    """Makes commands in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = {"ansible_python_interpreter": sys.executable}
        self.templar = Templar(DataLoader(), variables=self.python)
        (folder / "nothing.py").write_text(NO_OP)

    def module(self, who: str, case: Case, path: Path) -> list[str]:
        """The process on the target: Ansible's package of the module with its arguments."""
        source = self.folder / "nothing.py"
        if who != NOTHING:
            source = Path(module_loader.find_plugin_with_context(MODULES[who]).plugin_resolved_path)
        made = module_common.modify_module(
            module_name=MODULES.get(who, who),
            module_path=str(source),
            module_args=case.arguments(who, path),
            templar=self.templar,
            task_vars=self.python,
            module_compression="ZIP_DEFLATED",
        )
        package = self.folder / f"{who}.module.py"
        package.write_bytes(made.b_module_data)
        return [sys.executable, str(package)]

    def playbook(self, who: str, case: Case, path: Path) -> list[str]:
        """The whole run, from the command on."""
        task = {MODULES[who]: case.arguments(who, path)}
        play = {"hosts": "localhost", "gather_facts": False, "vars": self.python, "tasks": [task]}
        book = self.folder / f"{who}.yml"
        book.write_text(json.dumps([play]))
        return [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", str(book)]


class Times(t.NamedTuple):
    """Seconds of one process with its children."""

    wall: float
    cpu: float


def run(command: list[str]) -> Times:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False, timeout=600)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{command[-1]} failed: {(done.stdout + done.stderr)[-2000:].decode('utf-8', 'replace')}")
    return Times(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measure(workshop: Workshop, case: Case, rounds: int, judge: Judge, how: str) -> dict[str, list[Times]]:
    """Rounds that take turns; one that was long has not to be run again."""
    path = workshop.folder / "pg_hba.conf"
    who = (PEER, OURS, NOTHING) if how == "module" else (PEER, OURS)
    commands = {name: getattr(workshop, how)(name, case, path) for name in who}
    found: dict[str, list[Times]] = {name: [] for name in who}
    for turn in range(rounds):
        for name, command in commands.items():
            if found[name] and found[name][-1].wall > LONG:
                continue
            path.write_bytes(text_of(case.before))
            found[name].append(run(command))
            if not turn and name != NOTHING:
                judge.check(name, case, path.read_bytes())
    return found


class Judge:
    """Whether a file holds exactly the rules that were asked for, by a server's own reading where there is one."""

    def __init__(self, server: OwnServer | None) -> None:
        self.server = server

    def check(self, who: str, case: Case, raw: bytes) -> None:
        wanted, made = self._read(text_of(case.after)), self._read(raw)
        ordered = who == OURS
        if (made if ordered else sorted(made)) != (wanted if ordered else sorted(wanted)):
            raise SystemExit(f"{who} made other rules than the ones asked for: {case.kind}, {case.work}, {case.size}")

    def _read(self, raw: bytes) -> list[str]:
        if self.server is not None:
            return self.server.rules(raw)
        read = ruleset.parse_text(raw, Server(15))
        if not read.loads:
            return [str(read.errors)]
        return [str((rule.type, rule.databases, rule.users, rule.address, rule.method)) for rule in read.rules]


# --- the table ---------------------------------------------------------------------------------------------------------


def shown(times: list[Times] | None) -> list[str]:
    if not times:
        return ["-", "-"]
    return [f"{min(values):.2f} / {statistics.median(values):.2f}" for values in ([one.wall for one in times], [one.cpu for one in times])]


def line(case: Case, how: str, found: dict[str, list[Times]]) -> str:
    cpu = {name: min(one.cpu for one in times) for name, times in found.items()}
    cells = [f"{case.work}, {how}", case.kind, f"{case.size:,}", *shown(found[PEER]), *shown(found[OURS]), *shown(found.get(NOTHING))]
    return "| " + " | ".join([*cells, f"{cpu[PEER] / cpu[OURS]:.2f}"]) + " |"


HEAD = """| what | rules | size | peer, wall | cpu | pg_hba, wall | cpu | nothing, wall | cpu | peer / pg_hba |
|---|---|---|---|---|---|---|---|---|---|"""


def growths(results: dict[tuple[str, str, int], dict[str, list[Times]]]) -> t.Iterator[str]:
    """Exponents between the two largest sizes, of the processor time above that of the smallest."""
    for kind, work in dict.fromkeys(key[:2] for key in results):
        for who in (PEER, OURS):
            times = sorted((size, min(one.cpu for one in found[who])) for (*key, size), found in results.items() if key == [kind, work])
            if len(times) > 2:
                above = [(size, cpu - times[0][1]) for size, cpu in times[-2:]]
                if above[0][1] > 0.02:
                    yield f"growth of {who}, {work}, {kind}: {exponent(above[0], above[1]):.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--sizes", default="10,100,1000,10000", help="comma list of numbers of rules")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--server-bin", type=Path, help="folder with initdb, pg_ctl, postgres and psql")
    parser.add_argument("--playbooks", action="store_true", help="whole ansible-playbook runs, too")
    args = parser.parse_args()
    sizes = sorted({int(size) for size in args.sizes.split(",")})
    server = OwnServer(args.server_bin) if args.server_bin else None
    print(machine(), flush=True)
    print(f"results read by {server.version() if server else 'our own reader'}\n\n{HEAD}", flush=True)
    results: dict[str, dict[tuple[str, str, int], dict[str, list[Times]]]] = {"module": {}, "playbook": {}}
    try:
        with tempfile.TemporaryDirectory(prefix="pgops-bench-") as folder:
            workshop, judge = Workshop(Path(folder)), Judge(server)
            for how in ("module", "playbook") if args.playbooks else ("module",):
                for case in cases(sizes):
                    if how == "playbook" and (case.kind == "one key" or case.work not in ("add one, peer sorts", "all in one task")):
                        continue
                    found = measure(workshop, case, args.rounds, judge, how)
                    results[how][case.kind, case.work, case.size] = found
                    print(line(case, how, found), flush=True)
    finally:
        if server is not None:
            server.stop()
    print("\n" + "\n".join(growths(results["module"])))
    print(f"\n(seconds, minimum / median; load at the end {os.getloadavg()[0]:.1f})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
