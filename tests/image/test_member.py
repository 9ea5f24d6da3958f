# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image as the only member of a cluster: one etcd, one member, hardened, with an arbitrary user id; asked from outside."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from image_support import IMAGE, PASSWORD, RUN, Container, docker, make_certificate, until

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


SCRIPTS = {
    "10-role.sh": 'psql -XqU "$POSTGRES_USER" -d "$POSTGRES_DB" -c "CREATE ROLE scripted"\necho "$POSTGRES_PASSWORD"\n',
    "20-table.sql": "CREATE EXTENSION pg_stat_statements;\nCREATE TABLE made AS SELECT current_user AS by, current_database() AS there;\n",
    "README": "no script\n",
}


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the member finds mounted: scripts for a new database, a certificate, and REST's password."""
    folder = tmp_path_factory.mktemp("mounted")
    for name in ("scripts", "tls", "secrets"):
        (folder / name).mkdir()
    for name, text in SCRIPTS.items():
        (folder / "scripts" / name).write_text(text)
    (folder / "secrets/rest").write_text("first-horse\n")
    make_certificate(folder / "tls")
    for path in (folder, *folder.parents[:2], *folder.rglob("*")):
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    return folder


def tls_member(etcd: str, mounted: Path, **more: str) -> tuple[Environment, tuple[str, ...]]:
    """The environment and the mounts of the hardened member."""
    values = environment(
        etcd, "tests", PATRONI_RESTAPI_CERTFILE="/etc/pgops/tls/tls.crt", PATRONI_RESTAPI_KEYFILE="/etc/pgops/tls/tls.key",
        PATRONI_CTL_INSECURE="true", PATRONI_RESTAPI_PASSWORD_FILE="/run/secrets/rest",
    )  # fmt: skip
    places = {"scripts": "/docker-entrypoint-initdb.d", "tls": "/etc/pgops/tls", "secrets": "/run/secrets"}
    mounts = tuple(f"--volume={mounted / name}:{target}:ro" for name, target in places.items())
    return {**values, **more}, (*HARDENED, *mounts, f"--volume={RUN}-member:/var/lib/postgresql/data")


@pytest.fixture(scope="module", autouse=True)
def waiting(network: str, etcd: str) -> Iterator[Container]:
    """A member whose store is one etcd node of three, which answers, and nothing can be read; it waits while the other tests run."""
    store = f"{RUN}-alone"
    own = f"http://{store}"
    urls = ["--name=a", "--data-dir=/var/lib/etcd", "--listen-client-urls=http://0.0.0.0:2379", f"--advertise-client-urls={own}:2379"]
    urls += ["--listen-peer-urls=http://0.0.0.0:2380", f"--initial-advertise-peer-urls={own}:2380"]
    urls += [f"--initial-cluster=a={own}:2380,b=http://127.0.0.1:1,c=http://127.0.0.1:2"]
    docker("run", "--detach", "--name", store, "--network", network, ETCD_IMAGE, "etcd", *urls)
    found = run_member(f"{RUN}-waiting", network, environment(store, "waits"))
    yield found
    found.remove()
    docker("rm", "--force", "--volumes", store, check=False)


@pytest.fixture(scope="module")
def member(network: str, etcd: str, mounted: Path) -> Iterator[Container]:
    """One hardened member, with a volume, certificates and scripts."""
    docker("volume", "create", f"{RUN}-member")
    values, words = tls_member(etcd, mounted)
    found = run_member(f"{RUN}-member", network, values, *words)
    yield found.healthy()
    found.remove()


def wait_for(test: Callable[[], object], seconds: float = 60) -> bool:
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
    """One request to the REST API, made inside by a program that is not ours; status 0 when nobody listens."""
    program = (
        "import base64,ssl,sys,urllib.request as u,urllib.error as e\n"
        "m,p,l,b=sys.argv[1:]\n"
        "r=u.Request('https://127.0.0.1:8008'+p,method=m,data=b.encode() or None)\n"
        "l and r.add_header('Authorization','Basic '+base64.b64encode(l.encode()).decode())\n"
        "try: a=u.urlopen(r,timeout=10,context=ssl._create_unverified_context())\n"
        "except e.HTTPError as x: a=x\n"
        "except OSError: print(0);sys.exit()\n"
        "print(a.status);print(a.read().decode())"
    )
    status, _unused, text = container.exec("python3", "-c", program, method, path, login, body).partition("\n")
    return int(status), text


def test_bootstraps_with_checksums_and_scram(member: Container) -> None:
    assert sql(member, "SHOW data_checksums") == "on"
    stored = sql(member, "SELECT rolname || ' ' || left(rolpassword, 13) FROM pg_authid WHERE rolpassword IS NOT NULL ORDER BY 1")
    assert stored.split("\n") == ["postgres SCRAM-SHA-256", "replicator SCRAM-SHA-256", "rewind_user SCRAM-SHA-256"]
    assert sql(member, "SELECT 1 FROM pg_database WHERE datname = 'app'") == "1"


