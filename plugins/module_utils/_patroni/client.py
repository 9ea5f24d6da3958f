# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Patroni's REST API over the standard library: several members tried in turn, within one time limit.

What the API does is measured, not guessed:

* With the DCS away a member closes the connection without a status; that is retried on the next member, and so is 502 and 503.
* ``GET /config`` answers from what the member saw in its last loop (``api.py: do_GET_config``), which may be ``loop_wait`` seconds old.
  A PATCH reads the DCS itself, and one that changes nothing writes nothing and returns the whole configuration. :meth:`Client.fresh`
  asks in this way, so that a plan is never made from an old configuration.
* A PATCH whose answer is lost may have been done: it is not sent again blindly, but reported as ``OutcomeUnknown``.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import time
import typing as t
import urllib.parse

from .._store import base
from . import errors

NOTHING = "pgops_no_such_key"
"""A key that no configuration has; taking it away changes nothing."""
PAUSE = 0.3
"""Seconds between two rounds over all members."""
LIMIT = 16 * 1024 * 1024
"""Bytes of an answer; a dynamic configuration in etcd is at most 1.5 MB."""


class Access(t.NamedTuple):
    """How to reach a cluster's REST API."""

    urls: tuple[str, ...]
    """One or more members, ``http://host:8008``; a path is ignored."""
    username: str | None = None
    password: str | None = None
    ca_cert: str | None = None
    """CA certificates that the members' certificates are checked with; None: the system's."""
    client_cert: str | None = None
    client_key: str | None = None
    timeout: float = 15.0
    """Seconds that all tries of one request may take together."""
    validate_certs: bool = True


class _Ask(t.NamedTuple):
    """One request."""

    method: str
    path: str
    body: t.Any
    harmless: bool


