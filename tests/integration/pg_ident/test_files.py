# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_ident on files that no server reads. Every successful case runs four times: check, real, check again, real again."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.pgops.access.plugins.modules import pg_ident as module

from .conftest import MODULE, File, pg_ident, run

ENTRY = {"map": "m", "system_user": "bob", "database_user": "app"}
LINE = "m               bob                     app\n"
OLD = "# kept\nm alice app # why\n"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


# ----------------------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({**ENTRY, "mapp": "x"}, "rules[0].mapp: is not a part of a user name map"),
        ({"map": "m", "system_user": "a"}, "rules[0].database_user: is missing"),
        ({"map": "m", "database_user": "a"}, "rules[0].system_user: is missing"),
        ({"system_user": "m", "database_user": "a"}, "rules[0].map: is missing"),
        ({**ENTRY, "map": ""}, "rules[0].map: is empty"),
        ({**ENTRY, "map": "a\nm mallory postgres"}, "rules[0].map: 'a\\nm mallory postgres' holds a line feed"),
        ({**ENTRY, "system_user": "a\nm mallory postgres"}, "rules[0].system_user"),
        ({**ENTRY, "database_user": "a\nm mallory postgres"}, "rules[0].database_user"),
        ({**ENTRY, "database_user": "a\0b"}, "holds a NUL byte"),
        ({**ENTRY, "comment": "x\nm mallory postgres"}, "holds a line feed"),
        ({**ENTRY, "comment": "x\rm mallory postgres"}, "holds a carriage return"),
        ({**ENTRY, "comment": "joined \\"}, "a backslash at its end"),
        ({**ENTRY, "expires": "tomorrow"}, "is not a date"),
        ({**ENTRY, "system_user": 7}, "rules[0].system_user: must be a text, not int"),
        ({**ENTRY, "system_user": "/("}, 'rules[0].system_user: invalid regular expression "(": parentheses () not balanced'),
        ({**ENTRY, "database_user": "/["}, 'rules[0].database_user: invalid regular expression "["'),
        ({**ENTRY, "system_user": "/^x", "database_user": "\\1"}, "has no subexpressions"),
        ({**ENTRY, "system_user": '"a","b"'}, "holds more than one name"),
        ({**ENTRY, "system_user": '"a'}, "a quote that is not closed"),
        ({**ENTRY, "map": "m" * 20000}, "too long"),
        ("m alice", "missing entry at end of line"),
        ("m alice,bob app", "multiple values in ident field"),
        ("m alice app\nm mallory postgres", "is not one line"),
        ("m alice app extra", "has more than three columns"),
        ("include other.conf", "is an include record"),
        ("# only a comment", "holds no user name map"),
        (17, "rules[0]: must be a dictionary or a line of text"),
    ],
)
def test_what_cannot_be_is_refused(file: File, rule: t.Any, message: str) -> None:
    version = "13" if rule == {**ENTRY, "map": "m" * 20000} else "16"
    result = file.run(OLD, version=version, rules=[rule])
    assert result["failed"] is True
    assert message in result["msg"]
    assert file.path.read_text() == OLD


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"exclusive": True, "rules": [ENTRY], "section": "x"}, "exclusive"),
        ({"state": "absent"}, "nothing is named"),
        ({"rules": [ENTRY], "position": "top"}, "position 'top'"),
        ({"rules": [ENTRY], "position": "before:x"}, "there is no section x"),
        ({"rules": [ENTRY], "section": "a b"}, "section name"),
        ({"rules": [ENTRY], "sections": [{"name": "a"}]}, "sections: each says its own rules"),
        ({"rules": [ENTRY], "expect": [{"map": "m", "system_user": "a", "user": "b", "expect": "peer"}]}, "expect[0].expect: 'peer'"),
        ({"rules": [ENTRY], "expect": [{"map": "m", "system_user": "a", "expect": "allowed"}]}, "expect[0].user: is needed"),
        ({"rules": [ENTRY], "expect": [{"map": "m", "system_user": "", "user": "b"}]}, "expect[0].system_user: '' is no name"),
        ({"rules": [ENTRY], "expect": [{"map": "m", "user": "b"}]}, "system_user"),
        ({"rules": [ENTRY], "state": "gone"}, "state"),
        ({"entries": [ENTRY]}, "Unsupported parameters"),
        ({"rules": [ENTRY], "postgres_version": "9.6"}, "postgres_version: '9.6'"),
    ],
)
def test_contradictions_change_nothing(file: File, more: dict[str, t.Any], message: str) -> None:
    result = file.run(OLD, **{"version": "16", **more})
    assert message in result["msg"]
    assert file.path.read_text() == OLD


