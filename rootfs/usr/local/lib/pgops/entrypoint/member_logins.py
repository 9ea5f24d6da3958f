# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the passwords that a member was given are those that its cluster's roles have.

A renewed password does its harm late: connections go on, and the next one, after a failover perhaps, is refused. So the stored verifiers
are held against what the member was given, when it begins to lead or to follow, after SIGHUP, and once a minute, and what differs is told
while all still runs. A rewind password that nobody gave follows the superuser's: nobody else could tell the role.
"""

from __future__ import annotations

import time
import typing as t

from . import statistics
from .member_settings import Member
from .place import Place
from .stream import Hub

INTERVAL_SECONDS = 60.0
_SUPERUSER, _REPLICATION, _REWIND = range(3)
_VARIABLES = ("PATRONI_SUPERUSER_PASSWORD", "PATRONI_REPLICATION_PASSWORD", "PATRONI_REWIND_PASSWORD")
_HARM = (
    "what is derived from it (see docs/container.md) differs from the other members'",
    "this member can follow nobody once its connection ends",
    "this member cannot be rewound after a failover",
)
Stored = t.Mapping[int, str]
"""Number of the login → its role's verifier; empty where it has no password, missing where there is no role."""


class Difference(t.NamedTuple):
    """A login whose password is not the cluster's."""

    number: int
    role: str


def differing(member: Member, stored: Stored) -> tuple[Difference, ...]:
    """The logins that would be refused. What cannot be compared counts as equal."""
    # Not at the top: a start without Patroni need not wait for it.
    from .._auth import verifier  # noqa: PLC0415

    found = []
    for number, login in enumerate((member.superuser, member.replication, member.rewind)):
        kept = verifier.parse(stored[number] or None) if number in stored else verifier.Verifier(verifier.NONE)
        unusable = kept.kind in (verifier.NONE, verifier.INVALID)
        if unusable or verifier.matches(kept, login.password, login.name) is False:
            found.append(Difference(number, login.name))
    return tuple(found)


def told(member: Member, differences: t.Sequence[Difference]) -> str:
    """The sentence for somebody who has to act; empty when there is nothing to do."""
    texts = [
        f"{_VARIABLES[number]} is not the password that the role {role!r} has in the cluster: {_HARM[number]}"
        for number, role in differences
        if not (number == _REWIND and member.rewind_derived)
    ]
    if not texts:
        return ""
    return (
        "; ".join(texts) + ". Bring the file that the variable's …_FILE names up to date and send this container SIGHUP, or give the role "
        "this password again with ALTER ROLE"
    )


def to_be_set(member: Member, differences: t.Sequence[Difference], stored: Stored, role: str) -> str:
    """The statement that gives the role for rewinding the password that is derived; empty unless this member leads and knows it.

    The superuser's must be the cluster's first: it is what the other is derived from.
    """
    numbers = {difference.number for difference in differences}
    if role != "leader" or not member.rewind_derived or _SUPERUSER in numbers or not ({_REWIND} & numbers & set(stored)):
        return ""
    from .._auth import verifier  # noqa: PLC0415 - as above

    name = member.rewind.name.replace('"', '""')
    return f"ALTER ROLE \"{name}\" PASSWORD '{verifier.make(member.rewind.password)}';\n"


def query(member: Member) -> str:
    """Asks for the verifiers: a line ``login NUMBER VERIFIER`` for each role that is there, then ``logins end``."""
    names = [login.name.replace("'", "''") for login in (member.superuser, member.replication, member.rewind)]
    values = ", ".join(f"({number}, '{name}')" for number, name in enumerate(names))
    return (
        "SELECT 'login ' || number || ' ' || coalesce(rolpassword, '') FROM pg_catalog.pg_authid"  # noqa: S608 - quoted
        f" JOIN (VALUES {values}) AS wanted (number, name) ON rolname = name;\nSELECT 'logins end';\n"
    )


class Logins:
    """Asks the member's own server from time to time; says a difference once, and that it is over."""

    def __init__(self, hub: Hub, place: Place, member: Member) -> None:
        self._hub, self._place, self._member = hub, place, member
        self._asking, self._due = 0, 0.0
        self._role = self._said = ""

    def renew(self, member: Member) -> None:
        """Other passwords were given."""
        self._member, self._due = member, 0.0
        if self._role:
            self.look(self._role)

    def look(self, role: str) -> None:
        """Ask, when it is time. ``role``: ``leader`` or ``replica``. Does not wait."""
        if self._asking and self._asking not in self._hub.statuses:
            return
        if (role == self._role and time.monotonic() < self._due) or not statistics.address(self._place.data)[0]:
            return
        self._role, self._due = role, time.monotonic() + INTERVAL_SECONDS
        member, stored = self._member, dict[int, str]()

        def hear(line: bytes) -> None:
            kind, _blank, rest = line.decode("utf-8", "replace").partition(" ")
            number, _blank, text = rest.partition(" ")
            if kind == "login" and number.isdigit():
                stored[int(number)] = text
            elif (kind, rest) == ("logins", "end"):
                self._compare(member, stored, role)

        self._asking = self._run(member, query(member), hear)

    def _compare(self, member: Member, stored: Stored, role: str) -> None:
        differences = differing(member, stored)
        if differences:
            # The server's word comes some seconds before that of whoever corrects it.
            self._due = 0.0
        statement = to_be_set(member, differences, stored, role)
        if statement:
            self._run(member, statement + "SELECT 'set';\n", self._heard_set)
        text, names = told(member, differences), [difference.role for difference in differences]
        if text and text != self._said:
            self._hub.output.say("warning", text, event="login_differs", roles=names)
        elif self._said and not text:
            self._hub.output.say("info", "this member's passwords are those that the cluster's roles have", event="login_agrees")
        self._said = text

    def _heard_set(self, line: bytes) -> None:
        if line == b"set":
            self._hub.output.say(
                "info",
                f"the role {self._member.rewind.name!r} was given the password that follows from the superuser's",
                event="login_derived",
            )
        else:
            self._hub.output.say(
                "warning", f"the password of {self._member.rewind.name!r} was not changed: {line.decode('utf-8', 'replace')}"
            )

    def _run(self, member: Member, script: str, hear: t.Callable[[bytes], None]) -> int:
        return statistics.run_psql(self._hub, self._place, member.superuser.name, script, hear)
