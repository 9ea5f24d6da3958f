# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uses of rules from the logs of real servers, compared with the connections that the test itself made."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import psycopg2
import pytest
from differential import fetch
from differential.servers import Server

from .conftest import MAJORS, reach, run

PG_HBA = "ansible_collections.pgops.access.plugins.modules.pg_hba"
FIRST = """\
# the first text
local all postgres trust
host all pw 127.0.0.1/32 scram-sha-256
host all truster 127.0.0.1/32 trust
host all idle 127.0.0.1/32 md5
"""


class Logged:
    """A server that writes its log by itself, in every format that it has, and what was done to it."""

    def __init__(self, major: int) -> None:
        self.server = Server(major)
        destinations = "stderr,csvlog,jsonlog" if major >= 15 else "stderr,csvlog"
        self.server.switches = {
            "logging_collector": "on",
            "log_directory": "'logs'",
            "log_filename": "'postgresql.log'",
            "log_destination": f"'{destinations}'",
            "log_line_prefix": "'%m [%p] %q%u@%d '",
            "log_timezone": "'Europe/Berlin'",
            "password_encryption": "'scram-sha-256'",
        }
        self.formats = {"stderr": "log", "csvlog": "csv"} | ({"jsonlog": "json"} if major >= 15 else {})
        self.server.start()
        self.logs = self.server.data / "logs"

    def connect(self, user: str, password: str = "right", times: int = 1) -> bool:
        for _unused in range(times):
            try:
                psycopg2.connect(
                    host="127.0.0.1", port=self.server.port, user=user, password=password, dbname="postgres", sslmode="disable"
                ).close()
            except psycopg2.OperationalError:
                return False
        return True

    def write(self, text: str) -> None:
        self.server._write(self.server.data / "pg_hba.conf", text.encode())

    def reload(self) -> None:
        self.server.sql("select pg_reload_conf()")
        time.sleep(0.3)

    def edit(self, rule: str, **more: t.Any) -> None:
        result = run(reach(self.server, rules=[rule], **more), module=PG_HBA)
        assert "failed" not in result, result["msg"]

    def info(self, *logs: Path, **more: t.Any) -> dict[str, t.Any]:
        time.sleep(0.3)  # the collector writes a little later
        return run(reach(self.server, logs=[str(log) for log in logs], **more))


@pytest.fixture(scope="module", params=MAJORS)
def logged(request: pytest.FixtureRequest) -> t.Iterator[Logged]:
    """A life: three texts, the first kept in a backup, the second changed by hand; connections under each of them."""
    try:
        one = Logged(request.param)
    except fetch.Unavailable as reason:
        pytest.skip(str(reason))
    try:
        for statement in ("create role pw login password 'right'", "create role truster login", "create role idle login password 'right'"):
            one.server.sql(statement)
        one.write(FIRST)
        one.reload()
        assert one.connect("pw", times=3)
        assert one.connect("truster", times=2)
        assert not one.connect("pw", "wrong")
        assert not one.connect("nobody")
        one.edit("host all nobody 127.0.0.1/32 reject", section="top", position="first", backup=True)  # three lines more above
        assert one.connect("pw", times=4)
        assert not one.connect("nobody")
        yield one
    finally:
        one.server.stop()


