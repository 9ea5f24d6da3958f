# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""A cluster at hand: its REST API, a session to every member's server, one lock, and where each member's rules come from."""

from __future__ import annotations

import contextlib
import posixpath
import time
import typing as t
import urllib.parse

from .._patroni import client, errors, model
from .._patroni.store import PatroniStore
from .._server import session
from .._server.errors import CannotConnect, ServerError
from .._server.facts import Facts, ServerFiles, ask, translated
from .._store import base
from .arguments import connection_parameters
from .hba_common import Invalid

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

ADVISORY_LOCK = 8097_7118_1125
"""Key of the lock that writers of this collection take on the leader's server, in the database that they log in to."""
SESSION_TIMEOUT = 5
"""Seconds to log in to a member."""
T = t.TypeVar("T")
COMING = ("starting", "restarting", "creating replica", "initializing new cluster", "running custom bootstrap script")
"""States of Patroni that pass by themselves (postgresql/misc.py)."""
LIST, MOVED, FOREIGN, OTHER = "dynamic_configuration", "hba_file", "local_file", "local_configuration"
"""Where a member's rules come from; see ``docs/guides/patroni.md``."""


def access_of(given: t.Mapping[str, t.Any]) -> client.Access:
    """The option as the client's value."""
    if given["timeout"] <= 0 or given["wait"] <= 0:
        raise Invalid("patroni: timeout and wait are seconds, and more than none")
    names = ("username", "password", "ca_cert", "client_cert", "client_key", "timeout", "validate_certs")
    return client.Access(tuple(given["urls"]), **{name: given[name] for name in names})


class Node:
    """One member and the session to its server."""

    def __init__(self, member: model.Member, parameters: dict[str, t.Any]) -> None:
        self.member = member
        self.parameters = parameters
        self.connection: t.Any = None
        self.facts: Facts | None = None
        self.problem: str | None = None

    @property
    def name(self) -> str:
        """The member's name."""
        return self.member.name

    def open(self) -> bool:
        """Log in; ``problem`` says why not. True when there is a session."""
        self.close()
        try:
            with translated(f"on {self.name}"):
                self.connection = session.psycopg2("to ask every member's server").connect(**self.parameters)
                self.connection.autocommit = True
                self.facts = ask(self.connection)
            self.problem = None
        except CannotConnect as error:
            self.close()
            self.problem = str(error)
        return self.connection is not None

    def close(self) -> None:
        """End the session, whatever state it is in."""
        if self.connection is not None:
            with contextlib.suppress(Exception):
                self.connection.close()
        self.connection = None

    def lives(self) -> bool:
        """Whether the session still works: it outlives rules that let no new one in, and is then what they can be put back with."""
        with contextlib.suppress(Exception):
            return bool(session.rows(self.connection, "select true")[0][0])
        return False

    def fresh(self) -> t.ContextManager[t.Any]:
        """A new session, for the proof that it is possible."""
        return session.session(f"on {self.name}", self.parameters)

    def file(self, key: str) -> tuple[str, bytes | None]:
        """The path of the file that the server reads, and its content; None when it cannot read it. Raises Denied, CannotConnect."""
        with translated(f"on {self.name}"):
            path = str(session.rows(self.connection, "select pg_catalog.current_setting(%s)", [model.KEYS[key]])[0][0])
            try:
                return path, ServerFiles(self.connection).read(path)
            except OSError:
                return path, None

    def folder(self) -> str:
        """Patroni's config_dir: it starts its server with the configuration file there."""
        with translated(f"on {self.name}"):
            return posixpath.dirname(str(session.rows(self.connection, "select pg_catalog.current_setting('config_file')")[0][0]))


class Origin(t.NamedTuple):
    """Where the rules of one member come from."""

    source: str
    path: str
    current: bool
    """Whether its file is what the dynamic configuration asks for now."""
    reason: str


