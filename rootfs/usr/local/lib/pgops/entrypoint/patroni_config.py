# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patroni's local configuration and the dynamic one that a new cluster begins with, as values. Pure.

What is local is only what a member cannot share: places, certificates, log pipes, secrets. All else is in the dynamic configuration,
where one change reaches every member and nothing local can hide it.
"""

from __future__ import annotations

import typing as t

from .._hba.model import Server
from . import cluster_rules
from .member_settings import STORES, Login, Member
from .settings import SettingsError

LOG_FORMAT = [{"asctime": "time"}, {"levelname": "level"}, {"name": "logger"}, "message"]
HIDING = (
    ("postgresql", "pg_hba"), ("postgresql", "pg_ident"), ("postgresql", "parameters", "hba_file"),
    ("postgresql", "parameters", "ident_file"),
    ("bootstrap", "dcs", "postgresql", "pg_hba"), ("bootstrap", "dcs", "postgresql", "pg_ident"),
    ("bootstrap", "pg_hba"),
)  # fmt: skip
"""Keys of a local configuration that would replace the cluster's access rules on this member, or be written over by them."""
Tree = t.Dict[str, t.Any]


class Local(t.NamedTuple):
    """What only this container knows."""

    data: str
    binaries: str
    runtime: str
    parameters: dict[str, str]
    """Server settings: certificates, log pipes, socket."""
    initdb: tuple[str, ...]
    """POSTGRES_INITDB_ARGS."""
    log_level: str
    post_bootstrap: str
    """Program that a new cluster runs once."""
    shared: t.Mapping[str, str] = {}
    """Server settings that a new cluster begins with, for what this image has; later the dynamic configuration decides."""


def build(member: Member, local: Local, wanted: cluster_rules.Rules, server: Server) -> Tree:
    """The file that Patroni reads first. Raises SettingsError."""
    made: Tree = {
        "scope": member.scope,
        "name": member.name,
        "log": {
            "type": "json",
            "format": LOG_FORMAT,
            "dateformat": "%Y-%m-%dT%H:%M:%S%z",
            "level": local.log_level.upper(),
            "deduplicate_heartbeat_logs": local.log_level != "debug",
        },
        "restapi": {
            "listen": member.rest_listen,
            "connect_address": member.rest_connect_address,
            "authentication": _login(member.rest),
        },
        "bootstrap": _bootstrap(member, local, wanted, server),
        "postgresql": _postgresql(member, local),
        "tags": {"external_access": wanted.digest},
    }
    if member.etcd is not None:
        made["etcd3"] = {key: value for key, value in _login(member.etcd).items() if value}
    return made


def check_foreign(name: str, content: object) -> None:
    """Refuse a file of the user's that hides the cluster's rules, or is no configuration at all. Raises SettingsError."""
    if not isinstance(content, dict):
        raise SettingsError(name, "is not a YAML mapping, so it is no configuration of Patroni")
    for path in HIDING:
        place: object = content
        for key in path:
            place = place.get(key) if isinstance(place, dict) else None
        if place is not None:
            raise SettingsError(
                name,
                f"sets {'.'.join(path)}, which would replace the cluster's access rules; remove it, and say who may connect with "
                "EXTERNAL_ACCESS_* or in the cluster's dynamic configuration",
            )


def names_store(content: t.Mapping[str, t.Any]) -> bool:
    """Whether a file of the user's says where the distributed store is."""
    return any(store.rstrip("_").lower() in content for store in STORES)


def _bootstrap(member: Member, local: Local, wanted: cluster_rules.Rules, server: Server) -> Tree:
    return {
        "dcs": {
            "ttl": 30,
            "loop_wait": 10,
            "retry_timeout": 10,
            "maximum_lag_on_failover": 1048576,
            # No acknowledged commit is lost with one member; and the store's outage alone does not stop the writes.
            "synchronous_mode": "quorum",
            "failsafe_mode": True,
            "postgresql": {
                "use_pg_rewind": True,
                "use_slots": True,
                "parameters": {"password_encryption": "scram-sha-256", **local.shared},
                "pg_hba": cluster_rules.first_list(wanted, server),
                "pg_ident": cluster_rules.user_map(member, server),
            },
            "pgops": {"external_access": wanted.digest},
        },
        "initdb": ["data-checksums", {"encoding": "UTF8"}, {"auth-local": "peer"}, {"auth-host": "scram-sha-256"}, *_initdb(local.initdb)],
        "post_bootstrap": local.post_bootstrap,
    }


def _postgresql(member: Member, local: Local) -> Tree:
    authentication = {
        "superuser": _login(member.superuser),
        "replication": _login(member.replication),
        "rewind": _login(member.rewind),
    }
    return {
        "listen": "*:5432",
        "connect_address": member.connect_address,
        "data_dir": local.data,
        "bin_dir": local.binaries,
        "pgpass": f"{local.runtime}/pgpass",
        "use_unix_socket": True,
        "use_unix_socket_repl": True,
        "basebackup": {"checkpoint": "fast"},
        "authentication": authentication,
        "parameters": local.parameters,
    }


def _initdb(words: t.Sequence[str]) -> list[t.Any]:
    """initdb's arguments as Patroni wants them: ``--name=value`` and ``--name`` without their dashes."""
    made: list[t.Any] = []
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name:
            raise SettingsError("POSTGRES_INITDB_ARGS", f"{word!r}: a member's initdb takes --NAME=VALUE and --NAME only")
        made.append({name: value} if equals else name)
    return made


def _login(login: Login) -> dict[str, str]:
    return {"username": login.name, "password": login.password}
