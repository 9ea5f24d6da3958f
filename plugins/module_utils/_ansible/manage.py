# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""A file of access rules under management: plan, prove, apply, verify. One sequence; a module brings what it plans and proves with."""

from __future__ import annotations

import abc
import contextlib
import datetime
import os
import stat
import time
import typing as t

from .._hba import plan
from .._hba.model import Server
from .._server.errors import CannotConnect
from .._store import base
from .._store.file import FileStore
from . import hba_common
from .arguments import connection_options, connection_parameters
from .hba_common import Invalid, Refused
from .run import Result

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

    from .._server import loaded
    from .._server.facts import Facts

WRITERS = 10
"""So often a proof is begun again because somebody else has written the file meanwhile."""


def options() -> dict[str, dict[str, t.Any]]:
    """What modules that manage a file have in common."""
    return {
        **connection_options(),
        "path": {"type": "path"},
        "create": {"type": "bool", "default": False},
        "rules": {"type": "raw"},
        "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
        "section": {"type": "str"},
        "position": {"type": "str"},
        "move": {"type": "bool", "default": False},
        "exclusive": {"type": "bool", "default": False},
        "lockout": {"type": "str", "default": "refuse", "choices": ["refuse", "warn", "ignore"]},
        "validate": {"type": "bool", "default": True},
        "reload": {"type": "bool"},
        "reload_timeout": {"type": "float", "default": 10.0},
        "backup": {"type": "bool", "default": False},
        "postgres_version": {"type": "str"},
        "result_limit": {"type": "int", "default": 1000},
    }


def sections_option() -> dict[str, t.Any]:
    """Several sections in one task: what one of them is."""
    section = {
        "name": {"type": "str", "required": True},
        "rules": {"type": "raw"},
        "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
        "position": {"type": "str"},
        "move": {"type": "bool", "default": False},
        "comment": {"type": "str"},
    }
    return {"type": "list", "elements": "dict", "options": section}


def requests(params: t.Mapping[str, t.Any], specs: t.Callable[[t.Any, str, str], tuple[t.Any, ...]]) -> list[plan.Request]:
    """What is wanted of the file: of one place in it, or of each of several sections. ``specs`` reads (rules, state, option's name)."""
    now = datetime.datetime.now(datetime.timezone.utc)
    if params.get("sections") is None:
        return [_request({**params, "name": params["section"]}, specs(params["rules"], params["state"], "rules"), now)]
    clash = [name for name in ("rules", "section", "position") if params[name] is not None]
    clash += [name for name, default in (("exclusive", False), ("move", False), ("state", "present")) if params[name] != default]
    if clash:
        raise Invalid(f"sections: each says its own rules, state and position, so it does not go with {', '.join(clash)}")
    found = []
    for number, section in enumerate(params["sections"]):
        wanted = specs(section["rules"], section["state"], f"sections[{number}].rules")
        if section["comment"] is not None:
            wanted = tuple([spec._replace(comment=section["comment"]) if spec.comment is None else spec for spec in wanted])
        found.append(_request({**section, "exclusive": False}, wanted, now))
    return found or [plan.Request(now=now)]


def _request(given: t.Mapping[str, t.Any], rules: tuple[t.Any, ...], now: datetime.datetime) -> plan.Request:
    return plan.Request(
        rules=rules,
        state=given["state"],
        section=given["name"],
        exclusive=given["exclusive"],
        position=given["position"],
        move=given["move"],
        now=now,
    )


class Prover(t.Protocol):
    """Plans one request on one file and proves the plan; afterwards it knows the results of the last plan."""

    warnings: list[str]
    result: plan.Plan | None

    def plan(self, raw: bytes) -> plan.Plan:
        """What the file has to become. Raises :class:`hba_common.Refused` and the engine's errors; then nothing is written."""


P = t.TypeVar("P", bound=Prover)


def manage(module: AnsibleModule, kind: type[Task[t.Any]]) -> Result:
    """Plans, proves, writes, verifies: in a file, or with the option ``patroni`` in a cluster."""
    if module.params["patroni"] is not None:
        from .patroni_manage import on_cluster  # noqa: PLC0415 (a file's task does not pay for it)

        kind = on_cluster(kind)
    with contextlib.ExitStack() as stack:
        task = kind(module, stack)
        try:
            with _translated(module, task):
                result = task.run()
        except Refused as refused:
            for warning in task.prover.warnings:
                module.warn(warning)
            result = {"failed": True, "msg": str(refused), "changed": False, **task.shown(), "reloaded": False}
        except base.StoreError as error:
            result = {"failed": True, "msg": str(error), "changed": error.written, "path": task.path}
    return {**result, **_invocation(module.params)}


def _translated(module: AnsibleModule, task: Task[t.Any]) -> t.ContextManager[None]:
    """Errors of servers that are asked; without one, a task does not pay for the imports (decisions/0066), here and below."""
    if task.connection is None and module.params["patroni"] is None:
        return contextlib.nullcontext()
    from .._server.facts import translated  # noqa: PLC0415

    return translated("while the rules were managed")


