# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Known vulnerabilities: the build compared all packages with Debian's security archive, and finds what it should; permissions."""

from __future__ import annotations

import json
import re
from pathlib import Path

from image_support import IMAGE, docker

CHECK = Path(__file__).resolve().parents[2] / "image" / "check"


def compared(status: str, security: str, folder: Path) -> tuple[int, str]:
    """Exit status and words of the program, run in the image, where dpkg is."""
    (folder / "status").write_text(status)
    (folder / "security").write_text(security)
    folder.chmod(0o755)
    words = ("run", "--rm", f"--volume={CHECK}:/check:ro", f"--volume={folder}:/lists:ro", "--entrypoint", "python3", IMAGE)
    done = docker(*words, "/check/fixed.py", "/lists/status", "/lists/security", check=False)
    return done.returncode, done.stdout


def test_the_build_asked_the_security_archive():
    said = docker("run", "--rm", "--entrypoint", "cat", IMAGE, "/usr/share/pgops/security-check").stdout
    assert re.fullmatch(r"no package is older than in Debian's security archive: \d{3,} packages compared\n", said)


def test_a_package_that_lacks_a_fix_is_found(tmp_path):
    status = docker("run", "--rm", "--entrypoint", "cat", IMAGE, "/var/lib/dpkg/status").stdout
    version = re.search(r"(?ms)^Package: openssl\n.*?^Version: (\S+)$", status)[1]
    same = f"Package: openssl\nVersion: {version}\n\nPackage: not-here\nVersion: 99\n"
    assert compared(status, same, tmp_path) == (0, "")
    newer = f"{same}\nPackage: openssl\nVersion: {version}+deb99u1\n\nPackage: libssl3\nVersion: 0.9\n"
    assert compared(status, newer, tmp_path) == (1, f"openssl {version} has known vulnerabilities that {version}+deb99u1 fixes\n")


def test_bills_of_materials_name_what_is_there():
    def components(name: str) -> set[str]:
        text = docker("run", "--rm", "--entrypoint", "cat", IMAGE, f"/usr/share/pgops/sbom/{name}.cdx.json").stdout
        bill = json.loads(text)
        assert bill["bomFormat"] == "CycloneDX"
        return {f"{part['name']} {part['version']}" for part in bill["components"]}

    listed = ("run", "--rm", "--entrypoint", "dpkg-query", IMAGE, "-W", "-f", "${Package} ${Version}\\n")
    assert set(docker(*listed).stdout.splitlines()) <= components("debian")
    code = (
        "import sys; from importlib.metadata import distributions\n"
        "for one in distributions(path=[path for path in sys.path if 'venv' in path]): print(one.name, one.version)"
    )
    modules = docker("run", "--rm", "--entrypoint", "/opt/pgops/venv/bin/python", IMAGE, "-c", code).stdout.splitlines()
    assert len(modules) > 10
    assert set(modules) <= components("python")


def test_who_may_write_where():
    find = ("run", "--rm", "--user=0", "--entrypoint", "find", IMAGE, "/", "-xdev", "!", "-type", "c")
    mine = {"/docker-entrypoint-initdb.d", "/run/postgresql", "/tmp", "/var/lib/postgresql", "/var/lib/postgresql/data"}
    everybody = docker(*find, "-perm", "-0002", "!", "-type", "l").stdout.split()
    assert everybody == ["/var/lib/postgresql/data"], "only the mode of new volumes: something is always mounted there"
    assert set(docker(*find, "-group", "0", "-perm", "-0020", "!", "-type", "l").stdout.split()) == {*mine, "/run"}
    assert docker(*find, "-perm", "/6000", "-type", "f").stdout == ""
    links = {"/run/postgresql/pgops", "/run/postgresql/.s.PGSQL.5432"}
    assert set(docker(*find, "-user", "999").stdout.split()) == mine | links


def open_to_everybody(server) -> list[str]:
    """Sockets are left out: they are asked, not written to."""
    words = ("find", "/", "-xdev", "-perm", "-0002", "!", "-type", "l", "!", "-type", "c", "!", "-type", "s")
    return server.exec(*words, check=False).split()


def test_a_running_container_has_no_place_for_everybody(start):
    assert open_to_everybody(start().healthy()) == []


def test_another_user_with_another_group(start, volume, tmp_path, connect):
    """As compose files for docker-library's image have it: a new named volume, and a directory of that user's own."""
    server = start(f"--volume={volume}:/var/lib/postgresql/data", "--user=1000:1000").healthy()
    assert connect(server) == "ok postgres"
    assert server.exec("psql", "-XAtqU", "postgres", "-c", "SHOW data_directory") == "/var/lib/postgresql/data/pgdata"
    assert open_to_everybody(server) == ["/var/lib/postgresql/data"]
    docker("run", "--rm", "--user=0", "--entrypoint", "chown", f"--volume={tmp_path}:/data", IMAGE, "1000:1000", "/data")
    mount = f"--volume={tmp_path}:/var/lib/postgresql/data"
    server = start(mount, "--user=1000:1000", "--read-only", "--tmpfs=/run/postgresql").healthy()
    assert server.said("warning", "psql -h /dev/shm/pgops")
    words = ("psql", "-XAtq", "-h", "/dev/shm/pgops", "-U", "postgres", "-c", "SHOW data_directory")
    assert server.exec(*words) == "/var/lib/postgresql/data"
    assert connect(server) == "ok postgres"
