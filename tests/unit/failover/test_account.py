# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make failover` counts: a row that is not there is lost, one that is there twice is duplicated, and a pause is as long as it was."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "failover"))

from account import Round, account, last_line, outage, steady, table


@pytest.mark.parametrize(
    ("acknowledged", "found", "lost", "duplicated"),
    [
        ([], {}, (), ()),
        ([1, 2], {1: 1, 2: 1}, (), ()),
        ([3, 1, 2], {1: 1}, (2, 3), ()),
        ([1, 2], {1: 2, 2: 1}, (), (1,)),
        ([1], {1: 1, 9: 1}, (), ()),  # written, but the answer was lost: nobody was promised anything
        ([1], {1: 1, 9: 2}, (), (9,)),
        ([1, 2], {1: 3, 2: 0}, (2,), (1,)),
    ],
)
def test_lost_and_duplicated(acknowledged: list[int], found: dict[int, int], lost: tuple[int, ...], duplicated: tuple[int, ...]) -> None:
    total = account(acknowledged, found)
    assert (total.acknowledged, total.lost, total.duplicated) == (len(acknowledged), lost, duplicated)
    assert total.clean is not bool(lost or duplicated)


@pytest.mark.parametrize(
    ("times", "longest"),
    [
        ([], 10.0),
        ([11.0, 12.0, 19.0], 7.0),
        ([19.0, 11.0, 12.0], 7.0),  # several writers, nearly in order
        ([15.0], 5.0),
        ([13.0, 14.0], 6.0),  # nobody writes any more at the end
        ([9.0, 21.0], 10.0),  # before and after the round
    ],
)
def test_the_longest_time_without_writes(times: list[float], longest: float) -> None:
    assert outage(times, 10.0, 20.0) == longest


def test_writes_are_steady_only_without_a_gap_and_to_the_end() -> None:
    every = [10 + tenth / 10 for tenth in range(11)]
    assert steady(every, 10.0, 11.0, 0.5)
    assert not steady([moment for moment in every if not 10.2 < moment < 10.8], 10.0, 11.0, 0.5)
    assert not steady([moment for moment in every if moment < 10.4], 10.0, 11.0, 0.5)
    assert not steady(every, 11.0, 11.0, 0.5)


def test_each_kind_has_its_line() -> None:
    rounds = [Round("pause", 20.0), Round("kill", 4.0), Round("pause", 22.5), Round("pause", 21.0)]
    assert table(rounds)[2:] == ["| kill | 1 | 4.0 | 4.0 |", "| pause | 3 | 21.0 | 22.5 |"]


def test_the_last_line_is_the_one_that_was_promised() -> None:
    line = last_line([Round("kill", 4.0), Round("lost", 22.04)], account([1, 2, 3], {1: 1, 2: 2}))
    assert line == "2 rounds, 3 acknowledged, 1 lost, 1 duplicated, outage median 13.0 s, max 22.0 s"
    assert re.fullmatch(r"\d+ rounds, \d+ acknowledged, \d+ lost, \d+ duplicated, outage median [\d.]+ s, max [\d.]+ s", line)
