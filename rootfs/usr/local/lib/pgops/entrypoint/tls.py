# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's certificate: the mounted one, else a self-signed one that stays with the data."""

from __future__ import annotations

import os
import re
import socket
import time
import typing as t

from . import configured, regular
from .errors import StartError
from .place import MOUNTED_TLS, Place
from .stream import Hub

_OWN = "pgops-tls"
_MOUNTED = os.path.join(MOUNTED_TLS, "tls.crt")
_SNAKEOIL = "/ssl-cert-snakeoil."
"""Debian's self-signed certificate, which docker-library's image was built with, its key the same for everybody."""
_NAMES_FILE = re.compile(r"(?:--|-c)?\s*ssl[_-](?:cert|key)[_-]file=.*", re.DOTALL)
_SWITCHES_ON = re.compile(r"(?:--|-c)?\s*ssl=\s*(?:on|true|yes|1)\s*", re.IGNORECASE)


class Certificate(t.NamedTuple):
    """What the server is told."""

    arguments: tuple[str, ...]
    """``-c`` arguments; empty when the user configures TLS."""
    origin: str
    """``mounted``, ``self-signed`` or ``configured``."""
    client_ca: bool
    """Whether client certificates can be checked."""
    enabled: bool = True


class Making:
    """A self-signed certificate that openssl makes while others work, in the runtime directory."""

    def __init__(self, place: Place, hub: Hub) -> None:
        self._hub = hub
        self._words: list[bytes] = []
        self._files = [os.path.join(place.runtime, name) for name in ("made.crt", "made.key")]
        host = socket.gethostname()
        name = host if re.fullmatch(r"[A-Za-z0-9.-]{1,63}", host) else "postgresql"
        self._pid = hub.spawn(
            ["/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650",
             "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},DNS:localhost", "-keyout", self._files[1],
             "-out", self._files[0]],
            {**place.environment, "HOME": place.runtime}, self._words.append,
        )  # fmt: skip

    def finish(self) -> list[bytes]:
        """Certificate and key. Raises StartError, OSError."""
        if self._hub.wait(self._pid):
            self._hub.drain(time.monotonic() + 2)
            raise StartError(f"openssl could not make a certificate: {b' / '.join(self._words[-3:]).decode(errors='replace')}")
        contents = [regular.read(path) for path in self._files]
        for path in self._files:
            os.unlink(path)
        return contents


def without_snakeoil(arguments: t.Sequence[str]) -> list[str]:
    """The server's arguments; where they name the certificate that only docker-library's image has, without it: ours takes its place."""
    if not any(_NAMES_FILE.fullmatch(word) and _SNAKEOIL in word and not os.path.exists(word.partition("=")[2]) for word in arguments):
        return list(arguments)
    kept: list[str] = []
    for word in arguments:
        if not _NAMES_FILE.fullmatch(word) and not _SWITCHES_ON.fullmatch(word):
            kept.append(word)
        elif kept[-1:] == ["-c"] and not word.startswith("-"):
            kept.pop()
    return kept


def begin(place: Place, server_arguments: t.Sequence[str], hub: Hub) -> Making | None:
    """For a new data directory: begin with what takes a while. Nothing where the user has or names a certificate."""
    given = os.path.exists(_MOUNTED) or any("ssl" in word for word in server_arguments)
    return None if given else Making(place, hub)


def prepare(place: Place, server_arguments: t.Sequence[str], hub: Hub, making: Making | None = None) -> Certificate:
    """Find or make the certificate, or take the one that is being made. Raises StartError."""
    if configured.mentions(place, server_arguments, "ssl", "ssl_cert_file", "ssl_key_file"):
        authority = configured.setting(place, server_arguments, "ssl_ca_file")
        enabled = configured.setting(place, server_arguments, "ssl") == "on"
        return Certificate((), "configured", bool(authority), enabled)
    if os.path.exists(_MOUNTED):
        regular.check(_MOUNTED)
        certificate, key = _MOUNTED, _private_copy(place)
        origin = "mounted"
    else:
        certificate, key = _self_signed(place, hub, making)
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
        _put(target, regular.read(source))
    except OSError as error:
        raise StartError(
            f"cannot read {source}: {error.strerror}; mount tls.crt and tls.key together, readable for user {os.geteuid()}"
        ) from None
    return target


def _put(path: str, content: bytes) -> None:
    """Beside and renamed: the server may be reading it. Raises OSError."""
    with open(path + ".new", "wb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o600)) as file:
        file.write(content)
    os.rename(path + ".new", path)


def _self_signed(place: Place, hub: Hub, making: Making | None) -> tuple[str, str]:
    directory = place.path(_OWN)
    certificate, key = os.path.join(directory, "server.crt"), os.path.join(directory, "server.key")
    regular.check(certificate, key)
    if os.path.exists(certificate) and os.path.exists(key):
        return certificate, key
    if os.path.islink(directory):
        raise StartError(f"{directory} is a symbolic link; a private key is not written through it: remove it")
    try:
        made = (making or Making(place, hub)).finish()
        os.makedirs(directory, mode=0o700, exist_ok=True)
        for path, content in zip((certificate, key), made):
            _put(path, content)
    except OSError as error:
        raise StartError(f"cannot make a certificate in {directory}: {error.strerror}; check the volume's space and owner") from None
    return certificate, key
