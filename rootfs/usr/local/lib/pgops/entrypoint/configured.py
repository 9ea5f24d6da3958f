# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user's own server configuration says, so that ours never overrides it: files in PGDATA and arguments of the command line."""

from __future__ import annotations

import re
import subprocess
import typing as t

from . import regular
from .errors import CONFIGURATION, StartError
from .place import Place

_COMMENT = re.compile(r"(?m)^\s*#.*$")
_FILES = ("postgresql.conf", "postgresql.auto.conf")


def mentions(place: Place, arguments: t.Sequence[str], *names: str) -> bool:
    """Whether one of these settings is set in PGDATA or among the arguments. Files that those include are not looked into."""
    everything = "\n".join(arguments).replace("-", "_") + "\n" + text(place)
    wanted = "|".join(names)
    return re.search(rf"(?mi)^\s*(?:__|_c)?\s*(?:{wanted})\b\s*=?\s*\S", everything) is not None


def setting(place: Place, arguments: t.Sequence[str], name: str) -> str | None:
    """The value that the server will use, asked from itself when it is set anywhere; None when it is the default. Raises StartError."""
    if not mentions(place, arguments, name):
        return None
    argv = [place.program("postgres"), "-D", place.data, *arguments, "-C", name]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=place.environment, errors="replace")
    if done.returncode:
        raise StartError(f"PostgreSQL does not accept its configuration: {done.stderr.strip()[-500:]}", CONFIGURATION)
    return done.stdout.strip() or None


def text(place: Place) -> str:
    """The configuration files of PGDATA without comments; empty where there are none."""
    texts = []
    for name in _FILES:
        try:
            texts.append(_COMMENT.sub("", regular.read(place.path(name)).decode("utf-8", "replace")))
        except OSError:
            continue
    return "\n".join(texts)