def by_user(result: dict[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    return {rule["user_name"][0]: rule for rule in result["rules"]}


def test_each_format_tells_the_same(logged: Logged) -> None:
    major = logged.server.major
    for form, suffix in logged.formats.items():
        result = logged.info(logged.logs / f"postgresql.{suffix}")
        logs, rules = result["logs"], by_user(result)
        assert [file["format"] for file in logs["files"]] == [form]
        assert rules["pw"]["uses"] == (7 if major >= 14 else None), logs
        assert rules["truster"]["uses"] == (2 if major >= 17 else None)
        assert rules["idle"]["uses"] == (0 if major >= 14 else None)
        assert rules["nobody"]["uses"] is None
        assert rules["pw"]["refused"] == 1
        assert rules["pw"]["used_by"] == ({"pw": 7} if major >= 14 else {})
        assert rules["pw"]["used_from"] == ({"127.0.0.1": 7} if major >= 14 else {})
        assert (logs["rejected"], logs["no_entry"], logs["refused"]) == (1, 1, 1)
        assert logs["unknown_time_zones"] == []
        assert [rule["line_number"] for rule in logs["never_used"]] == ([rules["idle"]["line_number"]] if major >= 14 else [])
        if major >= 14:
            assert logs["from"] < rules["pw"]["first_used"] < rules["pw"]["last_used"] <= logs["to"]
            assert logs["covered_from"] > rules["pw"]["first_used"], "the first text is not the present one"
        reasons = {item["reason"]: item["count"] for item in logs["unattributed_reasons"]}
        # trust of the role truster, and the sessions of the superuser, whose number is not the test's
        assert reasons.get("rule_not_logged", 0) >= (9 if major < 14 else 2 if major < 17 else 0)
        assert logs["attributed"] + logs["unattributed"] + logs["refused"] + logs["rejected"] + logs["no_entry"] == logs["events"]


def test_without_an_admission_no_rule_is_called_unused(logged: Logged, tmp_path: Path) -> None:
    """As with log_connections off: what is refused is logged all the same."""
    lines = (logged.logs / "postgresql.log").read_bytes().splitlines(keepends=True)
    (tmp_path / "log").write_bytes(b"".join(line for line in lines if b"LOG:  connection " not in line))
    result = logged.info(tmp_path / "log")
    logs = result["logs"]
    assert (logs["attributed"], logs["rejected"], logs["no_entry"]) == (0, 1, 1)
    assert (logs["never_used"], logs["covered_from"]) == ([], None)
    assert all(rule["uses"] is None for rule in result["rules"])


def test_a_directory_is_read_once_whatever_the_formats(logged: Logged) -> None:
    result = logged.info(logged.logs)
    assert len(result["logs"]["files"]) == 1
    assert result["logs"]["no_entry"] == 1


def test_rotated_and_compressed_files_in_any_order(logged: Logged, tmp_path: Path) -> None:
    lines = (logged.logs / "postgresql.log").read_bytes().splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if b"LOG:  connection received" in line]
    cuts = [0, starts[len(starts) // 3], starts[2 * len(starts) // 3], len(lines)]
    parts = [b"".join(lines[start:stop]) for start, stop in zip(cuts, cuts[1:])]
    (tmp_path / "parts").mkdir()
    (tmp_path / "whole").write_bytes(b"".join(lines))
    (tmp_path / "parts/pg.log.2.gz").write_bytes(gzip.compress(parts[0]))
    (tmp_path / "parts/pg.log.1.xz").write_bytes(lzma.compress(parts[1]))
    (tmp_path / "parts/pg.log.bz2").write_bytes(bz2.compress(parts[2]))
    whole = logged.info(tmp_path / "whole")["logs"]
    copies = logged.info(tmp_path / "parts/*")["logs"]
    assert [file["bytes"] for file in copies["files"]] == [len(part) for part in parts]
    assert {**copies, "files": 0} == {**whole, "files": 0}
    assert sum(file["events"] for file in copies["files"]) == whole["events"]


def test_an_edit_without_a_backup_is_not_guessed(logged: Logged) -> None:
    """Last of all: it spoils the history."""
    if logged.server.major < 14:
        pytest.skip("no rule is logged before 14")
    before = by_user(logged.info(logged.logs))["pw"]["uses"]
    time.sleep(0.2)
    logged.write("# a line more\n# and another\n" + FIRST)
    assert logged.connect("pw")  # by the old rules: nothing was loaded
    logged.reload()
    assert logged.connect("pw")
    result = logged.info(logged.logs)
    reasons = {item["reason"]: item["count"] for item in result["logs"]["unattributed_reasons"]}
    # of 7 + 2 uses the three under the first text are known by their backup, and the one since
    assert by_user(result)["pw"]["uses"] == before - 4 + 1
    assert reasons["file_changed"] >= 5
    logged.write("host all all all nonsense\n")
    logged.reload()
    logged.write("# a line more\n# and another\n" + FIRST)


def test_offline_and_somebody_vouches(logged: Logged, tmp_path: Path) -> None:
    if logged.server.major < 17:
        pytest.skip("one major with everything logged is enough")
    log, hba = tmp_path / "postgresql.log", tmp_path / "pg_hba.conf"
    shutil.copy(logged.logs / "postgresql.log", log)
    hba.write_text(FIRST)
    given = {"path": str(hba), "postgres_version": str(logged.server.major), "logs": [str(log)], "log_timezone": "Europe/Berlin"}
    named = {**given, "log_hba_file": str(logged.server.data / "pg_hba.conf")}
    assert {item["reason"] for item in run(given)["logs"]["unattributed_reasons"]} == {"other_file", "before_first_load"} - {
        "before_first_load"
    }
    assert run(named)["logs"]["attributed"] == 0, "the copy is younger than every load"
    assert run({**named, "in_force_since": "2020-01-01T00:00:00Z"})["logs"]["attributed"] > 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"logs": ["/no/such/*.log"]}, "logs: there is no /no/such/*.log"),
        ({"logs": ["/dev/null"]}, "is not a regular file"),
        ({"logs": ["BROKEN.gz"]}, "cannot be read"),
        ({"logs": ["BROKEN.xz"]}, "cannot be"),
        ({"logs": ["BROKEN.zst"]}, "none of compression.zstd, zstandard, pyzstd"),
        ({"logs": ["/etc/hosts"], "log_timezone": "Mars/Base"}, "log_timezone: 'Mars/Base'"),
        ({"logs": ["/etc/hosts"], "in_force_since": "yesterday"}, "in_force_since: 'yesterday'"),
    ],
)
def test_bad_logs(more: dict[str, t.Any], message: str, tmp_path: Path) -> None:
    hba = tmp_path / "pg_hba.conf"
    hba.write_text("local all all peer\n")
    if more["logs"][0].startswith("BROKEN"):
        broken = tmp_path / more["logs"][0]
        broken.write_bytes({".gz": b"\x1f\x8b\x08\0\0", ".xz": b"\xfd7zXZ\x00xx", ".zst": b"\x28\xb5\x2f\xfd\0"}[broken.suffix] + b"\0" * 9)
        more = {**more, "logs": [str(broken)]}
        if broken.suffix == ".zst" and any(_there(name) for name in ("compression.zstd", "zstandard", "pyzstd")):
            message = "cannot be"
    result = run({"path": str(hba), "postgres_version": "16", **more})
    assert result["failed"] is True
    assert message in result["msg"]


