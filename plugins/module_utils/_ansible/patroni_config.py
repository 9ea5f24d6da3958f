# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""patroni_config between Ansible's parameters, the dynamic configuration, and the members that have to have it."""

from __future__ import annotations

import contextlib
import json
import re
import time
import typing as t

from .._hba import ruleset
from .._patroni import errors, model
from .._patroni.store import ConfigStore, text_of_config, update
from .._server import session
from .._server.errors import CannotConnect
from .._server.facts import translated
from .._store import base
from . import hba_common, hba_proof, patroni_guard
from .arguments import connection_options
from .hba_common import Refused
from .patroni import Cluster, Node
from .patroni_options import option
from .run import Result

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

PAUSE = 0.1
"""Seconds between two looks at a member."""
SECRET = re.compile(r"(?:password|passphrase|secret)$", re.IGNORECASE)
"""Names of settings whose values are never shown."""


def argument_spec() -> dict[str, dict[str, t.Any]]:
    """The module's options; DOCUMENTATION says what they mean."""
    return {
        **connection_options(),
        "patroni": option(required=True),
        "config": {"type": "dict", "required": True},
        "state": {"type": "str", "default": "merged", "choices": ["merged", "replaced"]},
        "validate": {"type": "bool", "default": True},
        "lockout": {"type": "str", "default": "refuse", "choices": ["refuse", "warn", "ignore"]},
        "wait": {"type": "bool", "default": True},
        "ask_servers": {"type": "bool", "default": True},
    }


class Plan(t.NamedTuple):
    """A change of the configuration; what ``base.update`` needs, and the values."""

    before: bytes
    after: bytes
    config: model.Config

    @property
    def changed(self) -> bool:
        """Whether anything differs."""
        return self.before != self.after


def manage(module: AnsibleModule) -> Result:
    """Plans, proves, writes, waits; see RETURN."""
    module.no_log_values.update(_secrets(module.params["config"]))
    with contextlib.ExitStack() as stack:
        task = _Task(module, stack)
        try:
            return task.run()
        except (Refused, base.StoreError) as error:
            changed = isinstance(error, base.StoreError) and error.written
            return {"failed": True, "msg": str(error), "changed": changed, "members": task.members}


