# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""patroni_cluster_info between Ansible's parameters and the cluster: who is a member, in which state, and by which rules it lives."""

from __future__ import annotations

import contextlib
import typing as t

from .._patroni import client, errors, model
from .._server import loaded
from .._server.errors import ServerError
from . import patroni
from .arguments import connection_options
from .patroni import Cluster, Node
from .patroni_config import masked
from .patroni_options import option
from .run import Result

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

KINDS = {"pg_hba": loaded.HBA, "pg_ident": loaded.IDENT}


def argument_spec() -> dict[str, dict[str, t.Any]]:
    """The module's options; DOCUMENTATION says what they mean."""
    return {**connection_options(), "patroni": option(required=True), "ask_servers": {"type": "bool", "default": True}}


def info(module: AnsibleModule) -> Result:
    """Reads; see RETURN."""
    with contextlib.ExitStack() as stack:
        try:
            cluster = Cluster(module, stack, ask_servers=module.params["ask_servers"])
        except errors.Unreachable as error:
            return {"failed": True, "msg": str(error), "changed": False, "members": _each_for_itself(module)}
        return _shown(cluster)


def _shown(cluster: Cluster) -> Result:
    config, configuration_error = None, None
    try:
        config = cluster.client.config()
    except errors.PatroniError as error:
        configuration_error = str(error)
    problems = [configuration_error] if config is None else model.problems(config)
    view = cluster.view
    members = [_member(cluster, node, config or {}) for node in cluster.nodes]
    return {
        "changed": False,
        "scope": view.scope,
        "leader": None if view.leader is None else view.leader.name,
        "paused": view.pause,
        "scheduled_switchover": view.scheduled_switchover,
        "config": masked(config),
        "config_problems": problems,
        "members": members,
        "pending_restart": [member["name"] for member in members if member["pending_restart"]],
        "writable": {key: _writable(key, config or {}, members) for key in KINDS},
    }


def _member(cluster: Cluster, node: Node, config: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """One member: what the cluster says of it, what it says itself, what its server says."""
    member = node.member
    told, problem = _told(cluster, node)
    server = told.get("server_version")
    return {
        "name": member.name,
        "role": member.role,
        "state": member.state,
        "host": member.host,
        "port": member.port,
        "api_url": member.api_url,
        "timeline": member.timeline,
        "lag": member.lag,
        "tags": dict(member.tags or {}),
        "pending_restart": member.pending_restart or bool(told.get("pending_restart")),
        "pending_restart_reason": member.pending_restart_reason or told.get("pending_restart_reason"),
        "patroni_version": (told.get("patroni") or {}).get("version"),
        "postgres_version": None if not isinstance(server, int) else f"{server // 10000}.{server % 10000}",
        "api_problem": problem,
        "server_problem": node.problem,
        "rules": {key: _rules(cluster, node, key, config) for key in KINDS},
    }


def _told(cluster: Cluster, node: Node) -> tuple[dict[str, t.Any], str | None]:
    """What a member says of itself, or why it says nothing."""
    try:
        return cluster.client.request("GET", "/patroni", only=cluster.url_of(node), timeout=3.0).json(), None
    except errors.PatroniError as error:
        return {}, str(error)


def _rules(cluster: Cluster, node: Node, key: str, config: t.Mapping[str, t.Any]) -> dict[str, t.Any] | None:
    """Where this member's rules come from, and what its server makes of them; None when it cannot be asked."""
    if node.connection is None:
        return None
    found: dict[str, t.Any] = {"source": None, "path": None, "current": None, "reason": None, "errors": [], "loaded": None}
    try:
        origin = cluster.origin(node, key, config)
        found.update(origin._asdict())
        with node.fresh() as connection:
            pending = loaded.pending(connection, [origin.path])
            found["loaded"] = None if pending is None else not pending
            if loaded.has_view(connection, KINDS[key]):
                rows = loaded.view_rows(connection, KINDS[key])
                found["errors"] = [{"line_number": row["line_number"], "error": row["error"]} for row in rows if row["error"] is not None]
    except (ServerError, errors.InvalidConfiguration) as error:
        found["reason"] = str(error)
    if found["errors"]:
        found["loaded"] = False
    return found


def _writable(key: str, config: t.Mapping[str, t.Any], members: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """Whether a write of this list would have effect on every member that could be asked, and why not."""
    try:
        exists = bool(model.rules_in(config, key))
    except errors.InvalidConfiguration as error:
        return {"exists": True, "effective": False, "reasons": {"config": str(error)}}
    found = {member["name"]: member["rules"][key] for member in members if member["rules"][key] is not None}
    fine = (patroni.LIST,) if exists else (patroni.LIST, patroni.FOREIGN, patroni.OTHER)
    against = {name: rules["reason"] for name, rules in found.items() if rules["source"] not in fine}
    return {"exists": exists, "effective": None if not found else not against, "reasons": against}


def _each_for_itself(module: AnsibleModule) -> list[dict[str, t.Any]]:
    """Without its DCS a cluster cannot be listed, but each member still says in which state it is."""
    api = client.Client(patroni.access_of(module.params["patroni"]))
    found = []
    for url in api.urls:
        with contextlib.suppress(errors.PatroniError):
            told = api.request("GET", "/patroni", only=url, timeout=2.0).json()
            name = (told.get("patroni") or {}).get("name")
            found.append({"name": name, "role": told.get("role"), "state": told.get("state"), "api_url": url})
    return found
