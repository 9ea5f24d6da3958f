# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health check's question to Patroni's REST API: `ask_rest.py watch.json`. Exit status 0 and the role, or 1 and the reason.

Only modules that load fast: the check has its own time limit.
"""

import http.client
import json
import ssl
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    told = json.load(file)
scheme, rest = told["url"].split("://", 1)
try:
    connection: http.client.HTTPConnection
    if scheme == "https":
        # Our own process on our own loopback: the certificate names other names than this one.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if told["ctl"]["certfile"]:
            context.load_cert_chain(told["ctl"]["certfile"], told["ctl"]["keyfile"] or None, told["ctl"]["keyfile_password"] or None)
        connection = http.client.HTTPSConnection(rest, timeout=0.8, context=context)
    else:
        connection = http.client.HTTPConnection(rest, timeout=0.8)
    connection.request("GET", "/health")
    answer = connection.getresponse()
    found = json.loads(answer.read())
    role, state = found.get("role"), found.get("state")
    if answer.status == 200 and role in ("primary", "master"):
        # Also without it the server answers: while a new cluster's users are made, and when this member is about to be demoted.
        connection.request("GET", "/leader")
        answer = connection.getresponse()
        state = state if answer.status == 200 else f"{state}, without the leader lock"
except (OSError, ValueError, http.client.HTTPException) as error:
    sys.exit(f"rest: Patroni does not answer: {error or type(error).__name__}")
sys.stdout.write(f"{role}, {state}\n" if answer.status == 200 else f"rest: {role}, {state}\n")
sys.exit(0 if answer.status == 200 else 1)
