"""Signs what SNS posts, with a key of the sandbox's own. Its certificate says `sns.amazonaws.com`, and nobody vouches
for it: who checks signatures must be told to trust it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from relay.sandbox.notifications import Envelope, host

_SIGNED = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_HASHES: dict[int, hashes.HashAlgorithm] = {1: hashes.SHA1(), 2: hashes.SHA256()}  # noqa: S303 - what SNS calls 1 is SHA-1


class Signer:
    """Makes its key when it is first needed."""

    def sign(self, envelope: Envelope, region: str, version: int) -> Envelope:
        """The envelope with its signature, and where its certificate is said to be."""
        names = (name for name in _SIGNED if name in envelope)
        text = "".join(f"{name}\n{envelope[name]}\n" for name in names)
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), _HASHES[version])
        return envelope | {
            "SignatureVersion": str(version),
            "Signature": base64.b64encode(signature).decode("ascii"),
            "SigningCertURL": f"https://{host(region)}/{self.file_name}",
        }

    @cached_property
    def certificate(self) -> bytes:
        """PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @cached_property
    def file_name(self) -> str:
        return f"SimpleNotificationService-{self._certificate.fingerprint(hashes.SHA256()).hex()[:32]}.pem"

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)

    @cached_property
    def _certificate(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365))
            .sign(self._key, hashes.SHA256())
        )
