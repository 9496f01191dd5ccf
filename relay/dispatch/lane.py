"""One lane: the paced stream of deliveries of one SES account. Hands over, takes what is due, starts attempts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from relay import log
from relay.delivery import Delivery, RetryPolicy, Settlement, State
from relay.dispatch.allowance import Allowance
from relay.dispatch.attempt import Attempts
from relay.dispatch.outlook import LOOK_AGAIN, Outlook
from relay.dispatch.pacing import Pace
from relay.dispatch.probing import moments, probes
from relay.dispatch.slots import Slots
from relay.dispatch.slowing import Slowing
from relay.dispatch.stops import Stops
from relay.dispatch.turns import Room, Share, Turns
from relay.errors import Kind, Problem
from relay.message import Stream
from relay.metrics import Metrics
from relay.routing.standing import ACCOUNT
from relay.sealing import SealingError
from relay.ses.wire import Quota, SesAccount
from relay.store.clock import now_ms
from relay.store.directory.domains import SenderDomain
from relay.store.queue import Order, Queue, Taken, take
from relay.store.store import Store
from relay.store.writer import Rank

GATHER = 0.005  # seconds; little beside a call to SES, and it makes one commit of many
AT_A_TIME = 50  # deliveries in one take: their calls begin in one turn of the loop
BURST = 3  # throttles, after which SES is asked what the account may send


@dataclass(frozen=True, slots=True)
class Reservation:
    """A free slot and the tokens for one attempt, taken before its message is committed."""

    lane: Lane
    recipients: int

    @property
    def account(self) -> str:
        return self.lane.name

    def start(self, delivery: Delivery, content: bytes | None) -> None:
        """The message is committed: make the call. Without content, it is read from the queue, as large ones are."""
        self.lane.start(delivery, content)

    def release(self) -> None:
        """The commit failed: give the slot back. The tokens are gone, which only errs on the slow side."""
        self.lane.release(self.recipients)


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
        reserve: float,
        slow_to: float,
        waits: Callable[[Queue, int], None],
        window: Callable[[], timedelta],
    ) -> None:
        """`waits` is told when something is to be looked at again: its domain may have another lane by then.

        `concurrency`: calls at once, at most. `reserve`: the part of the daily quota for transactional mail only.
        `slow_to`: the part of the rate for a tenant that is slowed down.
        `window`: how long an outcome that is not known may still be learnt.
        """
        self.name = account.name
        self.pace = Pace.at_rate(rate, time.monotonic())
        self.allowance = Allowance(reserve)
        self.slots = Slots(concurrency)
        self.turns = Turns()
        self.stops = Stops()
        self.slowing = Slowing(slow_to)
        self.outlook = Outlook(self.turns, self.pace, self.slots, self.allowance, self.stops, self.slowing)
        self.trouble = asyncio.Event()  # GetAccount may know more of it
        self.is_owned = False  # whether this process is the one that takes work for the account
        self.attempts = Attempts(account, store, {}, policy, metrics, self.pace, self.stops, window, waits)
        self._store = store
        self._rate = rate
        self._waits = waits
        self._in_flight = 0
        self.slots.adjust(rate)
        self._looked_at = self._worked = 0.0  # when, and how long this thread had been running then, in seconds
        self._stalled_until = 0.0  # what is due was not to be had: it has more recipients than may be sent today
        self._throttles = 0  # of which SES was asked
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
        slowed: Mapping[str, int],
        rate: float,
        concurrency: int,
    ) -> None:
        """Take over what the directory says now. Calls under way end as they began.

        `slowed`: the domains that are slowed down, each with its tenant.
        """
        if account is not self.attempts.account:
            self.attempts.account = account
            self.stops.look_again(time.monotonic())
            self.trouble.set()
        self.attempts.domains = domains
        self.stops.close(holds)
        self.stops.forget(domains)
        if rate != self._rate:
            self._rate = rate
            self.pace.assume(rate, time.monotonic())  # until GetAccount tells the account's own
            self.trouble.set()
        self.slots.most = concurrency
        self.turns.assign({name: domain.tenant_id for name, domain in domains.items()})
        self.slowing.replace(slowed)
        self.turns.slow(slowed.keys())
        self._wake.set()

    async def learn(self, quota: Quota) -> None:
        """What GetAccount says of the account."""
        now = time.monotonic()
        was_short = self.outlook.is_short
        if quota.rate > 0:
            self.pace.retune(quota.rate, now)
        self.allowance.learn(quota.daily, quota.sent_today, now)
        if not quota.is_sending_enabled:
            said = f"SES says that sending is switched off for the account ({quota.enforcement})"
            remedy = "see the account's status in the SES console, and what AWS wrote about it"
            self.stops.hold(ACCOUNT, Kind.SES_PAUSED, said, now, remedy=remedy)
            self.stops.take_wish()  # this was the answer
            await self.attempts.record.write()
        elif was_short and not self.allowance.is_used_up(Stream.TRANSACTIONAL):
            self.stops.look_again(now)  # a probe tells whether what stopped it is over
        self._wake.set()

    # -- hand-over ---------------------------------------------------------------------------------------------------

    def reserve(self, queue: Queue, recipients: int) -> Reservation | None:
        """A slot and tokens for one attempt now, if nothing of its rank waits. Never waits itself."""
        domain, stream = queue
        now = time.monotonic()
        if (
            not self.is_owned
            or self._is_closing
            or self._in_flight >= self.slots.limit
            or not self.stops.is_open(domain)
            or domain in self.slowing
            or self.turns.is_behind(stream, now_ms())
            or (self.turns.is_owed(stream) and not self.allowance.is_used_up(Stream.BROADCAST))
            or self.allowance.left(stream) < recipients
            or not self.pace.can_start(recipients, now)
        ):
            return None
        self.pace.spend(recipients)
        self.turns.passed(stream, recipients)
        self.allowance.begin(recipients)
        self._in_flight += 1
        return Reservation(self, recipients)

    def start(self, delivery: Delivery, content: bytes | None, probe: str | None = None) -> None:
        """Make the call of an attempt that has durably started and holds a slot. `probe`: the stop it is to test."""
        task = asyncio.create_task(self._attempt(delivery, content, probe), name=f"attempt-{delivery.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def release(self, recipients: int) -> None:
        """A slot that was reserved is not needed."""
        self.allowance.end(recipients, time.monotonic(), is_sent=False)
        self._in_flight -= 1
        self._wake.set()

    def note(self, queue: Queue, due_at: int, deliveries: int = 1) -> None:
        """So many more wait in a queue, due then; none more: something does, and it is known how much."""
        self.turns.note(queue, due_at, deliveries)
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
            except Exception as exc:  # the next round tries again: other lanes must not stop for it
                log.trouble("lane.failed", exc, account=self.name)
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
        now = time.monotonic()
        self._adjust(now)
        self.slowing.advance(self.pace.rate, now)
        self.turns.stop((self.stops.all().keys() - {ACCOUNT}) | self.slowing.waiting().keys())
        for key in self.stops.due(now):
            room = self._room()
            if room.calls and room.recipients and (shares := probes(self.turns, self.stops, key, now_ms())):
                self.stops.begin_probe(key)
                if not await self._take(shares, room, probe=key):
                    self.stops.end_probe(key, time.monotonic())
        room = self._room()
        if room.calls and room.recipients and self._is_running and time.monotonic() >= self._stalled_until:
            await self._take(self.turns.plan(now_ms(), room), room)

    @property
    def _is_running(self) -> bool:
        return self.stops.is_open(ACCOUNT)

    def _adjust(self, now: float) -> None:
        """From time to time: as many slots as the pace needs, and this process can make use of."""
        elapsed = now - self._looked_at
        if elapsed < LOOK_AGAIN:
            return
        worked, before = time.thread_time(), self._worked
        load = (worked - before) / elapsed if self._looked_at else 0.0
        self._looked_at, self._worked = now, worked
        self.slots.adjust(self.pace.rate, load)

    def _room(self) -> Room:
        tokens = self.pace.startable(time.monotonic())
        return Room(
            calls=min(AT_A_TIME, max(0, self.slots.limit - self._in_flight)),
            recipients=min(tokens, self.allowance.left(Stream.TRANSACTIONAL)),
            lower=self.allowance.left(Stream.BROADCAST),
        )

    async def _take(self, shares: Sequence[Share], room: Room, probe: str | None = None) -> int:
        """Take what is due and start it. Returns how many were."""
        if not shares:
            return 0
        deliveries = sum(share.deliveries for share in shares) if probe is None else 1
        recipients = int(room.recipients)
        left = self.allowance.left(Stream.TRANSACTIONAL)
        order = Order(
            self.name,
            tuple(share.queue for share in shares),
            deliveries,
            recipients,
            tuple(share.deliveries for share in shares),
            None if self.allowance.daily is None else int(left),
        )
        self._in_flight += deliveries  # held until it is known how many are needed
        self.pace.spend(recipients)
        taken = Taken((), {}, {})
        try:
            taken = await self._store.write(take, order, Rank.SETTLE)
        finally:
            self._in_flight -= deliveries - len(taken.started)
            self.pace.spend(sum(len(each.recipients) for each in taken.started) - recipients)
            self._took(shares, taken)
        for settled in taken.dropped:
            self.attempts.note(settled)
        for each in taken.started:
            log.event(
                "delivery.sending",
                id=each.public_id,
                delivery=each.id,
                attempt=each.attempts,
                account=self.name,
                possible_duplicates=each.possible_duplicates,
            )
            self.allowance.begin(len(each.recipients))
            self.slowing.spend(each.domain, len(each.recipients))
            self.start(each, self._opened(each, taken.sealed), probe)
        return len(taken.started)

    def _took(self, shares: Sequence[Share], taken: Taken) -> None:
        """Tell the turns what their plan came to."""
        started = Counter((each.domain, each.stream) for each in taken.started)
        recipients: Counter[Queue] = Counter()
        for each in taken.started:
            recipients[each.domain, each.stream] += len(each.recipients)
        for share in shares:
            queue = share.queue
            is_drained = queue in taken.next_due
            next_due = taken.next_due.get(queue)
            self.turns.took(share, started[queue], recipients[queue], next_due, is_drained=is_drained)
        now = now_ms()
        is_due = any((due := taken.next_due.get(share.queue, now)) is not None and due <= now for share in shares)
        if is_due and not taken.started and not taken.dropped:
            self._stalled_until = time.monotonic() + LOOK_AGAIN

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
        if not len(self.turns) or self._in_flight >= self.slots.limit or not self.is_owned or self._is_closing:
            return None
        now, wall = time.monotonic(), now_ms()
        waits = [opens - now for opens in moments(self.turns, self.stops, now, wall)]
        waits += [wait for domain, wait in self.slowing.waiting().items() if self.turns.first_due(domain) is not None]
        if self._is_running and (due := self.turns.next_due(wall)) is not None:
            is_blocked = self.allowance.is_used_up(Stream.BROADCAST) or self._stalled_until > now
            waits.append(LOOK_AGAIN if is_blocked and due <= wall else (due - wall) / 1000)
        # Never spin: a moment passes at least.
        least = LOOK_AGAIN if self.allowance.is_used_up(Stream.TRANSACTIONAL) else 0.005
        return max(least, self.pace.wait(), min(waits)) if waits else None

    async def _attempt(self, delivery: Delivery, content: bytes | None, probe: str | None) -> None:
        began, recipients = time.monotonic(), len(delivery.recipients)
        settlement: Settlement | None = None
        try:
            settlement = await self.attempts.make(delivery, content)
            if settlement.state is State.QUEUED and settlement.due_at is not None:
                self._waits((delivery.domain, delivery.stream), settlement.due_at)
        finally:
            now = time.monotonic()
            if probe is not None:
                self.stops.end_probe(probe, now)
            self.slots.observe(now - began, recipients)
            # What nobody knows, SES may have counted.
            is_sent = settlement is None or settlement.state in {State.SENT, State.UNKNOWN}
            self.allowance.end(recipients, now, is_sent=is_sent)
            self._in_flight -= 1
            self._wake.set()
            self._ask_after_trouble()

    def _ask_after_trouble(self) -> None:
        throttles = self.pace.throttles - self._throttles
        if throttles >= BURST:
            self._throttles = self.pace.throttles
        if self.stops.take_wish() or throttles >= BURST:
            self.trouble.set()

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
