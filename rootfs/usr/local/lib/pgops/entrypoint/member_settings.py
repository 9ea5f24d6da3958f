# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment contract of a cluster's member as values; no I/O of its own.

Every PATRONI_* variable keeps Patroni's meaning, since Patroni itself reads them. Added are: ``…_FILE`` for each of them, defaults
where Patroni has none, and a refusal of what would make a cluster that anybody can write to or whose rules a member hides.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import typing as t

from .settings import Environment, ReadFile, SettingsError, split_list

STORES = ("ETCD3_", "ETCD_", "CONSUL_", "ZOOKEEPER_", "EXHIBITOR_", "KUBERNETES_", "RAFT_")
"""Beginnings of the variables that name a distributed store, after PATRONI_."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ROUNDS = 100_000
_ANYWHERE = ("0.0.0.0", "*", "", "::")  # noqa: S104 - recognised, not listened on
# What goes into Patroni's file and not into its environment: so that SIGHUP can bring a renewed secret, and nobody reads it in /proc.
_IN_FILE = (
    ("SUPERUSER_USERNAME", "SUPERUSER_PASSWORD"), ("REPLICATION_USERNAME", "REPLICATION_PASSWORD"), ("REWIND_USERNAME", "REWIND_PASSWORD"),
    ("RESTAPI_USERNAME", "RESTAPI_PASSWORD"), ("ETCD3_USERNAME", "ETCD3_PASSWORD"),
)  # fmt: skip


class Login(t.NamedTuple):
    """A user name and its password."""

    name: str
    password: str


@dataclasses.dataclass(frozen=True)
class Member:
    """What a member is told."""

    scope: str
    name: str
    superuser: Login
    replication: Login
    rewind: Login
    rewind_derived: bool
    rest: Login
    rest_derived: bool
    etcd: Login | None
    addresses: tuple[str, ...]
    """Where the cluster's members are: replication and rewind are let in from there."""
    database: str
    rest_listen: str
    rest_url: str
    """How this container reaches its own REST API."""
    connect_address: str
    rest_connect_address: str
    data_directory: str
    """PATRONI_POSTGRESQL_DATA_DIR; empty: PGDATA decides."""
    store_given: bool
    """Whether the environment names a distributed store."""
    passed: dict[str, str]
    """For Patroni's own environment."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every password, for the redactor."""
        logins = (self.superuser, self.replication, self.rewind, self.rest, self.etcd)
        return tuple(login.password for login in logins if login is not None)


def parse(environment: Environment, read_file: ReadFile, address: str, host: str) -> Member:
    """The member's settings. ``address`` is this container's own, ``host`` its name. Raises SettingsError."""
    if environment.get("PATRONI_CONFIGURATION"):
        raise SettingsError(
            "PATRONI_CONFIGURATION",
            "with it Patroni ignores every other PATRONI_* variable and the file that this image writes; "
            "mount the settings as /etc/pgops/patroni/NAME.yml instead",
        )
    values = _resolved(environment, read_file)
    scope, name = _named("PATRONI_SCOPE", values.get("SCOPE", "")), _named("PATRONI_NAME", values.get("NAME") or host)
    superuser = Login(
        values.get("SUPERUSER_USERNAME") or values["POSTGRES_USER"] or "postgres",
        _secret("PATRONI_SUPERUSER_PASSWORD", values.get("SUPERUSER_PASSWORD") or values["POSTGRES_PASSWORD"], "the superuser"),
    )
    replication = Login(
        values.get("REPLICATION_USERNAME") or "replicator",
        _secret("PATRONI_REPLICATION_PASSWORD", values.get("REPLICATION_PASSWORD", ""), "replication"),
    )
    rest_given = values.get("RESTAPI_PASSWORD", "")
    listen = values.get("RESTAPI_LISTEN") or "0.0.0.0:8008"
    member = Member(
        scope=scope,
        name=name,
        superuser=superuser,
        replication=replication,
        rewind=Login(
            values.get("REWIND_USERNAME") or "rewind_user", values.get("REWIND_PASSWORD") or _derived(superuser.password, scope, "rewind")
        ),
        rewind_derived=not values.get("REWIND_PASSWORD"),
        rest=Login(values.get("RESTAPI_USERNAME") or "patroni", rest_given or _derived(superuser.password, scope, "REST")),
        rest_derived=not rest_given,
        etcd=_optional(values, "ETCD3", ""),
        addresses=split_list("CLUSTER_ADDRESSES", environment.get("CLUSTER_ADDRESSES") or "0.0.0.0/0,::/0"),
        database=values["POSTGRES_DB"] or "postgres",
        rest_listen=listen,
        rest_url=_own_url(listen, bool(values.get("RESTAPI_CERTFILE"))),
        connect_address=values.get("POSTGRESQL_CONNECT_ADDRESS") or f"{_bracketed(address)}:5432",
        rest_connect_address=values.get("RESTAPI_CONNECT_ADDRESS") or f"{_bracketed(address)}:{listen.rpartition(':')[2]}",
        data_directory=values.get("POSTGRESQL_DATA_DIR", ""),
        store_given=any(key.startswith(STORES) for key in values),
        passed=_passed(values),
    )
    _distinct(member)
    return member


