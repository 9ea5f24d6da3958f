# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody should do about lines of Patroni's log that do not say it. Pure."""

from __future__ import annotations

import re
import typing as t

_OTHER_CLUSTER = re.compile(r"system ID mismatch, node \S+ belongs to a different cluster: (\d+) != (\d+)")
_NO_STORE = ("Can not get cluster from dcs", "waiting on etcd", "waiting on DCS")
_REFUSED_BY_STORE = re.compile(
    r"(?i)authentication (failed|is not possible)|permission denied|user name is empty|certificate verify failed"
)
_NOT_STARTED = re.compile(r"could not load \S*pg_hba\.conf")
_NOT_RELOADED = re.compile(r"pg_hba\.conf was not reloaded")
_LOGIN_REFUSED = re.compile(r"password authentication failed for user \"((?:[^\"\n]|\"\")+)\"")
_FOLLOWS = "started streaming WAL from primary"
_LOOKED = "primary_timeline="
_REFUSED_ROLE = (
    ("PATRONI_REPLICATION_PASSWORD_FILE", "it does not follow"),
    ("PATRONI_REWIND_PASSWORD_FILE", "whether it has to be rewound cannot be found out"),
)
RUNNING = "running"
WAITING = "Patroni waits for the distributed store, which does not answer or has no quorum"
REFUSED = "the distributed store refuses Patroni's user name, password or certificate"


class Notice(t.NamedTuple):
    """What to say, and what the health check is told; an empty text says nothing."""

    level: str
    text: str
    event: str
    phase: str


class Notices:
    """Reads one member's lines in order; says each thing once until it changes."""

    def __init__(self, scope: str, data: str) -> None:
        self.fatal = False
        """Whether the member can never join as it is."""
        self._scope, self._data = scope, data
        self._begun = False
        """Whether Patroni has come to its first look at the cluster; what the store does later is for the health check's own questions."""
        self._phase = RUNNING
        self._refused: list[str] = []
        self._not_rewound: list[str] = []

    @property
    def remark(self) -> str:
        """For the health check's text: a member that follows nobody runs all the same."""
        return f"the primary refuses the password of {', '.join(self._refused)}" if self._refused else ""

    def of(self, record: t.Mapping[str, t.Any]) -> Notice | None:
        """What this line means for somebody; None for most."""
        message = str(record.get("message", ""))
        if record.get("source") == "postgresql":
            return self._login(message, rewinding=False) if record.get("backend") == "walreceiver" else _about_rules(message)
        if record.get("source") != "patroni":
            return None
        login = self._login(f"{message} {record.get('exc_info', '')}", rewinding=_rewinding(record, message))
        if login is not None:
            return login
        found = _OTHER_CLUSTER.search(message)
        if found:
            self.fatal = True
            text = (
                f"the data in {self._data} belong to another cluster: their system identifier is {found[2]}, and that of PATRONI_SCOPE="
                f"{self._scope} is {found[1]}. Neither was changed. Start with an empty volume to join {self._scope}, or give these data a "
                "scope of their own"
            )
            return Notice("error", text, "other_cluster", "")
        return self._store(message, str(record.get("logger", "")))

    def _store(self, message: str, logger: str) -> Notice | None:
        if logger == "patroni.ha" and not self._begun:
            self._begun = True
            return self._enter(RUNNING, "the distributed store answers", "info")
        if logger.startswith("patroni.dcs") and _REFUSED_BY_STORE.search(message):
            return self._enter(
                REFUSED, f"{REFUSED}: check PATRONI_ETCD3_USERNAME, PATRONI_ETCD3_PASSWORD_FILE and the certificates", "error"
            )
        if message.startswith(_NO_STORE) and self._phase == RUNNING and not self._begun:
            return self._enter(WAITING, f"{WAITING}: check PATRONI_ETCD3_HOSTS and the store's own health; Patroni asks again", "error")
        return None

    def leads(self) -> None:
        """There is no other primary that could refuse anything."""
        self._refused.clear()
        self._not_rewound.clear()

    def _login(self, message: str, rewinding: bool) -> Notice | None:
        """What the primary answers to this member, told once a role until it is another answer."""
        found = _LOGIN_REFUSED.search(message)
        refused = self._not_rewound if rewinding else self._refused
        if found and found[1] not in refused:
            refused.append(found[1])
            variable, harm = _REFUSED_ROLE[rewinding]
            text = (
                f"the primary refuses the password that this member has for the role {found[1]!r}: {harm}. Bring the file that {variable} "
                "names up to date and send this container SIGHUP; nothing has to be restarted"
            )
            return Notice("error", text, "login_refused", "")
        if message.startswith(_FOLLOWS) and (self._refused or self._not_rewound):
            self.leads()
            return Notice("info", "the primary lets this member in; it follows", "login_accepted", "")
        if rewinding and message.startswith(_LOOKED) and self._not_rewound:
            self._not_rewound.clear()
            return Notice("info", "the primary lets this member in, so it can be rewound", "login_accepted", "")
        return None

    def _enter(self, phase: str, text: str, level: str) -> Notice | None:
        if phase == self._phase:
            return None
        self._phase = phase
        return Notice(level, text, "store", "" if self._begun and phase != RUNNING else phase)


def _rewinding(record: t.Mapping[str, t.Any], message: str) -> bool:
    """Whether Patroni speaks of the connection for rewinding, or pg_rewind does; the rest of its own is for replication."""
    return (record.get("logger") == "patroni.postgresql.rewind" and "replication connection" not in message) or "pg_rewind:" in message


def _about_rules(message: str) -> Notice | None:
    """A start ends there, a reload keeps what it had."""
    rules = "the cluster's dynamic configuration holds access rules that PostgreSQL does not load; its lines above name them"
    remedy = "correct them for the whole cluster (pgops.access.pg_hba with patroni and exclusive, or patronictl edit-config)"
    if _NOT_STARTED.search(message):
        return Notice("error", f"{rules}; {remedy}, and this member starts by itself", "rules_not_loaded", "")
    if _NOT_RELOADED.search(message):
        return Notice("error", f"{rules}; it keeps the rules that it had, and would not start with these: {remedy}", "rules_not_loaded", "")
    return None
