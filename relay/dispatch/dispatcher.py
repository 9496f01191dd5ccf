"""All lanes together: finds the lane of a domain, and keeps lanes at what the directory says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial

from relay import log
from relay.config import Settings
from relay.delivery import RetryPolicy, State
from relay.dispatch.duplicates import Doubts
from relay.dispatch.lane import Lane, Reservation
from relay.dispatch.quota import QuotaWatch
from relay.dispatch.reports import announce
from relay.dispatch.sweeps import Sweeps
from relay.dispatch.unknown import Feedback
from relay.errors import Kind, Problem
from relay.message import Stream
from relay.metrics import Metrics
from relay.routing.standing import slowed
from relay.ses.access import CONCURRENCY
from relay.ses.wire import SesAccount
from relay.store import duplicates, listing, stops
from relay.store.clock import milliseconds, now_ms
from relay.store.directory.domains import SenderDomain
from relay.store.directory.snapshot import Snapshot
from relay.store.hearing import Learnt
from relay.store.queue import Queue, load
from relay.store.store import Store
from relay.store.usage import day_of
from relay.store.writer import Rank

SHARE_EVERY = 1.0  # seconds: how soon what another process accepted is seen
COUNT_EVERY = timedelta(minutes=1)  # how much waits: the lanes count along, but not what is cancelled or expires
GRACE = timedelta(seconds=20)


class Dispatcher:
    """Built once by the application; `run` until cancelled, then `close`."""

    def __init__(self, settings: Settings, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._policy = RetryPolicy(max_age=settings.delivery.max_age, on_unknown=settings.delivery.on_unknown)
        self._domains: Mapping[str, SenderDomain] = {}
        self._reserve = settings.delivery.quota_reserve
        self._slow_to = settings.standing.slow_to
        self.lanes: dict[str, Lane] = {}
        self.quotas: dict[str, QuotaWatch] = {}  # of each lane
        self._is_closing = False
        self._leaving: list[Lane] = []  # of accounts that have gone: their last calls are under way
        self._running: dict[str, list[asyncio.Task[None]]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self.feedback = Feedback(settings.delivery.unknown_window)
        self._doubts = Doubts(metrics)
        self._learnt: list[int] = []  # messages whose content is gone since SES was heard to have them
        self._sweeps = Sweeps(
            store, self._policy, metrics, self.note, self._take_destroyed, self._silent, self.feedback
        )

    # -- what the core asks ------------------------------------------------------------------------------------------

    def lane_of(self, domain: str) -> Lane | None:
        """Looked up when work is taken, not stored with it: a domain may move to another account meanwhile."""
        found = self._domains.get(domain)
        return None if found is None else self.lanes.get(found.account)

    def reserve(self, queue: Queue, recipients: int) -> Reservation | None:
        lane = self.lane_of(queue[0])
        return None if lane is None else lane.reserve(queue, recipients)

    def estimate(self, queue: Queue, due_at: int, ahead: int | None = None) -> int | None:
        """When what is queued now will be tried, in milliseconds since 1970; None where nobody can say.

        `ahead`: so many deliveries of its queue go before it, for it waits already.
        """
        lane = self.lane_of(queue[0])
        return None if lane is None else lane.outlook.estimate(queue, due_at, ahead)

    def note(self, queue: Queue, due_at: int, deliveries: int = 1) -> None:
        """So many were committed as queued. What no lane knows waits in the database until one does."""
        if (lane := self.lane_of(queue[0])) is not None:
            lane.note(queue, due_at, deliveries)

    def held(self, domain: str, stream: Stream = Stream.TRANSACTIONAL) -> tuple[Kind, str] | None:
        """What keeps a domain's queued mail of this sort, and in which words."""
        lane = self.lane_of(domain)
        return None if lane is None else lane.outlook.held(domain, stream)

    async def learnt(self, found: Sequence[Learnt]) -> None:
        """Events of SES told that it took attempts; what that settled is written. Raises Problem."""
        for each in found:
            if each.settled.destroyed is not None:
                self._learnt.append(each.settled.destroyed)
            announce(each.settled.told, self._metrics, self.note)
            self._metrics.deliveries.labels(each.fact.account, State.SENT.value).inc()
        facts = {each.fact.delivery_id: each.fact for each in found}
        for delivery in await self._store.read(lambda db: load(db, sorted(facts))):
            fact = facts[delivery.id]
            log.event(
                "delivery.sent",
                id=delivery.public_id,
                delivery=delivery.id,
                attempt=fact.seen_attempt,
                account=fact.account,
                domain=delivery.domain,
                possible_duplicates=delivery.possible_duplicates,
                ses_message_id=fact.ses_message_id,
                learnt=True,
            )

    def _window(self, account: str) -> timedelta:
        return self.feedback.window(account, time.monotonic())

    def _silent(self) -> tuple[str, ...]:
        """Of other processes' lanes nothing is known here: theirs may be heard there."""
        return self.feedback.silent((name for name, lane in self.lanes.items() if lane.is_owned), time.monotonic())

    # -- the directory -----------------------------------------------------------------------------------------------

    async def replace(
        self, snapshot: Snapshot, accounts: Mapping[str, SesAccount], holds: Mapping[str, Mapping[str, Problem]]
    ) -> None:
        """Take over the accounts and domains as they are now: lanes come, change and go."""
        self._domains = snapshot.domains
        theirs: dict[str, dict[str, SenderDomain]] = {name: {} for name in accounts}
        for name, domain in snapshot.domains.items():
            theirs[domain.account][name] = domain
        fresh: list[Lane] = []
        for name, account in accounts.items():  # in one go: a lane must not call by an account that is closed already
            row = snapshot.accounts[name]
            rate, at_once = row.rate, row.concurrency or CONCURRENCY
            if name not in self.lanes:
                lane = Lane(
                    account,
                    self._store,
                    self._policy,
                    self._metrics,
                    rate=rate,
                    concurrency=at_once,
                    reserve=self._reserve,
                    slow_to=self._slow_to,
                    waits=self.note,
                    window=partial(self._window, name),
                )
                if self._is_closing:
                    lane.close()
                self.lanes[name], self.quotas[name] = lane, QuotaWatch(lane)
                fresh.append(lane)
            slow = slowed(snapshot, theirs[name])
            self.lanes[name].replace(account, theirs[name], holds[name], slowed=slow, rate=rate, concurrency=at_once)
        for name in self.lanes.keys() - accounts.keys():
            self._end(name)
        for lane in fresh:
            await self._own(lane)
        self._start_lanes()

    def _start_lanes(self) -> None:
        if self._tasks is None:
            return
        for name, lane in self.lanes.items():
            if name not in self._running:
                self._running[name] = [
                    self._tasks.create_task(lane.run(), name=f"lane-{name}"),
                    self._tasks.create_task(self.quotas[name].run(), name=f"quota-{name}"),
                ]

    def _end(self, name: str) -> None:
        """An account without a domain has gone: nothing waits for it, and its last calls end by themselves."""
        lane = self.lanes.pop(name)
        lane.close()
        lane.attempts.record.close()
        self._leaving.append(lane)
        if tasks := self._running.pop(name, []):
            tasks[-1].cancel()  # the watch of its quota; the lane's own task has ended when it wakes
        del self.quotas[name]

    # -- running -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Before the doors open, after the first `replace`: what a dead process left becomes unknown."""
        self._doubts.begin(await self._store.read(lambda db: duplicates.since(db, 0)))
        await self._sweeps.start()
        await self._store.write(stops.prune, self.lanes.keys(), Rank.SWEEP)
        await self._look_at_stops()
        for domain, stream in await self._store.read(listing.waiting):
            if domain not in self._domains:
                log.trouble("queue.orphaned", domain=domain, stream=stream.value, remedy="register the domain again")
        await self.look_again()

    async def run(self) -> None:
        """Lanes, sweeps and quota checks, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._start_lanes()
            tasks.create_task(self._sweeps.run(), name="sweeps")
            tasks.create_task(self._count(), name="count")
            tasks.create_task(self._watch_stops(), name="stops")
            if not self._store.is_alone:
                tasks.create_task(self._share(), name="share")

    async def _watch_stops(self) -> None:
        while True:
            await asyncio.sleep(SHARE_EVERY)
            try:
                await self._look_at_stops()
            except Exception as exc:  # the next round tries again: mail must not stop for it
                log.trouble("stops.failed", exc)

    async def _look_at_stops(self) -> None:
        """Write down what is stopped, and on PostgreSQL see what other processes wrote of their lanes."""
        for lane in list(self.lanes.values()):
            await lane.attempts.record.look(is_owned=lane.is_owned)

    def start_nothing_more(self) -> None:
        """What is accepted from now on stays queued for the next start."""
        self._is_closing = True
        for lane in self.lanes.values():
            lane.close()

    async def close(self) -> None:
        """Wait for calls under way, and leave nothing readable that was destroyed."""
        every = [*self.lanes.values(), *self._leaving]
        left = sum(await asyncio.gather(*(lane.drain(GRACE) for lane in every)))
        if left:
            log.trouble("shutdown.calls_left", calls=left)
        await self._sweeps.clear()

    async def look_again(self) -> None:
        """Ask the database what waits: someone else may have written."""
        for queue, first in (await self._store.read(listing.waiting)).items():
            self.note(queue, first, 0)

    async def _count(self) -> None:
        """How much waits in each queue, for estimates."""
        while True:
            try:
                if any(len(lane.turns) for lane in self.lanes.values()):
                    counts = await self._store.read(listing.due_counts)
                    for lane in self.lanes.values():
                        lane.turns.counted(counts)
            except Exception as exc:  # the next round tries again: mail must not stop for it
                log.trouble("count.failed", exc)
            await asyncio.sleep(COUNT_EVERY.total_seconds())

    # -- what others own ---------------------------------------------------------------------------------------------

    async def _share(self) -> None:
        """On PostgreSQL: take the lanes that nobody has, and see what other processes accepted."""
        while True:
            await asyncio.sleep(SHARE_EVERY)
            try:
                for lane in list(self.lanes.values()):  # they may come and go meanwhile
                    await self._own(lane)
                await self.look_again()
            except Exception as exc:  # the next round tries again: mail must not stop for it
                log.trouble("share.failed", exc)

    def _take_destroyed(self) -> list[int]:
        found, self._learnt = self._learnt, []
        for lane in (*self.lanes.values(), *self._leaving):
            found += lane.attempts.destroyed
            lane.attempts.destroyed.clear()
        self._leaving = [lane for lane in self._leaving if lane.is_busy]
        return found

    async def _own(self, lane: Lane) -> None:
        """On PostgreSQL one process owns a lane; the others accept and leave its mail queued."""
        is_owned = await self._store.own(f"lane {lane.name}")
        if is_owned != lane.is_owned:
            lane.is_owned = is_owned
            log.event("lane.owned" if is_owned else "lane.lost", account=lane.name)
            lane.trouble.set()
            lane.wake()

    # -- what is seen from outside -----------------------------------------------------------------------------------

    async def measure(self) -> None:
        """Set the gauges that need the database."""
        now = now_ms()
        counted: dict[tuple[str, str], int] = {
            (name, state.value): 0 for name in self.lanes for state in State if not state.is_final
        }
        oldest: dict[str, int] = {}
        for depth in await self._store.read(listing.depths):
            domain = self._domains.get(depth.domain)
            name = domain.account if domain else "none"
            counted[name, depth.state] = counted.get((name, depth.state), 0) + depth.deliveries
            if depth.state == State.QUEUED.value:
                oldest[name] = min(depth.oldest_due_at, oldest.get(name, now))
        today = day_of(now)
        counts = await self._store.read(lambda db: duplicates.since(db, today - 1))
        self._doubts.show(counts, self.lanes, today)
        for (name, state), count in counted.items():
            self._metrics.queue_depth.labels(name, state).set(count)
        for name in self.lanes:
            age = timedelta(milliseconds=max(0, now - oldest.get(name, now)))
            self._metrics.queue_age.labels(name).set(milliseconds(age) / 1000)
