"""The server's TLS certificate, given or self-signed, as contexts that follow its files when they change."""

from __future__ import annotations

import os
import ssl
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from relay import log
from relay.errors import Unusable

VALID_FOR = timedelta(days=3650)
RSA_BITS = 2048  # what a device of 2005 can still check

Pair = tuple[Path, Path]  # a certificate with its chain, and its key


class CertificateError(Unusable):
    """The certificate or its key cannot be used. The text says why."""


class Certificates:
    """One certificate, or one of each sort of key, as contexts of TLS servers: one by the least version it takes.

    When the files change, every context has the new certificate for the handshakes to come. Connections keep theirs.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        """Raises CertificateError."""
        self._pairs = pairs
        self._contexts: dict[ssl.TLSVersion, ssl.SSLContext] = {}
        self._used = self._seen = self._look()
        self.fault = ""  # why the files of now are not in use
        self.context()

    def context(self, floor: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> ssl.SSLContext:
        """For servers that take this version and newer ones (RFC 8996, RFC 8314: 1.2). Raises CertificateError."""
        if floor not in self._contexts:
            self._contexts[floor] = self._load(_empty(floor))
        return self._contexts[floor]

    def refresh(self) -> None:
        """Take over the files if they changed and have stayed so since the last call: a pair is replaced in two steps.

        Where they cannot be used, all stays as it is, and the log says so.
        """
        found, before = self._look(), self._seen
        self._seen = found
        if found == self._used or found != before:
            return
        self._used = found
        try:
            # First into a context that nobody uses: a key that does not fit would leave one without any.
            self._load(_empty(ssl.TLSVersion.TLSv1_2))
            for context in self._contexts.values():
                self._load(context)
        except CertificateError as exc:
            self.fault = f"{exc}; the one before is still in use"
            log.trouble("certificate.refused", reason=self.fault)
            return
        self.fault = ""
        log.event("certificate.reloaded", file=str(self._pairs[0][0]))

    def _load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        for certificate, key in self._pairs:
            try:
                # A password, so that OpenSSL does not ask the terminal for that of an encrypted key.
                context.load_cert_chain(certificate, key, password="")
            except OSError as exc:  # SSLError is one, too
                reason = exc.reason if isinstance(exc, ssl.SSLError) else exc.strerror
                raise CertificateError(f"certificate {certificate} with key {key}: {reason}") from exc
        return context

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_mark(file) for pair in self._pairs for file in pair]


def _mark(file: Path) -> tuple[int, int, int] | None:
    """What changes when a file does. None: it cannot be seen."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _empty(floor: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():  # that old versions are deprecated is known, and was asked for
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = floor
    if floor < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # or OpenSSL 3 refuses the signatures of TLS 1.0 and 1.1
    return context


def self_signed(folder: Path, hostname: str, *, is_rsa: bool = False) -> Pair:
    """A certificate and key for `hostname` in `folder`, made when they are not there yet. RSA: for old devices."""
    stem = "self-signed-rsa" if is_rsa else "self-signed"
    certificate_file, key_file = folder / f"{stem}.crt", folder / f"{stem}.key"
    if certificate_file.exists() and key_file.exists():
        return certificate_file, key_file
    key = rsa.generate_private_key(65537, RSA_BITS) if is_rsa else ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname), x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(key_file, private, 0o600)
    _write(certificate_file, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate_file, key_file


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate as a client sees it."""

    names: tuple[str, ...]
    ends_at: datetime
    is_self_signed: bool

    def fits(self, host: str) -> bool:
        """Whether it is of this name (RFC 6125 section 6.4.3: an asterisk stands for one whole label)."""
        parent = host.lower().partition(".")[2]
        return any(each.lower() in (host.lower(), f"*.{parent}") for each in self.names)


def read_shown(der: bytes) -> Shown:
    """Raises ValueError."""
    found = x509.load_der_x509_certificate(der)
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = tuple(names.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        hosts = ()
    return Shown(hosts, found.not_valid_after_utc, found.issuer == found.subject)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all: a start that is cut short, by a power cut too, must not leave half a key."""
    fresh = path.with_suffix(path.suffix + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # or the name may reach the disk before what is in it
    fresh.replace(path)
