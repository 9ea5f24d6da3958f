# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""pg_auth_method at work: audit, or plan, prove, apply and verify a move from one method to another.

Nothing is changed before everything is checked: privileges, what the target method needs, every given password against what is stored,
poolers, and the proof of the rules as they will be. Then, in an order in which every step leaves all clients where they were: new
passwords will be SCRAM (``password_encryption``); the given ones are (one transaction; md5 rules take SCRAM verifiers); the rules whose
every reachable role is ready change (file by file, each proved, loaded or put back). A run that was cut off is continued by the next.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

from .._auth import planner, verifier
from .._auth.planner import Audit, Login
from .._hba import flip, host, plan, ruleset, view
from .._hba.access_change import AccessChange
from .._hba.document import Document
from .._hba.model import Rule
from .._server import loaded, passwords, session
from .._server.facts import ask, translated
from .._store import base
from . import auth_method_report as report
from . import hba_common, hba_proof
from . import manage as managed
from .arguments import connection_parameters
from .auth_method import Inquiry
from .auth_method_logins import Place, Trial, mismatches, places
from .hba_common import Invalid, Refused
from .run import Result

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

MOST_CHANGES = 100
"""Rules that change at once for which access_changes is told: the engine takes about a second for so many, minutes for ten times that."""


def manage(module: AnsibleModule) -> Result:
    """Audits or migrates; see RETURN."""
    given = module.params["options"]
    module.no_log_values.update(hba_common.secrets_in([{"options": {name: str(value) for name, value in given.items()}}]))
    with contextlib.ExitStack() as stack:
        if module.params["state"] == "audited":
            with translated("while roles and rules were audited"):
                return _audited(module, stack)
        for name, option in managed.options().items():  # what a managed file could be told and this one is not
            module.params.setdefault(name, option.get("default"))
        module.params["reload"] = True
        shared = Shared()
        if module.params["patroni"] is None:
            return Migration(module, stack, shared, File(module, stack, shared)).run()
        from .auth_method_cluster import migration  # noqa: PLC0415 (a file's task does not pay for it)

        return migration(module, stack, shared).run()


def _audited(module: AnsibleModule, stack: contextlib.ExitStack) -> Result:
    if module.params["patroni"] is None:
        connection = stack.enter_context(session.session("to audit roles and rules", connection_parameters(module.params)))
    else:
        from .auth_method_cluster import leader  # noqa: PLC0415

        connection = leader(module, stack)
    inquiry = Inquiry(module.params, connection, ask(connection))
    rules, path = inquiry.rules()
    audit = inquiry.audit(rules.rules)
    result: Result = {"changed": False, "path": path, **_shown(inquiry, audit)}
    return _judged(module, result, audit)


def _shown(inquiry: Inquiry, audit: Audit, coming: t.Container[str] = ()) -> Result:
    """What both states return."""
    logs = inquiry.logs()
    return {
        "postgres_version": inquiry.facts.version,
        "password_encryption": inquiry.policy.encryption,
        "requirements": inquiry.problems(),
        "roles": report.shown_roles(audit, logs, inquiry.params["result_limit"]),
        "rules": report.shown_rules(audit, inquiry.params["result_limit"]),
        "summary": report.summary(audit),
        "findings": [finding.as_dict() for finding in inquiry.advice(audit, logs, coming)],
        "table": report.table(audit, logs, inquiry.request.to),
    }


def _judged(module: AnsibleModule, result: Result, audit: Audit) -> Result:
    held = [*audit.with_state(planner.HELD_BACK), *audit.with_state(planner.IMPOSSIBLE)]
    if held and module.params["fail_on"] == "held_back":
        waiting = [f"line {one.rule.line}: {', '.join(one.held_by[:5]) or one.reason}" for one in held[:10]]
        result["failed"] = True
        result["msg"] = f"{len(held)} rules are held back.\n" + "\n".join(waiting)
    return result


# ------------------------------------------------------------------------------------------------------------------------ the rules


