# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this image has the locales that a data directory was made with; the server would only say that its configuration has errors."""

from __future__ import annotations

import locale
import re
import typing as t

from . import configured
from .errors import CONFIGURATION, StartError
from .place import Place

_SETTING = re.compile(r"(?mi)^\s*lc_(messages|monetary|numeric|time)\s*=?\s*'((?:[^']|'')*)'")
_CATEGORIES = {
    "messages": locale.LC_MESSAGES,
    "monetary": locale.LC_MONETARY,
    "numeric": locale.LC_NUMERIC,
    "time": locale.LC_TIME,
}


def check(place: Place) -> None:
    """Refuse a configuration whose locale is not here. Raises StartError."""
    missing = absent(configured.text(place))
    if missing:
        names = ", ".join(repr(name) for name in missing)
        wanted = " ".join(dict.fromkeys(_buildable(name) for name in missing))
        raise StartError(
            f"PGDATA: {place.data} was made with the locale {names}, which this image does not have; "
            f'build the image with EXTRA_LOCALES="{wanted}"'
        )


def check_wanted(environment: t.Mapping[str, str], initdb_arguments: t.Sequence[str]) -> None:
    """Refuse to make a database with a locale that is not here. Raises StartError."""
    missing = [name for name in dict.fromkeys(wanted(environment, initdb_arguments)) if not _there(locale.LC_CTYPE, name)]
    if missing:
        raise StartError(
            f"LANG, LC_* or POSTGRES_INITDB_ARGS: the locale {', '.join(map(repr, missing))} is not in this image; build the image with "
            f'EXTRA_LOCALES="{" ".join(map(_buildable, missing))}", or use C.UTF-8 or en_US.UTF-8',
            CONFIGURATION,
        )


def wanted(environment: t.Mapping[str, str], initdb_arguments: t.Sequence[str]) -> list[str]:
    """The locales that initdb would take: from its arguments, else from the environment, where LC_ALL hides all others."""
    words = [word.split("=", 1) for word in initdb_arguments if re.match(r"--(locale|lc-\w+)=", word)]
    found = [value for _option, value in words]
    if not any(option == "--locale" for option, _value in words) and "--no-locale" not in initdb_arguments:
        everything = environment.get("LC_ALL", "")
        others = [value for name, value in environment.items() if name == "LANG" or name.startswith("LC_")]
        found += [everything] if everything else others
    return [name for name in found if name]


def absent(text: str) -> list[str]:
    """The locales that a configuration names and the C library does not have, in order, each once."""
    # The last line of a setting counts.
    used = {match[1].lower(): match[2] for match in _SETTING.finditer(text)}
    return list(dict.fromkeys(name for category, name in used.items() if name and not _there(_CATEGORIES[category], name)))


def _there(category: int, name: str) -> bool:
    before = locale.setlocale(category)
    try:
        locale.setlocale(category, name)
    except locale.Error:
        return False
    locale.setlocale(category, before)
    return True


def _buildable(name: str) -> str:
    """`de_DE.utf8`, as the C library lists it, in the form that localedef takes."""
    language, _dot, charset = name.partition(".")
    return f"{language}.{'UTF-8' if charset.lower() in ('', 'utf8', 'utf-8') else charset}"
