# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file store: what it keeps, what it refuses, and that an error at any system call leaves the old file and nothing else."""

from __future__ import annotations

import errno
import os
import pathlib
import stat
import subprocess
import time
import typing as t

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba import plan
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Server
from ansible_collections.pgops.access.plugins.module_utils._hba.plan import Plan, Request
from ansible_collections.pgops.access.plugins.module_utils._hba.spec import spec_from_line
from ansible_collections.pgops.access.plugins.module_utils._store import base, file

OLD = b"# kept\nlocal all all peer\n"
NEW = OLD + b"host all all all md5\n"


def to(content: bytes) -> t.Callable[[bytes], Plan]:
    """A planner that wants this content."""
    return lambda before: Plan(before, content, before != content)


@pytest.fixture
def hba(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "pg_hba.conf"
    path.write_bytes(OLD)
    path.chmod(0o640)
    return path


def names(path: pathlib.Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


# ------------------------------------------------------------------------------------------------------------------ what it does


def test_it_replaces_and_tells(hba: pathlib.Path) -> None:
    inode = hba.stat().st_ino
    outcome = file.update(str(hba), to(NEW))
    assert hba.read_bytes() == NEW
    assert hba.stat().st_ino != inode
    assert (outcome.changed, outcome.written, outcome.created, outcome.backup, outcome.attempts) == (True, True, False, None, 1)
    assert outcome.snapshot.content == NEW
    assert names(hba) == ["pg_hba.conf"]


def test_nothing_to_do_touches_nothing(hba: pathlib.Path) -> None:
    before = hba.stat()
    outcome = file.update(str(hba), to(OLD), backup=True)
    assert (outcome.changed, outcome.written, outcome.backup) == (False, False, None)
    after = hba.stat()
    assert (before.st_ino, before.st_mtime_ns, before.st_ctime_ns) == (after.st_ino, after.st_mtime_ns, after.st_ctime_ns)


def test_check_mode_writes_nothing_and_says_the_same(hba: pathlib.Path) -> None:
    before = hba.stat()
    predicted = file.update(str(hba), to(NEW), check=True, backup=True)
    assert (predicted.changed, predicted.written) == (True, False)
    assert hba.stat() == before
    assert names(hba) == ["pg_hba.conf"]
    assert file.update(str(hba), to(NEW)).plan == predicted.plan


def test_backup_holds_the_old_bytes_owner_mode_and_time(hba: pathlib.Path) -> None:
    os.utime(hba, ns=(10**18, 10**18 + 5))
    outcome = file.update(str(hba), to(NEW), backup=True)
    assert outcome.backup is not None
    backup = pathlib.Path(outcome.backup)
    assert backup.read_bytes() == OLD
    assert stat.S_IMODE(backup.stat().st_mode) == 0o640
    assert backup.stat().st_mtime_ns == 10**18 + 5
    assert backup.parent == hba.parent
    assert not backup.name.endswith(".conf")
    assert names(hba) == sorted(["pg_hba.conf", backup.name])
    assert file.update(str(hba), to(OLD), backup=True).backup != outcome.backup


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o400, 0o660])
def test_the_mode_is_kept_whatever_the_umask(hba: pathlib.Path, mode: int) -> None:
    """L17: 0640 became 0600 and locked group readers out."""
    hba.chmod(mode)
    old = os.umask(0o077)
    try:
        file.update(str(hba), to(NEW))
    finally:
        os.umask(old)
    assert stat.S_IMODE(hba.stat().st_mode) == mode


