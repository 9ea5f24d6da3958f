#!/usr/bin/python
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: pg_access_check
short_description: Verifies with real connections who can reach a PostgreSQL server, and how
version_added: 1.0.0
author:
  - The pgops.access developers (@pgops)
description:
  - Connects to a PostgreSQL server as each of O(clients), many at once, from the machine where the task runs, and reports what
    happened - the authentication method that the server really asked for, TLS, the address that the server saw, how long it took,
    and for a refusal which one it was.
  - Compares each outcome with O(clients[].expect), the same sentence that M(pgops.access.pg_hba) proves before it writes a rule.
    The task fails when an expectation is not met.
  - Speaks PostgreSQL's protocol itself, so one connection shows the method, the verdict and the session; it can also choose the
    address that it connects from, which libpq cannot. It needs no Python library, and no role on the server for refusals.
extends_documentation_fragment:
  - pgops.access.connection
  - pgops.access.attributes
attributes:
  check_mode:
    support: full
    details:
      - The module only reads, so check mode makes the same connections.
  diff_mode:
    support: none
    details:
      - The module changes nothing, so there is no difference to show.
  platform:
    support: full
    platforms: posix
options:
  clients:
    description:
      - The clients to try, in the order in which they are reported.
      - Give all of them to one task instead of looping over it; they run at the same time, and a loop would show its items,
        passwords included.
    type: list
    elements: dict
    required: true
    suboptions:
      user:
        description:
          - The role that logs in.
        type: str
        required: true
      database:
        description:
          - The database. Without one PostgreSQL takes the user's name.
        type: str
      address:
        description:
          - The numeric IPv4 or IPv6 address of the client that the sentence is about.
          - When it is an address of the machine where the task runs, the connection is made from it.
          - Otherwise see O(address_elsewhere).
        type: str
      transport:
        description:
          - V(local) is the Unix socket, V(tcp) is TCP without encryption, V(tls) is TCP with TLS, and V(gss) is TCP with GSSAPI
            encryption.
          - When it is not given, it is V(local) where the host is a socket directory, V(tls) where O(ssl_mode) is V(require),
            V(verify-ca) or V(verify-full), and V(tcp) everywhere else.
          - Of V(gss) only whether the server offers it is found out, because Python has no GSSAPI of its own.
        type: str
        choices: [local, tcp, tls, gss]
      replication:
        description:
          - Asks for a physical replication connection.
        type: bool
        default: false
      memberships:
        description:
          - Not used, because the server knows them. Accepted so that one sentence serves M(pgops.access.pg_hba) too.
        type: list
        elements: str
      expect:
        description:
          - What should happen. Without it the outcome is only reported.
          - The name of a method of C(pg_hba.conf), for example V(scram-sha-256) - the server lets the client in with this method,
            or asked for what the method needs when no password was given.
          - V(allowed) - the client logs in, whatever the method; when no password was given, the server asks for one.
          - V(refused) - either V(rejected) (by a reject rule) or V(no_entry) (no rule is for this client).
          - V(unreachable) - nothing answers there, whether the connection is refused, times out or has no route.
          - Any outcome of RV(checks[].outcome), for example V(wrong_password), V(tls_required) or V(connection_refused).
          - A rule with the method V(md5) runs SCRAM for a role whose stored password is SCRAM. V(md5) is therefore also met by a
            SCRAM exchange, unless the server (16 and later) says that the rule is a V(scram-sha-256) one. V(scram-sha-256) is met by
            every SCRAM exchange, whatever the rule is called.
        type: str
      name:
        description:
          - What the client is called in the table and in messages. The default is the user and the database, joined by C(@).
        type: str
      password:
        description:
          - The password, which appears in no result. Without one (or with an empty one) the check stops when the server asks for it.
          - When O(clients[].expect) is a method, the password is sent only to a server that asks for it by this method, so that an
            impostor that asks for clear text does not get it.
          - Ansible masks the text of a password wherever it occurs in a result, so a password that equals a user's name hides
            that name too.
        type: str
      host:
        description:
          - Overrides O(login_host) and O(login_unix_socket) for this client.
        type: str
      port:
        description:
          - Overrides O(login_port) for this client.
        type: int
      ssl_cert:
        description:
          - Overrides O(ssl_cert) and O(ssl_key) for this client.
        type: path
      ssl_key:
        description:
          - The private key of O(clients[].ssl_cert).
        type: path
  login_host:
    description:
      - Host name or address of the server. The default is V(localhost) for a client over TCP.
      - A value that begins with V(/) is the directory of the server's Unix socket.
  login_unix_socket:
    description:
      - Directory of the server's Unix socket, for clients whose transport is V(local). The default for them is
        V(/var/run/postgresql).
  login_user:
    description:
      - Not used, because every client brings its own. Accepted so that C(module_defaults) of the action group apply.
  login_password:
    description:
      - Not used, as O(login_user).
  login_db:
    description:
      - Not used, as O(login_user).
  ssl_mode:
    description:
      - How far the server's certificate is verified for clients with the transport V(tls) - V(verify-ca) verifies the chain,
        V(verify-full) the host name too, the other values verify nothing unless O(ca_cert) is given.
      - Decides about the transport only for clients that do not say one.
  ca_cert:
    description:
      - File with the certificates of the authorities that are trusted. The default is the system's, where O(ssl_mode) asks
        for verification.
      - When given, the chain is verified whatever O(ssl_mode) is.
  parallel:
    description:
      - How many connections there are at the same time, at most; V(1) to V(256).
    type: int
    default: 16
  timeout:
    description:
      - Seconds that one connection may take, from the first packet to the verdict.
    type: float
    default: 5.0
  total_timeout:
    description:
      - Seconds that the whole task may take. Clients whose turn did not come are reported as V(not_checked), which meets no
        expectation.
    type: float
    default: 60.0
  fail_on:
    description:
      - V(mismatch) fails the task when at least one expectation is not met; V(never) only reports.
    type: str
    default: mismatch
    choices: [mismatch, never]
  address_elsewhere:
    description:
      - What to do with a client whose O(clients[].address) is not an address of the machine where the task runs.
      - V(connect) connects from an address that the system chooses, compares as usual, and says so in RV(checks[].notes).
      - V(skip) leaves the client out, so that several machines can share one list and each verifies its own part.
    type: str
    default: connect
    choices: [connect, skip]
  confirm_with:
    description:
      - V(psycopg2) repeats every login with psycopg2, the way applications connect, and reports its answer in RV(checks[].libpq).
        When it differs from the module's own, the client's expectation is not met.
      - Clients that connect from one of several addresses of the machine are not repeated, because libpq cannot choose.
      - Needs psycopg2 where the task runs, and doubles the connections.
    type: str
    choices: [psycopg2]
