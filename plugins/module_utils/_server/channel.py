# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Sockets and TLS for one conversation with a server: resolve, connect, negotiate, send and receive, all within one deadline."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import ssl
import time
import typing as t

from . import wire
from .errors import InvalidInput, ProtocolError

DEFAULT_SOCKET_DIRECTORY = "/var/run/postgresql"
"""Where Debian's and Red Hat's packages put the socket; PostgreSQL's own default is /tmp."""
MAX_SOCKET_PATH = 107
"""Bytes; sun_path of Linux without its terminating NUL."""

Network = t.Union[socket.socket, ssl.SSLSocket]


class Failed(Exception):
    """The conversation cannot go on. ``kind`` is one of outcome.FAILURES; the text is the operating system's or OpenSSL's reason."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class Tls(t.NamedTuple):
    """What the client side of the TLS connection knows."""

    version: str
    cipher: str
    bits: int


class TlsSettings(t.NamedTuple):
    """How to trust the server and what to show it. Paths are of the machine where this runs."""

    verify: str = "none"
    """``none``, ``ca`` (the chain is checked) or ``full`` (the host name too), as libpq's require, verify-ca and verify-full."""
    ca_cert: str | None = None
    """None with ``ca`` or ``full``: the system's certificate authorities."""
    cert: str | None = None
    key: str | None = None


class Deadline:
    """A point in time that all steps share, so that many short waits cannot add up to a long one."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining(self, share: int = 1) -> float:
        """Seconds left, divided by ``share``; raises ``Failed("timed_out")`` when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise Failed("timed_out", "no answer in time")
        return left / share


def tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context for these settings. :class:`InvalidInput` names the file that cannot be used; a pass phrase is never asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = settings.verify == "full"
    context.verify_mode = ssl.CERT_NONE if settings.verify == "none" else ssl.CERT_REQUIRED
    if settings.verify != "none":
        try:
            if settings.ca_cert:
                context.load_verify_locations(settings.ca_cert)
            else:
                context.load_default_certs()
        except OSError as error:
            raise InvalidInput("ca_cert", f"{settings.ca_cert} cannot be read as PEM certificates: {error.strerror or error}") from error
    if settings.key and not settings.cert:
        raise InvalidInput("ssl_key", "it needs ssl_cert, the certificate that the key belongs to")
    if settings.cert:
        try:
            context.load_cert_chain(settings.cert, settings.key, password="")
        except OSError as error:  # ssl.SSLError is one
            raise InvalidInput(
                "ssl_cert",
                f"{settings.cert} with key {settings.key or settings.cert} cannot be used: {error.strerror or error}. "
                "Both must be readable PEM files that belong together; a key with a pass phrase is not supported",
            ) from error
    return context


def is_local_address(address: str) -> bool:
    """True when this machine can send from the numeric address."""
    try:
        family, kind, _proto, _name, where = socket.getaddrinfo(address, 0, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0]
        with socket.socket(family, kind) as probe:
            probe.bind(where)
    except OSError:
        return False
    return True


def socket_path(host: str, port: int) -> str:
    """The Unix socket that libpq would use: a directory gets PostgreSQL's file name, a socket's own path stays."""
    if os.path.basename(host).startswith(".s.PGSQL."):
        return host
    return os.path.join(host, f".s.PGSQL.{port}")