def test_owner_and_group_are_kept(hba: pathlib.Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving files away needs root")
    os.chown(hba, 12345, 54321)
    outcome = file.update(str(hba), to(NEW), backup=True)
    assert outcome.backup is not None
    for path in (str(hba), outcome.backup):
        assert (os.stat(path).st_uid, os.stat(path).st_gid) == (12345, 54321)


def test_an_owner_that_cannot_be_kept_is_an_error(hba: pathlib.Path, as_user: t.Callable[..., str]) -> None:
    os.chmod(hba.parent, 0o777)
    for parent in hba.parents:
        if parent.stat().st_mode & 0o001 == 0:
            os.chmod(parent, parent.stat().st_mode | 0o001)
    hba.chmod(0o666)
    text = as_user(lambda: file.update(str(hba), to(NEW)))
    assert text.startswith("StorePermission")
    assert "as the owner" in text
    assert hba.read_bytes() == OLD
    assert names(hba) == ["pg_hba.conf"]


def test_extended_attributes_are_kept(hba: pathlib.Path) -> None:
    try:
        os.setxattr(hba, "user.note", b"ours")
    except OSError as exc:
        pytest.skip(f"no extended attributes here: {exc}")
    file.update(str(hba), to(NEW))
    assert os.getxattr(hba, "user.note") == b"ours"


def test_the_security_label_is_kept(hba: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few test machines run SELinux, so the kernel's answers are given here: what is asked and what is set is ours."""
    asked: list[object] = []
    monkeypatch.setattr(file.os, "listxattr", lambda path: ["security.selinux", "security.ima", "trusted.overlay.x"])
    monkeypatch.setattr(file.os, "getxattr", lambda where, name: b"postgresql_db_t" if isinstance(where, str) else b"tmp_t")
    monkeypatch.setattr(file.os, "setxattr", lambda where, name, value: asked.append((isinstance(where, int), name, value)))
    file.update(str(hba), to(NEW))
    assert asked == [(True, "security.selinux", b"postgresql_db_t")]


def test_an_access_list_is_kept(hba: pathlib.Path) -> None:
    try:
        done = subprocess.run(["setfacl", "-m", "u:12345:r", str(hba)], capture_output=True, check=False, timeout=10)
    except FileNotFoundError:
        pytest.skip("no setfacl here")
    if done.returncode:
        pytest.skip("no access lists on this file system")
    before = os.getxattr(hba, "system.posix_acl_access")
    file.update(str(hba), to(NEW))
    assert os.getxattr(hba, "system.posix_acl_access") == before


@pytest.mark.parametrize("absolute", [True, False])
def test_a_symlink_stays_one_and_its_target_changes(tmp_path: pathlib.Path, absolute: bool) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    target = tmp_path / "real" / "hba"
    target.write_bytes(OLD)
    link = tmp_path / "links" / "pg_hba.conf"
    link.symlink_to(target if absolute else pathlib.Path("../real/hba"))
    outcome = file.update(str(link), to(NEW), backup=True)
    assert link.is_symlink()
    assert target.read_bytes() == NEW
    assert names(link) == ["pg_hba.conf"]
    assert outcome.backup is not None
    assert pathlib.Path(outcome.backup).parent == target.parent


def test_a_missing_file_is_created_when_asked(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "pg_hba.conf"
    with pytest.raises(base.StoreMissing, match="created"):
        file.update(str(path), to(NEW))
    assert file.update(str(path), to(NEW), create=True, check=True).changed
    assert not path.exists()
    outcome = file.update(str(path), to(NEW), create=True)
    assert (outcome.created, outcome.backup) == (True, None)
    assert path.read_bytes() == NEW
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(path) == ["pg_hba.conf"]


def test_a_new_file_belongs_to_the_owner_of_its_directory(tmp_path: pathlib.Path) -> None:
    """Created by root in the server's directory, it must be readable for the server."""
    if os.geteuid() != 0:
        pytest.skip("giving files away needs root")
    os.chown(tmp_path, 12345, 54321)
    file.update(str(tmp_path / "a"), to(NEW), create=True, mode=0o640)
    file.update(str(tmp_path / "b"), to(NEW), create=True, owner=7, group=8)
    assert [(entry.st_uid, entry.st_gid, stat.S_IMODE(entry.st_mode)) for entry in map(os.stat, (tmp_path / "a", tmp_path / "b"))] == [
        (12345, 54321, 0o640),
        (7, 8, 0o600),
    ]


def test_creating_needs_the_directory(tmp_path: pathlib.Path) -> None:
    with pytest.raises(base.StoreMissing):
        file.update(str(tmp_path / "no" / "pg_hba.conf"), to(NEW), create=True)


def test_a_dangling_symlink_is_created_behind_the_link(tmp_path: pathlib.Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    file.update(str(tmp_path / "link"), to(NEW), create=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == NEW


def test_restore_puts_back_and_removes(hba: pathlib.Path) -> None:
    store = file.FileStore(str(hba))
    outcome = base.update(store, to(NEW))
    store.restore(outcome)
    assert hba.read_bytes() == OLD
    assert stat.S_IMODE(hba.stat().st_mode) == 0o640
    fresh = file.FileStore(str(hba.parent / "fresh"), create=True)
    created = base.update(fresh, to(NEW))
    fresh.restore(created)
    assert names(hba) == ["pg_hba.conf"]
    outcome = base.update(store, to(NEW))
    hba.write_bytes(b"somebody else\n")
    with pytest.raises(base.StoreConflict):
        store.restore(outcome)
    assert hba.read_bytes() == b"somebody else\n"


# ------------------------------------------------------------------------------------------------------------------ what it refuses


@pytest.mark.parametrize("create", [True, False])
def test_a_directory_is_refused(tmp_path: pathlib.Path, create: bool) -> None:
    with pytest.raises(base.StoreNotAFile, match="is a directory"):
        file.update(str(tmp_path), to(NEW), create=create)


def test_a_pipe_is_refused_without_waiting(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(base.StoreNotAFile, match="not a regular file"):
        file.update(str(tmp_path / "pipe"), to(NEW))
    with pytest.raises(base.StoreNotAFile):
        file.update("/dev/null", to(NEW))


def test_a_path_through_a_file_and_a_circle_of_links(hba: pathlib.Path) -> None:
    with pytest.raises(base.StoreError, match="not a directory"):
        file.update(str(hba / "x"), to(NEW))
    (hba.parent / "loop").symlink_to(hba.parent / "loop")
    with pytest.raises(base.StoreError, match="circle"):
        file.update(str(hba.parent / "loop"), to(NEW))
    for path in ("", "a\0b"):
        with pytest.raises(base.StoreError, match="is not a path"):
            file.update(path, to(NEW))


def reachable(path: pathlib.Path) -> None:
    """pytest's directories are ours alone; let other users through to them."""
    for parent in path.parents:
        if not parent.stat().st_mode & 0o001:
            os.chmod(parent, parent.stat().st_mode | 0o001)


def test_an_unreadable_file(hba: pathlib.Path, as_user: t.Callable[..., str]) -> None:
    reachable(hba)
    hba.chmod(0o600)
    text = as_user(lambda: file.update(str(hba), to(NEW)))
    assert text.startswith("StorePermission")
    assert str(hba) in text
    assert "run as root" in text


def test_an_unwritable_directory(hba: pathlib.Path, as_user: t.Callable[..., str]) -> None:
    reachable(hba)
    os.chown(hba, 65534, 65534)
    text = as_user(lambda: file.update(str(hba), to(NEW)))
    assert text.startswith("StorePermission")
    assert hba.read_bytes() == OLD


def test_the_owner_can_write_without_root(hba: pathlib.Path, as_user: t.Callable[..., str]) -> None:
    reachable(hba)
    os.chown(hba.parent, 65534, 65534)
    os.chown(hba, 65534, 65534)
    text = as_user(lambda: file.update(str(hba), to(NEW)).written)
    assert text == "returned True"
    assert hba.read_bytes() == NEW
    assert hba.stat().st_uid == 65534


def test_a_read_only_file_system(tmp_path: pathlib.Path, mount: t.Callable[..., None]) -> None:
    (tmp_path / "rw").mkdir()
    (tmp_path / "ro").mkdir()
    (tmp_path / "rw" / "pg_hba.conf").write_bytes(OLD)
    mount("--bind", str(tmp_path / "rw"), str(tmp_path / "ro"))
    mount("-o", "remount,ro,bind", str(tmp_path / "ro"))
    path = tmp_path / "ro" / "pg_hba.conf"
    with pytest.raises(base.StoreReadOnly, match="mount it writable"):
        file.update(str(path), to(NEW))
    assert not file.update(str(path), to(OLD)).changed
    assert file.update(str(path), to(NEW), check=True).changed
    with pytest.raises(base.StoreReadOnly):
        file.update(str(tmp_path / "ro" / "new"), to(NEW), create=True)
    assert names(path) == ["pg_hba.conf"]


def test_a_file_that_is_a_mount_point(tmp_path: pathlib.Path, mount: t.Callable[..., None]) -> None:
    (tmp_path / "outside").write_bytes(OLD)
    path = tmp_path / "pg_hba.conf"
    path.write_bytes(b"")
    mount("--bind", str(tmp_path / "outside"), str(path))
    with pytest.raises(base.StoreError, match="mount its directory"):
        file.update(str(path), to(NEW), backup=True)
    assert path.read_bytes() == OLD
    assert names(path) == ["outside", "pg_hba.conf"]


@pytest.mark.parametrize("backup", [True, False])
def test_a_full_disk(tmp_path: pathlib.Path, mount: t.Callable[..., None], backup: bool) -> None:
    mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path))
    path = tmp_path / "pg_hba.conf"
    old = b"# " + b"x" * 20_000 + b"\n"
    path.write_bytes(old)
    with pytest.raises(base.StoreFull, match="free some space"):
        file.update(str(path), to(b"# " + b"y" * 100_000 + b"\n"), backup=backup)
    assert path.read_bytes() == old
    assert names(path) == ["pg_hba.conf"]
    if backup:
        with pytest.raises(base.StoreFull):  # the new file fits, its backup does not
            file.update(str(path), to(b"# " + b"y" * 30_000 + b"\n"), backup=True)
        assert names(path) == ["pg_hba.conf"]
    file.update(str(path), to(NEW))
    assert path.read_bytes() == NEW


# ------------------------------------------------------------------------------------------------------- faults at each system call

CALLS = (
    "open",
    "write",
    "fsync",
    "fchown",
    "fchmod",
    "replace",
    "rename",
    "link",
    "stat",
    "fstat",
    "listdir",
    "read",
    "lseek",
    "close",
    "listxattr",
)


class Faults:
    """Counts calls of the ``os`` functions that the store uses, and lets one of them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int | None, code: int) -> None:
        self.at = at
        self.code = code
        self.calls: list[str] = []
        for name in CALLS:
            monkeypatch.setattr(file.os, name, self._wrapped(name, getattr(os, name)))
        monkeypatch.setattr(file.fcntl, "flock", self._wrapped("flock", file.fcntl.flock))

    def _wrapped(self, name: str, real: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def call(*arguments: t.Any, **keywords: t.Any) -> t.Any:
            self.calls.append(name)
            if self.at == len(self.calls) - 1:
                if name == "close":
                    real(*arguments, **keywords)  # Linux closes the handle even when close fails
                raise OSError(self.code, os.strerror(self.code))
            return real(*arguments, **keywords)

        return call


def handles() -> int:
    return len(os.listdir("/proc/self/fd"))


def calls_of(path: str, **options: t.Any) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        faults = Faults(patch, None, 0)
        file.update(path, to(NEW), **options)
    return faults.calls


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EPERM, errno.EINTR])
@pytest.mark.parametrize("backup", [True, False])
def test_a_fault_at_any_system_call_leaves_the_old_file(hba: pathlib.Path, code: int, backup: bool) -> None:
    if os.geteuid() == 0:
        os.chown(hba, 12345, 54321)
    calls = calls_of(str(hba), backup=backup)
    total = len(calls)
    assert {"open", "write", "fsync", "fchmod", "replace", "flock", "stat"} <= set(calls)
    assert ("fchown" in calls) == (os.geteuid() == 0)
    for at in range(total):
        for entry in hba.parent.iterdir():
            entry.unlink()
        hba.write_bytes(OLD)
        hba.chmod(0o640)
        if os.geteuid() == 0:
            os.chown(hba, 12345, 54321)
        open_before = handles()
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, at, code)
            failed = None
            try:
                file.update(str(hba), to(NEW), backup=backup)
            except base.StoreError as exc:
                failed = exc
        where = f"call {at}: {faults.calls[at]}"
        assert handles() == open_before, where
        backups = [name for name in names(hba) if name.endswith(".bak")]
        if failed is None or failed.written:
            assert hba.read_bytes() == NEW, where
            assert set(names(hba)) - set(backups) == {"pg_hba.conf"}, where
            assert faults.calls[at] in {"open", "close", "fsync"}, where
        else:
            assert hba.read_bytes() == OLD, where
            assert names(hba) == ["pg_hba.conf"], where
            assert str(hba) in str(failed), where
            assert failed.reason, where
        assert stat.S_IMODE(hba.stat().st_mode) == 0o640, where


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EPERM])
def test_a_fault_while_creating_leaves_no_file_or_the_whole_one(tmp_path: pathlib.Path, code: int) -> None:
    path = tmp_path / "pg_hba.conf"
    total = len(calls_of(str(path), create=True))
    assert total > 15
    for at in range(total):
        for entry in tmp_path.iterdir():
            entry.unlink()
        open_before = handles()
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, at, code)
            failed = None
            try:
                file.update(str(path), to(NEW), create=True)
            except base.StoreError as exc:
                failed = exc
        where = f"call {at}: {faults.calls[at]}"
        assert handles() == open_before, where
        if failed is None or failed.written:
            assert path.read_bytes() == NEW, where
            assert names(path) == ["pg_hba.conf"], where
        else:
            assert names(path) == [], where


def test_an_interrupt_leaves_nothing(hba: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: t.Any, **_keywords: t.Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(file.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        file.update(str(hba), to(NEW), backup=True)
    assert hba.read_bytes() == OLD
    assert names(hba) == ["pg_hba.conf"]


def test_short_writes_are_continued(hba: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(file.os, "write", lambda handle, data: real(handle, bytes(data[:7])))
    file.update(str(hba), to(NEW))
    assert hba.read_bytes() == NEW


def test_a_directory_that_cannot_be_flushed_is_no_error(hba: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(handle)

    monkeypatch.setattr(file.os, "fsync", fsync)
    assert file.update(str(hba), to(NEW)).written


def test_a_file_system_without_links_can_still_create(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_arguments: t.Any, **_keywords: t.Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(file.os, "link", link)
    file.update(str(tmp_path / "pg_hba.conf"), to(NEW), create=True)
    assert names(tmp_path / "pg_hba.conf") == ["pg_hba.conf"]


# ------------------------------------------------------------------------------------------------------------------- other writers


def test_a_change_while_planning_is_planned_again(hba: pathlib.Path) -> None:
    server = Server(15)
    request = Request((spec_from_line("host all all all md5", server),))
    seen: list[bytes] = []

    def planner(content: bytes) -> Plan:
        seen.append(content)
        if len(seen) == 1:
            hba.write_bytes(content + b"local x x reject\n")
        return plan.planner(request, server)(content)

    outcome = file.update(str(hba), planner)
    assert outcome.attempts == 2
    assert hba.read_bytes().splitlines()[2:] == [
        b"local x x reject",
        b"host    all             all             all                     md5",
    ]


def test_a_change_between_the_look_and_the_rename_is_a_conflict(hba: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.listdir
    done: list[int] = []

    def listdir(where: t.Any) -> t.Any:
        if not done:
            done.append(1)
            hba.write_bytes(b"an editor saved\n")
        return real(where)

    monkeypatch.setattr(file.os, "listdir", listdir)
    outcome = file.update(str(hba), lambda content: Plan(content, content + b"x\n", True))
    assert outcome.attempts == 2
    assert hba.read_bytes() == b"an editor saved\nx\n"
    assert names(hba) == ["pg_hba.conf"]


def test_a_writer_that_never_stops_is_reported(hba: pathlib.Path) -> None:
    def planner(content: bytes) -> Plan:
        hba.write_bytes(content + b"# again\n")
        return Plan(content, content + b"x\n", True)

    with pytest.raises(base.StoreConflict, match="somebody else"):
        file.update(str(hba), planner, attempts=5)
    assert b"x\n" not in hba.read_bytes().splitlines(keepends=True)
    assert names(hba) == ["pg_hba.conf"]


def test_a_planner_that_raises_leaves_everything(hba: pathlib.Path) -> None:
    def planner(content: bytes) -> Plan:
        raise RuntimeError("expectation violated")

    open_before = handles()
    with pytest.raises(RuntimeError, match="expectation"):
        file.update(str(hba), planner)
    assert hba.read_bytes() == OLD
    assert handles() == open_before
    with pytest.raises(ValueError, match="other content"):
        file.update(str(hba), lambda content: Plan(b"else", b"x", True))


def test_the_lock_is_waited_for_no_longer_than_allowed(hba: pathlib.Path) -> None:
    with file.FileStore(str(hba)).lock():
        started = time.monotonic()
        with pytest.raises(base.StoreBusy, match="another writer"):
            file.update(str(hba), to(NEW), lock_timeout=0.3)
        assert 0.25 < time.monotonic() - started < 5
        assert file.update(str(hba), to(NEW), lock_timeout=0.3, check=True).changed
    assert hba.read_bytes() == OLD


def test_the_lock_is_reentrant_and_released(hba: pathlib.Path) -> None:
    store = file.FileStore(str(hba), lock_timeout=0.2)
    with store.lock(), store.lock():
        store.write(store.read(), NEW)
    assert file.update(str(hba), to(OLD), lock_timeout=0.2).written
