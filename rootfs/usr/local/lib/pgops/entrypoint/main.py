# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the environment to a running server, step by step; each step either holds or ends the container with its reason."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
import typing as t

from .._hba.model import Server as HbaServer
from . import access, alone, configured, locales, member, place, regular, rules, settings, stale, statistics, tls
from .errors import CONFIGURATION, SOFTWARE, USAGE, StartError, Stopped
from .events import Correlator
from .initdb import FirstStart, recorded_superuser
from .redact import Redactor
from .server import Server
from .state import State
from .stream import Hub, Output

_INFORMATION = frozenset({"-?", "--help", "-V", "--version", "--describe-config", "-C", "--single", "--check", "--boot"})
"""Arguments with which ``postgres`` only tells something, or works without being a server."""


def main(argv: t.Sequence[str], environment: t.Mapping[str, str]) -> int:
    """Run what the container was asked to run; its exit status."""
    words = list(argv) or ["postgres"]
    if words[0].startswith("-"):
        words = ["postgres", *words]
    if os.path.basename(words[0]) != "postgres":
        return _become(words)
    if any(word.split("=")[0] in _INFORMATION for word in words[1:]):
        return _become(words, _works_on(words, environment))
    output = Output()
    hub = Hub(output)
    hub.on_signal = _stop_early
    try:
        return _serve(words[1:], environment, hub)
    except settings.SettingsError as error:
        output.say("error", str(error), variable=error.variable)
        return CONFIGURATION
    except StartError as error:
        output.say("error", str(error))
        return error.status
    except Stopped:
        output.say("info", "stopped before the server was started")
        return 0
    except Exception as error:
        # The last line of a log tells why, in the form of all others.
        output.say("error", f"a fault of this image: {error!r}", traceback=traceback.format_exc())
        return SOFTWARE
    finally:
        hub.on_signal = lambda number: None
        hub.end_children(5.0)


def _become(words: list[str], data: str = "") -> int:
    """Any other program runs in our place, as if there were no entrypoint; one that works on data holds them."""
    try:
        if data:
            alone.hold(data)
            for descriptor in alone.inherited():
                os.set_inheritable(descriptor, True)
        os.execvp(words[0], words)  # noqa: S606 - running it is what was asked for
    except StartError as error:
        sys.stderr.write(f"{error}\n")
        return error.status
    except OSError as error:
        sys.stderr.write(f"{words[0]}: {error.strerror}\n")
        return 127 if isinstance(error, FileNotFoundError) else 126


def _works_on(words: t.Sequence[str], environment: t.Mapping[str, str]) -> str:
    """The data directory of a server without clients (``postgres --single``); empty for what only tells something."""
    if not {"--single", "--boot"} & set(words[1:2]):
        return ""
    for number, word in enumerate(words):
        if word.startswith("-D"):
            return word[2:] or "".join(words[number + 1 : number + 2])
    return environment.get("PGDATA", "")


