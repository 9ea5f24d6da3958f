# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A member of a Patroni cluster: Patroni as a supervised child, which supervises PostgreSQL; and what the end of either means.

Patroni is not PID 1 here. As PID 1 it ends with status 0 whatever happened, and an engine that restarts on failure never would.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import json
import os
import signal
import socket
import sys
import time
import typing as t

from .._hba.model import Server as HbaServer
from . import (
    access,
    alone,
    cluster_rules,
    logs,
    member_logins,
    member_notices,
    member_settings,
    member_statistics,
    patroni_config,
    place,
    regular,
    rules,
    stale,
    statistics,
    tls,
)
from .errors import CANNOT, USAGE, StartError
from .events import Correlator
from .initdb import MARKER
from .redact import Redactor
from .server import Server
from .settings import Settings, SettingsError
from .state import State
from .stream import Hub

PYTHON = "/opt/pgops/venv/bin/python"
FOREIGN = "/etc/pgops/patroni"
"""A directory of *.yml files that are Patroni's local configuration, too: tags, callbacks, server parameters of this member."""
_SOURCES = ("entrypoint", "init-script")
"""What a program that Patroni runs for us may say of a line of its own (:mod:`new_cluster`)."""
_RELOADED = "received SIGHUP, reloading configuration files"
"""The server's own words, which come whatever LOG_LEVEL is, and after Patroni has dealt with its REST API."""
_STOP_SECONDS = 60.0
_WATCH = "/usr/local/lib/pgops/watch.py"
_FIRST = "/usr/local/lib/pgops/post_bootstrap.py"


def serve(wanted: Settings, arguments: t.Sequence[str], environment: t.Mapping[str, str], hub: Hub, read: t.Callable[[str], bytes]) -> int:
    """Run as a member; the container's exit status. Raises SettingsError, StartError."""
    if arguments:
        raise StartError("a member takes no server arguments; put them into the cluster's dynamic configuration", USAGE)
    member = member_settings.parse(environment, read, own_address(), socket.gethostname())
    os.umask(0o077)
    redactor = Redactor([wanted.password, *member.secrets], [member.superuser.name, member.database, "postgres", "patroni"])
    here = place.find(environment, data_directory(member, wanted.data_directory))
    if here.socket_is_hidden:
        hub.output.say("warning", place.HIDDEN_SOCKET)
    if here.system_user != cluster_rules.SYSTEM_USER:
        raise StartError(f"a member runs as user 999 or as one from 500 that has no name, not as {here.system_user!r}", USAGE)
    check_data(here)
    alone.hold(*to_hold(here, wanted.data_directory), pause=hub.pump, told=State(here, member.superuser.name).waits(hub.output))
    stale.disown(here)
    certificate = tls.prepare(beside(here), (), hub)
    server = HbaServer(here.major, ssl=certificate.enabled)
    chosen = access.wanted(wanted.access, server, client_ca=certificate.client_ca)
    for message in chosen.messages:
        hub.output.say(message.level, message.text, variable=message.variable)
    asked = cluster_rules.rules(member, chosen.rules, server)
    running = Running(here, hub, redactor, wanted=wanted, asked=asked, certificate=certificate)
    running.write(member)
    return running.run_member(member, lambda: member_settings.parse(environment, read, own_address(), socket.gethostname()))


