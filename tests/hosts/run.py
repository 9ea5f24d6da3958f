#!/usr/bin/env python3
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook `cluster` on three hosts, on request: `tools/bootstrap dev && .pgops/venv/bin/python tests/hosts/run.py`.

Not a part of `make test`: it takes minutes and needs root. The hosts are network namespaces of this machine, each with a Docker daemon
of its own (machines.py), in an ordinary inventory. What is asked of the cluster is asked from this machine, outside of all of them:

    up        the playbook makes the cluster; rows can be written through every host's entry point, and the server proves itself
    closed    REST and etcd speak TLS only, etcd refuses who has no certificate, REST refuses who writes without certificate or password
    refused   TLS cannot be switched off, and certificates that would not do are refused, each with its reason; nothing is touched
    lost      the primary's host loses its power; writes go on through the other hosts; it comes back and follows
    changed   parameters and environment change member by member, while rows are written
    renewed   the role renews the certificate of every host; every server presents it, and no member is restarted
    reloaded  the same by hand, as the guide says; the former certificates end, and every etcd node restarts
    given     certificates of another authority take the place of the role's, in three runs
    again     a second run changes nothing
    down      nothing is left

Every acknowledged row is there, once, at the end of each step from `lost` to `given`.

With `--connection ssh` the hosts are reached by SSH, as an unprivileged user who becomes root by sudo, and have none of the controller's
files; this machine needs openssh-server and sudo for that.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import datetime
import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
import urllib.error
import urllib.request
from pathlib import Path

import certificates
import machines
import psycopg2
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from house import STATE, VENV, ansible_env  # noqa: E402 - the tools are a directory beside, not a package

NAME, PREFIX, SUBNET = "pgops-hosts", "pghost", "172.30.236"
SERVICES = ("pgops/etcd:bookworm", "pgops/haproxy:bookworm")
CTL = ("/opt/pgops/venv/bin/patronictl", "-c", "/run/postgresql/pgops/patroni")
PATIENCE = 240.0


