"""Bounds that hold across both edges: how much of other people's messages may be in memory and in work at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

from relay.errors import Kind, Problem

LARGE = 256 << 10  # octets: what is done to more of them at once would hold the event loop for long
Answer = TypeVar("Answer")

FOR_LARGE = 0.9  # of the budget: the rest is for small messages, which go on while large ones are refused

RETRY_AFTER = timedelta(seconds=10)


class MemoryBudget:
    """Octets of messages being received. A share is taken as they arrive and given back when they are durable."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0

    def share(self) -> Share:
        return Share(self)

    def is_over(self, part: float) -> bool:
        """Whether more than this part of it is used."""
        return self.used > part * self._limit

    def _take(self, octets: int, *, is_large: bool) -> None:
        if self.used + octets > self._limit * (FOR_LARGE if is_large else 1):
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
        self._ahead = 0

    def expect(self, octets: int) -> None:
        """Take what is to come before it comes, so that it is refused at once or not at all. Raises as `take`."""
        self.take(octets)
        self._ahead = octets

    def take(self, octets: int) -> None:
        """Raises Problem(OVERLOADED) where the budget is used up; what was held stays held."""
        ahead = min(octets, self._ahead)
        self._ahead -= ahead
        octets -= ahead
        if octets:
            self._budget._take(octets, is_large=self._held + octets > LARGE)
            self._held += octets

    def release(self) -> None:
        self._budget.used -= self._held
        self._held = self._ahead = 0

    def __enter__(self) -> Share:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Gate:
    """Lets so many octets through at a time, in the order in which they come. What is larger passes alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self._turn = asyncio.Lock()  # first come, first served
        self._left = asyncio.Event()

    @asynccontextmanager
    async def through(self, octets: int) -> AsyncIterator[None]:
        async with self._turn:
            while self._inside and self._inside + octets > self._limit:
                self._left.clear()
                await self._left.wait()
            self._inside += octets
        try:
            yield
        finally:
            self._inside -= octets
            self._left.set()


async def together(works: Sequence[Coroutine[Any, Any, Answer]]) -> list[Answer]:
    """Do all side by side; one alone needs no task, which costs more than most of what is done so."""
    return [await works[0]] if len(works) == 1 else await asyncio.gather(*works)


async def beside_the_loop(size: int, work: Callable[[], Answer]) -> Answer:
    """Do `work` on `size` octets: at once if they are few, in a thread if they are many."""
    return work() if size <= LARGE else await asyncio.to_thread(work)
