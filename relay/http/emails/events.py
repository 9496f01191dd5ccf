"""What happened to a message, in order: as this API tells it, and to who asks by a UUID as MailerLogic does."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from starlette.responses import Response

from relay.delivery import RecipientState
from relay.errors import Fault, Kind, Problem
from relay.http.dialects.mailerlogic import MAILERLOGIC
from relay.http.emails.showing import found
from relay.http.management.answers import View, done, listed, moment
from relay.http.management.asking import Listing, Nothing
from relay.http.management.rules import Call
from relay.http.state import dialect_of_request
from relay.message import uuid_of
from relay.store.clock import rfc3339
from relay.store.directory.paging import NO_CURSOR, Page, cursor_of, place_of
from relay.store.listing import DeliveryView, MessageView, RecipientView

FINISHED = {"sent": "email.sent", "failed": "email.failed", "cancelled": "email.cancelled"}
TOLD = {  # recipients' states that say more than that of their delivery
    each.value: f"email.{each.value}"
    for each in (
        RecipientState.DELAYED,
        RecipientState.SUPPRESSED,
        RecipientState.REJECTED,
        RecipientState.SOFT_BOUNCED,
        RecipientState.DELIVERED,
        RecipientState.BOUNCED,
        RecipientState.COMPLAINED,
    )
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to recipients of a message. `at` in milliseconds since 1970."""

    id: str
    name: str
    at: int
    recipients: tuple[RecipientView, ...]
    details: View


class Wanted(Listing):
    """Which page of the events. `page` and `type` are MailerLogic's."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    type: Annotated[str, Field(pattern="^[a-z_]{1,40}$")] | None = None


async def index(call: Call[Wanted, Nothing]) -> Response:
    message = await found(call)
    events = events_of(message)
    if dialect_of_request(call.request.scope) is MAILERLOGIC:
        _refuse(call.query, "cursor")
        return done(_mailerlogic(message, events, call.query, call.credential.tenant.name))
    _refuse(call.query, "page", "type")
    return listed(_page(events, call.query), _native)


def _refuse(asked: Wanted, *names: str) -> None:
    """Raises Problem(BAD_REQUEST) for what the other of the two ways to ask takes."""
    faults = [Fault(name, "is not a parameter of this request") for name in names if getattr(asked, name) is not None]
    if faults:
        raise Problem(Kind.BAD_REQUEST, faults=tuple(faults))


# -- where they come from: what the rows of a message say now --------------------------------------------------------


def events_of(message: MessageView) -> list[Event]:
    """The oldest first. What was overtaken (an attempt that failed before one that did not) is not among them."""
    return sorted(_events(message), key=lambda event: event.at)


def _events(message: MessageView) -> Iterator[Event]:
    everyone = tuple(person for each in message.deliveries for person in each.recipients)

    def event(number: int, name: str, at: int, people: Sequence[RecipientView], **details: str | int | None) -> Event:
        return Event(f"{message.public_id}-{number}-{name.partition('.')[2]}", name, at, tuple(people), details)

    yield event(0, "email.queued", message.accepted_at, everyone)
    if message.scheduled_at is not None:
        yield event(0, "email.scheduled", message.accepted_at, everyone, scheduled_at=moment(message.scheduled_at))
    for number, each in enumerate(message.deliveries, 1):
        if each.finished_at is not None:
            yield event(number, FINISHED[each.state], each.finished_at, _asked(each), **_details(each))
        later: dict[tuple[str, int], list[RecipientView]] = defaultdict(list)
        for person in each.recipients:
            if person.state in TOLD:
                later[person.state, person.updated_at].append(person)
        for (state, at), people in later.items():
            yield event(number, TOLD[state], at, people, ses_message_id=each.ses_message_id)


def _asked(delivery: DeliveryView) -> list[RecipientView]:
    """Those whom SES was to send it to, or was not any more."""
    return [person for person in delivery.recipients if person.state != RecipientState.SUPPRESSED.value]


def _details(delivery: DeliveryView) -> dict[str, str | int | None]:
    return {
        "attempts": delivery.attempts,
        "possible_duplicates": delivery.possible_duplicates,
        "ses_message_id": delivery.ses_message_id,
        "reason": delivery.kind,
        "detail": delivery.detail,
    }


# -- how they are told -----------------------------------------------------------------------------------------------


def _page(events: Sequence[Event], asked: Wanted) -> Page[Event]:
    start = 0
    if asked.cursor is not None:
        start = int(place_of(asked.cursor, int))
        if start >= len(events):
            raise Problem(Kind.BAD_REQUEST, faults=(Fault("cursor", NO_CURSOR),))
    end = start + asked.limit
    return Page(events[start:end], len(events), cursor_of(end) if end < len(events) else None)


def _native(event: Event) -> View:
    return {
        "id": event.id,
        "event": event.name,
        "created_at": rfc3339(event.at),
        "recipients": [person.address for person in event.recipients],
        "data": event.details,
    }


def _mailerlogic(message: MessageView, events: Sequence[Event], asked: Wanted, customer: str) -> View:
    """One event a recipient (MailerLogic contract 7). `customer_id` is the tenant's name."""
    every = [
        {
            "id": f"{event.id}-{number}",
            "email_id": uuid_of(message.public_id),
            "customer_id": customer,
            "event_type": event.name.partition(".")[2],
            "status": person.state,
            "recipient": person.address,
            "from": message.header_from,
            "timestamp": rfc3339(event.at),
            "event_data": event.details,
            "created_at": rfc3339(event.at),
        }
        for event in events
        for number, person in enumerate(event.recipients, 1)
        if asked.type is None or event.name == f"email.{asked.type}"
    ]
    page = asked.page or 1
    start = (page - 1) * asked.limit
    pagination = {
        "page": page,
        "limit": asked.limit,
        "total": len(every),
        "pages": math.ceil(len(every) / asked.limit),
    }
    return {"events": every[start : start + asked.limit], "pagination": pagination}
