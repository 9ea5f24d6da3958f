# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locales that a configuration names and the C library does not have. C and POSIX are everywhere; Klingon is nowhere."""

from __future__ import annotations

import locale

import pytest
from pgops.entrypoint import locales
from pgops.entrypoint.errors import CONFIGURATION, StartError


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("", []),
        ("lc_messages = 'C'\nlc_time 'POSIX'\n", []),
        ("lc_messages = ''\n", []),
        ("lc_messages = 'tlh_DE.utf8'\nlc_time = 'tlh_DE.utf8'\n", ["tlh_DE.utf8"]),
        ("LC_MONETARY='tlh_DE'\nlc_numeric = 'xx_YY.ISO8859-1'\n", ["tlh_DE", "xx_YY.ISO8859-1"]),
        ("lc_time = 'tlh_DE.utf8'\nlc_time = 'C'\n", []),
        ("#lc_time = 'tlh_DE.utf8'\n", []),
    ],
)
def test_what_is_missing(text, missing):
    before = locale.setlocale(locale.LC_ALL)
    assert locales.absent(text) == missing
    assert locale.setlocale(locale.LC_ALL) == before


@pytest.mark.parametrize(
    ("name", "wanted"), [("de_DE.utf8", "de_DE.UTF-8"), ("de_DE", "de_DE.UTF-8"), ("de_DE.ISO-8859-1", "de_DE.ISO-8859-1")]
)
def test_the_name_that_the_build_takes(name, wanted):
    assert locales._buildable(name) == wanted


@pytest.mark.parametrize(
    ("environment", "arguments", "names"),
    [
        ({"LANG": "de_DE.utf8", "TZ": "Etc/UTC"}, (), ["de_DE.utf8"]),
        ({"LANG": "C", "LC_TIME": "de_DE", "LC_ALL": ""}, (), ["C", "de_DE"]),
        ({"LANG": "xx", "LC_ALL": "C.UTF-8"}, (), ["C.UTF-8"]),
        ({"LANG": "de_DE.utf8"}, ("--locale=C", "--encoding=UTF8"), ["C"]),
        ({"LANG": "de_DE.utf8"}, ("--no-locale",), []),
        ({"LANG": "C"}, ("--lc-collate=de_DE.utf8", "--locale-provider=icu"), ["de_DE.utf8", "C"]),
    ],
)
def test_the_locales_of_a_new_database(environment, arguments, names):
    assert locales.wanted(environment, arguments) == names


def test_a_new_database_with_a_locale_that_is_not_here_is_refused_with_what_builds_it():
    locales.check_wanted({"LANG": "C"}, ())
    with pytest.raises(StartError, match=r'EXTRA_LOCALES="tlh_DE.UTF-8"') as refused:
        locales.check_wanted({"LANG": "tlh_DE.utf8"}, ())
    assert refused.value.status == CONFIGURATION
