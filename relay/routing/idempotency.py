"""Takes the same submission once: one key, one envelope, one answer for a day (design: the core's checks, 7)."""

from __future__ import annotations

from datetime import timedelta

from relay.errors import Kind, Problem
from relay.message import Submission
from relay.store.idempotency import Answer, Once
from relay.store.store import Store

MESSAGE = "message"  # the route of a key that stands in a message's header
RETRY_AFTER = timedelta(seconds=5)


class Idempotency:
    """One per server: knows which keys are in hand here, and asks the store which were answered."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._in_hand: set[tuple[int, str, bytes]] = set()

    async def claim(self, tenant_id: int, route: str, key: str, body: bytes | None = None) -> Claim:
        """Take a key in hand, until the claim is released. One that was answered is not taken: see its `answer`.

        `body`: the keyed hash of what is asked, where another request under the same key is to be refused.
        Raises Problem(IDEMPOTENCY_BUSY) while another has it, and Problem(IDEMPOTENCY_CLASH).
        """
        place = (tenant_id, route, self._store.sealer.hash(key, "idempotency"))
        if place in self._in_hand:
            raise Problem(
                Kind.IDEMPOTENCY_BUSY,
                f"{Kind.IDEMPOTENCY_BUSY.title}: try again in some seconds for its answer",
                retry_after=RETRY_AFTER,
            )
        claim = Claim(self._in_hand, place, body)
        try:
            found = await self._store.answered(*place)
            claim.answer = None if found is None else claim.read(found)
        except BaseException:
            claim.release()
            raise
        if found is not None:
            claim.release()
        return claim


class Claim:
    """A key in hand. `answer`: what the first got, where there was one within a day."""

    def __init__(
        self, in_hand: set[tuple[int, str, bytes]], place: tuple[int, str, bytes], body: bytes | None = None
    ) -> None:
        self.answer: str | None = None
        self._in_hand = in_hand
        self._place = place
        self._body = body
        in_hand.add(place)

    def read(self, found: Answer) -> str:
        """What was answered. Raises Problem(IDEMPOTENCY_CLASH) where something else was asked."""
        if found.body != self._body:
            raise Problem(
                Kind.IDEMPOTENCY_CLASH, "this idempotency key was used for another request: take a new key for this one"
            )
        return found.answer

    def once(self, answer: str, at: int) -> Once:
        """The row to write with what is done. `at` in milliseconds since 1970."""
        tenant_id, route, key = self._place
        return Once(tenant_id, route, key, self._body, answer, at)

    def release(self) -> None:
        """Let others have the key: what was done under it is durable, or nothing was."""
        self._in_hand.discard(self._place)


def with_envelope(key: str, submission: Submission) -> str:
    """A key and the envelope it came with: together they are one submission, whatever else a client writes anew."""
    recipients = sorted({each.address.folded for each in submission.recipients})
    return "\0".join((key, submission.sender.folded if submission.sender else "", *recipients))
