# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""The proof before user name maps are written: would they load, does every expectation hold, does the manager still get in.

Nothing here writes. :meth:`Prover.plan` is what the stores' update loop calls; it raises :class:`hba_common.Refused`.
"""

from __future__ import annotations

import collections
import typing as t

from .._hba import host, ident, ident_effect, plan, together
from .._hba.findings_base import Finding
from .._hba.ident_edits import COLUMNS, IDENT, MappingSpec, rendered
from .._hba.ident_findings import findings
from .._hba.model import Role, Rule, Server
from .._hba.roles import Memberships
from .hba_common import Invalid, Refused, text_of

EXPECTED = (ident.ALLOWED, ident.REFUSED)


class Sentence(t.NamedTuple):
    """Who has proved to be whom, whom it wants to be, and what is expected."""

    map: str
    system_user: str
    user: str | None
    memberships: tuple[str, ...] | None
    expect: str | None


class Own(t.NamedTuple):
    """The connection that manages the server, as far as a map lets it in."""

    map: str
    system_user: str
    user: str


class Policy(t.NamedTuple):
    """What has to be so before anything is written."""

    path: str
    server: Server
    roles: tuple[Role, ...] | None = None
    rules: tuple[Rule, ...] | None = None
    """The server's pg_hba.conf, where it may be read."""
    expect: tuple[Sentence, ...] = ()
    own: Own | None = None
    lockout: str = "refuse"
    validate: bool = True


def sentences(items: t.Sequence[t.Mapping[str, t.Any]] | None) -> tuple[Sentence, ...]:
    """The option ``expect``. Raises :class:`hba_common.Invalid`."""
    found = []
    for number, item in enumerate(items or ()):
        expect, user = item["expect"], item["user"]
        if expect is not None and expect not in EXPECTED:
            raise Invalid(f"expect[{number}].expect: {expect!r} is none of {', '.join(EXPECTED)}")
        if expect is not None and user is None:
            raise Invalid(f"expect[{number}].user: is needed to say what is expected of it")
        for name in ("map", "system_user", "user"):
            if item[name] is not None and (not item[name] or "\0" in item[name] or "\n" in item[name]):
                raise Invalid(f"expect[{number}].{name}: {item[name]!r} is no name")
        memberships = None if item["memberships"] is None else tuple(item["memberships"])
        found.append(Sentence(item["map"], item["system_user"], user, memberships, expect))
    return tuple(found)


class Decision(t.NamedTuple):
    """An answer, and the existing roles that the system user may become (None: roles are not known)."""

    result: ident.MapResult
    roles: tuple[str, ...] | None


