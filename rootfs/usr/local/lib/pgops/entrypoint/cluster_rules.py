# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The access rules that a member's environment asks of its cluster, and what to do when the cluster has others. Pure.

In the dynamic configuration the rules are a list of strings, one a line of pg_hba.conf, marked sections included: the same text that a
file would hold, so that the same engine edits it.
"""

from __future__ import annotations

import hashlib
import typing as t

from .._hba import plan, render
from .._hba.model import Server, Token, decode, encode
from .._hba.spec import RuleSpec, spec_from_line
from . import access
from .member_settings import Member
from .settings import SettingsError

CLUSTER_SECTION = "cluster"
USER_MAP = "pgops"
SYSTEM_USER = "postgres"
"""What the operating system calls our user id in every member; ``peer`` compares it."""


class Rules(t.NamedTuple):
    """What a member's environment asks for."""

    cluster: tuple[str, ...]
    external: tuple[str, ...]
    digest: str
    """Two members that ask for the same have the same one."""


class Verdict(t.NamedTuple):
    """What a member does about the cluster's rules."""

    action: str
    """``nothing``, ``write`` or ``conflict``."""
    others: tuple[str, ...] = ()
    """For a conflict: the members whose environment asks for other rules; empty when it is the cluster's leader who has to act."""


def rules(member: Member, external: t.Sequence[RuleSpec], server: Server) -> Rules:
    """The two sections. Raises SettingsError for an address of CLUSTER_ADDRESSES that is none."""
    superuser, replicator = (Token(login.name, quoted=True) for login in (member.superuser, member.replication))
    loopback = tuple(Token(address) for address in ("127.0.0.1/32", "::1/128"))
    everyone, replication = Token("all"), Token("replication")
    made = [RuleSpec("local", (replication,), (replicator,), method="peer", options=(("map", USER_MAP),))]
    if member.superuser.name != SYSTEM_USER:
        made.append(RuleSpec("local", (everyone,), (superuser,), method="peer", options=(("map", USER_MAP),)))
    made.append(RuleSpec("local", (everyone,), (everyone,), method="scram-sha-256"))
    for databases in ((everyone,), (replication,)):
        made += [RuleSpec("host", databases, (everyone,), address, method="scram-sha-256") for address in loopback]
    for text in member.addresses:
        address = Token(text)
        made.append(RuleSpec("host", (replication,), (replicator,), address, method="scram-sha-256"))
        made.append(RuleSpec("host", (Token("postgres"),), (Token(member.rewind.name, quoted=True),), address, method="scram-sha-256"))
    for rule in made:
        reason = access.refusal(rule, server)
        if reason is not None:
            raise SettingsError("CLUSTER_ADDRESSES", reason)
    cluster, outside = (tuple(render.render_rule(rule, server) for rule in specs) for specs in (made, external))
    digest = hashlib.sha256("\n".join([*cluster, "", *outside]).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return Rules(cluster, outside, digest)


def first_list(wanted: Rules, server: Server) -> list[str]:
    """The whole list of a new cluster. Its first line lets Patroni in, whatever anybody writes below."""
    return merged([f"local all {SYSTEM_USER} peer"], wanted, server)


def merged(lines: t.Sequence[str], wanted: Rules, server: Server) -> list[str]:
    """The list with both sections as they are wanted and everything else as it was. Raises HbaError for a damaged one."""
    content = encode("".join(line + "\n" for line in lines))
    for section, texts in ((CLUSTER_SECTION, wanted.cluster), (access.SECTION, wanted.external)):
        made = tuple(spec_from_line(text, server) for text in texts)
        content = plan.planner(plan.Request(rules=made, section=section), server)(content).after
    return decode(content).splitlines()


def user_map(member: Member, server: Server) -> list[str]:
    """pg_ident.conf: the container's user is the superuser and the replication user over the socket."""
    names = dict.fromkeys([member.superuser.name, member.replication.name])
    return [f"{USER_MAP} {SYSTEM_USER} {render.quote_token(name, 'map', server)}" for name in names]


def judge(own: str, recorded: str | None, leading: bool, others: t.Mapping[str, str | None]) -> Verdict:
    """What to do. ``recorded`` is what the cluster's rules were last made from, ``others`` what the other members ask for (None: unknown).

    Rules change when all members that are there ask for the same: else every failover would open or close access.
    """
    if own == recorded:
        return Verdict("nothing")
    differing = tuple(sorted(name for name, digest in others.items() if digest is not None and digest != own))
    if leading and not differing:
        return Verdict("write")
    return Verdict("conflict" if differing else "nothing", differing)


def readable(lines: object) -> list[str] | None:
    """The list as it was got from the API; None when it is none of strings."""
    return list(lines) if isinstance(lines, list) and lines and all(isinstance(line, str) for line in lines) else None