class Prover(hba_proof.Prover):
    """Changes the methods of the rules that are ready, in one file; ``main`` is the file that includes it, or is it."""

    def __init__(self, policy: hba_proof.Policy, main: str, audit: t.Callable[[ruleset.Ruleset], Audit]) -> None:
        super().__init__(policy)
        self._main, self._audit = main, audit
        self.moved: tuple[planner.RuleVerdict, ...] = ()

    def _planned(self, raw: bytes) -> plan.Plan:
        rules = self._read(raw)
        if not rules.loads:
            raise Refused(f"{self.policy.path}: nothing was written, because the rules as they are would not load", self)
        ready = [verdict for verdict in self._audit(rules).with_state(planner.READY) if verdict.rule.file == self.policy.path]
        self.moved = tuple(ready)
        to = {verdict.rule.line: (self._method, verdict.options) for verdict in ready}
        return flip.change_methods(Document.parse(raw, self.policy.server), to)

    def _effect(self, before: t.Sequence[Rule], after: t.Sequence[Rule]) -> tuple[AccessChange, ...] | None:
        """Rules keep their places and clients, so roles and rules tell what changes; the engine's answer grows faster than they do."""
        if len(self.moved) <= MOST_CHANGES:
            return super()._effect(before, after)
        self.warnings.append(
            f"access_changes is null, as {len(self.moved)} rules change at once; rules and roles tell what changes for whom."
        )
        return None

    _method = ""

    def towards(self, method: str) -> Prover:
        """The same, knowing the target method."""
        self._method = method
        return self

    def _read(self, raw: bytes) -> ruleset.Ruleset:
        return ruleset.load(self._main, host.Files({self.policy.path: raw}), self.policy.server)


class Shared:
    """What the files of one migration have in common; filled in once the first session is there."""

    inquiry: Inquiry
    logins: tuple[Login, ...] = ()
    """Roles as they are, or as they will be once the given passwords are stored."""
    trial: Trial | None = None

    def audit(self, rules: ruleset.Ruleset) -> Audit:
        return self.inquiry.audit(rules.rules, self.logins)


class File(managed.Task[Prover]):
    """One file under the same sequence as pg_hba. ``edited``: a file that the main file includes; None: the main file."""

    kind = loaded.HBA
    knows_passwords = True

    def __init__(self, module: AnsibleModule, stack: contextlib.ExitStack, shared: Shared, edited: str | None = None) -> None:
        self.shared, self.edited, self.main = shared, edited, ""
        super().__init__(module, stack)

    def _path(self) -> str:
        self.main = super()._path()
        return self.main if self.edited is None else self.edited

    def make_prover(self) -> Prover:
        params, facts = self.params, self.facts
        policy = hba_proof.Policy(
            path=hba_proof.path_text(self.path),
            server=self.server,
            roles=None if facts is None else facts.roles,
            expect=tuple(hba_common.sentences(params["expect"], "expect")),
            own=None if facts is None else facts.client,
            certificate=bool(params["ssl_cert"]),
            lockout=params["lockout"],
            interfaces=None if facts is None else facts.interfaces,
        )
        return Prover(policy, hba_proof.path_text(self.main), self.shared.audit).towards(params["to"])

    def expected(self, after: bool) -> loaded.Expected:
        made = t.cast(plan.Plan, self.prover.result)
        rules = t.cast(ruleset.Ruleset, self.prover.after if after else self.prover.before)
        rows = t.cast("loaded.Rows", view.hba_rows(rules.rows, self.server))
        content = made.after if after else made.before
        if self.edited is not None:
            with open(self.main, "rb") as file:
                content = file.read()
        return loaded.Expected(content, rows, "" if rules.loads else hba_proof.errors_text(rules))

    def proved(self) -> Result:
        found = hba_proof.shown(self.prover, self.params["result_limit"] or None)
        return {name: found[name] for name in ("access_changes", "edits", "decisions")}

    def masked(self, raw: bytes) -> str:
        return hba_common.masked(raw, self.server)

    def _check_same_file(self) -> None:
        if self.edited is None:
            super()._check_same_file()

    def _verify(self, outcome: base.Outcome[plan.Plan]) -> tuple[base.Outcome[plan.Plan], loaded.Proof]:
        """After the reload, roles whose passwords are known log in by the rules that have changed; else the old rules come back."""
        found = super()._verify(outcome)
        self._try_logins()
        return found

    def _try_logins(self) -> None:
        """Raise NotLoaded when a login by a changed rule fails that should not."""
        trial, rules = self.shared.trial, self.prover.after
        if trial is not None and rules is not None and self.prover.moved:
            wrong = mismatches(trial.run(rules.rules, {(verdict.rule.file, verdict.rule.line) for verdict in self.prover.moved}))
            if wrong:
                raise loaded.NotLoaded("logins by the changed rules fail, although they should not.\n" + "\n".join(wrong[:10]))

    def current(self, inquiry: Inquiry) -> ruleset.Ruleset:
        """The rules that are in force now."""
        return inquiry.rules()[0]

    def _roll_back(self, outcome: base.Outcome[plan.Plan], was: os.stat_result | None, reason: str) -> Result:
        result = super()._roll_back(outcome, was, reason)
        if reason.startswith("logins"):
            result["msg"] = result["msg"].replace("the server did not load the rules, or nothing proves that it did: ", "")
        return result