class Cluster:
    """The cluster that the option ``patroni`` names, with sessions to those members that can be asked."""

    def __init__(self, module: AnsibleModule, stack: contextlib.ExitStack, *, ask_servers: bool = True) -> None:
        self.given: dict[str, t.Any] = module.params["patroni"]
        self.params: dict[str, t.Any] = module.params
        for name in ("login_host", "login_unix_socket"):
            if self.params.get(name):
                raise Invalid(f"{name}: goes not with patroni, where the members' addresses come from the cluster; see patroni.addresses")
        self.client = client.Client(access_of(self.given))
        self.view = self._view()
        self.nodes = [Node(member, self._parameters(member)) for member in self.view.members]
        if not self.nodes:
            raise errors.PatroniError(self.client.urls[0], "the cluster has no members", "check the scope of the member that was asked")
        self._urls: dict[str, str] | None = None
        for node in self.nodes:
            stack.callback(node.close)
            node.problem = None if ask_servers and node.open() else node.problem or "its server is not asked"

    def _view(self) -> model.Cluster:
        return model.cluster_of(self.client.cluster(), self.client.urls[0])

    def refresh(self) -> None:
        """Ask the cluster again: roles and states as they are now; sessions stay."""
        self.view = self._view()
        now = {member.name: member for member in self.view.members}
        for node in self.nodes:
            node.member = now.get(node.name, node.member)

    def _parameters(self, member: model.Member) -> dict[str, t.Any]:
        host, port = self._address(member)
        found = connection_parameters({**self.params, "login_host": host, "login_port": port, "login_unix_socket": None})
        return {**found, "connect_timeout": SESSION_TIMEOUT}

    def _address(self, member: model.Member) -> tuple[str, int]:
        given = self.given["addresses"].get(member.name)
        if given is None:
            return member.host or "", member.port
        host, colon, port = str(given).rpartition(":")
        if not colon or not port.isdecimal():
            raise Invalid(f"patroni.addresses.{member.name}: {given!r} is no host:port")
        return host.strip("[]"), int(port)

    # --------------------------------------------------------------------------------------------------------------------- members

    @property
    def ready(self) -> list[Node]:
        """Members whose server can be asked."""
        return [node for node in self.nodes if node.connection is not None]

    @property
    def missing(self) -> list[Node]:
        """Members whose server cannot be asked."""
        return [node for node in self.nodes if node.connection is None]

    def silent(self) -> list[str]:
        """Given URLs where nobody answers and of which the cluster tells no member: it forgets who has been away for longer than ttl."""
        told = {urllib.parse.urlsplit(node.member.api_url).netloc for node in self.nodes}
        found = []
        for url in self.client.urls:
            if urllib.parse.urlsplit(url).netloc not in told:
                try:
                    self.client.request("GET", "/patroni", only=url, timeout=2.0)
                except errors.PatroniError:
                    found.append(url)
        return found

    def settle(self) -> None:
        """Wait, ``timeout`` seconds at most, for members that are on their way."""
        deadline = time.monotonic() + self.client.access.timeout
        while any(node.member.state in COMING for node in self.missing) and time.monotonic() < deadline:
            time.sleep(0.3)
            self.refresh()
            for node in self.missing:
                node.open()

    def steady(self, work: t.Callable[[], T]) -> T:
        """Do what only asks; when a server goes away meanwhile (a failover, a restart), ask again, for ``timeout`` seconds at most."""
        deadline = time.monotonic() + self.client.access.timeout
        while True:
            try:
                return work()
            except CannotConnect:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.3)
            with contextlib.suppress(errors.Unreachable):
                self.refresh()
            for node in self.nodes:
                if node.connection is not None and node.connection.closed:
                    node.open()
            self.settle()

    def first(self) -> Node:
        """The leader when it can be asked, else any member that can. Raises CannotConnect when none can."""
        ready = self.ready
        if not ready:
            reasons = "; ".join(f"{node.name} ({node.member.state}): {node.problem}" for node in self.nodes)
            raise CannotConnect(f"no member's server can be asked: {reasons}")
        return next((node for node in ready if node.member.leads), ready[0])

    def leader(self) -> Node:
        """The member that leads, with a session. Waits through an election for ``timeout`` seconds. Raises Unreachable."""
        deadline = time.monotonic() + self.client.access.timeout
        while True:
            for node in self.nodes:
                if node.member.leads and (node.connection is not None or node.open()):
                    return node
            if time.monotonic() > deadline:
                states = ", ".join(f"{node.name} {node.member.role} {node.member.state}" for node in self.nodes)
                remedy = "wait for the cluster to elect a leader, or mend it first"
                raise errors.Unreachable(self.client.urls[0], f"no member leads whose server can be asked ({states})", remedy)
            time.sleep(0.5)
            self.refresh()

    @contextlib.contextmanager
    def lock(self) -> t.Iterator[None]:
        """Take turns with other writers of this collection: an advisory lock on the leader's server, which ends with its session.

        Raises StoreBusy, and Unreachable when the server goes away.
        """
        node = self.leader()
        deadline = time.monotonic() + self.client.access.timeout
        connection = node.connection
        place = f"the cluster's leader {node.name}"
        try:
            with translated("to take turns with other writers"):
                while not session.rows(connection, "select pg_catalog.pg_try_advisory_lock(%s)", [ADVISORY_LOCK])[0][0]:
                    if time.monotonic() > deadline:
                        raise base.StoreBusy(place, "another writer keeps the lock", "run again later")
                    time.sleep(0.05)
        except ServerError as error:  # a store's lock fails as a store does
            raise errors.Unreachable(place, str(error), "run again when it answers") from error
        try:
            yield
        finally:
            with contextlib.suppress(Exception):  # a session that is gone has no lock
                session.rows(connection, "select pg_catalog.pg_advisory_unlock(%s)", [ADVISORY_LOCK])

    def url_of(self, node: Node) -> str:
        """A member's own REST API: that of the given URLs which says so, else as the cluster tells."""
        if self._urls is None:
            self._urls = {}
            for url in self.client.urls if len(self.client.urls) > 1 else []:
                with contextlib.suppress(errors.PatroniError):
                    shown = self.client.request("GET", "/patroni", only=url, timeout=2.0).json()
                    self._urls[str((shown.get("patroni") or {}).get("name"))] = url
        return self._urls.get(node.name) or node.member.api_url

    # --------------------------------------------------------------------------------------------------------------------- origins

    def origin(self, node: Node, key: str, config: t.Mapping[str, t.Any]) -> Origin:
        """Where this member's rules come from. Raises Denied when the role may not read the server's files."""
        path, content = node.file(key)
        folder = node.folder()
        configured = model.moved(config, key, folder)
        rules = model.rules_in(config, key)
        wanted = None if not rules else model.file_of(model.text_of(rules))
        setting = model.KEYS[key]
        if configured is not None:
            return Origin(MOVED, path, False, f"the dynamic configuration sets {setting} to {configured}, so members ignore {key}")
        if path != posixpath.join(folder, f"{key}.conf"):
            return Origin(
                MOVED, path, False, f"its server reads {path}, set by {setting} in its own configuration; Patroni leaves it alone"
            )
        if wanted is not None and content == wanted:
            return Origin(LIST, path, True, "its file is the cluster's list")
        if content is None or not content.startswith(model.HEADER):
            reason = (
                "its file is its own"
                if wanted is None
                else f"its file was not written by Patroni, as with {key}: [] in its own configuration"
            )
            return Origin(FOREIGN, path, False, reason)
        if wanted is None:
            return Origin(
                OTHER, path, False, f"its file is an older list of the cluster's, which has none now, or its own configuration's {key}"
            )
        reason = f"its file is another list: its own configuration has {key}, which hides the cluster's, or it has missed the last change"
        return Origin(OTHER, path, False, reason)


def store_of(cluster: Cluster, key: str, *, create: bool = False, check: bool = False) -> PatroniStore:
    """The store of a list of this cluster. With ``create`` a list that does not exist begins with the leader's present file."""
    seed = None
    if create:
        _path, content = cluster.first().file(key)
        seed = (content or b"").replace(model.HEADER, b"", 1)
        seed += b"" if not seed or seed.endswith(b"\n") else b"\n"
    writable = not check or cluster.given["username"] is not None or cluster.given["client_cert"] is not None
    return PatroniStore(cluster.client, key, lock=cluster.lock, seed=seed, writable=writable)