def test_the_first_member_runs_the_scripts_and_counts_statements(member: Container) -> None:
    made = member.exec("psql", "-XAtqw", "-d", "app", "-c", "SELECT by, there, to_regrole('scripted') FROM made")
    assert made == "postgres|app|scripted"
    said = [(r["source"], r["message"]) for r in member.records() if r["source"] in ("init-script", "entrypoint")]
    assert ("entrypoint", "running /docker-entrypoint-initdb.d/10-role.sh") in said
    assert ("init-script", "***") in said
    assert ("entrypoint", "/docker-entrypoint-initdb.d/README is ignored: neither .sh nor .sql (plain, .gz, .xz or .zst)") in said
    event = member.event_of("statistics")
    assert event["message"].startswith("statistics of statements: pg_stat_statements ")
    assert event["loaded"] == ["pg_stat_statements"]
    for database in ("template1", "postgres", "app"):
        texts = member.exec("psql", "-XAtqw", "-d", database, "-c", "SELECT query FROM pg_stat_statements")
        assert "pg_stat_activity" in texts or "pg_is_in_recovery" in texts, database
        assert not [secret for secret in (SUPERUSER, REPLICATION, "first-horse") if secret in texts], database


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


def test_metrics_are_there_for_everybody_and_have_the_guides_names(member: Container) -> None:
    status, text = rest(member, "GET", "/metrics")
    assert status == 200
    values = dict(re.findall(r"(?m)^(patroni_\w+)\{[^}]*\} (\S+)$", text))
    guide = (Path(__file__).parents[2] / "docs/guides/metrics.md").read_text()
    named = set(re.findall(r"\bpatroni_\w+", guide))
    assert len(named) >= 6
    assert named <= set(values)
    assert (values["patroni_primary"], values["patroni_postgres_running"], values["patroni_is_paused"]) == ("1", "1", "0")


def test_every_line_is_json_without_a_secret(member: Container) -> None:
    assert {"entrypoint", "patroni", "postgresql"} <= {record["source"] for record in member.records()}
    text = "\n".join(member.raw_lines())
    assert SUPERUSER not in text
    assert REPLICATION not in text


def test_the_health_check_asks_patroni(member: Container) -> None:
    assert wait_for(lambda: member.exec("healthcheck.sh") == "healthy: primary (primary, running; pg_stat_statements)")
    inside = member.exec("sh", "-c", "grep -l -z -x '[p]atroni' /proc/[0-9]*/cmdline | head -n 1 | cut -d/ -f3")
    member.exec("sh", "-c", f"kill -STOP {inside}")
    try:
        done = docker("exec", member.name, "healthcheck.sh", check=False)
    finally:
        member.exec("sh", "-c", f"kill -CONT {inside}")
    assert done.returncode == 1
    assert done.stdout.startswith("rest: ")


@pytest.mark.parametrize(("away", "back"), [("pause", "unpause"), ("kill", "start")])
def test_the_health_check_tells_that_the_store_is_away(member: Container, etcd: str, away: str, back: str) -> None:
    """Frozen and gone; with failsafe mode the only member goes on all the same."""
    member.exec(*CTL, "edit-config", "--force", "--quiet", "-s", "ttl=20", "-s", "retry_timeout=3", "-s", "loop_wait=1")
    # A new ttl is a new lease in the store: a leader that is about to ask for one when the store goes away gives up its lock.
    looked: set[int] = set()
    assert wait_for(lambda: looked.add(json.loads(rest(member, "GET", "/patroni")[1])["dcs_last_seen"]) or len(looked) > 3)
    docker(away, etcd)
    try:
        answer = until(member, ".*away", 60)
    finally:
        docker(back, etcd)
    assert answer[0] == 0
    assert answer[1].startswith("healthy: primary (primary, running; the store is away, failsafe mode")
    assert until(member, "healthy: (?!.*away)", 60)[0] == 0


def test_patronis_end_ends_the_container_and_its_data_do_not_join_another_cluster(start, etcd: str, member: Container, volume: str) -> None:
    mount = f"--volume={volume}:/var/lib/postgresql/data"
    container = start(mount, env=environment(etcd, "ends")).healthy()
    inside = container.exec("sh", "-c", "grep -l -z -x '[p]atroni' /proc/[0-9]*/cmdline | head -n 1 | cut -d/ -f3")
    theirs = sql(container, "SELECT system_identifier FROM pg_control_system()")
    container.exec("sh", "-c", f"kill -KILL {inside}")
    assert container.wait() == 137
    assert any(r["message"] == "database system is shut down" for r in container.records())
    ours = sql(member, "SELECT system_identifier FROM pg_control_system()")
    before = rest(member, "GET", "/config")
    stranger = start(mount, env={**environment(etcd, "tests"), "PATRONI_NAME": "two"})
    assert stranger.wait() == 73
    said = stranger.event_of("other_cluster")
    assert said["level"] == "error"
    assert f"their system identifier is {theirs}, and that of PATRONI_SCOPE=tests is {ours}" in said["message"]
    assert rest(member, "GET", "/config") == before
    member.healthy()


def serials(member: Container) -> set[str]:
    """Of the certificates that REST and PostgreSQL show."""
    shown = "openssl s_client -connect 127.0.0.1:{} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    return {member.exec("sh", "-c", shown.format(end)) for end in ("8008", "5432 -starttls postgres")}


