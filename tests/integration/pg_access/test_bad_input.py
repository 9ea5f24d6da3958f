# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input of the role pg_access: the key, option or line is named, and nothing was written. One run has a host for each mistake."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
RULES = "local all postgres peer\nhost all all 10.0.0.0/8 md5\n"
MAPS = "# none yet\n"
APP = {"type": "host", "databases": "orders", "users": "app", "address": "192.0.2.7/32", "method": "scram-sha-256"}
SENTENCE = {"user": "app", "database": "orders", "address": "192.0.2.7", "expect": "scram-sha-256"}
GOOD = {"sections": [{"name": "orders", "rules": [APP]}], "expect": [SENTENCE]}
Host = dict[str, t.Any]


def good(**changes: t.Any) -> Host:
    """The variables of a host whose policy is good but for the changes."""
    return {"pg_access_policy": {**GOOD, **changes}}


def section(**changes: t.Any) -> Host:
    """The same, its section changed."""
    return good(sections=[{"name": "orders", "rules": [APP], **changes}])


# For each host: its variables, and the words that its error must have.
MISTAKES: dict[str, tuple[Host, list[str]]] = {
    "no-policy": ({}, ["missing required arguments", "pg_access_policy"]),
    "misspelt-variable": ({**good(), "pg_access_backup_dir": "/x"}, ["has no variable pg_access_backup_dir"]),
    "misspelt-part": (good(section=[]), ["section", "sections", "expect_maps"]),
    "misspelt-key-of-a-section": (section(rulez=[]), ["rulez", "position"]),
    "misspelt-key-of-a-sentence": (good(expect=[{**SENTENCE, "adress": "192.0.2.7"}]), ["adress", "address"]),
    "misspelt-key-of-a-rule": (section(rules=[{**APP, "adress": "192.0.2.7"}]), ["sections[0].rules[0]", "adress"]),
    "sentence-without-user": (good(expect=[{"expect": "refused"}]), ["user"]),
    "unknown-choice": (good(lockout="perhaps"), ["lockout", "perhaps", "refuse, warn, ignore"]),
    "unknown-method": (section(rules=[{**APP, "method": "scram"}]), ["sections[0].rules[0]", "scram"]),
    "unknown-expectation": (good(expect=[{**SENTENCE, "expect": "perhaps"}]), ["expect[0]", "perhaps"]),
    "unknown-place": (section(position="after:nobody"), ["nobody"]),
    "one-section-twice": (good(sections=[{"name": "a", "rules": [APP]}, {"name": "a", "rules": []}]), ["'a' is given twice"]),
    "rule-with-a-line-feed": (section(rules=[{**APP, "users": "app\nhost all all all trust"}]), ["sections[0].rules[0]"]),
    "unknown-witness": (good(expect=[{**SENTENCE, "from": "web9"}]), ["from names web9", "no host of the inventory"]),
    "broken-promise": (good(expect=[{**SENTENCE, "user": "other"}]), ["other to orders", "no rule matches", "This rule", "would help"]),
    "two-ways": ({**good(), "pg_access_cluster": "15/main"}, ["pg_access_cluster and pg_access_path are both set"]),
    "no-file": ({**good(), "pg_access_path": "/nowhere/pg_hba.conf"}, ["/nowhere/pg_hba.conf"]),
    "no-map-for-the-promise": (
        good(
            maps=[{"name": "m", "rules": [{"map": "m", "system_user": "a", "database_user": "b"}]}],
            expect_maps=[{"map": "m", "system_user": "x", "user": "b", "expect": "allowed"}],
        ),
        ["x as b by map m", "expected allowed"],
    ),
}


