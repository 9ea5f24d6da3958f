# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Authorities, certificates that they sign, and what a server presents."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
PEM = serialization.Encoding.PEM


def write_key(key: ec.EllipticCurvePrivateKey, path: Path) -> None:
    """A private key without a pass phrase."""
    path.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def named(name: str) -> x509.Name:
    """Only a common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Authority:
    """One that signs certificates, read from its files or made."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificate = certificate
        signer = serialization.load_pem_private_key(key.read_bytes(), None)
        if not isinstance(signer, ec.EllipticCurvePrivateKey):
            raise SystemExit(f"{key} is no key of an elliptic curve")
        self._key, self._own = signer, x509.load_pem_x509_certificate(certificate.read_bytes())

    @classmethod
    def made(cls, folder: Path, name: str) -> Authority:
        """A new one; its files are in the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
        own = (
            x509.CertificateBuilder(named(name), named(name), key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=300))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        certificate = folder / f"{name}.crt"
        certificate.write_bytes(own.public_bytes(PEM))
        write_key(key, folder / f"{name}.key")
        return cls(certificate, folder / f"{name}.key")

    def sign(self, stem: Path, names: list[str], valid: datetime.timedelta = datetime.timedelta(days=100)) -> None:
        """A key and a certificate for a server that is a client, too: STEM.key and STEM.crt, each replaced in one piece."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
        made = (
            x509.CertificateBuilder(self._own.subject, named(stem.name), key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + valid)
            .add_extension(x509.SubjectAlternativeName([general(name) for name in names]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        partial = stem.with_suffix(".new")
        write_key(key, partial)
        partial.replace(stem.with_suffix(".key"))
        partial.write_bytes(made.public_bytes(PEM))
        partial.replace(stem.with_suffix(".crt"))


def general(name: str) -> x509.GeneralName:
    """An address or a name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def first(path: Path) -> bytes:
    """The certificate of a file, as a server presents it."""
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(serialization.Encoding.DER)


def presented(address: str, port: int, context: ssl.SSLContext) -> bytes:
    """The certificate that a server presents and proves to have; empty when it does not answer. PostgreSQL is asked for TLS first."""
    try:
        with socket.create_connection((address, port), timeout=5) as plain:
            if port in (5000, 5001, 5432):
                plain.sendall(SSL_REQUEST)
                if plain.recv(1) != b"S":
                    return b""
            with context.wrap_socket(plain, server_hostname=address) as wrapped:
                return wrapped.getpeercert(binary_form=True) or b""
    except OSError:
        return b""
