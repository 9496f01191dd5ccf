"""Makes the golden vectors: posts as SNS signs them, by OpenSSL, with a key of our own. Run in this folder.

    python make.py

What is signed is written out here by hand, as AWS documents it, and not taken from Relay. With the key that is here
it makes the same vectors again, and new certificates.
"""

from __future__ import annotations

import base64
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

HERE = Path(__file__).parent
TOPIC = "arn:aws:sns:eu-west-1:123456789012:relay-events"
URL = "https://sns.eu-west-1.amazonaws.com"
CERTIFICATE = f"{URL}/SimpleNotificationService-9c6465fa7f48f5cacd23014631ec1136.pem"
MOMENT = "2026-01-05T12:00:01.234Z"
MESSAGE = '{"eventType":"Open","mail":{"messageId":"0102-golden"},"open":{"userAgent":"Ünïcode \\n \\u00e9"}}\n'
TOKEN = "2336412f37fb687f5d51e6e241d09c805a5a57b30d712f794cc5f6a988666d92768dd60a747ba6f3beb71854e285d6ad02428b09ceece29417f1f02d609c582afbacc99c583a916b9981dd2728f4ae6fdb82efd087cc3b7849e05798d2d2785c03b0879594eeac82c01f235d0e717736"
SNS = ("sns.amazonaws.com",)
CERTIFICATES = {  # by file: whom it is for, and the years from and until which it is valid
    "sns.pem": (SNS, 2020, 2120),
    "expired.pem": (SNS, 2020, 2021),
    "early.pem": (SNS, 2119, 2120),
    "other.pem": (("sns.amazonaws.com.evil.example",), 2020, 2120),
    "two.pem": (("sns.amazonaws.com", "evil.example"), 2020, 2120),
}


def openssl(*words: str, given: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *words], input=given, capture_output=True, check=True, cwd=HERE).stdout


def certificates() -> None:
    key = serialization.load_pem_private_key((HERE / "key.pem").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    for file, (names, first, last) in CERTIFICATES.items():
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in names])
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(datetime(first, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(last, 1, 1, tzinfo=UTC))
            .sign(key, hashes.SHA256())
        )
        (HERE / file).write_bytes(made.public_bytes(serialization.Encoding.PEM))


def vectors() -> dict[str, tuple[dict[str, str], str]]:
    """By name, without the version: the members, and what is signed."""
    common = {"MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": TOPIC}
    leave = f"{URL}/?Action=Unsubscribe&SubscriptionArn={TOPIC}:c9135db0-26c4-47ec-8998-413945fb5a96"
    notification = {"Type": "Notification", **common, "Message": MESSAGE, "Timestamp": MOMENT, "UnsubscribeURL": leave}
    subject = "Amazon SES Email Event Notification"
    with_subject = {**notification, "Subject": subject}
    made = {
        "notification": (
            notification,
            f"Message\n{MESSAGE}\nMessageId\n{common['MessageId']}\n"
            f"Timestamp\n{MOMENT}\nTopicArn\n{TOPIC}\nType\nNotification\n",
        ),
        "subject": (
            with_subject,
            f"Message\n{MESSAGE}\nMessageId\n{common['MessageId']}\nSubject\n{subject}\n"
            f"Timestamp\n{MOMENT}\nTopicArn\n{TOPIC}\nType\nNotification\n",
        ),
    }
    for name, kind in (("subscription", "SubscriptionConfirmation"), ("unsubscription", "UnsubscribeConfirmation")):
        said = f"You have chosen to subscribe to the topic {TOPIC}.\nTo confirm, visit the SubscribeURL."
        confirm = f"{URL}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={TOKEN}"
        members = {"Type": kind, **common, "Token": TOKEN, "Message": said, "SubscribeURL": confirm}
        made[name] = (
            {**members, "Timestamp": MOMENT},
            f"Message\n{said}\nMessageId\n{common['MessageId']}\nSubscribeURL\n{confirm}\n"
            f"Timestamp\n{MOMENT}\nToken\n{TOKEN}\nTopicArn\n{TOPIC}\nType\n{kind}\n",
        )
    return made


def main() -> None:
    if not (HERE / "key.pem").exists():
        (HERE / "key.pem").write_bytes(openssl("genrsa", "2048"))
    certificates()
    for name, (members, text) in vectors().items():
        for version, digest in (("1", "-sha1"), ("2", "-sha256")):
            signature = openssl("dgst", digest, "-sign", "key.pem", given=text.encode())
            whole = {
                **members,
                "SignatureVersion": version,
                "Signature": base64.b64encode(signature).decode(),
                "SigningCertURL": CERTIFICATE,
            }
            (HERE / f"{name}-{version}.json").write_text(json.dumps(whole, indent=2) + "\n")


if __name__ == "__main__":
    main()
