# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents: every byte survives, an edit touches only its lines, nothing is glued or swallowed, sections are found or refused."""

from __future__ import annotations

import os

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba.document import Changes, Document, Layout, marker_lines
from ansible_collections.pgops.access.plugins.module_utils._hba.errors import PlanError
from ansible_collections.pgops.access.plugins.module_utils._hba.lexer import logical_lines
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Server
from hypothesis import given, settings
from hypothesis import strategies as st

FACTOR = 10 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 1

MAJORS = (12, 13, 14, 15, 16, 18, 19)
PIECES = st.sampled_from(
    [
        b"local all all trust",
        b"# note",
        b"\\",
        b"\n",
        b"\n",
        b"\r\n",
        b"\r",
        b"\0",
        b'"',
        b" ",
        b"\t",
        b",",
        b"#",
        b"\xff",
        b"\xc3\xa9",
        b"a" * 2100,
    ]
)
FILES = st.lists(PIECES, max_size=14).map(b"".join)


@settings(max_examples=250 * FACTOR, deadline=None)
@given(st.one_of(st.binary(max_size=200), FILES), st.sampled_from(MAJORS))
def test_render_gives_every_byte_back(raw: bytes, major: int) -> None:
    document = Document.parse(raw, Server(major))
    assert document.render() == raw
    assert [line.text for line in document.lines] == [line.text for line in logical_lines(raw, Server(major))]


@settings(max_examples=250 * FACTOR, deadline=None)
@given(FILES, st.sampled_from(MAJORS), st.data())
def test_an_insertion_is_a_line_of_its_own_and_the_others_stay(raw: bytes, major: int, data: st.DataObject) -> None:
    server = Server(major)
    before = Document.parse(raw, server)
    index = data.draw(st.integers(0, len(before.lines)))
    try:
        after = before.insert(index, ["host new new all reject"])
    except PlanError:
        assert b"\0" in raw or max(map(len, raw.split(b"\n"))) > 8000
        return
    texts = [line.text for line in before.lines]
    assert [line.text for line in logical_lines(after.raw, server)] == [*texts[:index], "host new new all reject", *texts[index:]]
    start = before.lines[index].start if index < len(before.lines) else len(raw)
    assert after.raw.startswith(raw[:start])
    assert after.raw.endswith(raw[start:])


@settings(max_examples=150 * FACTOR, deadline=None)
@given(FILES, st.sampled_from(MAJORS), st.data())
def test_removing_and_replacing_touch_only_their_lines(raw: bytes, major: int, data: st.DataObject) -> None:
    server = Server(major)
    before = Document.parse(raw, server)
    if not before.lines:
        return
    index = data.draw(st.integers(0, len(before.lines) - 1))
    line = before.lines[index]
    texts = [other.text for other in before.lines]
    try:
        assert before.remove(index).raw == raw[: line.start] + raw[line.end :]
        after = before.replace(index, "local x x reject")
    except PlanError:
        assert b"\0" in raw or max(map(len, raw.split(b"\n"))) > 8000
        return
    assert [other.text for other in after.lines] == [*texts[:index], "local x x reject", *texts[index + 1 :]]
    assert after.raw.startswith(raw[: line.start])
    assert after.raw.endswith(raw[line.end :])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", b"N\n"),
        (b"a\n", b"a\nN\n"),
        (b"a", b"a\nN\n"),
        (b"a\r\nb\r\n", b"a\r\nb\r\nN\r\n"),
        (b"a\r\nb", b"a\r\nb\r\nN\r\n"),
        (b"a\r\nb\nc\n", b"a\r\nb\nc\nN\n"),
        (b"a\r\nb\r\nc\n", b"a\r\nb\r\nc\nN\r\n"),
        (b"a\r", b"a\r\nN\n"),
    ],
)
def test_line_ends(raw: bytes, expected: bytes) -> None:
    """L20 and L21: the last line is completed, CRLF stays CRLF."""
    document = Document.parse(raw, Server(15))
    assert document.insert(len(document.lines), ["N"]).raw == expected


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("line", [b"# note \\", b"local all all trust \\", b"\\", b"# a \\\\", b"# a \\\n# b \\"])
def test_a_backslash_at_the_end_swallows_nothing(line: bytes, end: bytes) -> None:
    server = Server(15)
    document = Document.parse(b"local a a peer\n" + line + end, server)
    after = document.insert(len(document.lines), ["host new new all reject"])
    assert after.lines[-1].text == "host new new all reject"
    assert after.raw.startswith(document.raw)
    again = after.insert(len(after.lines), ["local last last reject"])
    assert [other.text for other in again.lines[-2:]] == ["host new new all reject", "local last last reject"]


def test_a_backslash_is_plain_text_in_13() -> None:
    document = Document.parse(b"# note \\", Server(13))
    assert document.insert(1, ["N"]).raw == b"# note \\\nN\n"


