"""Posts as SNS makes them, signed with the key of the golden vectors: for tests that need them of this moment."""

from __future__ import annotations

import base64
import json
import uuid
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

GOLDEN = Path(__file__).parent / "golden"
HOST = "sns.eu-west-1.amazonaws.com"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:relay-events"
OTHER_TOPIC = "arn:aws:sns:us-east-1:210987654321:customer-events"
PEM = "/SimpleNotificationService-9c6465fa7f48f5cacd23014631ec1136.pem"
CERTIFICATE = f"https://{HOST}{PEM}"
OTHER_CERTIFICATE = f"https://sns.us-east-1.amazonaws.com{PEM}"  # of the other topic
Members = dict[str, object]


@cache
def key() -> RSAPrivateKey:
    found = serialization.load_pem_private_key((GOLDEN / "key.pem").read_bytes(), None)
    assert isinstance(found, RSAPrivateKey)
    return found


def stamp(at: datetime | None = None) -> str:
    return (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def signed(members: Members, version: str = "2", url: str = CERTIFICATE) -> Members:
    """With the signature of what they are now."""
    names = sorted(members.keys() & {"Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token"})
    text = "".join(f"{name}\n{members[name]}\n" for name in (*names, "TopicArn", "Type"))
    digest = hashes.SHA1() if version == "1" else hashes.SHA256()
    signature = base64.b64encode(key().sign(text.encode("utf-8", "surrogatepass"), PKCS1v15(), digest)).decode()
    return {**members, "SignatureVersion": version, "Signature": signature, "SigningCertURL": url}


def notification(message: object, topic: str = TOPIC, at: datetime | None = None, **more: object) -> Members:
    """Unsigned. `message`: the event, or a text."""
    return {
        "Type": "Notification",
        "MessageId": str(uuid.uuid4()),
        "TopicArn": topic,
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": stamp(at),
        "UnsubscribeURL": f"https://{HOST}/?Action=Unsubscribe&SubscriptionArn={topic}:1",
        **more,
    }


def confirmation(kind: str = "SubscriptionConfirmation", topic: str = TOPIC, token: str = "2336412f37fb") -> Members:
    """Unsigned."""
    return {
        "Type": kind,
        "MessageId": str(uuid.uuid4()),
        "Token": token,
        "TopicArn": topic,
        "Message": f"You have chosen to subscribe to the topic {topic}.\nTo confirm, visit the SubscribeURL.",
        "SubscribeURL": f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={topic}&Token={token}",
        "Timestamp": stamp(),
    }


def header(members: Members) -> dict[str, str]:
    """What SNS says over the body."""
    return {
        "Content-Type": "text/plain; charset=UTF-8",
        "User-Agent": "Amazon Simple Notification Service Agent",
        "x-amz-sns-message-type": str(members["Type"]),
        "x-amz-sns-message-id": str(members["MessageId"]),
        "x-amz-sns-topic-arn": str(members["TopicArn"]),
    }