class Cluster:
    """The cluster as its inventory and its hosts show it."""

    def __init__(self, folder: Path, hosts: list[machines.Machine], image: str) -> None:
        self.folder, self.hosts = folder, hosts
        self.wanted: dict[str, object] = {}
        """What the steps have asked for so far, beside the inventory: every later run asks for it, too."""
        self._inventory = folder / "inventory.yml"
        listed = {
            f"db{number}": {"pg_cluster_address": host.address, "pgops_state_dir": str(host.state), **host.variables()}
            for number, host in enumerate(hosts, 1)
        }
        shared = {"pgops_engine": "docker", "pgops_image": image, "pg_cluster_name": NAME, "pg_cluster_profile": "fast"}
        self._inventory.write_text(yaml.safe_dump({"databases": {"hosts": listed, "vars": shared}}), encoding="utf-8")

    @property
    def own(self) -> Path:
        """What the first host holds of the cluster."""
        return self.hosts[0].state / "clusters" / NAME

    def _played(self, **variables: object) -> tuple[int, str]:
        """The playbook: its exit status and output."""
        words = [str(VENV / "bin/ansible-playbook"), str(ROOT / "playbooks/cluster.yml"), "-i", str(self._inventory), "-e"]
        given = json.dumps({"pgops_hosts": "databases", **self.wanted, **variables})
        env = {**ansible_env(), "PWD": str(self.folder)}
        said = self.folder / "play.log"
        with said.open("wb") as log:
            done = subprocess.run([*words, given], cwd=self.folder, env=env, stdout=log, stderr=log, timeout=3600, check=False)
        return done.returncode, said.read_text(encoding="utf-8", errors="replace")

    def play(self, **variables: object) -> int:
        """The playbook; the number of changed tasks. Raises SystemExit with the end of its output when it fails."""
        status, text = self._played(**variables)
        expect(status == 0, "the playbook succeeds:\n" + "\n".join(text.splitlines()[-40:]))
        recap = text.rpartition("PLAY RECAP")[2]
        return sum(int(word.partition("=")[2]) for word in recap.split() if word.startswith("changed="))

    def refuses(self, reason: str, **variables: object) -> None:
        """That the playbook ends for this reason, before it changes anything."""
        status, text = self._played(**variables)
        said, recap = " ".join(text.split()), text.rpartition("PLAY RECAP")[2]
        expect(status != 0 and reason in said, f"the playbook refuses ({reason}):\n" + "\n".join(text.splitlines()[-40:]))
        expect("Nothing was changed" in said, "it says that nothing was changed")
        expect(recap.count("changed=0") == recap.count("changed=") > 0, f"it changes nothing:{recap}")

    def secret(self, name: str) -> str:
        """A password."""
        return (self.own / "secrets" / name).read_text(encoding="utf-8")

    def connect(self, *hosts: machines.Machine) -> psycopg2.extensions.connection:
        """A session through the entry points of some hosts; the server has to prove that it is the cluster's."""
        session = psycopg2.connect(
            host=",".join(host.address for host in hosts), port=5000, user="postgres", password=self.secret("superuser"), dbname="app",
            sslmode="verify-full", sslrootcert=str(self.own / "tls/cluster-ca.crt"), connect_timeout=3,
            options="-c statement_timeout=30000",
        )  # fmt: skip
        session.autocommit = True
        return session

    def members(self) -> list[dict[str, str]]:
        """Patroni's list, from the first member that answers."""
        for number, host in enumerate(self.hosts, 1):
            with contextlib.suppress(SystemExit, ValueError, subprocess.TimeoutExpired):
                return list(json.loads(host.docker("exec", f"{NAME}-{number}", *CTL, "list", "--format", "json", seconds=30)))
        return []

    def begun(self) -> list[str]:
        """When the server of each member started, and its container: a restart shows."""
        query = "SELECT pg_postmaster_start_time()"
        return [
            host.docker("inspect", "--format", "{{.State.StartedAt}}", f"{NAME}-{number}")
            + host.docker("exec", f"{NAME}-{number}", "psql", "-XAtq", "-d", "postgres", "-c", query)
            for number, host in enumerate(self.hosts, 1)
        ]

    def tls(self, number: int) -> Path:
        """What the containers of a host mount."""
        return self.hosts[number - 1].state / "clusters" / NAME / "tls"

    def context(self) -> ssl.SSLContext:
        """The first host's, which has a certificate and verifies who answers."""
        made = ssl.create_default_context(cafile=str(self.tls(1) / "cluster-ca.crt"))
        made.load_cert_chain(self.tls(1) / "tls.crt", self.tls(1) / "tls.key")
        return made

    def stale(self) -> list[str]:
        """The servers that do not present the certificate of their host: etcd for clients and for its peers, REST, PostgreSQL."""
        context = self.context()
        return [
            f"{host.address}:{port}"
            for number, host in enumerate(self.hosts, 1)
            for port in (2379, 2380, 8008, 5432)
            if certificates.presented(host.address, port, context) != certificates.first(self.tls(number) / "tls.crt")
        ]

    def leader(self) -> int:
        """The number of the host that has the primary; 0 while none has."""
        found = [m["Member"] for m in self.members() if "Leader" in m["Role"] and m["State"] == "running"]
        return int(found[0].rpartition("-")[2]) if found else 0

    def whole(self) -> bool:
        """Whether one leads and both others follow it synchronously."""
        found = sorted((m["Role"], m["State"]) for m in self.members())
        return found == [("Leader", "running"), ("Quorum Standby", "streaming"), ("Quorum Standby", "streaming")]


class Writer:
    """Inserts rows through the entry points of some hosts, in the background, and remembers which were acknowledged, and when."""

    def __init__(self, cluster: Cluster, hosts: list[machines.Machine]) -> None:
        self._cluster, self._hosts = cluster, hosts
        self.acknowledged: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Writer:
        session = self._cluster.connect(*self._hosts)
        session.cursor().execute("DROP TABLE IF EXISTS kept; CREATE TABLE kept (id bigint NOT NULL)")
        session.close()
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _write(self) -> None:
        session, number = None, 0
        while not self._stop.wait(0.02):
            number += 1
            try:
                session = session or self._cluster.connect(*self._hosts)
                session.cursor().execute("INSERT INTO kept VALUES (%s)", (number,))
                self.acknowledged.append((time.monotonic(), number))
            except psycopg2.Error:
                # Nobody knows whether this row was written: it is not counted, and not tried again.
                session = None

    def outage(self) -> float:
        """The longest time without an acknowledged row."""
        times = [moment for moment, _row in self.acknowledged]
        return max((later - earlier for earlier, later in zip(times, times[1:])), default=0.0)

    def account(self) -> str:
        """Ends the test when a row is lost or there twice; else a sentence."""
        session = self._cluster.connect(*self._hosts)
        cursor = session.cursor()
        cursor.execute("SELECT id, count(*) FROM kept GROUP BY id")
        found = dict(cursor.fetchall())
        lost = [row for _moment, row in self.acknowledged if row not in found]
        twice = [row for row, times in found.items() if times > 1]
        expect(not lost and not twice, f"{len(lost)} of {len(self.acknowledged)} acknowledged rows lost, {len(twice)} there twice")
        return f"{len(self.acknowledged)} rows acknowledged, 0 lost, {self.outage():.1f} s without writes at most"


