# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalog against the reference's version table and the list of methods and options."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.access.plugins.module_utils._hba import catalog

EVERYWHERE = {"trust", "reject", "password", "md5", "scram-sha-256", "ident", "peer", "cert", "gss", "sspi", "pam", "bsd", "ldap"}


@pytest.mark.parametrize("major", range(12, 20))
def test_methods_of_a_major(major: int) -> None:
    known = {name for name in catalog.METHODS if catalog.method_of(name, major)}
    expected = set(EVERYWHERE)
    if major <= 18:
        expected.add("radius")
    if major >= 18:
        expected.add("oauth")
    assert known == expected


def test_what_is_no_method() -> None:
    for name in ("crypt", "krb4", "krb5", "gssapi", "scram", "none", "implicit reject", "MD5", ""):
        assert catalog.method_of(name, 18) is None


@pytest.mark.parametrize("major", range(12, 20))
def test_options_of_a_major(major: int) -> None:
    options = catalog.OPTIONS[major]
    assert ("clientname" in options) == (major >= 14)
    assert ("scope" in options) == ("delegate_ident_mapping" in options) == (major >= 18)
    assert ("radiusservers" in options) == (major <= 18)
    assert "radiusserver" not in options
    assert options["map"].methods_text == (
        "ident, peer, gssapi, sspi, cert, and oauth" if major >= 18 else "ident, peer, gssapi, sspi, and cert"
    )


def test_tables_agree_with_each_other() -> None:
    for options in catalog.OPTIONS.values():
        for option in options.values():
            assert option.methods is None or set(option.methods) <= set(catalog.METHODS)
        assert {"ldap" + name for name in catalog.LDAP_SHOWN} <= set(options)
    assert {method.restriction for method in catalog.METHODS.values()} == {None, "local", "not local", "hostssl"}
    assert all(method.refusal for method in catalog.METHODS.values() if method.restriction)
