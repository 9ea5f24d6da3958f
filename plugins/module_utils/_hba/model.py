# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""The engine's values: frozen, typed, without behaviour beyond small derivations.

Text is ``str`` decoded as UTF-8 with ``surrogateescape``: bytes that are not UTF-8 survive a round trip, and lengths that
PostgreSQL counts in bytes are counted with :func:`encode`. Named tuples, not dataclasses: a file of 10,000 rules makes
some 50,000 of them, and a named tuple costs a fifth of a frozen dataclass.
"""

from __future__ import annotations

import typing as t


def decode(raw: bytes) -> str:
    """Bytes of a file as engine text; every byte survives :func:`encode`."""
    return raw.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """Engine text as the file's bytes."""
    return text.encode("utf-8", "surrogateescape")


ALL_FEATURES: frozenset[str] = frozenset({"ssl", "gssapi", "ldap", "pam"})


class Server(t.NamedTuple):
    """What decides how a file is read: the major version, how the server was built, and the settings that parsing consults."""

    major: int
    ssl: bool = True
    """The setting ``ssl``; with it off ``hostssl`` lines load but never match."""
    features: frozenset[str] = ALL_FEATURES
    """Compiled-in features, of ``ssl``, ``gssapi``, ``ldap``, ``pam``; Debian's builds have all."""
    db_user_namespace: bool = False
    oauth_validator_libraries: tuple[str, ...] | None = ()
    """The setting of that name (18). None: not known, so whatever a line needs is taken as permitted."""
    minor: int | None = None
    """Minor release, for the few rules that changed inside a major; None means the newest."""


class Token(t.NamedTuple):
    """One token after dequoting. ``quoted`` is PostgreSQL's flag: a quote stood before the first stored byte."""

    text: str
    quoted: bool = False


Field = t.Tuple[Token, ...]
"""One field of a line: tokens that commas joined."""


class Address(t.NamedTuple):
    """The address column of a rule that is not ``local``."""

    kind: str
    """``all``, ``samehost``, ``samenet``, ``network`` (numeric address and mask) or ``name`` (host name or ``.suffix``)."""
    text: str
    """As ``pg_hba_file_rules.address`` shows it."""
    netmask: str | None = None
    """As ``pg_hba_file_rules.netmask`` shows it; only for ``network``."""
    family: int | None = None
    """4 or 6; only for ``network``."""
    value: int = 0
    """The address as an integer, host bits kept; only for ``network``."""
    mask: int = 0
    """The mask as an integer; may be non-contiguous; only for ``network``."""


class Rule(t.NamedTuple):
    """One record of pg_hba.conf that the server accepts (perhaps with a warning)."""

    type: str
    databases: Field
    users: Field
    address: Address | None
    method: str
    options: tuple[tuple[str, str], ...] = ()
    """Options in effect, in the order and spelling that ``pg_hba_file_rules.options`` shows."""
    given_options: tuple[tuple[str, str], ...] = ()
    """Options as written, in order, repeated ones included; also those which the view never shows."""
    file: str = ""
    """Absolute path of the file that holds it, or the name that the caller gave to the text."""
    line: int = 0
    """First physical line, from 1, as the server reports it."""
    last_line: int = 0
    """Last physical line (continuations, 14 and later)."""
    number: int | None = None
    """``rule_number``: position among the rows without an error, from 1; None when the view shows a warning."""
    warning: str | None = None
    """The two errors that the view shows although the file loads (hostssl with ssl=off, hostgssenc without GSSAPI)."""
    hint: str | None = None
    raw: str = ""
    """The logical line as the server logs it: continuations joined, line ends stripped, comments and leading blanks kept."""


class LineError(t.NamedTuple):
    """A line that the server refuses. Any of them makes the whole file not load."""

    message: str
    file: str = ""
    line: int = 0
    hint: str | None = None
    shown: bool = True
    """False for the errors that only the log knows: the view shows a row of nulls with a rule_number for them."""
    number: int | None = None
    """The rule_number which the view shows for an error that it does not show."""
    raw: str = ""
    last_line: int = 0
    view_error: str | None = None
    """What the view shows for an error that it does not show (``shown`` false) on a line that also has a warning: the warning."""


Row = t.Union[Rule, LineError]


class Role(t.NamedTuple):
    """A role of the server, as far as matching needs it."""

    name: str
    superuser: bool = False
    member_of: tuple[str, ...] = ()
    """Direct memberships, whatever INHERIT, SET and ADMIN say."""


class Client(t.NamedTuple):
    """One sentence for a client: who connects, to what, from where, over which transport."""

    user: str
    database: str | None = None
    """None: not named, so PostgreSQL takes the user's name (and nothing for physical replication)."""
    address: str | None = None
    """Numeric client address; None for the Unix socket."""
    transport: str = "tcp"
    """``local``, ``tcp``, ``tls`` or ``gss``."""
    replication: bool = False
    """True for a physical replication connection (``replication=database`` is an ordinary one)."""
    memberships: tuple[str, ...] = ()
    """Roles that the user is a member of, when no list of roles is at hand."""