def expect(met: bool, what: str) -> None:
    """End the test when something is not so."""
    if not met:
        raise SystemExit(f"NOT SO: {what}")


def wait_for(what: str, test: t.Callable[[], object]) -> None:
    """Until a test holds; raises SystemExit when it never does."""
    deadline = time.monotonic() + PATIENCE
    while not test():
        expect(time.monotonic() < deadline, f"after {PATIENCE:.0f} s: {what}")
        time.sleep(1)


def answer(url: str, *, context: ssl.SSLContext | None = None, login: str = "", body: bytes | None = None) -> int:
    """The status code of one request; 0 when the connection is refused, ended or not spoken to."""
    request = urllib.request.Request(url, body, method="PATCH" if body else "GET")
    if login:
        request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as got:
            return int(got.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def up(cluster: Cluster) -> str:
    """The playbook, then a row through every entry point."""
    cluster.play()
    wait_for("the cluster is whole", cluster.whole)
    for host in cluster.hosts:
        session = cluster.connect(host)
        session.cursor().execute("CREATE TABLE IF NOT EXISTS seen (id int); INSERT INTO seen VALUES (1)")
        session.close()
    return "a row through each of three entry points, the server's certificate verified"


def closed(cluster: Cluster) -> str:
    """Who gets an answer from REST and etcd."""
    trusted = ssl.create_default_context(cafile=str(cluster.own / "tls/cluster-ca.crt"))
    known = cluster.context()
    address, login = cluster.hosts[1].address, f"patroni:{cluster.secret('rest')}"
    nothing = b'{"pgops": {"test": null}}'
    rest, etcd = f"https://{address}:8008", f"https://{address}:2379"
    expect(answer(f"http://{address}:8008/health") == 0, "plain HTTP to REST is not answered")
    expect(answer(f"http://{address}:2379/version") == 0, "plain HTTP to etcd is not answered")
    expect(answer(rest + "/health", context=trusted) == 200, "REST answers a reader without a certificate")
    expect(answer(rest + "/config", context=trusted, login=login, body=nothing) == 403, "REST wants a certificate of a writer")
    expect(answer(rest + "/config", context=known, body=nothing) == 401, "REST wants a password of a writer")
    expect(answer(rest + "/config", context=known, login=login, body=nothing) == 200, "REST takes a writer with both")
    expect(answer(etcd + "/version", context=trusted) == 0, "etcd refuses who has no certificate")
    expect(answer(etcd + "/version", context=known) == 200, "etcd answers who has one")
    without = (
        f"{NAME}-etcd-2", "etcdctl", "--command-timeout=2s", f"--endpoints={etcd}", "--cacert=/etc/pgops/tls/cluster-ca.crt", "get", "/",
    )  # fmt: skip
    done = machines.run(machines.DOCKER, "-H", cluster.hosts[1].socket, "exec", "--env=ETCDCTL_API=3", *without, check=False)
    expect(done.returncode != 0, "etcdctl without a certificate is refused")
    return "TLS only; writers need a certificate, and a password for REST"


def given_files(cluster: Cluster, authority: certificates.Authority, folder: str) -> dict[str, object]:
    """Certificates of this authority for every host, and the role's options that name them."""
    made = cluster.folder / folder
    made.mkdir(exist_ok=True)
    for number, host in enumerate(cluster.hosts, 1):
        authority.sign(made / f"db{number}", names(number, host))
    return {
        "pg_cluster_tls_ca": str(authority.certificate),
        "pg_cluster_tls_certificate": f"{made}/{{{{ inventory_hostname }}}}.crt",
        "pg_cluster_tls_key": f"{made}/{{{{ inventory_hostname }}}}.key",
    }


def names(number: int, host: machines.Machine) -> list[str]:
    """What a host's certificate has to be for, and the addresses of all entry points, for clients that verify the server."""
    own = [f"{NAME}-{number}", f"{NAME}-etcd-{number}", f"{NAME}-entry-{number}", host.address]
    return own + [f"{SUBNET}.{last}" for last in (11, 12, 13) if f"{SUBNET}.{last}" != host.address]


def refused(cluster: Cluster) -> str:
    """What would break the cluster, or could not work."""
    before, stranger = cluster.begun(), certificates.Authority.made(cluster.folder / "given", "stranger")
    options = given_files(cluster, stranger, "strange")
    cluster.refuses("was made with the contrary", pg_cluster_tls=False)
    cluster.refuses("all three, or none", pg_cluster_tls_ca=options["pg_cluster_tls_ca"])
    cluster.refuses("not what db1 trusts now, and the certificate would be another one, too", **options)
    ours = str(cluster.tls(1) / "cluster-ca.crt")
    cluster.refuses("was not signed by an authority of", **{**options, "pg_cluster_tls_ca": ours})
    cluster.refuses("does not belong to the key", **{**options, "pg_cluster_tls_key": str(cluster.folder / "given/stranger.key")})
    stranger.sign(cluster.folder / "strange/db2", ["elsewhere.example"])
    cluster.refuses(f"lacks the names DNS:{NAME}-2", **options)
    expect(cluster.begun() == before, "nobody was restarted")
    return "six refusals, nothing touched"


def lost(cluster: Cluster) -> str:
    """The primary's host goes away and comes back."""
    number = cluster.leader()
    expect(number > 0, "somebody leads")
    victim = cluster.hosts[number - 1]
    others = [host for host in cluster.hosts if host is not victim]
    with Writer(cluster, others) as writer:
        time.sleep(3)
        victim.lose()
        wait_for("somebody else leads", lambda: cluster.leader() not in (0, number))
        before = len(writer.acknowledged)
        wait_for("writes go on", lambda: len(writer.acknowledged) > before + 20)
        victim.boot()
        wait_for("the cluster is whole again", cluster.whole)
    return writer.account()


def changed(cluster: Cluster) -> str:
    """A parameter that needs a restart, and an environment that needs new containers."""
    cluster.wanted.update(pg_cluster_log_level="debug", pg_cluster_dynamic={"postgresql": {"parameters": {"max_connections": 151}}})
    with Writer(cluster, cluster.hosts) as writer:
        cluster.play()
        wait_for("the cluster is whole", cluster.whole)
    for number, host in enumerate(cluster.hosts, 1):
        shown = host.docker("exec", f"{NAME}-{number}", "sh", "-c", "echo $LOG_LEVEL; psql -XAtq -d postgres -c 'SHOW max_connections'")
        expect(shown.split() == ["debug", "151"], f"member {number} has both, not {shown.split()}")
    return writer.account()


def own_certificates(cluster: Cluster) -> list[bytes]:
    """The certificate that each host has."""
    return [certificates.first(cluster.tls(number) / "tls.crt") for number, _host in enumerate(cluster.hosts, 1)]


def renewed(cluster: Cluster) -> str:
    """Fewer days are left than asked for: the role makes new certificates."""
    before, begun = own_certificates(cluster), cluster.begun()
    with Writer(cluster, cluster.hosts) as writer:
        cluster.play(pg_cluster_tls_renew_days=731)
        expect(not set(before) & set(own_certificates(cluster)), "every host has a new certificate")
        expect(cluster.stale() == [], f"every server presents it, not so {cluster.stale()}")
    expect(cluster.begun() == begun, "no member was restarted")
    return writer.account()


def reload(cluster: Cluster, authority: certificates.Authority, valid: datetime.timedelta) -> None:
    """New files on every host, and a signal for every member."""
    for number, host in enumerate(cluster.hosts, 1):
        authority.sign(cluster.tls(number) / "tls", names(number, host), valid)
        host.docker("kill", "--signal", "HUP", f"{NAME}-{number}")
    wait_for("every server presents the new certificate", lambda: cluster.stale() == [])


def reloaded(cluster: Cluster) -> str:
    """By hand; nobody goes on with a certificate that has ended, and the next run of the playbook finds nothing to do."""
    kept = cluster.folder / ".pgops/clusters" / NAME / "authority"
    authority, begun = certificates.Authority(kept / "ca.crt", kept / "ca.key"), cluster.begun()
    with Writer(cluster, cluster.hosts) as writer:
        end = time.monotonic() + 60
        reload(cluster, authority, datetime.timedelta(seconds=60))
        reload(cluster, authority, datetime.timedelta(days=700))
        time.sleep(max(0, end + 5 - time.monotonic()))
        for number, host in enumerate(cluster.hosts, 1):
            host.docker("restart", f"{NAME}-etcd-{number}")
            wait_for("the cluster is whole", cluster.whole)
        expect(cluster.begun() == begun, "no member was restarted")
    return writer.account()


def given(cluster: Cluster) -> str:
    """From the role's authority to another one: first both are trusted, then the certificates change, then only the new one is."""
    kept = cluster.folder / ".pgops/clusters" / NAME / "authority"
    other = certificates.Authority.made(cluster.folder / "given", "other")
    new = given_files(cluster, other, "given")
    both = cluster.folder / "given/both.crt"
    both.write_text((kept / "ca.crt").read_text(encoding="utf-8") + other.certificate.read_text(encoding="utf-8"), encoding="utf-8")
    old = {"pg_cluster_tls_certificate": "{{ pg_cluster_tls_dir }}/{{ inventory_hostname }}.crt",
           "pg_cluster_tls_key": "{{ pg_cluster_tls_dir }}/{{ inventory_hostname }}.key"}  # fmt: skip
    said = []
    for options in ({**old, "pg_cluster_tls_ca": str(both)}, {**new, "pg_cluster_tls_ca": str(both)}, new):
        cluster.wanted.update(options)
        with Writer(cluster, cluster.hosts) as writer:
            cluster.play()
            wait_for("the cluster is whole", cluster.whole)
            wait_for("every server presents the given certificate", lambda: cluster.stale() == [])
        said.append(writer.account())
    return "; ".join(said)


def again(cluster: Cluster) -> str:
    """The same once more."""
    count = cluster.play()
    expect(count == 0, f"a second run changes nothing, but {count} tasks did")
    return "no change"


def down(cluster: Cluster) -> str:
    """Everything is removed."""
    cluster.play(pg_cluster_state="absent", pgops_purge=True)
    for host in cluster.hosts:
        expect(host.docker("ps", "--all", "--quiet") == "", f"no container is left on {host.name}")
        expect(host.docker("volume", "ls", "--quiet") == "", f"no volume is left on {host.name}")
        expect(not (host.state / "clusters" / NAME).exists(), f"no file is left on {host.name}")
    expect(not list(cluster.folder.rglob("ca.key")), "the authority is gone")
    return "nothing left"


STEPS = (up, closed, refused, lost, changed, renewed, reloaded, given, again, down)
CONNECTIONS = {"local": machines.Machine, "ssh": machines.SshMachine}


def images(folder: Path, image: str) -> Path:
    """An archive of what the hosts need, from this machine's engine, which builds what it lacks."""
    play = folder / "images.yml"
    roles = [
        {"include_role": {"name": "pgops.access.pg_image"}},
        {"include_role": {"name": "pgops.access.pg_cluster", "tasks_from": "images"}},
    ]
    play.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": roles}]), encoding="utf-8")
    given = json.dumps({"pgops_image": image, "pgops_engine": "docker", "pgops_state_dir": str(STATE)})
    words = [str(VENV / "bin/ansible-playbook"), str(play), "-e", given]
    done = subprocess.run(words, env=ansible_env(), capture_output=True, text=True, timeout=1800, check=False)
    expect(done.returncode == 0, "the images can be built:\n" + done.stdout[-2000:])
    archive = folder / "images.tar"
    # The base, too: by its layers the role knows that an image is what it would build.
    machines.run(machines.DOCKER, "save", "--output", str(archive), "debian:bookworm", image, *SERVICES, seconds=300)
    return archive


def main() -> int:
    """All steps; exit status 1 and the reason when one does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--image", default="pgops/postgres:15-bookworm", help="image of the members")
    parser.add_argument("--steps", default=",".join(step.__name__ for step in STEPS), help="which, separated by commas")
    parser.add_argument("--connection", choices=CONNECTIONS, default="local", help="how Ansible reaches the hosts")
    asked = parser.parse_args()
    steps = [step for step in STEPS if step.__name__ in asked.steps.split(",")]
    if os.geteuid() != 0:
        parser.error("network namespaces and daemons need root")
    with tempfile.TemporaryDirectory(prefix="pgops-hosts-", dir="/var/tmp") as name:
        folder = Path(name)
        archive = images(folder, asked.image)
        with machines.machines(PREFIX, SUBNET, 3, folder, CONNECTIONS[asked.connection]) as hosts:
            for host in hosts:
                host.load(archive)
            archive.unlink()
            cluster = Cluster(folder, hosts, asked.image)
            for step in steps:
                begin = time.monotonic()
                said = step(cluster)
                print(f"{step.__name__}: {said} ({time.monotonic() - begin:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