class Channel:
    """One connection to one server. Every method raises :class:`Failed` or :class:`ProtocolError`, and nothing else."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.tls: Tls | None = None
        self._socket: Network | None = None

    def connect(self, host: str, port: int, source: str | None) -> None:
        """Opens the Unix socket when ``host`` is a path, otherwise TCP, from ``source`` if given, to the first address that answers."""
        with _translated():
            if host.startswith("/"):
                self._connect_unix(socket_path(host, port))
                return
            found = _resolve(host, port, source)
            for number, where in enumerate(found):
                try:
                    self._connect_tcp(where, source, self.deadline.remaining(len(found) - number))
                    return
                except OSError:
                    if number == len(found) - 1:
                        raise

    def _connect_unix(self, path: str) -> None:
        if len(os.fsencode(path)) > MAX_SOCKET_PATH:
            raise Failed("no_socket", f"the path {path} is longer than {MAX_SOCKET_PATH} bytes, which no socket can have")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(self.deadline.remaining())
        try:
            self._socket.connect(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Failed("no_socket", f"{path} does not exist") from error
        except PermissionError as error:
            raise Failed("socket_forbidden", f"{path}: {error.strerror}") from error

    def _connect_tcp(self, where: _Place, source: str | None, seconds: float) -> None:
        self.close()
        self._socket = socket.socket(where.family, socket.SOCK_STREAM)
        self._socket.settimeout(seconds)
        if source is not None:
            self._socket.bind(socket.getaddrinfo(source, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0][4])
        self._socket.connect(where.address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def addresses(self) -> tuple[str | None, str | None]:
        """Our numeric address and the server's, as this machine sees them; None on a Unix socket."""
        network = self._network()
        if network.family == socket.AF_UNIX:
            return None, None
        with _translated():
            return str(network.getsockname()[0]), str(network.getpeername()[0])

    def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Wraps the connection; the server has answered ``S``. ``host`` is what its certificate must name under ``verify: full``."""
        network = self._network()
        with _translated():
            network.settimeout(self.deadline.remaining())
            try:
                wrapped = context.wrap_socket(network, server_hostname=host)
            except ssl.SSLError:  # a certificate that is not to be trusted is a ValueError too
                raise
            except ValueError as error:  # also UnicodeError: a host that no certificate can name
                raise Failed("tls_failed", f"{host} is no name for TLS: {error}") from error
            self._socket = wrapped
            cipher = wrapped.cipher()
            name, bits = (cipher[0], cipher[2]) if cipher else ("", 0)
            self.tls = Tls(wrapped.version() or "", name, bits)

    def send(self, data: bytes) -> None:
        """Sends all of it."""
        network = self._network()
        with _translated():
            network.settimeout(self.deadline.remaining())
            network.sendall(data)

    def receive_bytes(self, count: int) -> bytes:
        """Exactly ``count`` bytes, never one more: what follows an ``S`` in clear text must not be taken for TLS (CVE-2021-23222)."""
        network = self._network()
        received = b""
        with _translated():
            while len(received) < count:
                network.settimeout(self.deadline.remaining())
                part = network.recv(count - len(received))
                if not part:
                    raise Failed("closed", "the server closed the connection without a word")
                received += part
        return received

    def receive(self) -> wire.Message:
        """The next message. An error in protocol 2 style becomes an ordinary ``E`` message without SQLSTATE."""
        header = self.receive_bytes(5)
        if wire.is_plain_error(header):
            return wire.Message(b"E", b"SFATAL\0M" + header[1:] + self._rest_of_line() + b"\0\0")
        return wire.Message(header[:1], self.receive_bytes(wire.body_length(header)))

    def _rest_of_line(self) -> bytes:
        rest = b""
        with contextlib.suppress(Failed):
            while len(rest) < wire.MAX_ERROR and not rest.endswith(b"\0"):
                rest += self.receive_bytes(1)
        return rest.rstrip(b"\0")

    def close(self) -> None:
        """Closes without ceremony; a server that waits for a password logs nothing then."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
        self._socket = None

    def _network(self) -> Network:
        if self._socket is None:
            raise Failed("closed", "the connection is not open")
        return self._socket


class _Place(t.NamedTuple):
    family: socket.AddressFamily
    address: tuple[t.Any, ...]


def _resolve(host: str, port: int, source: str | None) -> list[_Place]:
    """The host's addresses in the system's order; only those of the source's family when a source is asked for."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise Failed("unknown_host", f"{host} cannot be resolved: {getattr(error, 'strerror', None) or error}") from error
    places = [_Place(family, where) for family, _kind, _proto, _name, where in found]
    if source is None:
        return places
    wanted = socket.AF_INET6 if ipaddress.ip_address(source.partition("%")[0]).version == 6 else socket.AF_INET
    fitting = [place for place in places if place.family == wanted]
    if not fitting:
        raise Failed("unreachable", f"{host} has no address of the family of {source}")
    return fitting


@contextlib.contextmanager
def _translated() -> t.Iterator[None]:
    """Turns what sockets and OpenSSL raise into :class:`Failed`."""
    try:
        yield
    except (Failed, ProtocolError):
        raise
    except (socket.timeout, TimeoutError) as error:
        raise Failed("timed_out", "no answer in time") from error
    except ssl.SSLCertVerificationError as error:
        raise Failed("server_not_trusted", error.verify_message or str(error)) from error
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        raise Failed("closed", "the server closed the connection without a word") from error
    except ssl.SSLError as error:
        alert = "ALERT" in (error.reason or "")
        raise Failed("tls_alert" if alert else "tls_failed", (error.reason or str(error)).replace("_", " ").lower()) from error
    except ConnectionRefusedError as error:
        raise Failed("connection_refused", error.strerror or "connection refused") from error
    except (ConnectionResetError, BrokenPipeError) as error:
        raise Failed("closed", error.strerror or "connection reset") from error
    except OSError as error:
        raise Failed("unreachable", error.strerror or str(error)) from error
