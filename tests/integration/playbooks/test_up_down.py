# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks up and down, from the installed collection. The tests are one story and run in this order."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest

from .conftest import Node, Run

QUERY = "SELECT current_user || ' in ' || current_database() || ' via ' || host(inet_client_addr())"


@pytest.fixture(scope="module")
def up(node: Node) -> Run:
    """The first run."""
    run = node.play("pgops.access.up", "-vv")
    assert run.code == 0, run.output
    return run


def rows(run: Run, client: str) -> list[tuple[str, ...]]:
    return [row for row in run.rows if row[0] == client]


def test_check_mode_on_nothing_predicts_and_makes_nothing(node: Node) -> None:
    run = node.play("pgops.access.up", "--check")
    assert run.code == 0, run.output
    assert run.changed > 0
    assert node.traces() == []


def test_it_runs_from_the_installed_tarball(node: Node, up: Run) -> None:
    tasks = re.findall(r"^task path: (\S+?):\d+$", up.output, re.MULTILINE)
    assert tasks
    assert {Path(task).is_relative_to(node.collections / "ansible_collections/pgops/access") for task in tasks} == {True}


@pytest.mark.parametrize("client", ["this host", "second container"])
def test_the_table_has_both_families_with_and_without_tls(up: Run, client: str) -> None:
    answers = {(":" in row[1].rsplit(" ", 1)[0], row[4].startswith("TLS"), row[5], row[6]) for row in rows(up, client)}
    assert answers == {(v6, tls, "allowed", "as expected") for v6 in (False, True) for tls in (False, True)}


def test_the_table_has_the_expected_refusals(up: Run) -> None:
    assert {row[5:] for row in rows(up, "wrong password")} == {("wrong_password", "as expected")}
    assert {row[5:] for row in rows(up, "replication")} == {("no_entry", "as expected")}


def test_the_table_says_what_the_server_sees(node: Node, up: Run) -> None:
    """Asked again, by us, with another client."""
    told = {row[1].rsplit(" ", 1)[0]: row[2] for row in rows(up, "this host")}
    assert {host: node.ask(host, sslmode="disable") for host in told} == {host: f"in as {seen}" for host, seen in told.items()}
    assert set(told) == {"127.0.0.1", "::1"}
    assert "password authentication failed" in node.ask(password="not it")


def test_the_dsn_works(node: Node, up: Run) -> None:
    dsn, where = re.search(r"DSN: (\S+) +\(password in (.*)\)", up.output).groups()  # type: ignore[union-attr]
    assert where == str(node.secret)
    with psycopg2.connect(dsn, password=Path(where).read_text(encoding="utf-8")) as connection:
        assert connection.server_version // 10000 == 15
    connection.close()


def test_the_line_to_try_just_works(node: Node, up: Run) -> None:
    if not shutil.which("psql"):
        pytest.skip("psql is not installed")
    line = re.search(r"Try: (.*)", up.output).group(1)  # type: ignore[union-attr]
    assert line == "PGSERVICEFILE=.pgops/pg_service.conf psql service=pgops"
    done = subprocess.run(
        f'{line} -XAtc "{QUERY}"', shell=True, cwd=node.folder, env=node.env, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout.startswith("postgres in app via 172.30.247."), done.stderr


def test_the_service_works_with_psycopg2(node: Node, up: Run) -> None:
    program = f"import psycopg2; c = psycopg2.connect('service=pgops').cursor(); c.execute(\"{QUERY}\"); print(c.fetchone()[0])"
    env = {**node.env, "PGSERVICEFILE": str(node.state / "pg_service.conf")}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.startswith("postgres in app via"), done.stderr


def test_secrets_are_the_owner_s_alone(node: Node, up: Run) -> None:
    for name in ("pg_service.conf", "pgpass"):
        assert stat.S_IMODE((node.state / name).stat().st_mode) == 0o600
    for folder in (node.state, node.state / "secrets", node.secret.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert node.secret.read_text(encoding="utf-8") not in up.output
    container = node.engine("inspect", node.name).stdout
    assert node.secret.name in container
    assert node.secret.read_text(encoding="utf-8") not in container


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try as somebody else")
def test_nobody_else_can_read_the_password(node: Node, up: Run) -> None:
    (node.folder / "public").write_text("x", encoding="utf-8")
    (node.folder / "public").chmod(0o644)

    def read(path: str) -> int:
        # The working directory is entered before the user changes, so only what lies below it decides.
        other = {"user": 65534, "group": 65534, "extra_groups": []}
        return subprocess.run(["cat", path], cwd=node.folder, capture_output=True, check=False, **other).returncode  # type: ignore[call-overload,no-any-return]

    assert read("public") == 0
    for path in (node.secret, node.state / "pgpass", node.state / "pg_service.conf"):
        assert read(str(path.relative_to(node.folder))) != 0


def test_the_second_run_changes_nothing(node: Node, up: Run) -> None:
    before = node.identity()
    again = node.play("pgops.access.up")
    assert (again.code, again.changed) == (0, 0), again.output
    assert before == node.identity()
    assert again.rows[0] == up.rows[0]


def test_check_mode_predicts_and_changes_nothing(node: Node, up: Run) -> None:
    before = node.identity()
    same = node.play("pgops.access.up", "--check", "--diff")
    assert (same.code, same.changed) == (0, 0), same.output
    other = node.role("--check", "--diff", pgops_port=node.port + 1)
    assert other.code == 0, other.output
    assert other.changed >= 1
    assert before == node.identity()
    assert node.ask().startswith("in as")


def test_down_leaves_the_data_and_up_finds_it(node: Node, up: Run) -> None:
    with psycopg2.connect(host="127.0.0.1", port=node.port, user="postgres", dbname="app", password=node.secret.read_text()) as connection:
        connection.cursor().execute("CREATE TABLE kept AS SELECT 'still here' AS word")
    connection.close()

    predicted = node.play("pgops.access.down", "--check")
    assert predicted.code == 0, predicted.output
    assert predicted.changed > 0
    assert node.ask().startswith("in as")

    down = node.play("pgops.access.down")
    assert down.code == 0, down.output
    assert down.changed > 0
    left = node.traces()
    assert [line.split()[0] for line in left[:1]] == ["volume"]
    assert {Path(path).relative_to(node.state) for path in left[1:] if Path(path).is_file()} == {node.secret.relative_to(node.state)}
    assert node.inspect("image", node.variables["pgops_image"]) is None
    assert "refused" in node.ask()

    again = node.play("pgops.access.down")
    assert (again.code, again.changed) == (0, 0), again.output

    node.engine("tag", "pgops/postgres:15-bookworm", node.variables["pgops_image"])
    back = node.role()
    assert back.code == 0, back.output
    read = {"PGSERVICEFILE": str(node.state / "pg_service.conf")}
    program = "import psycopg2; c = psycopg2.connect('service=pgops').cursor(); c.execute('SELECT word FROM kept'); print(c.fetchone()[0])"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**node.env, **read}, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout.strip() == "still here", done.stderr


def test_purge_leaves_nothing(node: Node, up: Run) -> None:
    purged = node.play("pgops.access.down", pgops_purge=True)
    assert purged.code == 0, purged.output
    left = node.traces()
    assert [path for path in left if not Path(path).is_dir()] == []
    assert not node.secret.parent.exists()
    assert node.inspect("image", "pgops/postgres:15-bookworm") is not None
