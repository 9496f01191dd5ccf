"""What each type of event says of its own: the member beside `mail`. SES facts section 4 has them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import uuid4

from relay.sandbox.mailbox import stamp
from relay.sandbox.simulator import Outcome

Json = dict[str, object]

_MTA = "a1-1.smtp-out.amazonses.com"
_AGENT = "Mozilla/5.0 (the sandbox)"
_HARD = {"action": "failed", "status": "5.1.1"}
_UNKNOWN_USER = _HARD | {"diagnosticCode": "smtp; 550 5.1.1 user unknown"}
_SUPPRESSED = _HARD | {"diagnosticCode": "Amazon SES has suppressed sending to this address"}
_DELAYED = {"status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 Unable to connect to remote host"}
# fmt: off
BOUNCES: Mapping[Outcome, tuple[str, str, Mapping[str, str]]] = {
    # outcome:           (type,        subtype,      what each recipient adds)
    Outcome.BOUNCED:    ("Permanent", "General",    _UNKNOWN_USER),
    Outcome.SUPPRESSED: ("Permanent", "Suppressed", _SUPPRESSED),
    Outcome.AWAY:       ("Transient", "General",    {}),  # an out-of-office reply looks like a soft bounce
}
# fmt: on


def delivery(recipients: Sequence[str], at: datetime) -> Json:
    return {
        "timestamp": stamp(at),
        "processingTimeMillis": 1,
        "recipients": list(recipients),
        "smtpResponse": "250 2.0.0 Ok: queued in the sandbox",
        "reportingMTA": _MTA,
    }


def bounce(outcome: Outcome, recipients: Sequence[str], at: datetime) -> Json:
    kind, subtype, more = BOUNCES[outcome]
    return {
        "feedbackId": _feedback_id(),
        "bounceType": kind,
        "bounceSubType": subtype,
        "bouncedRecipients": [{"emailAddress": recipient, **more} for recipient in recipients],
        "timestamp": stamp(at),
        "reportingMTA": "dns; amazonses.com",
    }


def complaint(recipients: Sequence[str], at: datetime) -> Json:
    return {
        "feedbackId": _feedback_id(),
        "complaintSubType": None,
        "complainedRecipients": [{"emailAddress": recipient} for recipient in recipients],
        "timestamp": stamp(at),
        "userAgent": "Amazon SES Mailbox Simulator",
        "complaintFeedbackType": "abuse",
        "arrivalDate": stamp(at),
    }


def _send(recipients: Sequence[str], at: datetime) -> Json:
    return {}


def reject(recipients: Sequence[str], at: datetime) -> Json:
    return {"reason": "Bad content"}  # the only one there is


def _hard_bounce(recipients: Sequence[str], at: datetime) -> Json:
    return bounce(Outcome.BOUNCED, recipients, at)


def _delay(recipients: Sequence[str], at: datetime) -> Json:
    return {
        "timestamp": stamp(at),
        "delayType": "TransientCommunicationFailure",
        "expirationTime": stamp(at + timedelta(hours=14)),
        "delayedRecipients": [{"emailAddress": recipient, **_DELAYED} for recipient in recipients],
        "reportingMTA": _MTA,
    }


def _open(recipients: Sequence[str], at: datetime) -> Json:
    return {"ipAddress": "192.0.2.1", "timestamp": stamp(at), "userAgent": _AGENT}


def _click(recipients: Sequence[str], at: datetime) -> Json:
    return {**_open(recipients, at), "link": "https://example.com/", "linkTags": None}


def _rendering_failure(recipients: Sequence[str], at: datetime) -> Json:
    text = "Attribute 'name' is not present in the rendering data."
    return {"templateName": "sandbox", "errorMessage": text}


def _subscription(recipients: Sequence[str], at: datetime) -> Json:
    return {
        "contactList": "sandbox",
        "timestamp": stamp(at),
        "source": "UnsubscribeHeader",
        "newTopicPreferences": {"unsubscribeAll": True, "topicSubscriptionStatus": []},
        "oldTopicPreferences": {"unsubscribeAll": False, "topicSubscriptionStatus": []},
    }


# By `eventType`: the member's name, and what stands in it when nothing else is said.
KINDS: Mapping[str, tuple[str, Callable[[Sequence[str], datetime], Json]]] = {
    "Send": ("send", _send),
    "Delivery": ("delivery", delivery),
    "Bounce": ("bounce", _hard_bounce),
    "Complaint": ("complaint", complaint),
    "Reject": ("reject", reject),
    "Open": ("open", _open),
    "Click": ("click", _click),
    "Rendering Failure": ("failure", _rendering_failure),
    "DeliveryDelay": ("deliveryDelay", _delay),
    "Subscription": ("subscription", _subscription),
}


def _feedback_id() -> str:
    return f"0102{uuid4().hex[:12]}-{uuid4()}-000000"
