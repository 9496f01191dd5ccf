"""Whether SNS signed a post: RSA over SHA-1 or SHA-256, by its certificate (SES fact 5.2). Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import NameOID

from relay.feedback.sns.topics import SUFFIXES

NAMES = {f"sns.{suffix}" for suffix in SUFFIXES.values()}  # whom SNS's certificates are for
LEAST_BITS = 2048
_HASHES = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 - SNS's, where the topic asks for no better one


class NotSns(ValueError):
    """A certificate that is none of SNS's. The text says why."""


class Certificate:
    """One that SNS signs with."""

    def __init__(self, pem: bytes) -> None:
        """Raises NotSns."""
        try:
            found = x509.load_pem_x509_certificate(pem)
            names = [each.value for each in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
            key = found.public_key()
        except (ValueError, UnsupportedAlgorithm) as exc:
            raise NotSns("it cannot be read") from exc
        if len(names) != 1 or names[0] not in NAMES:
            raise NotSns("it is for another name")
        if not isinstance(key, RSAPublicKey) or key.key_size < LEAST_BITS:
            raise NotSns(f"its key is not of RSA with {LEAST_BITS} bits or more")
        self._key = key
        self._from, self._until = found.not_valid_before_utc, found.not_valid_after_utc

    def is_valid(self, now: datetime) -> bool:
        return self._from <= now <= self._until

    def has_signed(self, octets: bytes, signature: bytes, version: Literal["1", "2"]) -> bool:
        """About 40 us."""
        try:
            self._key.verify(signature, octets, PKCS1v15(), _HASHES[version])
        except InvalidSignature:
            return False
        return True
