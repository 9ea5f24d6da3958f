# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""From evidence to a verdict: which outcome, which methods the rule can have, and whether that is what was expected. Pure.

Error texts and codes: PostgreSQL 12 to 18, ``src/backend/libpq/auth.c`` (ClientAuthentication, auth_failed),
``src/backend/utils/init/{postinit,miscinit}.c``, ``src/backend/tcop/backend_startup.c``; each asked of real servers by
tests/integration/pg_access_check. Where the server's messages are translated, SQLSTATE and the name of the C function still tell
most outcomes; what only the text tells becomes ``denied``.
"""

from __future__ import annotations

import typing as t

from .conversation import Evidence

METHODS = (
    "trust",
    "reject",
    "password",
    "md5",
    "scram-sha-256",
    "ident",
    "peer",
    "cert",
    "gss",
    "sspi",
    "pam",
    "ldap",
    "bsd",
    "radius",
    "oauth",
)
"""Names of pg_hba.conf's methods, 12 to 18."""

OUTCOMES: dict[str, str] = {
    "allowed": "logged in",
    "asked": "a rule lets this client authenticate; the check had no password, or cannot do this method, and stopped there",
    "no_entry": "no rule of pg_hba.conf is for this client",
    "tls_required": "no rule is for this client without TLS, but one is with TLS",
    "tls_forbidden": "no rule is for this client with TLS, but one is without TLS",
    "rejected": "a reject rule of pg_hba.conf refused this client",
    "denied": "the server refused this client in a language that the check cannot read: no entry, or rejected",
    "wrong_password": "the password is wrong or expired, or there is no such role, or it has no password that fits the method",
    "authentication_failed": "the method that the rule names refused this client's identity",
    "certificate_required": "the rule wants a client certificate and none was sent",
    "certificate_refused": "the server did not accept the client certificate",
    "unknown_role": "there is no such role",
    "may_not_log_in": "the role exists, but has no LOGIN",
    "may_not_replicate": "the role exists, but has no REPLICATION",
    "unknown_database": "there is no such database",
    "database_forbidden": "the role has no CONNECT privilege on the database",
    "database_closed": "the database accepts no connections",
    "too_many_connections": "the server, the database or the role has no connection left",
    "starting_up": "the server is starting up or recovering",
    "shutting_down": "the server is shutting down",
    "tls_not_offered": "the server offers no TLS",
    "tls_failed": "TLS could not be agreed upon",
    "server_not_trusted": "the server's certificate is not one to trust",
    "gss_not_offered": "the server offers no GSSAPI encryption",
    "gss_offered": "the server offers GSSAPI encryption, which this check cannot speak: the rule is not known",
    "connection_refused": "nothing listens there",
    "timed_out": "no answer in time",
    "unreachable": "there is no way to that address",
    "unknown_host": "the host name cannot be resolved",
    "no_socket": "there is no such Unix socket",
    "socket_forbidden": "this system user may not use the Unix socket",
    "closed": "the connection was closed without an answer",
    "protocol_error": "what answers there is not PostgreSQL",
    "server_error": "the server refused the session for another reason; see its message",
    "skipped": "the address is not one of this machine, and address_elsewhere is skip",
    "not_checked": "the total time limit came first",
}
"""Every outcome and what it means, in words."""

RULE_REACHED = frozenset(
    {
        "allowed",
        "asked",
        "wrong_password",
        "authentication_failed",
        "certificate_required",
        "unknown_role",
        "may_not_log_in",
        "may_not_replicate",
        "unknown_database",
        "database_forbidden",
        "database_closed",
    }
)
"""Outcomes which show that a rule other than reject is for the client."""

GROUPS: dict[str, frozenset[str]] = {
    "no_entry": frozenset({"no_entry", "tls_required", "tls_forbidden"}),
    "refused": frozenset({"no_entry", "tls_required", "tls_forbidden", "rejected", "denied"}),
    "unreachable": frozenset({"unreachable", "connection_refused", "timed_out"}),
}
"""Expectations that several outcomes meet."""

FAILURES = {
    "timed_out": "timed_out",
    "connection_refused": "connection_refused",
    "unreachable": "unreachable",
    "unknown_host": "unknown_host",
    "no_socket": "no_socket",
    "socket_forbidden": "socket_forbidden",
    "closed": "closed",
    "protocol_error": "protocol_error",
    "server_not_trusted": "server_not_trusted",
    "tls_failed": "tls_failed",
    "tls_alert": "tls_failed",
    "not_checked": "not_checked",
}
"""Why a conversation ended without the server's verdict → outcome."""