def _invocation(params: t.Mapping[str, t.Any]) -> Result:
    """What Ansible would add to a result by itself, the module's arguments, with no more rules than ``result_limit`` (decisions/0065)."""
    limit = params["result_limit"]
    given = [params, *(params.get("sections") or ())]
    if not limit or not any(isinstance(one["rules"], list) and len(one["rules"]) > limit for one in given):
        return {}
    shown = {**params, "rules": _first(params["rules"], limit)}
    if params.get("sections"):
        shown["sections"] = [{**section, "rules": _first(section["rules"], limit)} for section in params["sections"]]
    return {"invocation": {"module_args": shown}}


def _first(rules: t.Any, limit: int) -> t.Any:
    if not isinstance(rules, list) or len(rules) <= limit:
        return rules
    return [*rules[:limit], f"and {len(rules) - limit} more, which result_limit leaves out here"]


class Task(abc.ABC, t.Generic[P]):
    """One run. A subclass says which kind of file it is about, and how it is planned, proved and shown."""

    knows_passwords = False
    """Whether its plan has looked at stored passwords, as they will be, by itself."""

    @property
    @abc.abstractmethod
    def kind(self) -> loaded.Kind:
        """Which of the server's files it is about."""

    def __init__(self, module: AnsibleModule, stack: contextlib.ExitStack) -> None:
        self.module = module
        self.params = params = module.params
        if params["result_limit"] < 0:
            raise Invalid("result_limit: is negative; give 0 for everything, or how many entries of a list are wanted")
        self.reload = params["reload"]
        self.connection: t.Any = None
        self.facts: Facts | None = None
        at_hand = params["login_host"] or params["login_unix_socket"] or params["path"] is None
        if at_hand or self.reload:
            from .._server import session  # noqa: PLC0415
            from .._server.facts import ask, translated  # noqa: PLC0415

            self.connection = stack.enter_context(session.session("to prove and load the rules", connection_parameters(params)))
            with translated("to learn about the server"):
                self.facts = ask(self.connection)
        if self.reload is None:
            self.reload = self.connection is not None
        self.server_file = "" if self.facts is None else str(getattr(self.facts, self.kind.setting))
        self.path = self._path()
        self.server = self._server()
        if self.reload:
            from .._server import loaded  # noqa: PLC0415

            loaded.check_privileges(self.connection, self.kind)
        self.store = FileStore(self.path, create=params["create"])
        self.prover = self.make_prover()

    def limit(self, changes: int) -> int | None:
        """How many entries of a list are returned, None for all; warns when access_changes is cut."""
        limit = int(self.params["result_limit"])
        if 0 < limit < changes:
            self.module.warn(f"access_changes holds the first {limit} of {changes} changes; counts tells the kinds of all of them.")
        return limit or None

    @abc.abstractmethod
    def make_prover(self) -> P:
        """The planner and prover of this task, from its parameters. Raises for options that cannot be used."""

    @abc.abstractmethod
    def expected(self, after: bool) -> loaded.Expected:
        """What the server has to have loaded: the last plan's result, or what was there before."""

    @abc.abstractmethod
    def proved(self) -> Result:
        """The module's own part of a result, from the last plan."""

    @abc.abstractmethod
    def masked(self, raw: bytes) -> str:
        """The file's text for a difference, without secrets."""

    def _path(self) -> str:
        if self.params["path"] is not None:
            return str(os.path.abspath(self.params["path"]))
        if not self.server_file:
            raise Invalid(f"path: is needed, because the role may not know the server's {self.kind.setting}")
        return self.server_file

    def _server(self) -> Server:
        version = self.params["postgres_version"]
        if self.facts is None:
            return hba_common.server_of_file(self.path, version)
        if version is None:
            return self.facts.server
        major, minor = hba_common.version_of(version)
        if self.reload and major != self.facts.server.major:
            raise Invalid(f"postgres_version: is {version}, but the server that has to load the rules is {self.facts.version}")
        return self.facts.server._replace(major=major, minor=minor)

    # ------------------------------------------------------------------------------------------------------------------ the run

    def run(self) -> Result:
        """The four steps. Check mode does the same without the write."""
        self._check_same_file()
        stale = bool(self.reload) and self._is_stale()
        mode_before = self._attributes()
        outcome = base.update(self.store, self.prover.plan, backup=self.params["backup"], check=self.module.check_mode)
        dressed = self._set_attributes(outcome)
        changed = outcome.changed or dressed or stale
        proof = None
        if self.reload and changed and not self.module.check_mode:
            from .._server import loaded  # noqa: PLC0415
            from .._server.facts import Denied  # noqa: PLC0415

            try:
                outcome, proof = self._verify(outcome)
            except (loaded.NotLoaded, Denied) as problem:
                return self._roll_back(outcome, mode_before, str(problem))
        for warning in self.prover.warnings:
            self.module.warn(warning)
        result: Result = {"changed": changed, **self.shown(outcome), "reloaded": self.reload and changed}
        result["reload_proof"] = None if proof is None else proof._asdict()
        return result

    def _is_stale(self) -> bool:
        """Whether the file is newer than what the server has loaded."""
        from .._server import loaded  # noqa: PLC0415

        return bool(loaded.pending(self.connection, [self.server_file or self.path]))

    def _check_same_file(self) -> None:
        """A server at hand that is to load the rules must read this very file: else we would edit another server's."""
        if self.connection is None or not (self.reload or self.params["path"] is None) or not self.server_file:
            return
        from .._server.facts import Denied, ServerFiles  # noqa: PLC0415

        for _unused in range(20):  # other writers may be at work between the two looks
            try:
                theirs: bytes | None = ServerFiles(self.connection).read(self.server_file)
            except Denied:
                return
            except OSError:
                return  # the server cannot read its file; the proof after the write tells whether that is mended
            snapshot = self.store.read()
            if snapshot.content == theirs:
                return
            time.sleep(0.05)
        raise Invalid(
            f"path: {self.path} is not what the server at hand reads, which is its own {self.server_file}; run the task on the server's"
            " machine, give the path under which its file is seen here, or set reload to false"
        )

    def _attributes(self) -> os.stat_result | None:
        try:
            return os.stat(self.path)
        except OSError:
            return None

    def _set_attributes(self, outcome: base.Outcome[plan.Plan]) -> bool:
        """Owner, group, mode and the like; when that fails the content goes back too, for the task ends there."""
        try:
            given = self.module.load_file_common_arguments(self.params, path=self.path)
            return bool(self.module.set_fs_attributes_if_different(given, False))
        except SystemExit:
            with contextlib.suppress(base.StoreError):
                self.store.restore(outcome)
            raise

    def _verify(self, outcome: base.Outcome[plan.Plan]) -> tuple[base.Outcome[plan.Plan], loaded.Proof]:
        """Reload and prove. When somebody else has written meanwhile, their file with our rules in it is what has to be proved."""
        from .._server import loaded  # noqa: PLC0415

        attempts = 1
        while True:
            try:
                return outcome, self._load(self.expected(after=True))
            except loaded.NotLoaded:
                if attempts == WRITERS or self.store.read().content == outcome.plan.after:
                    raise
            attempts += 1
            again = base.update(self.store, self.prover.plan, backup=False)
            if again.written:
                outcome = base.Outcome(again.plan, True, again.snapshot, outcome.created, outcome.backup, attempts)
            else:
                outcome = base.Outcome(again.plan, outcome.written, again.snapshot, outcome.created, outcome.backup, attempts)

    def _connect(self) -> t.ContextManager[t.Any]:
        from .._server import session  # noqa: PLC0415

        return session.session("after the reload", connection_parameters(self.params))

    def _load(self, expected: loaded.Expected) -> loaded.Proof:
        from .._server import loaded  # noqa: PLC0415

        return loaded.reload(self.connection, self._connect, self.params["reload_timeout"], expected, self.kind)

    def _roll_back(self, outcome: base.Outcome[plan.Plan], was: os.stat_result | None, reason: str) -> Result:
        """The old file, its attributes and the old rules again; the task fails with the server's reason."""
        from .._server import loaded  # noqa: PLC0415

        result: Result = {"failed": True, "changed": False, **self.shown(outcome), "reloaded": False, "rolled_back": False}
        try:
            self.store.restore(outcome)
            if was is not None and self.store.read().exists:
                os.chown(self.path, was.st_uid, was.st_gid)
                os.chmod(self.path, stat.S_IMODE(was.st_mode))
            result["rolled_back"] = outcome.written
            end = "The old file is back" if outcome.written else "The file was not changed"
        except (base.StoreError, OSError) as error:
            result["changed"] = True
            end = f"The old file could not be put back ({error}); look at it before the server's next restart"
        if result["rolled_back"]:
            try:
                self._load(self.expected(after=False))
                end += ", and the server has loaded it again"
            except (loaded.NotLoaded, CannotConnect) as error:
                end += f", but nothing proves that the server has loaded it: {error}"
        result["msg"] = f"{self.path}: the server did not load the rules, or nothing proves that it did: {reason}. {end}"
        return result

    def shown(self, outcome: base.Outcome[plan.Plan] | None = None) -> Result:
        """The part of the result that a failed run has too."""
        result: Result = {
            "path": self.path,
            "postgres_version": f"{self.server.major}" if self.server.minor is None else f"{self.server.major}.{self.server.minor}",
            **self.proved(),
            "backup_file": None if outcome is None else outcome.backup,
        }
        made = self.prover.result
        if self.module._diff and made is not None:
            texts = {name: self.masked(raw) for name, raw in (("before", made.before), ("after", made.after))}
            result["diff"] = {**texts, "before_header": self.path, "after_header": self.path}
        return result
