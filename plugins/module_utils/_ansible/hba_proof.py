# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""The proof before a write: would it load, does every expectation hold, does the manager still get in, and what changes for whom.

Nothing here writes. :meth:`Prover.plan` is what the stores' update loop calls; it raises :class:`Refused`, and then nothing is written.
"""

from __future__ import annotations

import collections
import typing as t

from .._hba import host, plan, ruleset, together
from .._hba.findings import Finding, findings
from .._hba.model import Client, Role, Rule, Server, Token, decode
from .._hba.render import rendered
from .._hba.spec import RuleSpec, spec_from_dict, spec_from_line
from . import hba_common
from .hba_common import Refused, Sentence

if t.TYPE_CHECKING:
    from .._hba import decide
    from .._hba.access_change import AccessChange

_TYPES = {"local": "local", "tcp": "hostnossl", "tls": "hostssl", "gss": "hostgssenc"}


class Policy(t.NamedTuple):
    """What has to be so before anything is written."""

    path: str
    server: Server
    roles: tuple[Role, ...] | None = None
    expect: tuple[Sentence, ...] = ()
    own: Client | None = None
    """The connection that manages the server, when there is one."""
    certificate: bool = False
    """Whether it has a client certificate to show."""
    lockout: str = "refuse"
    validate: bool = True
    interfaces: tuple[tuple[int, int, int], ...] | None = None
    """The server's, when they are known to be this machine's."""


def specs_of(rules: t.Any, server: Server, *, absent: bool, option: str = "rules") -> tuple[RuleSpec, ...]:
    """The option ``rules``. Raises InvalidRule, Invalid."""
    return hba_common.wanted(
        rules,
        lambda item, where: spec_from_dict(item, server, where, absent=absent),
        lambda item, where: spec_from_line(item, server, where, absent=absent),
        option,
    )


class Prover:
    """Requests on one file: plans them, and proves the plan. After :meth:`plan` the results are those of the last plan."""

    def __init__(self, policy: Policy, *requests: plan.Request) -> None:
        self.policy = policy
        self.requests = requests
        self.judges: list[t.Callable[[Prover, ruleset.Ruleset, ruleset.Ruleset], None]] = []
        self.warnings: list[str] = []
        self.result: plan.Plan | None = None
        self.before: ruleset.Ruleset | None = None
        self.after: ruleset.Ruleset | None = None
        self.changes: tuple[AccessChange, ...] | None = None
        self.findings: tuple[Finding, ...] = ()
        self.decisions: list[decide.Decision] = []
        self.still_granted: tuple[AccessChange, ...] = ()

    def _planned(self, raw: bytes) -> plan.Plan:
        """The plan, before it is proved; who changes a file in another way says so here."""
        return together.plan_all(raw, self.requests, self.policy.server)

    def plan(self, raw: bytes) -> plan.Plan:
        """What the file has to become, proved. Raises :class:`Refused`, PlanError and InvalidRule."""
        policy = self.policy
        self.warnings = []
        self.result = self._planned(raw)
        self.before = self._read(raw)
        self.after = self._read(self.result.after) if self.result.changed else self.before
        texts = {policy.path: self.result.after}
        self.findings = findings(self.after.rules, server=policy.server, errors=self.after.errors, roles=policy.roles, texts=texts)
        self.changes = self._effect(self.before.rules, self.after.rules) if self.result.changed else ()
        if raw and not self.before.loads and self.result.changed:
            self.warnings.append(
                "The file as it was would not load, so the server may have other rules in force than access_changes starts from."
            )
        self._judge_load(self.after)
        self._judge_expectations(self.after)
        self.judge_lockout(self.before, self.after)
        for judge in self.judges:
            judge(self, self.before, self.after)
        self._look_for_the_rest(self.after)
        return self.result

    def _read(self, raw: bytes) -> ruleset.Ruleset:
        path = self.policy.path
        return ruleset.load(path, host.Files({path: raw}), self.policy.server)

    def _effect(self, before: t.Sequence[Rule], after: t.Sequence[Rule]) -> tuple[AccessChange, ...] | None:
        from .._hba import effect  # noqa: PLC0415 - only a change pays for the import

        try:
            return effect.effect(before, after, server=self.policy.server, roles=self.policy.roles)
        except effect.EffectTooComplex as problem:
            self.warnings.append(f"What changes for clients cannot be told completely, so access_changes is null: {problem}")
            return None

    def _judge_load(self, after: ruleset.Ruleset) -> None:
        if after.loads or not self.policy.validate:
            return
        raise Refused(
            f"{self.policy.path}: nothing was written, because PostgreSQL {self.policy.server.major} would not load the result: "
            f"{errors_text(after)}. Correct or remove those lines, or replace the file's content with exclusive"
        )

    def _judge_expectations(self, after: ruleset.Ruleset) -> None:
        self.decisions = []
        if not self.policy.expect:
            return
        from .._hba import decide  # noqa: PLC0415 - only an expectation pays for the import

        self.decisions = self._decide(after, [sentence.client for sentence in self.policy.expect])
        broken = [
            f"{hba_common.name_of(sentence.client)}: expected {sentence.expect}, but {hba_common.outcome_of(decision)}"
            f"{self._advice(sentence, decision)}"
            for sentence, decision in zip(self.policy.expect, self.decisions)
            if sentence.expect is not None and not decide.meets(decision, sentence.expect)
        ]
        if broken:
            head = f"nothing was written, because {len(broken)} of {len(self.policy.expect)} expectations would not be met"
            raise Refused(f"{self.policy.path}: {head}.\n" + "\n".join(broken))

    def _decide(self, rules: ruleset.Ruleset, clients: t.Sequence[Client]) -> list[decide.Decision]:
        from .._hba import decide  # noqa: PLC0415 - as above

        if not rules.loads:
            reason = f"the server would not load the file: {hba_common.text_of(rules.errors[0].message)}"
            return [decide.Decision(decide.UNDECIDED, reason=reason) for _unused in clients]
        policy = self.policy
        return hba_common.decider(rules.rules, policy.server, policy.roles, policy.interfaces).decide_all(clients, explain=False)

    def _advice(self, sentence: Sentence, decision: decide.Decision) -> str:
        """Which rule would help, and where."""
        from .._hba import decide  # noqa: PLC0415 - as above

        expect, rule = sentence.expect or "", decision.rule
        where = "" if rule is None else f" above line {rule.line} of {rule.file}"
        if decision.outcome == decide.UNDECIDED:
            return ""
        if expect == decide.NO_ENTRY:
            return f". It would be so without line {t.cast(Rule, rule).line}, if no later rule matches"
        client = sentence.client
        method = "reject" if expect in ("refused", decide.REJECTED) else expect
        if expect == "allowed":
            method = "peer" if client.transport == "local" else "scram-sha-256"
        database = Token("replication") if client.replication else Token(client.database or client.user, True)
        address = None if client.address is None else Token(f"{client.address}/{128 if ':' in client.address else 32}")
        spec = RuleSpec(_TYPES[client.transport], (database,), (Token(client.user, True),), address, None, method)
        try:
            return f". This rule{where} would help: {' '.join(hba_common.text_of(rendered(spec, self.policy.server)[0]).split())}"
        except ValueError:
            return ""  # what is expected cannot be for such a client, as cert without TLS

    def judge_lockout(self, before: ruleset.Ruleset, after: ruleset.Ruleset) -> None:
        """The connection that manages the server has to get in afterwards. Raises Refused."""
        own = self.policy.own
        if own is None or self.policy.lockout == "ignore":
            return
        from .._hba import decide  # noqa: PLC0415 - as above

        now = self._decide(after, [own])[0]
        was = self._decide(before, [own])[0]
        if now.outcome == was.outcome == decide.UNDECIDED and was.rule and now.rule and was.rule.raw == now.rule.raw:
            return  # as little known as before: this change does not touch it
        without = hba_common.asks_for_certificate(now) and not hba_common.asks_for_certificate(was) and not self.policy.certificate
        if now.outcome not in (decide.UNDECIDED, decide.REJECTED, decide.NO_ENTRY) and not without:
            if was.outcome != now.outcome:
                self.warnings.append(
                    f"The connection that manages the server, {hba_common.name_of(own)},"
                    f" changes its method from {was.outcome} to {now.outcome}."
                )
            return
        text = f"the connection that manages the server, {hba_common.name_of(own)}, is not proved to get in afterwards: "
        text += hba_common.outcome_of(now) + (", which asks for a client certificate, and ssl_cert gives none" if without else "")
        if self.policy.lockout == "refuse":
            raise Refused(f"{self.policy.path}: nothing was written, because {text}. Add a rule for it, or set lockout to warn")
        self.warnings.append(text[0].upper() + text[1:])

    def _look_for_the_rest(self, after: ruleset.Ruleset) -> None:
        """Absent is not refused: whom other rules still let in, of those that the given rules are about."""
        self.still_granted = ()
        if not after.loads:
            return
        gone = [
            rendered(spec._replace(method="reject", options=()), self.policy.server)[1]
            for request in self.requests
            if request.state == "absent"
            for spec in request.rules
            if spec.method != "reject"
        ]
        found = self._effect([*gone, *after.rules], after.rules) if gone else ()
        self.still_granted = tuple([change for change in found or () if change.change == "gains"])
        for change in self.still_granted:
            self.warnings.append(still_granted_text(change))


def errors_text(rules: ruleset.Ruleset) -> str:
    """Why a file does not load, in a sentence."""
    lines = [f"{f'line {error.line}: ' if error.line else ''}{hba_common.text_of(error.message)}" for error in rules.errors[:5]]
    return "; ".join(lines) + (f" and {len(rules.errors) - 5} more" if len(rules.errors) > 5 else "")


def still_granted_text(change: AccessChange) -> str:
    """One sentence about clients whose entry is gone and who get in by another."""
    return "Access is still granted by another rule" + change.describe().partition("gains access")[2].partition("; before:")[0]


def shown(prover: Prover, limit: int | None = None) -> dict[str, t.Any]:
    """What a module returns of a plan, whether it was made or refused; of the long lists the first ``limit`` entries, and how many all are.

    What is returned passes through Ansible a dozen times, which for 10,000 rules takes longer than to plan and prove them.
    """
    policy, result = prover.policy, prover.result
    edits = result.edits if result is not None else ()
    rows = prover.after.rows if prover.after is not None else ()
    changes = prover.changes
    return {
        "access_changes": None if changes is None else [change.as_dict() for change in changes[:limit]],
        "findings": [finding.as_dict() for finding in prover.findings[:limit]],
        "decisions": [
            hba_common.shown_decision(sentence, decision, why_not=False) for sentence, decision in zip(policy.expect, prover.decisions)
        ],
        "rules": hba_common.shown_rows(rows[:limit], policy.server),
        "edits": [
            {
                **edit._asdict(),
                "before": None if edit.before is None else hba_common.text_of(hba_common.masked_line(edit.before)),
                "after": None if edit.after is None else hba_common.text_of(hba_common.masked_line(edit.after)),
            }
            for edit in edits[:limit]
        ],
        "counts": {
            "access_changes": None if changes is None else dict(collections.Counter([change.change for change in changes])),
            "findings": dict(collections.Counter([finding.severity for finding in prover.findings])),
            "rules": len(rows),
            "edits": len(edits),
        },
        "still_granted": [
            {
                **{name: value for name, value in change.as_dict().items() if name not in ("before", "change")},
                "text": still_granted_text(change),
            }
            for change in prover.still_granted
        ],
    }


def path_text(path: str) -> str:
    """A path as the engine's text."""
    return decode(path.encode("utf-8", "surrogateescape"))
