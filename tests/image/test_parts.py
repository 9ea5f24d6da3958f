# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image is small, and everything that it promises is in it and works: each part is used, inside the final image."""

from __future__ import annotations

import json
import re

from image_support import IMAGE, docker

SIZE_LIMIT = 150_000_000
"""Bytes of all layers."""
OTHER_LANGUAGES = re.compile("plperl|plpython|pltcl")
EXPENDABLE = re.compile(
    r"/usr/share/(doc|man|info|lintian|locale|bash-completion|zoneinfo/right|gcc|gdb|postgresql/15/man)(/|$)"
    r"|/gconv/|/lib/bitcode/|/llvmjit|/python3[.0-9]*/(test|pydoc_data|lib2to3|turtle[.]py)(/|$)"
    r"|/lib-dynload/(_test|_ctypes_test|_xxtestfuzz)|^/usr/bin/pzstd$"
)
ABSENT_MODULES = {
    *("idlelib", "tkinter", "turtle", "turtledemo", "ensurepip", "lib2to3", "distutils"),
    *("msilib", "msvcrt", "winreg", "winsound", "nt", "antigravity", "this"),
}
"""Packages of their own in Debian, other systems' modules, and two that are jokes."""
REWIND = r"""
set -e
export PGHOST=/tmp PGUSER=postgres
serve() { pg_ctl -D "$1" -w -l "$1.log" -o "-p $2 -k /tmp -c listen_addresses= -c fsync=off $3" start >/dev/null; }
initdb -D /tmp/a -A trust --data-checksums --no-sync --locale-provider=icu --icu-locale=de-u-kn >/dev/null
serve /tmp/a 5551 "-c wal_keep_size=64MB"
psql -Xqp 5551 -c "CREATE TABLE t AS SELECT 'both'::text AS n"
pg_basebackup --no-sync -p 5551 -D /tmp/b -R -c fast -X stream
serve /tmp/b 5552
psql -Xqp 5551 -c CHECKPOINT
pg_ctl -D /tmp/b -w promote >/dev/null
psql -Xqp 5552 -c "INSERT INTO t VALUES ('new')" -c CHECKPOINT
psql -Xqp 5551 -c "INSERT INTO t VALUES ('lost')"
pg_ctl -D /tmp/a -w -m fast stop >/dev/null
pg_rewind --no-sync -D /tmp/a --source-server="host=/tmp port=5552 user=postgres dbname=postgres" -R 2>&1 | tail -n 1
serve /tmp/a 5551
psql -XAtqp 5551 -c "SELECT string_agg(n, ',' ORDER BY n) FROM t"
pg_ctl -D /tmp/a -w -m immediate stop >/dev/null
pg_ctl -D /tmp/b -w -m fast stop >/dev/null
pg_checksums -D /tmp/b | grep Bad
"""


def inside(*words: str, user: str = "999") -> str:
    """What a program of the image prints, in a container of its own."""
    return docker("run", "--rm", f"--user={user}", "--entrypoint", words[0], IMAGE, *words[1:]).stdout.strip()


def test_size():
    size = json.loads(docker("image", "inspect", IMAGE).stdout)[0]["Size"]
    assert size <= SIZE_LIMIT, f"{size / 1e6:.1f} MB"


def packages() -> list[dict[str, str]]:
    """The records of dpkg."""
    text = inside("cat", "/var/lib/dpkg/status")
    return [dict(re.findall(r"(?m)^([A-Za-z-]+): *(.*)$", block)) for block in text.split("\n\n") if block.strip()]


def test_dpkg_knows_what_is_there_and_every_dependency_holds():
    known = packages()
    assert {record["Status"] for record in known} == {"install ok installed"}
    names = {record["Package"] for record in known}
    assert {"postgresql-15", "postgresql-client-15", "python3", "python3-psycopg2", "libicu72", "openssl"} <= names
    there = names | {word.split()[0] for record in known for word in re.split(r",\s*", record.get("Provides", "")) if word}
    missing = [
        (record["Package"], clause)
        for record in known
        for field in ("Depends", "Pre-Depends")
        for clause in re.split(r",\s*", record.get(field, ""))
        if clause and not any(re.split(r"[ :(]", choice.strip())[0] in there for choice in clause.split("|"))
    ]
    assert missing == []
    assert inside("dpkg", "--audit", user="0") == ""


