# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""The small interface of a store, its errors, and the loop that plans, writes, and plans again after a conflict.

A store holds one text. ``read`` gives a :class:`Snapshot`; ``write`` replaces the text only while it still is what the snapshot
says, and raises :class:`StoreConflict` otherwise. That compare-and-swap is all that callers may count on: it is what a file with a
lock can give, and what Patroni's configuration can be made to give (``docs/architecture.md``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

OPTIMISTIC_ATTEMPTS = 3
"""So many plans are made without the lock; later ones hold it, so that a busy file cannot starve a writer for ever."""


class StoreError(Exception):
    """A store could not do what was asked. ``path`` says where, ``reason`` what, ``remedy`` what to do next.

    ``written`` is False when the old content is in force, True when the new one is (only its durability is then in doubt).
    """

    def __init__(self, path: str, reason: str, remedy: str = "", *, written: bool = False) -> None:
        super().__init__(f"{path}: {reason}" + (f" ({remedy})" if remedy else ""))
        self.path = path
        self.reason = reason
        self.remedy = remedy
        self.written = written


class StoreConflict(StoreError):
    """The content is no longer what the plan was made for: plan again."""


class StoreBusy(StoreError):
    """Another writer kept the lock for longer than the time allowed."""


class StoreMissing(StoreError):
    """There is nothing at this place, and creating it was not asked for."""


class StoreNotAFile(StoreError):
    """The place is a directory, a device, a pipe or a socket."""


class StorePermission(StoreError):
    """The operating system refuses to read, to write, or to keep the owner, mode or security label."""


class StoreReadOnly(StoreError):
    """The file system is mounted read-only."""


class StoreFull(StoreError):
    """No space left, or a quota is used up."""


class Snapshot(t.NamedTuple):
    """What a store held at one moment."""

    content: bytes
    exists: bool = True
    identity: object = None
    """Opaque: whatever lets the store notice a change more cheaply or earlier than by comparing content."""


class Planned(t.Protocol):
    """What the loop needs of a plan; ``_hba.plan.Plan`` is one."""

    @property
    def before(self) -> bytes:
        """The content that the plan was made for."""

    @property
    def after(self) -> bytes:
        """The content that is wanted."""

    @property
    def changed(self) -> bool:
        """Whether the two differ."""


P = t.TypeVar("P", bound=Planned)


class Written(t.NamedTuple):
    """What a write did."""

    snapshot: Snapshot
    """The content now in the store, usable for a following ``write``."""
    backup: str | None = None
    """Where the old content was kept, when that was asked for and there was some."""


class Store(t.Protocol):
    """One place that holds rules."""

    def lock(self) -> t.ContextManager[None]:
        """Keep other writers of this collection out; re-entrant; raises :class:`StoreBusy` after the store's own time limit."""

    def read(self) -> Snapshot:
        """The content now. Raises :class:`StoreError`."""

    def write(self, snapshot: Snapshot, after: bytes, *, backup: bool = False) -> Written:
        """Put ``after`` in the place of what ``snapshot`` says. Raises :class:`StoreConflict` when it is no longer so."""


@dataclasses.dataclass(frozen=True)
class Outcome(t.Generic[P]):
    """What :func:`update` did."""

    plan: P
    """The plan that was written, or that would have been (``check``), or that changes nothing."""
    written: bool
    """True when the store was changed."""
    snapshot: Snapshot
    """The content of the store afterwards."""
    created: bool = False
    """True when there was nothing before."""
    backup: str | None = None
    attempts: int = 1
    """How many plans it took; more than one means that somebody else wrote meanwhile."""

    @property
    def changed(self) -> bool:
        """What Ansible calls changed: also true in check mode, where nothing is written."""
        return self.plan.changed


def update(store: Store, planner: t.Callable[[bytes], P], *, backup: bool = False, check: bool = False, attempts: int = 10) -> Outcome[P]:
    """Read, plan, write; plan again when the content changed in between.

    ``planner`` is called with the content and must be free of side effects, as it may be called several times; whatever it
    raises (a violated expectation, say) leaves the store as it was. With ``check`` nothing is written. After
    ``OPTIMISTIC_ATTEMPTS`` conflicts the lock is held while planning; only writers that do not use the lock can then still cause
    a conflict. Raises :class:`StoreConflict` after ``attempts``, and :class:`StoreError` as ``read`` and ``write`` do.
    """
    for attempt in range(1, attempts + 1):
        with store.lock() if attempt > OPTIMISTIC_ATTEMPTS and not check else contextlib.nullcontext():
            snapshot = store.read()
            plan = planner(snapshot.content)
            if plan.before != snapshot.content:
                raise ValueError("the plan was made for other content than the one it was given")
            if check or not plan.changed:
                return Outcome(plan, False, snapshot, not snapshot.exists and plan.changed, None, attempt)
            try:
                written = store.write(snapshot, plan.after, backup=backup)
            except StoreConflict:
                if attempt == attempts:
                    raise
                continue
            return Outcome(plan, True, written.snapshot, not snapshot.exists, written.backup, attempt)
    raise ValueError("attempts must be at least 1")