class Prover:
    """Requests on one file: plans them, and proves the plan. After :meth:`plan` the results are those of the last plan."""

    def __init__(self, policy: Policy, *requests: plan.Request) -> None:
        self.policy = policy
        self.requests = requests
        self.judges: list[t.Callable[[Prover, ident.IdentFile, ident.IdentFile], None]] = []
        self.warnings: list[str] = []
        self.result: plan.Plan | None = None
        self.before: ident.IdentFile | None = None
        self.after: ident.IdentFile | None = None
        self.changes: tuple[ident_effect.MapChange, ...] = ()
        self.findings: tuple[Finding, ...] = ()
        self.decisions: list[Decision] = []
        self.still_granted: tuple[ident.Mapping, ...] = ()

    def plan(self, raw: bytes) -> plan.Plan:
        """What the file has to become, proved. Raises :class:`hba_common.Refused`, PlanError and InvalidRule."""
        policy = self.policy
        self.warnings = []
        self.result = together.plan_all(raw, self.requests, policy.server, IDENT)
        self.before = self._read(raw)
        self.after = self._read(self.result.after) if self.result.changed else self.before
        self.findings = findings(
            self.after.mappings, server=policy.server, errors=self.after.errors, roles=policy.roles, rules=policy.rules
        )
        sides = (self.before.mappings, self.after.mappings)
        self.changes = ident_effect.changes(*sides, server=policy.server, roles=policy.roles) if self.result.changed else ()
        if not self.before.loads and self.result.changed:
            self.warnings.append(
                "The file as it was would not load, so the server may have other maps in force than access_changes starts from."
            )
        self._judge_load(self.after)
        self._judge_expectations(self.after)
        self._judge_lockout(self.before, self.after)
        for judge in self.judges:
            judge(self, self.before, self.after)
        self._look_for_the_rest(self.before, self.after)
        return self.result

    def _read(self, raw: bytes) -> ident.IdentFile:
        path = self.policy.path
        return ident.load(path, host.Files({path: raw}), self.policy.server)

    def _judge_load(self, after: ident.IdentFile) -> None:
        if after.loads or not self.policy.validate:
            return
        raise Refused(
            f"{self.policy.path}: nothing was written, because PostgreSQL {self.policy.server.major} would not load the result: "
            f"{errors_text(after)}. Correct or remove those lines, or replace the file's content with exclusive"
        )

    def _judge_expectations(self, after: ident.IdentFile) -> None:
        maps = ident.UserMaps(after.mappings, server=self.policy.server, roles=self.policy.roles)
        known = maps.memberships
        self.decisions = []
        for sentence in self.policy.expect:
            maps.memberships = known
            if sentence.memberships is not None:
                maps.memberships = Memberships([*(self.policy.roles or ()), Role(sentence.user or "", False, sentence.memberships)])
            self.decisions.append(self._decide(maps, sentence, after))
        broken = [
            f"{name_of(sentence)}: expected {sentence.expect}, but {outcome_of(decision.result)}{advice(sentence, decision.result)}"
            for sentence, decision in zip(self.policy.expect, self.decisions)
            if sentence.expect is not None and decision.result.outcome != sentence.expect
        ]
        if broken:
            head = f"nothing was written, because {len(broken)} of {len(self.policy.expect)} expectations would not be met"
            raise Refused(f"{self.policy.path}: {head}.\n" + "\n".join(broken))

    def _decide(self, maps: ident.UserMaps, sentence: Sentence, after: ident.IdentFile) -> Decision:
        if not after.loads:
            reason = f"the server would not load the file: {text_of(after.errors[0].message)}"
            return Decision(ident.MapResult(ident.UNDECIDED, None, reason), None)
        roles = None
        if self.policy.roles is not None:
            roles = maps.reachable_roles(sentence.map, sentence.system_user, [role.name for role in self.policy.roles])
        if sentence.user is None:
            reason = "give a user to have it decided"
            return Decision(ident.MapResult(ident.UNDECIDED, None, reason), roles)
        return Decision(maps.may_become(sentence.map, sentence.system_user, sentence.user), roles)

    def _judge_lockout(self, before: ident.IdentFile, after: ident.IdentFile) -> None:
        own, policy = self.policy.own, self.policy
        if own is None or policy.lockout == "ignore":
            return
        was, now = [
            ident.UserMaps(side.mappings, server=policy.server, roles=policy.roles).may_become(own.map, own.system_user, own.user)
            for side in (before, after)
        ]
        if now.outcome == ident.ALLOWED or (now.outcome == ident.UNDECIDED == was.outcome):
            return
        who = f"{own.system_user} as {own.user} by map {own.map}"
        text = f"the connection that manages the server, {who}, is not proved to get in afterwards: {outcome_of(now)}"
        if policy.lockout == "refuse":
            raise Refused(f"{policy.path}: nothing was written, because {text}. Add an entry for it, or set lockout to warn")
        self.warnings.append(text[0].upper() + text[1:])

    def _look_for_the_rest(self, before: ident.IdentFile, after: ident.IdentFile) -> None:
        """Absent is not refused: of what the given entries name, all that other entries still grant."""
        specs: list[MappingSpec] = [spec for request in self.requests if request.state == "absent" for spec in request.rules]
        self.still_granted = ()
        if not specs or not after.loads:
            return
        server = self.policy.server
        left = {ident_effect.identity(mapping, server) for mapping in after.mappings}
        gone = [mapping for mapping in before.mappings if ident_effect.identity(mapping, server) not in left]
        gone += [rendered(spec, server)[1] for spec in specs if spec.system_user is not None and spec.database_user is not None]
        unique = {ident_effect.identity(mapping, server): mapping for mapping in reversed(gone)}
        self.still_granted = ident_effect.still_granted(
            list(reversed(list(unique.values()))), after.mappings, server=server, roles=self.policy.roles
        )
        self.warnings += [still_granted_text(mapping) for mapping in self.still_granted]


