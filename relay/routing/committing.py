"""Writes accepted messages down, each as an attempt already started where a lane has room at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from relay import log
from relay.delivery import Delivery, Tracking
from relay.errors import Problem
from relay.message import Acceptance
from relay.metrics import Metrics
from relay.routing.answers import Outcome, read, written
from relay.routing.counting import Reserved
from relay.routing.fixups import NORMALISED, Fixed
from relay.routing.idempotency import Claim
from relay.store.accepting import Together, accept
from relay.store.arriving import NewMessage
from relay.store.queue import Queue
from relay.store.store import Store
from relay.store.writer import Rank

OVERHEAD = 2048  # octets a row costs in a transaction besides the content


class Reservation(Protocol):
    """A lane's promise to start one attempt as soon as its message is committed."""

    @property
    def account(self) -> str: ...

    def start(self, delivery: Delivery, content: bytes | None) -> None: ...  # None: the queue has it

    def release(self) -> None: ...


class Lanes(Protocol):
    """What the core asks of dispatch."""

    def reserve(self, queue: Queue, recipients: int) -> Reservation | None: ...

    def note(self, queue: Queue, due_at: int, deliveries: int = 1) -> None: ...

    def estimate(self, queue: Queue, due_at: int) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that is to be written of a message, what it holds of the quotas, and what is answered then."""

    new: NewMessage
    fixed: Fixed
    reserved: Reserved
    acceptance: Acceptance

    @property
    def queue(self) -> Queue:
        return self.new.domain, self.new.stream

    @property
    def people(self) -> int:
        return sum(len(each.recipients) for each in self.new.deliveries)


class Commits:
    """One per server: knows the commits under way, which end though their clients have gone."""

    def __init__(self, store: Store, lanes: Lanes, metrics: Metrics) -> None:
        self._store = store
        self._lanes = lanes
        self._metrics = metrics
        self._under_way: set[asyncio.Task[list[Outcome]]] = set()

    async def commit(self, items: Sequence[Prepared | Problem], claim: Claim | None) -> list[Outcome]:
        """Write all that was not refused in one transaction. The claim is released when that has ended.

        Returns what each is answered; where another process had the same claim and was first, what that one answered.
        Cancelling the caller does not undo it. Raises Problem where nothing could be written.
        """
        commit = asyncio.create_task(self._commit(items, claim))
        self._under_way.add(commit)
        commit.add_done_callback(self._under_way.discard)
        if claim is not None:
            commit.add_done_callback(lambda _: claim.release())
        return await asyncio.shield(commit)

    async def close(self) -> None:
        """Wait for commits whose client has gone."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _commit(self, items: Sequence[Prepared | Problem], claim: Claim | None) -> list[Outcome]:
        begun = [each if isinstance(each, Problem) else self._begin(each) for each in items]
        outcomes: list[Outcome] = [each if isinstance(each, Problem) else each.acceptance for each in begun]
        ready = [each for each in begun if isinstance(each, _Begun)]
        messages = tuple(each.prepared.new for each in ready)
        once = None if claim is None else claim.once(written(outcomes, self._store.sealer), messages[0].accepted_at)
        size = sum(new.size + OVERHEAD for new in messages)
        try:
            earlier = await self._store.write(accept, Together(messages, once), Rank.ACCEPT, size)
            answer = None if earlier is None or claim is None else claim.read(earlier)
        except BaseException:
            for each in ready:
                each.release()
            raise
        if answer is not None:  # another process had the same request, and was first
            for each in ready:
                each.release()
            return read(answer, self._store.sealer)
        for each in ready:
            self._started(each)
        return outcomes

    def _begin(self, prepared: Prepared) -> _Begun:
        new = prepared.new
        is_now = len(new.deliveries) == 1 and new.due_at <= new.accepted_at
        reservation = self._lanes.reserve(prepared.queue, prepared.people) if is_now else None
        if reservation is None:
            expected = self._lanes.estimate(prepared.queue, new.due_at)
            return _Begun(prepared, None, replace(prepared.acceptance, estimated_send_at=expected))
        return _Begun(
            replace(prepared, new=new.started(reservation.account)),
            reservation,
            replace(prepared.acceptance, estimated_send_at=new.accepted_at),
        )

    def _started(self, begun: _Begun) -> None:
        """It is durable: whoever sends may have it."""
        prepared, new = begun.prepared, begun.prepared.new
        if begun.reservation is None:
            self._lanes.note(prepared.queue, new.due_at, len(new.deliveries))
        else:
            begun.reservation.start(_first_attempt(new), prepared.fixed.raw or None)
        self._metrics.accepted.labels(new.protocol, new.mode.value).inc()
        if NORMALISED in prepared.fixed.ledger:
            self._metrics.newlines_repaired.inc()
        log.event(
            "message.accepted",
            id=new.public_id,
            protocol=new.protocol,
            domain=new.domain,
            mode=new.mode.value,
            stream=new.stream.value,
            state=new.state.value,
            recipients=prepared.people,
            size=new.size,
        )


@dataclass(frozen=True, slots=True)
class _Begun:
    """A message about to be written, with the slot it has if a lane had one."""

    prepared: Prepared
    reservation: Reservation | None
    acceptance: Acceptance

    def release(self) -> None:
        """It was not written."""
        self.prepared.reserved.release()
        if self.reservation is not None:
            self.reservation.release()


def _first_attempt(new: NewMessage) -> Delivery:
    only = new.deliveries[0]
    return Delivery(
        id=only.id,
        message_id=new.id,
        public_id=new.public_id,
        tenant_id=new.tenant_id,
        domain=new.domain,
        stream=new.stream,
        mode=new.mode,
        recipients=tuple(str(addressee.address) for _, addressee, _ in only.recipients),
        size=new.size,
        attempts=1,
        failures=0,
        possible_duplicates=0,
        first_due_at=new.due_at,
        wrapped_key=new.wrapped_key,
        tracking=Tracking(new.options.track_opens, new.options.track_clicks),
        reports=only.reports,
    )
