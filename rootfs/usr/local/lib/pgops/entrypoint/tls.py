# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's certificate: the mounted one, else a self-signed one that stays with the data."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import typing as t

from . import configured, regular
from .errors import StartError
from .place import MOUNTED_TLS, Place

_OWN = "pgops-tls"


class Certificate(t.NamedTuple):
    """What the server is told."""

    arguments: tuple[str, ...]
    """``-c`` arguments; empty when the user configures TLS."""
    origin: str
    """``mounted``, ``self-signed`` or ``configured``."""
    client_ca: bool
    """Whether client certificates can be checked."""
    enabled: bool = True


def prepare(place: Place, server_arguments: t.Sequence[str]) -> Certificate:
    """Find or make the certificate. Raises StartError."""
    mounted = os.path.join(MOUNTED_TLS, "tls.crt")
    if configured.mentions(place, server_arguments, "ssl", "ssl_cert_file", "ssl_key_file"):
        authority = configured.setting(place, server_arguments, "ssl_ca_file")
        enabled = configured.setting(place, server_arguments, "ssl") == "on"
        return Certificate((), "configured", bool(authority), enabled)
    if os.path.exists(mounted):
        regular.check(mounted)
        certificate, key = mounted, _private_copy(place)
        origin = "mounted"
    else:
        certificate, key = _self_signed(place)
        origin = "self-signed"
    settings = ["ssl=on", f"ssl_cert_file={certificate}", f"ssl_key_file={key}"]
    authority = os.path.join(MOUNTED_TLS, "ca.crt")
    has_authority = os.path.exists(authority)
    if has_authority:
        settings.append(f"ssl_ca_file={authority}")
    return Certificate(tuple(word for setting in settings for word in ("-c", setting)), origin, has_authority)


def renew(place: Place) -> None:
    """Before a reload: a mounted key may be another one now, and the server reads our copy. Raises StartError."""
    if os.path.exists(os.path.join(place.runtime, "tls.key")):
        _private_copy(place)


def _private_copy(place: Place) -> str:
    """The server refuses a key that others may read, and mounted secrets often are; so it gets a copy that is its own."""
    source, target = os.path.join(MOUNTED_TLS, "tls.key"), os.path.join(place.runtime, "tls.key")
    try:
        key = regular.read(source)
        # Beside and renamed: the server may be reading it.
        with open(target + ".new", "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(key)
        os.rename(target + ".new", target)
    except OSError as error:
        raise StartError(
            f"cannot read {source}: {error.strerror}; mount tls.crt and tls.key together, readable for user {os.geteuid()}"
        ) from None
    return target


def _self_signed(place: Place) -> tuple[str, str]:
    directory = place.path(_OWN)
    certificate, key = os.path.join(directory, "server.crt"), os.path.join(directory, "server.key")
    regular.check(certificate, key)
    if os.path.exists(certificate) and os.path.exists(key):
        return certificate, key
    host = socket.gethostname()
    name = host if re.fullmatch(r"[A-Za-z0-9.-]{1,63}", host) else "postgresql"
    new = key + ".new"
    if os.path.islink(directory):
        raise StartError(f"{directory} is a symbolic link; a private key is not written through it: remove it")
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        done = subprocess.run(
            ["/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650",
             "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},DNS:localhost", "-keyout", new, "-out", certificate],
            capture_output=True, text=True, check=False, env={**place.environment, "HOME": place.runtime},
        )  # fmt: skip
        if done.returncode:
            raise StartError(f"openssl could not make a certificate: {done.stderr.strip()[-300:]}")
        os.chmod(new, 0o600)
        os.rename(new, key)
    except OSError as error:
        raise StartError(f"cannot make a certificate in {directory}: {error.strerror}; check the volume's space and owner") from None
    return certificate, key
