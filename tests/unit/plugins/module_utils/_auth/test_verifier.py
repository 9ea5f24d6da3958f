# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stored passwords: what servers have made is read, checked and made again; SASLprep as PostgreSQL does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.pgops.access.plugins.module_utils._auth import scram, verifier
from hypothesis import given
from hypothesis import strategies as st

RFC = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)
"""The password "pencil" with the salt of RFC 7677's example."""
RECORDED = json.loads(Path(__file__).with_name("saslprep.json").read_text())


def test_a_scram_verifier() -> None:
    found = verifier.parse(RFC)
    assert (found.kind, found.iterations) == (verifier.SCRAM, 4096)
    assert verifier.matches(found, "pencil", "whoever") is True
    assert verifier.matches(found, "pencil ", "whoever") is False
    assert verifier.make("pencil", 4096, found.salt) == RFC


def test_md5_hangs_on_the_name() -> None:
    stored = verifier.make_md5("secret", "alice")
    assert verifier.parse(stored).kind == verifier.MD5
    assert verifier.matches(verifier.parse(stored), "secret", "alice") is True
    assert verifier.matches(verifier.parse(stored), "secret", "bob") is False
    assert verifier.matches(verifier.parse(stored), "other", "alice") is False


@pytest.mark.parametrize(
    "text",
    [
        "",
        "md5",
        "secret",
        "md5" + "A" * 32,
        "md5" + "0" * 31,
        RFC[:-1],
        RFC + "$",
        RFC.replace("4096", "0"),
        RFC.replace("4096", "x"),
        RFC.replace("4096", "99999999999"),
        RFC.replace("SCRAM-SHA-256", "SCRAM-SHA-1"),
        RFC.replace("W22Z", "W2!Z"),
        RFC.replace("WG5d8oPm3Otc", "WG5d"),
    ],
)
def test_what_the_server_cannot_use_is_invalid(text: str) -> None:
    assert verifier.parse(text).kind == verifier.INVALID
    assert verifier.matches(verifier.parse(text), "secret", "alice") is None


def test_no_password() -> None:
    assert verifier.parse(None).kind == verifier.NONE
    assert verifier.matches(verifier.parse(None), "", "alice") is None


def test_absurd_iterations_are_not_computed() -> None:
    assert verifier.matches(verifier.parse(RFC.replace("4096", "2147483647")), "pencil", "x") is None
    with pytest.raises(ValueError, match="iterations"):
        verifier.make("x", 2_147_483_647)


def test_the_text_of_a_verifier_shows_no_secret() -> None:
    assert repr(verifier.parse(RFC)) == "Verifier('scram-sha-256', iterations=4096)"
    assert "md5" in repr(verifier.parse(verifier.make_md5("a", "b")))
    assert verifier.make_md5("a", "b")[3:] not in repr(verifier.parse(verifier.make_md5("a", "b")))


@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12))
def test_made_verifiers_fit_their_password_only(password: str, other: str) -> None:
    stored = verifier.parse(verifier.make(password, 2))
    assert stored.kind == verifier.SCRAM
    assert verifier.matches(stored, password, "r") is True
    assert verifier.matches(stored, other, "r") is (scram.saslprep(password) == scram.saslprep(other))


def test_salts_are_new_each_time() -> None:
    assert verifier.make("x", 1) != verifier.make("x", 1)


@pytest.mark.parametrize("case", RECORDED, ids=[ascii(case[0]) for case in RECORDED])
def test_passwords_that_a_server_has_hashed(case: list[str]) -> None:
    """Hard passwords with the verifiers that a PostgreSQL 18 made of them (scram_iterations = 1)."""
    password, stored = case
    assert verifier.matches(verifier.parse(stored), password, "x") is True
