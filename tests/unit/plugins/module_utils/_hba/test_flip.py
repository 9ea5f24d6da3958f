# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods that change where the rules stand: nothing else of the file does."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba import flip, ruleset
from ansible_collections.pgops.access.plugins.module_utils._hba.document import Document
from ansible_collections.pgops.access.plugins.module_utils._hba.errors import PlanError
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Server

TEXT = (
    b"# head\r\n"
    b"local   all\tall   md5\r\n"
    b"# BEGIN pgops.access section: mine\r\n"
    b'host all "a b" 10.0.0.1 255.0.0.0   md5 clientcert=x # why\r\n'.replace(b" clientcert=x", b"")
    + b"# END pgops.access section: mine\r\n"
    b"hostssl all all ::/0 ldap ldapserver=h ldapprefix=u= clientcert=verify-ca\r\n"
    b"host all all all md5"
)


def change(raw: bytes, wanted: dict[int, tuple[str, tuple[tuple[str, str], ...]]], major: int = 15) -> bytes:
    return flip.change_methods(Document.parse(raw, Server(major)), wanted).after


def test_only_the_method_changes() -> None:
    after = change(TEXT, {2: ("scram-sha-256", ()), 4: ("scram-sha-256", ()), 7: ("scram-sha-256", ())})
    assert after == TEXT.replace(b"md5", b"scram-sha-256")


def test_options_go_and_come() -> None:
    after = change(TEXT, {6: ("scram-sha-256", (("clientcert", "verify-ca"),))})
    assert after.splitlines()[5] == b"hostssl all all ::/0 scram-sha-256 clientcert=verify-ca"
    assert change(TEXT, {6: ("ldap", (("ldapserver", "two words"), ("ldapbasedn", "dc=a,dc=b")))}).splitlines()[5] == (
        b'hostssl all all ::/0 ldap "ldapserver=two words" "ldapbasedn=dc=a,dc=b"'
    )


def test_continuation_lines() -> None:
    raw = b"host all \\\n  all all \\\n  md5\nlocal all all md5\n"
    after = change(raw, {1: ("scram-sha-256", ())}, 14)
    rules = ruleset.parse_text(after, Server(14))
    assert [rule.method for rule in rules.rules] == ["scram-sha-256", "md5"]


def test_there_and_back() -> None:
    lines = {2: ("scram-sha-256", ()), 4: ("scram-sha-256", ())}
    assert change(change(TEXT, lines), dict.fromkeys(lines, ("md5", ()))) == TEXT


def test_nothing_to_do() -> None:
    plan = flip.change_methods(Document.parse(TEXT, Server(15)), {2: ("md5", ())})
    assert not plan.changed
    assert plan.edits == ()
    assert plan.after is plan.before


@pytest.mark.parametrize("line", [1, 3, 99])
def test_a_line_that_is_no_rule(line: int) -> None:
    with pytest.raises(PlanError, match=f"line {line} is no"):
        change(TEXT, {line: ("md5", ())})