class Running(Server):
    """Patroni, the program that watches the cluster's rules, and the server's log pipes."""

    def __init__(
        self,
        here: place.Place,
        hub: Hub,
        redactor: Redactor,
        *,
        wanted: Settings,
        asked: cluster_rules.Rules,
        certificate: tls.Certificate,
    ) -> None:
        correlator = Correlator(here.hba_file, rules.Deciding(here.hba_file, HbaServer(here.major, ssl=certificate.enabled)))
        super().__init__(here, hub, redactor, correlator, wanted.log_level)
        self._wanted, self._asked = wanted, asked
        self._directory = os.path.join(here.runtime, "patroni")
        words = [*self._open_logs(), *certificate.arguments]
        self._parameters = dict(word.split("=", 1) for word in words if word != "-c")
        self._parameters["unix_socket_directories"] = here.socket_directory
        self._patroni = self._watch = 0
        self._asked_to_stop = 0
        self._once_more = False
        self._counting = 0
        self._counted = ("", 0)
        self._state: State | None = None
        self._notices = member_notices.Notices("", here.data)
        self._logins: member_logins.Logins | None = None

    def write(self, member: member_settings.Member) -> None:
        """Patroni's configuration: ours, then the user's files. Raises SettingsError, StartError."""
        local = patroni_config.Local(
            self._place.data, f"/usr/lib/postgresql/{self._place.major}/bin", self._place.runtime, self._parameters,
            self._wanted.initdb_arguments, self._wanted.log_level, f"/usr/bin/python3 -I {_FIRST} {self._path('first.json')}",
            statistics.shared_settings(statistics.guarded(statistics.available(self._place.major), self._place.major)),
        )  # fmt: skip
        ours = patroni_config.build(member, local, self._asked, HbaServer(self._place.major))
        foreign = foreign_files()
        if not member.store_given and not any(patroni_config.names_store(content) for content in foreign.values()):
            raise SettingsError(
                "PATRONI_ETCD3_HOSTS", "no distributed store is named; set it to the addresses of the etcd cluster, HOST:PORT,…"
            )
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        for name, content in [("00-pgops.yml", ours), *((f"50-{name}", content) for name, content in foreign.items())]:
            _write_json(os.path.join(self._directory, name), content)
        _write_json(
            self._path("first.json"),
            {"user": member.superuser.name, "password": member.superuser.password, "database": member.database, "data": self._place.data},
        )  # fmt: skip
        _write_json(
            self._path("watch.json"),
            {"url": member.rest_url, "login": list(member.rest), "name": member.name, "major": self._place.major,
             "rules": [list(self._asked.cluster), list(self._asked.external), self._asked.digest],
             "ctl": {name: member.passed.get(f"PATRONI_CTL_{name.upper()}", "") for name in ("certfile", "keyfile", "keyfile_password")}},
        )  # fmt: skip

    def run_member(self, member: member_settings.Member, again: t.Callable[[], member_settings.Member]) -> int:
        """Run until Patroni ends; then PostgreSQL ends, too. ``again`` reads the environment's secrets anew."""
        output = self._hub.output
        self._again = again
        self._hub.on_signal = self.on_signal
        self._hub.ticker = self._tick
        if member.rest_derived:
            output.say("info", "PATRONI_RESTAPI_PASSWORD is not set: one is derived from the superuser's password", user=member.rest.name)
        output.say("info", f"member {member.name} of cluster {member.scope}", rest=member.rest_url, data=self._place.data)
        environment = {**self._place.environment, **member.passed}
        try:
            self._patroni = self._hub.spawn([PYTHON, "-I", "-m", "patroni", self._directory], environment, self._heard_patroni)
            self._watch = self._hub.spawn(
                ["/usr/bin/python3", "-I", _WATCH, self._path("watch.json")],
                self._place.environment,
                self._heard_watch,
            )
        except OSError as error:
            raise StartError(f"cannot run Patroni: {error.strerror}") from None
        self._database = member.database
        self._notices = member_notices.Notices(member.scope, self._place.data)
        self._logins = member_logins.Logins(self._hub, self._place, member)
        self._state = State(self._place, member.superuser.name, self._path("watch.json"))
        self._state.write("running")
        status = self._hub.wait(self._patroni) or 0
        if not self._asked_to_stop and self._notices.fatal:
            status = CANNOT
        elif not self._asked_to_stop:
            output.say("error", f"Patroni ended by itself, with status {status}; PostgreSQL is stopped and the container ends")
            status = status or 1
        elif status:
            output.say("error", f"Patroni ended with status {status}")
        self._hub.hurry()
        left = self._stop_postgresql()
        self._hub.end_children(5.0)
        self._tell(self._correlator.flush())
        return status or left

    def on_signal(self, number: int) -> None:
        """A signal to PID 1."""
        if number in (signal.SIGHUP, signal.SIGUSR2):
            self._renew()
            return
        if number not in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            return
        self._asked_to_stop += 1
        immediate = number == signal.SIGQUIT or self._asked_to_stop > 1
        name = signal.Signals(number).name
        self._hub.output.say(
            "info", f"{name}: {'immediate shutdown of PostgreSQL' if immediate else 'Patroni stops PostgreSQL and gives up its lock'}"
        )
        if not immediate:
            self._send(self._patroni, signal.SIGTERM)
            return
        # Patroni would start the server again.
        self._send(self._patroni, signal.SIGKILL)
        self._send(self._postmaster(), signal.SIGQUIT)

    def _renew(self) -> None:
        """SIGHUP: secrets are read from their files again, and Patroni reads its configuration again."""
        try:
            member = self._again()
            self._redactor.learn(member.secrets)
            self.write(member)
            tls.renew(self._place)
        except (SettingsError, StartError, OSError) as error:
            self._hub.output.say("error", f"the configuration is not reloaded: {error}")
            return
        if self._logins is not None:
            self._logins.renew(member)
        # Patroni looks at REST's certificate only where nothing else of its configuration has changed (Patroni.reload_config, 4.1.5).
        self._once_more = member.rest_url.startswith("https:")
        self._send(self._patroni, signal.SIGHUP)
        self._hub.output.say("info", "SIGHUP: the configuration was written again; Patroni reloads it")

    def _send(self, pid: int, number: signal.Signals) -> None:
        if pid and pid not in self._hub.statuses:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _postmaster(self) -> int:
        """The server's process id; 0 when it does not run."""
        try:
            with open(self._place.path("postmaster.pid"), encoding="ascii", errors="replace") as file:
                pid = int(file.readline())
            os.kill(pid, 0)
        except (OSError, ValueError):
            return 0
        return pid

    def _stop_postgresql(self) -> int:
        """Stop the server that Patroni left behind (paused, or killed); 0 when all went well."""
        pid = self._postmaster()
        if not pid or pid in self._hub.statuses:
            return 0
        self._hub.output.say("info", "Patroni left PostgreSQL running (a paused cluster, say); fast shutdown")
        for number in (signal.SIGINT, signal.SIGQUIT):
            self._send(pid, number)
            deadline = time.monotonic() + _STOP_SECONDS
            while time.monotonic() < deadline:
                self._hub.pump(0.1)
                if pid in self._hub.statuses or not self._postmaster():
                    return 0
        self._hub.output.say("error", "PostgreSQL does not stop; it is killed with the container")
        return 1

    def _path(self, name: str) -> str:
        """A file of the runtime directory."""
        return os.path.join(self._place.runtime, name)

    def _heard_patroni(self, raw: bytes) -> None:
        made = patroni_record(raw, self._redactor)
        self._hub.output.write(made)
        self._seen(made)

    def _seen(self, made: logs.Record) -> None:
        if self._once_more and made["source"] == "postgresql" and str(made["message"]).startswith(_RELOADED):
            self._once_more = False
            self._send(self._patroni, signal.SIGHUP)
        notice = self._notices.of(made)
        if notice is None:
            return
        if notice.text:
            self._hub.output.say(notice.level, self._redactor.text(notice.text), event=notice.event)
        if notice.phase and self._state is not None:
            self._state.write(notice.phase)
        self._tell_remark()

    def _tell_remark(self) -> None:
        if self._state is not None and self._state.remark != self._notices.remark:
            self._state.remark = self._notices.remark
            self._state.write(member_notices.RUNNING)

    def _in_role(self, role: str) -> None:
        """The member leads or follows; told every few seconds."""
        self._count(role)
        if self._logins is not None:
            self._logins.look(role)
        if role == "leader":
            self._notices.leads()
            self._tell_remark()

    def _count(self, role: str) -> None:
        """This member leads or follows: what counts statements there? Asked for each role and start of its server, until it answers."""
        state, now = self._state, (role, self._postmaster())
        if state is None or now == self._counted or (self._counting and self._counting not in self._hub.statuses):
            return

        def told(loaded: tuple[str, ...]) -> None:
            self._counted = now
            state.statistics = ", ".join(loaded)
            state.write("running")

        self._counting = member_statistics.report(self._hub, self._place, state.user, self._database, told)

    def _heard_watch(self, raw: bytes) -> None:
        try:
            said = json.loads(raw)
            if said.get("event") == "role":
                self._in_role(str(said.get("role")))
                return
            self._hub.output.say(said.pop("level"), self._redactor.text(said.pop("message")), **said)
        except (ValueError, KeyError, TypeError, AttributeError):
            self._hub.output.write(logs.plain_record("entrypoint", raw, self._redactor))