def test_nothing_of_a_package_changed_that_is_a_program_or_a_library():
    """dpkg --verify compares checksums; what was left out (documentation, locales) is missing, what is there is as Debian made it."""
    lines = docker("run", "--rm", "--user=0", "--entrypoint", "dpkg", IMAGE, "--verify", check=False).stdout.splitlines()
    changed = [line for line in lines if not line.startswith("missing")]
    # The sample of the configuration is what new clusters get; the name service learns about users without a name; ICU's data is slimmer.
    expected = "/usr/share/postgresql/15/postgresql.conf.sample|/etc/nsswitch.conf|/usr/lib/[^/]*/libicudata.so.72.1"
    assert [line for line in changed if not re.fullmatch(expected, line.split()[-1])] == []
    gone = {line.split()[-1] for line in lines if line.startswith("missing")}
    assert [path for path in gone if not EXPENDABLE.search(path)] == []


def test_every_extension_that_needs_no_other_language(start):
    server = start().healthy()
    names = server.exec("psql", "-XAtqc", "SELECT name FROM pg_available_extensions ORDER BY name").split()
    wanted = [name for name in names if not OTHER_LANGUAGES.search(name)]
    assert len(wanted) >= 45
    create = "; ".join(f'CREATE EXTENSION IF NOT EXISTS "{name}" CASCADE' for name in wanted)
    server.exec("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-c", create)
    assert set(server.exec("psql", "-XAtqc", "SELECT extname FROM pg_extension").split()) >= set(wanted)
    answers = server.exec(
        "psql", "-XAtq", "-c", "SELECT crypt('a', gen_salt('bf')) LIKE '$2a$%'", "-c", "SELECT uuid_generate_v4() <> uuid_generate_v4()",
        "-c", "SELECT xpath_string('<a><b>7</b></a>', '/a/b')", "-c", "SELECT count(*) > 0 FROM pg_stat_statements",
        "-c", "SELECT xmlelement(name a, 'ü')",
        "-c", "SELECT bt_index_check('pg_class_oid_index') IS NOT NULL",
    )  # fmt: skip
    assert answers.split("\n") == ["t", "t", "7", "t", "<a>ü</a>", "t"]


def test_icu_sorts_as_each_language_does(start):
    server = start().healthy()
    assert int(server.exec("psql", "-XAtqc", "SELECT count(*) FROM pg_collation WHERE collprovider = 'i'")) > 700
    order = "SELECT string_agg(w, ',' ORDER BY w COLLATE \"{}\") FROM unnest(string_to_array('{}', '|')) w"
    assert server.exec("psql", "-XAtqc", order.format("sv-x-icu", "äb|az|zz")) == "az,zz,äb"
    assert server.exec("psql", "-XAtqc", order.format("de-x-icu", "äb|az|zz")) == "äb,az,zz"
    assert server.exec("psql", "-XAtqc", order.format("cs-x-icu", "cz|ch|hz|ia")) == "cz,hz,ch,ia"
    # A variant by its language tag: ä as ae, and digits as numbers.
    server.exec("psql", "-Xqc", "CREATE COLLATION book (provider = icu, locale = 'de-u-co-phonebk-kn-true')")
    assert server.exec("psql", "-XAtqc", order.format("book", "az|äb|ad|af|x10|x9")) == "ad,äb,af,az,x9,x10"
    cases = "SELECT upper('straße' COLLATE \"de-x-icu\"), initcap('ὀδυσσεύς' COLLATE \"el-x-icu\")"
    assert server.exec("psql", "-XAtqc", cases) == "STRASSE|Ὀδυσσεύς"


def test_backup_and_rewind():
    answer = inside("bash", "-c", REWIND).splitlines()
    assert answer[0].endswith("Done!")
    assert answer[1:] == ["both,new", "Bad checksums:  0"]


def test_python_patroni_and_psycopg2():
    code = (
        "import patroni, psycopg2, etcd, pythonjsonlogger; from patroni.dcs import etcd3; "
        "print(patroni.version.__version__, psycopg2.__libpq_version__ // 10000)"
    )
    assert re.fullmatch(r"4\.1\.\d+ 15", inside("/opt/pgops/venv/bin/python", "-c", code))
    assert inside("/opt/pgops/venv/bin/patronictl", "version").startswith("patronictl version 4.1.")
    assert "Validate" in inside("/opt/pgops/venv/bin/patroni", "--help").title()
    # Every module of the standard library that one of Ansible's may ask for.
    code = (
        "import importlib, sys\n"
        f"for name in sorted(name for name in sys.stdlib_module_names - {ABSENT_MODULES!r} if not name.startswith('_')):\n"
        "    try: importlib.import_module(name)\n"
        "    except ImportError as error: print(name, error)"
    )
    assert inside("/usr/bin/python3", "-W", "ignore", "-c", code) == ""
