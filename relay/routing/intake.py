"""The one way in: both edges hand submissions here and get an acceptance or a Problem."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from relay import log
from relay.config import SES_MESSAGE_LIMIT, Settings
from relay.delivery import Delivery, State
from relay.errors import Kind, Problem
from relay.message import Acceptance, Address, Addressee, Ids, Mode, Stream, Submission, new_public_id
from relay.metrics import Metrics
from relay.routing.fixups import Fixed, fix_up
from relay.routing.limits import beside_the_loop
from relay.routing.recipients import Recipients
from relay.routing.senders import Credential, Senders
from relay.store.clock import milliseconds, now_ms
from relay.store.queue import NewDelivery, NewMessage, Queue, accept
from relay.store.store import Store
from relay.store.writer import Rank

PER_CALL = 50  # recipients in one SES call (SES fact 1.2)
OVERHEAD = 2048  # octets a row costs in a transaction besides the content


class Reservation(Protocol):
    """A lane's promise to start one attempt as soon as its message is committed."""

    def start(self, delivery: Delivery, content: bytes) -> None: ...

    def release(self) -> None: ...


class Lanes(Protocol):
    """What the core asks of dispatch."""

    def reserve(self, queue: Queue, recipients: int) -> Reservation | None: ...

    def note(self, queue: Queue) -> None: ...


class Intake:
    """The core's checks, in order, and the commit."""

    def __init__(
        self,
        settings: Settings,
        senders: Senders,
        recipients: Recipients,
        store: Store,
        lanes: Lanes,
        metrics: Metrics,
    ) -> None:
        self.senders = senders
        self.recipients = recipients
        self._hostname = settings.hostname
        self._keep_for = milliseconds(settings.retention.content)
        self._store = store
        self._lanes = lanes
        self._metrics = metrics
        self._ids = Ids()
        self._commits: set[asyncio.Task[State]] = set()

    def check_sender(self, credential: Credential, sender: Address | None) -> None:
        """The envelope sender. Raises Problem(NOT_REGISTERED | FORBIDDEN)."""
        if sender is None:
            raise Problem(
                Kind.FORBIDDEN,
                "bounces are not relayed: Amazon SES cannot send with an empty envelope sender; give your own address",
            )
        self.senders.route(credential, sender)

    async def accept(self, credential: Credential, submission: Submission) -> Acceptance:
        """Make a submission durable, or refuse it with a Problem. Its recipients have passed their checks.

        Cancelling the caller after the commit began does not undo it: the message is sent all the same.
        """
        public_id = new_public_id()
        now = datetime.now(UTC)
        fixed = await beside_the_loop(
            len(submission.raw),
            lambda: fix_up(
                submission.raw,
                submission.trace,
                hostname=self._hostname,
                public_id=public_id,
                now=now,
                is_ours=lambda domain: self.senders.find(domain) is not None,
            ),
        )
        route = self.senders.route(credential, fixed.author)
        if len(fixed.raw) > SES_MESSAGE_LIMIT:
            raise Problem(Kind.TOO_LARGE, f"the message is over {SES_MESSAGE_LIMIT} octets; Amazon SES takes no more")
        stream = Stream.BROADCAST if fixed.is_bulk else Stream.TRANSACTIONAL
        message_id, accepted_at = self._ids.next(), now_ms()
        sealer = self._store.sealer
        sealed_key, parts = await beside_the_loop(len(fixed.raw), lambda: sealer.seal(message_id, fixed.raw))
        new = NewMessage(
            id=message_id,
            public_id=public_id,
            tenant_id=credential.tenant_id,
            key_id=credential.key_id,
            protocol=submission.trace.protocol,
            domain=route.name,
            mode=route.mode,
            stream=stream,
            mail_from=str(submission.sender) if submission.sender else None,
            header_from=str(fixed.author),
            # A byoc customer's subject is content.
            subject=None if route.mode is Mode.BYOC else submission.subject or None,
            rfc_message_id=fixed.message_id,
            ledger=json.dumps(fixed.ledger),
            size=len(fixed.raw),
            accepted_at=accepted_at,
            wrapped_key=sealed_key,
            parts=tuple(parts),
            keep_until=accepted_at + self._keep_for if route.mode is Mode.SHARED and self._keep_for else None,
            state=State.QUEUED,
            deliveries=tuple(self._deliveries(submission.recipients, stream)),
        )
        commit = asyncio.create_task(self._commit(new, fixed, len(submission.recipients)))
        self._commits.add(commit)
        commit.add_done_callback(self._commits.discard)
        state = await asyncio.shield(commit)
        self._metrics.accepted.labels(new.protocol, new.mode.value).inc()
        log.event(
            "message.accepted",
            id=public_id,
            protocol=new.protocol,
            domain=new.domain,
            mode=new.mode.value,
            stream=new.stream.value,
            state=state.value,
            recipients=len(submission.recipients),
            size=new.size,
        )
        return Acceptance(public_id, fixed.message_id, new.accepted_at)

    async def close(self) -> None:
        """Wait for commits whose client has gone."""
        if self._commits:
            await asyncio.wait(self._commits)

    def _deliveries(self, addressees: Sequence[Addressee], stream: Stream) -> list[NewDelivery]:
        """Up to 50 recipients a call; one each where a complaint must name its recipient (design: grouping)."""
        size = 1 if stream is Stream.BROADCAST else PER_CALL
        hashed = [(self._ids.next(), each, self._store.sealer.hash_address(each.address.folded)) for each in addressees]
        return [
            NewDelivery(self._ids.next(), tuple(hashed[start : start + size])) for start in range(0, len(hashed), size)
        ]

    async def _commit(self, new: NewMessage, fixed: Fixed, recipients: int) -> State:
        """Write it, as an attempt already started where a lane has room at once. Returns the state it was born in."""
        queue = (new.domain, new.stream)
        reservation = self._lanes.reserve(queue, recipients) if len(new.deliveries) == 1 else None
        if reservation is not None:
            new = new.started()
        try:
            await self._store.write(accept, new, Rank.ACCEPT, new.size + OVERHEAD)
        except BaseException:
            if reservation is not None:
                reservation.release()
            raise
        if reservation is None:
            self._lanes.note(queue)
        else:
            reservation.start(_first_attempt(new), fixed.raw)
        return new.state


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
        first_due_at=new.accepted_at,
        wrapped_key=new.wrapped_key,
    )
