# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Rules in a file: locked, compared, replaced atomically, durable; owner, group, mode, security label and symlink kept.

Guarantees, each with a test in ``tests/integration/store``:

* **Old or new, never less.** The new content is written to a temporary file in the same directory, flushed to the device
  (``fsync``), and renamed over the old one; then the directory is flushed. A kill at any moment leaves one of the two.
* **Nothing is left behind** by an error. What a ``kill -9`` leaves (a hidden temporary file, mode 0600) the next write removes.
* **Writers of this collection take turns**: they lock the file itself (``flock``), and after the wait look whether the path still
  names the file that they locked. The file, not its directory, because whoever may open the object can hold the lock, and
  ``/etc/postgresql`` is open to every local user while ``pg_hba.conf`` is not; not a lock file beside it, because that would
  be litter, copied by ``pg_basebackup``. A file that does not exist yet is created under the directory's lock, with ``link``,
  which fails where somebody else was faster. The wait is bounded.
* **Other writers are noticed**: content is read again under the lock and compared with what the plan was made for, and the file's
  identity once more just before the rename. An editor that saves within the microseconds between that look and the rename loses.
* The file is replaced, not written in place, so a hard link to it keeps the old content, and a file that is itself a mount
  point (``docker run -v ./pg_hba.conf:…``) cannot be replaced; that is an error with its remedy.

Example::

    outcome = update("/etc/postgresql/15/main/pg_hba.conf", lambda content: plan(content, request, server), backup=True)
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import os
import stat
import time
import typing as t
import zlib

from . import base
from .base import P

_FLAGS = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_KEPT_XATTRS = ("security.selinux", "system.posix_acl_access")
"""Attributes that decide access. ``user.*`` is kept too; ``security.ima`` and the like describe the old content and are not."""
_UNSUPPORTED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODATA})
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class Identity(t.NamedTuple):
    """What tells one state of a file from another without reading it, and what a replacement must keep."""

    device: int
    inode: int
    size: int
    modified_ns: int
    mode: int
    owner: int
    group: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """The identity in a ``stat`` result."""
        return cls(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
        )