notes:
  - PostgreSQL does not tell a client why its password was refused. V(wrong_password) is also the outcome for a role that does not
    exist, has no password or an expired one; V(unknown_role) is reported only where the server itself says so, after a method that
    asks for no password.
  - PostgreSQL does not say that TLS is required either. V(tls_required) is concluded from a second connection, without the password,
    that finds a rule over TLS where there is none over TCP; V(tls_forbidden) is the reverse.
  - Some methods look alike to a client. RV(checks[].methods) lists all that the evidence allows; from PostgreSQL 16 on the server
    names the method after the login.
  - Where the server's messages are translated, V(no_entry) and V(rejected) cannot be told apart and are reported as V(denied).
seealso:
  - module: community.postgresql.postgresql_ping
  - name: Client authentication
    description: The rules that decide who may connect.
    link: https://www.postgresql.org/docs/current/client-authentication.html
"""

EXAMPLES = r"""
- name: The application gets in with SCRAM over TLS, and nobody gets in without TLS
  pgops.access.pg_access_check:
    login_host: db.example.com
    ssl_mode: verify-full
    ca_cert: /etc/ssl/certs/example-ca.pem
    clients:
      - user: app
        database: orders
        transport: tls
        password: "{{ app_password }}"
        expect: scram-sha-256
      - user: app
        database: orders
        transport: tcp
        expect: tls_required
      - user: postgres
        database: postgres
        transport: tls
        expect: refused

