"""The events SES publishes about an accepted message, as they reach an SQS queue: JSON in an SNS notification.

SES developer guide, "Contents of event data that Amazon SES publishes to Amazon SNS".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from uuid import uuid4

from relay.sandbox.accounts import Account
from relay.sandbox.mailbox import Captured, stamp
from relay.sandbox.mime import Headers
from relay.sandbox.rules import Letter
from relay.sandbox.simulator import Outcome, outcome_of

QUEUE_NAME = "relay-events"
_HEADER_BYTES = 10_240  # of headers copied into an event; the rest is cut, and headersTruncated says so

Json = dict[str, object]


def events_of(captured: Captured, letter: Letter, account: Account) -> Iterator[str]:
    """The queue bodies that follow one accepted message, in the order SES mostly keeps."""
    mail = _mail(captured, letter, account)
    for kind, detail in _happenings(captured):
        message = json.dumps({"eventType": kind, "mail": mail, kind.lower(): detail})
        yield _notification(message, account, captured)


def _happenings(captured: Captured) -> Iterator[tuple[str, Json]]:
    at = stamp(captured.received_at)
    by_outcome: dict[Outcome, list[str]] = {}
    for recipient in captured.recipients:
        by_outcome.setdefault(outcome_of(recipient), []).append(recipient)
    yield "Send", {}
    arrived = [r for outcome in Outcome if outcome not in _NOT_DELIVERED for r in by_outcome.get(outcome, [])]
    for _, group in groupby(sorted(arrived, key=_domain), key=_domain):  # one SMTP transaction per domain
        yield "Delivery", _delivery(list(group), captured.received_at)
    for outcome, recipients in by_outcome.items():
        if outcome in _BOUNCES:
            yield "Bounce", _bounce(outcome, recipients, at)
        elif outcome is Outcome.COMPLAINED:
            yield "Complaint", _complaint(recipients, at)


def _mail(captured: Captured, letter: Letter, account: Account) -> Json:
    domain = _domain(letter.sender)
    fields = {name.lower(): value for name, value in reversed(letter.headers)}
    headers, is_cut = _cut(letter.headers)
    common: Json = {
        "from": [fields.get("from", letter.sender)],
        "to": [fields["to"]] if "to" in fields else [],
        "messageId": fields.get("message-id", captured.id),
    }
    common |= {name: fields[name] for name in ("subject", "date") if name in fields}
    own_tags = {name: [value] for name, value in captured.tags.items()}
    return {
        "timestamp": stamp(captured.received_at),
        "source": letter.sender,
        "sourceArn": f"arn:aws:ses:{captured.region}:{account.number}:identity/{domain}",
        "sendingAccountId": account.number,
        "messageId": captured.id,
        "destination": captured.recipients,
        "headersTruncated": is_cut,
        "headers": [{"name": name, "value": value} for name, value in headers],
        "commonHeaders": common,
        "tags": {
            "ses:operation": ["SendRawEmail"],
            "ses:configuration-set": [captured.configuration_set],
            "ses:source-ip": ["127.0.0.1"],
            "ses:from-domain": [domain],
            "ses:caller-identity": [account.name],
        }
        | own_tags,
    }


def _cut(headers: Headers) -> tuple[Headers, bool]:
    size = 0
    for count, (name, value) in enumerate(headers):
        size += len(name) + len(value) + 4
        if size >= _HEADER_BYTES:
            return headers[:count], True
    return headers, False


def _delivery(recipients: list[str], at: datetime) -> Json:
    return {
        "timestamp": stamp(at),
        "processingTimeMillis": 1,
        "recipients": recipients,
        "smtpResponse": "250 2.0.0 Ok: queued in the sandbox",
        "reportingMTA": "a1-1.smtp-out.amazonses.com",
    }


_NOT_DELIVERED = {Outcome.BOUNCED, Outcome.SUPPRESSED}
_HARD = {"action": "failed", "status": "5.1.1"}
_UNKNOWN_USER = _HARD | {"diagnosticCode": "smtp; 550 5.1.1 user unknown"}
_SUPPRESSED = _HARD | {"diagnosticCode": "Amazon SES has suppressed sending to this address"}
# fmt: off
_BOUNCES = {
    # outcome:           (type,        subtype,      what each recipient adds)
    Outcome.BOUNCED:    ("Permanent", "General",    _UNKNOWN_USER),
    Outcome.SUPPRESSED: ("Permanent", "Suppressed", _SUPPRESSED),
    Outcome.AWAY:       ("Transient", "General",    {}),  # an out-of-office reply looks like a soft bounce
}
# fmt: on


def _bounce(outcome: Outcome, recipients: list[str], at: str) -> Json:
    kind, subtype, more = _BOUNCES[outcome]
    return {
        "feedbackId": _feedback_id(),
        "bounceType": kind,
        "bounceSubType": subtype,
        "bouncedRecipients": [{"emailAddress": recipient} | more for recipient in recipients],
        "timestamp": at,
        "reportingMTA": "dns; amazonses.com",
    }


def _complaint(recipients: list[str], at: str) -> Json:
    return {
        "feedbackId": _feedback_id(),
        "complaintSubType": None,
        "complainedRecipients": [{"emailAddress": recipient} for recipient in recipients],
        "timestamp": at,
        "userAgent": "Amazon SES Mailbox Simulator",
        "complaintFeedbackType": "abuse",
        "arrivalDate": at,
    }


def _notification(message: str, account: Account, captured: Captured) -> str:
    """The SNS envelope, the subject included that real SES events carry. The signature signs nothing."""
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": str(uuid4()),
            "TopicArn": f"arn:aws:sns:{captured.region}:{account.number}:{QUEUE_NAME}",
            "Subject": "Amazon SES Email Event Notification",
            "Message": message,
            "Timestamp": stamp(captured.received_at),
            "SignatureVersion": "1",
            "Signature": "c2FuZGJveA==",
            "SigningCertURL": f"https://sns.{captured.region}.amazonaws.com/SimpleNotificationService-sandbox.pem",
            "UnsubscribeURL": f"https://sns.{captured.region}.amazonaws.com/?Action=Unsubscribe",
        }
    )


def _feedback_id() -> str:
    return f"0102{uuid4().hex[:12]}-{uuid4()}-000000"


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()
