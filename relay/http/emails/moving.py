"""What whoever sent a message may do to it while it waits: cancel, hold and release it, try it now or another time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator
from starlette.responses import Response

from relay import log
from relay.delivery import State
from relay.http.emails.showing import found, told
from relay.http.management.answers import done
from relay.http.management.asking import Moment, Nothing, Said
from relay.http.management.rules import Call
from relay.message import Stream
from relay.routing.options import AHEAD
from relay.store import hand
from relay.store.clock import moment_ms, now_ms
from relay.store.hand import ByHand, Verb
from relay.values import Section


def _within_reach(value: datetime) -> datetime:
    if value - datetime.now(UTC) > AHEAD:
        raise ValueError(f"is more than {AHEAD.days} days ahead")
    return value


class Rescheduled(Section):
    """`scheduled_at`: at most 30 days from now; what is over already means now."""

    scheduled_at: Annotated[Moment, AfterValidator(_within_reach)]


class Why(Section):
    """`reason`: why, for whoever looks at the message later."""

    reason: Said | None = None


async def cancel(call: Call[Nothing, Nothing]) -> Response:
    """What has not been sent of it will not be."""
    return await _moved(call, Verb.CANCEL)


async def retry(call: Call[Nothing, Nothing]) -> Response:
    """Of an unknown outcome, too: Amazon SES may get that twice."""
    return await _moved(call, Verb.RETRY)


async def reschedule(call: Call[Nothing, Rescheduled]) -> Response:
    return await _moved(call, Verb.RESCHEDULE, due_at=moment_ms(call.body.scheduled_at))


async def hold(call: Call[Nothing, Why]) -> Response:
    """What is queued of it stays where it is, for 5 days at most."""
    return await _moved(call, Verb.HOLD, reason=call.body.reason or "")


async def release(call: Call[Nothing, Why]) -> Response:
    """It goes on as if it had not been held; what is for later still is."""
    return await _moved(call, Verb.RELEASE, reason=call.body.reason or "")


async def _moved(call: Call[Nothing, Any], verb: Verb, *, due_at: int | None = None, reason: str = "") -> Response:
    """What has become of it. Raises Problem(NOT_FOUND | CONFLICT)."""
    message = await found(call)
    item = ByHand(message.public_id, verb, due_at, by=call.actor, reason=reason)
    await call.state.store.change(lambda db: hand.move(db, item))
    log.event(f"message.{verb.done}", id=message.public_id, request_id=call.request.state.request_id)
    if verb.to is State.QUEUED:
        call.state.note((message.domain, Stream(message.stream)), due_at or now_ms())
    return done(await told(call, await found(call)))
