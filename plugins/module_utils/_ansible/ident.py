# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""pg_ident between Ansible's parameters and the engine: what :mod:`manage` plans and proves with."""

from __future__ import annotations

import os
import pwd
import typing as t

from .._hba import ident, plan, ruleset
from .._hba.ident_edits import MappingSpec, mapping_from_dict, mapping_from_line
from .._hba.model import Client, Rule, decode
from .._server import loaded, session
from .._server.facts import Denied, Facts, ServerFiles
from . import hba_common, ident_proof, patroni_options
from . import manage as managed
from .ident_proof import Own, Policy, Prover
from .run import Result

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

SYSTEM_USER_SINCE = 16
"""First major release whose SQL knows how a session proved who it is."""


def argument_spec() -> dict[str, dict[str, t.Any]]:
    """The module's options; DOCUMENTATION says what they mean."""
    sentence = {
        "map": {"type": "str", "required": True},
        "system_user": {"type": "str", "required": True},
        "user": {"type": "str"},
        "memberships": {"type": "list", "elements": "str"},
        "expect": {"type": "str"},
    }
    return {
        **managed.options(),
        "sections": managed.sections_option(),
        "patroni": patroni_options.option(),
        "expect": {"type": "list", "elements": "dict", "options": sentence},
    }


def manage(module: AnsibleModule) -> Result:
    """Plans, proves, writes, verifies; see RETURN."""
    return managed.manage(module, _Task)


class _Task(managed.Task[Prover]):
    """One run."""

    kind = loaded.IDENT

    def make_prover(self) -> Prover:
        params, facts = self.params, self.facts
        rules = None if facts is None else self._rules(facts)
        policy = Policy(
            path=decode(self.path.encode("utf-8", "surrogateescape")),
            server=self.server,
            roles=None if facts is None else facts.roles,
            rules=rules,
            expect=ident_proof.sentences(params["expect"]),
            own=None if facts is None or rules is None else self._own(facts.client, rules),
            lockout=params["lockout"],
            validate=params["validate"],
        )
        return Prover(policy, *managed.requests(params, self._specs))

    def expected(self, after: bool) -> loaded.Expected:
        made = t.cast(plan.Plan, self.prover.result)
        file = t.cast(ident.IdentFile, self.prover.after if after else self.prover.before)
        rows = t.cast("loaded.Rows", file.view_rows(self.server))
        problem = "" if file.loads else ident_proof.errors_text(file)
        return loaded.Expected(made.after if after else made.before, rows, problem, lambda path, files: self._reread(file, path, files))

    def proved(self) -> Result:
        return ident_proof.shown(self.prover, self.limit(len(self.prover.changes)))

    def masked(self, raw: bytes) -> str:
        return raw.decode("utf-8", "replace")

    def _specs(self, rules: t.Any, state: str, option: str) -> tuple[MappingSpec, ...]:
        absent = state == "absent"
        return hba_common.wanted(
            rules,
            lambda item, where: mapping_from_dict(item, self.server, where, absent=absent),
            lambda item, where: mapping_from_line(item, self.server, where, absent=absent),
            option,
        )

    def _reread(self, file: ident.IdentFile, path: str, files: ServerFiles) -> str:
        """Before 15 no view shows the server's reading; then its files, with what they include, are read as its own account reads them."""
        theirs = ident.load(path, files, self.server)
        if not theirs.loads:
            return f"the server cannot load its file: {ident_proof.errors_text(theirs)}"
        if [mapping[:3] for mapping in theirs.mappings] != [mapping[:3] for mapping in file.mappings]:
            return f"the server's {path}, or what it includes, holds other maps than those that were written"
        return ""

    def _rules(self, facts: Facts) -> tuple[Rule, ...] | None:
        """The rules that use maps; None where the role may not read them, or the server would not load them."""
        if not facts.hba_file:
            return None
        try:
            found = ruleset.load(facts.hba_file, ServerFiles(self.connection), facts.server)
        except Denied:
            return None
        return found.rules if found.loads else None

    def _own(self, client: Client, rules: tuple[Rule, ...]) -> Own | None:
        """How a map lets our session in; None when none does, or when who we are to the server is not known."""
        facts = t.cast(Facts, self.facts)
        decision = hba_common.decider(rules, facts.server, facts.roles, facts.interfaces).decide(client)
        rule = decision.rule
        name = "" if rule is None else dict(rule.options).get("map", "")
        if rule is None or rule.method not in ("peer", "ident") or not name:
            return None
        if self.server.major >= SYSTEM_USER_SINCE:
            _method, colon, identity = str(session.rows(self.connection, "select system_user")[0][0] or "").partition(":")
            return Own(name, identity, client.user) if colon else None
        if rule.method != "peer":
            return None
        try:
            return Own(name, pwd.getpwuid(os.geteuid()).pw_name, client.user)  # what peer asks the kernel for
        except KeyError:
            return None
