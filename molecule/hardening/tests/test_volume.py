# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody who has had the data volume in hand: links that lead elsewhere, rules that are not what they should be."""

from __future__ import annotations

import engine
import pytest

DATA = "/var/lib/postgresql/data"


@pytest.mark.parametrize(
    "attack",
    [
        ("ln -s /victim/passwords pgops-first-start && chmod 777 .", "symbolic link"),
        ("ln -s /victim pgdata && chown 0:0 .", "symbolic link"),
    ],
)
def test_links_in_a_new_volume_overwrite_nothing(launch, plant, volume, tmp_path, attack) -> None:  # type: ignore[no-untyped-def]
    script, part = attack
    (tmp_path / "passwords").write_text("keep")
    tmp_path.chmod(0o777)
    (tmp_path / "passwords").chmod(0o666)
    plant(script)
    server = launch(f"--volume={volume}:{DATA}", f"--volume={tmp_path}:/victim")
    assert server.wait() == 73
    assert part in server.last()["message"]
    assert (tmp_path / "passwords").read_text() == "keep"
    assert [path.name for path in tmp_path.iterdir()] == ["passwords"]


def test_a_link_in_place_of_the_staging_directory_is_replaced(launch, plant, volume, tmp_path) -> None:  # type: ignore[no-untyped-def]
    tmp_path.chmod(0o777)
    plant("ln -s /victim .pgops-initdb")
    launch(f"--volume={volume}:{DATA}", f"--volume={tmp_path}:/victim").healthy()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "attack",
    [
        ("rm pg_hba.conf; mkdir pg_hba.conf", 73, "pg_hba.conf"),
        ("rm pg_hba.conf; ln -s /etc/passwd pg_hba.conf", 73, "pg_hba.conf"),
        ("rm pg_hba.conf; mkfifo pg_hba.conf; chown 999 pg_hba.conf", 73, "pg_hba.conf"),
        ("chown 0:0 pg_hba.conf; chmod 600 pg_hba.conf", 73, "pg_hba.conf"),
        ("echo 'host all all all nonsense' >> pg_hba.conf", 78, "nonsense"),
        ("rm -r pgops-tls; ln -s /victim pgops-tls", 73, "symbolic link"),
    ],
)
def test_an_existing_volume_that_was_tampered_with(launch, plant, made, tmp_path, attack) -> None:  # type: ignore[no-untyped-def]
    script, status, part = attack
    tmp_path.chmod(0o777)
    plant(script)
    server = launch(f"--volume={made}:{DATA}", f"--volume={tmp_path}:/victim")
    assert server.wait() == status
    assert part in server.last()["message"]
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_file_of_our_own_is_rewritten_with_its_mode(launch, plant, made) -> None:  # type: ignore[no-untyped-def]
    plant("chmod 400 pg_hba.conf")
    server = launch(f"--volume={made}:{DATA}", environment={"EXTERNAL_ACCESS_METHOD": "reject"}).healthy()
    assert server.run("stat", "--format", "%a", f"{DATA}/pg_hba.conf").stdout == "400\n"
    assert "reject" in server.run("cat", f"{DATA}/pg_hba.conf").stdout


def test_a_rules_file_that_is_mounted_read_only(launch, made, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "pg_hba.conf").write_text("local all postgres peer\n")
    (tmp_path / "pg_hba.conf").chmod(0o644)
    server = launch(f"--volume={made}:{DATA}", f"--volume={tmp_path}/pg_hba.conf:{DATA}/pg_hba.conf:ro")
    assert server.wait() == 73
    assert "the access rules cannot be written, so the server does not start" in server.last()["message"]


@pytest.fixture
def made(launch, volume):  # type: ignore[no-untyped-def]
    """A volume with a database that was stopped in order."""
    server = launch(f"--volume={volume}:{DATA}").healthy()
    engine.ask("stop", server.name)
    return volume
