# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each cell of the matrix promises, written down from the image's contract (README), not computed by the product."""

from __future__ import annotations

import itertools
import os
import typing as t

ENABLES = ["", "true", "false", "perhaps"]
METHODS = ["", "md5", "scram-sha-256", "password", "reject", "trust", "plaintext"]

# A word that is no boolean closes access; unset means true.
OPEN = {"": True, "true": True, "false": False, "perhaps": False}
# Unset, unknown, and trust without EXTERNAL_ACCESS_ALLOW_INSECURE are md5.
EFFECTIVE = {name: name for name in ("md5", "scram-sha-256", "password", "reject")}
EFFECTIVE.update({"": "md5", "trust": "md5", "plaintext": "md5"})
# What goes over the wire, in libpq's words for require_auth: an md5 rule runs SCRAM for a role whose verifier is SCRAM.
WIRE = {
    ("md5", "with_md5"): "md5",
    ("md5", "with_scram"): "scram-sha-256",
    ("scram-sha-256", "with_scram"): "scram-sha-256",
    ("password", "with_md5"): "password",
    ("password", "with_scram"): "password",
}


class Cell(t.NamedTuple):
    """One server of the matrix."""

    number: int
    enable: str
    method: str

    @property
    def name(self) -> str:
        return f"pgops-molecule-cell-{self.number:02d}"

    @property
    def port(self) -> int:
        return int(os.environ.get("PGOPS_CELL_PORTS", "15500")) + self.number

    @property
    def title(self) -> str:
        return f"enable={self.enable or 'unset'},method={self.method or 'unset'}"

    def expected(self, role: str, password: str) -> str:
        """The wire method with which ``role`` gets in, or the words of PostgreSQL's refusal."""
        if not OPEN[self.enable]:
            return "no pg_hba.conf entry for host"
        effective = EFFECTIVE[self.method]
        if effective == "reject":
            return "pg_hba.conf rejects connection for host"
        wire = WIRE.get((effective, role))
        if wire is None or password != "right":
            return "password authentication failed for user"
        return wire


EVERY = [Cell(number, enable, method) for number, (enable, method) in enumerate(itertools.product(ENABLES, METHODS))]
# The scenario podman runs some of them.
CELLS = [cell for cell in EVERY if str(cell.number) in os.environ.get("PGOPS_CELLS", ",".join(map(str, range(28)))).split(",")]
ROLES = ["with_md5", "with_scram"]
PASSWORDS = ["right", "wrong"]
ADMITTED = set(WIRE.values())
