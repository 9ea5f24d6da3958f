# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad places and bad moments: the old rules stay in force, the file stays whole, and the message says what to do."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
import typing as t
from pathlib import Path

import pytest
from ansible_collections.pgops.access.plugins.module_utils._server import loaded
from ansible_collections.pgops.access.plugins.module_utils._store.file import FileStore
from differential.servers import Server

from .conftest import File, once, pg_hba, reach

OLD = "local all postgres peer\n"
RULE = "host all app 10.0.0.0/8 scram-sha-256"
KILLS = int(os.environ.get("PGOPS_KILLS", "60"))
NOBODY = 65534


def fork(work: t.Callable[[], t.Any], user: int | None = None) -> int:
    """The work in a process of its own, as another user if one is given; its process id."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        if user is not None:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def ends_well(process: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def litter(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.name != "pg_hba.conf")


# ---------------------------------------------------------------------------------------------------------------------- bad places


@pytest.mark.parametrize("backup", [True, False])
def test_a_full_disk(tmp_path: Path, mount: t.Callable[..., None], backup: bool) -> None:
    mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path))
    path = tmp_path / "pg_hba.conf"
    old = OLD + "# " + "x" * 40_000 + "\n"
    path.write_text(old)
    given = {"path": str(path), "postgres_version": "15", "rules": [RULE], "backup": backup}
    result = pg_hba(given, foreseen=False)
    assert (result["failed"], result["changed"]) == (True, False)
    assert "free some space" in result["msg"]
    assert path.read_text() == old
    assert litter(tmp_path) == []


def test_a_read_only_file_system(tmp_path: Path, mount: t.Callable[..., None]) -> None:
    (tmp_path / "rw").mkdir()
    (tmp_path / "ro").mkdir()
    (tmp_path / "rw/pg_hba.conf").write_text(OLD)
    mount("--bind", str(tmp_path / "rw"), str(tmp_path / "ro"))
    mount("-o", "remount,ro,bind", str(tmp_path / "ro"))
    given = {"path": str(tmp_path / "ro/pg_hba.conf"), "postgres_version": "15", "rules": [RULE]}
    result = pg_hba(given, foreseen=False)
    assert "mount it writable" in result["msg"]
    assert pg_hba({**given, "rules": [OLD.strip()]})["changed"] is False, "nothing to do needs no write"
    assert (tmp_path / "ro/pg_hba.conf").read_text() == OLD


@pytest.mark.parametrize("create", [True, False])
def test_the_path_is_a_directory(tmp_path: Path, create: bool) -> None:
    result = pg_hba({"path": str(tmp_path), "postgres_version": "15", "rules": [RULE], "create": create})
    assert "is a directory" in result["msg"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "folder", "reason"),
    [(0o600, 0o755, "ermission denied"), (0o644, 0o755, "ermission denied"), (0o644, 0o700, "ermission denied")],
)
def test_another_user_may_not(tmp_path: Path, mode: int, folder: int, reason: str) -> None:
    """Unreadable file, unwritable directory, directory that cannot be entered: a real process of a user without privileges."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    place = Path("/tmp") / f"pgops-{os.getpid()}-{random.randrange(1 << 30)}"
    place.mkdir()
    try:
        path = place / "pg_hba.conf"
        path.write_text(OLD)
        path.chmod(mode)
        place.chmod(folder)

        def work() -> None:
            result = once({"path": str(path), "postgres_version": "15", "rules": [RULE]})
            assert result["failed"] is True
            assert reason in result["msg"], result["msg"]
            assert str(path) in result["msg"], result["msg"]

        assert ends_well(fork(work, NOBODY))
        assert path.read_text() == OLD
        assert litter(place) == []
    finally:
        subprocess.run(["rm", "-rf", str(place)], check=True)


# --------------------------------------------------------------------------------------------------------------------- bad moments