# ---------------------------------------------------------------------------------------------------------------------------- edits


def test_comments_blanks_line_ends_and_other_lines_stay(file: File) -> None:
    before = "# top\n\nm   alice\tapp # why\n\n#  odd   spacing\nother x y extra columns\n# end"
    assert file.becomes(before, rules=[ENTRY]) == before + "\n" + LINE
    assert file.becomes("m a b\r\n", rules=[ENTRY]) == "m a b\r\n" + LINE.replace("\n", "\r\n")
    assert file.becomes(b"# caf\xe9\n", rules=[ENTRY]).startswith("# caf\xe9\n")


@pytest.mark.parametrize("version", ["12", "13", "15", "16", "18"])
def test_the_same_entry_is_recognised_however_it_is_written(file: File, version: str) -> None:
    before = '"m"  bob\t"app" # x\nm bob "all"\nm "/^a b$" x\n'
    assert file.becomes(before, version=version, rules=[ENTRY, {**ENTRY, "database_user": '"all"'}]) == before
    assert file.becomes(before, version=version, rules=[{"map": "m", "system_user": "/^a b$", "database_user": "x"}]) == before
    added = file.becomes(before, version=version, rules=[{**ENTRY, "database_user": "all"}])
    assert (added == before) is (int(version) < 16)  # a keyword since 16, a role's name before


def test_order_sections_and_positions(file: File) -> None:
    text = file.becomes(OLD, rules=["m z app", "m a app"])
    assert [line.split()[1] for line in text.splitlines()[1:]] == ["alice", "z", "a"]
    one = file.becomes(OLD, section="b", rules=["m b app"], position="first")
    both = file.becomes(one, section="a", rules=["m a app"], position="first")
    assert [line.split()[1] for line in both.splitlines() if line[0] == "m"] == ["a", "b", "alice"]
    assert file.becomes(both, section="a", state="absent") == one
    again = [{"name": "a", "rules": ["m a app"], "position": "first"}, {"name": "b", "state": "absent"}]
    assert "section: b" not in file.becomes(both, sections=again)
    assert sorted(file.becomes(both, exclusive=True, rules=["m q app"]).splitlines()) == ["# kept", LINE.replace("bob", "q  ").rstrip()]
    assert file.becomes("m a b\n", exclusive=True) == ""  # a file without maps is one that the server loads


def test_absent_takes_every_entry_that_means_it(file: File) -> None:
    before = (
        "m bob app\n# BEGIN pgops.access section: x\nm  bob  app # again\n# END pgops.access section: x\nn bob app\nm eve app\nm bob all\n"
    )
    gone = before.replace("m bob app\n#", "#", 1).replace("m  bob  app # again\n", "")
    assert file.becomes(before, version="15", rules=[ENTRY], state="absent") == gone
    assert file.becomes(before, rules=[{"map": "m"}], state="absent").count("\nm ") == 0
    assert file.becomes(before, rules=["m bob"], state="absent").splitlines()[-2:] == ["n bob app", "m eve app"]
    by_role = [{"map": "m", "database_user": "app"}]
    assert file.becomes(before, rules=by_role, state="absent").splitlines()[-2:] == ["n bob app", "m bob all"]


def test_absent_says_who_may_still(file: File) -> None:
    result = file.run("m bob app\nm /^b \\1\nm /^bo app\n".replace("^b \\1", "^b(.) \\1"), version="16", rules=[ENTRY], state="absent")
    assert [one["text"] for one in result["still_granted"]] == ["By another entry of map m, bob may still become app"]
    assert result["access_changes"] == []
    assert "still become" in str(result["warnings"])
    assert file.run("m bob app\n", rules=[ENTRY], state="absent")["still_granted"] == []


def test_long_results_are_cut_and_counted(file: File) -> None:
    rules = [f"m user{number} app" for number in range(30)]
    cut = file.run("", rules=rules, result_limit=10)
    assert [len(cut[name]) for name in ("access_changes", "rules", "edits")] == [10, 10, 10]
    assert cut["counts"] == {"access_changes": {"gains": 30}, "findings": {}, "rules": 30, "edits": 30}
    assert "access_changes holds the first 10 of 30 changes" in str(cut["warnings"])
    assert len(file.run("", rules=rules, result_limit=0)["rules"]) == 30
    assert "result_limit: is negative" in file.run("", rules=rules, result_limit=-1)["msg"]