def errors_text(file: ident.IdentFile) -> str:
    """Why a file does not load, in a sentence."""
    lines = [f"{f'line {error.line}: ' if error.line else ''}{text_of(error.message)}" for error in file.errors[:5]]
    return "; ".join(lines) + (f" and {len(file.errors) - 5} more" if len(file.errors) > 5 else "")


def still_granted_text(mapping: ident.Mapping) -> str:
    """One sentence about an entry that is gone while others say the same."""
    return text_of(f"By another entry of map {mapping.map_name}, {mapping.system_user.text} may still become {mapping.role.text}")


def name_of(sentence: Sentence) -> str:
    """Whom a sentence is about."""
    return f"{sentence.system_user} as {sentence.user} by map {sentence.map}"


def outcome_of(result: ident.MapResult) -> str:
    """What happens, and by which line, in a sentence."""
    mapping = result.mapping
    where = "" if mapping is None else f" (line {mapping.line} of {text_of(mapping.file)}: {text_of(mapping.raw.strip())})"
    if result.outcome == ident.UNDECIDED:
        return f"it cannot be told{where}: {text_of(result.reason)}"
    if result.outcome == ident.REFUSED:
        return f"it is refused{where}: {text_of(result.reason)}"
    return f"it is allowed{where}"


def advice(sentence: Sentence, result: ident.MapResult) -> str:
    """Which entry would help."""
    if result.outcome == ident.UNDECIDED or result.mapping is not None:
        return ""
    return f". This entry would help: {{map: {sentence.map}, system_user: {sentence.system_user}, database_user: {sentence.user}}}"


def shown(prover: Prover, limit: int | None = None) -> dict[str, t.Any]:
    """What the module returns of a plan, whether it was made or refused; of long lists the first ``limit`` entries."""
    policy, result, after = prover.policy, prover.result, prover.after
    rows = [] if after is None else list(zip(after.rows, after.view_rows(policy.server)))
    edits = result.edits if result is not None else ()
    return {
        "access_changes": [{name: _plain(value) for name, value in change.as_dict().items()} for change in prover.changes[:limit]],
        "findings": [finding.as_dict() for finding in prover.findings[:limit]],
        "decisions": [_shown_decision(*pair) for pair in zip(policy.expect, prover.decisions)],
        "rules": [
            {name: _plain(value) for name, value in {**row, "file_name": read.file, "text": read.raw}.items()} for read, row in rows[:limit]
        ],
        "edits": [{name: _plain(value) for name, value in edit._asdict().items()} for edit in edits[:limit]],
        "counts": {
            "access_changes": dict(collections.Counter([change.change for change in prover.changes])),
            "findings": dict(collections.Counter([finding.severity for finding in prover.findings])),
            "rules": len(rows),
            "edits": len(edits),
        },
        "still_granted": [
            {
                **dict(zip(COLUMNS, (text_of(mapping.map_name), text_of(mapping.system_user.text), text_of(mapping.role.text)))),
                "text": still_granted_text(mapping),
            }
            for mapping in prover.still_granted
        ],
    }


def _shown_decision(sentence: Sentence, decision: Decision) -> dict[str, t.Any]:
    result, mapping = decision.result, decision.result.mapping
    return {
        "map": sentence.map,
        "system_user": sentence.system_user,
        "user": sentence.user,
        "expect": sentence.expect,
        "met": None if sentence.expect is None else result.outcome == sentence.expect,
        "outcome": result.outcome,
        "reason": text_of(result.reason) or None,
        "file_name": None if mapping is None else text_of(mapping.file),
        "line_number": None if mapping is None else mapping.line,
        "text": None if mapping is None else text_of(mapping.raw),
        "roles": None if decision.roles is None else [text_of(role) for role in decision.roles],
    }


def _plain(value: t.Any) -> t.Any:
    return text_of(value) if isinstance(value, str) else value
