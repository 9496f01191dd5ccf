"""What the sender of a message is to be told of it later, as its envelope asks (RFC 3461). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from relay.config import Bounces
from relay.delivery import Report
from relay.message import Submission
from relay.store.arriving import NewDelivery
from relay.store.clock import milliseconds
from relay.store.fates import asked_for


def reported(
    deliveries: Sequence[NewDelivery], submission: Submission, bounces: Bounces, *, is_bulk: bool, due_at: int
) -> tuple[NewDelivery, ...]:
    """The deliveries with what is to be told of each: nothing of what came over HTTP, has no sender, or is bulk.

    `due_at`: when they are first due, in milliseconds since 1970. What its header says is asked when it comes to it.
    """
    is_smtp = submission.trace.protocol != "HTTP"
    if not (bounces.enabled and is_smtp and submission.sender is not None) or is_bulk:
        return tuple(deliveries)
    late_at = due_at + milliseconds(bounces.delay_after)
    return tuple(_reported(each, late_at) for each in deliveries)


def _reported(delivery: NewDelivery, late_at: int) -> NewDelivery:
    wanted = Report.NONE
    for _, addressee, _ in delivery.recipients:
        wanted |= asked_for(addressee.notify)
    return replace(delivery, reports=wanted, delay_at=late_at if Report.DELAY in wanted else None)
