"""One attempt: the call to SES, what its answer means for the lane, and the settlement, written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta

from relay import log
from relay.delivery import Delivery, RetryPolicy, Settlement, State
from relay.dispatch.pacing import Pace
from relay.dispatch.record import Record
from relay.dispatch.reports import announce
from relay.dispatch.stops import Stops
from relay.errors import After, Kind, Problem
from relay.metrics import Metrics
from relay.routing.limits import LARGE, Gate
from relay.routing.standing import ACCOUNT
from relay.sealing import SealingError
from relay.ses.errors import Concern, Scope, SesProblem
from relay.ses.remedies import Place, remedy_of
from relay.ses.wire import SesAccount
from relay.store.clock import now_ms
from relay.store.directory.domains import SenderDomain
from relay.store.queue import Queue
from relay.store.settling import Settled, settle
from relay.store.splitting import Half, Split, split
from relay.store.store import Store
from relay.store.writer import Item, Rank, Result, Write

IN_PLACE = 1.0  # seconds until a throttled call is tried once more
AT_ONCE = 64 << 20  # octets of large messages in calls at a time: SES takes some 40 MB a second (SES fact 1.2)
TURN_WITHIN = 120.0  # seconds that one waits for others: a call must end before the lease of its attempt does


class NoTurn(Exception):
    """Too much was in the way: nothing was sent."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as it waits in the queue, read and opened part by part."""

    store: Store
    message_id: int
    wrapped_key: bytes
    size: int

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.store.content_parts(self.message_id, self.wrapped_key)