def _resolved(environment: Environment, read_file: ReadFile) -> dict[str, str]:
    """Patroni's variables without their prefix, and docker-library's with theirs; ``…_FILE`` replaced by what the file holds."""
    values = {"POSTGRES_USER": "", "POSTGRES_PASSWORD": "", "POSTGRES_DB": ""}
    for variable, value in environment.items():
        prefix, _unused, rest = variable.partition("_")
        if not value or (prefix != "PATRONI" and variable.replace("_FILE", "") not in values):
            continue
        key = rest if prefix == "PATRONI" else variable
        if not key.endswith("_FILE"):
            values[key] = value
            continue
        plain = variable[: -len("_FILE")]
        if environment.get(plain):
            raise SettingsError(plain, f"{plain} and {variable} are both set; keep one of them")
        values[key[: -len("_FILE")]] = _content(variable, value, read_file)
    return values


def _content(variable: str, path: str, read_file: ReadFile) -> str:
    try:
        text = read_file(path).decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(
            variable, f"cannot read {path}: {error.strerror or error}; check the mount and that its mode lets us read"
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(variable, f"{path} is not UTF-8 text") from None
    if not text or any(character in text for character in "\0\r\n"):
        raise SettingsError(variable, f"{path} holds no value of one line; write the value into it, and nothing else")
    return text


def _named(variable: str, text: str) -> str:
    if not _NAME.fullmatch(text):
        raise SettingsError(variable, f"{text!r} is no name: letters, digits, dots, dashes and underscores, at most 63")
    return text


def _secret(variable: str, text: str, who: str) -> str:
    if not text:
        raise SettingsError(
            variable, f"{who} needs a password, the same on every member; set {variable}_FILE (a mounted secret) or {variable}"
        )
    return text


def _optional(values: t.Mapping[str, str], role: str, name: str) -> Login | None:
    login = Login(values.get(role + "_USERNAME") or name, values.get(role + "_PASSWORD", ""))
    if not login.password:
        return None
    if not login.name:
        raise SettingsError(f"PATRONI_{role}_USERNAME", f"PATRONI_{role}_PASSWORD is set, and no user name for it")
    return login


def _derived(password: str, scope: str, purpose: str) -> str:
    """A password that every member comes to by itself.

    For REST: without one, whoever reaches the port may rewrite the cluster's rules. For rewinding: without a user for it Patroni takes the
    superuser, who then must be let in from wherever members are.
    """
    return hashlib.pbkdf2_hmac("sha256", password.encode("utf-8", "surrogateescape"), f"pgops {purpose} {scope}".encode(), _ROUNDS).hex()


def _own_url(listen: str, tls: bool) -> str:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise SettingsError("PATRONI_RESTAPI_LISTEN", f"{listen!r} is not ADDRESS:PORT")
    host = host.strip("[]")
    return f"{'https' if tls else 'http'}://{'127.0.0.1' if host in _ANYWHERE else _bracketed(host)}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _passed(values: t.Mapping[str, str]) -> dict[str, str]:
    kept_back = {name for pair in _IN_FILE for name in pair} | {"POSTGRESQL_DATA_DIR", "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"}
    return {f"PATRONI_{name}": value for name, value in values.items() if name not in kept_back}


def _distinct(member: Member) -> None:
    names = [login.name for login in (member.superuser, member.replication, member.rewind)]
    if len(set(names)) != len(names):
        raise SettingsError(
            "PATRONI_REPLICATION_USERNAME", f"the users {', '.join(names)} must be different ones: each has rights of its own"
        )