def _there(name: str) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, check=False).returncode == 0


def test_content_has_no_history() -> None:
    result = run({"content": "local all all peer\n", "postgres_version": "16", "logs": ["/etc/hosts"]})
    assert "need path or a live server" in result["msg"]


def test_memory_stays_flat(tmp_path: Path) -> None:
    """100 MB of log, with connections all over, in a process that may use 100 MB of data."""
    hba, log = tmp_path / "pg_hba.conf", tmp_path / "postgresql.json"
    hba.write_text("host all all all md5\n")
    item = {"timestamp": "2026-05-04 10:00:00.000 UTC", "pid": 7, "error_severity": "LOG"}
    noise = json.dumps({**item, "message": "duration: 1 ms  statement: " + "x" * 2000}) + "\n"
    use = json.dumps({**item, "message": f'connection authenticated: identity="a" method=md5 ({hba}:1)'}) + "\n"
    block = (noise * 45 + use) * 11
    with log.open("w") as file:
        for _unused in range(100_000_000 // len(block)):
            file.write(block)
    given = {"path": str(hba), "postgres_version": "16", "logs": [str(log)], "in_force_since": "2020-01-01T00:00:00Z"}
    program = (
        "import sys, runpy, resource\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (100 << 20, 100 << 20))\n"
        "from ansible.module_utils import basic\n"
        "basic._ANSIBLE_ARGS = sys.stdin.buffer.read()\n"
        "if hasattr(basic, '_ANSIBLE_PROFILE'): basic._ANSIBLE_PROFILE = 'legacy'\n"
        "runpy.run_module('ansible_collections.pgops.access.plugins.modules.pg_hba_info', run_name='__main__')\n"
    )
    words = json.dumps({"ANSIBLE_MODULE_ARGS": given})
    done = subprocess.run([sys.executable, "-c", program], input=words, capture_output=True, text=True, timeout=120, check=False)
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["rules"][0]["uses"] == result["logs"]["events"] == 11 * (100_000_000 // len(block)), done.stderr
