# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build arguments do what the Dockerfile says: JIT, apt, all of ICU, locales of the C library.

On request, for the build takes minutes and 430 MB: ``.pgops/venv/bin/pytest tests/image/build_arguments.py``. PGOPS_ARGUMENTS_IMAGE names
an image that was built with these arguments before, to be tested instead.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from image_support import DOCKER, RUN, docker
from test_statistics import settings

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = ("WITH_JIT=true", "WITH_APT=true", "WITH_FULL_ICU=true", "EXTRA_LOCALES=de_DE.UTF-8 tr_TR.ISO-8859-9")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """An image with all of them."""
    given = os.environ.get("PGOPS_ARGUMENTS_IMAGE")
    if given:
        yield given
        return
    tag = f"{RUN}:arguments"
    command = [DOCKER, "build", "--progress=plain", "--tag", tag, *settings(tmp_path_factory.mktemp("settings"))]
    command += [f"--build-arg={argument}" for argument in ARGUMENTS]
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    done = subprocess.run([*command, str(ROOT)], env=environment, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    yield tag
    docker("rmi", "--force", tag, check=False)


@pytest.fixture
def server(start, image):
    """A server of it."""
    return start(image=image).healthy()


def test_jit_compiles(server):
    assert server.exec("psql", "-XAtqc", "SELECT pg_jit_available()") == "t"
    query = "EXPLAIN ANALYZE SELECT sum(n) FROM generate_series(1, 1000) AS n"
    plan = server.exec("psql", "-XAtq", "-c", "SET jit_above_cost = 0", "-c", query)
    assert "JIT:" in plan.splitlines()


def test_locales_of_the_c_library(server):
    assert {"de_DE.utf8", "tr_TR.iso88599"} <= set(server.exec("locale", "-a").split())
    server.exec("psql", "-Xqc", "CREATE DATABASE german TEMPLATE template0 LOCALE 'de_DE.UTF-8'")
    ordered = "SELECT string_agg(w, ',' ORDER BY w) FROM unnest(ARRAY['zz', 'äb', 'az']) AS w"
    month = "SET lc_time = 'de_DE.UTF-8'; SELECT to_char(date '2026-03-01', 'TMMonth')"
    assert server.exec("psql", "-XAtq", "-c", ordered, "-c", month, "german").split() == ["äb,az,zz", "März"]
    server.exec("psql", "-Xqc", "CREATE DATABASE turkish TEMPLATE template0 ENCODING 'LATIN5' LOCALE 'tr_TR.ISO-8859-9'")
    assert server.exec("psql", "-XAtq", "-c", "SET client_encoding = 'UTF8'", "-c", "SELECT upper('ğ')", "turkish") == "Ğ"


def test_apt_and_perl_work(server):
    assert server.exec("perl", "-e", "print 6 * 7") == "42"
    assert server.exec("dpkg", "--audit", user="0") == ""
    server.exec("apt-get", "check", user="0")
    # A package of nothing, so that no network is needed.
    script = (
        "cd /tmp && mkdir -p p/DEBIAN && printf 'Package: nothing\\nVersion: 1\\nArchitecture: all\\nMaintainer: t <t@localhost>\\n"
        "Depends: perl-base, postgresql-15\\nDescription: nothing\\n' >p/DEBIAN/control && dpkg-deb --build p nothing.deb >/dev/null && "
        "apt-get install -qy ./nothing.deb >/dev/null 2>&1 && dpkg-query -W -f '${Status}' nothing"
    )
    assert server.exec("sh", "-c", script, user="0") == "install ok installed"


def test_all_of_icu(server):
    changed = docker("exec", "--user=0", server.name, "dpkg", "--verify", "libicu72", check=False).stdout
    assert "libicudata" not in changed