class Answer(t.NamedTuple):
    """What a member said."""

    status: int
    body: bytes
    url: str

    def json(self) -> t.Any:
        """The body as data. Raises PatroniError for what is no JSON: something else listens there."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise errors.PatroniError(self.url, "does not answer with JSON", "is this Patroni's REST API?") from error


class Client:
    """One cluster. Methods raise :class:`errors.PatroniError` and its kinds."""

    def __init__(self, access: Access) -> None:
        if not access.urls:
            raise errors.PatroniError("patroni", "no URL is given", "name at least one member's REST API, as http://host:8008")
        self.access = access
        self.urls = [_checked(url) for url in access.urls]
        self._context: ssl.SSLContext | None = None

    # ---------------------------------------------------------------------------------------------------------- what modules ask

    def config(self) -> dict[str, t.Any]:
        """The dynamic configuration as the member that answers last saw it; needs no credentials."""
        return self._object(self.request("GET", "/config"))

    def fresh(self) -> dict[str, t.Any]:
        """The dynamic configuration as the DCS holds it now; needs the credentials for writing."""
        return self._object(self.request("PATCH", "/config", {NOTHING: None}, harmless=True))

    def patch(self, change: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Merge into the dynamic configuration; null deletes, lists are replaced. The whole configuration afterwards."""
        return self._object(self.request("PATCH", "/config", change))

    def cluster(self) -> dict[str, t.Any]:
        """``GET /cluster``."""
        return self._object(self.request("GET", "/cluster"))

    def member(self, url: str) -> dict[str, t.Any]:
        """``GET /patroni`` of one member."""
        return self._object(self.request("GET", "/patroni", only=url))

    def reload(self, url: str) -> None:
        """Have one member write its files again and reload its server."""
        self.request("POST", "/reload", only=url, harmless=True)

    # ------------------------------------------------------------------------------------------------------------------ requests

    def request(
        self, method: str, path: str, body: t.Any = None, *, only: str | None = None, harmless: bool = False, timeout: float | None = None
    ) -> Answer:
        """One request, tried on each member in turn until one answers it or the time is over.

        ``harmless``: sending it twice does no more than once, so a lost answer is no reason to stop.
        """
        urls = self.urls if only is None else [_checked(only)]
        deadline = time.monotonic() + (self.access.timeout if timeout is None else timeout)
        problems: dict[str, str] = {}
        while True:
            for url in urls:
                problem = self._try(url, _Ask(method, path, body, harmless or method == "GET"), deadline)
                if isinstance(problem, Answer):
                    return problem
                problems[url] = problem
            if time.monotonic() + PAUSE >= deadline:
                break
            time.sleep(PAUSE)
        reasons = "; ".join(f"{url}: {problem}" for url, problem in problems.items())
        raise errors.Unreachable(
            f"{method} {path}", f"no member answers: {reasons}", "check the URLs, the members, and the DCS behind them"
        )

    def _try(self, url: str, ask: _Ask, deadline: float) -> Answer | str:
        """The answer, or why this member has none."""
        method, path = ask.method, ask.path
        left = max(deadline - time.monotonic(), 1.0)
        parts = urllib.parse.urlsplit(url)
        connection = self._connection(parts, min(left, max(self.access.timeout / 2, 2.0)))
        sent = False
        try:
            connection.connect()
            sent = True
            connection.request(method, path, *self._message(ask.body))
            reply = connection.getresponse()
            answer = Answer(reply.status, reply.read(LIMIT), url)
        except ssl.SSLCertVerificationError as error:
            raise errors.Forbidden(
                url, f"its certificate does not hold: {error.verify_message}", "give the CA's file as ca_cert"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            if sent and not ask.harmless:
                reason = f"{method} {path} was sent, and the answer never came: {_reason(error)}"
                raise errors.OutcomeUnknown(url, reason, "run again, which looks at what is there first") from error
            return _reason(error)
        finally:
            connection.close()
        return self._judged(answer, method, path)

    @staticmethod
    def _judged(answer: Answer, method: str, path: str) -> Answer | str:
        """An answer that settles it, or why the next member is to be asked; raises where no member would say otherwise."""
        what = f"{method} {path}"
        detail = answer.body[:300].decode("utf-8", "replace").strip()
        if answer.status == 401:
            raise errors.Forbidden(answer.url, f"refuses {what}: wrong or missing user name and password", "see restapi.authentication")
        if answer.status == 403:
            raise errors.Forbidden(answer.url, f"refuses {what}: {detail}", "see verify_client and allowlist of its restapi")
        if answer.status == 409:
            raise base.StoreConflict(answer.url, f"{what}: somebody else wrote at the same moment", "run again")
        if answer.status in (200, 202):
            return answer
        if answer.status in (502, 503):
            return f"status {answer.status}: the DCS does not answer, or it holds no configuration of this cluster"
        raise errors.PatroniError(answer.url, f"{what}: status {answer.status} {detail}", "is this Patroni's REST API?")

    def _message(self, body: t.Any) -> tuple[bytes | None, dict[str, str]]:
        headers = {"Accept": "application/json", "Connection": "close"}
        if self.access.username is not None:
            pair = f"{self.access.username}:{self.access.password or ''}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode("ascii")
        if body is None:
            return None, headers
        return json.dumps(body).encode(), {**headers, "Content-Type": "application/json"}

    def _connection(self, parts: urllib.parse.SplitResult, timeout: float) -> http.client.HTTPConnection:
        if parts.scheme == "http":
            return http.client.HTTPConnection(t.cast(str, parts.hostname), parts.port, timeout=timeout)
        if self._context is None:
            self._context = self._tls()
        return http.client.HTTPSConnection(t.cast(str, parts.hostname), parts.port, timeout=timeout, context=self._context)

    def _tls(self) -> ssl.SSLContext:
        access = self.access
        try:
            context = ssl.create_default_context(cafile=access.ca_cert)
        except (OSError, ssl.SSLError) as error:
            raise errors.PatroniError(str(access.ca_cert), f"ca_cert cannot be read: {_reason(error)}", "give a PEM file") from error
        if not access.validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if access.client_cert is not None:
            try:
                context.load_cert_chain(access.client_cert, access.client_key, password=_no_password)
            except (OSError, ssl.SSLError) as error:
                raise errors.PatroniError(access.client_cert, f"client_cert or client_key: {_reason(error)}", "give PEM files") from error
        return context

    @staticmethod
    def _object(answer: Answer) -> dict[str, t.Any]:
        found = answer.json()
        if not isinstance(found, dict):
            raise errors.PatroniError(answer.url, f"answers with {type(found).__name__}, not an object", "is this Patroni's REST API?")
        return found


def _checked(url: str) -> str:
    """A URL without its path. Raises PatroniError."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise errors.PatroniError(repr(url), f"is no URL: {error}", "give http://host:8008 or https://host:8008") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or any(sign <= " " for sign in url):
        raise errors.PatroniError(repr(url), "is no URL of a REST API", "give http://host:8008 or https://host:8008")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")


def _no_password() -> str:
    """OpenSSL would ask on the terminal for an encrypted key's passphrase."""
    return ""


def _reason(error: BaseException) -> str:
    """A low-level error in words."""
    if isinstance(error, http.client.RemoteDisconnected):
        return "it closed the connection without an answer, as Patroni does when it cannot reach its DCS"
    if isinstance(error, socket.timeout):
        return "no answer in time"
    return " ".join(str(error).split()) or type(error).__name__
