# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""A cluster's rules under management: the same four steps as for a file, with every member's server to load them."""

from __future__ import annotations

import contextlib
import time
import types
import typing as t

from .._patroni import errors, model
from .._patroni import store as patroni_store
from .._server import loaded
from .._server.errors import CannotConnect, ServerError
from .._server.facts import Facts, translated
from .._store import base
from . import manage as managed
from . import patroni, patroni_guard
from .hba_common import Invalid
from .patroni import Cluster, Node, Origin
from .run import Result

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

    from .._hba import plan

P = t.TypeVar("P", bound=managed.Prover)
PAUSE = 0.02
"""Seconds between two looks at a member's file; the etcd v3 client tells members of a new list within a tenth of a second."""
LATE = 1.0
"""Seconds after which a member that has not written its file is asked to, and the list is looked at for other writers."""
HEALING = 5.0
"""Seconds that a member may take to write its file after POST /reload."""
RESTORES_BY_RELOAD = (4, 1)
"""Since this release a reload writes the files whatever Patroni remembers (releases.rst, 4.1.0)."""

_KEPT_OUT = ("no pg_hba.conf entry", "rejects connection", "authentication failed", "client certificate")
"""What a server says to whom its rules keep out."""


class Superseded(Exception):
    """The list is no longer what was written: somebody else has written meanwhile."""


class Lost(Exception):
    """A member's server went away while it was waited for, and unreachable members are only reported."""


