# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches over the cluster's access rules as one member's environment asks for them; a small process of its own beside Patroni.

Tells PID 1 when the member begins to lead or to follow, and in JSON lines on stdout what it does. It writes only while its member leads,
only when the other members that are there ask for the same, and only when the environment differs from the one that the rules were last
made from: whoever changes the rules in the dynamic configuration is not contradicted.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import sys
import time
import typing as t
import urllib.error
import urllib.request

from .._hba.errors import HbaError
from .._hba.model import Server
from . import cluster_rules

INTERVAL_SECONDS = 5.0
_TIMEOUT_SECONDS = 5.0


class Rest:
    """The member's own REST API."""

    def __init__(self, url: str, login: t.Sequence[str], ctl: t.Mapping[str, str]) -> None:
        self._url = url
        self._header = "Basic " + base64.b64encode(":".join(login).encode("utf-8", "surrogateescape")).decode("ascii")
        handlers: list[t.Any] = [urllib.request.ProxyHandler({})]
        if url.startswith("https:"):
            # Our own process on our own loopback: the certificate names other names than this one.
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if ctl.get("certfile"):
                context.load_cert_chain(ctl["certfile"], ctl.get("keyfile") or None, ctl.get("keyfile_password") or None)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def status(self, path: str) -> int:
        """The status code of a GET."""
        try:
            with self._opener.open(self._url + path, timeout=_TIMEOUT_SECONDS) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def get(self, path: str) -> dict[str, t.Any]:
        """The object that a GET returns. Raises OSError, ValueError."""
        with self._opener.open(self._url + path, timeout=_TIMEOUT_SECONDS) as answer:
            found = json.load(answer)
        if not isinstance(found, dict):
            raise ValueError(f"{path} is no object")
        return found

    def patch(self, content: t.Mapping[str, t.Any]) -> None:
        """PATCH /config. Raises OSError."""
        request = urllib.request.Request(self._url + "/config", json.dumps(content).encode(), method="PATCH")  # noqa: S310 - http(s) only
        request.add_header("Authorization", self._header)
        request.add_header("Content-Type", "application/json")
        with self._opener.open(request, timeout=_TIMEOUT_SECONDS):
            pass


class Watch:
    """One member's wish, compared again and again with what the cluster has; says a thing once."""

    def __init__(self, rest: Rest, name: str, wanted: cluster_rules.Rules, server: Server) -> None:
        self._rest, self._name, self._wanted, self._server = rest, name, wanted, server
        self._said: str = ""

    def once(self) -> None:
        """Look, and act when it is time. Raises OSError, ValueError."""
        self._tell_role()
        config = self._rest.get("/config")
        recorded = config.get("pgops", {}).get("external_access") if isinstance(config.get("pgops"), dict) else None
        leading = self._rest.status("/leader") == 200
        others: dict[str, str | None] = {}
        if recorded != self._wanted.digest:
            members = self._rest.get("/cluster").get("members", [])
            others = {str(m.get("name")): (m.get("tags") or {}).get("external_access") for m in members if m.get("name") != self._name}
        verdict = cluster_rules.judge(self._wanted.digest, recorded, leading, others)
        if verdict.action == "conflict":
            self._say(
                "warning",
                "this member's environment asks for other access rules than the cluster has; the cluster's stay until every member asks "
                f"for the same (different: {', '.join(verdict.others)})",
                event="access_conflict",
                members=list(verdict.others),
            )
        elif verdict.action == "write":
            self._write(config)
        else:
            self._said = ""

    def _tell_role(self) -> None:
        """With the leader's lock a new cluster is made; a replica that runs has its copy of everything. Told in each round."""
        shown = self._rest.get("/patroni")
        if shown.get("state") != "running":
            return
        role = "leader" if self._rest.status("/leader") == 200 else str(shown.get("role", ""))
        if role in ("leader", "replica"):
            sys.stdout.write(json.dumps({"event": "role", "role": role}) + "\n")
            sys.stdout.flush()

    def _write(self, config: t.Mapping[str, t.Any]) -> None:
        section = config.get("postgresql")
        before = cluster_rules.readable(section.get("pg_hba") if isinstance(section, dict) else None)
        if before is None:
            self._say(
                "warning",
                "the cluster's dynamic configuration has no list postgresql.pg_hba, so this environment's access rules are not in force; "
                "put the rules that hold today there, and they are added",
                event="access_not_managed",
            )
            return
        try:
            after = cluster_rules.merged(before, self._wanted, self._server)
        except HbaError as error:
            self._say("error", f"the cluster's access rules cannot be changed: {error}", event="access_not_managed")
            return
        try:
            self._rest.patch({"postgresql": {"pg_hba": after}, "pgops": {"external_access": self._wanted.digest}})
        except urllib.error.HTTPError as error:
            if error.code not in (401, 403):
                raise
            self._say(
                "error",
                f"the cluster's access rules cannot be changed: this member's own REST API refuses our login ({error.code}); "
                "does a file of /etc/pgops/patroni set restapi.authentication?",
                event="access_not_managed",
            )
            return
        kept = self._rest.get("/config")
        if kept.get("postgresql", {}).get("pg_hba") != after:
            self._say("warning", "somebody else changed the access rules at the same moment; they are looked at again")
            return
        self._say(
            "info",
            "the cluster's access rules were changed to what this environment asks for",
            event="access_reconciled",
            removed=[line for line in before if line not in after],
            added=[line for line in after if line not in before],
        )

    def _say(self, level: str, message: str, **fields: t.Any) -> None:
        text = json.dumps({"level": level, "message": message, **fields})
        if text != self._said:
            self._said = text
            sys.stdout.write(text + "\n")
            sys.stdout.flush()


def load(path: str) -> Watch:
    """What PID 1 has written. Raises OSError, ValueError."""
    with open(path, encoding="utf-8") as file:
        told = json.load(file)
    cluster, external, digest = told["rules"]
    wanted = cluster_rules.Rules(tuple(cluster), tuple(external), digest)
    return Watch(Rest(told["url"], told["login"], told["ctl"]), told["name"], wanted, Server(told["major"]))


def run(path: str) -> None:
    """Watch until the container ends. PID 1 writes the file anew when secrets are renewed."""
    watch, written = load(path), os.stat(path).st_mtime_ns
    while True:
        time.sleep(INTERVAL_SECONDS)
        try:
            if os.stat(path).st_mtime_ns != written:
                watch, written = load(path), os.stat(path).st_mtime_ns
            watch.once()
        except (OSError, ValueError, AttributeError):
            # Not up yet, or the store is away (Patroni then answers nothing at all): the next round asks again.
            continue
