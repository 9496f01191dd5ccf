"""How fast a lane may go: a token bucket that counts recipients, slows on a throttle, and knows the daily quota.

Pure: every method is given the time, in seconds of any steady clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

SHARE = 0.9  # of the account's MaxSendRate: others may send from it, too
DAILY_SHARE = 0.98
OUT_OF_QUOTA = timedelta(seconds=60)  # until the next look: the window is rolling, so a little may come free
SLOWED_FOR = timedelta(seconds=5)
GROWTH = 0.05  # of the full rate, per second
FLOOR = 0.05  # of the full rate: a throttle storm must not stop the lane for good


@dataclass(slots=True)
class Pace:
    """The bucket of one lane. `full` is recipients per second; it holds at most a second of them.

    A call of more recipients than the bucket can ever hold starts when it is full and leaves it in debt.
    """

    full: float
    at: float
    tokens: float = 0.0
    rate: float = 0.0
    slowed_until: float = 0.0
    daily_left: float | None = None

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
        if self.rate < self.full and now > self.slowed_until:
            growing = min(elapsed, now - self.slowed_until)
            self.rate = min(self.full, self.rate + self.full * GROWTH * growing)
        self.tokens = min(self.burst, self.tokens + elapsed * self.rate)

    def startable(self, now: float) -> int:
        """How many recipients may start now; a single larger delivery may, too, when this is the whole burst."""
        self.advance(now)
        free = int(self.tokens) if self.tokens >= 1 else 0
        return free if self.daily_left is None else max(0, min(free, int(self.daily_left)))

    def can_start(self, recipients: int, now: float) -> bool:
        free = self.startable(now)
        return free >= min(recipients, int(self.burst)) and free > 0

    def spend(self, recipients: int) -> None:
        self.tokens -= recipients
        if self.daily_left is not None:
            self.daily_left -= recipients

    def wait(self) -> float:
        """Seconds until one more recipient may start."""
        if self.daily_left is not None and self.daily_left < 1:
            return OUT_OF_QUOTA.total_seconds()
        return max(0.0, (1.0 - self.tokens) / self.rate)

    def slow(self, now: float) -> None:
        """SES asked for less: half the rate, at least for a while."""
        self.advance(now)
        self.rate = max(self.full * FLOOR, self.rate / 2)
        self.tokens = min(self.tokens, 0.0)
        self.slowed_until = now + SLOWED_FOR.total_seconds()

    def assume(self, full: float, now: float) -> None:
        """Another full rate, keeping any slow-down in proportion."""
        self.advance(now)
        slowed = self.rate / self.full
        self.full = full
        self.rate = full * slowed

    def retune(self, rate: float, daily: float | None, sent_today: float, now: float) -> None:
        """Take over the account's live limits, keeping any slow-down in proportion."""
        self.assume(max(rate * SHARE, 0.1), now)
        self.daily_left = None if daily is None else daily * DAILY_SHARE - sent_today