@pytest.mark.parametrize("raw", [b"local a a trust\0rest", b"local a a trust\0rest\n", b"# c\0"])
def test_a_nul_byte_swallows_nothing(raw: bytes) -> None:
    """14 and later ignore the rest of a line after a NUL, its line feed too, and read the next line as its continuation."""
    document = Document.parse(raw, Server(16))
    after = document.insert(len(document.lines), ["host new new all reject"])
    assert logical_lines(after.raw, Server(16))[-1].text == "host new new all reject"


def test_an_edit_inside_an_overlong_line_is_refused() -> None:
    """13 and earlier read the rest of a line that is too long as a further line; there is no place between the two."""
    document = Document.parse(b"# " + b"x" * 30000 + b"\nlocal all all trust\n", Server(13))
    assert len(document.lines) == 3
    with pytest.raises(PlanError, match="too long"):
        document.replace(0, "# short")
    assert document.insert(3, ["N"]).raw == document.raw + b"N\n"


def test_a_new_line_cannot_hold_a_line_end() -> None:
    with pytest.raises(PlanError, match="line feed"):
        Document.parse(b"", Server(15)).insert(0, ["a\nb"])


def test_many_edits_in_one_pass() -> None:
    document = Document.parse(b"a\nb\nc\n", Server(15))
    changes = Changes()
    assert not changes
    changes.insert(1, ["x"])
    changes.insert(1, ["y"])
    changes.removed.add(1)
    changes.replaced[2] = "C"
    assert changes
    assert document.edit(changes).raw == b"a\nx\ny\nC\n"


# ------------------------------------------------------------------------------------------------------------------- sections


def file_of(*sections: tuple[str, str], loose: str = "") -> bytes:
    lines: list[str] = []
    for name, position in sections:
        lines += [*marker_lines(name, position)[:1], f"local {name} all reject", marker_lines(name)[1]]
    return ("\n".join([*lines, loose]) if loose else "\n".join(lines) + "\n").encode()


def test_sections_are_found() -> None:
    document = Document.parse(b"local a a peer\n" + file_of(("one", "last"), ("two", "before:one")), Server(15))
    assert [(section.name, section.position, section.begin, section.end) for section in document.sections()] == [
        ("one", "last", 1, 3),
        ("two", "before:one", 4, 6),
    ]


def test_markers_as_an_editor_may_leave_them() -> None:
    raw = b"  #  BEGIN pgops.access section: one  \r\nlocal a a peer\r\n#END pgops.access section: one\r\n"
    assert [section.name for section in Document.parse(raw, Server(15)).sections()] == ["one"]


def test_a_marker_behind_a_rule_is_a_comment() -> None:
    assert Document.parse(b"local a a peer # BEGIN pgops.access section: one\n", Server(15)).sections() == ()


BEGIN, END = marker_lines("one")
BEGIN2, END2 = marker_lines("two")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([BEGIN, "x", BEGIN2, END2, END], "line 3: section two begins inside section one, which began on line 1"),
        ([BEGIN, "x"], "line 1: section one is begun but never ended"),
        ([END], "line 1: section one ends without having begun"),
        ([BEGIN, END2, END], "line 2: section two ends without having begun inside one"),
        ([BEGIN, END, BEGIN, END], "line 3: section one is there a second time; the first began on line 1"),
        ([BEGIN + " (edited)", END], "line 1: damaged section marker"),
        ([BEGIN + ", position sideways", END], "line 1: damaged section marker"),
        ([BEGIN + " \\", "local a a peer", END], "line 1: damaged section marker"),
        (["# BEGIN pgops.access section: " + "x" * 64, END], "line 1: damaged section marker"),
    ],
)
def test_damaged_markers_are_refused_with_their_lines(lines: list[str], message: str) -> None:
    with pytest.raises(PlanError) as caught:
        Document.parse("\n".join(lines).encode(), Server(15)).sections()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "a#b", "-a", ".a", "a,b", "x" * 64, "é"])
def test_section_names(name: str) -> None:
    with pytest.raises(PlanError, match="section name"):
        marker_lines(name)


def test_places() -> None:
    raw = b"# header\n\n# about it\nlocal a a peer\n" + file_of(("one", "last"), ("two", "last")) + b"# end\n"
    layout = Layout(Document.parse(raw, Server(15)), [3, 5, 8])
    assert layout.place("first") == 2
    assert layout.place("last") == 11
    assert layout.place("last", "zoo") == 11
    assert layout.place("last", "one-b") == 7
    assert layout.place("last", "abc") == 4
    assert layout.place("before:two", "x") == 7
    assert layout.place("after:one", "x") == 7
    with pytest.raises(PlanError, match="no section three; sections in this file: one, two"):
        layout.place("after:three", "x")
    with pytest.raises(PlanError, match="beside itself"):
        layout.place("after:one", "one")
    for wrong in ("", "top", "before:", "before", "last:one"):
        with pytest.raises(PlanError, match="use first, last"):
            layout.place(wrong, "x")