def test_a_hangup_brings_renewed_secrets_and_certificates(member: Container, mounted: Path) -> None:
    old = serials(member)
    assert len(old) == 1, "both show the mounted one"
    assert rest(member, "PATCH", "/config", login="patroni:first-horse", body="{}")[0] == 400, "let in; an empty body is none"
    (mounted / "secrets/rest").write_text("second-horse\n")
    make_certificate(mounted / "tls")
    docker("kill", "--signal", "HUP", member.name)
    assert wait_for(lambda: len(serials(member)) == 1 and serials(member) != old), member.raw_lines()[-5:]
    assert rest(member, "PATCH", "/config", login="patroni:first-horse", body="{}")[0] == 401
    # What watches over the rules has the new password, too: it writes what is recorded.
    body = json.dumps({"pgops": {"external_access": "elsewhere"}})
    assert rest(member, "PATCH", "/config", login="patroni:second-horse", body=body)[0] == 200
    assert wait_for(lambda: json.loads(rest(member, "GET", "/config")[1])["pgops"]["external_access"] != "elsewhere")
    assert "second-horse" not in "\n".join(member.raw_lines())


def test_a_hangup_compares_passwords_and_the_derived_one_is_set(member: Container) -> None:
    """The rewind user's is derived from the superuser's, so nobody but the leader could tell the role; others are told about."""
    verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = 'rewind_user'"
    before = sql(member, verifier)
    sql(member, "ALTER ROLE replicator PASSWORD 'changed'; ALTER ROLE rewind_user PASSWORD 'changed'")
    docker("kill", "--signal", "HUP", member.name)
    assert member.event_of("login_derived")["level"] == "info"
    assert sql(member, verifier)[:19] == before[:19] == "SCRAM-SHA-256$4096:"
    said = member.event_of("login_differs")
    assert said["message"].startswith("PATRONI_REPLICATION_PASSWORD is not the password that the role 'replicator' has in the cluster")
    sql(member, f"ALTER ROLE replicator PASSWORD '{REPLICATION}'")
    assert member.event_of("login_agrees")["level"] == "info"
    docker("kill", "--signal", "HUP", member.name)
    time.sleep(1)
    assert len([r for r in member.records() if r.get("event") == "login_derived"]) == 1, "it is the right one now"


def test_rules_that_do_not_load_are_named_and_healed_from_outside(member: Container) -> None:
    """Patroni takes them with status 200, and the next start fails."""
    login = "patroni:second-horse"
    good = json.loads(rest(member, "GET", "/config")[1])["postgresql"]["pg_hba"]
    body = json.dumps({"postgresql": {"pg_hba": [*good, "host all all 192.0.2.0/24 nonsense"]}})
    assert rest(member, "PATCH", "/config", login=login, body=body)[0] == 200
    docker("restart", "--time", "30", member.name)
    assert wait_for(lambda: member.said("error", "holds access rules that PostgreSQL does not load"))
    assert any('invalid authentication method "nonsense"' in record["message"] for record in member.records())
    assert docker("exec", member.name, "healthcheck.sh", check=False).returncode == 1
    heal = json.dumps({"postgresql": {"pg_hba": good}})
    assert wait_for(lambda: rest(member, "PATCH", "/config", login=login, body=heal)[0] == 200)
    member.healthy()


def test_a_start_with_another_environment_changes_the_clusters_rules(
    member: Container, network: str, etcd: str, mounted: Path, connect
) -> None:
    login = "ops:renewed-horse"
    docker("stop", member.name)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", member.name).stdout.strip() == "0"
    docker("rm", member.name)
    (mounted / "secrets/rest").write_text("renewed-horse\n")
    changed, words = tls_member(etcd, mounted, EXTERNAL_ACCESS_ENABLE="false", PATRONI_RESTAPI_USERNAME="ops")
    run_member(member.name, network, changed, *words).healthy()
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


def test_a_script_that_fails_leaves_no_half_made_cluster(start, etcd: str, tmp_path: Path) -> None:
    (tmp_path / "10-fails.sql").write_text("SELECT 1/0;\n")
    tmp_path.chmod(0o755)
    container = start(f"--volume={tmp_path}:/docker-entrypoint-initdb.d:ro", env=environment(etcd, "fails"))
    assert container.wait() == 1
    assert container.said("error", "10-fails.sql failed, with status 3: ")
    assert container.said("error", "division by zero; Patroni gives the new cluster up")
    keys = docker("exec", etcd, "etcdctl", "get", "--prefix", "--keys-only", "/service/fails/").stdout
    assert "initialize" not in keys


def test_a_store_without_a_quorum_is_named(waiting: Container) -> None:
    assert wait_for(lambda: waiting.said("error", "does not answer or has no quorum: check PATRONI_ETCD3_HOSTS"))
    done = docker("exec", waiting.name, "healthcheck.sh", check=False)
    assert done.returncode == 1
    assert done.stdout.strip() == "starting: Patroni waits for the distributed store, which does not answer or has no quorum"
