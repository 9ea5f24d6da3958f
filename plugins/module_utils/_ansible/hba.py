# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""pg_hba between Ansible's parameters and the engine: what :mod:`manage` plans and proves with."""

from __future__ import annotations

import typing as t

from .._hba import plan, view
from .._hba.ruleset import Ruleset
from .._hba.spec import RuleSpec
from . import arguments, hba_common, hba_proof, patroni_options
from . import manage as managed
from .hba_proof import Policy, Prover
from .run import Result

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

    from .._server import loaded


def argument_spec() -> dict[str, dict[str, t.Any]]:
    """The module's options; DOCUMENTATION says what they mean."""
    return {
        **managed.options(),
        "sections": managed.sections_option(),
        "patroni": patroni_options.option(),
        "expect": {"type": "list", "elements": "dict", "options": arguments.client_options()},
    }


def manage(module: AnsibleModule) -> Result:
    """Plans, proves, writes, verifies; see RETURN."""
    for rules in (module.params["rules"], *[section["rules"] for section in module.params["sections"] or ()]):
        module.no_log_values.update(hba_common.secrets_in(rules if isinstance(rules, list) else [rules]))
    return managed.manage(module, _Task)


class _Task(managed.Task[Prover]):
    """One run."""

    @property
    def kind(self) -> loaded.Kind:
        from .._server import loaded  # noqa: PLC0415 (only a task that asks a server pays for the import)

        return loaded.HBA

    def make_prover(self) -> Prover:
        return Prover(self._policy(), *managed.requests(self.params, self._specs))

    def expected(self, after: bool) -> loaded.Expected:
        from .._server import loaded  # noqa: PLC0415 (as above)

        made = t.cast(plan.Plan, self.prover.result)
        rules = t.cast(Ruleset, self.prover.after if after else self.prover.before)
        rows = t.cast("loaded.Rows", view.hba_rows(rules.rows, self.server))
        return loaded.Expected(made.after if after else made.before, rows, "" if rules.loads else hba_proof.errors_text(rules))

    def proved(self) -> Result:
        return hba_proof.shown(self.prover, self.limit(len(self.prover.changes or ())))

    def masked(self, raw: bytes) -> str:
        return hba_common.masked(raw, self.server)

    def _policy(self) -> Policy:
        params, facts = self.params, self.facts
        return Policy(
            path=hba_proof.path_text(self.path),
            server=self.server,
            roles=None if facts is None else facts.roles,
            expect=tuple(hba_common.sentences(params["expect"], "expect")),
            own=None if facts is None else facts.client,
            certificate=bool(params["ssl_cert"]),
            lockout=params["lockout"],
            validate=params["validate"],
            interfaces=None if facts is None else facts.interfaces,
        )

    def _specs(self, rules: t.Any, state: str, option: str) -> tuple[RuleSpec, ...]:
        return hba_proof.specs_of(rules, self.server, absent=state == "absent", option=option)
