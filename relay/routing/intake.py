"""The one way in: both edges hand submissions here and get an acceptance or a Problem."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Protocol

from relay import log
from relay.config import SES_MESSAGE_LIMIT, Settings
from relay.delivery import Delivery, State
from relay.errors import Kind, Problem
from relay.message import Acceptance, Address, Addressee, Ids, Mode, Stream, Submission, Trace, new_public_id
from relay.metrics import Metrics
from relay.routing.counting import Reserved
from relay.routing.devices import DailyCaps, cap_of
from relay.routing.disk import Disk
from relay.routing.fixups import NORMALISED, Fixed, fix_up
from relay.routing.idempotency import MESSAGE, Claim, Idempotency, read, with_envelope, written
from relay.routing.large import cut, fix_large, in_turns
from relay.routing.limits import LARGE
from relay.routing.quota import Quota
from relay.routing.rates import Pacer
from relay.routing.recipients import Recipients
from relay.routing.sender_rules import envelope
from relay.routing.senders import Credential, Senders
from relay.store.accepting import NewDelivery, NewMessage, accept
from relay.store.clock import milliseconds, now_ms
from relay.store.directory.domains import SenderDomain
from relay.store.directory.tenants import Tenant
from relay.store.queue import Queue
from relay.store.store import Store
from relay.store.writer import Rank

PER_CALL = 50  # recipients in one SES call (SES fact 1.2)
OVERHEAD = 2048  # octets a row costs in a transaction besides the content


class Reservation(Protocol):
    """A lane's promise to start one attempt as soon as its message is committed."""

    def start(self, delivery: Delivery, content: bytes | None) -> None: ...  # None: the queue has it

    def release(self) -> None: ...


class Lanes(Protocol):
    """What the core asks of dispatch."""

    def reserve(self, queue: Queue, recipients: int) -> Reservation | None: ...

    def note(self, queue: Queue, due_at: int) -> None: ...


