# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Comments behind a rule, and the expiry that they may carry.

A rule's expiry is written at the end of its comment, ``# for the audit [expires: 2026-12-31]``, so that it stays with the line
whatever tool moves it, and so that a person sees it. A date is valid to its end; a time must say its offset (``…T18:00:00Z``).
"""

from __future__ import annotations

import datetime
import re

from .errors import NotRepresentable
from .model import Server

_CODE = re.compile(r'(?:[^"#]+|"[^"]*(?:"|\Z))*')
"""Everything before the comment: a ``#`` counts only outside quotes; a doubled quote closes and opens again, which is the same here."""
_EXPIRES = re.compile(r"\s*\[expires: ([0-9T:.+Z-]+)\]\s*\Z")


def comment_start(text: str) -> int:
    """Offset of the ``#`` that starts a logical line's comment; the line's length when there is none."""
    if '"' not in text:
        at = text.find("#")
        return len(text) if at < 0 else at
    match = _CODE.match(text)
    return match.end() if match is not None else len(text)


def split(text: str) -> tuple[str, str | None, str | None]:
    """A logical line as (rule with its blanks, comment text, expiry); the last two None where there are none."""
    start = comment_start(text)
    if start == len(text):
        return text, None, None
    comment = text[start + 1 :]
    match = _EXPIRES.search(comment) if "[expires:" in comment else None
    if match is None or moment(match.group(1)) is None:
        return text[:start], comment.strip(), None
    return text[:start], comment[: match.start()].strip(), match.group(1)


def join(comment: str | None, expires: str | None, server: Server) -> str:
    """The comment of a line, from its ``#`` on; empty when there is nothing to say. Raises NotRepresentable."""
    if comment is None and expires is None:
        return ""
    if comment is not None:
        check(comment, server)
    if expires is not None and moment(expires) is None:
        raise NotRepresentable("expires", expires, "is not a date (2026-12-31) or a time with its offset (2026-12-31T18:00:00Z)")
    tag = f"[expires: {expires}]" if expires is not None else ""
    text = " ".join(part for part in ((comment or "").strip(), tag) if part)
    return f"# {text}" if text else ""


def check(comment: str, server: Server) -> None:
    """Raise NotRepresentable when a text cannot be a comment that stays one comment and means nothing else."""
    for bad, name in (("\n", "a line feed"), ("\r", "a carriage return"), ("\0", "a NUL byte")):
        if bad in comment:
            raise NotRepresentable("comment", comment, f"it holds {name}, which could end the comment")
    if server.major >= 14 and comment.rstrip().endswith("\\"):
        raise NotRepresentable("comment", comment, "a backslash at its end would join the next line to it (PostgreSQL 14 and later)")
    match = _EXPIRES.search(comment)
    if match is not None and moment(match.group(1)) is not None:
        raise NotRepresentable("comment", comment, "it ends like an expiry; say it with the option expires")


def moment(expires: str) -> datetime.datetime | None:
    """The first moment at which a rule is no longer wanted; a date ends in UTC. None when the text is not an expiry."""
    try:
        if "T" not in expires:
            day = datetime.date.fromisoformat(expires) + datetime.timedelta(days=1)
            return datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.timezone.utc)
        parsed = datetime.datetime.fromisoformat(expires[:-1] + "+00:00" if expires.endswith("Z") else expires)
    except (ValueError, OverflowError):
        return None
    return parsed if parsed.tzinfo is not None else None


def expired(expires: str | None, now: datetime.datetime) -> bool:
    """Whether a rule with this expiry is over at ``now`` (which carries its time zone)."""
    end = moment(expires) if expires is not None else None
    return end is not None and now >= end
