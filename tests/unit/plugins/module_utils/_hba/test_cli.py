# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line, run as its users run it: as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

MODULE = "ansible_collections.pgops.access.plugins.module_utils._hba"


def run(*arguments: str, stdin: bytes = b"", cwd: Path | None = None) -> tuple[int, bytes, str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", MODULE, *arguments], input=stdin, capture_output=True, cwd=cwd, env=environment, check=False, timeout=60
    )
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pg_hba.conf").write_bytes(b"local all all peer\ninclude extra.conf\nhostssl a b all cert\n")
    (tmp_path / "extra.conf").write_bytes(b"host all all @nets md5\n")
    (tmp_path / "nets").write_bytes(b"10.0.0.0/8\n")
    return tmp_path


def rows_of(output: bytes) -> list[dict[str, t.Any]]:
    found: list[dict[str, t.Any]] = json.loads(output)
    return found


def test_rows(folder: Path) -> None:
    code, output, problem = run("rows", "--postgres-version", "16", str(folder / "pg_hba.conf"))
    rows = rows_of(output)
    assert (code, problem) == (0, "")
    assert [(row["file_name"], row["line_number"]) for row in rows] == [
        (str(folder / "pg_hba.conf"), 1),
        (str(folder / "extra.conf"), 1),
        (str(folder / "pg_hba.conf"), 3),
    ]
    assert list(rows[0])[:3] == ["rule_number", "file_name", "line_number"]
    assert rows[1]["address"] == "10.0.0.0"


def test_rows_of_an_old_major_and_of_a_build(folder: Path) -> None:
    code, output, _unused = run("rows", "--postgres-version", "15", "--without", "ssl,gssapi", "pg_hba.conf", cwd=folder)
    rows = rows_of(output)
    assert code == 1
    assert "file_name" not in rows[0]
    assert rows[1]["error"] == 'invalid connection type "include"'
    assert rows[2]["error"] == 'invalid authentication method "cert": not supported by this build'


def test_load(folder: Path) -> None:
    path = str(folder / "pg_hba.conf")
    assert json.loads(run("load", "--postgres-version", "18", path)[1]) == {"loads": True, "errors": []}
    code, output, _unused = run("load", "--postgres-version", "13", path)
    answer = json.loads(output)
    assert (code, answer["loads"], answer["errors"][0]["line_number"]) == (1, False, 2)
    warned = run("load", "--postgres-version", "18", "--ssl", "off", path)
    assert (warned[0], json.loads(warned[1])["loads"]) == (0, True)
    missing = json.loads(run("load", "--postgres-version", "18", str(folder / "nope"))[1])
    assert missing["loads"] is False
    assert "No such file or directory" in missing["errors"][0]["error"]


def test_load_tells_what_the_view_hides(tmp_path: Path) -> None:
    line = b"hostssl a a all trust clientcert=zz\n"
    code, output, _unused = run("load", "--postgres-version", "16", "-", stdin=line, cwd=tmp_path)
    assert code == 1
    assert json.loads(output)["errors"][0]["error"] == 'invalid value for clientcert: "zz"'
    rows = rows_of(run("rows", "--postgres-version", "16", "-", stdin=line, cwd=tmp_path)[1])
    assert (rows[0]["error"], rows[0]["rule_number"], rows[0]["type"]) == (None, 1, None)


def test_standard_input_includes_from_the_current_folder(folder: Path) -> None:
    code, output, _unused = run("rows", "--postgres-version", "17", "-", stdin=b"include extra.conf\n", cwd=folder)
    assert code == 0
    assert [row["file_name"] for row in rows_of(output)] == [str(folder / "extra.conf")]


def test_bytes_that_are_not_utf8_survive(tmp_path: Path) -> None:
    code, output, _unused = run("rows", "--postgres-version", "16", "-", stdin=b'local "\xff\xc3\xa9" a trust\n', cwd=tmp_path)
    assert code == 0
    assert rows_of(output)[0]["database"][0].encode("utf-8", "surrogateescape") == b"\xff\xc3\xa9"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "COMMAND"),
        (("rows", "x"), "--postgres-version"),
        (("rows", "--postgres-version", "11", "x"), "PostgreSQL 11 is not covered"),
        (("rows", "--postgres-version", "16x", "x"), "is not a PostgreSQL version"),
        (("rows", "--postgres-version", "16", "--without", "tls", "x"), "unknown: tls"),
        (("rows", "--postgres-version", "16", "/nonexistent/x"), "No such file or directory"),
        (("rows", "--postgres-version", "14", "--ident", "/dev/null"), "has no pg_ident_file_mappings"),
        (("load", "--postgres-version", "16", ""), "a file's name is empty"),
        (("effect", "--postgres-version", "16", "-", "-"), "standard input can be read once"),
        (("decide", "--postgres-version", "16", "--clients", "-", "-"), "standard input can be read once"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], said: str) -> None:
    code, output, problem = run(*arguments)
    assert (code, output) == (2, b"")
    assert said in problem
    assert "Traceback" not in problem


