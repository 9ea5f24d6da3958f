# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image as the only member of a cluster: one etcd, one member, hardened, with an arbitrary user id; asked from outside."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from image_support import IMAGE, PASSWORD, RUN, Container, docker

ETCD_IMAGE = "pgops/etcd:bookworm"
SERVICE = Path(__file__).resolve().parents[2] / "roles/pg_cluster/files/service"
SUPERUSER, REPLICATION = PASSWORD, "copy-horse-battery"
HARDENED = (
    "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "12345:0",
    "--tmpfs", "/run/postgresql:mode=1777", "--tmpfs", "/tmp:mode=1777",
)  # fmt: skip
CTL = ("/opt/pgops/venv/bin/patronictl", "-c", "/run/postgresql/pgops/patroni")
Environment = dict[str, str]


@pytest.fixture(scope="module")
def etcd(network: str) -> Iterator[str]:
    """A store of one node, from the role's own Dockerfile."""
    docker(
        "build",
        "--tag",
        ETCD_IMAGE,
        "--build-arg",
        "PROGRAM=etcd",
        str(SERVICE),
        timeout=300,
        env={"DOCKER_BUILDKIT": "1", "PATH": "/usr/bin:/bin"},
    )
    name = f"{RUN}-etcd"
    urls = ["--data-dir=/var/lib/etcd", "--listen-client-urls=http://0.0.0.0:2379", f"--advertise-client-urls=http://{name}:2379"]
    docker("run", "--detach", "--name", name, "--network", network, ETCD_IMAGE, "etcd", *urls)
    yield name
    docker("rm", "--force", "--volumes", name, check=False)


def environment(etcd: str, scope: str, **more: str) -> Environment:
    """What a member needs at least."""
    return {
        "PATRONI_SCOPE": scope, "PATRONI_NAME": "one", "PATRONI_ETCD3_HOSTS": f"{etcd}:2379", "POSTGRES_PASSWORD": SUPERUSER,
        "PATRONI_REPLICATION_PASSWORD": REPLICATION, "POSTGRES_DB": "app", **more,
    }  # fmt: skip


def run_member(name: str, network: str, values: Environment, *words: str) -> Container:
    """Start one."""
    options = [word for pair in values.items() for word in ("--env", "=".join(pair))]
    docker("run", "--detach", "--name", name, "--network", network, "--hostname", "one", *options, *words, IMAGE)
    return Container(name)


@pytest.fixture(scope="module")
def member(network: str, etcd: str) -> Iterator[Container]:
    """One hardened member, with a volume."""
    docker("volume", "create", f"{RUN}-member")
    found = run_member(
        f"{RUN}-member", network, environment(etcd, "tests"), *HARDENED, "--volume", f"{RUN}-member:/var/lib/postgresql/data"
    )
    yield found.healthy()
    found.remove()


def wait_for(test: Callable[[], object], seconds: float = 30) -> bool:
    """Whether something becomes true in time."""
    deadline = time.monotonic() + seconds
    while not test():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def sql(container: Container, query: str) -> str:
    """Ask the server over its socket, as the container's own user."""
    return container.exec("psql", "-XAtqw", "-d", "postgres", "-c", query)


def rest(container: Container, method: str, path: str, *, login: str = "", body: str = "") -> tuple[int, str]:
    """One request to the REST API, made inside by a program that is not ours."""
    program = (
        "import base64,sys,urllib.request as u,urllib.error as e\n"
        "m,p,l,b=sys.argv[1:]\n"
        "r=u.Request('http://127.0.0.1:8008'+p,method=m,data=b.encode() or None)\n"
        "l and r.add_header('Authorization','Basic '+base64.b64encode(l.encode()).decode())\n"
        "try: a=u.urlopen(r,timeout=10)\n"
        "except e.HTTPError as x: a=x\n"
        "print(a.status);print(a.read().decode())"
    )
    status, _unused, text = container.exec("python3", "-c", program, method, path, login, body).partition("\n")
    return int(status), text


def test_bootstraps_with_checksums_and_scram(member: Container) -> None:
    assert sql(member, "SHOW data_checksums") == "on"
    stored = sql(member, "SELECT rolname || ' ' || left(rolpassword, 13) FROM pg_authid WHERE rolpassword IS NOT NULL ORDER BY 1")
    assert stored.split("\n") == ["postgres SCRAM-SHA-256", "replicator SCRAM-SHA-256", "rewind_user SCRAM-SHA-256"]
    assert sql(member, "SELECT 1 FROM pg_database WHERE datname = 'app'") == "1"


def test_runs_as_anybody_with_a_name(member: Container) -> None:
    assert member.exec("id", "-u") == "12345"
    assert member.exec("id", "-un") == "postgres"


def test_the_servers_rules_are_the_dynamic_configurations(member: Container) -> None:
    wanted = json.loads(rest(member, "GET", "/config")[1])["postgresql"]["pg_hba"]
    assert wanted[0] == "local all postgres peer"
    loaded = sql(
        member, "SELECT type || ' ' || array_to_string(user_name, ',') || ' ' || auth_method FROM pg_hba_file_rules ORDER BY line_number"
    )
    assert loaded.split("\n")[0] == "local postgres peer"
    assert len(loaded.split("\n")) == len([line for line in wanted if not line.startswith("#")])
    assert sql(member, "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL") == "0"


