# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The writer of stdout when nobody reads it, and lines of any length."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pgops.entrypoint import logs, stream
from pgops.entrypoint.redact import Redactor

Pipe = tuple[int, stream.Output]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe and the writer at its end."""
    read_end, write_end = os.pipe()
    yield read_end, stream.Output(descriptor=write_end)
    os.close(read_end)
    os.close(write_end)


def unread(read_end: int) -> bytes:
    """All that is in the pipe now."""
    os.set_blocking(read_end, False)
    text = b""
    try:
        while data := os.read(read_end, 1 << 20):
            text += data
    except BlockingIOError:
        return text
    return text


def messages(text: bytes) -> list[str]:
    """First words of the messages; each line must be whole."""
    return [json.loads(line)["message"].split()[0] for line in text.decode().splitlines()]


def test_what_is_written_together_goes_out_at_its_end(pipe: Pipe) -> None:
    read_end, output = pipe
    with output.together():
        for number in range(3):
            output.say("info", str(number))
        assert unread(read_end) == b""
    assert messages(unread(read_end)) == ["0", "1", "2"]


def test_nothing_is_lost_while_a_reader_may_come(pipe: Pipe, tmp_path: Path) -> None:
    """The writer waits, a file says so, and it goes on when somebody reads."""
    read_end, output = pipe
    output.note = str(tmp_path / "unread")
    read: list[bytes] = []

    def reader_that_comes_late() -> bool:
        if os.path.exists(output.note):
            read.append(unread(read_end))
            output.say("info", "signal")
        return True

    output.may_wait = reader_that_comes_late
    for number in range(40):
        output.say("info", f"{number} {'x' * 4000}")
    assert read, "the pipe was full"
    found = messages(b"".join(read) + unread(read_end))
    assert [word for word in found if word != "signal"] == [str(number) for number in range(40)]
    assert found.count("signal") == len(read), "what is said while it waits is said afterwards"
    assert not os.path.exists(output.note)


def test_at_the_end_nobody_is_waited_for_and_what_is_lost_is_counted(pipe: Pipe) -> None:
    read_end, output = pipe
    output.may_wait = lambda: False
    for number in range(40):
        output.say("info", f"{number} {'x' * 4000}")
    first = unread(read_end)
    output.say("info", "late")
    text = (first + unread(read_end)).decode().splitlines()
    kept = [json.loads(line) for line in text]
    lost = 40 - len(kept) + 2
    assert kept[-1]["message"] == f"nobody read the container's stdout: {lost} lines are lost"
    assert kept[-2]["message"] == "late"
    assert [record["message"].split()[0] for record in kept[:-2]] == [str(number) for number in range(len(kept) - 2)]


def test_a_reader_that_is_gone_is_no_error() -> None:
    read_end, write_end = os.pipe()
    output = stream.Output(descriptor=write_end)
    os.close(read_end)
    output.say("info", "to nobody")
    os.close(write_end)


def test_lines_in_pieces_and_without_an_end() -> None:
    heard: list[bytes] = []
    reader = stream._Lines(heard.append)
    for piece in (b"a", b"b\r\n\n  \nc\nd", b"e"):
        reader.feed(piece)
    reader.finish()
    assert heard == [b"ab", b"c", b"de"]


def test_a_line_that_never_ends_takes_no_more_memory_than_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_LONGEST_LINE", 100_000)
    heard: list[bytes] = []
    reader = stream._Lines(heard.append)
    for _unused in range(300):
        reader.feed(b"x" * 1000)
        assert sum(map(len, reader._parts)) <= 100_000
    reader.feed(b"y\nnext\n")
    assert heard[0].startswith(b"x" * stream._HEAD)
    assert heard[0].endswith("… (the first 65536 of 300001 bytes)".encode())
    assert heard[1] == b"next"
    assert logs.plain_record("postgresql", heard[0], Redactor())["message"]
