"""What happened to a message, in order: as this API tells it, and to who asks by a UUID as MailerLogic does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from pydantic import Field
from starlette.responses import Response

from relay.errors import Fault, Kind, Problem
from relay.http.dialects import mailerlogic_events as mailerlogic
from relay.http.dialects.mailerlogic import MAILERLOGIC
from relay.http.emails.showing import found
from relay.http.management.answers import View, done, listed
from relay.http.management.asking import Listing, Nothing, refuse_of
from relay.http.management.rules import Call
from relay.http.state import dialect_of_request
from relay.store import timeline
from relay.store.clock import rfc3339
from relay.store.directory.paging import NO_CURSOR, Page, cursor_of, place_of
from relay.store.timeline import Event


class Wanted(Listing):
    """Which page of the events. `page` and `type` are MailerLogic's."""

    page: mailerlogic.PageNumber | None = None
    type: Annotated[str, Field(pattern="^[a-z_]{1,40}$")] | None = None


async def index(call: Call[Wanted, Nothing]) -> Response:
    message = await found(call)
    events = await call.state.store.read(partial(timeline.timeline, message=message))
    if dialect_of_request(call.request.scope) is MAILERLOGIC:
        refuse_of(call.query, "cursor")
        told = mailerlogic.told(message, events, call.credential.tenant.name)
        return done(mailerlogic.page(told, call.query.page or 1, call.query.limit, type=call.query.type))
    refuse_of(call.query, "page", "type")
    return listed(_page(events, call.query), _native)


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
        "data": dict(event.details),
    }
