"""What whoever sent a message may do to it while it waits: cancel it, try it now, send it at another time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator
from starlette.responses import Response

from relay import log
from relay.delivery import State as DeliveryState
from relay.http.emails.showing import found, shown
from relay.http.management.answers import done
from relay.http.management.asking import Moment, Nothing
from relay.http.management.rules import Call
from relay.message import Stream
from relay.routing.options import AHEAD
from relay.store import hand
from relay.store.clock import moment_ms, now_ms
from relay.store.hand import ByHand
from relay.values import Section


def _within_reach(value: datetime) -> datetime:
    if value - datetime.now(UTC) > AHEAD:
        raise ValueError(f"is more than {AHEAD.days} days ahead")
    return value


class Rescheduled(Section):
    """`scheduled_at`: at most 30 days from now; what is over already means now."""

    scheduled_at: Annotated[Moment, AfterValidator(_within_reach)]


async def cancel(call: Call[Nothing, Nothing]) -> Response:
    """What has not been sent of it will not be."""
    return await _moved(call, DeliveryState.CANCELLED)


async def retry(call: Call[Nothing, Nothing]) -> Response:
    """Of an unknown outcome, too: Amazon SES may get that twice."""
    return await _moved(call, DeliveryState.QUEUED)


async def reschedule(call: Call[Nothing, Rescheduled]) -> Response:
    return await _moved(call, DeliveryState.QUEUED, moment_ms(call.body.scheduled_at))


async def _moved(
    call: Call[Nothing, Nothing] | Call[Nothing, Rescheduled], to: DeliveryState, due_at: int | None = None
) -> Response:
    """What has become of it. Raises Problem(NOT_FOUND | CONFLICT)."""
    message = await found(call)
    item = ByHand(message.public_id, to, due_at, by=call.actor)
    await call.state.store.change(lambda db: hand.move(db, item))
    log.event(f"message.{item.verb}", id=message.public_id, request_id=call.request.state.request_id)
    if to is DeliveryState.QUEUED:
        call.state.note((message.domain, Stream(message.stream)), due_at or now_ms())
    return done(shown(call, await found(call)))
