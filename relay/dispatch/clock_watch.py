"""Notices that this machine's clock was set back, and keeps mail from waiting until it has caught up.

On SQLite, where the queue goes by that clock. On PostgreSQL it goes by the server's, which is not ours to watch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from relay import log
from relay.store import listing, rewinding
from relay.store.clock import milliseconds, now_ms
from relay.store.queue import Queue
from relay.store.store import Store
from relay.store.writer import Rank

TOLERATED = timedelta(seconds=5)  # less is what keeping a clock right takes


class ClockWatch:
    """`note` is told which queues have work again. `wall` and `steady` give seconds."""

    def __init__(
        self,
        store: Store,
        note: Callable[[Queue, int], None],
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._note = note
        self._wall = wall
        self._steady = steady
        self._ahead = wall() - steady()

    async def start(self) -> None:
        """What is there was accepted in the past: if it seems not so, the clock was set back since."""
        if self._store.is_alone:
            await self._follow(timedelta(milliseconds=await self._store.read(rewinding.newest) - now_ms()))

    async def look(self) -> None:
        """From time to time. A clock that is set forward makes mail due early, and the pace keeps it apart."""
        ahead = self._wall() - self._steady()
        if self._store.is_alone:
            await self._follow(timedelta(seconds=self._ahead - ahead))
        self._ahead = ahead  # after it was followed: else the next look does that

    async def _follow(self, by: timedelta) -> None:
        if by <= TOLERATED:
            return
        log.trouble("clock.set_back", seconds=round(by.total_seconds()))
        await self._store.write(rewinding.rewind_unknown, milliseconds(by), Rank.SWEEP)
        for queue in await self._store.read(listing.waiting):
            place: rewinding.Place | None = rewinding.START
            while place is not None:
                item = rewinding.Rewind(queue, milliseconds(by), place)
                place = await self._store.write(rewinding.rewind, item, Rank.SWEEP)
        for queue, due in (await self._store.read(listing.waiting)).items():
            self._note(queue, due)