class Playbook:
    """ansible-playbook with an inventory of this test's own; every host is this machine, with files of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "collections/ansible_collections/pgops").mkdir(parents=True)
        (folder / "collections/ansible_collections/pgops/access").symlink_to(ROOT)
        (folder / "ansible.cfg").touch()

    def files(self, host: str) -> tuple[Path, Path]:
        return self.folder / host / "pg_hba.conf", self.folder / host / "pg_ident.conf"

    def run(
        self, hosts: dict[str, Host], *options: str, rules: t.Mapping[str, str] = {}, playbook: str = "access", **variables: t.Any
    ) -> dict[str, dict[str, t.Any]]:
        """For each host its last result: of the failed task, or of the last one."""
        inventory: dict[str, Host] = {}
        for name, given in hosts.items():
            for path, text in zip(self.files(name), (rules.get(name, RULES), MAPS)):
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
            here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
            place = {"pg_access_path": str(self.files(name)[0])} if "pg_access_places" not in variables else {}
            inventory[name] = {**here, "pg_access_become_user": "", "pg_access_postgres_version": "15", **place, **given}
        (self.folder / "hosts.json").write_text(json.dumps({"all": {"hosts": inventory}}))
        env = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHONPATH"))}
        env |= {
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"),
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_FORKS": "8",
            "ANSIBLE_PIPELINING": "true",
            "LC_ALL": "C.UTF-8",
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }
        where = ["-i", str(self.folder / "hosts.json"), "-e", json.dumps(variables)]
        command = ["ansible-playbook", f"pgops.access.{playbook}", *where, *options]
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, timeout=300, check=False)
        self.output = done.stdout + done.stderr
        last: dict[str, dict[str, t.Any]] = {}
        for task in json.loads(done.stdout[done.stdout.index("{\n") :])["plays"][0]["tasks"]:
            last.update(task["hosts"])
        return last


@pytest.fixture(scope="module")
def playbook(tmp_path_factory: pytest.TempPathFactory) -> Playbook:
    return Playbook(tmp_path_factory.mktemp("pg_access"))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may look into, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def results(playbook: Playbook) -> dict[str, dict[str, t.Any]]:
    """All mistakes in one run, and a host without any."""
    return playbook.run({**{name: variables for name, (variables, _words) in MISTAKES.items()}, "good": good()})


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_and_nothing_is_written(playbook: Playbook, results: dict[str, dict[str, t.Any]], name: str) -> None:
    result = results[name]
    assert result.get("failed"), result
    words = " ".join(f"{result.get('msg')} {result.get('argument_errors', '')}".split())
    assert not [word for word in MISTAKES[name][1] if word not in words], words
    assert [path.read_text() for path in playbook.files(name)] == [RULES, MAPS]
    assert sorted(path.name for path in playbook.files(name)[0].parent.iterdir()) == ["pg_hba.conf", "pg_ident.conf"]


def test_its_neighbour_without_a_mistake_is_done(playbook: Playbook, results: dict[str, dict[str, t.Any]]) -> None:
    assert not results["good"].get("failed"), results["good"]
    assert "app             192.0.2.7/32" in playbook.files("good")[0].read_text()


def test_several_servers_and_none(playbook: Playbook, tmp_path: Path) -> None:
    """Found by themselves in a place that holds two; nobody runs there."""
    for name in ("one", "two"):
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "data/pg_hba.conf").write_text(RULES)
        (tmp_path / name / "data/PG_VERSION").write_text("16\n")
    one, two = (str(tmp_path / name / "data") for name in ("one", "two"))
    hosts = {"any": good(), "wrong": {**good(), "pg_access_cluster": "15/main"}, "right": {**good(), "pg_access_cluster": one}}
    found = playbook.run(
        {name: {**host, "pg_access_postgres_version": ""} for name, host in hosts.items()}, pg_access_places=[str(tmp_path)]
    )
    assert f"any has 2 PostgreSQL servers: {one}, {two}. Set pg_access_cluster" in " ".join(found["any"]["msg"].split())
    assert f"there is no 15/main on wrong. It has {one}, {two}." in " ".join(found["wrong"]["msg"].split())
    assert not found["right"].get("failed"), found["right"]
    assert "orders" in (tmp_path / "one/data/pg_hba.conf").read_text()
    assert (tmp_path / "two/data/pg_hba.conf").read_text() == RULES


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("su"), reason="becomes another user")
def test_rules_that_cannot_be_written_after_maps_that_were(open_folder: Path) -> None:
    """The user may write one directory and not the other; what is in force is said, and the rules are as they were."""
    playbook = Playbook(open_folder)
    maps = playbook.folder / "maps"
    maps.mkdir()
    (maps / "pg_ident.conf").write_text(MAPS)
    for path in (maps, maps / "pg_ident.conf"):
        os.chown(path, pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid)
    host = good(maps=[{"name": "m", "rules": [{"map": "m", "system_user": "a", "database_user": "b"}]}], backup=True)
    host |= {
        "pg_access_ident_path": str(maps / "pg_ident.conf"),
        "pg_access_become_user": "nobody",
        "ansible_become_method": "ansible.builtin.su",
        "ansible_become_flags": "-s /bin/sh",
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    result = playbook.run({"half": host})["half"]
    words = " ".join(result["msg"].split())
    assert "The user name maps of the policy are written; the rules are as they were." in words, words
    assert f"put back {maps}/pg_ident.conf" in words
    assert playbook.files("half")[0].read_text() == RULES


def test_a_password_is_never_shown(playbook: Playbook) -> None:
    secret = "correct horse battery"
    host = good(expect=[{**SENTENCE, "from": "quiet", "password": secret, "port": 1, "host": "127.0.0.1", "expect": "connection_refused"}])
    result = playbook.run({"quiet": host}, "-vvv", "--diff")["quiet"]
    assert not result.get("failed"), result
    assert "connection_refused" in playbook.output
    assert secret not in playbook.output
