# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""What an administrator should know before, and after, a change of method. Pure."""

from __future__ import annotations

import typing as t

from . import planner, verifier
from .pgbouncer import AuthFile
from .planner import Login

ERROR, WARNING, NOTICE = "error", "warning", "notice"


class Finding(t.NamedTuple):
    """Something about roles, poolers, clients or settings."""

    code: str
    severity: str
    """``error``, ``warning`` or ``notice``."""
    roles: tuple[str, ...]
    """Whom it is about; empty: everybody."""
    reason: str
    remedy: str

    def as_dict(self) -> dict[str, t.Any]:
        """JSON-able."""
        return {**self._asdict(), "roles": list(self.roles)}


class Seen(t.NamedTuple):
    """A role's logins by one method from one address, as the logs tell them."""

    role: str
    method: str
    """The rule's."""
    address: str | None
    times: int
    last: float | None
    """Seconds since 1970."""


def of_roles(logins: t.Sequence[Login], iterations: int) -> list[Finding]:
    """Stored passwords that will be in the way some day. ``iterations``: what the server would use for a new one."""
    found = []
    invalid = tuple([role.name for role in logins if role.verifier.kind == verifier.INVALID])
    if invalid:
        found.append(
            Finding(
                "invalid_password",
                WARNING,
                invalid,
                f"what is stored as the password of {few(invalid)} is neither md5 nor SCRAM, so no password lets them in",
                "set a new password",
            )
        )
    dormant = tuple([role.name for role in logins if role.verifier.kind == verifier.MD5 and (role.barred or role.expired)])
    if dormant:
        found.append(
            Finding(
                "dormant_md5",
                NOTICE,
                dormant,
                f"{few(dormant)} cannot log in today (NOLOGIN, expired, or a connection limit of 0) and so hold nothing back, but their "
                "stored passwords are md5",
                "give them a new password when they are to come back",
            )
        )
    weak = tuple([role.name for role in logins if role.verifier.iterations is not None and role.verifier.iterations < iterations])
    if weak:
        found.append(
            Finding(
                "few_iterations",
                NOTICE,
                weak,
                f"the SCRAM verifiers of {few(weak)} have fewer iterations than the {iterations} that the server would use now",
                "set a new password when that matters",
            )
        )
    return found


def of_pooler(file: AuthFile, name: str, logins: t.Sequence[Login], will_be_scram: t.Container[str]) -> list[Finding]:
    """What a PgBouncer's ``auth_file`` means for it. ``will_be_scram``: roles that the task gives a SCRAM verifier."""
    by_name = {role.name: role for role in logins}
    md5 = [entry for entry in file.entries if entry.kind == verifier.MD5]
    broken = tuple([entry.user for entry in md5 if _kind(by_name, entry.user) == verifier.SCRAM])
    coming = tuple([entry.user for entry in md5 if _kind(by_name, entry.user) == verifier.MD5])
    now = tuple([user for user in coming if user in will_be_scram])
    later = tuple([user for user in coming if user not in will_be_scram])
    remedy = "put the clear password or the server's own SCRAM verifier there, or use auth_query, and reload PgBouncer"
    found = []
    for code, severity, users, reason in (
        ("pooler_md5_broken", ERROR, broken, "their stored passwords are SCRAM, so PgBouncer cannot log in to the server as them"),
        ("pooler_md5_in_the_way", ERROR, now, "PgBouncer will not be able to log in as them once their stored passwords are SCRAM"),
        ("pooler_md5", WARNING, later, "they have to change before, or together with, the stored passwords"),
    ):
        if users:
            found.append(Finding(code, severity, users, f"{name} holds md5 entries for {few(users)}: {reason}", remedy))
    if file.unreadable:
        lines = ", ".join(str(line) for line in file.unreadable[:5])
        found.append(Finding("pooler_unreadable", NOTICE, (), f"{name} holds lines that are no entries: {lines}", "correct them"))
    return found


def _kind(roles: t.Mapping[str, Login], name: str) -> str | None:
    return roles[name].verifier.kind if name in roles else None


def of_logs(seen: t.Sequence[Seen], refused: t.Mapping[str, int], logins: t.Sequence[Login]) -> list[Finding]:
    """Clients that spoke md5 over the wire (an md5 rule runs SCRAM for SCRAM verifiers), and those whom scram-sha-256 refused."""
    md5 = {role.name for role in logins if role.verifier.kind == verifier.MD5}
    wire: dict[str, set[str]] = {}
    for one in seen:
        if one.method == "md5" and one.role in md5:
            wire.setdefault(one.role, set()).add(one.address or "the Unix socket")
    found = []
    for role, places in sorted(wire.items()):
        found.append(
            Finding(
                "md5_on_the_wire",
                WARNING,
                (role,),
                f"{role} logged in with md5 over the wire, from {few(sorted(places))}",
                "see that the clients there know SCRAM (libpq 10, pgJDBC 42.2 and later) before its stored password becomes SCRAM",
            )
        )
    shut_out = tuple(sorted(role for role in refused if role in md5))
    if shut_out:
        found.append(
            Finding(
                "refused_by_scram",
                ERROR,
                shut_out,
                f"a scram-sha-256 rule refused {few(shut_out)}, whose stored passwords are md5",
                "give their passwords, or change the rule back until you can",
            )
        )
    return found


def of_target(request: planner.Request) -> list[Finding]:
    """What the target method itself calls for."""
    if request.to == "trust":
        return [Finding("trust", WARNING, (), "trust lets everybody in who can name a role", "use it nowhere but on a private socket")]
    if request.vouched and request.to not in planner.PASSWORD_METHODS:
        reason = f"that clients can do what {request.to} asks for is vouched for by the task, not proved"
        return [Finding("vouched", NOTICE, (), reason, "check it with pg_access_check from where the clients are")]
    return []


def few(names: t.Sequence[str], most: int = 5) -> str:
    """Some names, and how many more there are."""
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"


def of_audit(audit: planner.Audit) -> list[Finding]:
    """Roles that a rule refuses today although they have a password: md5 verifiers under scram-sha-256."""
    out = [
        verdict.role.name
        for verdict in audit.roles
        if verdict.role.verifier.kind == verifier.MD5
        and not verdict.role.expired
        and any(audit.rules[at].rule.method == "scram-sha-256" for at in verdict.rules)
    ]
    if not out:
        return []
    reason = f"scram-sha-256 rules refuse {few(out)}, whose stored passwords are md5, with the message of a wrong password"
    return [Finding("shut_out_now", ERROR, tuple(out), reason, "give their passwords to this module, or set new ones")]
