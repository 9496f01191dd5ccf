"""One lane: the paced stream of deliveries of one SES account. Hands over, takes what is due, starts attempts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from relay import log
from relay.delivery import Delivery, RetryPolicy, State
from relay.dispatch.attempt import Attempts
from relay.dispatch.pacing import Pace
from relay.dispatch.stops import Stops
from relay.errors import Problem
from relay.message import Stream
from relay.metrics import Metrics
from relay.routing.standing import ACCOUNT
from relay.sealing import SealingError
from relay.ses.wire import SesAccount
from relay.store.clock import now_ms
from relay.store.directory.domains import SenderDomain
from relay.store.queue import Order, Queue, Taken, take
from relay.store.store import Store
from relay.store.writer import Rank

GATHER = 0.005  # seconds; little beside a call to SES, and it makes one commit of many
RANKS = {stream: rank for rank, stream in enumerate(Stream)}


@dataclass(frozen=True, slots=True)
class Reservation:
    """A free slot and the tokens for one attempt, taken before its message is committed."""

    lane: Lane

    def start(self, delivery: Delivery, content: bytes | None) -> None:
        """The message is committed: make the call. Without content, it is read from the queue, as large ones are."""
        self.lane.start(delivery, content)

    def release(self) -> None:
        """The commit failed: give the slot back. The tokens are gone, which only errs on the slow side."""
        self.lane.release_slot()


class Lane:
    """Runs from `run` until cancelled; then `drain` waits for the calls under way."""

    def __init__(
        self,
        account: SesAccount,
        store: Store,
        policy: RetryPolicy,
        metrics: Metrics,
        *,
        rate: float,
        concurrency: int,
        waits: Callable[[Queue, int], None],
        window: Callable[[], timedelta],
    ) -> None:
        """`waits` is told when something is to be looked at again: its domain may have another lane by then.

        `window`: how long an outcome that is not known may still be learnt.
        """
        self.name = account.name
        self.pace = Pace.at_rate(rate, time.monotonic())
        self.stops = Stops()
        self.is_owned = False  # whether this process is the one that takes work for the account
        self.attempts = Attempts(account, store, {}, policy, metrics, self.pace, self.stops, window)
        self._store = store
        self._rate = rate
        self._concurrency = concurrency
        self._waits = waits
        self._in_flight = 0
        self._due: dict[Queue, int] = {}  # queues with something waiting: when the first is due, in milliseconds
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False
        metrics.in_flight.labels(self.name).set_function(lambda: self._in_flight)
        metrics.lane_rate.labels(self.name).set_function(lambda: self.pace.rate)
        metrics.lane_held.labels(self.name).set_function(lambda: int(ACCOUNT in self.stops.all()))

    # -- the directory -----------------------------------------------------------------------------------------------

    def replace(
        self,
        account: SesAccount,
        domains: Mapping[str, SenderDomain],
        holds: Mapping[str, Problem],
        *,
        rate: float,
        concurrency: int,
    ) -> None:
        """Take over what the directory says now. Calls under way end as they began."""
        if account is not self.attempts.account:
            self.attempts.account = account
            self.stops.look_again(time.monotonic())
        self.attempts.domains = domains
        self.stops.close(holds)
        self.stops.forget(domains)
        if rate != self._rate:
            self._rate = rate
            self.pace.assume(rate, time.monotonic())  # until GetAccount tells the account's own
        self._concurrency = concurrency
        self._due = {queue: due for queue, due in self._due.items() if queue[0] in domains}
        self._wake.set()

    # -- hand-over ---------------------------------------------------------------------------------------------------

    def reserve(self, queue: Queue, recipients: int) -> Reservation | None:
        """A slot and tokens for one attempt now, if nothing of its rank waits. Never waits itself."""
        domain, stream = queue
        now = time.monotonic()
        if (
            not self.is_owned
            or self._is_closing
            or self._in_flight >= self._concurrency
            or not self.stops.is_open(domain)
            or self._is_behind(stream)
            or not self.pace.can_start(recipients, now)
        ):
            return None
        self.pace.spend(recipients)
        self._in_flight += 1
        return Reservation(self)

    def _is_behind(self, stream: Stream) -> bool:
        now = now_ms()
        return any(
            due <= now and RANKS[other] <= RANKS[stream] and self.stops.is_open(domain)
            for (domain, other), due in self._due.items()
        )

    def estimate(self, queue: Queue, due_at: int) -> int | None:
        """When what is put into a queue now will be tried, in milliseconds since 1970; None while it is stopped.

        A queue is served in order: who comes now waits about as long as its head has waited already.
        """
        if not self.stops.is_open(queue[0]):
            return None
        now = now_ms()
        ahead = max(0, now - self._due.get(queue, now))
        return max(due_at, now + ahead + round(1000 * self.pace.wait()))

    def start(self, delivery: Delivery, content: bytes | None, probe: str | None = None) -> None:
        """Make the call of an attempt that has durably started and holds a slot. `probe`: the stop it is to test."""
        task = asyncio.create_task(self._attempt(delivery, content, probe), name=f"attempt-{delivery.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def release_slot(self) -> None:
        self._in_flight -= 1
        self._wake.set()

    def note(self, queue: Queue, due_at: int) -> None:
        """Something waits in a queue: look when it is due."""
        self._due[queue] = min(due_at, self._due.get(queue, due_at))
        self._wake.set()

    def wake(self) -> None:
        """Something changed: look again."""
        self._wake.set()

    # -- taking ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take and start what is due, until closed. Never cancel it but at the end: a batch may be on its way here."""
        while not self._is_closing:
            self._wake.clear()
            try:
                await self._round()
            except Problem as problem:  # the store's trouble, logged there
                log.trouble("lane.cannot_take", account=self.name, reason=problem.kind.slug)
                await asyncio.sleep(1)
            wait = self._until_next()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            if self._in_flight:  # others are about to end: one commit for all that can start then
                await asyncio.sleep(GATHER)

    async def _round(self) -> None:
        if self._is_closing or not self.is_owned:
            return
        for key in self.stops.due(time.monotonic()):
            free, tokens = self._room()
            if free and tokens and (queues := self._queues_due(None if key == ACCOUNT else key)):
                self.stops.begin_probe(key)
                if not await self._take(queues, 1, tokens, probe=key):
                    self.stops.end_probe(key, time.monotonic())
        free, tokens = self._room()
        if free and tokens:
            await self._take(self._queues_due(is_open=True), free, tokens)

    def _room(self) -> tuple[int, int]:
        """How many deliveries and recipients may start now."""
        return max(0, self._concurrency - self._in_flight), max(0, self.pace.startable(time.monotonic()))

    def _queues_due(self, domain: str | None = None, *, is_open: bool = False) -> list[Queue]:
        """Queues with something due, by rank; within a rank whoever waits longest goes first."""
        now = now_ms()
        found = [
            queue
            for queue, due in self._due.items()
            if due <= now
            and (domain is None or queue[0] == domain)
            and not self.stops.is_closed(queue[0])
            and (not is_open or self.stops.is_open(queue[0]))
        ]
        return sorted(found, key=lambda queue: (RANKS[queue[1]], self._due[queue]))

    async def _take(self, queues: list[Queue], deliveries: int, recipients: int, probe: str | None = None) -> int:
        """Take what is due and start it. Returns how many were."""
        if not queues:
            return 0
        self._in_flight += deliveries  # held until it is known how many are needed
        self.pace.spend(recipients)
        started: tuple[Delivery, ...] = ()
        sealed: Mapping[int, bytes] = {}
        try:
            taken: Taken = await self._store.write(
                take, Order(self.name, tuple(queues), deliveries, recipients), Rank.SETTLE
            )
            started, sealed = taken.started, taken.sealed
            for queue, due in taken.next_due.items():
                if due is None:
                    self._due.pop(queue, None)
                elif queue[0] in self.attempts.domains:  # it may have moved meanwhile
                    self._due[queue] = due
        finally:
            self._in_flight -= deliveries - len(started)
            self.pace.spend(sum(len(each.recipients) for each in started) - recipients)
        for each in started:
            log.event("delivery.sending", id=each.public_id, delivery=each.id, attempt=each.attempts, account=self.name)
            self.start(each, self._opened(each, sealed), probe)
        return len(started)

    def _opened(self, delivery: Delivery, sealed: Mapping[int, bytes]) -> bytes | None:
        """The content that came along, in clear; None where the attempt has to read it, or to say that it cannot."""
        part = sealed.get(delivery.message_id)
        if part is None or delivery.wrapped_key is None:
            return None
        try:
            return b"".join(self._store.sealer.open(delivery.message_id, delivery.wrapped_key, [part]))
        except SealingError:
            return None

    def _until_next(self) -> float | None:
        """Seconds until there may be something to do; None: until woken."""
        if not self._due or self._in_flight >= self._concurrency or not self.is_owned or self._is_closing:
            return None
        now, wall = time.monotonic(), now_ms()
        waits: list[float] = []
        for (domain, _), due in self._due.items():
            opens = now if self.stops.is_open(domain) else self.stops.opens(domain)
            if opens is not None:
                waits.append(max(opens - now, (due - wall) / 1000, self.pace.wait()))
        # Never spin: a moment passes at least.
        return max(0.005, min(waits)) if waits else None

    async def _attempt(self, delivery: Delivery, content: bytes | None, probe: str | None) -> None:
        try:
            settlement = await self.attempts.make(delivery, content)
            if settlement.state is State.QUEUED and settlement.due_at is not None:
                self._waits((delivery.domain, delivery.stream), settlement.due_at)
        finally:
            if probe is not None:
                self.stops.end_probe(probe, time.monotonic())
            self.release_slot()

    # -- the rest ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Start nothing more."""
        self._is_closing = True
        self._wake.set()

    @property
    def is_busy(self) -> bool:
        """Whether calls are under way, or about to be."""
        return self._in_flight > 0

    async def drain(self, grace: timedelta) -> int:
        """Wait for calls under way. Returns how many had to be left: the next start finds them unknown."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace.total_seconds())
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return len(left)
