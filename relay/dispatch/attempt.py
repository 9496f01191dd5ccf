"""One attempt: the call to SES, what its answer means for the lane, and the settlement, written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from relay import log
from relay.delivery import Delivery, RetryPolicy, Settlement, State
from relay.dispatch.pacing import Pace
from relay.dispatch.stops import Stops
from relay.errors import After, Kind, Problem
from relay.metrics import Metrics
from relay.routing.limits import LARGE, Gate
from relay.routing.standing import ACCOUNT
from relay.sealing import SealingError
from relay.ses.errors import Scope, SesProblem
from relay.ses.wire import SesAccount
from relay.store.clock import now_ms
from relay.store.directory.domains import SenderDomain
from relay.store.settling import Settled, settle
from relay.store.store import Store
from relay.store.writer import Rank

IN_PLACE = 1.0  # seconds until a throttled call is tried once more
AT_ONCE = 64 << 20  # octets of large messages in calls at a time: SES takes some 40 MB a second (SES fact 1.2)


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
    ) -> None:
        """`window`: how long an outcome that is not known may still be learnt from SES's events."""
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
        self._large = Gate(AT_ONCE)

    async def make(self, delivery: Delivery, content: bytes | None) -> Settlement:
        """Make one attempt that has durably started, and write what it came to.

        `content` is None where the queue has it. The settlement is returned after its commit.
        """
        settlement = await self._outcome(delivery, content)
        await self._settle(delivery, settlement)
        return settlement

    async def _outcome(self, delivery: Delivery, content: bytes | None) -> Settlement:
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
        started = time.perf_counter()
        try:
            ses_message_id = await self._call(delivery, domain, message)
        except SesProblem as problem:
            self._metrics.ses_calls.labels(self.name, problem.kind.slug).inc()
            return self._react(delivery, problem)
        except (SealingError, Problem) as exc:  # the store's: the message is read to be signed, before it is sent
            return self._unread(delivery, exc)
        except Exception as exc:  # a fault of ours, at a moment when SES may have it: never leave it `sending`
            log.trouble("attempt.fault", exc, id=delivery.public_id)
            return self._failed(delivery, Kind.SES_UNKNOWN_OUTCOME, "a fault of the relay")
        finally:
            self._metrics.ses_seconds.labels(self.name).observe(time.perf_counter() - started)
        self._metrics.ses_calls.labels(self.name, "sent").inc()
        for key in self.stops.succeeded(delivery.domain):
            log.event("lane.released", account=self.name, domain=key)
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
        """One call; after a throttle one more, for SES said no and so has nothing."""
        try:
            return await self._send(delivery, domain, content)
        except SesProblem as problem:
            if problem.kind.after is not After.THROTTLE:
                raise
            self._metrics.ses_calls.labels(self.name, problem.kind.slug).inc()
        self.pace.slow(time.monotonic())
        log.event("lane.throttled", account=self.name, rate=self.pace.rate)
        await asyncio.sleep(IN_PLACE)
        return await self._send(delivery, domain, content)

    async def _send(self, delivery: Delivery, domain: SenderDomain, content: bytes | Stored) -> str:
        if isinstance(content, Stored):
            async with self._large.through(content.size):
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
        )

    def _react(self, delivery: Delivery, problem: SesProblem) -> Settlement:
        """Stop what the answer says is at fault, then decide what becomes of the delivery."""
        now = time.monotonic()
        kind, detail = problem.kind, problem.detail
        was_sick = self.stops.is_sick
        begins = False
        if kind.after is After.HOLD:
            key = delivery.domain if problem.scope is Scope.DOMAIN else ACCOUNT
            begins = self.stops.hold(key, kind, detail, now)
        elif kind in {Kind.SES_UNAVAILABLE, Kind.SES_UNKNOWN_OUTCOME}:
            begins = self.stops.failed(detail, now)
        elif self.stops.answered():
            log.event("lane.released", account=self.name)
        if begins:
            log.trouble(
                "lane.held",
                account=self.name,
                domain=delivery.domain,
                reason=kind.slug,
                remedy=kind.title,
                detail=detail,
            )
        settlement = self._failed(delivery, kind, detail)
        if was_sick and kind is Kind.SES_UNAVAILABLE and settlement.state is State.QUEUED:
            # A probe of a sick account: no failure of the mail.
            return replace(settlement, failures=delivery.failures, due_at=now_ms())
        return settlement

    def _failed(self, delivery: Delivery, kind: Kind, detail: str) -> Settlement:
        return self._policy.after(kind, delivery, now_ms(), account=self.name, window=self._window(), detail=detail)

    async def _settle(self, delivery: Delivery, settlement: Settlement) -> None:
        """Write the outcome, however long the database needs: what SES took must not be sent again."""
        while True:
            try:
                settled: Settled = await self._store.write(settle, settlement, Rank.SETTLE)
                break
            except Problem:
                await asyncio.sleep(1)
        state = settlement.state
        self._metrics.deliveries.labels(self.name, state.value).inc()
        if settled.destroyed is not None:
            self.destroyed.append(settled.destroyed)
        log.event(
            f"delivery.{state.value}",
            id=delivery.public_id,
            delivery=delivery.id,
            attempt=delivery.attempts,
            account=self.name,
            domain=delivery.domain,
            recipients=len(delivery.recipients),
            **({"reason": settlement.kind.slug, "detail": settlement.detail} if settlement.kind else {}),
            **({"ses_message_id": settlement.ses_message_id} if settlement.ses_message_id else {}),
            **({"stale": True} if settled.is_stale else {}),
        )


def _untried(delivery: Delivery) -> Settlement:
    """Nothing was tried: it waits again at once, wherever its domain is now, and nothing counts against it."""
    return Settlement(delivery.id, delivery.attempts, State.QUEUED, "", due_at=now_ms(), failures=delivery.failures)