def test_comments_and_expiry(file: File) -> None:
    assert file.becomes(LINE, rules=[{**ENTRY, "comment": "new"}]) == LINE.replace("\n", "  # new\n")
    assert file.becomes(LINE.replace("\n", " # old\n"), rules=[ENTRY]) == LINE.replace("\n", " # old\n")
    assert file.becomes(LINE.replace("\n", " # old\n"), rules=[{**ENTRY, "comment": ""}]) == LINE
    text = file.becomes("", rules=[{**ENTRY, "expires": "2099-12-31", "comment": "audit"}])
    assert text == LINE.replace("\n", "  # audit [expires: 2099-12-31]\n")
    result = file.run(text.replace("2099", "2001"), rules=["m x y"])
    assert {edit["reason"] for edit in result["edits"]} == {"expired", "requested"}
    assert [change["change"] for change in result["access_changes"]] == ["gains", "loses"]


@pytest.mark.parametrize(
    "line",
    [
        b"m alice",
        b"m alice,bob app",
        b"m /( app",
        b"m alice @missing",
        b"\xef\xbb\xbfm alice",
        b"m " + b"x" * 20000 + b" app",
    ],
)
def test_a_broken_line_stops_every_write(file: File, line: bytes) -> None:
    before = b"m a b\n" + line + b"\nm c d\n"
    result = file.run(before, version="13", rules=[ENTRY])
    assert "line 2: " in result["msg"]
    assert file.path.read_bytes() == before
    mended = file.run(before, version="13", rules=[ENTRY], exclusive=True)
    assert "failed" not in mended
    assert file.path.read_text() == LINE


def test_includes_of_sixteen(file: File) -> None:
    file.path.with_name("more.conf").write_text("m carol app\n")
    before = "include more.conf\nm alice app\n"
    ask = [{"map": "m", "system_user": "carol", "user": "app", "expect": "allowed"}]
    assert file.becomes(before, version="16", rules=[ENTRY], expect=ask) == before + LINE
    assert "missing entry" in file.run(before, version="15", rules=[ENTRY])["msg"]


def test_roles_of_a_sentence_decide_where_no_server_is_asked(file: File) -> None:
    rules = [{**ENTRY, "database_user": "+staff"}]
    ask = {"map": "m", "system_user": "bob", "user": "eve", "expect": "allowed"}
    assert "it cannot be told" in file.run(OLD, version="16", rules=rules, expect=[ask])["msg"]
    assert "failed" not in file.run(OLD, version="16", rules=rules, expect=[{**ask, "memberships": ["staff"]}])
    assert "is refused" in file.run(OLD, version="16", rules=rules, expect=[{**ask, "memberships": []}])["msg"]
    assert "is refused" in file.run(OLD, version="15", rules=rules, expect=[{**ask, "memberships": ["staff"]}])["msg"]


# ---------------------------------------------------------------------------------------------------------------------------- places


def test_create_mode_link_and_backup(file: File) -> None:
    arguments: dict[str, t.Any] = {"path": str(file.path), "postgres_version": "15", "rules": [ENTRY]}
    assert "no such file" in pg_ident(arguments)["msg"]
    made = pg_ident({**arguments, "create": True, "mode": "0640", "backup": True})
    assert (file.path.read_text(), made["backup_file"], file.path.stat().st_mode & 0o777) == (LINE, None, 0o640)
    link = file.path.with_name("link.conf")
    link.symlink_to(file.path)
    kept = pg_ident({**arguments, "path": str(link), "rules": ["m x y"], "backup": True})
    assert link.is_symlink()
    assert file.path.stat().st_mode & 0o777 == 0o640
    assert Path(kept["backup_file"]).read_text() == LINE


def test_bad_places(file: File) -> None:
    where: dict[str, t.Any] = {"postgres_version": "15", "rules": [ENTRY]}
    assert "is a directory" in pg_ident({**where, "path": str(file.path.parent)})["msg"]
    assert "there is no directory" in pg_ident({**where, "path": str(file.path.parent / "no/pg_ident.conf"), "create": True})["msg"]
    file.path.write_text(OLD)
    assert "postgres_version" in pg_ident({"path": str(file.path), "rules": [ENTRY]})["msg"]
    os.mkfifo(file.path.with_name("pipe"))
    assert "pipe" in pg_ident({**where, "path": str(file.path.with_name("pipe"))})["msg"]


