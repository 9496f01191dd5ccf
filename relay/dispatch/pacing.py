"""How fast a lane may go: a token bucket that counts recipients, slows on a throttle, and grows back with care.

Pure: every method is given the time, in seconds of any steady clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

SHARE = 0.9  # of the account's MaxSendRate: others may send from it, too
SLOWED_FOR = timedelta(seconds=5)
EPISODE = timedelta(seconds=1)  # throttles so soon after one say nothing new: their calls were under way
GROWTH = 0.05  # of the full rate, per second
NEAR = 0.9  # of the rate that was too fast the last time: from there on it is felt for
CAREFUL_GROWTH = 0.005
FLOOR = 0.05  # of the full rate: a throttle storm must not stop the lane for good


@dataclass(slots=True)
class Pace:
    """The bucket of one lane. `full` is recipients per second; it holds at most a second of them.

    A call of more recipients than the bucket can ever hold starts when it is full and leaves it in debt. Who else sends
    from the account is not known: a throttle below the full rate says that somebody does, and how much he leaves.
    """

    full: float
    at: float
    tokens: float = 0.0
    rate: float = 0.0
    slowed_at: float = float("-inf")
    too_fast: float = float("inf")  # the rate at the last throttle
    throttles: int = 0

    @classmethod
    def at_rate(cls, rate: float, now: float) -> Pace:
        return cls(full=rate, at=now, tokens=max(1.0, rate), rate=rate)

    @property
    def burst(self) -> float:
        return max(1.0, self.rate)

    def advance(self, now: float) -> None:
        """Let time pass: tokens come in, and a slowed rate grows back."""
        elapsed = max(0.0, now - self.at)
        self.at = max(now, self.at)
        growing = min(elapsed, now - self.slowed_at - SLOWED_FOR.total_seconds())
        if self.rate < self.full and growing > 0:
            self._grow(growing)
        self.tokens = min(self.burst, self.tokens + elapsed * self.rate)

    def _grow(self, seconds: float) -> None:
        near = min(self.full, self.too_fast * NEAR)
        if self.rate < near:
            needed = (near - self.rate) / (self.full * GROWTH)
            self.rate = min(near, self.rate + self.full * GROWTH * seconds)
            seconds -= needed
        if seconds > 0:
            self.rate = min(self.full, self.rate + self.full * CAREFUL_GROWTH * seconds)
        if self.rate >= self.full:
            self.too_fast = float("inf")

    def startable(self, now: float) -> int:
        """How many recipients may start now; a single larger delivery may, too, when this is the whole burst."""
        self.advance(now)
        return int(self.tokens) if self.tokens >= 1 else 0

    def can_start(self, recipients: int, now: float) -> bool:
        free = self.startable(now)
        return free >= min(recipients, int(self.burst)) and free > 0

    def spend(self, recipients: int) -> None:
        self.tokens -= recipients

    def wait(self) -> float:
        """Seconds until one more recipient may start."""
        return max(0.0, (1.0 - self.tokens) / self.rate)

    def slow(self, now: float) -> None:
        """SES asked for less: half the rate, at least for a while. Once for all calls that were under way."""
        self.advance(now)
        self.throttles += 1
        self.tokens = min(self.tokens, 0.0)
        if now - self.slowed_at < EPISODE.total_seconds():
            return
        self.too_fast = self.rate
        self.rate = max(self.full * FLOOR, self.rate / 2)
        self.slowed_at = now

    def assume(self, full: float, now: float) -> None:
        """Another full rate, keeping any slow-down in proportion."""
        self.advance(now)
        change = full / self.full
        self.full = full
        self.rate *= change
        self.too_fast *= change
        self.tokens = min(self.tokens, self.burst)

    def retune(self, rate: float, now: float) -> None:
        """Take over the account's live MaxSendRate, keeping any slow-down in proportion."""
        self.assume(max(rate * SHARE, 0.1), now)
