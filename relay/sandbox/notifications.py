"""What SNS makes of a message for those who are subscribed: a signed envelope (SNS guide, parsing messages)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from relay.sandbox.mailbox import stamp

Envelope = dict[str, str]
Sign = Callable[[Envelope], Envelope]  # adds SignatureVersion, Signature and SigningCertURL

_UNSIGNED = "c2FuZGJveA=="  # "sandbox": who reads a queue trusts its policy, and no signature
_CONFIRM = (
    "You have chosen to subscribe to the topic {topic}.\n"
    "To confirm the subscription, visit the SubscribeURL included in this message."
)


def notification(topic: str, message: str, subject: str | None, id: str, at: datetime) -> Envelope:
    """Without its signature. A subject that is None is left out."""
    envelope = {"Type": "Notification", "MessageId": id, "TopicArn": topic}
    if subject is not None:
        envelope["Subject"] = subject
    return envelope | {"Message": message, "Timestamp": stamp(at)}


def confirmation(topic: str, region: str, token: str) -> Envelope:
    """What asks an endpoint whether it wants to be subscribed; without its signature."""
    return {
        "Type": "SubscriptionConfirmation",
        "MessageId": str(uuid4()),
        "Token": token,
        "TopicArn": topic,
        "Message": _CONFIRM.format(topic=topic),
        "SubscribeURL": f"https://{host(region)}/?Action=ConfirmSubscription&TopicArn={topic}&Token={token}",
        "Timestamp": stamp(datetime.now(UTC)),
    }


def unsubscription(region: str, subscription: str) -> str:
    return f"https://{host(region)}/?Action=Unsubscribe&SubscriptionArn={subscription}"


def unsigned(envelope: Envelope, region: str) -> Envelope:
    """For queues: signed in form only."""
    url = f"https://{host(region)}/SimpleNotificationService-sandbox.pem"
    return envelope | {"SignatureVersion": "1", "Signature": _UNSIGNED, "SigningCertURL": url}


def host(region: str) -> str:
    return f"sns.{region}.amazonaws.com"