@needs_root
def test_an_unreadable_file(file: File) -> None:
    file.path.write_text(OLD)
    file.path.chmod(0o600)
    file.path.parent.chmod(0o755)
    done = as_nobody({"path": str(file.path), "postgres_version": "15", "rules": [ENTRY]})
    assert "Permission denied" in done or "may not read" in done
    assert file.path.read_text() == OLD


def as_nobody(arguments: dict[str, t.Any]) -> str:
    """The store's message to somebody without rights: a child of this process, where everything is imported already."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(writing, pg_ident(arguments).get("msg", "no message").encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read().decode()


@contextlib.contextmanager
def mounted(where: Path, options: str) -> t.Iterator[None]:
    """A small tmpfs; unmounted afterwards."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "pgident", str(where)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(where)], check=True)


@needs_root
def test_a_full_disk(tmp_path: Path) -> None:
    with mounted(tmp_path, "size=64k"):
        path = tmp_path / "pg_ident.conf"
        path.write_text(OLD)
        with contextlib.suppress(OSError), (tmp_path / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(b"x" * 4096)
        rules = [f"m user{number} app" for number in range(400)]
        result = pg_ident({"path": str(path), "postgres_version": "15", "rules": rules, "backup": True})
        assert "No space left" in result["msg"] or "no space" in result["msg"].lower()
        assert result["changed"] is False
        assert path.read_text() == OLD
        assert sorted(os.listdir(tmp_path)) == ["ballast", "pg_ident.conf"]


@needs_root
def test_a_read_only_file_system(tmp_path: Path) -> None:
    with mounted(tmp_path, "size=64k"):
        path = tmp_path / "pg_ident.conf"
        path.write_text(OLD)
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
        result = pg_ident({"path": str(path), "postgres_version": "15", "rules": [ENTRY]})
        assert "read-only" in result["msg"].lower()
        assert path.read_text() == OLD
        assert "failed" not in pg_ident({"path": str(path), "postgres_version": "15", "rules": ["m alice app"]})


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_file(file: File) -> None:
    """A child with everything imported is killed a little later each time; it rewrites 2,000 lines over and over."""
    texts = []
    for role in ("app", "other"):
        rules = "".join(f"m user{number} {role}\n" for number in range(2000))
        assert "failed" not in file.run("", exclusive=True, rules=rules)
        texts.append(file.path.read_text())
    seen: list[str] = []
    # On a machine that is busy with other things the first write comes late.
    while len(seen) < 25 or (set(seen) != set(texts) and len(seen) < 150):
        child = os.fork()
        if child == 0:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
            with contextlib.suppress(BaseException):
                while True:
                    for text in texts:
                        pg_ident({"path": str(file.path), "postgres_version": "15", "exclusive": True, "rules": text})
            os._exit(1)
        time.sleep(0.02 + len(seen) * 0.013)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        seen.append(file.path.read_text())
        assert seen[-1] in texts
    assert set(seen) == set(texts), "every kill came before the first write"
    made = pg_ident({"path": str(file.path), "postgres_version": "15", "exclusive": True, "rules": "m a b"})
    assert "failed" not in made
    assert os.listdir(file.path.parent) == ["pg_ident.conf"], "what a kill left is removed by the next write"


def test_twenty_writers_at_once_lose_no_entry(file: File) -> None:
    file.path.write_text(OLD)
    results: list[dict[str, t.Any]] = []

    def write(number: int) -> None:
        how = {"section": f"s{number}"} if number % 2 else {}
        arguments = {"path": str(file.path), "postgres_version": "16", "rules": [f"m u{number} app"], **how}
        results.append(run(arguments, module=MODULE))

    writers = [threading.Thread(target=write, args=[number]) for number in range(20)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [one["msg"] for one in results if one.get("failed")] == []
    lines = file.path.read_text().splitlines()
    assert "\n".join(lines[:2]) + "\n" == OLD
    assert sorted(line.split()[1] for line in lines[2:] if line[0] == "m") == sorted(f"u{number}" for number in range(20))


def test_it_is_a_program_of_its_own(file: File) -> None:
    """As Ansible starts it on a target, with nothing imported before."""
    file.path.write_text(OLD)
    result = run({"path": str(file.path), "postgres_version": "16", "rules": [ENTRY]}, module=MODULE)
    assert (result["changed"], file.path.read_text()) == (True, OLD + LINE)
    assert module.__name__ == MODULE
    assert sys.version_info >= (3, 9)
