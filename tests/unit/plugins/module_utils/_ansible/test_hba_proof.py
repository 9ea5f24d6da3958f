# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof before a write, without a server: who is refused, who is warned, and what is said."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.pgops.access.plugins.module_utils._ansible import hba_common, hba_proof
from ansible_collections.pgops.access.plugins.module_utils._ansible.hba_common import Invalid, Refused
from ansible_collections.pgops.access.plugins.module_utils._hba import plan
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Client, Role, Server

SERVER = Server(16)
OWN = Client("postgres", "postgres", None, "local")
OPEN = b"local all postgres peer\nhost all all 10.0.0.0/8 md5\n"


def prover(rules: t.Any, state: str = "present", **policy: t.Any) -> hba_proof.Prover:
    specs = hba_proof.specs_of(rules, SERVER, absent=state == "absent")
    return hba_proof.Prover(hba_proof.Policy(**{"path": "/hba", "server": SERVER, **policy}), plan.Request(rules=specs, state=state))


def sentence(**more: t.Any) -> tuple[hba_common.Sentence, ...]:
    return tuple(hba_common.sentences([{"user": "app", "database": "d", "address": "10.0.0.1", **more}], "expect"))


def test_rules_are_dictionaries_lines_or_a_text() -> None:
    text = "# a comment\nlocal all all peer\n\n  host all all all md5\n"
    assert [spec.method for spec in hba_proof.specs_of(text, SERVER, absent=False)] == ["peer", "md5"]
    assert len(hba_proof.specs_of({"type": "local", "method": "peer"}, SERVER, absent=False)) == 1
    assert hba_proof.specs_of(None, SERVER, absent=False) == ()
    with pytest.raises(Invalid, match=r"rules\[1\]: must be a dictionary or a line of text, not int"):
        hba_proof.specs_of(["local all all peer", 5], SERVER, absent=False)


def test_a_change_is_described_by_whom_it_lets_in() -> None:
    one = prover(["host all b 192.0.2.0/24 trust"])
    made = one.plan(OPEN)
    assert made.changed
    assert [change.change for change in one.changes or ()] == ["gains"]
    assert one.warnings == []
    again = prover(["host all b 192.0.2.0/24 trust"])
    assert not again.plan(made.after).changed
    assert again.changes == ()


def test_a_result_that_would_not_load_is_refused() -> None:
    broken = OPEN + b"host all all 10.0.0.1 md5\n"
    with pytest.raises(Refused, match=r"/hba: nothing was written, .* line 3: invalid IP mask"):
        prover(["local all b peer"]).plan(broken)
    careless = prover(["local all b peer"], validate=False)
    assert careless.plan(broken).changed
    assert any("as it was would not load" in warning for warning in careless.warnings)


@pytest.mark.parametrize(
    ("expect", "advice"),
    [
        ("scram-sha-256", "This rule above line 2 of /hba would help: hostnossl d app 10.0.0.1/32 scram-sha-256"),
        ("refused", "This rule above line 2 of /hba would help: hostnossl d app 10.0.0.1/32 reject"),
        ("no_entry", "It would be so without line 2, if no later rule matches"),
    ],
)
def test_a_broken_expectation_says_what_would_help(expect: str, advice: str) -> None:
    with pytest.raises(Refused, match="1 of 1 expectations would not be met") as caught:
        prover(["local all b peer"], expect=sentence(expect=expect)).plan(OPEN)
    assert f"app to d from 10.0.0.1 over tcp: expected {expect}, but the method is md5 (line 2 of /hba: " in str(caught.value)
    assert advice in str(caught.value)


@pytest.mark.parametrize("lockout", ["refuse", "warn", "ignore"])
def test_the_manager_is_not_locked_out(lockout: str) -> None:
    one = prover(["local all postgres"], state="absent", own=OWN, lockout=lockout)
    if lockout == "refuse":
        with pytest.raises(Refused, match=r"postgres to postgres over the Unix socket, is not proved to get in afterwards.*no_entry"):
            one.plan(OPEN)
        return
    assert one.plan(OPEN).changed
    assert len(one.warnings) == (lockout == "warn")


@pytest.mark.parametrize("rule", ["hostssl all all all cert", "hostssl all all all scram-sha-256 clientcert=verify-ca"])
def test_a_manager_without_a_client_certificate_is_not_proved_to_get_in(rule: str) -> None:
    own = Client("postgres", "postgres", "10.0.0.1", "tls")
    with pytest.raises(Refused, match=r"which asks for a client certificate, and ssl_cert gives none\. Add a rule for it"):
        prover([rule], own=own).plan(b"hostssl all all all md5\n")
    assert prover([rule], own=own, certificate=True).plan(b"hostssl all all all md5\n").changed
    assert prover(["host all b all md5"], own=own).plan(rule.encode() + b"\n").changed, "as it was before"


def test_another_method_for_the_manager_is_told() -> None:
    one = prover([{"type": "local", "users": "postgres", "method": "scram-sha-256"}], own=OWN)
    one.plan(OPEN)
    assert one.warnings == [
        "The connection that manages the server, postgres to postgres over the Unix socket, changes its method from peer to scram-sha-256."
    ]


def test_what_was_not_known_before_is_no_lockout() -> None:
    """A rule for a group, and no roles known: as little known as before, so the change is not stopped for it."""
    before = b"local all +dba peer\n"
    assert prover(["host all b all md5"], own=OWN).plan(before).changed
    known = [Role("postgres", True, ()), Role("dba", False, ())]
    with pytest.raises(Refused, match="no_entry"):
        prover(["host all b all md5"], own=OWN, roles=tuple(known)).plan(before)


def test_absent_looks_for_the_rest() -> None:
    one = prover(["host all app 10.0.0.0/8"], state="absent")
    one.plan(b"local all all peer\nhost all app 10.0.0.0/8 md5\nhost all all 10.1.0.0/16 trust\n")
    assert len(one.still_granted) == 1
    assert one.warnings[0].startswith("Access is still granted by another rule")
    assert "10.1.0.0/16" in one.warnings[0]


def test_samenet_needs_the_servers_interfaces() -> None:
    rules = ["host all app samenet md5"]
    with pytest.raises(Refused, match="depends on the server's interfaces, which were not given"):
        prover(rules, expect=sentence(expect="md5")).plan(b"local all all peer\n")
    mine = ((4, 0x0A000005, 0xFF000000),)
    one = prover(rules, expect=sentence(expect="md5"), interfaces=mine)
    assert one.plan(b"local all all peer\n").changed
    with pytest.raises(Refused, match="no rule matches"):
        prover(rules, expect=sentence(expect="md5", address="192.0.2.1"), interfaces=mine).plan(b"local all all peer\n")


def test_what_a_module_shows_holds_no_secret() -> None:
    line = "host all all 10.0.0.0/8 ldap ldapserver=x ldapbindpasswd=s3cret ldapbasedn=y ldapbinddn=z"
    one = prover([line])
    one.plan(b"local all all peer\n" + line.replace("s3cret", "older").encode() + b"\n")
    shown = hba_proof.shown(one)
    assert "s3cret" not in str(shown)
    assert "older" not in str(shown)
    assert {"access_changes", "findings", "decisions", "rules", "edits", "still_granted"} <= set(shown)
