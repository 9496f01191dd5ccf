"""Events as SES publishes them (SES fact 4): every type, the older form, every subtype."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

Event = dict[str, Any]
START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def stamp(seconds: float) -> str:
    """So many seconds after START, as SES writes a moment."""
    return (START + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def mail(
    delivery_id: int | None,
    to: Sequence[str],
    *,
    attempt: int = 1,
    ses_message_id: str = "0102-a",
    tags: Mapping[str, str] | None = None,
) -> Event:
    ours = {} if delivery_id is None else {"relay_id": str(delivery_id), "attempt": str(attempt)}
    return {
        "timestamp": stamp(0),
        "messageId": ses_message_id,
        "source": "me@byoc.example",
        "sourceArn": "arn:aws:ses:eu-west-1:123456789012:identity/byoc.example",
        "sendingAccountId": "123456789012",
        "destination": list(to),
        "headersTruncated": False,
        "headers": [{"name": "Subject", "value": "s"}],
        "commonHeaders": {"from": ["me@byoc.example"], "to": list(to), "messageId": "<1@x>", "subject": "s"},
        "tags": {name: [value] for name, value in {"ses:operation": "SendRawEmail", **ours, **(tags or {})}.items()},
    }


def event(kind: str, about: Event, part: Event, *, member: str | None = None) -> Event:
    return {"eventType": kind, "mail": about, member or kind.lower(): part}


def send(about: Event) -> Event:
    return event("Send", about, {})


def delivery(about: Event, *to: str, after: float = 1) -> Event:
    part = {
        "timestamp": stamp(after),
        "processingTimeMillis": 546,
        "recipients": list(to),
        "smtpResponse": "250 ok:  Message 64111812 accepted",
        "reportingMTA": "a8-70.smtp-out.amazonses.com",
        "remoteMtaIp": "127.0.2.0",
    }
    return event("Delivery", about, part)


def bounce(
    about: Event,
    *to: str,
    type: str = "Permanent",
    subtype: str = "General",
    feedback_id: str = "b-1",
    after: float = 2,
    diagnostic: str = "smtp; 550 5.1.1 user unknown",
) -> Event:
    people = [
        {"emailAddress": each, "action": "failed", "status": "5.1.1", "diagnosticCode": diagnostic} for each in to
    ]
    part = {
        "bounceType": type,
        "bounceSubType": subtype,
        "bouncedRecipients": people,
        "timestamp": stamp(after),
        "feedbackId": feedback_id,
        "reportingMTA": "dsn; a8-70.smtp-out.amazonses.com",
    }
    return event("Bounce", about, part)


def complaint(
    about: Event,
    *to: str,
    type: str | None = "abuse",
    subtype: str | None = None,
    feedback_id: str = "c-1",
    after: float = 3,
) -> Event:
    part = {
        "complainedRecipients": [{"emailAddress": each} for each in to],
        "timestamp": stamp(after),
        "feedbackId": feedback_id,
        "complaintSubType": subtype,
        "userAgent": "AnyCompany Feedback Loop (V0.01)",
        "arrivalDate": stamp(after),
    }
    return event("Complaint", about, part | ({} if type is None else {"complaintFeedbackType": type}))


def reject(about: Event) -> Event:
    return event("Reject", about, {"reason": "Bad content"})


def opened(about: Event, after: float = 4) -> Event:
    part = {"ipAddress": "192.0.2.1", "timestamp": stamp(after), "userAgent": "Mozilla/5.0 (iPhone)"}
    return event("Open", about, part)


def clicked(about: Event, after: float = 5, link: str = "https://example.com/a") -> Event:
    part = {"ipAddress": "192.0.2.1", "timestamp": stamp(after), "userAgent": "Mozilla/5.0"}
    return event("Click", about, part | {"link": link, "linkTags": {"samplekey0": ["samplevalue0"]}})


def rendering_failure(about: Event) -> Event:
    part = {"templateName": "T", "errorMessage": "Attribute 'x' is not present in the rendering data."}
    return event("Rendering Failure", about, part, member="failure")


def delay(about: Event, *to: str, after: float = 1) -> Event:
    people = [{"emailAddress": each, "status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 later"} for each in to]
    part = {
        "timestamp": stamp(after),
        "delayType": "TransientCommunicationFailure",
        "expirationTime": stamp(after + 50_000),
        "delayedRecipients": people,
    }
    return event("DeliveryDelay", about, part, member="deliveryDelay")


def subscription(about: Event, *, has_left: bool = True) -> Event:
    part = {
        "contactList": "ContactListName",
        "timestamp": stamp(6),
        "source": "UnsubscribeHeader",
        "newTopicPreferences": {"unsubscribeAll": has_left, "topicSubscriptionStatus": []},
        "oldTopicPreferences": {"unsubscribeAll": False, "topicSubscriptionStatus": []},
    }
    return event("Subscription", about, part)


def unheard_of(about: Event) -> Event:
    return event("Teleported", about, {"timestamp": stamp(7), "to": "ana@dest.example"})


def legacy(found: Event) -> Event:
    """The same as a notification of an identity: another member says what it is, and there are no tags."""
    about = {name: value for name, value in found["mail"].items() if name not in {"tags", "headers", "commonHeaders"}}
    about |= {"sourceIp": "127.0.3.0", "callerIdentity": "IAM_user_or_role_name"}
    rest = {name: value for name, value in found.items() if name not in {"eventType", "mail"}}
    return {"notificationType": found["eventType"], "mail": about, **rest}


def enveloped(found: Event, message_id: str = "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324") -> str:
    """As SNS gives it to a queue."""
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": message_id,
            "TopicArn": "arn:aws:sns:eu-west-1:123456789012:relay-events",
            "Subject": "Amazon SES Email Event Notification",
            "Message": json.dumps(found),
            "Timestamp": stamp(9),
            "SignatureVersion": "1",
            "Signature": "c2lnbmF0dXJl",
            "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
            "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe",
        }
    )


def on_event_bridge(found: Event) -> str:
    """As a rule of EventBridge gives it to a queue."""
    return json.dumps(
        {
            "version": "0",
            "id": "12345678-1234-1234-1234-123456789012",
            "detail-type": "Email Delivered",
            "source": "aws.ses",
            "account": "123456789012",
            "time": stamp(9),
            "region": "eu-west-1",
            "resources": [],
            "detail": found,
        }
    )