_BY_SQLSTATE = {
    "28P01": "wrong_password",
    "3D000": "unknown_database",
    "53300": "too_many_connections",
    "55000": "database_closed",
}

_ASKED_BY = {
    "password": ("password", "ldap", "pam", "radius", "bsd"),
    "md5": ("md5",),
    "scram-sha-256": ("scram-sha-256", "md5"),
    "oauth": ("oauth",),
    "gss": ("gss",),
    "sspi": ("sspi",),
}
"""What the server asks on the wire → the methods of pg_hba.conf that ask it, the likeliest first."""

_FAILED_METHODS = {
    "peer": "peer",
    "ident": "ident",
    "certificate": "cert",
    "gssapi": "gss",
    "sspi": "sspi",
    "pam": "pam",
    "bsd": "bsd",
    "ldap": "ldap",
    "radius": "radius",
    "oauth": "oauth",
    '"trust"': "trust",
}
"""First word of "… authentication failed for user" → method."""


NEXT: dict[str, str] = {
    "allowed": "see which rule lets it in: pgops.access.pg_hba_info with this client, or the server's log_connections line",
    "asked": "give the client's password, so that the login itself is tried; or see which rule decides with pgops.access.pg_hba_info",
    "no_entry": "add a rule for this user, database, address and transport, or correct the address: behind address translation the server "
    "sees another one, named in its message",
    "tls_required": "connect with transport tls, or add a rule of type host",
    "tls_forbidden": "connect with transport tcp, or change the rule from hostnossl to host or hostssl",
    "rejected": "find the reject rule above the one you mean with pgops.access.pg_hba_info; the first rule that fits decides",
    "denied": "set lc_messages to C on the server, or read its message",
    "wrong_password": "the server's log names the reason in its DETAIL line; check that the role exists, VALID UNTIL, and that an MD5 "
    "password does not meet a scram-sha-256 rule",
    "authentication_failed": "the server's log names the rule and the identity it got; check pg_ident.conf and the rule's map",
    "certificate_required": "give ssl_cert and ssl_key",
    "certificate_refused": "check that the certificate is valid now and signed by an authority in the server's ssl_ca_file",
    "unknown_role": "create the role, or correct the name",
    "may_not_log_in": "ALTER ROLE … LOGIN, or use a role that may",
    "may_not_replicate": "ALTER ROLE … REPLICATION, or use a role that may",
    "unknown_database": "create the database, or correct the name; without a name PostgreSQL takes the user's",
    "database_forbidden": "GRANT CONNECT ON DATABASE",
    "database_closed": "see datallowconn in pg_database",
    "too_many_connections": "see max_connections, CONNECTION LIMIT of role and database, and pg_stat_activity",
    "starting_up": "wait, then try again; if it stays, see the server's log",
    "shutting_down": "see who stops the server",
    "tls_not_offered": "set ssl = on with a certificate on the server; an unreadable key keeps TLS off after a reload, see its log",
    "tls_failed": "compare ssl_min_protocol_version and the ciphers of both sides",
    "server_not_trusted": "give the authority that signed the server's certificate as ca_cert, and the name in the certificate as the host",
    "gss_not_offered": "the server is built without GSSAPI",
    "gss_offered": "try it with psql and gssencmode=require",
    "connection_refused": "check that the server runs, its port, listen_addresses, and that a container's port is published",
    "timed_out": "look for a firewall that drops packets, a wrong address, or a server that hangs",
    "unreachable": "check routes, firewalls and whether this machine has an address of that family",
    "unknown_host": "correct the name, or give the address",
    "no_socket": "check that the server runs here, its port and unix_socket_directories",
    "socket_forbidden": "become a system user that may use the socket, see unix_socket_permissions",
    "closed": "something between may have closed it: a proxy, a published port without a server behind it, or the server's log knows",
    "protocol_error": "check host and port",
    "server_error": "see the server's log",
    "not_checked": "raise total_timeout or parallel",
}
"""What to look at when an outcome was not the expected one."""


def expectations() -> list[str]:
    """Every word that ``expect`` may be, sorted."""
    return sorted({*METHODS, *OUTCOMES, *GROUPS} - {"skipped", "not_checked"})


def outcome(evidence: Evidence) -> str:
    """The one outcome that the evidence shows, of :data:`OUTCOMES`; the other transport is not considered here."""
    if evidence.logged_in:
        return "allowed"
    if evidence.error is not None:
        return _refusal(evidence)
    if evidence.failure is not None:
        return _failure(evidence)
    if evidence.stage == "encrypt":
        if evidence.transport == "gss":
            return "gss_offered" if evidence.encryption_answer == "G" else "gss_not_offered"
        return "tls_not_offered"
    return "asked"


