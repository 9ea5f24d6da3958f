# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of another major, whose REST API speaks TLS only and wants a certificate of its clients, and password too."""

from __future__ import annotations

import ssl
import subprocess
import typing as t
from pathlib import Path

import patroni_support
import pytest
from differential import fetch
from patroni_support import Cluster

from .conftest import call

RULE = {"rules": ["host all app 203.0.113.0/24 scram-sha-256"], "section": "orders"}


def _certificates(folder: Path, addresses: t.Sequence[str]) -> None:
    """An authority, and certificates for the members and for a client."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60, cwd=folder)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt")
    names = ",".join(f"IP:{address}" for address in addresses)
    (folder / "names").write_text(f"subjectAltName={names}\n")
    for who in ("member", "client"):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={who}", "-keyout", f"{who}.key", "-out", f"{who}.csr")
        sign = ["x509", "-req", "-in", f"{who}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
        openssl(*sign, "-extfile", "names", "-out", f"{who}.crt")
    for path in folder.iterdir():
        path.chmod(0o644)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("certificates")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    restapi = {
        "certfile": str(folder / "member.crt"),
        "keyfile": str(folder / "member.key"),
        "cafile": str(folder / "ca.crt"),
        "verify_client": "required",
    }
    ctl = {"certfile": str(folder / "client.crt"), "keyfile": str(folder / "client.key"), "cacert": str(folder / "ca.crt")}
    cluster = Cluster(patroni_support.majors()[-1], size=2, scope="secured", scheme="https", restapi=restapi, ctl=ctl)
    try:
        cluster.prepare()
        _certificates(folder, [f"127.0.{cluster.network}.{number}" for number in (1, 2)])
        cluster.context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        cluster.context.load_cert_chain(folder / "client.crt", folder / "client.key")
        cluster.ctl["folder"] = str(folder)
        cluster.start()
    except fetch.Unavailable as reason:
        pytest.skip(str(reason))
    try:
        yield cluster
    finally:
        cluster.stop()


def certificates(cluster: Cluster) -> dict[str, str]:
    folder = cluster.ctl["folder"]
    return {"ca_cert": f"{folder}/ca.crt", "client_cert": f"{folder}/client.crt", "client_key": f"{folder}/client.key"}


def test_with_all_that_it_wants(secured: Cluster) -> None:
    made = call("pg_hba", secured, certificates(secured), **RULE)
    assert made["changed"] is True, made.get("msg")
    assert [member["loaded"] for member in made["members"]] == [True] * 2
    assert made["postgres_version"].startswith(str(secured.major))
    for member in secured.members:
        assert member.hba() == secured.file_of(secured.config()["postgresql"]["pg_hba"])
        assert member.sql("select count(*) from pg_hba_file_rules where user_name = '{app}'") == [(1,)]
    shown = call("patroni_cluster_info", secured, certificates(secured))
    assert shown["writable"]["pg_hba"]["effective"] is True
    assert [member["api_problem"] for member in shown["members"]] == [None] * 2


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"ca_cert": None}, "its certificate does not hold"),
        ({"client_cert": None, "client_key": None}, "no member answers"),
        ({"password": "not-that-one"}, "missing user name and password"),
        ({"ca_cert": "/nowhere/ca.crt"}, "ca_cert cannot be read"),
        ({"client_cert": "/nowhere/client.crt"}, "client_cert or client_key"),
    ],
)
def test_without_one_of_it(secured: Cluster, changed: dict[str, t.Any], reason: str) -> None:
    before = secured.config()
    result = call("pg_hba", secured, {**certificates(secured), "timeout": 3.0, **changed}, rules=["host all b 203.0.113.0/24 reject"])
    assert result["failed"] is True
    assert reason in result["msg"]
    assert secured.config() == before