class _Task:
    """One run."""

    def __init__(self, module: AnsibleModule, stack: contextlib.ExitStack) -> None:
        self.module = module
        self.params = params = module.params
        self.members: list[dict[str, t.Any]] = []
        self.cluster = Cluster(module, stack, ask_servers=params["ask_servers"])
        self._check_members()
        writable = not module.check_mode or params["patroni"]["username"] is not None or params["patroni"]["client_cert"] is not None
        lock = self.cluster.lock if self.cluster.ready else None
        self.store = ConfigStore(self.cluster.client, lock=lock, writable=writable)
        self.warnings: list[str] = []
        self.settled = 0.0
        """From when on Patroni has told what waits for a restart."""

    def _check_members(self) -> None:
        """Members that cannot be asked, before anything is written. Raises Unreachable."""
        if self.cluster.view.pause:
            self.module.warn("The cluster is paused: members take the configuration, but nothing restarts or fails over.")
        if self.params["ask_servers"]:
            self.cluster.settle()
        missing = self.cluster.missing if self.params["ask_servers"] else []
        if not missing:
            return
        text = "; ".join(f"{node.name} ({node.member.role}, {node.member.state}): {node.problem}" for node in missing)
        if self.params["patroni"]["unreachable"] == "refuse":
            remedy = "bring them back, set patroni.unreachable to report, or ask_servers to false to go by the REST API alone"
            raise errors.Unreachable("members", f"nothing was written, because not every member's server can be asked: {text}", remedy)
        self.module.warn(f"Not every member's server can be asked: {text}")

    # ------------------------------------------------------------------------------------------------------------------------ plan

    def plan(self, raw: bytes) -> Plan:
        """What the configuration has to become, checked. Raises Refused and InvalidConfiguration."""
        self.warnings = []
        config = json.loads(raw)
        wanted = self.params["config"]
        after = model.merged(config, wanted) if self.params["state"] == "merged" else model.merged({}, wanted)
        after = model.merged(config, model.change_between(config, after))
        made = Plan(raw, text_of_config(after), after)
        if self.params["validate"] and made.changed:
            self._judge_structure(config, after)
        for key in model.KEYS:
            if self.params["validate"] and _list(config, key) != _list(after, key):
                self._judge_rules(config, after, key)
        return made

    def _judge_structure(self, before: model.Config, after: model.Config) -> None:
        """What was wrong before and stays so is a warning: this change does not make it worse."""
        were, are = model.problems(before), model.problems(after)
        added = [problem for problem in are if problem not in were]
        if added:
            remedy = "correct it, or set validate to false"
            raise errors.InvalidConfiguration("config", "nothing was written: " + "; ".join(added), remedy)
        self.warnings += [f"The configuration is faulty before and after: {problem}" for problem in are]

    def _judge_rules(self, before: model.Config, after: model.Config, key: str) -> None:
        """Rules have to load, and let the cluster's own clients in."""
        rules = model.rules_in(after, key)
        if rules is None:
            self.warnings.append(f"The list {key} goes, and every member keeps the file that it has written last.")
            return
        if not rules:
            raise errors.InvalidConfiguration(f"postgresql.{key}", "is empty, which Patroni ignores: members keep the rules that they have")
        if key != "pg_hba" or not self.cluster.ready:
            return
        facts = t.cast(t.Any, self.cluster.first().facts)
        found = ruleset.parse_text(model.text_of(rules), facts.server, "postgresql.pg_hba")
        if not found.loads:
            text = f"PostgreSQL {facts.server.major} would not load it: {hba_proof.errors_text(found)}"
            raise Refused(f"postgresql.pg_hba: nothing was written, because {text}")
        own, certificate, lockout = facts.client, bool(self.params["ssl_cert"]), self.params["lockout"]
        policy = hba_proof.Policy("postgresql.pg_hba", facts.server, facts.roles, own=own, certificate=certificate, lockout=lockout)
        prover = hba_proof.Prover(policy)
        old = ruleset.parse_text(model.text_of(_list(before, key) or []), facts.server, "postgresql.pg_hba")
        prover.judge_lockout(old, found)
        patroni_guard.Judge(patroni_guard.guards_of(self.cluster), lockout)(prover, old, found)
        self.warnings += prover.warnings

    # ------------------------------------------------------------------------------------------------------------------------- run

    def run(self) -> Result:
        """Check mode does the same without the write."""
        outcome = update(self.store, self.plan, check=self.module.check_mode)
        plan = outcome.plan
        result: Result = {"changed": outcome.changed, "config": masked(plan.config), "diff": _difference(plan)}
        result["patch"] = masked(model.change_between(json.loads(plan.before), plan.config))
        for warning in self.warnings:
            self.module.warn(warning)
        if self.params["wait"] and not self.module.check_mode:
            missing = self._wait(plan)
            if missing and outcome.written:
                return {**result, **self._roll_back(outcome, missing), "members": self.members}
            if missing:
                return {**result, "failed": True, "msg": f"members do not have the configuration: {missing}", "members": self.members}
        result["members"] = self.members
        result["pending_restart"] = [member["name"] for member in self.members if member["pending_restart"]]
        return result

    def _roll_back(self, outcome: base.Outcome[Plan], missing: str) -> Result:
        """What was before, unless that was faulty: then the new configuration is the better one, and stays."""
        head = f"members do not have the configuration: {missing}"
        before = json.loads(outcome.plan.before)
        if model.problems(before):
            return {"failed": True, "changed": True, "rolled_back": False, "msg": f"{head}. The old one was faulty, so the new one stays"}
        try:
            self.store.write(outcome.snapshot, outcome.plan.before)
        except base.StoreError as error:
            return {"failed": True, "changed": True, "rolled_back": False, "msg": f"{head}. The old one could not be put back: {error}"}
        return {"failed": True, "changed": False, "rolled_back": True, "msg": f"{head}. The old configuration is back"}

    # --------------------------------------------------------------------------------------------------------------------- members

    def _wait(self, plan: Plan) -> str:
        """Until every member has it; what is missing when the time is over."""
        deadline = time.monotonic() + self.params["patroni"]["wait"]
        self.settled = time.monotonic() + 2 * float(plan.config.get("loop_wait") or 10)
        change = model.change_between(json.loads(plan.before), plan.config)
        with contextlib.suppress(errors.PatroniError):
            self.cluster.refresh()
        missing = []
        for node in self.cluster.nodes:
            reason: str | None = "was not asked"
            while True:
                try:
                    reason = self._lacks(node, plan.config, change)
                except (errors.PatroniError, CannotConnect) as error:
                    reason = str(error)
                if reason is None or time.monotonic() > deadline or (self._excused(node) and not self._alive(node)):
                    break
                time.sleep(PAUSE)
            self.members.append(self._shown(node, reason))
            if reason is not None and self._excused(node):
                self.module.warn(f"Nothing proves that {node.name} has the configuration: {reason}")
            elif reason is not None:
                missing.append(f"{node.name}: {reason}")
        return "; ".join(missing)

    def _excused(self, node: Node) -> bool:
        return self.params["patroni"]["unreachable"] == "report" and node.connection is None and self.params["ask_servers"]

    def _alive(self, node: Node) -> bool:
        with contextlib.suppress(errors.PatroniError):
            self.cluster.client.request("GET", "/patroni", only=self.cluster.url_of(node), timeout=2.0)
            return True
        return False

    def _lacks(self, node: Node, config: model.Config, change: model.Config) -> str | None:
        """Why this member does not have the configuration yet; None when it has."""
        url = self.cluster.url_of(node)
        seen = self.cluster.client.request("GET", "/config", only=url, timeout=2.0).json()
        if text_of_config(seen) != text_of_config(config):
            return "it has not taken it yet"
        if node.connection is None:
            return None
        changed = change.get("postgresql")
        for key in model.KEYS:
            if isinstance(changed, dict) and changed.get(key):
                origin = self.cluster.origin(node, key, config)
                if not origin.current:
                    return origin.reason
        parameters = changed.get("parameters") if isinstance(changed, dict) else None
        return self._lacks_parameters(node, parameters, url) if isinstance(parameters, dict) else None

    def _lacks_parameters(self, node: Node, parameters: t.Mapping[str, t.Any], url: str) -> str | None:
        """Changed parameters have to be in force, or to wait for a restart, which Patroni tells a loop or two later."""
        waiting = self.cluster.client.member(url).get("pending_restart_reason") or {}
        with translated(f"on {node.name}"):
            found = session.rows(node.connection, _PARAMETERS, [list(parameters)])
        for name, context, file, *now in found:
            if parameters[name] is None:
                continue
            wanted = _spellings(parameters[name])
            in_file = str(file).lower() in wanted
            in_force = any(str(text).lower() in wanted for text in now) and name not in waiting
            will_be = name in waiting and str(waiting[name].get("new_value")).lower() in wanted
            if in_force or will_be or (in_file and (context != "postmaster" or time.monotonic() > self.settled)):
                continue
            return f"its server has another {name} ({now[-1]}): it may be in the member's own configuration"
        return None

    def _shown(self, node: Node, reason: str | None) -> dict[str, t.Any]:
        waiting: t.Any = None
        with contextlib.suppress(errors.PatroniError):
            told = self.cluster.client.request("GET", "/patroni", only=self.cluster.url_of(node), timeout=2.0).json()
            waiting = told.get("pending_restart_reason") or ({} if told.get("pending_restart") else None)
        member = node.member
        return {
            "name": node.name,
            "role": member.role,
            "state": member.state,
            "has_config": reason is None,
            "reason": reason,
            "pending_restart": waiting is not None,
            "pending_restart_reason": waiting,
        }