def _failure(evidence: Evidence) -> str:
    # Under TLS 1.3 the server judges our certificate after our handshake is done: an alert, or its connection simply ends.
    after_tls = evidence.stage in ("encrypt", "authenticate") and not evidence.requests
    if evidence.sent_certificate and after_tls and evidence.failure in ("tls_alert", "closed"):
        return "certificate_refused"
    return FAILURES.get(evidence.failure or "", "protocol_error")


def _refusal(evidence: Evidence) -> str:
    error = evidence.error
    if error is None:
        return "server_error"
    if error.sqlstate in _BY_SQLSTATE:
        return _BY_SQLSTATE[error.sqlstate]
    if error.sqlstate == "57P03":
        return "shutting_down" if "shutting down" in error.message else "starting_up"
    if error.sqlstate == "42501":
        return "database_forbidden" if error.routine == "CheckMyDatabase" else "may_not_replicate"
    if error.sqlstate == "28000":
        return _invalid_authorization(error.message, error.routine)
    return "server_error"


def _invalid_authorization(message: str, routine: str) -> str:
    """28000 has many meanings: how the text begins and ends (names stand in the middle), the C function where it is translated."""
    if message.startswith("no pg_hba.conf entry"):
        return "no_entry"
    if message.startswith("pg_hba.conf rejects"):
        return "rejected"
    if message.startswith("role ") and message.endswith("is not permitted to log in"):
        return "may_not_log_in"
    if message.startswith("role ") and message.endswith("does not exist"):
        return "unknown_role"
    if routine == "ClientAuthentication":
        return "denied" if "pg_hba.conf" in message else "certificate_required"
    if routine == "auth_failed" or " authentication failed for user " in message:
        return "authentication_failed"
    return "server_error"


def methods(evidence: Evidence, result: str, user_is_os_user: bool = False) -> tuple[str, ...]:
    """The rule's possible methods, the likeliest first; empty where no rule was reached or the wire does not tell.

    ``method`` of a result is the first. What narrows them: the server's request, its message, and from 16 on ``system_user``.
    A rule ``md5`` runs SCRAM for a role whose stored password is SCRAM, so both stay possible below 16.
    """
    if result in ("rejected",):
        return ("reject",)
    if evidence.requests:
        return _narrowed(_ASKED_BY.get(evidence.requests[0], ()), evidence)
    if evidence.error is not None and result == "authentication_failed":
        word = evidence.error.message.partition(" ")[0].lower()
        return (_FAILED_METHODS[word],) if word in _FAILED_METHODS else ()
    if evidence.authenticated:
        return _narrowed(_silent(evidence, user_is_os_user), evidence)
    return ()


def requests_for(expect: str | None) -> frozenset[str] | None:
    """What the server may ask for when ``expect`` is a method; None: anything. No password goes to a server that asks by a weaker one."""
    if expect not in METHODS:
        return None
    return frozenset(request for request, possible in _ASKED_BY.items() if expect in possible)


def _silent(evidence: Evidence, user_is_os_user: bool) -> tuple[str, ...]:
    """Methods that let a client in without asking it anything."""
    if evidence.transport == "local":
        return ("peer", "trust") if user_is_os_user else ("trust", "peer")
    if evidence.transport == "tls" and evidence.sent_certificate:
        return ("cert", "trust", "ident")
    return ("trust", "ident")


def _narrowed(candidates: tuple[str, ...], evidence: Evidence) -> tuple[str, ...]:
    """Candidates after what ``system_user`` says; the exchange that really happened stays first."""
    if not evidence.identity_known:
        return candidates
    if evidence.identity is None:  # nothing was authenticated: trust
        return ("trust",) if "trust" in candidates else candidates
    said = evidence.identity.partition(":")[0]
    if candidates[:1] == ("scram-sha-256",) and said == "md5":
        return ("scram-sha-256", "md5")
    return (said,)


def meets(expect: str, result: str, possible: t.Sequence[str], password_given: bool, otherwise_let_in: bool = False) -> bool:
    """True when the outcome is what ``expect`` says.

    A method is met when the rule has it and the client got in, or was asked for what the method needs and the check stopped there.
    ``allowed`` is met by ``asked`` only when no password was given: then the rule was the question, not the login.
    ``otherwise_let_in``: the same client is let in over the other transport (with TLS instead of without).
    """
    if expect == "reject":
        return result == "rejected"
    if expect in METHODS:
        return result in ("allowed", "asked") and expect in possible
    if expect == "allowed":
        return result == "allowed" or (result == "asked" and not password_given)
    if expect == "tls_required" and result == "rejected":
        return otherwise_let_in
    return result in GROUPS.get(expect, frozenset({expect}))
