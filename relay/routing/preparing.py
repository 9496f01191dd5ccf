"""Makes of a submission all that is to be written of it: its route, its deliveries, its sealed content."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from functools import lru_cache

from relay.config import SES_MESSAGE_LIMIT, Settings
from relay.declared import RECIPIENTS_PER_CALL, ByocLog
from relay.delivery import State, Tracking
from relay.errors import Kind, Problem
from relay.message import Acceptance, Addressee, Ids, Mode, Options, Stream, Submission, Trace
from relay.routing.committing import Prepared
from relay.routing.devices import DailyCaps, cap_of
from relay.routing.echoing import echoed
from relay.routing.fixups import Fixed
from relay.routing.headers import MAX_HEADER
from relay.routing.large import in_turns
from relay.routing.limits import LARGE
from relay.routing.quota import Quota
from relay.routing.rates import Pacer
from relay.routing.reporting import reported
from relay.routing.senders import Credential, Senders
from relay.routing.slimming import may_have_attachments
from relay.store.arriving import NewDelivery, NewMessage
from relay.store.clock import milliseconds, now_ms
from relay.store.directory.domains import SenderDomain
from relay.store.directory.tenants import Tenant
from relay.store.store import Store


class Preparing:
    """One per server. `large` is held by whoever works on a large message."""

    def __init__(
        self,
        settings: Settings,
        senders: Senders,
        quota: Quota,
        caps: DailyCaps,
        store: Store,
        large: asyncio.Lock,
    ) -> None:
        self._senders = senders
        self._quota = quota
        self._caps = caps
        self._sealer = store.sealer
        self._hooks = store.hooks
        self._large = large
        self._bounces = settings.bounces
        self._keep_for = milliseconds(settings.retention.content)
        self._keep_files_for = milliseconds(settings.retention.attachments)
        self._pacer = Pacer()
        self._ids = Ids()

    def check(self, credential: Credential, fixed: Fixed, size: int) -> tuple[Stream, SenderDomain]:
        """Which way a message goes, if it may. `size` in octets.

        Raises Problem(SUSPENDED | NOT_REGISTERED | FORBIDDEN | NOT_APPROVED | NOT_VERIFIED | TOO_LARGE).
        """
        stream = fixed.options.stream or (Stream.BROADCAST if fixed.is_bulk else Stream.TRANSACTIONAL)
        route = self._senders.route(credential, fixed.author, stream)
        if size > SES_MESSAGE_LIMIT:
            raise Problem(Kind.TOO_LARGE, f"the message is over {SES_MESSAGE_LIMIT} octets; Amazon SES takes no more")
        return stream, route

    async def prepare(
        self, credential: Credential, submission: Submission, fixed: Fixed, pieces: list[bytes], public_id: str
    ) -> Prepared:
        """Raises what `check` does, and Problem(QUOTA_EXCEEDED); from here on the message holds a part of its quota."""
        size = sum(map(len, pieces))
        stream, route = self.check(credential, fixed, size)
        message_id, accepted_at = self._ids.next(), now_ms()
        keep_until = self._keep_until(route, credential.tenant, accepted_at)
        slim_at = self._slim_at(pieces[0] if pieces else b"", keep_until, accepted_at)
        # Before sealing, which takes the pieces away.
        head = pieces[0][:MAX_HEADER] if pieces and self._hooks.has(credential.tenant_id) else b""
        is_minimal = route.mode is Mode.BYOC and credential.tenant.settings.byoc_log is ByocLog.MINIMAL
        sealed_key, sealing = self._sealer.seal_pieces(message_id, pieces)
        if size <= LARGE:
            parts = list(sealing)
        else:
            async with self._large:
                parts = await in_turns(sealing)
        monthly = self._senders.plan(credential.tenant).monthly
        # The last thing that can refuse: what is reserved is given back if the commit fails, and by nothing else.
        self._caps.check(credential.key, len(submission.recipients), accepted_at)
        reserved = self._quota.reserve(credential.tenant_id, len(submission.recipients), monthly, accepted_at)
        self._caps.reserve(credential.key, reserved, len(submission.recipients), accepted_at)
        due_at = max(accepted_at + self._wait(credential, submission.trace), fixed.options.send_at or 0)
        deliveries = self._deliveries(submission.recipients, per_call(route, stream, fixed.options))
        is_bulk = fixed.is_bulk or stream is Stream.BROADCAST
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
            # A byoc customer's subject is content, unless the tenant wants it known.
            subject=None if is_minimal else submission.subject or None,
            rfc_message_id=fixed.message_id,
            ledger=_as_json(fixed.ledger),
            size=size,
            accepted_at=accepted_at,
            wrapped_key=sealed_key,
            parts=tuple(parts),
            keep_until=keep_until,
            due_at=due_at,
            state=State.QUEUED,
            deliveries=reported(deliveries, submission, self._bounces, is_bulk=is_bulk, due_at=due_at),
            dsn=submission.dsn,
            options=fixed.options,
            is_capped=cap_of(credential.key) is not None,
            forgets=is_minimal,
            slim_at=slim_at,
        )
        new = echoed(new, self._hooks, submission.subject or None, head)
        acceptance = Acceptance(
            public_id, fixed.message_id, accepted_at, route.mode, warnings=(*submission.warnings, *warnings_of(route))
        )
        return Prepared(new, fixed, reserved, acceptance)

    def _keep_until(self, route: SenderDomain, tenant: Tenant, accepted_at: int) -> int | None:
        """How long the content stays: not at all in byoc mode, and as the tenant wants it in shared mode."""
        wanted = tenant.settings.retention_content
        keep_for = self._keep_for if wanted is None else milliseconds(wanted)
        if route.mode is Mode.BYOC or not tenant.settings.store_content or not keep_for:
            return None
        return accepted_at + keep_for

    def _slim_at(self, head: bytes, keep_until: int | None, accepted_at: int) -> int | None:
        """When the attachments of kept content are dropped; None where none can be, or where they stay as long as it.

        `head`: how the message begins, with its header.
        """
        at = accepted_at + self._keep_files_for
        return at if keep_until is not None and at < keep_until and may_have_attachments(head) else None

    def _wait(self, credential: Credential, trace: Trace) -> int:
        """How much later than now it is due, in milliseconds: over SMTP no rate refuses, the mail waits."""
        if trace.protocol == "HTTP" or credential.key is None:
            return 0
        per_minute = credential.key.rate_per_minute or self._senders.plan(credential.tenant).rate_per_minute
        return milliseconds(self._pacer.delay(credential.key.id, per_minute, time.monotonic()))

    def _deliveries(self, addressees: Sequence[Addressee], size: int) -> list[NewDelivery]:
        """`size`: recipients a call."""
        hashed = [(self._ids.next(), each, self._sealer.hash_address(each.address.folded)) for each in addressees]
        return [
            NewDelivery(self._ids.next(), tuple(hashed[start : start + size])) for start in range(0, len(hashed), size)
        ]


def per_call(route: SenderDomain, stream: Stream, options: Options) -> int:
    """How many recipients one call takes: one where an event must say which of them it is of (design: grouping)."""
    tracking = Tracking(options.track_opens, options.track_clicks).otherwise(route.tracking)
    if stream is Stream.BROADCAST or tracking.is_on:
        return 1
    return route.recipients_per_call or RECIPIENTS_PER_CALL


def warnings_of(route: SenderDomain) -> tuple[str, ...]:
    """What its sender is told that does not stop the mail: a customer's own account is the customer's to look after."""
    return route.warnings if route.mode is Mode.SHARED else ()


@lru_cache(maxsize=64)
def _as_json(ledger: tuple[str, ...]) -> str:
    """Most messages have the same few fix-ups."""
    return json.dumps(ledger)