# -------------------------------------------------------------------------------------------------------------------- the migration


class Migration:
    """One run."""

    def __init__(self, module: AnsibleModule, stack: contextlib.ExitStack, shared: Shared, main: File) -> None:
        self.module, self.stack, self.params = module, stack, module.params
        self.given: dict[str, str] = _passwords(module.params["passwords"])
        self.shared, self.main = shared, main
        with translated("about roles and passwords"):
            self.inquiry = Inquiry(self.params, self.main.connection, t.cast(t.Any, self.main.facts))
        self.shared.inquiry = self.inquiry
        self.settings = self.where_settings_are()
        self.new: dict[str, str] = {}
        self.steps: list[str] = []

    def where_settings_are(self) -> passwords.Settings:
        """Where a setting of the whole server is put."""
        return passwords.AlterSystem(self.main.connection, self.main._connect, self.params["reload_timeout"])

    def reachable(self) -> list[Place]:
        """From where logins can be tried."""
        return places(self.params, self.main.connection, self.inquiry)

    def run(self) -> Result:
        """Check, store, move, verify."""
        try:
            with translated("while nothing was changed yet"):
                encryption = self._check()
        except Refused as refused:
            for warning in self.main.prover.warnings:
                self.module.warn(warning)
            return {"failed": True, "changed": False, "msg": str(refused), **self.main.proved()}
        except base.StoreError as error:
            return {"failed": True, "changed": False, "msg": str(error)}
        if not self.module.check_mode:
            with translated("while passwords were stored; the next run continues"):
                self._store(encryption)
        if encryption:
            self.steps.append("password_encryption is scram-sha-256 for the server")
        if self.new:
            self.steps.append(f"{len(self.new)} stored passwords are SCRAM verifiers")
        return self._move(encryption)

    # -- before anything changes

    def _check(self) -> bool:
        """Everything that can be known beforehand; true when ``password_encryption`` has to change. Raises, and nothing has changed."""
        inquiry = self.inquiry
        problems = inquiry.problems()
        if problems:
            raise Invalid("; ".join(problems))
        inquiry.logs()
        self._check_passwords()
        scram = inquiry.request.to == verifier.SCRAM
        encryption = scram and self.params["set_password_encryption"] and inquiry.policy.encryption != verifier.SCRAM
        if encryption:
            self.settings.check()
        passwords.check_may_store(self.main.connection, list(self.new))
        self._check_pooler()
        made = {name: verifier.parse(text) for name, text in self.new.items()}
        self.shared.logins = tuple([role._replace(verifier=made.get(role.name, role.verifier)) for role in inquiry.logins])
        self.main._check_same_file()
        self.main.prover.plan(self.main.store.read().content)
        return encryption

    def _check_passwords(self) -> None:
        """Every given password is the stored one; then what is to be stored is made of it, where it is not SCRAM already."""
        roles = {role.name: role for role in self.inquiry.logins}
        wrong = []
        for name, password in self.given.items():
            role = roles.get(name)
            if role is None:
                wrong.append(f"{name}: there is no such role")
                continue
            same = verifier.matches(role.verifier, password, name)
            if role.verifier.kind == verifier.NONE:
                wrong.append(f"{name}: the role has no password")
            elif same is None:
                wrong.append(f"{name}: what is stored as its password cannot be compared with one")
            elif not same:
                wrong.append(f"{name}: the given password is not the stored one")
            elif self.inquiry.request.to == verifier.SCRAM and role.verifier.kind == verifier.MD5:
                self.new[name] = verifier.make(password, min(self.inquiry.policy.iterations, 2_000_000))
        if wrong:
            more = f" and {len(wrong) - 20} more" if len(wrong) > 20 else ""
            raise Invalid(f"passwords: nothing was changed, because of {len(wrong)} of {len(self.given)}: {'; '.join(wrong[:20])}{more}")

    def _check_pooler(self) -> None:
        if self.inquiry.pooler is None:
            return
        in_the_way = sorted(entry.user for entry in self.inquiry.pooler.entries if entry.kind == verifier.MD5 and entry.user in self.new)
        if not in_the_way or self.params["lockout"] == "ignore":
            return
        text = (
            f"pgbouncer_auth_file: {self.params['pgbouncer_auth_file']} holds md5 entries for {', '.join(in_the_way[:10])}, with which "
            "PgBouncer cannot log in once the stored passwords are SCRAM; put clear passwords there or use auth_query first, or leave "
            "these roles out"
        )
        if self.params["lockout"] == "refuse":
            raise Invalid(f"{text}. Nothing was changed")
        self.module.warn(text)

    # -- the changes

    def _store(self, encryption: bool) -> None:
        if encryption:
            self.settings.put(passwords.SETTING, verifier.SCRAM)
        known = {role.name: role.verifier for role in self.inquiry.logins}
        passwords.store(self.main.connection, self.new, known)
        if self.new:
            self.inquiry.logins = self.shared.logins = passwords.logins(self.main.connection)
        if self.given and self.params["verify_logins"]:
            self.shared.trial = Trial(self.reachable(), self.main.connection, self.inquiry, self.given)

    def _move(self, encryption: bool) -> Result:
        """Each file that holds rules which are ready, the main file first."""
        results: list[Result] = []
        moved: list[planner.RuleVerdict] = []
        failed = False
        tasks = [self.main, *(File(self.module, self.stack, self.shared, file) for file in self._included())]
        for task in tasks:
            result = self._run(task)
            results.append(result)
            failed = bool(result.get("failed"))
            if failed:
                break
            moved += task.prover.moved
        changed = encryption or bool(self.new) or any(result.get("changed") for result in results)
        whole = self._result(results, changed, [] if failed else moved)
        if failed:
            whole.update(failed=True, msg=self._sorry(results[-1]["msg"]))
            return whole
        with translated("after everything was done; look with state audited"):
            return self._last_look(whole)

    def _run(self, task: File) -> Result:
        try:
            with translated("while the rules were managed; the next run continues"):
                return task.run()
        except Refused as refused:
            return {"failed": True, "changed": False, "msg": str(refused), **task.proved()}
        except base.StoreError as error:
            return {"failed": True, "changed": error.written, "msg": str(error)}

    def _included(self) -> list[str]:
        """Files besides the main one that hold rules which are ready."""
        before = t.cast(ruleset.Ruleset, self.main.prover.before)
        main = self.main.prover.policy.path
        ready = self.shared.audit(before).with_state(planner.READY)
        return sorted({verdict.rule.file for verdict in ready if verdict.rule.file != main})

    def _sorry(self, reason: str) -> str:
        done = "" if self.module.check_mode or not self.steps else f" Done before that, and harmless: {'; '.join(self.steps)}."
        return f"{reason}{done}"

    def _result(self, results: t.Sequence[Result], changed: bool, moved: t.Sequence[planner.RuleVerdict]) -> Result:
        whole: Result = {"changed": changed, "path": self.main.path, "rehashed": sorted(self.new)}
        whole["password_encryption_set"] = any(step.startswith("password_encryption") for step in self.steps)
        changes = [result.get("access_changes", []) for result in results]
        whole["access_changes"] = None if None in changes else [change for some in changes for change in some]
        whole["edits"] = [
            {"file_name": result.get("path", self.main.path), **edit} for result in results for edit in result.get("edits", ())
        ]
        whole["decisions"] = results[-1].get("decisions", [])
        whole["backup_files"] = [result["backup_file"] for result in results if result.get("backup_file")]
        whole["reloaded"] = any(result.get("reloaded") for result in results)
        diffs = [result["diff"] for result in results if "diff" in result]
        if diffs:
            whole["diff"] = diffs
        if moved:
            self.steps.append(f"{len(moved)} rules have the method {self.inquiry.request.to}")
        whole["steps"] = self.steps
        return whole

    def _last_look(self, whole: Result) -> Result:
        """The audit of what is there now (in check mode: of what would be), and logins where no rule has changed."""
        if self.module.check_mode:
            audit = self.shared.audit(t.cast(ruleset.Ruleset, self.main.prover.after))
        else:
            with self.main._connect() as fresh:
                self.inquiry.policy = passwords.policy(fresh)
            rules = self.main.current(self.inquiry)
            self.inquiry.logins = self.shared.logins = passwords.logins(self.main.connection)
            audit = self.shared.audit(rules)
            if self.shared.trial is not None:
                checks = self.shared.trial.run(rules.rules, None)
                whole["logins"] = self.shared.trial.shown()
                wrong = mismatches(checks)
                if wrong:
                    whole.update(failed=True, msg=self._sorry("logins fail that should not.\n" + "\n".join(wrong[:10])))
        whole.setdefault("logins", [])
        whole.update(_shown(self.inquiry, audit, self.new))
        return _judged(self.module, whole, audit)


def _passwords(given: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The option ``passwords``. Raises :class:`Invalid`; no value is in a message."""
    for name, value in given.items():
        if not isinstance(value, str):
            raise Invalid(f"passwords.{name}: must be a text, not {type(value).__name__}; quote it in YAML")
        if not value or "\0" in value:
            raise Invalid(f"passwords.{name}: {'is empty' if not value else 'holds a NUL'}, which is no password")
    return dict(given)
