"""Outcomes that no answer told: how long an event of SES may still tell them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

LIVE_FOR = timedelta(seconds=90)  # after its last sign of life: a long poll of an empty queue takes 20 s
NOTHING = timedelta(0)  # without events an unknown outcome stays unknown: waiting teaches nothing


class Feedback:
    """Whether the events of each SES account are to be had. Moments are seconds of a monotonic clock.

    Nobody has been heard at first. `window` is how long the outcome of an attempt may be waited for while they are.
    """

    def __init__(self, window: timedelta) -> None:
        self.longest = window
        self._heard: dict[str, float] = {}

    def heard(self, account: str, now: float) -> None:
        """An event of the account came, or its queue was asked and had none."""
        self._heard[account] = max(now, self._heard.get(account, now))

    def is_live(self, account: str, now: float) -> bool:
        at = self._heard.get(account)
        return at is not None and now - at <= LIVE_FOR.total_seconds()

    def window(self, account: str, now: float) -> timedelta:
        """How long an outcome that becomes unknown now is waited for."""
        return self.longest if self.is_live(account, now) else NOTHING

    def silent(self, accounts: Iterable[str], now: float) -> tuple[str, ...]:
        """Those of which nothing can be learnt now: what waits for their events waits no longer."""
        return tuple(sorted(account for account in accounts if not self.is_live(account, now)))
