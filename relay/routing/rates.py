"""How fast a key may go: requests over HTTP are counted and refused, mail over SMTP is spread over time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from limits import RateLimitItemPerMinute
from limits.strategies import MovingWindowRateLimiter

from relay.errors import Kind, Problem
from relay.routing.windows import Windows

MINUTE = 60.0  # seconds
KEYS = 20_000  # counted at once in one scope
LEAST_SWEPT = 1024


def rate_of(key_rate: int | None, plan_rate: int | None, published: int) -> int:
    """Requests a minute: the key's own, else its tenant's plan's, else what the dialect publishes."""
    return next(rate for rate in (key_rate, plan_rate, published) if rate is not None)


@dataclass(frozen=True, slots=True)
class Allowed:
    """What became of a request. `remaining`: further ones now. `reset_at`: Unix second at which one more comes free.

    `retry_after`: None for a request that may pass; it passes after this long, if no other takes its place.
    """

    limit: int
    remaining: int
    reset_at: int
    retry_after: timedelta | None


class Rates:
    """Requests within the last minute, by scope and key.

    A moving window, since it keeps what it says: never more than the limit within any 60 seconds. A sliding-window
    counter needs less memory, but lets twice as many pass around the turn of a minute. The memory is bounded by the
    requests that were let in within a minute, and by 20,000 keys in each scope: a stranger with many addresses pushes
    out other strangers of its scope, never the count of an API key. Scopes are few, and named by us.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._limiters: dict[str, MovingWindowRateLimiter] = {}

    def hit(self, scope: str, key: str, per_minute: int) -> Allowed:
        """Count a request, unless it is refused. With another rate than before a key starts anew."""
        limiter = self._limiters.get(scope)
        if limiter is None:
            limiter = self._limiters[scope] = MovingWindowRateLimiter(Windows(KEYS, self._clock))
        item = RateLimitItemPerMinute(per_minute)
        is_allowed = limiter.hit(item, key)
        window = limiter.get_window_stats(item, key)
        left = max(0.0, window.reset_time - self._clock())
        return Allowed(
            limit=per_minute,
            remaining=max(0, window.remaining),
            reset_at=math.ceil(self._wall_clock() + left),
            retry_after=None if is_allowed else timedelta(milliseconds=math.ceil(left * 1000)),
        )


def headers(allowed: Allowed) -> dict[str, str]:
    """The headers of an answer that say how much is left; `Retry-After` comes with the refusal."""
    return {
        "X-RateLimit-Limit": str(allowed.limit),
        "X-RateLimit-Remaining": str(allowed.remaining),
        "X-RateLimit-Reset": str(allowed.reset_at),
    }


def refusal(allowed: Allowed) -> Problem:
    """What a request over the rate is told."""
    return Problem(
        Kind.RATE_LIMITED,
        f"more than {allowed.limit} requests within a minute: wait, then try again",
        retry_after=allowed.retry_after,
    )


class Pacer:
    """How much later than at once a message of a key is due, so that its rate holds though nothing is refused.

    The generic cell rate algorithm: a key has a minute's worth at once, then one message every 60/rate seconds. It
    remembers one number of a key while that has mail ahead; each process paces for itself, and anew after a restart.
    """

    def __init__(self) -> None:
        self._full_at: dict[int, float] = {}  # when the key has its whole minute's worth again
        self._sweep_over = LEAST_SWEPT

    def __len__(self) -> int:
        return len(self._full_at)

    def delay(self, key_id: int, per_minute: int | None, now: float) -> timedelta:
        """Count one message, now in seconds of any steady clock. None: without a rate, and not counted."""
        if per_minute is None:
            return timedelta(0)
        full_at = max(self._full_at.get(key_id, now), now) + MINUTE / per_minute
        self._full_at[key_id] = full_at
        if len(self._full_at) > self._sweep_over:
            self._full_at = {key: at for key, at in self._full_at.items() if at > now}
            self._sweep_over = max(LEAST_SWEPT, 2 * len(self._full_at))
        return timedelta(seconds=max(0.0, full_at - now - MINUTE))
