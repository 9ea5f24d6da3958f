# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine, asked the same questions as the servers, and what counts as the same answer."""

from __future__ import annotations

import atexit
import importlib
import json
import pkgutil
import shutil
import socket
import sys
import tempfile
import typing as t
from pathlib import Path

from .corpus import Case
from .servers import VALIDATOR, Server, Verdict
from .wire import acting_as

ROOT = Path(__file__).resolve().parents[2]


def engine_module(name: str) -> t.Any:
    """A module of the engine; from a checkout that is not inside a collections path, through a link that looks like one."""
    package = "ansible_collections.pgops.access.plugins.module_utils._hba"
    try:
        return importlib.import_module(f"{package}.{name}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("ansible_collections") or package in (error.name or ""):
            raise
    home = Path(tempfile.mkdtemp(prefix="pgops-col-"))
    atexit.register(shutil.rmtree, home)
    (home / "ansible_collections" / "pgops").mkdir(parents=True)
    (home / "ansible_collections" / "pgops" / "access").symlink_to(ROOT)
    sys.path.insert(0, str(home))
    importlib.invalidate_caches()
    for known in [known for known in sys.modules if known.startswith("ansible_collections")]:
        del sys.modules[known]
    return importlib.import_module(f"{package}.{name}")


model = engine_module("model")
main = engine_module("__main__")
machine = engine_module("host")
ruleset = engine_module("ruleset")
parser = engine_module("parser")
view = engine_module("view")
ident = engine_module("ident")
# The engine imports some of its parts late; here that would be as an account that may not read the checkout.
for part in pkgutil.iter_modules(importlib.import_module(model.__package__).__path__):
    engine_module(part.name)


def described(server: Server, case: Case | None = None) -> t.Any:
    """The engine's description of a running server, with the settings that a case asks for."""
    libraries: tuple[str, ...] = (VALIDATOR,) if server.major >= 18 else ()
    settings = case.settings if case is not None else {}
    if server.major >= 18 and "oauth_validator_libraries" in settings:
        libraries = tuple(name.strip() for name in settings["oauth_validator_libraries"].strip("'").split(",") if name.strip())
    return model.Server(
        server.major,
        ssl=case.ssl if case is not None else server.ssl,
        features=server.features,
        db_user_namespace=settings.get("db_user_namespace") == "on",
        oauth_validator_libraries=libraries,
    )


def host() -> t.Any:
    """What this machine, which the servers run on, says of itself."""
    return parser.Host(interfaces=frozenset(name for _, name in socket.if_nameindex()))


def read(server: Server, case: Case) -> tuple[Verdict, t.Any]:
    """The engine's verdict about a case whose files lie in the server's data folder; and its ruleset."""
    path = str(server.data / f"pg_{case.kind}.conf")
    target = described(server, case)
    with acting_as(server.account.pw_uid if server.account else None):
        if case.kind == "ident":
            return _read_ident(server, path, target)
        rules = ruleset.load(path, machine.Files(), target, host())
    rows = None if rules.unreadable is not None else view.hba_rows(rules.rows, target)
    log = tuple(f"LOG:  {error.message}" for error in rules.errors if not error.shown)
    return Verdict(_normal(server, rows), _normal(server, rules.unreadable), rules.loads, _normal(server, log)), rules


def _read_ident(server: Server, path: str, target: t.Any) -> tuple[Verdict, t.Any]:
    maps = ident.load(path, machine.Files(), target)
    rows = None if server.major < 15 or maps.unreadable is not None else maps.view_rows(target)
    return Verdict(_normal(server, rows), _normal(server, maps.unreadable), maps.loads), maps


def _normal(server: Server, value: t.Any) -> t.Any:
    return json.loads(json.dumps(value).replace(str(server.data), "$PGDATA"))


def difference(ours: Verdict, theirs: Verdict) -> str | None:
    """In what the engine's verdict differs from a server's; None when they agree.

    A server that dies of a file has no rows to compare; the engine has to say that it does not load.
    """
    if theirs.failure == "crash" or theirs.loads is None:
        return "the server died of it and the engine says that it loads" if ours.loads else None
    if ours.loads != theirs.loads:
        return f"loads: engine {ours.loads}, server {theirs.loads}; {ours.log} / {theirs.log}"
    unsaid = [entry for entry in ours.log if entry not in theirs.log]
    if unsaid:
        return f"errors that the view does not show are not in the server's log: {unsaid}"
    if ours.failure != theirs.failure:
        return f"the view's error: engine {ours.failure!r}, server {theirs.failure!r}"
    if ours.rows != theirs.rows:
        for one, other in zip(ours.rows or [], theirs.rows or []):
            if one != other:
                return f"row: engine {_unlike(one, other)}, server {_unlike(other, one)}"
        return f"rows: engine {len(ours.rows or [])}, server {len(theirs.rows or [])}"
    return None


def _unlike(one: dict[str, t.Any], other: dict[str, t.Any]) -> dict[str, t.Any]:
    return {key: value for key, value in one.items() if value != other.get(key, "(no such column)")}


def compare(server: Server, case: Case) -> str | None:
    """Ask both about a case; the difference, or None."""
    theirs = server.judge(case)
    with server.holding(case):
        try:
            ours, _ = read(server, case)
        except Exception as error:  # whatever a file holds, the engine must not raise
            return f"the engine raised {type(error).__name__}: {error}"
    return difference(ours, theirs)
