# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody who has had the data volume in hand: links that lead elsewhere, rules that are not what they should be."""

from __future__ import annotations

import json

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


# In one container, as the user that owns the volume: each attack is a start of its own, and must end by itself.
ATTACKS = r"""
cd "$PGDATA"
try() {
    name=$1
    shift
    timeout 10 env "$@" /usr/bin/python3 -I /usr/local/lib/pgops/pid1.py >/tmp/said 2>&1
    printf '%s\t%s\t%s\n' "$name" $? "$(tail -n 1 /tmp/said)"
}
with() {
    if [ -e "$1" ]; then mv "$1" /tmp/kept; fi
    eval "$2"
    try "$1 $2"
    rm -rf "$1"
    if [ -e /tmp/kept ]; then mv /tmp/kept "$1"; fi
}
for file in PG_VERSION postgresql.conf postgresql.auto.conf pg_hba.conf pg_ident.conf postmaster.pid global/pg_control pgops-first-start \
    pgops-tls/server.crt pgops-tls/server.key; do
    with "$file" 'mkfifo $file'
done
with PG_VERSION 'mv zero PG_VERSION'
with pg_ident.conf 'python3 -c "import socket; socket.socket(socket.AF_UNIX).bind(\"pg_ident.conf\")"'
with pg_hba.conf 'yes "host all all 10.0.0.0/8 md5" | head -c 100000000 >pg_hba.conf'
mkfifo pipe
with pg_hba.conf 'cp /tmp/kept pg_hba.conf; echo "host all @pipe 10.0.0.0/8 md5" >>pg_hba.conf'
unset POSTGRES_PASSWORD
for secret in "$PGDATA" "$PGDATA/pipe" /dev/zero "$PGDATA/base/1/1255" "$PGDATA/nowhere"; do
    try "secret $secret" POSTGRES_PASSWORD_FILE="$secret"
done
export POSTGRES_PASSWORD=x
for place in / /etc /proc/self /var/lib /usr/../etc; do try "PGDATA $place" PGDATA="$place"; done
for words in '; touch /tmp/planted' '$(touch /tmp/planted)' '--pwfile=/etc/passwd;touch /tmp/planted' '--pgdata=/tmp/planted' '"'; do
    try "initdb $words" PGDATA=/tmp/new POSTGRES_INITDB_ARGS="$words"
    rm -rf /tmp/new
done
ls /tmp/planted
"""


def test_what_is_no_file_is_refused_and_never_waited_for(launch, plant, made) -> None:  # type: ignore[no-untyped-def]
    plant("mknod zero c 1 5; chmod 666 zero")
    server = launch(f"--volume={made}:{DATA}", "--entrypoint=sh", command=("-c", ATTACKS))
    server.wait()
    lines = [line for line in engine.ask("logs", server.name).stdout.splitlines() if line.count("\t") == 2]
    for line in lines:
        name, status, said = line.split("\t")
        record = json.loads(said)
        assert (int(status), record["level"]) in ((73, "error"), (78, "error")), line
        subject = "pipe" if "@pipe" in name else {"secret": "_FILE", "initdb": "initdb"}.get(name.split()[0], name.split()[0])
        assert subject.lower() in record["message"].lower(), line
    assert len(lines) == 14 + 5 + 5 + 5
    assert "planted" not in engine.ask("logs", server.name).stdout.splitlines()[-1]