def test_outsiders_get_in_with_the_password_only(member: Container, connect) -> None:
    assert connect(member, password=SUPERUSER, database="app") == "ok postgres"
    assert "password authentication failed" in connect(member, password="wrong")


def test_rest_writes_need_credentials(member: Container) -> None:
    body = json.dumps({"postgresql": {"pg_hba": ["local all all trust", "host all all all trust"]}})
    assert rest(member, "PATCH", "/config", body=body)[0] == 401
    assert rest(member, "PATCH", "/config", body=body, login="patroni:guess")[0] == 401
    assert rest(member, "GET", "/health")[0] == 200


def test_every_line_is_json_without_a_secret(member: Container) -> None:
    assert {"entrypoint", "patroni", "postgresql"} <= {record["source"] for record in member.records()}
    text = "\n".join(member.raw_lines())
    assert SUPERUSER not in text
    assert REPLICATION not in text


def test_the_health_check_asks_patroni(member: Container) -> None:
    assert member.exec("healthcheck.sh") == "healthy: primary (primary, running)"
    inside = member.exec("sh", "-c", "grep -l -z -x patroni /proc/[0-9]*/cmdline | head -n 1 | cut -d/ -f3")
    member.exec("sh", "-c", f"kill -STOP {inside}")
    try:
        done = docker("exec", member.name, "healthcheck.sh", check=False)
    finally:
        member.exec("sh", "-c", f"kill -CONT {inside}")
    assert done.returncode == 1
    assert done.stdout.startswith("rest: ")


def test_a_start_with_another_environment_changes_the_clusters_rules(member: Container, network: str, etcd: str, connect) -> None:
    login = "ops:renewed-horse"
    docker("stop", member.name)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", member.name).stdout.strip() == "0"
    docker("rm", member.name)
    changed = environment(
        etcd, "tests", EXTERNAL_ACCESS_ENABLE="false", PATRONI_RESTAPI_USERNAME="ops", PATRONI_RESTAPI_PASSWORD="renewed-horse"
    )
    run_member(member.name, network, changed, *HARDENED, "--volume", f"{RUN}-member:/var/lib/postgresql/data").healthy()
    assert wait_for(lambda: [r for r in member.records() if r.get("event") == "access_reconciled"])
    event = next(r for r in member.records() if r.get("event") == "access_reconciled")
    assert [line.split()[:2] for line in event["removed"]] == [["host", "all"], ["host", "all"]]
    assert wait_for(lambda: "no pg_hba.conf entry" in connect(member, password=SUPERUSER))
    # Whoever changes the rules later is not contradicted.
    rules = json.loads(rest(member, "GET", "/config")[1])["postgresql"]["pg_hba"]
    body = json.dumps({"postgresql": {"pg_hba": [*rules, "host app all all scram-sha-256"]}})
    assert rest(member, "PATCH", "/config", body=body, login=login)[0] == 200
    time.sleep(6)
    assert connect(member, password=SUPERUSER, database="app") == "ok postgres"


def test_stopping_while_paused_leaves_a_clean_data_directory(member: Container) -> None:
    member.exec(*CTL, "pause", "--wait")
    docker("stop", "--time", "30", member.name)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", member.name).stdout.strip() == "0"
    words = ("pg_controldata", "/var/lib/postgresql/data/pgdata")
    state = docker("run", "--rm", "--volume", f"{RUN}-member:/var/lib/postgresql/data", "--user", "12345:0", IMAGE, *words).stdout
    assert "Database cluster state:               shut down\n" in state


@pytest.mark.parametrize(
    ("changes", "mounted", "said"),
    [
        ({"PATRONI_ETCD3_HOSTS": ""}, "", "no distributed store is named"),
        ({"PATRONI_CONFIGURATION": "{}"}, "", "PATRONI_CONFIGURATION"),
        ({"PATRONI_REPLICATION_PASSWORD": ""}, "", "PATRONI_REPLICATION_PASSWORD"),
        ({}, "postgresql: {pg_hba: []}", "would replace the cluster's access rules"),
        ({}, "- a list", "is not a YAML mapping"),
    ],
)
def test_refuses_what_would_not_be_a_member(start, tmp_path: Path, changes: Environment, mounted: str, said: str) -> None:
    words: list[str] = []
    if mounted:
        (tmp_path / "mine.yml").write_text(mounted)
        tmp_path.chmod(0o755)
        (tmp_path / "mine.yml").chmod(0o644)
        words = ["--volume", f"{tmp_path}:/etc/pgops/patroni:ro"]
    container = start(*words, env={**environment("nowhere.invalid", "refused"), **changes})
    assert container.wait() == 78
    assert container.said("error", said)


def test_patronis_end_ends_the_container_with_a_status(start, etcd: str) -> None:
    container = start(env=environment(etcd, "ends")).healthy()
    inside = container.exec("sh", "-c", "grep -l -z -x patroni /proc/[0-9]*/cmdline | head -n 1 | cut -d/ -f3")
    container.exec("sh", "-c", f"kill -KILL {inside}")
    assert container.wait() == 137
    assert any(r["message"] == "database system is shut down" for r in container.records())