def patroni_record(raw: bytes, redactor: Redactor) -> logs.Record:
    """A line of Patroni's output: a JSON object of its own log, or the text of a program that it runs."""
    try:
        row = json.loads(raw)
        message, level = str(row.pop("message")), str(row.pop("level")).lower()
    except (ValueError, KeyError, TypeError, AttributeError):
        return logs.plain_record("patroni", raw, redactor)
    level = {"critical": "error"}.get(level, level)
    source = row.pop("source", "patroni")
    made = logs.record(
        source if source in _SOURCES else "patroni",
        level if level in ("debug", "info", "warning", "error") else "info",
        redactor.text(message),
    )
    row.pop("time", None)
    made.update((name, redactor.text(value) if isinstance(value, str) else value) for name, value in row.items() if name not in made)
    return made


def data_directory(member: member_settings.Member, given: str) -> str:
    """Where the data are: below a mount point, for Patroni moves and removes the whole directory when it makes a member anew."""
    if member.data_directory:
        return member.data_directory
    if os.path.ismount(given) and not os.path.exists(os.path.join(given, "PG_VERSION")):
        return os.path.join(given, "pgdata")
    return given


def to_hold(here: place.Place, given: str) -> tuple[str, ...]:
    """What no other container may work on: the data, and the volume that they are below, for Patroni may make the directory anew."""
    parent = os.path.dirname(here.data)
    return (parent, here.data) if parent == given and os.path.ismount(given) else (here.data,)


