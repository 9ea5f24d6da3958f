# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""pg_access_check between Ansible's parameters and the check: sentences become clients, verdicts become a result."""

from __future__ import annotations

import typing as t

from .._server import report
from .._server.access_check import AccessCheck, Check, Client, Limits
from .._server.channel import DEFAULT_SOCKET_DIRECTORY, TlsSettings
from .._server.errors import InvalidInput
from . import arguments
from .arguments import connection_options
from .run import Result

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

_VERIFY = {"verify-ca": "ca", "verify-full": "full"}


def argument_spec() -> dict[str, dict[str, t.Any]]:
    """The module's options; DOCUMENTATION says what they mean."""
    return {
        **connection_options(),
        "clients": {"type": "list", "elements": "dict", "required": True, "options": client_options()},
        "parallel": {"type": "int", "default": 16},
        "timeout": {"type": "float", "default": 5.0},
        "total_timeout": {"type": "float", "default": 60.0},
        "fail_on": {"type": "str", "default": "mismatch", "choices": ["mismatch", "never"]},
        "address_elsewhere": {"type": "str", "default": "connect", "choices": ["connect", "skip"]},
        "confirm_with": {"type": "str", "choices": ["psycopg2"]},
    }


def client_options() -> dict[str, dict[str, t.Any]]:
    """One sentence for a client, with what only a real connection needs added to it."""
    return {
        **arguments.client_options(),
        "name": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "host": {"type": "str"},
        "port": {"type": "int"},
        "ssl_cert": {"type": "path"},
        "ssl_key": {"type": "path"},
    }


def check(module: AnsibleModule) -> Result:
    """Makes the connections and builds the result; ``failed`` in it when an expectation was not met and that is to fail the task."""
    params = module.params
    clients = [client(sentence, params, f"clients[{number}]") for number, sentence in enumerate(params["clients"])]
    limits = Limits(params["parallel"], params["timeout"], params["total_timeout"])
    confirm = params["confirm_with"] == "psycopg2"
    checks = AccessCheck(limits, address_elsewhere=params["address_elsewhere"], confirm=confirm).run(clients)
    return result(checks, fail=params["fail_on"] == "mismatch")


def client(sentence: t.Mapping[str, t.Any], params: t.Mapping[str, t.Any], where: str) -> Client:
    """A sentence, completed by the module's options, as the client that it describes."""
    own_cert, own_key = sentence["ssl_cert"], sentence["ssl_key"]
    if own_key and not own_cert:
        raise InvalidInput(f"{where}.ssl_key", "it needs ssl_cert, the certificate that the key belongs to")
    transport = sentence["transport"] or _transport(sentence, params)
    return Client(
        user=sentence["user"],
        host=sentence["host"] or _host(transport, params),
        port=params["login_port"] if sentence["port"] is None else sentence["port"],
        database=sentence["database"],
        address=sentence["address"],
        transport=transport,
        replication=sentence["replication"],
        password=sentence["password"] or None,
        expect=sentence["expect"],
        name=sentence["name"],
        tls=_tls(params, own_cert, own_key),
        where=where,
    )


def _transport(sentence: t.Mapping[str, t.Any], params: t.Mapping[str, t.Any]) -> str:
    """What an absent ``transport`` means: the socket where one is named, TLS where the module insists on it, otherwise plain TCP."""
    host = sentence["host"] or params["login_host"] or ""
    if host.startswith("/") or (not host and params["login_unix_socket"]):
        return "local"
    return "tls" if params["ssl_mode"] in ("require", *_VERIFY) else "tcp"


def _host(transport: str, params: t.Mapping[str, t.Any]) -> str:
    host = params["login_host"] or ""
    if transport == "local":
        socket = params["login_unix_socket"] or (host if host.startswith("/") else "")
        return str(socket or DEFAULT_SOCKET_DIRECTORY)
    return "localhost" if not host else str(host)


def _tls(params: t.Mapping[str, t.Any], own_cert: str | None, own_key: str | None) -> TlsSettings:
    # libpq verifies the chain as soon as it has an authority to verify with, also under "require".
    verify = _VERIFY.get(params["ssl_mode"], "ca" if params["ca_cert"] else "none")
    cert, key = (own_cert, own_key) if own_cert else (params["ssl_cert"], params["ssl_key"])
    return TlsSettings(verify, params["ca_cert"], cert, key)


def result(checks: t.Sequence[Check], fail: bool) -> Result:
    """What the module returns; see RETURN."""
    mismatches = [report.mismatch(one) for one in checks if one.met is False]
    outcome: Result = {
        "changed": False,
        "checks": [report.as_data(one) for one in checks],
        "mismatches": mismatches,
        "summary": report.summary(checks),
        "table": report.table(checks),
    }
    if mismatches:
        expected = sum(1 for one in checks if one.client.expect is not None)
        outcome["msg"] = f"{len(mismatches)} of {expected} expectations are not met.\n" + "\n".join(mismatches)
        outcome["failed"] = fail
    return outcome
