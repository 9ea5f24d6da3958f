# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of backups, moments, and what is shown of uses; reading is tested with real logs in tests/integration/pg_hba_info."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.pgops.access.plugins.module_utils._ansible import hba_usage
from ansible_collections.pgops.access.plugins.module_utils._ansible.hba_common import Invalid
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Server
from ansible_collections.pgops.access.plugins.module_utils._hba.ruleset import parse_text


def test_backups_say_until_when() -> None:
    moment = datetime.datetime(2026, 5, 4, 10, 0, 0, 123456, tzinfo=datetime.timezone.utc)
    assert hba_usage._end_of("pg_hba.conf.20260504T100000.123456Z.bak", "pg_hba.conf") == moment.timestamp()
    local = datetime.datetime(2026, 5, 4, 10, 0, 0)  # Ansible's own modules take the machine's zone
    assert hba_usage._end_of("pg_hba.conf.4711.2026-05-04@10:00:00~", "pg_hba.conf") == local.timestamp()
    for other in ("pg_hba.conf", "pg_hba.conf.bak", "pg_ident.conf.20260504T100000.123456Z.bak", "pg_hba.conf.1.2026-05-04~"):
        assert hba_usage._end_of(other, "pg_hba.conf") is None


@pytest.mark.parametrize("text", ["2026-05-04T10:00:00Z", "2026-05-04 12:00:00+02:00", " 2026-05-04T10:00:00+00:00 "])
def test_moments(text: str) -> None:
    assert hba_usage.moment_of(text) == datetime.datetime(2026, 5, 4, 10, tzinfo=datetime.timezone.utc).timestamp()


def test_bad_moments_and_zones() -> None:
    with pytest.raises(Invalid, match="in_force_since: 'never'"):
        hba_usage.moment_of("never")
    for zone in ("Mars/Base", "../etc/passwd", "/etc/passwd", ""):
        with pytest.raises(Invalid, match="log_timezone"):
            hba_usage.reading(None, zone)


@pytest.mark.parametrize(
    ("line", "since"),
    [("local all all peer", 14), ("host all all all trust", 17), ("host all all all reject", 99), ("host all all all scram-sha-256", 14)],
)
def test_which_uses_a_server_logs(line: str, since: int) -> None:
    for major in range(12, 19):
        rule = parse_text(line.encode(), Server(major)).rules[0]
        assert hba_usage._is_logged(rule, major) == (major >= since)