def beside(here: place.Place) -> place.Place:
    """A place for the certificate outside the data directory, which has to be empty when Patroni begins and is copied by replicas."""
    parent = os.path.dirname(here.data)
    return dataclasses.replace(here, data=parent if os.path.ismount(parent) and os.access(parent, os.W_OK) else here.runtime)


def check_data(here: place.Place) -> None:
    """Refuse what this member cannot run. Raises StartError."""
    if os.path.exists(here.path(MARKER)):
        raise StartError(f"PGDATA: the first start of {here.data} did not finish; start with an empty volume")
    try:
        version = regular.read(here.path("PG_VERSION"), 100).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StartError(f"PGDATA: cannot read {here.path('PG_VERSION')}: {error.strerror}; check the volume") from None
    if version != str(here.major):
        raise StartError(
            f"PGDATA: {here.data} was made by PostgreSQL {version}, and this image has {here.major}; use the image of that version"
        )


def foreign_files() -> dict[str, t.Any]:
    """The user's files of Patroni's configuration. Raises SettingsError, StartError."""
    try:
        names = sorted(name for name in os.listdir(FOREIGN) if name.endswith((".yml", ".yaml")))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StartError(f"cannot look into {FOREIGN}: {error.strerror}; check its mode") from None
    if not names:
        return {}
    # PyYAML is in the virtual environment, which has the same interpreter.
    sys.path.extend(path for path in glob.glob("/opt/pgops/venv/lib/python3*/site-packages") if path not in sys.path)
    import yaml  # noqa: PLC0415 - only where there are files for it

    found = {}
    for name in names:
        path = os.path.join(FOREIGN, name)
        try:
            content = yaml.safe_load(regular.read(path).decode("utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise SettingsError(path, f"cannot be read: {error}") from None
        patroni_config.check_foreign(path, content)
        found[name] = content
    return found


def own_address() -> str:
    """This container's address, for the other members: what its own name resolves to, else its name."""
    host = socket.gethostname()
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return host
    addresses = [str(entry[4][0]) for entry in sorted(found, key=lambda entry: entry[0] != socket.AF_INET)]
    return next((address for address in addresses if not address.startswith("127.") and address != "::1"), host)


def _write_json(path: str, content: object) -> None:
    """JSON is YAML; written beside and renamed, for Patroni may be reading."""
    with open(path + ".new", "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(content, file, default=str)
    os.rename(path + ".new", path)
