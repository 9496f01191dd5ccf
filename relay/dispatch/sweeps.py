"""What time brings, looked for again and again: unknown outcomes, mail that waited too long, content that can go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from relay import log
from relay.delivery import RetryPolicy
from relay.dispatch.clock_watch import ClockWatch
from relay.dispatch.reports import announce
from relay.dispatch.unknown import Feedback
from relay.dispatch.upkeep import Upkeep
from relay.metrics import Metrics
from relay.store import feeds, lateness, listing, sweeping
from relay.store.clock import milliseconds, now_ms
from relay.store.queue import Queue
from relay.store.store import Store
from relay.store.writer import Rank

EVERY = 1.0  # seconds between rounds
EXPIRE_EVERY = timedelta(minutes=1)
TELL_EVERY = timedelta(minutes=1)
RETENTION_EVERY = timedelta(hours=1)
TRUNCATE_EVERY = timedelta(seconds=60)  # the README's promise on how long destroyed content can be read back
TIDY_EVERY = timedelta(seconds=5)
REWRAP_EVERY = timedelta(seconds=2)
ORPHANS_A_ROUND = 20  # slices


@dataclass(slots=True)
class Chore:
    """Something to do from time to time. `work` says whether it was done; if not, it is due again in the next round."""

    every: timedelta
    work: Callable[[], Awaitable[bool]]
    done_at: float = float("-inf")  # at once after a start, too

    async def look(self, now: float) -> None:
        if now - self.done_at > self.every.total_seconds() and await self.work():
            self.done_at = now


class Sweeps:
    """Built by the dispatcher. `note` is told which queues have work again; `take_destroyed` gives messages whose key
    is gone since it was last asked, `silent` the accounts of whose unknown outcomes nothing is to be learnt. `feedback`
    is told at the start whose events were read until then."""

    def __init__(
        self,
        store: Store,
        policy: RetryPolicy,
        metrics: Metrics,
        note: Callable[[Queue, int], None],
        take_destroyed: Callable[[], list[int]],
        silent: Callable[[], tuple[str, ...]],
        feedback: Feedback,
    ) -> None:
        self._store = store
        self._policy = policy
        self._metrics = metrics
        self._note = note
        self._take_destroyed = take_destroyed
        self._clock = ClockWatch(store, note)
        self._silent = silent
        self._feedback = feedback
        started = time.monotonic()
        upkeep = Upkeep(store, metrics)
        self._chores = (
            Chore(EXPIRE_EVERY, self._expire, started),  # the start did it
            Chore(TELL_EVERY, self._tell),
            Chore(RETENTION_EVERY, self._retain),
            Chore(TRUNCATE_EVERY, store.truncate_log, started),
            Chore(TIDY_EVERY, upkeep.tidy),
            Chore(REWRAP_EVERY, upkeep.rewrap),
            Chore(timedelta.max, self._clear_orphans),
        )
        self._to_clear: list[int] = []  # messages whose key is gone, and whose bytes are to go
        self._looked_behind = 0  # for content without a key, up to this message

    async def start(self) -> None:
        """Before the doors open: what a dead process left becomes unknown, and what waited too long fails."""
        awaited = await self._await_events()
        lost = await self._store.write(sweeping.recover, self._store.is_alone, Rank.SETTLE)
        if lost or awaited.ended:
            log.trouble("recovery.unknown_outcomes", deliveries=lost + awaited.ended, awaited=awaited.deliveries)
        await self._clock.start()
        await self._expire()

    async def _await_events(self) -> sweeping.Awaited:
        """Whose events were read until now is taken to be heard, until it is seen that they are not read any more."""
        now = time.monotonic()
        for feed in await self._store.read(feeds.every):
            if feed.asked is not None:
                self._feedback.heard(feed.account, now - feed.asked.total_seconds())
        start = sweeping.Start(self._store.is_alone, self._feedback.longest)
        awaited: sweeping.Awaited = await self._store.write(sweeping.await_events, start, Rank.SETTLE)
        for account in awaited.accounts:
            self._feedback.heard(account, now)
        return awaited

    async def run(self) -> None:
        """A round a second, until cancelled."""
        while True:
            started = time.monotonic()
            await asyncio.sleep(EVERY)
            now = time.monotonic()
            self._metrics.loop_lag.observe(max(0.0, now - started - EVERY))
            works: list[Callable[[], Awaitable[object]]] = [self._clock.look, self._sweep, self.clear]
            works += [partial(chore.look, now) for chore in self._chores]
            for work in works:
                try:
                    await work()
                except Exception as exc:  # the next round tries again: neither mail nor other work must stop for it
                    log.trouble("sweep.failed", exc)
                    if self._store.fault:  # nothing can be written
                        break

    async def clear(self) -> None:
        """Delete the sealed bytes of what was destroyed."""
        await self._clear(self._take_destroyed())

    async def _sweep(self, *queues: Queue) -> sweeping.Swept:
        swept = await self._store.write(
            sweeping.sweep_waiting,
            sweeping.Round(self._policy, queues, self._store.is_alone, self._silent()),
            Rank.SWEEP,
        )
        if swept.requeued:
            log.event("queue.possible_duplicates", deliveries=swept.requeued)
        if swept.failed:
            log.event("queue.expired", deliveries=swept.failed)
        for queue in swept.woken:
            self._note(queue, now_ms())
        announce(swept.told, self._metrics, self._note)
        await self._clear(list(swept.destroyed))
        return swept

    async def _tell(self) -> bool:
        """Tell senders who asked for it that their mail is late."""
        while True:
            late = await self._store.write(lateness.sweep_late, None, Rank.SWEEP)
            announce(late.told, self._metrics, self._note)
            if late.seen < lateness.SLICE:
                return True

    async def _expire(self) -> bool:
        """Look also at what is queued for too long, a slice of each queue."""
        too_old = now_ms() - milliseconds(self._policy.max_age)
        waiting = await self._store.read(listing.waiting)
        failed = [(await self._sweep(queue)).failed for queue, due in waiting.items() if due <= too_old]
        return all(count < sweeping.SLICE for count in failed)

    async def _retain(self) -> bool:
        """Destroy kept content whose time is over, a slice at a time."""
        while destroyed := await self._store.write(sweeping.sweep_retention, None, Rank.SWEEP):
            await self._clear(list(destroyed))
        return True

    async def _clear_orphans(self) -> bool:
        """Once, some thousands a round: what a crash left between a key's end and that of the bytes."""
        for _ in range(ORPHANS_A_ROUND):
            found, behind = await self._store.read(partial(sweeping.orphans, after=self._looked_behind))
            await self._clear(found)
            if behind is None:
                return True
            self._looked_behind = behind
        return False

    async def _clear(self, message_ids: list[int]) -> None:
        """What cannot be deleted now is kept in mind."""
        self._to_clear += message_ids
        while part := self._to_clear[: sweeping.SLICE]:
            await self._store.write(sweeping.sweep_contents, part, Rank.SWEEP)
            self._to_clear = self._to_clear[len(part) :]
