"""All lanes together: finds the lane of a domain, and keeps lanes at what the directory says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta

from relay import log
from relay.config import Settings
from relay.delivery import RetryPolicy, State
from relay.dispatch.lane import Lane, Reservation
from relay.dispatch.sweeps import Sweeps
from relay.errors import Kind, Problem
from relay.metrics import Metrics
from relay.ses.access import CONCURRENCY
from relay.ses.wire import Quota, SesAccount
from relay.store import listing
from relay.store.clock import milliseconds, now_ms
from relay.store.directory.domains import SenderDomain
from relay.store.directory.snapshot import Snapshot
from relay.store.queue import Queue
from relay.store.store import Store

SHARE_EVERY = 1.0  # seconds: how soon what another process accepted is seen
QUOTA_EVERY = timedelta(minutes=5)  # SES fact 3; GetAccount itself is limited to one call a second
QUOTA_AGAIN = timedelta(seconds=30)  # after it failed
GRACE = timedelta(seconds=20)
NO_FEEDBACK = timedelta(0)  # without SES events an unknown outcome stays unknown: waiting teaches nothing


class Dispatcher:
    """Built once by the application; `run` until cancelled, then `close`."""

    def __init__(self, settings: Settings, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._policy = RetryPolicy(max_age=settings.delivery.max_age, on_unknown=settings.delivery.on_unknown)
        self._domains: Mapping[str, SenderDomain] = {}
        self.quota_faults: dict[str, str] = {}  # accounts whose live limits cannot be had, and why
        self.lanes: dict[str, Lane] = {}
        self._is_closing = False
        self._leaving: list[Lane] = []  # of accounts that have gone: their last calls are under way
        self._running: dict[str, list[asyncio.Task[None]]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._sweeps = Sweeps(store, self._policy, metrics, self.note, self._take_destroyed)

    # -- what the core asks ------------------------------------------------------------------------------------------

    def lane_of(self, domain: str) -> Lane | None:
        """Looked up when work is taken, not stored with it: a domain may move to another account meanwhile."""
        found = self._domains.get(domain)
        return None if found is None else self.lanes.get(found.account)

    def reserve(self, queue: Queue, recipients: int) -> Reservation | None:
        lane = self.lane_of(queue[0])
        return None if lane is None else lane.reserve(queue, recipients)

    def estimate(self, queue: Queue, due_at: int) -> int | None:
        """When what is queued now will be tried, in milliseconds since 1970; None where nobody can say."""
        lane = self.lane_of(queue[0])
        return None if lane is None else lane.estimate(queue, due_at)

    def note(self, queue: Queue, due_at: int) -> None:
        """Something was committed as queued. What no lane knows waits in the database until one does."""
        if (lane := self.lane_of(queue[0])) is not None:
            lane.note(queue, due_at)

    def held(self, domain: str) -> tuple[Kind, str] | None:
        """What keeps a domain's queued mail, and in which words."""
        lane = self.lane_of(domain)
        return None if lane is None else lane.stops.of(domain)

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
                    waits=self.note,
                    window=lambda: NO_FEEDBACK,
                )
                if self._is_closing:
                    lane.close()
                self.lanes[name] = lane
                fresh.append(lane)
            self.lanes[name].replace(account, theirs[name], holds[name], rate=rate, concurrency=at_once)
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
                    self._tasks.create_task(self._watch_quota(lane), name=f"quota-{name}"),
                ]

    def _end(self, name: str) -> None:
        """An account without a domain has gone: nothing waits for it, and its last calls end by themselves."""
        lane = self.lanes.pop(name)
        lane.close()
        self._leaving.append(lane)
        if tasks := self._running.pop(name, []):
            tasks[-1].cancel()  # the watch of its quota; the lane's own task has ended when it wakes
        self.quota_faults.pop(name, None)

    # -- running -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Before the doors open, after the first `replace`: what a dead process left becomes unknown."""
        await self._sweeps.start()
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
            if not self._store.is_alone:
                tasks.create_task(self._share(), name="share")

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
            self.note(queue, first)

    # -- quota -------------------------------------------------------------------------------------------------------

    async def _watch_quota(self, lane: Lane) -> None:
        while True:
            try:
                quota = await lane.attempts.account.quota()
            except Problem as problem:
                if lane.name not in self.quota_faults:
                    log.trouble("lane.no_quota", account=lane.name, rate=lane.pace.full, detail=problem.detail)
                self.quota_faults[lane.name] = problem.detail
                await asyncio.sleep(QUOTA_AGAIN.total_seconds())
                continue
            self.quota_faults.pop(lane.name, None)
            self._apply(lane, quota)
            await asyncio.sleep(QUOTA_EVERY.total_seconds())

    def _apply(self, lane: Lane, quota: Quota) -> None:
        if quota.rate > 0:
            lane.pace.retune(quota.rate, quota.daily, quota.sent_today, time.monotonic())
            lane.wake()
        log.event(
            "lane.quota",
            account=lane.name,
            rate=quota.rate,
            daily=quota.daily,
            sent_today=quota.sent_today,
            production=quota.is_production,
            sending=quota.is_sending_enabled,
        )

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
        found: list[int] = []
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
        for (name, state), count in counted.items():
            self._metrics.queue_depth.labels(name, state).set(count)
        for name in self.lanes:
            age = timedelta(milliseconds=max(0, now - oldest.get(name, now)))
            self._metrics.queue_age.labels(name).set(milliseconds(age) / 1000)
