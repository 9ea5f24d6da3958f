# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Statistics of statements, and extensions of the user's own: compiled from source, and from an apt repository that the user names.

The second image is built here. Its pg_stat_monitor is a stand-in of a few lines, for the real one is in no repository that a test may count
on; what is tested is ours: that it is compiled, found, preloaded in the right order, told to be discreet, created and reported.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from image_support import DOCKER, IMAGE, PASSWORD, RUN, docker

ROOT = Path(__file__).resolve().parents[2]
TAG = f"{RUN}:extensions"
CONTEXT = yaml.safe_load((ROOT / "roles/pg_image/vars/main.yml").read_text(encoding="utf-8"))["pg_image_context_paths"]
SECRET = "Tops3cret!"
MAKEFILE = "MODULES = pg_stat_monitor\nEXTENSION = pg_stat_monitor\nDATA = pg_stat_monitor--0.1.sql\nPG_CONFIG = pg_config\n" + (
    "PGXS := $(shell $(PG_CONFIG) --pgxs)\ninclude $(PGXS)\n"
)
SOURCE = r"""
#include "postgres.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/elog.h"
#include "utils/guc.h"
PG_MODULE_MAGIC;
static char failed[8192] = "";
static void keep(ErrorData *edata)
{
    if (debug_query_string)
        strlcat(failed, debug_query_string, sizeof(failed));
}
static bool track_utility = true, normalized = false;
static char *seen = "";
void _PG_init(void);
void _PG_init(void)
{
    if (!process_shared_preload_libraries_in_progress)
        elog(ERROR, "must be preloaded");
    if (GetConfigOption("pg_stat_statements.max", true, false) == NULL)
        elog(ERROR, "pg_stat_statements must come first");
    DefineCustomBoolVariable("pg_stat_monitor.pgsm_track_utility", "", NULL, &track_utility, true, PGC_SUSET, 0, NULL, NULL, NULL);
    DefineCustomBoolVariable("pg_stat_monitor.pgsm_normalized_query", "", NULL, &normalized, false, PGC_SUSET, 0, NULL, NULL, NULL);
    MarkGUCPrefixReserved("pg_stat_monitor");
    emit_log_hook = keep;
}
PG_FUNCTION_INFO_V1(pg_stat_monitor_version);
Datum pg_stat_monitor_version(PG_FUNCTION_ARGS) { PG_RETURN_TEXT_P(cstring_to_text("stand-in")); }
PG_FUNCTION_INFO_V1(pg_stat_monitor_failed);
Datum pg_stat_monitor_failed(PG_FUNCTION_ARGS) { PG_RETURN_TEXT_P(cstring_to_text(failed)); }
"""
SCRIPT = """CREATE FUNCTION pg_stat_monitor_version() RETURNS text AS 'pg_stat_monitor' LANGUAGE C;
CREATE FUNCTION pg_stat_monitor_failed() RETURNS text AS 'pg_stat_monitor' LANGUAGE C;
CREATE VIEW pg_stat_monitor AS SELECT pg_stat_monitor_version() AS version, pg_stat_monitor_failed() AS failed;
"""


def settings(folder: Path) -> list[str]:
    """How this host reaches package servers, as the role pg_image tells a build."""
    program = ROOT / "roles" / "pg_image" / "files" / "host_settings.py"
    done = subprocess.run([sys.executable, program, str(folder), "bookworm"], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    secrets = [f"--secret=id={name},src={found[name]}" for name in ("apt_conf", "pip_conf", "ca_bundle") if found[name]]
    return [*secrets, *(f"--build-arg={name}" for name in found["proxy"])]


def source_extension(folder: Path) -> None:
    """A pg_stat_monitor for PGXS."""
    folder.mkdir()
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "pg_stat_monitor.c").write_text(SOURCE)
    (folder / "pg_stat_monitor--0.1.sql").write_text(SCRIPT)
    (folder / "pg_stat_monitor.control").write_text("default_version = '0.1'\nmodule_pathname = '$libdir/pg_stat_monitor'\n")


