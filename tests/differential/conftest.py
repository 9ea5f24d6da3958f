# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One server for each major, and a loud count of what could not be asked."""

from __future__ import annotations

import os
import typing as t

import pytest

from . import fetch
from .servers import Server, full_builds

MISSING: dict[str, str] = {}
"""Server → why it could not be had."""
NOT_ASKED: dict[str, int] = {}
"""Server → tests that were skipped for want of it."""


def wanted() -> list[str]:
    """``12`` … ``18``, and ``15-full`` where Debian's own server is installed; PGOPS_DIFFERENTIAL_SERVERS narrows it."""
    names = [str(major) for major in fetch.majors()] + [f"{major}-full" for major in full_builds()]
    asked = os.environ.get("PGOPS_DIFFERENTIAL_SERVERS")
    return [name for name in names if name in asked.split(",")] if asked else names


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" in metafunc.fixturenames:
        metafunc.parametrize("server", wanted(), indirect=True, scope="session")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> t.Iterator[Server]:
    """A running server of the parameter's major; skipped where it cannot be had, an error where ``CI`` is set."""
    name: str = request.param
    major, _, full = name.partition("-")
    oracle = Server(int(major), bool(full))
    try:
        oracle.start()
    except fetch.Unavailable as error:
        MISSING[name] = str(error)
        if os.environ.get("CI", "").lower() not in ("", "0", "false", "no"):
            pytest.fail(f"PostgreSQL {name} is not available, and in CI that is a failure: {error}")
        pytest.skip(f"PostgreSQL {name} is not available: {error}")
    try:
        yield oracle
    finally:
        oracle.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> t.Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    callspec = getattr(item, "callspec", None)
    name = callspec.params.get("server") if callspec is not None else None
    if report.skipped and name in MISSING:
        NOT_ASKED[name] = NOT_ASKED.get(name, 0) + 1
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not MISSING:
        return
    terminalreporter.section("DIFFERENTIAL TESTS WERE NOT ALL RUN", sep="!", red=True, bold=True)
    for name, reason in MISSING.items():
        terminalreporter.line(f"PostgreSQL {name}: {NOT_ASKED.get(name, 0)} tests not run: {reason}", red=True)
