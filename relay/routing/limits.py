"""Bounds that hold across both edges: how much of other people's messages may be in memory at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from relay.errors import Kind, Problem

LARGE = 1 << 20  # octets: what is done to more of them would hold the event loop for long
Answer = TypeVar("Answer")

RETRY_AFTER = timedelta(seconds=10)


class MemoryBudget:
    """Octets of messages being received. A share is taken as they arrive and given back when they are durable."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0

    def share(self) -> Share:
        return Share(self)

    def _take(self, octets: int) -> None:
        if self.used + octets > self._limit:
            raise Problem(
                Kind.OVERLOADED,
                "too many large messages are being received: try again shortly",
                retry_after=RETRY_AFTER,
            )
        self.used += octets


class Share:
    """What one message holds of the budget. Use as a context manager: it is given back however the message ends."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._held = 0

    def take(self, octets: int) -> None:
        """Raises Problem(OVERLOADED) where the budget is used up; what was held stays held."""
        self._budget._take(octets)
        self._held += octets

    def release(self) -> None:
        self._budget.used -= self._held
        self._held = 0

    def __enter__(self) -> Share:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


async def beside_the_loop(size: int, work: Callable[[], Answer]) -> Answer:
    """Do `work` on `size` octets: at once if they are few, in a thread if they are many."""
    return work() if size <= LARGE else await asyncio.to_thread(work)