@pytest.mark.parametrize(
    ("clients", "roles", "said"),
    [
        ("[" * 100_000, "[]", "nested too deeply"),
        ("[]", '[{"name": "a", "member_of": ' + "[" * 100_000, "nested too deeply"),
        ('[{"user": "a", "replication": 1}]', "[]", "replication: 1 is neither"),
        ("[]", '[{"name": "a", "superuser": "no"}]', "roles[0]: superuser: 'no' is neither true nor false"),
        ("[]", '[{"name": "a", "member_of": "b"}]', "roles[0]: member_of: 'b' is no list"),
        ("[]", '[["a"]]', "roles[0]: an object"),
        ("[]", '{"name": "a"}', "an array of roles is wanted"),
    ],
)
def test_bad_json(tmp_path: Path, clients: str, roles: str, said: str) -> None:
    """What is JSON but not what is wanted: one sentence, and never taken for something else."""
    (tmp_path / "pg_hba.conf").write_text("local all all peer\n")
    (tmp_path / "c.json").write_text(clients)
    (tmp_path / "r.json").write_text(roles)
    files = ("--clients", "c.json", "--roles", "r.json", "pg_hba.conf")
    code, output, problem = run("decide", "--postgres-version", "16", *files, cwd=tmp_path)
    assert (code, output) == (2, b"")
    assert said in problem
    assert "Traceback" not in problem


@pytest.mark.parametrize(
    ("redirection", "said"),
    [
        ("<&-", "-: standard input is closed"),
        (">&-", "standard output is closed"),
        (">/dev/full", "the answer cannot be written: No space left on device"),
    ],
)
def test_standard_streams_that_cannot_be_used(redirection: str, said: str) -> None:
    command = f'printf "local all all peer\\n" | "{sys.executable}" -m {MODULE} rows --postgres-version 16 - {redirection}'
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(["sh", "-c", command], capture_output=True, env=environment, check=False, timeout=60)
    assert (done.returncode, done.stderr.decode()) == (2, f"error: {said}\n")


def test_unreadable_directory_entries(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.conf").write_bytes(b"local a a trust\n")
    (tmp_path / "d" / "b.conf").symlink_to("nowhere")
    output = run("rows", "--postgres-version", "16", "-", stdin=b"include_dir d\n", cwd=tmp_path)[1]
    assert [row["error"] for row in rows_of(output)] == [f'could not stat file "{tmp_path}/d/b.conf"']
    (tmp_path / "d" / "b.conf").unlink()
    (tmp_path / "d" / "b.conf").mkdir()
    assert [row["error"] for row in rows_of(run("rows", "--postgres-version", "16", "-", stdin=b"include_dir d\n", cwd=tmp_path)[1])] == [
        None
    ]


def test_effect_says_what_changes_and_where(tmp_path: Path) -> None:
    (tmp_path / "before").write_bytes(b"local all all peer\nhost all all 10.0.0.0/8 md5\n")
    (tmp_path / "after").write_bytes(b"local all all peer\nhost all all 10.0.0.0/9 md5\n")
    version = ("effect", "--postgres-version", "16")
    code, output, _unused = run(*version, "before", "after", cwd=tmp_path)
    changes = json.loads(output)
    assert (code, len(changes)) == (0, 1)
    assert changes[0]["addresses"] == ["10.128.0.0/9"]
    assert run(*version, "--exit-code", "before", "after", cwd=tmp_path)[0] == 1
    assert run(*version, "--exit-code", "before", "before", cwd=tmp_path)[:2] == (0, b"[]\n")


def test_commands_that_need_loaded_rules_name_the_error(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"local all all nope\n")
    code, output, problem = run("effect", "--postgres-version", "16", "bad", "bad", cwd=tmp_path)
    assert (code, output) == (1, b"")
    assert f'{tmp_path}/bad line 1: invalid authentication method "nope"' in problem


def test_format(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b'# c\nlocal  "app"   all peer # who\n')
    code, output, _unused = run("format", "--postgres-version", "16", "f", cwd=tmp_path)
    assert code == 0
    assert [line.split() for line in output.splitlines()] == [[b"#", b"c"], [b"local", b"app", b"all", b"peer", b"#", b"who"]]
    assert run("format", "--check", "--postgres-version", "16", "f", cwd=tmp_path)[0] == 1
    (tmp_path / "f").write_bytes(output)
    assert run("format", "--check", "--postgres-version", "16", "f", cwd=tmp_path)[0] == 0


def test_rows_of_a_user_map(tmp_path: Path) -> None:
    (tmp_path / "pg_ident.conf").write_bytes(b"m /^(.*)@x$ \\1\nbad\n")
    code, output, _unused = run("rows", "--ident", "--postgres-version", "15", "pg_ident.conf", cwd=tmp_path)
    assert code == 1
    assert rows_of(output)[0] == {"line_number": 1, "map_name": "m", "sys_name": "/^(.*)@x$", "pg_username": "\\1", "error": None}
    assert json.loads(run("load", "--ident", "--postgres-version", "12", "pg_ident.conf", cwd=tmp_path)[1])["loads"] is False


def test_findings(tmp_path: Path) -> None:
    code, output, _unused = run("findings", "--postgres-version", "16", "-", stdin=b"host all all 0.0.0.0/0 trust\nbad\n", cwd=tmp_path)
    found = json.loads(output)
    assert code == 1
    assert {finding["line"] for finding in found} == {1, 2}
    assert {"code", "severity", "file", "line", "reason", "remedy"} <= set(found[0])
    assert run("findings", "--postgres-version", "16", str(tmp_path / "nope"))[0] == 2


def test_oauth_is_permitted_where_the_setting_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "pg_hba.conf").write_text("host all all all oauth issuer=i scope=s validator=v\n")
    known = ("--oauth-validator-libraries", "other")
    assert json.loads(run("load", "--postgres-version", "18", "pg_hba.conf", cwd=tmp_path)[1]) == {"loads": True, "errors": []}
    answer = json.loads(run("load", "--postgres-version", "18", *known, "pg_hba.conf", cwd=tmp_path)[1])
    assert answer["errors"][0]["error"] == 'validator "v" is not permitted by oauth_validator_libraries'