@pytest.mark.parametrize("backup", [True, False])
def test_a_kill_at_any_moment(file: File, backup: bool) -> None:
    """SIGKILL while the module works, again and again: the old file or the new one, and the next run is not in its way."""
    wanted = {"path": str(file.path), "postgres_version": "15", "rules": [RULE], "backup": backup}
    large = OLD + "# " + "x" * 100_000 + "\n"
    file.path.write_text(large)
    began = time.monotonic()
    once(wanted)
    length = time.monotonic() - began
    new = file.text
    chance = random.Random(20260504)
    seen: set[str] = set()
    for number in range(KILLS * 2):
        if number >= KILLS // 2 and len(seen) == 2:
            break
        file.path.write_text(large)
        process = fork(lambda: once(wanted))
        time.sleep(chance.uniform(0, length))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        assert file.text in (large, new)
        seen.add(file.text)
        length *= 0.9 if file.text == new else 1.1  # how long a run takes depends on what else this machine does
        result = once(wanted)
        assert "failed" not in result, result["msg"]
        assert file.text == new
        assert [name for name in litter(file.path.parent) if not name.endswith(".bak")] == []
        for kept in file.path.parent.glob("*.bak"):
            assert kept.read_text() == large
            kept.unlink()
    assert len(seen) == 2, "the kills came all too early or all too late"


@pytest.fixture
def open_server(server: Server) -> Server:
    server.switch()
    (server.data / "pg_hba.conf").chmod(0o640)
    server._give(server.data / "pg_hba.conf")
    assert server.use(b"local all all trust\n")
    return server


