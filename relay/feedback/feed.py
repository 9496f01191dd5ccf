"""Reads the events of one SES account from its queue, for ever: heard first, and only then taken off it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from relay import log
from relay.errors import Kind, Problem
from relay.feedback import pace
from relay.feedback.hearing import Hearing, Verdict
from relay.feedback.troubles import Troubles
from relay.metrics import Metrics
from relay.ses.errors import SesProblem
from relay.ses.sqs import LONGEST, MOST, EventQueue, Received
from relay.store import feeds
from relay.store.clock import now_ms
from relay.store.store import Store
from relay.store.writer import Rank

COUNT_EVERY = 60.0  # seconds: what waits in the queue
SHARE_EVERY = 20.0  # seconds: how soon other processes see that it is read
FINISH_WITHIN = 0.8  # seconds for what is in hand when it ends
MOST_BROKEN = 1000  # of which it is remembered that the log has them
_AWAY = {Kind.STORAGE_DOWN, Kind.STORAGE_FULL}


class Feed:
    """One account's. `answered` is called after each answer of the queue, which it has even where there is nothing.

    `courtesy` is that of all feeds.
    """

    def __init__(
        self,
        account: str,
        queue: EventQueue,
        store: Store,
        hearing: Hearing,
        metrics: Metrics,
        courtesy: pace.Courtesy,
        answered: Callable[[], None],
    ) -> None:
        self.account = account
        self._queue = queue
        self._store = store
        self._hearing = hearing
        self._metrics = metrics
        self._courtesy = courtesy
        self._answered = answered
        self._news = asyncio.Event()  # for its row
        self._troubles = Troubles(account, self._news.set)
        self._taking: asyncio.Task[None] | None = None
        self._asked_at: float | None = None
        self._heard_at: float | None = None
        self._counted_at = float("-inf")
        self._waiting: int | None = None
        self._dead: int | None = None
        self._broken: dict[str, None] = {}

    @property
    def fault(self) -> str:
        """Why its events are not all heard now, and what to do about it; "" while they are."""
        return self._troubles.first

    async def run(self) -> None:
        """Until cancelled. What is being written down then is taken off the queue, if that takes less than a second."""
        watching = asyncio.create_task(self._watch(), name=f"feed-watch-{self.account}")
        try:
            await self._read()
        finally:
            watching.cancel()
            if self._taking is not None:
                await asyncio.wait([self._taking], timeout=FINISH_WITHIN)
                self._taking.cancel()
            await asyncio.gather(watching, *([self._taking] if self._taking else []), return_exceptions=True)
            await self._queue.close()
            self._forget_gauges()

    # -- what is in the queue ----------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """While some is written down, the next is received."""
        receives, wait, failures = 1, 0, 0  # the first answer is had at once, even where there is nothing
        while True:
            try:
                answers = await self._receive(receives, wait)
            except SesProblem as problem:
                failures += 1
                self._troubles.begin("reading", problem.said, problem.remedy)
                await self._renew(problem)
                await asyncio.sleep(pace.backoff(failures))
                receives, wait = 1, 0
                continue
            failures = 0
            self._troubles.end("reading")
            await self._taken()
            if taken := [each for answer in answers for each in answer]:
                self._taking = asyncio.create_task(self._take(taken), name=f"feed-take-{self.account}")
            receives = pace.receives(receives, [len(answer) for answer in answers], MOST)
            wait = LONGEST if receives == 1 else 0

    async def _receive(self, receives: int, wait: int) -> list[list[Received]]:
        """The answers that came. Raises SesProblem where none did."""
        calls = (self._queue.receive(wait) for _ in range(receives))
        found = await asyncio.gather(*calls, return_exceptions=True)
        answers = [each for each in found if not isinstance(each, BaseException)]
        if not answers:
            raise next(each for each in found if isinstance(each, BaseException))
        if self._asked_at is None:
            self._news.set()
        self._asked_at = time.monotonic()
        self._answered()
        now = now_ms()
        oldest = min((each.sent_at or now for answer in answers for each in answer), default=now)
        self._metrics.feedback_age.labels(self.account).set(max(0, now - oldest) / 1000)
        return answers

    async def _renew(self, problem: SesProblem) -> None:
        if problem.is_expired:
            with suppress(SesProblem):  # the next call says so, too
                await self._queue.renew()

    # -- what was received -------------------------------------------------------------------------------------------

    async def _taken(self) -> None:
        """Return when what was received before is dealt with."""
        if self._taking is None:
            return
        taking = self._taking
        await asyncio.wait([taking])  # to cancel us is not to cancel it
        self._taking = None
        taking.result()

    async def _take(self, taken: Sequence[Received]) -> None:
        verdicts = await self._hear(taken)
        heard = [each for each, verdict in zip(taken, verdicts, strict=True) if verdict is not Verdict.BROKEN]
        for each, verdict in zip(taken, verdicts, strict=True):
            self._note(each, verdict)
        try:
            await self._queue.delete([each.receipt for each in heard])
        except SesProblem as problem:  # they come again, and are known then
            self._troubles.begin("deleting", problem.said, problem.remedy)
            await self._renew(problem)
            await asyncio.sleep(pace.backoff(self._troubles.count("deleting")))
        else:
            self._troubles.end("deleting")

    async def _hear(self, taken: Sequence[Received]) -> list[Verdict]:
        """What became of each. While the database is away, it waits with them: to receive more would wear them out.

        A message goes to the dead-letter queue when it was received too often, whoever was at fault.
        """
        failures = 0
        while True:
            await asyncio.sleep(self._courtesy.wait(time.monotonic()))
            started, is_busy = time.monotonic(), not self._store.is_idle
            try:
                verdicts = await self._hearing.hear(self.account, [each.body for each in taken])
            except Exception as exc:
                if not isinstance(exc, Problem) or exc.kind not in _AWAY:
                    return await self._hear_each(taken, exc)
                failures += 1
                self._troubles.begin("writing", f"its events wait in their queue: {exc.kind.title}", "")
                await asyncio.sleep(pace.backoff(failures))
            else:
                now = time.monotonic()
                self._courtesy.worked(now - started, now, is_busy=is_busy or not self._store.is_idle)
                self._troubles.end("writing")
                return verdicts

    async def _hear_each(self, taken: Sequence[Received], exc: Exception) -> list[Verdict]:
        """One of them is more than we can take, by a fault of ours: it is not to keep the others."""
        if len(taken) > 1:
            return [verdict for each in taken for verdict in await self._hear([each])]
        if taken[0].id not in self._broken:
            log.trouble("feed.event_failed", exc, account=self.account, message=taken[0].id)
        return [Verdict.BROKEN]

    def _note(self, message: Received, verdict: Verdict) -> None:
        self._metrics.feedback_events.labels(self.account, verdict.value).inc()
        if verdict is Verdict.HEARD:
            self._heard_at = time.monotonic()
        elif verdict is Verdict.BROKEN and message.id not in self._broken:
            self._broken[message.id] = None
            if len(self._broken) > MOST_BROKEN:
                del self._broken[next(iter(self._broken))]
            log.trouble("feed.broken", account=self.account, message=message.id, remedy="see its dead-letter queue")

    # -- how it goes -------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        every = COUNT_EVERY if self._store.is_alone else SHARE_EVERY
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await self._news.wait()
            self._news.clear()
            try:
                await self._look()
            except Problem:  # the store has said so
                pass
            except Exception as exc:  # the next look tries again: events must not wait for it
                log.trouble("feed.look_failed", exc, account=self.account)

    async def _look(self) -> None:
        now = time.monotonic()
        if self._troubles.has("reading"):
            self._waiting = self._dead = None
        elif now - self._counted_at > COUNT_EVERY / 2:
            self._counted_at = now
            await self._count()
        seen = feeds.Look(
            self.account,
            asked=_since(self._asked_at, now),
            heard=_since(self._heard_at, now),
            waiting=self._waiting,
            dead=self._dead,
            fault=self.fault,
        )
        await self._store.write(feeds.note, seen, Rank.SWEEP)

    async def _count(self) -> None:
        try:
            counts = await self._queue.counts()
        except SesProblem as problem:
            self._waiting = self._dead = None
            self._troubles.begin("counting", problem.said, problem.remedy)
            return
        self._troubles.end("counting")
        self._waiting, self._dead = counts.waiting, counts.dead
        self._metrics.feedback_waiting.labels(self.account).set(counts.waiting)
        if counts.dead is not None:
            self._metrics.feedback_dead.labels(self.account).set(counts.dead)

    def _forget_gauges(self) -> None:
        for gauge in (self._metrics.feedback_waiting, self._metrics.feedback_dead, self._metrics.feedback_age):
            with suppress(KeyError):
                gauge.remove(self.account)


def _since(at: float | None, now: float) -> timedelta | None:
    return None if at is None else timedelta(seconds=now - at)
