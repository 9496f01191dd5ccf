"""The events SES publishes about an accepted message: JSON that names the mail, and what became of it.

SES developer guide, "Contents of event data that Amazon SES publishes to Amazon SNS".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from relay.sandbox import details
from relay.sandbox.details import Json
from relay.sandbox.mailbox import Captured, stamp
from relay.sandbox.mime import Headers
from relay.sandbox.simulator import Outcome, has_virus, outcome_of

_HEADER_BYTES = 10_240  # of headers copied into an event; the rest is cut, and headersTruncated says so
_NOT_DELIVERED = {Outcome.BOUNCED, Outcome.SUPPRESSED}


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` is the `eventType` in the message, which is JSON."""

    kind: str
    message: str


def events_of(captured: Captured, headers: Headers, number: str) -> Iterator[Event]:
    """What follows one accepted message, in the order SES mostly keeps. `number` is its account's."""
    mail = mail_of(captured, headers, number)
    for kind, detail in _happenings(captured):
        yield event_of(kind, mail, detail)


def event_of(kind: str, mail: Json, detail: Json) -> Event:
    return Event(kind, json.dumps({"eventType": kind, "mail": mail, details.KINDS[kind][0]: detail}))


def mail_of(captured: Captured, headers: Headers, number: str) -> Json:
    """The member `mail`, the same in all events of a message."""
    domain = _domain(captured.sender)
    fields = {name.lower(): value for name, value in reversed(headers)}
    copied, is_cut = _cut(headers)
    common: Json = {
        "from": [fields.get("from", captured.sender)],
        "to": [fields["to"]] if "to" in fields else [],
        "messageId": fields.get("message-id", captured.id),
    }
    common |= {name: fields[name] for name in ("subject", "date") if name in fields}
    own_tags = {name: [value] for name, value in captured.tags.items()}
    return {
        "timestamp": stamp(captured.received_at),
        "source": captured.sender,
        "sourceArn": f"arn:aws:ses:{captured.region}:{number}:identity/{domain}",
        "sendingAccountId": number,
        "messageId": captured.id,
        "destination": captured.recipients,
        "headersTruncated": is_cut,
        "headers": [{"name": name, "value": value} for name, value in copied],
        "commonHeaders": common,
        "tags": {
            "ses:operation": ["SendRawEmail"],
            "ses:configuration-set": [captured.configuration_set],
            "ses:source-ip": ["127.0.0.1"],
            "ses:from-domain": [domain],
            "ses:caller-identity": [captured.account],
        }
        | own_tags,
    }


def _happenings(captured: Captured) -> Iterator[tuple[str, Json]]:
    at = captured.received_at
    yield "Send", {}
    if has_virus(captured.raw):
        yield "Reject", details.reject(captured.recipients, at)
        return
    by_outcome: dict[Outcome, list[str]] = {}
    for recipient in captured.recipients:
        by_outcome.setdefault(outcome_of(recipient), []).append(recipient)
    arrived = [r for outcome in Outcome if outcome not in _NOT_DELIVERED for r in by_outcome.get(outcome, [])]
    for _, group in groupby(sorted(arrived, key=_domain), key=_domain):  # one SMTP transaction per domain
        yield "Delivery", details.delivery(list(group), at)
    for outcome, recipients in by_outcome.items():
        if outcome in details.BOUNCES:
            yield "Bounce", details.bounce(outcome, recipients, at)
        elif outcome is Outcome.COMPLAINED:
            yield "Complaint", details.complaint(recipients, at)


def _cut(headers: Headers) -> tuple[Headers, bool]:
    size = 0
    for count, (name, value) in enumerate(headers):
        size += len(name) + len(value) + 4
        if size >= _HEADER_BYTES:
            return headers[:count], True
    return headers, False


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()