def repository(folder: Path, scratch: Path) -> None:
    """An apt repository with one package, an extension; dpkg-deb of the image packs it, and the list of packages is written here."""
    files = scratch / "package"
    target = files / "usr/share/postgresql/15/extension"
    target.mkdir(parents=True)
    (target / "pgops_greeting.control").write_text("default_version = '1'\n")
    (target / "pgops_greeting--1.sql").write_text("CREATE FUNCTION greeting() RETURNS text LANGUAGE SQL AS $$SELECT 'hello'$$;\n")
    fields = "Package: postgresql-15-pgops-greeting\nVersion: 1.0\nArchitecture: all\nDepends: postgresql-15\n"
    fields += "Maintainer: Test <test@localhost>\n"
    (files / "DEBIAN").mkdir()
    (files / "DEBIAN/control").write_text(f"{fields}Description: greets\n")
    (scratch / "out").mkdir()
    for path in (scratch, *scratch.rglob("*")):
        path.chmod(0o777 if path == scratch / "out" else 0o755 if path.is_dir() else 0o644)
    words = ("dpkg-deb", "--root-owner-group", "--build", "/scratch/package", "/scratch/out/greeting.deb")
    docker("run", "--rm", f"--volume={scratch}:/scratch", "--entrypoint", words[0], IMAGE, *words[1:])
    package = (scratch / "out/greeting.deb").read_bytes()
    (folder / "repository").mkdir(parents=True)
    (folder / "repository/greeting.deb").write_bytes(package)
    listed = (
        f"{fields}Filename: ./greeting.deb\nSize: {len(package)}\nSHA256: {hashlib.sha256(package).hexdigest()}\nDescription: greets\n\n"
    )
    (folder / "repository/Packages").write_text(listed)
    (folder / "test.list").write_text("deb [trusted=yes] file:/extensions/apt/repository ./\n")


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """An image with both, and a locale."""
    context = tmp_path_factory.mktemp("context")
    for name in CONTEXT:
        source = ROOT / name
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, context / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, context / name)
    source_extension(context / "image/extensions/pg_stat_monitor")
    repository(context / "image/extensions/apt", tmp_path_factory.mktemp("package"))
    arguments = ["EXTRA_PACKAGES=postgresql-15-pgops-greeting", "EXTRA_LOCALES=de_DE.UTF-8"]
    command = [DOCKER, "build", "--progress=plain", "--tag", TAG, *settings(tmp_path_factory.mktemp("settings"))]
    command += [f"--build-arg={argument}" for argument in arguments]
    done = subprocess.run(
        [*command, str(context)], env={**os.environ, "DOCKER_BUILDKIT": "1"}, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    yield TAG
    docker("rmi", "--force", TAG, check=False)


def leave_secrets(server, user: str = "postgres") -> None:
    """Statements with a password, as people write them."""
    for statement in (f"CREATE ROLE a PASSWORD '{SECRET}'", f"ALTER ROLE a PASSWORD '{SECRET}'", "SELECT 4711"):
        server.exec("psql", "-XqU", user, "-c", statement, "postgres")


def test_pg_stat_statements_where_nothing_else_is(start):
    server = start(env={"POSTGRES_USER": "app", "POSTGRES_DB": "orders"}).healthy()
    assert server.exec("healthcheck.sh") == "healthy: primary (pg_stat_statements)"
    said = server.event_of("statistics")
    assert said["message"].endswith("; pg_stat_monitor is not in this image")
    server.exec("psql", "-XqU", "app", "-c", "CREATE DATABASE later", "postgres")
    leave_secrets(server, "app")
    for database in ("template1", "postgres", "orders", "later"):
        texts = server.exec("psql", "-XAtqU", "app", "-c", "SELECT query FROM pg_stat_statements", database)
        assert "SELECT $1" in texts
        assert SECRET not in texts
        assert PASSWORD not in texts, "what the first start itself says"


def test_the_user_s_own_list_and_settings_win(start, volume):
    mount = f"--volume={volume}:/var/lib/postgresql/data"
    server = start(mount).healthy()
    lines = "shared_preload_libraries = 'auto_explain'\\npg_stat_statements.track_utility = on\\n"
    server.exec("sh", "-c", f'printf "{lines}" >> $PGDATA/postgresql.conf')
    docker("restart", server.name)
    server.healthy()
    assert server.exec("psql", "-XAtqc", "SHOW shared_preload_libraries") == "pg_stat_statements,auto_explain"
    assert server.exec("psql", "-XAtqc", "SHOW pg_stat_statements.track_utility") == "on"
    server.remove()
    server = start(mount, command=("-c", "shared_preload_libraries=auto_explain")).healthy()
    assert server.exec("psql", "-XAtqc", "SHOW shared_preload_libraries") == "auto_explain"
    assert server.said("warning", "pg_stat_statements is in this image, but")
    assert server.exec("healthcheck.sh") == "healthy: primary"


def test_pg_stat_monitor_where_it_was_built_in(start, extended):
    server = start(image=extended).healthy()
    assert server.exec("healthcheck.sh") == "healthy: primary (pg_stat_statements, pg_stat_monitor)"
    assert server.event_of("statistics")["message"] == "statistics of statements: pg_stat_statements 1.10, pg_stat_monitor 0.1"
    ask = ("psql", "-XAtq", "-c")
    assert server.exec(*ask, "SHOW shared_preload_libraries") == "pg_stat_statements,pg_stat_monitor,pgops_discreet"
    assert server.exec(*ask, "SHOW pg_stat_monitor.pgsm_track_utility") == "off"
    assert server.exec(*ask, "SHOW pg_stat_monitor.pgsm_normalized_query") == "on"
    assert server.exec("psql", "-XAtq", "-c", "SELECT version FROM pg_stat_monitor", "template1") == "stand-in"
    leave_secrets(server)
    assert SECRET not in server.exec(*ask, "SELECT query FROM pg_stat_statements")


def test_a_failed_statement_with_a_secret_is_kept_from_pg_stat_monitor(start, extended):
    """Where the guard is left out the stand-in sees them, as the real one does; then the entrypoint says so."""
    script = (
        f"CREATE ROLE postgres PASSWORD '{SECRET}'; ALTER ROLE postgres PASSWORD {SECRET}; SELECT 1/0; SELECT pass{SECRET}; "
        "SELECT failed FROM pg_stat_monitor;"
    )
    words = [word for statement in script.split("; ") for word in ("-c", statement)]
    guarded = start(image=extended).healthy()
    kept = guarded.exec("psql", "-XAtq", *words)
    assert kept == "SELECT 1/0"
    assert not guarded.said("warning", "pg_stat_monitor keeps")
    assert guarded.exec("psql", "-XAtqc", "SELECT count(*) FROM pg_available_extensions WHERE name = 'pgops_discreet'") == "0"
    bare = start(image=extended, command=("-c", "shared_preload_libraries=pg_stat_statements,pg_stat_monitor")).healthy()
    assert bare.exec("psql", "-XAtq", *words).count(SECRET) == 3
    assert bare.said("warning", "pg_stat_monitor keeps the text of statements that fail")


def test_an_existing_volume_gets_it_and_the_package_and_the_locale_are_there(start, volume, extended):
    mount = f"--volume={volume}:/var/lib/postgresql/data"
    server = start(mount).healthy()
    server.event_of("statistics")
    docker("stop", server.name)
    server.remove()
    server = start(mount, image=extended).healthy()
    assert "pg_stat_monitor 0.1" in server.event_of("statistics")["message"]
    assert server.exec("psql", "-XAtq", "-c", "CREATE EXTENSION pgops_greeting", "-c", "SELECT greeting()") == "hello"
    money = "SELECT to_char(1234.5, '9G999D9')"
    server.exec("psql", "-Xq", "-c", "CREATE DATABASE german TEMPLATE template0 LOCALE 'de_DE.UTF-8'")
    assert server.exec("psql", "-XAtq", "-c", "SET lc_numeric = 'de_DE.UTF-8'", "-c", money, "german").strip() == "1.234,5"
    compilers = server.exec("sh", "-c", "command -v gcc make apt-get perl cc as ld", check=False)
    assert compilers == "", "what compiles stays in the build"