class OnCluster(managed.Task[P]):
    """To be mixed into a module's task, before it: the rules are in a cluster's dynamic configuration."""

    store: t.Any

    def __init__(self, module: AnsibleModule, stack: contextlib.ExitStack) -> None:
        self.module = module
        self.params = module.params
        self._check_options()
        self.cluster = Cluster(module, stack)
        self.key = self.kind.name
        self.path = f"postgresql.{self.key}"
        self.reload = self.params["reload"] is not False
        model.rules_in(self.cluster.client.config(), self.key)  # raises for a list that is none, whatever else is wrong
        self.cluster.settle()
        self.origins: dict[str, Origin] = {}
        self.loaded: dict[str, dict[str, t.Any]] = {}
        self.cluster.first()  # raises at once when none can be asked: that is no failover
        self.cluster.steady(self._learn)
        self.store = patroni.store_of(self.cluster, self.key, create=self.params["create"], check=module.check_mode)

    def _learn(self) -> None:
        """What the plan and its proof need to know of the servers."""
        node = self.cluster.first()
        self.connection = node.connection
        self.facts = node.facts
        self.server_file = ""
        self.server = self._server()
        self._check_members()
        with translated(f"on {node.name}"):
            if self.reload:
                loaded.check_privileges(node.connection, self.kind)
            self.prover = self.make_prover()
        self._guard()

    def _check_options(self) -> None:
        given = [
            name
            for name in ("path", "owner", "group", "mode", "attributes", "selevel", "serole", "setype", "seuser")
            if self.params.get(name) is not None
        ]
        given += ["backup"] if self.params["backup"] else []
        if given:
            raise Invalid(f"{given[0]}: is for files, and a cluster's rules are in its configuration; leave it out with patroni")

    def _check_members(self) -> None:
        """Members that cannot be asked, before anything is written. Raises Unreachable."""
        if self.cluster.view.pause:
            self.module.warn("The cluster is paused: Patroni writes and loads rules, but does not start a server that stops.")
        for url in self.cluster.silent():
            self.module.warn(
                f"{url} does not answer, and the cluster lists no such member: one that is away for long gets the rules when it returns."
            )
        missing = self.cluster.missing
        if not missing:
            return
        text = "; ".join(f"{node.name} ({node.member.role}, {node.member.state}): {node.problem}" for node in missing)
        if self.cluster.given["unreachable"] == "refuse":
            remedy = "bring them back, or set patroni.unreachable to report: a member that is down gets the rules when it starts"
            raise errors.Unreachable(self.path, f"nothing was written, because not every member's server can be asked: {text}", remedy)
        self.module.warn(f"Not every member's server can be asked, so nothing proves that these load the rules: {text}")

    def _guard(self) -> None:
        if self.params["lockout"] == "ignore":
            return
        guards = patroni_guard.guards_of(self.cluster)
        if self.knows_passwords:
            guards = guards._replace(stored_md5=frozenset())
        for name in guards.unknown:
            self.module.warn(f"{name} is not known, so the proof against lockout is without it.")
        judge = patroni_guard.Judge if self.kind is loaded.HBA else patroni_guard.MapJudge
        t.cast(t.Any, self.prover).judges.append(judge(guards, self.params["lockout"]))

    # --------------------------------------------------------------------------------------------------------------------- the run

    def run(self) -> Result:
        """The four steps. Check mode does the same without the write."""
        healed = self.cluster.steady(self._check_origins)
        outcome = patroni_store.update(self.store, self.prover.plan, check=self.module.check_mode)
        changed = outcome.changed or bool(healed)
        if self.reload and outcome.written:
            try:
                outcome = self._verify_everywhere(outcome)
            except (ServerError, base.StoreError) as problem:
                return self._roll_back_everywhere(outcome, str(problem))
        for warning in self.prover.warnings:
            self.module.warn(warning)
        return {"changed": changed, **self.shown(outcome), "reloaded": self.reload and changed, "reload_proof": None}

    def _check_origins(self) -> list[str]:
        """Refuse where a write would have no effect; members that have only missed a change are told to write their files."""
        config = self.store.config()
        rules = model.rules_in(config, self.key)
        for node in self.cluster.ready:
            self.origins[node.name] = self.cluster.origin(node, self.key, config)
        self._refuse([node for node in self.cluster.ready if self.origins[node.name].source == patroni.MOVED])
        if not rules:
            return []
        late = time.monotonic() + LATE  # another writer's change may be on its way
        stale = [node for node in self.cluster.ready if not self.origins[node.name].current and not self._settles(node, late)]
        if not stale or self.module.check_mode:
            for node in stale:
                self.module.warn(f"{node.name}: {self.origins[node.name].reason}. The run itself has it write its file, and then knows.")
            return [node.name for node in stale]
        for node in stale:
            self.cluster.client.reload(self.cluster.url_of(node))
            self._settles(node, time.monotonic() + HEALING)
        self._refuse([node for node in stale if not self.origins[node.name].current and self._release(node) >= RESTORES_BY_RELOAD])
        return [node.name for node in stale]

    def _refuse(self, nodes: t.Sequence[Node]) -> None:
        if nodes:
            reasons = "; ".join(f"{node.name}: {self.origins[node.name].reason} ({self.origins[node.name].path})" for node in nodes)
            remedy = f"take {self.key} and {self.kind.setting} out of the members' own configuration, so that the cluster's list holds"
            raise errors.PatroniError(self.path, f"nothing was written, because it would have no effect everywhere: {reasons}", remedy)

    def _settles(self, node: Node, deadline: float) -> bool:
        """Whether its file becomes the list in time: the list as it is then, for others may change it meanwhile."""
        while True:
            origin = self.cluster.origin(node, self.key, self.store.config())
            self.origins[node.name] = origin
            if origin.current or time.monotonic() > deadline:
                return origin.current
            time.sleep(0.1)

    def _release(self, node: Node) -> tuple[int, ...]:
        shown = self.cluster.client.member(self.cluster.url_of(node))
        version = str((shown.get("patroni") or {}).get("version", ""))
        return tuple([int(part) for part in version.split(".")[:2] if part.isdecimal()])

    # ------------------------------------------------------------------------------------------------------------------ every member

    def _verify_everywhere(self, outcome: base.Outcome[plan.Plan]) -> base.Outcome[plan.Plan]:
        """Every member loads the list. When somebody else has written meanwhile, their list with our rules in it has to be loaded."""
        for attempt in range(1, managed.WRITERS + 1):
            try:
                self._converge(after=True, deadline=time.monotonic() + self.cluster.given["wait"])
            except Superseded:
                again = patroni_store.update(self.store, self.prover.plan)
                outcome = base.Outcome(again.plan, True, again.snapshot, outcome.created, None, attempt + 1)
            else:
                return outcome
        raise errors.NotConverged(self.path, "other writers change the list all the time", "find out who writes, and run again")

    def _converge(self, after: bool, deadline: float) -> None:
        self.loaded = {}
        for node in self.cluster.nodes:
            began = time.monotonic()
            try:
                proof = self._member(node, after, deadline)
            except Lost as problem:
                self.loaded[node.name] = {"loaded": False, "reason": str(problem), "seconds": None}
                self.module.warn(f"Nothing proves that {node.name} has loaded the rules: {problem}")
            else:
                self.loaded[node.name] = {"loaded": True, "reason": None, "seconds": round(time.monotonic() - began, 3), **_proved(proof)}

    def _member(self, node: Node, after: bool, deadline: float) -> loaded.Proof:
        """One member: its file, then its server. A server that goes away meanwhile is asked again until the time is over."""
        patience = deadline
        if self.cluster.given["unreachable"] == "report" and node.connection is None and node.member.state not in patroni.COMING:
            patience = min(deadline, time.monotonic() + LATE)
        expected = self._expected_on(node, after)
        while True:
            try:
                if node.connection is None and not node.open():
                    raise CannotConnect(node.problem or "it cannot be asked")
                self._await_file(node, expected.content, deadline)
                left = max(deadline - time.monotonic(), 1.0)
                return loaded.reload(node.connection, node.fresh, min(left, self.params["reload_timeout"]), expected, self.kind)
            except CannotConnect as error:
                problem = str(error)
            except loaded.NotLoaded as error:
                if not isinstance(error.__cause__, CannotConnect) and "no session" not in str(error):
                    raise errors.NotConverged(node.name, str(error)) from error
                problem = str(error)
            if not node.lives():
                node.close()
            elif any(words in problem for words in _KEPT_OUT):
                raise errors.NotConverged(node.name, problem)
            if time.monotonic() > patience:
                if self.cluster.given["unreachable"] == "report" and self._is_down(node):
                    raise Lost(problem)
                raise errors.NotConverged(node.name, problem, "look at this member")
            time.sleep(0.2)

    def _is_down(self, node: Node) -> bool:
        """Whether nobody gets in there, as opposed to us being kept out by the new rules."""
        return not any(words in (node.problem or "") for words in _KEPT_OUT)

    def _await_file(self, node: Node, wanted: bytes, deadline: float) -> None:
        """Until the member has written the list. Late ones get POST /reload: those that were starting never look again by themselves."""
        late = time.monotonic() + LATE
        while True:
            _path, content = node.file(self.key)
            if content == wanted:
                return
            now = time.monotonic()
            if now > deadline:
                raise errors.NotConverged(node.name, "its file is not the list that was written", "look at this member's log")
            if now > late:
                if model.file_of(self.store.read().content) != wanted:
                    raise Superseded
                with contextlib.suppress(errors.Unreachable):
                    self.cluster.client.request("POST", "/reload", only=self.cluster.url_of(node), harmless=True, timeout=2.0)
                late = now + 3 * LATE
            time.sleep(PAUSE)

    def _expected_on(self, node: Node, after: bool) -> loaded.Expected:
        """What this member's server has to have loaded: the list as a file, with Patroni's header above it."""
        with _server_of(self, node.facts):
            expected = self.expected(after)
        lines = model.HEADER.count(b"\n")
        rows = [
            {**row, "line_number": row["line_number"] + lines if row.get("line_number") else row.get("line_number")}
            for row in expected.rows
        ]
        return expected._replace(content=model.file_of(expected.content), rows=rows)

    def _roll_back_everywhere(self, outcome: base.Outcome[plan.Plan], reason: str) -> Result:
        """The old list and the old rules on every member again; the task fails with the member's reason."""
        members = dict(self.loaded)
        result: Result = {"failed": True, "changed": False, **self.shown(outcome), "reloaded": False, "rolled_back": False}
        try:
            self._restore(outcome)
            result["rolled_back"] = True
            end = "The old list is back"
        except base.StoreError as error:
            result["changed"] = True
            end = f"The old list could not be put back ({error}); look at it before a member's next restart"
        if result["rolled_back"]:
            try:
                self._converge(after=False, deadline=time.monotonic() + self.cluster.given["wait"])
                if outcome.created:
                    self.store.forget()
                end += ", and every member that can be asked has loaded it again"
            except (ServerError, base.StoreError, Superseded) as error:
                end += f", but nothing proves that every member has loaded it: {error}"
        result["members"] = self._members(members)
        result["msg"] = f"{self.path}: a member did not load the rules, or nothing proves that it did: {reason}. {end}"
        return result

    def _restore(self, outcome: base.Outcome[plan.Plan]) -> None:
        """Put the old list back, by the REST API alone where no server gives a session for the turns of writers."""
        try:
            self.store.restore(outcome)
        except errors.Unreachable:
            self.store.alone()
            self.store.restore(outcome)

    # --------------------------------------------------------------------------------------------------------------------- results

    def shown(self, outcome: base.Outcome[plan.Plan] | None = None) -> Result:
        """The file's result, with the members."""
        return {**super().shown(outcome), "members": self._members(self.loaded)}

    def _members(self, loaded_by: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
        found = []
        for node in self.cluster.nodes:
            origin = self.origins.get(node.name)
            member = node.member
            shown = {"name": node.name, "role": member.role, "state": member.state, "host": member.host, "port": member.port}
            shown["source"] = None if origin is None else origin.source
            found.append({**shown, "loaded": None, "seconds": None, "reason": node.problem, **loaded_by.get(node.name, {})})
        return found


def _proved(proof: loaded.Proof) -> dict[str, t.Any]:
    return {"load_time": proof.load_time}


@contextlib.contextmanager
def _server_of(task: managed.Task[t.Any], facts: Facts | None) -> t.Iterator[None]:
    """The task's server is this member's for a moment: members may differ in ssl, and with it in the warnings that the view shows."""
    was = task.server
    if facts is not None:
        task.server = facts.server
    try:
        yield
    finally:
        task.server = was


def on_cluster(kind: type[managed.Task[t.Any]]) -> type[managed.Task[t.Any]]:
    """The same task on a cluster."""
    return t.cast("type[managed.Task[t.Any]]", types.new_class("ClusterTask", (OnCluster, kind)))