class Intake:
    """The core's checks, in order, and the commit."""

    def __init__(
        self,
        settings: Settings,
        senders: Senders,
        recipients: Recipients,
        quota: Quota,
        caps: DailyCaps,
        disk: Disk,
        store: Store,
        lanes: Lanes,
        metrics: Metrics,
    ) -> None:
        self.senders = senders
        self.recipients = recipients
        self._quota = quota
        self._caps = caps
        self._disk = disk
        self._pacer = Pacer()
        self._hostname = settings.hostname
        self._keep_for = milliseconds(settings.retention.content)
        self._store = store
        self._lanes = lanes
        self._metrics = metrics
        self._ids = Ids()
        self._once = Idempotency(store)
        self._commits: set[asyncio.Task[Acceptance]] = set()
        self._large = asyncio.Lock()  # whoever works on a large message: side by side they would hold up everyone

    def check_sender(self, credential: Credential, sender: Address | None) -> Address:
        """The envelope sender to keep, and all that can be known so early of who sends.

        Raises Problem(UNAUTHORIZED | FORBIDDEN | SUSPENDED | NOT_REGISTERED | QUOTA_EXCEEDED | STORAGE_FULL).
        """
        self._disk.require_room()
        credential = self.senders.current(credential)
        kept = envelope(credential.effective_rule, sender)
        if kept is None:
            raise Problem(
                Kind.FORBIDDEN,
                "bounces are not relayed: Amazon SES cannot send with an empty envelope sender; give your own address",
            )
        self.senders.require_standing(credential)
        self.senders.registered(credential, kept)
        now = now_ms()
        self._quota.check(credential.tenant_id, 1, self.senders.plan(credential.tenant).monthly, now)
        self._caps.check(credential.key, 1, now)
        return kept

    def check_author(self, credential: Credential, author: Address, recipients: int) -> None:
        """Whom the mail says it is from, before anything is asked about its recipients.

        Raises Problem(SUSPENDED | NOT_REGISTERED | FORBIDDEN | NOT_APPROVED | NOT_VERIFIED | QUOTA_EXCEEDED |
        STORAGE_FULL).
        """
        self._disk.require_room()
        self.senders.route(credential, author)
        monthly = self.senders.plan(credential.tenant).monthly
        self._quota.check(credential.tenant_id, recipients, monthly, now_ms())

    async def accept(self, credential: Credential, submission: Submission) -> Acceptance:
        """Make a submission durable, or refuse it with a Problem. Its recipients have passed their checks.

        One that repeats another, by its idempotency key, is answered as that was. Cancelling the caller after the
        commit began does not undo it: the message is sent all the same.
        """
        credential = self.senders.current(credential)
        public_id = new_public_id()
        fixed, pieces = await self._fixed(credential, submission, public_id)
        claim: Claim | None = None
        if key := fixed.options.idempotency_key:
            claim = await self._once.claim(credential.tenant_id, MESSAGE, with_envelope(key, submission))
            if claim.answer is not None:
                return _repeated(claim.answer)
        try:
            new, reserved, acceptance = await self._prepared(credential, submission, fixed, pieces, public_id)
        except BaseException:
            if claim is not None:  # a refusal frees the key
                claim.release()
            raise
        if claim is not None:
            new = replace(new, once=claim.once(written(acceptance), new.accepted_at))
        commit = asyncio.create_task(self._commit(new, fixed, reserved, acceptance))
        self._commits.add(commit)
        commit.add_done_callback(self._commits.discard)
        if claim is not None:
            commit.add_done_callback(lambda _: claim.release())
        return await asyncio.shield(commit)

    async def _fixed(self, credential: Credential, submission: Submission, public_id: str) -> tuple[Fixed, list[bytes]]:
        """What is known of the message, and its octets in pieces. Those of a large one are only there."""
        fix = partial(
            fix_up,
            trace=submission.trace,
            hostname=self._hostname,
            public_id=public_id,
            now=datetime.now(UTC),
            is_ours=lambda domain: self.senders.find(domain, credential.tenant_id) is not None,
            # Over HTTP an application says in so many words whom it sends as.
            rule=None if submission.trace.protocol == "HTTP" else credential.effective_rule,
        )
        raw = submission.raw
        if isinstance(raw, bytes) and len(raw) <= LARGE:
            fixed = fix(raw)
            return fixed, [fixed.raw]
        async with self._large:
            return await fix_large(cut(raw) if isinstance(raw, bytes) else raw, fix, SES_MESSAGE_LIMIT)

    async def _prepared(
        self, credential: Credential, submission: Submission, fixed: Fixed, pieces: list[bytes], public_id: str
    ) -> tuple[NewMessage, Reserved, Acceptance]:
        """What is to be written, what it holds of the quota, and what is answered then. Raises Problem."""
        stream = fixed.options.stream or (Stream.BROADCAST if fixed.is_bulk else Stream.TRANSACTIONAL)
        route = self.senders.route(credential, fixed.author, stream)
        size = sum(map(len, pieces))
        if size > SES_MESSAGE_LIMIT:
            raise Problem(Kind.TOO_LARGE, f"the message is over {SES_MESSAGE_LIMIT} octets; Amazon SES takes no more")
        message_id, accepted_at = self._ids.next(), now_ms()
        sealer = self._store.sealer
        sealed_key, sealing = sealer.seal_pieces(message_id, pieces)
        if size <= LARGE:
            parts = list(sealing)
        else:
            async with self._large:
                parts = await in_turns(sealing)
        monthly = self.senders.plan(credential.tenant).monthly
        # The last thing that can refuse: what is reserved is given back if the commit fails, and by nothing else.
        self._caps.check(credential.key, len(submission.recipients), accepted_at)
        reserved = self._quota.reserve(credential.tenant_id, len(submission.recipients), monthly, accepted_at)
        self._caps.reserve(credential.key, reserved, len(submission.recipients), accepted_at)
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
            ledger=_as_json(fixed.ledger),
            size=size,
            accepted_at=accepted_at,
            wrapped_key=sealed_key,
            parts=tuple(parts),
            keep_until=self._keep_until(route, credential.tenant, accepted_at),
            due_at=max(accepted_at + self._wait(credential, submission.trace), fixed.options.send_at or 0),
            state=State.QUEUED,
            deliveries=tuple(self._deliveries(submission.recipients, stream)),
            dsn=submission.dsn,
            options=fixed.options,
            is_capped=cap_of(credential.key) is not None,
        )
        warnings = route.warnings if route.mode is Mode.SHARED else ()
        return new, reserved, Acceptance(public_id, fixed.message_id, accepted_at, warnings)

    def _keep_until(self, route: SenderDomain, tenant: Tenant, accepted_at: int) -> int | None:
        """How long the content stays: not at all in byoc mode, and as the tenant wants it in shared mode."""
        wanted = tenant.settings.retention_content
        keep_for = self._keep_for if wanted is None else milliseconds(wanted)
        if route.mode is Mode.BYOC or not tenant.settings.store_content or not keep_for:
            return None
        return accepted_at + keep_for

    def _wait(self, credential: Credential, trace: Trace) -> int:
        """How much later than now it is due, in milliseconds: over SMTP no rate refuses, the mail waits."""
        if trace.protocol == "HTTP" or credential.key is None:
            return 0
        per_minute = credential.key.rate_per_minute or self.senders.plan(credential.tenant).rate_per_minute
        return milliseconds(self._pacer.delay(credential.key.id, per_minute, time.monotonic()))

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

    async def _commit(self, new: NewMessage, fixed: Fixed, reserved: Reserved, acceptance: Acceptance) -> Acceptance:
        """Write it, as an attempt already started where a lane has room at once."""
        queue = (new.domain, new.stream)
        people = sum(len(each.recipients) for each in new.deliveries)
        is_now = len(new.deliveries) == 1 and new.due_at <= new.accepted_at
        reservation = self._lanes.reserve(queue, people) if is_now else None
        if reservation is not None:
            new = new.started()
        try:
            earlier = await self._store.write(accept, new, Rank.ACCEPT, new.size + OVERHEAD)
        except BaseException:
            reserved.release()
            if reservation is not None:
                reservation.release()
            raise
        if earlier is not None:  # another process had the same submission, and was first
            reserved.release()
            if reservation is not None:
                reservation.release()
            return _repeated(earlier.answer)
        if reservation is None:
            self._lanes.note(queue, new.due_at)
        else:
            reservation.start(_first_attempt(new), fixed.raw or None)
        self._metrics.accepted.labels(new.protocol, new.mode.value).inc()
        if NORMALISED in fixed.ledger:
            self._metrics.newlines_repaired.inc()
        log.event(
            "message.accepted",
            id=new.public_id,
            protocol=new.protocol,
            domain=new.domain,
            mode=new.mode.value,
            stream=new.stream.value,
            state=new.state.value,
            recipients=people,
            size=new.size,
        )
        return acceptance


def _repeated(answer: str) -> Acceptance:
    acceptance = read(answer)
    log.event("message.repeated", id=acceptance.public_id)
    return acceptance


@lru_cache(maxsize=64)
def _as_json(ledger: tuple[str, ...]) -> str:
    """Most messages have the same few fix-ups."""
    return json.dumps(ledger)


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
    )