- name: What the server asks of each client, without any password
  pgops.access.pg_access_check:
    login_host: 127.0.0.1
    clients:
      - {user: app, database: orders}
      - {user: standby, replication: true}
      - {user: postgres, transport: local}
  register: asked

- name: Show it to people
  ansible.builtin.debug:
    msg: "{{ asked.table }}"

- name: Every application server verifies the clients that have its own addresses
  pgops.access.pg_access_check:
    login_host: db.example.com
    address_elsewhere: skip
    clients:
      - {user: app, database: orders, address: 192.0.2.10, transport: tls, expect: scram-sha-256}
      - {user: app, database: orders, address: 192.0.2.11, transport: tls, expect: scram-sha-256}
      - {user: report, database: orders, address: 192.0.2.11, transport: tls, expect: no_entry}

- name: The certificate of the replica is enough, and libpq agrees
  pgops.access.pg_access_check:
    login_host: db.example.com
    confirm_with: psycopg2
    clients:
      - name: the replica
        user: replica
        replication: true
        transport: tls
        ssl_cert: /etc/replica/client.crt
        ssl_key: /etc/replica/client.key
        expect: cert
"""

RETURN = r"""
checks:
  description: One entry a client, in the order of O(clients).
  returned: success, or when an expectation is not met
  type: list
  elements: dict
  sample:
    - name: app@orders
      user: app
      database: orders
      address: null
      transport: tls
      replication: false
      host: db.example.com
      port: 5432
      expect: scram-sha-256
      met: true
      outcome: allowed
      meaning: logged in
      method: scram-sha-256
      methods: [scram-sha-256]
      requests: [scram-sha-256]
      mechanisms: [SCRAM-SHA-256-PLUS, SCRAM-SHA-256]
      identity: "scram-sha-256:app"
      tls: {version: TLSv1.3, cipher: TLS_AES_256_GCM_SHA384, bits: 256, server_version: TLSv1.3}
      address_seen: 192.0.2.10
      source_address: 192.0.2.10
      server_address: 198.51.100.5
      server_version: "16.14"
      sqlstate: null
      message: null
      connect_ms: 0.4
      latency_ms: 14.2
      other_transport: null
      libpq: null
      notes: []
  contains:
    name:
      description: What the client is called, O(clients[].name) or user and database.
      returned: always
      type: str
    user:
      description: The role, as given.
      returned: always
      type: str
    database:
      description: The database, as given.
      returned: always
      type: str
    address:
      description: The client's address, as given.
      returned: always
      type: str
    transport:
      description: V(local), V(tcp), V(tls) or V(gss).
      returned: always
      type: str
    replication:
      description: Whether a physical replication connection was asked for.
      returned: always
      type: bool
    host:
      description: The host or the socket directory that was connected to.
      returned: always
      type: str
    port:
      description: The port.
      returned: always
      type: int
    expect:
      description: What was expected, as given.
      returned: always
      type: str
    met:
      description: Whether it is so. V(null) when nothing was expected, or the client was skipped.
      returned: always
      type: bool
    outcome:
      description:
        - What happened.
        - By the rules of C(pg_hba.conf) - V(allowed), V(asked) (the server asks for a password or a ticket and the check stopped
          there), V(no_entry), V(rejected), V(tls_required), V(tls_forbidden), V(denied) (one of the former, in a language that the
          check cannot read), V(wrong_password), V(authentication_failed), V(certificate_required).
        - By the server - V(unknown_role), V(may_not_log_in), V(may_not_replicate), V(unknown_database), V(database_forbidden),
          V(database_closed), V(too_many_connections), V(starting_up), V(shutting_down), V(server_error).
        - By TLS and GSSAPI - V(tls_not_offered), V(tls_failed), V(server_not_trusted), V(certificate_refused),
          V(gss_not_offered), V(gss_offered).
        - By the network - V(connection_refused), V(timed_out), V(unreachable), V(unknown_host), V(no_socket),
          V(socket_forbidden), V(closed), V(protocol_error).
        - By the module - V(skipped), V(not_checked).
      returned: always
      type: str
    meaning:
      description: The outcome in words.
      returned: always
      type: str
    method:
      description: The method; the first of RV(checks[].methods).
      returned: always
      type: str
    methods:
      description:
        - Every method that the rule can have by what the server asked for, said and, from PostgreSQL 16 on, calls the identity.
        - The likeliest comes first. Empty where no rule was reached.
      returned: always
      type: list
      elements: str
    requests:
      description:
        - What the server asked for on the wire - V(password) (in clear text), V(md5), V(scram-sha-256), V(oauth), V(gss) or V(sspi).
        - Empty when it asked for nothing.
      returned: always
      type: list
      elements: str
    mechanisms:
      description: The SASL mechanisms that the server offered.
      returned: always
      type: list
      elements: str
    identity:
      description: C(system_user) of the session, for example V(scram-sha-256:app); PostgreSQL 16 and later, after a login.
      returned: always
      type: str
    tls:
      description: V(null) without TLS.
      returned: always
      type: dict
      contains:
        version:
          description: The protocol, for example V(TLSv1.3).
          returned: always
          type: str
        cipher:
          description: The cipher suite.
          returned: always
          type: str
        bits:
          description: Secret bits of the cipher.
          returned: always
          type: int
        server_version:
          description: The protocol that the server itself sees, after a login. V(null) there when something in between ends TLS.
          returned: always
          type: str
    address_seen:
      description: The client's address as the server sees it, after a login. V(null) on the Unix socket.
      returned: always
      type: str
    source_address:
      description: The address of this machine that the connection was made from.
      returned: always
      type: str
    server_address:
      description: The server's address that the connection was made to.
      returned: always
      type: str
    server_version:
      description: The server's version, after a login.
      returned: always
      type: str
    sqlstate:
      description: The error code with which the server refused.
      returned: always
      type: str
    message:
      description: The server's message, or the reason why there is none.
      returned: always
      type: str
    connect_ms:
      description: Milliseconds until the connection was there. V(null) when it never was.
      returned: always
      type: float
    latency_ms:
      description: Milliseconds until the verdict.
      returned: always
      type: float
    other_transport:
      description: After V(no_entry) or V(rejected), the outcome of the same client over the other transport.
      returned: always
      type: dict
      contains:
        transport:
          description: V(tcp) or V(tls).
          returned: always
          type: str
        outcome:
          description: As RV(checks[].outcome).
          returned: always
          type: str
    libpq:
      description: V(connected), or libpq's reason; V(null) unless O(confirm_with) was given.
      returned: always
      type: str
    notes:
      description: What else should be known about this verdict.
      returned: always
      type: list
      elements: str
mismatches:
  description: One sentence for each expectation that is not met - what was expected, what happened, what to look at next.
  returned: success, or when an expectation is not met
  type: list
  elements: str
summary:
  description: How many clients ended in which outcome.
  returned: success, or when an expectation is not met
  type: dict
  sample: {allowed: 1, no_entry: 2}
table:
  description: The checks as an aligned table for people, the heading first.
  returned: success, or when an expectation is not met
  type: list
  elements: str
  sample:
    - "CLIENT      TO                   OVER  SEEN AS     METHOD         TLS      OUTCOME  EXPECTED          MS"
    - "app@orders  db.example.com:5432  tls   192.0.2.10  scram-sha-256  TLSv1.3  allowed  scram-sha-256 ok  14"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.access.plugins.module_utils._ansible import access_check
from ansible_collections.pgops.access.plugins.module_utils._ansible.run import finish


def main() -> None:
    module = AnsibleModule(argument_spec=access_check.argument_spec(), supports_check_mode=True)
    finish(module, access_check.check)


if __name__ == "__main__":
    main()