class FileStore:
    """One file.

    ``create`` allows it to be absent; then it gets ``mode``, and ``owner`` and ``group`` (ids; by default those of its directory
    when we are root, else ours). An existing file keeps what it has. ``lock_timeout`` is in seconds.
    """

    def __init__(
        self,
        path: str,
        *,
        create: bool = False,
        mode: int = 0o600,
        owner: int | None = None,
        group: int | None = None,
        lock_timeout: float = 30.0,
    ) -> None:
        if not path or "\0" in path:
            raise base.StoreError(repr(path), "is not a path", "give the path of the file")
        self.path = path
        self._create = create
        self._mode = mode
        self._owner = owner
        self._group = group
        self._lock_timeout = lock_timeout
        self._held = False

    def read(self) -> base.Snapshot:
        """The content and identity. Raises StoreMissing, StoreNotAFile, StorePermission, StoreError."""
        target = self._target()
        with _translated(self.path, "read"):
            try:
                return _read_stable(self.path, target)
            except FileNotFoundError as exc:
                if not self._create:
                    raise base.StoreMissing(self.path, "no such file", "check the path, or ask for it to be created") from exc
                folder = os.path.dirname(target)
                if not os.path.isdir(folder):
                    raise base.StoreMissing(self.path, f"it cannot be created, there is no directory {folder}", "make that first") from exc
                return base.Snapshot(b"", exists=False)

    @contextlib.contextmanager
    def lock(self) -> t.Iterator[None]:
        """Keep other writers of this collection out. Re-entrant. Raises StoreBusy after ``lock_timeout`` seconds."""
        if self._held:
            yield
            return
        with _translated(self.path, "lock"):
            handle = self._acquire(time.monotonic() + self._lock_timeout)
        self._held = True
        try:
            yield
        finally:
            self._held = False
            _close(handle)

    def write(self, snapshot: base.Snapshot, after: bytes, *, backup: bool = False) -> base.Written:
        """Replace the content that ``snapshot`` describes. Raises StoreConflict when it is no longer so, and StoreError."""
        with self.lock():
            current = self.read()
            if (current.content, current.exists) != (snapshot.content, snapshot.exists):
                raise base.StoreConflict(self.path, "was changed by somebody else since it was read", "run again")
            if current.exists and current.content == after:
                return base.Written(current)
            with _translated(self.path, "write"), _directory(os.path.dirname(self._target())) as directory:
                return _Replacement(self, directory, current).run(after, backup)

    def restore(self, outcome: base.Outcome[t.Any]) -> None:
        """Undo an update: the old bytes are put back, a file that was created is removed. Raises as ``write`` does.

        Nothing is touched when somebody else has changed the file since (StoreConflict).
        """
        if not outcome.written:
            return
        if not outcome.created:
            self.write(outcome.snapshot, outcome.plan.before)
            return
        with self.lock():
            if self.read().content != outcome.snapshot.content:
                raise base.StoreConflict(self.path, "was changed by somebody else since it was written", "look at it by hand")
            with _translated(self.path, "remove"), _directory(os.path.dirname(self._target())) as directory:
                os.unlink(os.path.basename(self._target()), dir_fd=directory)
                _flush_directory(directory, self.path)

    def _target(self) -> str:
        """Where the content really is: symbolic links are followed, so that a link stays a link."""
        return os.path.realpath(self.path)

    def _acquire(self, deadline: float) -> int:
        while True:
            target = self._target()
            handle = self._open_to_lock(target)
            try:
                _wait_for_lock(handle, deadline, self.path)
                if _still_names(target, handle):
                    return handle
            except BaseException:
                _close(handle)
                raise
            _close(handle)

    def _open_to_lock(self, target: str) -> int:
        """For writing where we may: NFS gives exclusive locks to writable handles only (flock(2), NOTES)."""
        try:
            with contextlib.suppress(PermissionError, IsADirectoryError):
                return os.open(target, os.O_RDWR | _FLAGS)
            return os.open(target, os.O_RDONLY | _FLAGS)
        except FileNotFoundError:
            if not self._create:
                raise
            return os.open(os.path.dirname(target), os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
        except OSError as exc:
            if exc.errno != errno.EROFS:
                raise
            return os.open(target, os.O_RDONLY | _FLAGS)

    def new_file_attributes(self, directory: int) -> Identity:
        """Owner, group and mode of a file that does not exist yet."""
        home = os.fstat(directory)
        root = os.geteuid() == 0
        owner = self._owner if self._owner is not None else (home.st_uid if root else os.geteuid())
        group = self._group if self._group is not None else (home.st_gid if root else os.getegid())
        return Identity(0, 0, 0, 0, self._mode, owner, group)


class _Replacement:
    """One replacement, under the lock: temporary file, backup, rename; undone from the end when a step fails."""

    def __init__(self, store: FileStore, directory: int, current: base.Snapshot) -> None:
        self.path = store.path
        self.directory = directory
        self.current = current
        self.target = store._target()
        self.name = os.path.basename(self.target)
        identity = current.identity
        self.identity = identity if isinstance(identity, Identity) else store.new_file_attributes(directory)
        self.prefix = f".{self.name[:60]}.{zlib.crc32(os.fsencode(self.name)):08x}."
        self.litter: list[str] = []

    def run(self, after: bytes, backup: bool) -> base.Written:
        """Do it. Whatever fails before the rename leaves the old file and nothing else."""
        self._sweep()
        kept: str | None = None
        try:
            temporary = self._temporary(after)
            if backup and self.current.exists:
                kept = self._backup()
            written = os.stat(temporary, dir_fd=self.directory, follow_symlinks=False)
            self._put(temporary)
        except BaseException:
            for name in self.litter:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=self.directory)
            raise
        _flush_directory(self.directory, self.path)
        where = None if kept is None else os.path.join(os.path.dirname(self.target), kept)
        return base.Written(base.Snapshot(after, True, Identity.of(written)), where)

    def _sweep(self) -> None:
        """Remove what a killed writer left. Only the holder of the lock has temporary files, so all of them are stale."""
        for name in os.listdir(self.directory):
            if name.startswith(self.prefix) and name.endswith(".pgops-tmp"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self.directory)

    def _temporary(self, content: bytes) -> str:
        name = f"{self.prefix}{os.urandom(8).hex()}.pgops-tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(name, flags, 0o600, dir_fd=self.directory)
        self.litter.append(name)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(handle, view) :]
            self._dress(handle)
            os.fsync(handle)
        except BaseException:
            _close(handle)
            raise
        os.close(handle)  # some file systems tell of a failed write only here
        return name

    def _dress(self, handle: int) -> None:
        """Give the new file the old one's owner, group, mode, access list and security label; owner first: chown clears bits."""
        now = os.fstat(handle)
        if (now.st_uid, now.st_gid) != (self.identity.owner, self.identity.group):
            owner = -1 if now.st_uid == self.identity.owner else self.identity.owner
            os.fchown(handle, owner, self.identity.group)
        os.fchmod(handle, self.identity.mode)
        if self.current.exists:
            _copy_attributes(self.target, handle)

    def _backup(self) -> str:
        """A copy, not a hard link: a later write in place must not reach it. The name never ends in ``.conf`` (include_dir)."""
        moment = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
        name = f"{self.name}.{moment}.bak"
        temporary = self._temporary(self.current.content)
        if isinstance(self.current.identity, Identity):  # as cp -p: it tells since when these bytes were there, which readers of logs ask
            moments = (self.current.identity.modified_ns, self.current.identity.modified_ns)
            os.utime(temporary, ns=moments, dir_fd=self.directory)
        os.rename(temporary, name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        self.litter.append(name)
        return name

    def _put(self, temporary: str) -> None:
        """The one moment that counts."""
        if not self.current.exists:
            self._link(temporary)
            return
        conflict = base.StoreConflict(self.path, "was changed by somebody else while it was being written", "run again")
        try:
            now = Identity.of(os.stat(self.name, dir_fd=self.directory, follow_symlinks=False))
            if now != self.current.identity:
                raise conflict
            os.replace(temporary, self.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        except FileNotFoundError as exc:
            raise conflict from exc

    def _link(self, temporary: str) -> None:
        """Create: ``link`` never overwrites. Where the file system has no links, a rename under the directory's lock must do."""
        try:
            os.link(temporary, self.name, src_dir_fd=self.directory, dst_dir_fd=self.directory, follow_symlinks=False)
        except FileExistsError as exc:
            raise base.StoreConflict(self.path, "was created by somebody else meanwhile", "run again") from exc
        except OSError as exc:
            if exc.errno not in _NO_LINKS:
                raise
            os.replace(temporary, self.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
            return
        with contextlib.suppress(OSError):  # the next write sweeps it
            os.unlink(temporary, dir_fd=self.directory)


def update(
    path: str,
    planner: t.Callable[[bytes], P],
    *,
    create: bool = False,
    mode: int = 0o600,
    owner: int | None = None,
    group: int | None = None,
    backup: bool = False,
    check: bool = False,
    lock_timeout: float = 30.0,
    attempts: int = 10,
) -> base.Outcome[P]:
    """Read ``path``, plan, write atomically, and plan again after a conflict; see :func:`base.update` and :class:`FileStore`."""
    store = FileStore(path, create=create, mode=mode, owner=owner, group=group, lock_timeout=lock_timeout)
    return base.update(store, planner, backup=backup, check=check, attempts=attempts)


def _read_stable(path: str, target: str) -> base.Snapshot:
    """Read until the file did not change while it was read: a writer in place must not give us half of its work."""
    handle = os.open(target, os.O_RDONLY | _FLAGS)
    try:
        for _unused in range(20):
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                kind = "a directory" if stat.S_ISDIR(before.st_mode) else "not a regular file"
                raise base.StoreNotAFile(path, f"is {kind}", "give the path of the file itself")
            os.lseek(handle, 0, os.SEEK_SET)
            content = _read_all(handle)
            after = os.fstat(handle)
            if Identity.of(before) == Identity.of(after) and len(content) == after.st_size:
                return base.Snapshot(content, True, Identity.of(after))
            time.sleep(0.02)
    finally:
        _close(handle)
    raise base.StoreError(path, "keeps changing while it is read", "find out which program writes it, then run again")


def _close(handle: int) -> None:
    """Close a handle that nothing was written to, or whose content is given up: an error of that says nothing about our files."""
    with contextlib.suppress(OSError):
        os.close(handle)


def _read_all(handle: int) -> bytes:
    parts: list[bytes] = []
    while True:
        part = os.read(handle, 1 << 20)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _wait_for_lock(handle: int, deadline: float, path: str) -> None:
    pause = 0.005
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as exc:
            if time.monotonic() >= deadline:
                raise base.StoreBusy(path, "another writer holds its lock", "wait for it to finish, or raise the time limit") from exc
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def _still_names(target: str, handle: int) -> bool:
    """Whether the path still means what was locked: the file, or for a directory's handle that there is still no file."""
    held = os.fstat(handle)
    try:
        now = os.stat(target)
    except FileNotFoundError:
        return stat.S_ISDIR(held.st_mode)
    return (now.st_dev, now.st_ino) == (held.st_dev, held.st_ino)


@contextlib.contextmanager
def _directory(path: str) -> t.Iterator[int]:
    """A handle for all following steps, so that a directory that is swapped meanwhile cannot send them elsewhere."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        _close(handle)


def _flush_directory(handle: int, path: str) -> None:
    """Make the rename durable. Some network file systems cannot flush a directory and say EINVAL; there it is not needed."""
    try:
        os.fsync(handle)
    except OSError as exc:
        if exc.errno not in _UNSUPPORTED:
            reason = f"the new content is in place, but the file system does not confirm that it is durable: {os.strerror(exc.errno or 0)}"
            raise base.StoreError(path, reason, "check the disk", written=True) from exc


def _copy_attributes(source: str, handle: int) -> None:
    try:
        names = os.listxattr(source)
    except OSError as exc:
        if exc.errno in _UNSUPPORTED:
            return
        raise
    for name in names:
        if name in _KEPT_XATTRS or name.startswith("user."):
            value = os.getxattr(source, name)
            if _attribute(handle, name) != value:
                os.setxattr(handle, name, value)


def _attribute(handle: int, name: str) -> bytes | None:
    try:
        return os.getxattr(handle, name)
    except OSError:
        return None


@contextlib.contextmanager
def _translated(path: str, verb: str) -> t.Iterator[None]:
    """Operating system errors as the store's own, each with what to do next."""
    try:
        yield
    except OSError as exc:
        raise _store_error(path, verb, exc) from exc


_MEANINGS: dict[int, tuple[type[base.StoreError], str]] = {
    errno.ENOENT: (base.StoreMissing, "check the path"),
    errno.ENOTDIR: (base.StoreError, "a part of the path is not a directory: check the path"),
    errno.EISDIR: (base.StoreNotAFile, "give the path of the file itself"),
    errno.EACCES: (base.StorePermission, "run as root or as the owner of the file and its directory"),
    errno.EPERM: (base.StorePermission, "run as root or as the owner; look for an immutable flag (lsattr) and for the security policy"),
    errno.EROFS: (base.StoreReadOnly, "mount it writable, or keep the file elsewhere (hba_file)"),
    errno.ENOSPC: (base.StoreFull, "free some space; the old file is unchanged"),
    errno.EDQUOT: (base.StoreFull, "raise the quota or free some space; the old file is unchanged"),
    errno.EBUSY: (base.StoreError, "the file is a mount point and cannot be replaced: mount its directory instead"),
    errno.ELOOP: (base.StoreError, "symbolic links form a circle: repair them"),
    errno.EIO: (base.StoreError, "check the disk; the old file is unchanged"),
}


def _store_error(path: str, verb: str, exc: OSError) -> base.StoreError:
    kind, remedy = _MEANINGS.get(exc.errno or 0, (base.StoreError, ""))
    return kind(path, f"cannot {verb} it: {exc.strerror or exc}", remedy)
