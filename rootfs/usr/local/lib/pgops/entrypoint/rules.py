# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The managed section in pg_hba.conf: planned by the engine, written by the store, and read back as the server will read it."""

from __future__ import annotations

import errno
import os
import typing as t

from .._hba import decide, plan, ruleset
from .._hba.document import Document
from .._hba.errors import HbaError
from .._hba.model import Address, Client, Rule, Server, decode, encode
from .._hba.reader import Entry
from .._store import base, file
from . import access, regular
from .errors import CONFIGURATION, StartError
from .events import Attempt, Decided


class Files:
    """Real files for the engine."""

    def read(self, path: str) -> bytes:
        """Content of a file; raises OSError, with EISDIR for a directory. Raises StartError for what the server would wait for."""
        try:
            return regular.read(encode(path))
        except regular.NotRegular as error:
            if error.errno == errno.EISDIR:
                raise
            raise StartError(f"{path}, which the access rules name, cannot be read: {error.strerror}") from None

    def list_directory(self, path: str) -> list[Entry]:
        """Entries of a directory; raises OSError."""
        entries = []
        with os.scandir(encode(path)) as found:
            for item in found:
                try:
                    item.stat()
                    entries.append(Entry(decode(item.name), item.is_dir()))
                except OSError:
                    entries.append(Entry(decode(item.name), broken=True))
        return entries


class Written(t.NamedTuple):
    """What came of it."""

    changed: bool
    rules: tuple[Rule, ...]
    """All rules of the file, as the server will load them."""
    foreign: tuple[Rule, ...]
    """Rules of other owners that let clients from outside in."""


def write(path: str, wanted: access.Wanted, server: Server) -> Written:
    """Make the section hold exactly the wanted rules. Raises StartError: with rules that are not known to hold, nothing starts."""
    request = plan.Request(rules=wanted.rules, section=access.SECTION)
    try:
        outcome = file.update(path, plan.planner(request, server))
    except base.StoreError as error:
        raise StartError(f"the access rules cannot be written, so the server does not start: {error}") from None
    except HbaError as error:
        raise StartError(f"the access rules in {path} cannot be changed, so the server does not start: {error}") from None
    loaded = ruleset.load(path, Files(), server)
    if not loaded.loads:
        faults = "; ".join(f"{fault.file}, line {fault.line}: {fault.message}" for fault in loaded.errors[:5])
        raise StartError(f"the server would refuse its access rules: {faults}. Mend or remove these lines", CONFIGURATION)
    ours = {(rule.file, rule.line) for rule in _section(path, outcome.plan.after, server, loaded.rules)}
    foreign = tuple(rule for rule in loaded.rules if (rule.file, rule.line) not in ours and opens_to_outside(rule))
    return Written(outcome.written, loaded.rules, foreign)


class Deciding:
    """Names the rule of an attempt where the server's log does not: a reject rule, and trust before version 17.

    The rules are read again when the main file has changed, as after a reload. Where the engine cannot tell, nothing is named.
    """

    def __init__(self, path: str, server: Server) -> None:
        self._path, self._server = path, server
        self._state: tuple[int, int] | None = None
        self._decider = decide.Decider((), server=server)

    def __call__(self, attempt: Attempt) -> Decided:
        """The rule's place and method."""
        try:
            self._refresh()
            client = Client(attempt.user or "", attempt.database, attempt.address, "tls" if attempt.tls else "tcp", attempt.replication)
            decision = self._decider.decide(client)
        except (OSError, HbaError, StartError):
            return Decided(None, None)
        if decision.rule is None or decision.outcome == decide.UNDECIDED:
            return Decided(None, None)
        return Decided(f"{decision.rule.file}:{decision.rule.line}", decision.rule.method)

    def _refresh(self) -> None:
        status = os.stat(self._path)
        state = (status.st_ino, status.st_mtime_ns)
        if state != self._state:
            loaded = ruleset.load(self._path, Files(), self._server)
            self._decider, self._state = decide.Decider(loaded.rules, server=self._server), state


def opens_to_outside(rule: Rule) -> bool:
    """Whether a rule can let in a client that is not in this container."""
    return rule.type != "local" and rule.method != "reject" and not (rule.address is not None and _only_loopback(rule.address))


def _only_loopback(address: Address) -> bool:
    if address.kind == "name":
        return address.text == "localhost"
    if address.kind != "network":
        return False
    if address.family == 4:
        return address.value >> 24 == 127 and address.mask >> 24 == 255
    return address.value == 1 and address.mask == (1 << 128) - 1


def _section(path: str, content: bytes, server: Server, rules: tuple[Rule, ...]) -> list[Rule]:
    document = Document.parse(content, server)
    for section in document.sections():
        if section.name == access.SECTION:
            first, last = document.lines[section.begin].line, document.lines[section.end].line
            return [rule for rule in rules if rule.file == path and first < rule.line < last]
    return []
