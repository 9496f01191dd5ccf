"""What an SES account may still send in its rolling 24 hours, as far as is known here. Pure.

Every method is given the time, in seconds of any steady clock. What is counted is recipients (SES fact 3).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from relay.message import Stream

DAY = 86_400.0
SAFE = 0.98  # of the quota: what SES says of the last 24 hours comes a little late


@dataclass(slots=True)
class Allowance:
    """The guard of one account's daily quota. `reserve`: the part of it that only transactional mail may use.

    What SES counts includes others that send from the account; what was counted here is there though SES is late.
    """

    reserve: float
    daily: float | None = None  # None: unlimited, or not known
    sent_at: float | None = None  # when SES last had, or may have had, mail of this process
    _said: float = 0.0  # by SES, when it was asked last
    _since: int = 0  # recipients begun since then
    _open: int = 0  # recipients of calls under way
    _own: int = 0  # recipients sent in the 24 hours that end at the last minute below
    _minutes: deque[tuple[int, int]] = field(default_factory=deque)

    def learn(self, daily: float | None, sent: float, now: float) -> None:
        """What GetAccount says. It may or may not have counted the calls under way: they are counted once more."""
        self._forget(now)
        self.daily = daily
        self._said = sent
        self._since = self._open

    def begin(self, recipients: int) -> None:
        """A call for so many is about to start."""
        self._open += recipients
        self._since += recipients

    def end(self, recipients: int, now: float, *, is_sent: bool) -> None:
        """The call has ended. `is_sent`: SES has it, or may have."""
        self._open -= recipients
        if not is_sent:
            self._since = max(0, self._since - recipients)
            return
        self.sent_at = now
        self._forget(now)
        minute = int(now // 60)
        if self._minutes and self._minutes[-1][0] == minute:
            recipients_before = self._minutes.pop()[1]
            self._minutes.append((minute, recipients_before + recipients))
        else:
            self._minutes.append((minute, recipients))
        self._own += recipients

    def used(self) -> float:
        """Of the quota, by all who send from the account."""
        return max(self._said + self._since, self._own + self._open)

    def others(self) -> float:
        """What SES had counted when it was asked and this process had not sent."""
        return max(0.0, self._said + self._since - self._own - self._open)

    def left(self, stream: Stream) -> float:
        """How many recipients mail of this sort may still be sent to: infinite without a quota, never negative."""
        if self.daily is None:
            return float("inf")
        part = SAFE if stream is Stream.TRANSACTIONAL else min(SAFE, 1 - self.reserve)
        return max(0.0, float(int(self.daily * part - self.used())))

    def is_used_up(self, stream: Stream) -> bool:
        return self.left(stream) < 1

    def _forget(self, now: float) -> None:
        while self._minutes and self._minutes[0][0] * 60 <= now - DAY:
            self._own -= self._minutes.popleft()[1]
