# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""pg_auth_method on a Patroni cluster: rules and ``password_encryption`` in the dynamic configuration, passwords on the leader."""

from __future__ import annotations

import contextlib
import time
import typing as t

from .._hba import plan, ruleset
from .._server import passwords, session
from .._server.errors import CannotConnect
from .._store import base
from .auth_method import Inquiry
from .auth_method_apply import File, Migration, Prover, Shared
from .auth_method_logins import Place
from .patroni import Cluster
from .patroni_manage import OnCluster

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

PAUSE = 0.2


def leader(module: AnsibleModule, stack: contextlib.ExitStack) -> t.Any:
    """A session on the leader."""
    cluster = Cluster(module, stack)
    cluster.settle()
    return cluster.leader().connection


def migration(module: AnsibleModule, stack: contextlib.ExitStack, shared: Shared) -> Migration:
    """A migration whose rules are in a cluster."""
    return _ClusterMigration(module, stack, shared, _ClusterFile(module, stack, shared))


class _ClusterFile(OnCluster[Prover], File):
    """The cluster's list of rules."""

    def __init__(self, module: AnsibleModule, stack: contextlib.ExitStack, shared: Shared) -> None:
        self.shared, self.edited = shared, None
        self.main = f"postgresql.{self.kind.name}"
        super().__init__(module, stack)

    def _check_same_file(self) -> None:
        """Whose file it is, is Patroni's business; :meth:`_check_origins` looks."""

    def _connect(self) -> t.ContextManager[t.Any]:
        return self.cluster.first().fresh()

    def _verify_everywhere(self, outcome: base.Outcome[plan.Plan]) -> base.Outcome[plan.Plan]:
        found = super()._verify_everywhere(outcome)
        self._try_logins()
        return found

    def current(self, inquiry: Inquiry) -> ruleset.Ruleset:
        """The list, as the last plan left it: its lines are those that ``only`` names."""
        return t.cast(ruleset.Ruleset, self.prover.after)


class _Configuration:
    """Settings of a cluster; implements ``passwords.Settings``."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def check(self) -> None:
        """Who may write the rules may write settings: the REST API knows no finer rights."""

    def put(self, name: str, value: str) -> None:
        """PATCH, and wait until every member whose server can be asked has it for new sessions."""
        self._cluster.client.patch({"postgresql": {"parameters": {name: value}}})
        deadline = time.monotonic() + self._cluster.given["wait"]
        for node in self._cluster.ready:
            while not self._has(node, name, value):
                if time.monotonic() > deadline:
                    raise passwords.CannotChange(
                        f"{name}: {node.name} has not taken it from the cluster's configuration; look whether its own says otherwise"
                    )
                time.sleep(PAUSE)

    @staticmethod
    def _has(node: t.Any, name: str, value: str) -> bool:
        try:
            with node.fresh() as fresh:
                now, source = session.rows(fresh, "select setting, source from pg_catalog.pg_settings where name = %s", [name])[0]
        except CannotConnect:
            return False
        return bool(now == value or source in passwords.OVERRIDES)


class _ClusterMigration(Migration):
    """One run on a cluster."""

    main: t.Any

    def where_settings_are(self) -> passwords.Settings:
        return _Configuration(self.main.cluster)

    def reachable(self) -> list[Place]:
        """The leader, from this machine, as the server sees our own session."""
        node = self.main.cluster.leader()
        given = node.parameters
        address = self.inquiry.facts.client.address
        if address is None:
            return [Place("local", given["host"], int(given["port"]), None)]
        transports = ("tcp", "tls") if self.inquiry.server.ssl else ("tcp",)
        return [Place(transport, given["host"], int(given["port"]), address) for transport in transports]
