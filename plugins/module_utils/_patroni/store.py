# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Rules in a cluster's dynamic configuration, behind the interface of a store.

The text of the store is the list's lines, comments and section markers among them, so the engine edits it like a file. Patroni offers no
compare-and-swap across requests, so one is made (docs/decisions/0086-compare-and-swap-on-patroni.md):

* what is planned from is read from the DCS itself, never from a member's memory (:meth:`client.Client.fresh`);
* writers of this collection take turns, with a lock that the caller provides (an advisory lock on the leader's server);
* right before the write the list is read again and compared, right after it once more; whatever differs is a :class:`base.StoreConflict`,
  on which :func:`base.update` plans again from what is there;
* a write whose answer is lost is looked up, not repeated.

A program that does not take the lock and writes in the milliseconds between the last look and our write loses its list; nothing that
Patroni's API offers can prevent that.
"""

from __future__ import annotations

import contextlib
import json
import typing as t

from .._store import base
from . import errors, model
from .client import Client

Lock = t.Callable[[], t.ContextManager[None]]


class _Store:
    """What the stores of one cluster share: its client, the lock of their writers, and the configuration."""

    def __init__(self, client: Client, lock: Lock | None, writable: bool) -> None:
        self.client = client
        self._lock = lock
        self.sent = False
        """Whether a change was sent: from then on no failure may be told as "nothing was changed"."""
        self._writable = writable
        self._held = False

    @contextlib.contextmanager
    def lock(self) -> t.Iterator[None]:
        """Keep other writers of this collection out; re-entrant."""
        if self._held or self._lock is None:
            yield
            return
        with self._lock():
            self._held = True
            try:
                yield
            finally:
                self._held = False

    def alone(self) -> None:
        """Write without taking turns from now on, where no server is left that could give them; comparing before and after stays."""
        self._lock = None

    def config(self) -> model.Config:
        """The whole dynamic configuration."""
        return self.client.fresh() if self._writable else self.client.config()


class PatroniStore(_Store):
    """The list ``postgresql.pg_hba`` or ``postgresql.pg_ident`` of one cluster.

    ``lock`` gives a context in which no other writer of this collection writes. ``seed``: the text that a list which does not exist yet
    begins with; without one that is an error. ``writable``: credentials for writing are at hand, so that reading may use them too.
    """

    def __init__(
        self, client: Client, key: str = "pg_hba", *, lock: Lock | None = None, seed: bytes | None = None, writable: bool = True
    ) -> None:
        if key not in model.KEYS:
            raise ValueError(f"no list of Patroni's: {key}")
        super().__init__(client, lock, writable)
        self.key = key
        self.path = f"postgresql.{key} of the cluster behind {client.urls[0]}"
        self._seed = seed

    def read(self) -> base.Snapshot:
        """The list's text now. Raises StoreMissing when there is no list and no seed, InvalidConfiguration, PatroniError."""
        config = self.config()
        rules = model.rules_in(config, self.key)
        if rules is not None and rules:
            return base.Snapshot(model.text_of(rules), True, config)
        if self._seed is None:
            raise base.StoreMissing(
                self.path,
                "the dynamic configuration has no such list, so each member's file is its own",
                "check the cluster, or ask for the list to be created, which begins with the leader's present file",
            )
        return base.Snapshot(self._seed, False, config)

    def write(self, snapshot: base.Snapshot, after: bytes, *, backup: bool = False) -> base.Written:
        """Replace the list. Raises StoreConflict when it is no longer what ``snapshot`` says, and PatroniError."""
        if backup:
            raise errors.PatroniError(self.path, "a cluster's configuration has no backup file", "use the difference that is returned")
        rules = model.rules_of(after)
        if not rules:
            raise errors.InvalidConfiguration(self.path, "would be empty, which Patroni ignores: members keep the rules that they have")
        with self.lock():
            current = self.read()
            if (current.content, current.exists) != (snapshot.content, snapshot.exists):
                raise base.StoreConflict(self.path, "was changed by somebody else since it was read", "run again")
            if current.exists and current.content == after:
                return base.Written(current)
            written = _sent(self, {"postgresql": {self.key: rules}})
            if model.file_of(written.content) != model.file_of(after):
                raise base.StoreConflict(self.path, "was changed by somebody else while it was being written", "run again")
            return base.Written(written)

    def restore(self, outcome: base.Outcome[t.Any]) -> None:
        """Put the old list back. Raises StoreConflict when it is no longer what was written, and PatroniError.

        A list that did not exist is set to the text it began with: deleting it would leave the new rules in every member's file.
        """
        if outcome.written:
            self.write(base.Snapshot(outcome.snapshot.content), outcome.plan.before)

    def forget(self) -> None:
        """Take the list away, once every member's file is what it shall be: members keep their files."""
        with self.lock():
            _sent(self, {"postgresql": {self.key: None}}, look=False)


class ConfigStore(_Store):
    """The whole dynamic configuration, as JSON with its keys in order, with the same compare-and-swap as a list."""

    def __init__(self, client: Client, *, lock: Lock | None = None, writable: bool = True) -> None:
        super().__init__(client, lock, writable)
        self.path = f"the dynamic configuration of the cluster behind {client.urls[0]}"

    def read(self) -> base.Snapshot:
        """The configuration now. Raises PatroniError."""
        config = self.config()
        return base.Snapshot(text_of_config(config), True, config)

    def write(self, snapshot: base.Snapshot, after: bytes, *, backup: bool = False) -> base.Written:
        """Change what differs, and nothing else. Raises StoreConflict when it is no longer what ``snapshot`` says, and PatroniError."""
        if backup:
            raise errors.PatroniError(self.path, "a cluster's configuration has no backup file", "use the difference that is returned")
        with self.lock():
            if self.read().content != snapshot.content:
                raise base.StoreConflict(self.path, "was changed by somebody else since it was read", "run again")
            change = model.change_between(json.loads(snapshot.content), json.loads(after))
            written = _sent(self, change)
            if written.content != after:
                raise base.StoreConflict(self.path, "was changed by somebody else while it was being written", "run again")
            return base.Written(written)


def update(store: PatroniStore | ConfigStore, planner: t.Callable[[bytes], base.P], *, check: bool = False) -> base.Outcome[base.P]:
    """:func:`base.update`, which may send more than once. When members go away after a change was sent, that is OutcomeUnknown, too."""
    try:
        return base.update(store, planner, check=check)
    except errors.Unreachable as problem:
        if not store.sent:
            raise
        gone = str(problem)
    raise errors.OutcomeUnknown(store.path, f"{_NOT_KNOWN}: {gone}", _AGAIN, written=True)


def _sent(store: PatroniStore | ConfigStore, change: t.Mapping[str, t.Any], *, look: bool = True) -> base.Snapshot:
    """Send a change, and look what is there then. Raises OutcomeUnknown when neither the answer nor the look can be had.

    A change whose answer is lost may lie in a member's or etcd's queue, and be done when they go on.
    """
    lost = ""
    store.sent = True
    try:
        store.client.patch(change)
    except errors.OutcomeUnknown as unanswered:
        lost = f"{_NOT_KNOWN}: {unanswered.reason}"
    try:
        return store.read() if look else base.Snapshot(b"")
    except errors.Unreachable as unread:
        reason = f"{lost}; {unread.reason}" if lost else f"was written, but cannot be read back: {unread.reason}"
    raise errors.OutcomeUnknown(store.path, reason, _AGAIN, written=True)


_NOT_KNOWN = "a change was sent, and whether it will be there is not known"
_AGAIN = "run again when the cluster answers, which looks at what is there first"


def text_of_config(config: t.Mapping[str, t.Any]) -> bytes:
    """A configuration as text that is compared and shown."""
    return json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