_PARAMETERS = """
    select s.name, s.context,
           (select f.setting from pg_catalog.pg_file_settings f where lower(f.name) = lower(s.name) order by f.seqno desc limit 1),
           s.setting, pg_catalog.current_setting(s.name)
      from pg_catalog.pg_settings s where s.name = any(%s)"""


def _spellings(value: t.Any) -> set[str]:
    """How PostgreSQL and Patroni may write a value."""
    text = str(value).lower()
    for words in (("true", "on", "yes", "1"), ("false", "off", "no", "0")):
        if text in words:
            return set(words)
    return {text}


def _list(config: t.Mapping[str, t.Any], key: str) -> list[str] | None:
    """The list, or None for none and for what is none."""
    with contextlib.suppress(errors.InvalidConfiguration):
        return model.rules_in(config, key)
    return None


def _secrets(value: t.Any, secret: bool = False) -> set[str]:
    """Values of settings with a secret name, and those in rules."""
    if isinstance(value, dict):
        return {found for name, inner in value.items() for found in _secrets(inner, SECRET.search(str(name)) is not None)}
    if isinstance(value, list):
        return {found for inner in value for found in _secrets(inner, secret)}
    if not isinstance(value, str):
        return set()
    return {value} if secret and value else hba_common.secrets_in([value])


def masked(value: t.Any, secret: bool = False) -> t.Any:
    """The same without secrets."""
    if isinstance(value, dict):
        return {name: masked(inner, SECRET.search(str(name)) is not None) for name, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner, secret) for inner in value]
    if secret and value not in (None, ""):
        return hba_common.MASK
    return hba_common.masked_line(value) if isinstance(value, str) else value


def _difference(plan: Plan) -> dict[str, str]:
    texts = {name: text_of_config(masked(json.loads(raw))).decode() for name, raw in (("before", plan.before), ("after", plan.after))}
    return {**texts, "before_header": "dynamic configuration", "after_header": "dynamic configuration"}
