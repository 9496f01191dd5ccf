"""The one way in: both edges hand submissions here and get an acceptance or a Problem."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from relay import log
from relay.config import SES_MESSAGE_LIMIT, Settings
from relay.errors import Kind, Problem
from relay.message import Acceptance, Address, Submission, Trace, new_public_id
from relay.metrics import Metrics
from relay.routing import answers
from relay.routing.answers import Outcome
from relay.routing.committing import Commits, Lanes, Prepared
from relay.routing.devices import DailyCaps
from relay.routing.disk import Disk
from relay.routing.fixups import Fixed, fix_up, stamp
from relay.routing.idempotency import MESSAGE, Claim, Idempotency, with_envelope
from relay.routing.large import cut, fix_large
from relay.routing.limits import LARGE
from relay.routing.preparing import Preparing, warnings_of
from relay.routing.quota import Quota
from relay.routing.recipients import Recipients
from relay.routing.sender_rules import envelope
from relay.routing.senders import Credential, Senders
from relay.store.clock import now_ms
from relay.store.store import Store

AT_ONCE = 20  # messages of a batch that are prepared before others have their turn


@dataclass(frozen=True, slots=True)
class Composed:
    """A submission whose octets we wrote ourselves, the stamp on top included: there is nothing to fix."""

    submission: Submission
    public_id: str
    fixed: Fixed


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
        self.once = Idempotency(store)
        self._quota = quota
        self._caps = caps
        self._disk = disk
        self._hostname = settings.hostname
        self._store = store
        self._large = asyncio.Lock()  # whoever works on a large message: side by side they would hold up everyone
        self._preparing = Preparing(settings, senders, quota, caps, store, self._large)
        self._commits = Commits(store, lanes, metrics)

    # -- before there is a message -----------------------------------------------------------------------------------

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
        self.check_quota(credential, 1)
        return kept

    def check_author(self, credential: Credential, author: Address) -> None:
        """Whom the mail says it is from, before anything is asked about its recipients.

        Raises Problem(SUSPENDED | NOT_REGISTERED | FORBIDDEN | NOT_APPROVED | NOT_VERIFIED | STORAGE_FULL).
        """
        self._disk.require_room()
        self.senders.route(credential, author)

    def check_quota(self, credential: Credential, recipients: int) -> None:
        """Whether so many more fit, before any work is done for them. Raises Problem(QUOTA_EXCEEDED)."""
        now = now_ms()
        self._quota.check(credential.tenant_id, recipients, self.senders.plan(credential.tenant).monthly, now)
        self._caps.check(credential.key, recipients, now)

    def stamp(self, trace: Trace, public_id: str, message_id: str) -> bytes:
        """The fields that stand on top of a message that an edge composes, for `accept_composed`."""
        return stamp(trace, self._hostname, public_id, datetime.now(UTC), message_id)

    # -- messages ----------------------------------------------------------------------------------------------------

    async def accept(
        self, credential: Credential, submission: Submission, public_id: str = "", claim: Claim | None = None
    ) -> Acceptance:
        """Make a submission durable, or refuse it with a Problem. Its recipients have passed their checks.

        One that repeats another, by its idempotency key, is answered as that was; a `claim` that the edge has goes
        before that, and is ours from here on. Cancelling the caller after the commit began does not undo it: the
        message is sent all the same.
        """
        try:
            credential = self.senders.current(credential)
            public_id = public_id or new_public_id()
            fixed, pieces = await self._fixed(credential, submission, public_id)
            if claim is None and (key := fixed.options.idempotency_key):
                claim = await self.once.claim(credential.tenant_id, MESSAGE, with_envelope(key, submission))
                if claim.answer is not None:
                    return _only(self.repeated(claim.answer))
            prepared = await self._preparing.prepare(credential, submission, fixed, pieces, public_id)
        except BaseException:
            if claim is not None:  # a refusal frees the key
                claim.release()
            raise
        return _only(await self._commits.commit([prepared], claim))

    async def accept_composed(
        self, credential: Credential, items: Sequence[Composed | Problem], claim: Claim | None
    ) -> list[Outcome]:
        """Make all that were not refused durable, in one transaction, and say what became of each.

        The claim is ours from here on; where every item is refused, it is free again. Raises Problem where nothing
        could be written. Cancelling the caller after the commit began does not undo it.
        """
        prepared: list[Prepared | Problem] = []
        try:
            credential = self.senders.current(credential)
            for item in items:
                if prepared:
                    await asyncio.sleep(0)  # others have their turn between the messages of a batch
                prepared.append(item if isinstance(item, Problem) else await self._prepared(credential, item))
            refused = [each for each in prepared if isinstance(each, Problem)]
            if len(refused) == len(prepared):
                if claim is not None:
                    claim.release()
                return list(refused)
        except BaseException:
            for each in prepared:
                if isinstance(each, Prepared):
                    each.reserved.release()
            if claim is not None:
                claim.release()
            raise
        return await self._commits.commit(prepared, claim)

    async def rehearse(self, credential: Credential, submission: Submission) -> Acceptance:
        """Every check of `accept`, and nothing written or counted: what would be answered, but for the moments."""
        public_id = new_public_id()
        fixed, pieces = await self._fixed(self.senders.current(credential), submission, public_id)
        return self._rehearsed(credential, submission, fixed, sum(map(len, pieces)), public_id)

    def rehearse_composed(self, credential: Credential, composed: Composed) -> Acceptance:
        """The same for one of `accept_composed`."""
        submission = composed.submission
        return self._rehearsed(credential, submission, composed.fixed, len(submission.raw), composed.public_id)

    def _rehearsed(
        self, credential: Credential, submission: Submission, fixed: Fixed, size: int, public_id: str
    ) -> Acceptance:
        _, route = self._preparing.check(self.senders.current(credential), fixed, size)
        self.check_quota(credential, len(submission.recipients))
        warnings = (*submission.warnings, *warnings_of(route))
        return Acceptance(public_id, fixed.message_id, 0, route.mode, warnings=warnings)

    def repeated(self, answer: str) -> list[Outcome]:
        """What a request is answered that was answered before."""
        outcomes = answers.read(answer, self._store.sealer)
        for each in outcomes:
            if isinstance(each, Acceptance):
                log.event("message.repeated", id=each.public_id)
        return outcomes

    async def close(self) -> None:
        """Wait for commits whose client has gone."""
        await self._commits.close()

    async def _prepared(self, credential: Credential, composed: Composed) -> Prepared | Problem:
        raw = composed.submission.raw
        assert isinstance(raw, bytes)
        try:
            return await self._preparing.prepare(
                credential, composed.submission, composed.fixed, [raw], composed.public_id
            )
        except Problem as problem:
            return problem

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


def _only(outcomes: Sequence[Outcome]) -> Acceptance:
    [outcome] = outcomes
    if isinstance(outcome, Problem):
        raise outcome
    return outcome
