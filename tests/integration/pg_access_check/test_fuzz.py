# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing that answers on a port makes the check do more than report: random conversations, each within its time."""

from __future__ import annotations

import random
import socket
import threading
import time

from ansible_collections.pgops.access.plugins.module_utils._server import outcome as verdicts
from ansible_collections.pgops.access.plugins.module_utils._server.channel import TlsSettings, tls_context
from ansible_collections.pgops.access.plugins.module_utils._server.conversation import Login, Target, converse

CONVERSATIONS = 400
PIECES = [
    b"R\0\0\0\x08\0\0\0\0",
    b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0",
    b"R\0\0\0\x08\0\0\0\x03",
    b"R\0\0\0\x0c\0\0\0\x05salt",
    b"R\0\0\0\x10\0\0\0\x0br=abc,i=1",
    b"S\0\0\0\x16server_version\x0016\0",
    b"K\0\0\0\x0c\0\0\0\1\0\0\0\2",
    b"Z\0\0\0\x05I",
    b"E\0\0\0\x19SFATAL\0C28000\0Mx\0RX\0\0",
    b"T\0\0\0\x06\0\0",
    b"D\0\0\0\x12\0\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"S",
    b"N",
    b"G",
]


def _babble(connection: socket.socket, dice: random.Random) -> None:
    with connection:
        connection.settimeout(1)
        try:
            for _turn in range(dice.randint(1, 6)):
                words = bytearray(b"".join(dice.choice(PIECES) for _piece in range(dice.randint(0, 4))))
                for _change in range(dice.choice([0, 0, 0, 1, 3])):
                    if words:
                        words[dice.randrange(len(words))] = dice.randrange(256)
                connection.sendall(bytes(words))
                if dice.random() < 0.7:
                    connection.recv(3000)
        except OSError:
            return


def _accept(listening: socket.socket, dice: random.Random) -> None:
    _babble(listening.accept()[0], dice)


def test_random_conversations() -> None:
    seed = time.time_ns()
    print(f"seed {seed}")
    dice = random.Random(seed)
    context = tls_context(TlsSettings())
    seen: set[str] = set()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        port = int(listening.getsockname()[1])
        for number in range(CONVERSATIONS):
            threading.Thread(target=_accept, args=(listening, random.Random(seed + number)), daemon=True).start()
            target = Target("127.0.0.1", port, dice.choice(["tcp", "tcp", "tcp", "tls", "gss"]), None, context)
            began = time.monotonic()
            evidence = converse(target, Login("u", "d", dice.random() < 0.2, dice.choice([None, "pw"])), 0.2)
            assert time.monotonic() - began < 10
            result = verdicts.outcome(evidence)
            assert result in verdicts.OUTCOMES
            verdicts.methods(evidence, result)
            seen.add(result)
    assert {"protocol_error", "asked", "closed"} <= seen, "the conversations were too much alike to prove anything"