def _serve(arguments: list[str], environment: t.Mapping[str, str], hub: Hub) -> int:
    output = hub.output
    parsed = settings.parse(environment, _read_secret)
    wanted = parsed.settings
    output.threshold = wanted.log_level
    for message in parsed.messages:
        output.say(message.level, message.text, variable=message.variable)
    if os.geteuid() == 0:
        raise StartError("PostgreSQL does not run as root; leave the user to the image, or give one with --user", USAGE)
    if wanted.member:
        return member.serve(wanted, arguments, environment, hub, _read_secret)
    given, arguments = arguments, tls.without_snakeoil(arguments)
    if arguments != given:
        output.say("info", "the arguments name ssl-cert-snakeoil, which is not in this image: its own certificate takes the place")
    os.umask(0o077)
    redactor = Redactor([wanted.password], [wanted.user, wanted.database, "postgres"])
    here = place.find(environment, wanted.data_directory)
    if here.socket_is_hidden:
        hub.output.say("warning", place.HIDDEN_SOCKET)
    state = State(here, wanted.user)
    alone.hold(here.data, pause=hub.pump, told=state.waits(output))
    stale.disown(here)
    # Before anything is made; whether client certificates can be checked is known later, and only ever changes the method.
    access.wanted(wanted.access, HbaServer(here.major), client_ca=True)
    first = FirstStart(here, wanted, hub, redactor)
    making = None
    if first.needed():
        state.write("first start")
        output.say("info", f"making a new database in {here.data}", user=wanted.user, database=wanted.database)
        making = tls.begin(here, arguments, hub)
        first.run()
    else:
        locales.check(here)
        state.user = recorded_superuser(here) or wanted.user
        if wanted.user_given and state.user != wanted.user:
            output.say("warning", f"POSTGRES_USER={wanted.user!r} changes nothing: {here.data} was made with the superuser {state.user!r}")
    certificate = tls.prepare(here, arguments, hub, making)
    hba_file = _hba_file(here, arguments)
    _open_access(wanted, here, hba_file, certificate, output)
    counted = statistics.prepare(here, arguments)
    for name in counted.missing:
        output.say("warning", f"{name} is in this image, but shared_preload_libraries of the arguments leaves it out: it counts nothing")
    if counted.unguarded:
        output.say(
            "warning",
            f"pg_stat_monitor keeps the text of statements that fail, passwords in them too: {statistics.GUARD}, which prevents it, "
            "is not in this image or not after it in shared_preload_libraries",
        )
    state.statistics = ", ".join(counted.loaded)
    state.write("running")
    server = Server(
        here,
        hub,
        redactor,
        Correlator(hba_file, rules.Deciding(hba_file, HbaServer(here.major, ssl=certificate.enabled))),
        wanted.log_level,
    )
    server.on_ready = lambda: statistics.report(hub, here, state.user, wanted.database, counted.loaded)
    return server.run([*certificate.arguments, *counted.arguments, *here.socket_arguments], arguments)


def _open_access(wanted: settings.Settings, here: place.Place, hba_file: str, certificate: tls.Certificate, output: Output) -> None:
    """The access rules, written and proved before the server starts; and what they are, told."""
    hba_server = HbaServer(here.major, ssl=certificate.enabled)
    chosen = access.wanted(wanted.access, hba_server, client_ca=certificate.client_ca)
    for message in chosen.messages:
        output.say(message.level, message.text, variable=message.variable)
    written = rules.write(hba_file, chosen, hba_server)
    facts: dict[str, t.Any] = {"file": hba_file, "rules": len(chosen.rules), "changed": written.changed, "certificate": certificate.origin}
    if chosen.method is None:
        output.say("info", "external access is closed", event="external_access", enabled=False, **facts)
    else:
        addresses = [rule.address.text for rule in chosen.rules if rule.address is not None]
        output.say(
            "info",
            f"external access by {chosen.method}",
            event="external_access",
            enabled=True,
            method=chosen.method,
            addresses=addresses,
            **facts,
        )
    for rule in written.foreign:
        output.say(
            "warning" if chosen.method in (None, "reject") else "info",
            f"{rule.file}, line {rule.line}: a rule that is not from this environment lets clients from outside in",
            rule=f"{rule.file}:{rule.line}", method=rule.method,
        )  # fmt: skip


def _hba_file(here: place.Place, arguments: t.Sequence[str]) -> str:
    """The file that the server will read: nearly always PGDATA/pg_hba.conf, but a configuration may name another."""
    return configured.setting(here, arguments, "hba_file") or here.hba_file


def _read_secret(path: str) -> bytes:
    return regular.read(path, 1 << 16)


def _stop_early(number: int) -> None:
    if number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        raise Stopped


def run() -> t.NoReturn:
    """The entrypoint program."""
    status = main(sys.argv[1:], os.environ)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(status)
