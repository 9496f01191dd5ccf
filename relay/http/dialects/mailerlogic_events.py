"""Events of messages as MailerLogic tells them: one for each recipient, on numbered pages (MailerLogic contract 7)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from relay.delivery import RecipientState
from relay.message import uuid_of
from relay.store.clock import rfc3339
from relay.store.listing import MessageView
from relay.store.timeline import Event

PageNumber: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000)]
View: TypeAlias = dict[str, Any]


def told(message: MessageView, events: Iterable[Event], customer: str) -> list[View]:
    """The events of one message, in their order. `customer` is the tenant's name."""
    return [
        {
            "id": f"{event.id}-{number}",
            "email_id": uuid_of(message.public_id),
            "customer_id": customer,
            "event_type": event.name.partition(".")[2],
            "status": person.state,
            "recipient": person.address,
            "from": message.header_from,
            "timestamp": rfc3339(event.at),
            "event_data": dict(event.details),
            "created_at": rfc3339(event.at),
        }
        for event in events
        for number, person in enumerate(event.recipients, 1)
    ]


def page(every: Sequence[View], number: int, limit: int, *, type: str | None = None) -> View:
    """One page of those of a type."""
    chosen = [each for each in every if type is None or each["event_type"] == type]
    start = (number - 1) * limit
    pagination = {"page": number, "limit": limit, "total": len(chosen), "pages": math.ceil(len(chosen) / limit)}
    return {"events": chosen[start : start + limit], "pagination": pagination}


# -- for the reference -----------------------------------------------------------------------------------------------


class Told(BaseModel):
    model_config = ConfigDict(extra="forbid")


class MailerLogicEvent(Told):
    """One event of one recipient (MailerLogic contract 7)."""

    id: str
    email_id: str
    customer_id: str
    event_type: str
    status: RecipientState
    recipient: str | None
    sender: str | None = Field(alias="from")
    timestamp: datetime
    event_data: dict[str, Any]
    created_at: datetime


class Pagination(Told):
    page: int
    limit: int
    total: int
    pages: int


class MailerLogicEvents(Told):
    """A page of a message's events, as MailerLogic tells them."""

    events: list[MailerLogicEvent]
    pagination: Pagination