class Attempts:
    """Makes the attempts of one lane."""

    def __init__(
        self,
        account: SesAccount,
        store: Store,
        domains: Mapping[str, SenderDomain],
        policy: RetryPolicy,
        metrics: Metrics,
        pace: Pace,
        stops: Stops,
        window: Callable[[], timedelta],
        waits: Callable[[Queue, int], None],
    ) -> None:
        """`window`: how long an outcome that is not known may still be learnt from SES's events.

        `waits` is told when a report to a sender waits in a queue.
        """
        self.name = account.name
        self.stops = stops
        self.pace = pace
        self.destroyed: list[int] = []  # messages whose sealed bytes can be swept
        self.account = account
        self.domains = domains
        self._store = store
        self._policy = policy
        self._metrics = metrics
        self._window = window
        self._waits = waits
        self._large = Gate(AT_ONCE)
        self._has_news = False  # of what is stopped, to be written down
        self.record = Record(self.name, stops, lambda: self.domains, store, metrics)

    async def make(self, delivery: Delivery, content: bytes | None) -> Settlement:
        """Make one attempt that has durably started, and write what it came to.

        `content` is None where the queue has it. The settlement is returned after its commit.
        """
        outcome = await self._outcome(delivery, content)
        if self._has_news:  # what stops a lane is known before its mail is seen to wait
            self._has_news = False
            await self.record.write()
        if isinstance(outcome, Split):
            if (queued := await self._split(delivery, outcome)) is not None:
                return queued
            outcome = outcome.settlement
        await self._settle(delivery, outcome)
        return outcome

    async def _outcome(self, delivery: Delivery, content: bytes | None) -> Settlement | Split:
        """Make the call; say what it came to."""
        domain = self.domains.get(delivery.domain)
        if domain is None or self.stops.is_closed(delivery.domain):
            return _untried(delivery)  # since it was taken, the domain went another way, or may not send
        if domain.tenant_id != delivery.tenant_id:
            said = "the sender domain was removed while the message waited"
            return self._failed(delivery, Kind.NOT_REGISTERED, said)
        try:
            message = content or await self._content(delivery)
        except Exception as exc:
            return self._unread(delivery, exc)
        started, account = time.perf_counter(), self.account
        try:
            ses_message_id = await self._call(delivery, domain, message)
        except SesProblem as problem:
            self._metrics.ses_calls.labels(self.name, problem.kind.slug).inc()
            if problem.kind.after is After.HOLD and self.account is not account:
                return _untried(delivery)  # said of credentials that were replaced meanwhile
            settlement = self._react(delivery, domain, problem)
            if settlement.state is State.FAILED and problem.concern is not Concern.ALL and len(delivery.recipients) > 1:
                return Split(settlement, is_certain=problem.concern is Concern.SOME)
            return settlement
        except NoTurn:
            return _untried(delivery)
        except (SealingError, Problem) as exc:  # the store's: the message is read to be signed, before it is sent
            return self._unread(delivery, exc)
        except Exception as exc:  # a fault of ours, at a moment when SES may have it: never leave it `sending`
            log.trouble("attempt.fault", exc, id=delivery.public_id)
            return self._failed(delivery, Kind.SES_UNKNOWN_OUTCOME, "a fault of the relay")
        finally:
            self._metrics.ses_seconds.labels(self.name).observe(time.perf_counter() - started)
        self._metrics.ses_calls.labels(self.name, "sent").inc()
        self._has_news = bool(self.stops.succeeded(delivery.domain)) or self._has_news
        return Settlement(
            delivery.id,
            delivery.attempts,
            State.SENT,
            self.name,
            failures=delivery.failures,
            ses_message_id=ses_message_id,
        )

    async def _content(self, delivery: Delivery) -> bytes | Stored:
        assert delivery.wrapped_key is not None  # an open delivery's message has its key
        if delivery.size > LARGE:
            return Stored(self._store, delivery.message_id, delivery.wrapped_key, delivery.size)
        return await self._store.content(delivery.message_id, delivery.wrapped_key)

    def _unread(self, delivery: Delivery, exc: Exception) -> Settlement:
        """The content was not to be had: nothing has left this machine."""
        if isinstance(exc, SealingError):
            log.trouble("content.damaged", exc, id=delivery.public_id)
            return self._failed(delivery, Kind.INTERNAL, str(exc))
        log.trouble("content.unreadable", exc, id=delivery.public_id)
        settlement = self._failed(delivery, Kind.INTERNAL, "the database did not give the content")
        return replace(settlement, failures=delivery.failures)

    async def _call(self, delivery: Delivery, domain: SenderDomain, content: bytes | Stored) -> str:
        """One call; after a throttle or with credentials that were too old one more: SES said no, so has nothing."""
        try:
            return await self._send(delivery, domain, content)
        except SesProblem as problem:
            if problem.kind.after is not After.THROTTLE and not problem.is_expired:
                raise
            self._metrics.ses_calls.labels(self.name, problem.kind.slug).inc()
            is_expired = problem.is_expired
        if is_expired:
            await self.account.refresh()
            return await self._send(delivery, domain, content)
        self.pace.slow(time.monotonic())
        log.event("lane.throttled", account=self.name, rate=self.pace.rate)
        await asyncio.sleep(IN_PLACE)
        self.pace.spend(len(delivery.recipients))
        return await self._send(delivery, domain, content)

    async def _send(self, delivery: Delivery, domain: SenderDomain, content: bytes | Stored) -> str:
        if isinstance(content, Stored):
            async with AsyncExitStack() as inside:
                try:
                    async with asyncio.timeout(TURN_WITHIN):
                        await inside.enter_async_context(self._large.through(content.size))
                except TimeoutError as exc:
                    raise NoTurn from exc
                return await self._hand_to_ses(delivery, domain, content)
        return await self._hand_to_ses(delivery, domain, content)

    async def _hand_to_ses(self, delivery: Delivery, domain: SenderDomain, content: bytes | Stored) -> str:
        return await self.account.send(
            content,
            delivery.recipients,
            domain=delivery.domain,
            tags={"relay_id": str(delivery.id), "attempt": str(delivery.attempts)},
            configuration_set=domain.configuration_sets.get(delivery.stream),
            tenant=domain.ses_tenant,
            tracking=delivery.tracking.otherwise(domain.tracking),
        )

    def _react(self, delivery: Delivery, domain: SenderDomain, problem: SesProblem) -> Settlement:
        """Stop what the answer says is at fault, then decide what becomes of the delivery."""
        kind = problem.kind
        remedy = remedy_of(problem, Place(self.name, self.account.region, delivery.domain, domain.ses_tenant))
        was_stopped = self.stops.stop_of(delivery.domain) is not None
        self._has_news = self._stop(delivery, problem, remedy) or self._has_news
        detail = f"{problem.said}: {remedy}" if remedy else problem.said
        if not (was_stopped and kind is Kind.SES_UNAVAILABLE):
            return self._failed(delivery, kind, detail)
        # A probe, or a call that was under way when the lane stopped: no failure of the mail.
        spared = self._failed(replace(delivery, failures=delivery.failures - 1), kind, detail)
        return replace(spared, due_at=now_ms()) if spared.state is State.QUEUED else spared

    def _stop(self, delivery: Delivery, problem: SesProblem, remedy: str) -> bool:
        """Whether that is news."""
        now = time.monotonic()
        if problem.kind in {Kind.SES_UNAVAILABLE, Kind.SES_UNKNOWN_OUTCOME}:
            return self.stops.failed(problem.said, now, remedy=remedy)
        is_over = self.stops.answered()
        if problem.kind.after is not After.HOLD:
            return is_over
        keys, shared = [ACCOUNT], ""
        if problem.scope is Scope.DOMAIN:
            shared = problem.configuration_set
            keys = [delivery.domain, *(name for name in self._using(shared) if name != delivery.domain)]
        begins = self.stops.hold_all(keys, problem.kind, problem.said, now, remedy=remedy, shared=shared)
        return begins or is_over

    def _using(self, configuration_set: str) -> list[str]:
        """The account's domains that use a configuration set, for any stream."""
        return [
            name
            for name, domain in self.domains.items()
            if configuration_set and configuration_set in domain.configuration_sets.values()
        ]

    async def _split(self, delivery: Delivery, item: Split) -> Settlement | None:
        """Where a refusal may be about some recipients only, let the halves be tried apart. None: it stays as it is."""
        half: Half = await self._written(split, item)
        if half.due_at is None:
            return None
        self._metrics.deliveries.labels(self.name, "split").inc()
        log.event("delivery.split", id=delivery.public_id, delivery=delivery.id, other=half.other, account=self.name)
        return replace(item.settlement, state=State.QUEUED, failures=delivery.failures, due_at=half.due_at)

    def _failed(self, delivery: Delivery, kind: Kind, detail: str) -> Settlement:
        return self._policy.after(kind, delivery, now_ms(), account=self.name, window=self._window(), detail=detail)

    async def _settle(self, delivery: Delivery, settlement: Settlement) -> None:
        """Write the outcome, and tell of it."""
        settled: Settled = await self._written(settle, settlement)
        state = settlement.state
        if not settled.is_stale:  # else an event of SES, or a sweep, was faster
            self._metrics.deliveries.labels(self.name, state.value).inc()
        self.note(settled)
        log.event(
            f"delivery.{state.value}",
            id=delivery.public_id,
            delivery=delivery.id,
            attempt=delivery.attempts,
            account=self.name,
            domain=delivery.domain,
            recipients=len(delivery.recipients),
            possible_duplicates=delivery.possible_duplicates,
            **({"reason": settlement.kind.slug, "detail": settlement.detail} if settlement.kind else {}),
            **({"ses_message_id": settlement.ses_message_id} if settlement.ses_message_id else {}),
            **({"stale": True} if settled.is_stale else {}),
        )

    async def _written(self, write: Write[Item, Result], item: Item) -> Result:
        """What a write came to, however long the database needs: what SES took must not be sent again."""
        while True:
            try:
                return await self._store.write(write, item, Rank.SETTLE)
            except Problem:
                await asyncio.sleep(1)

    def note(self, settled: Settled) -> None:
        """What a settlement leaves to do: content to be swept, and reports to be sent."""
        if settled.destroyed is not None:
            self.destroyed.append(settled.destroyed)
        announce(settled.told, self._metrics, self._waits)


def _untried(delivery: Delivery) -> Settlement:
    """Nothing was tried: it waits again at once, wherever its domain is now, and nothing counts against it."""
    return Settlement(delivery.id, delivery.attempts, State.QUEUED, "", due_at=now_ms(), failures=delivery.failures)
