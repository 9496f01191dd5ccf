"""What is to be expected of a lane: what keeps the mail of a queue, and when it will go."""

from __future__ import annotations

import time

from relay.dispatch.allowance import Allowance
from relay.dispatch.estimates import Backlog
from relay.dispatch.pacing import Pace
from relay.dispatch.slots import Slots
from relay.dispatch.slowing import Slowing
from relay.dispatch.stops import Stops
from relay.dispatch.turns import Turns
from relay.errors import Kind
from relay.message import Stream
from relay.routing.standing import ACCOUNT
from relay.store.clock import now_ms
from relay.store.queue import Queue

LOOK_AGAIN = 1.0  # seconds: how old may be what is known of what waits


class Outlook:
    """Of one lane, whose parts it looks at."""

    def __init__(
        self, turns: Turns, pace: Pace, slots: Slots, allowance: Allowance, stops: Stops, slowing: Slowing
    ) -> None:
        self._turns = turns
        self._pace = pace
        self._slots = slots
        self._allowance = allowance
        self._stops = stops
        self._slowing = slowing
        self._backlog, self._backlog_at = Backlog(()), float("-inf")

    @property
    def is_short(self) -> bool:
        """Whether mail may be waiting for something that GetAccount tells."""
        stop = self._stops.by_ses().get(ACCOUNT)
        is_stopped = stop is not None and stop.kind in {Kind.SES_PAUSED, Kind.SES_QUOTA}
        return is_stopped or self._allowance.is_used_up(Stream.BROADCAST)

    def used_up(self, stream: Stream) -> str | None:
        """What is to be said where the account may not send any more mail of this sort today."""
        allowance = self._allowance
        if not allowance.is_used_up(stream):
            return None
        said = f"{allowance.used():.0f} of {allowance.daily:.0f} recipients in 24 hours are used up"
        if not allowance.is_used_up(Stream.TRANSACTIONAL):
            said += ", and the rest is kept for transactional mail"
        return f"{said}: mail goes on as SES's window frees some, or ask AWS for more"

    def held(self, domain: str, stream: Stream) -> tuple[Kind, str] | None:
        """What keeps the mail of a queue, and in which words."""
        if (stopped := self._stops.of(domain)) is not None:
            return stopped
        said = self.used_up(stream)
        return None if said is None else (Kind.SES_QUOTA, said)

    def estimate(self, queue: Queue, due_at: int, ahead: int | None = None) -> int | None:
        """When a delivery of a queue will be tried, in milliseconds since 1970; None while something keeps it.

        `ahead`: how many go before it in the queue; None: as many as wait there, for it comes now.
        """
        domain, stream = queue
        if not self._stops.is_open(domain) or self._allowance.is_used_up(stream):
            return None
        now = time.monotonic()
        self._pace.advance(now)
        waiting = self._turns.waiting(queue)
        size = 1.0 if waiting is None else waiting.size
        if ahead is None:
            is_behind = waiting is not None and (waiting.is_ready or domain in self._slowing)
            ahead = waiting.count if waiting is not None and is_behind else 0
        work = self._waiting(now).work_before(queue, self._turns.tenant(domain), (ahead + 1) * size)
        speed = min(self._pace.rate, self._slots.throughput())
        slowed = self._slowing.seconds(domain, (ahead + 1) * size)
        return max(due_at, now_ms() + round(1000 * max(slowed, (work - self._pace.tokens) / speed)))

    def _waiting(self, now: float) -> Backlog:
        if now - self._backlog_at > LOOK_AGAIN:
            self._backlog_at = now
            self._backlog = Backlog(
                (queue, self._turns.tenant(queue[0]), waiting.recipients) for queue, waiting in self._turns.ready()
            )
        return self._backlog