@pytest.mark.parametrize("moment", ["before the reload", "during the reload"])
def test_the_server_dies(open_server: Server, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """It is gone when the new file is in place: the old file comes back, and the server starts with it."""
    server, path = open_server, open_server.data / "pg_hba.conf"
    was = path.read_bytes()

    def kill() -> None:
        assert server.process is not None
        server.process.send_signal(signal.SIGQUIT)
        server.process.wait(30)

    if moment == "before the reload":
        write = FileStore.write

        def write_and_kill(self: FileStore, *arguments: t.Any, **more: t.Any) -> t.Any:
            written = write(self, *arguments, **more)
            kill()
            return written

        monkeypatch.setattr(FileStore, "write", write_and_kill)
    else:
        rows = loaded.session.rows

        def rows_and_kill(connection: t.Any, sql: str, *arguments: t.Any) -> t.Any:
            found = rows(connection, sql, *arguments)
            if "pg_reload_conf()" in sql and "has_function_privilege" not in sql:
                kill()
            return found

        monkeypatch.setattr(loaded.session, "rows", rows_and_kill)
    try:
        result = once(reach(server, path=str(path), rules=[RULE], reload_timeout=1))
    finally:
        monkeypatch.undo()
        now = path.read_bytes()
        server.revive()
    assert result["failed"] is True
    assert "Traceback" not in str(result)
    assert now == was, result["msg"]
    assert result["rolled_back"] is True
    assert "nothing proves that the server has loaded it" in result["msg"]


@pytest.mark.parametrize("writers", [5, 20])
def test_module_processes_at_once(open_server: Server, tmp_path: Path, writers: int) -> None:
    """Twenty are more than the server has connections for: each rule is there, or its run has failed and said so. Five have to succeed."""
    server = open_server
    assert server.sql("show max_connections") == [[b"20"]]

    def work(number: int) -> None:
        result = once(
            reach(server, path=str(server.data / "pg_hba.conf"), rules=[f"host all u{number} 127.0.0.1/32 trust"], reload_timeout=30)
        )
        (tmp_path / str(number)).write_text(json.dumps([result.get("msg") if "failed" in result else None, result["changed"]]))

    processes = [fork(lambda number=number: work(number)) for number in range(writers)]  # type: ignore[misc]
    assert [ends_well(process) for process in processes] == [True] * writers
    told = {f"u{number}": json.loads((tmp_path / str(number)).read_text()) for number in range(writers)}
    good = {user for user, (message, _changed) in told.items() if message is None}
    # Where a failed run could not take its rule back, because others had built on it, it says that too: changed is true.
    left = {user for user, (message, changed) in told.items() if message is not None and changed}
    users = [row["user_name"][0] for row in server.view("hba")[0] or []]
    assert users[0] == "all"
    assert len(users) == len(set(users))
    assert good <= set(users[1:]) <= good | left, told
    assert all("could not be put back" in told[user][0] for user in left), told
    assert len(good) == writers if writers == 5 else good, told
    answer = server.attempt(min(good).encode(), b"postgres", address="127.0.0.1", source="127.0.0.1").answer
    assert "does not exist" in answer.message, "the rules that are there are in force"
    with contextlib.suppress(FileNotFoundError):
        assert [name for name in os.listdir(server.data) if name.endswith(".pgops-tmp")] == []


def test_a_server_in_another_network_namespace_has_other_interfaces(open_server: Server) -> None:
    """As a container's, whose socket is on this machine: what samenet means there is not known, and the task says so."""
    if os.geteuid() != 0:
        pytest.skip("another network namespace needs root")
    expect = [{"user": "app", "database": "postgres", "address": "203.0.113.1", "expect": "no_entry"}]
    given = reach(open_server, path=str(open_server.data / "pg_hba.conf"), rules=["host all all samenet trust"], expect=expect)
    assert "failed" not in once(given, check=True)

    def work() -> None:
        assert ctypes.CDLL(None).unshare(0x40000000) == 0, "CLONE_NEWNET"
        result = once(given, check=True)
        assert result["failed"] is True
        assert "depends on the server's interfaces, which were not given" in result["msg"], result["msg"]

    assert ends_well(fork(work))


# ------------------------------------------------------------------------------------------------------------- the collector's log


@pytest.fixture(scope="module", params=[15, 18])
def collecting(request: pytest.FixtureRequest) -> t.Iterator[Server]:
    """A server that writes its log by itself."""
    one = Server(request.param)
    one.switches = {"logging_collector": "on", "log_directory": "'logs'", "log_filename": "'postgresql.log'"}
    one.start()
    yield one
    one.stop()


def prove(server: Server, content: bytes) -> loaded.Proof:
    """The proof alone, by a caller who takes the view's word for it."""
    server._write(server.data / "pg_hba.conf", content)
    parameters = loaded.session.parameters(
        host=str(server.sockets), port=server.port, user="postgres", password=None, database="postgres",
        ssl_mode="prefer", ca_cert=None, ssl_cert=None, ssl_key=None,
    )  # fmt: skip
    with loaded.session.session("to prove", parameters) as connection:
        expected = loaded.Expected(content, loaded.view_rows(connection))
        assert [row["error"] for row in expected.rows] == [None] * len(expected.rows), "the view hides it"
        return loaded.reload(connection, lambda: loaded.session.session("again", parameters), 10, expected)


def test_the_servers_own_log_tells_of_a_refusal(collecting: Server) -> None:
    """An error that the view hides, and a caller who knows nothing of it: only the log contradicts."""
    good = b"local all all trust\n"
    assert prove(collecting, good).log is True
    with pytest.raises(loaded.NotLoaded, match=r"the server's log says: .*invalid value for clientcert"):
        prove(collecting, good + b"hostssl all all 127.0.0.1/32 md5 clientcert=nonsense\n")
    assert prove(collecting, good + b"# again\n").log is True


def test_the_module_knows_such_errors_before_it_writes(collecting: Server) -> None:
    server = collecting
    server._write(server.data / "pg_hba.conf", b"local all all trust\n")
    server._give(server.data / "pg_hba.conf")
    server.sql("select pg_reload_conf()")
    result = pg_hba(reach(server, rules=["hostssl all all 127.0.0.1/32 md5 clientcert=nonsense"]))
    assert "invalid value for clientcert" in result["msg"]
    good = pg_hba(reach(server, rules=[RULE]))
    assert "failed" not in good, good["msg"]
