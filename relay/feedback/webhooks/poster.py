"""Empties the outbox of webhooks: posts what is due until it is taken or given up. Decides nothing about when."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from relay import log
from relay.feedback.webhooks import schedule
from relay.feedback.webhooks.posting import Posting
from relay.feedback.webhooks.rendering import rendered
from relay.feedback.webhooks.schedule import Answer
from relay.feedback.webhooks.signing import headers
from relay.following import Webhooks
from relay.metrics import Metrics
from relay.sealing import SealingError
from relay.store.clock import milliseconds, now_ms
from relay.store.directory.installation import shown
from relay.store.journal import event_id
from relay.store.store import Store
from relay.store.webhooks import outbox
from relay.store.webhooks.log import ANSWER
from relay.store.webhooks.outbox import Attempted, Fate, Run, Waiting
from relay.store.webhooks.rows import Webhook
from relay.store.writer import Rank

EVERY = 0.5  # seconds from one look at the outbox to the next
COUNT_EVERY = 15.0  # seconds
TOGETHER = 32  # posts under way in all
TO_ONE = 4  # and to one webhook: one that is slow keeps no other waiting
AT_ONCE = 40  # posts that are read at once
REST = 5_000  # milliseconds after a fault of ours
STOP_WITHIN = 2.0  # seconds for what is under way when the server stops
SEALED_ELSEWHERE = "it cannot be read: it was sealed by another installation"
OUR_FAULT = "a fault of Relay, which its log tells of"


@dataclass(slots=True)
class Lane:
    """What goes to one webhook. `failures`: in a row; `rests_until` in milliseconds since 1970."""

    failures: int
    rests_until: int = 0
    is_over: bool = False  # it has just been disabled
    work: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def width(self) -> int:
        """How many posts at once: while the receiver is away, one asks whether it is back."""
        return 1 if self.failures >= schedule.FAILS_AFTER else TO_ONE


class Poster:
    """Of processes that share a database, one does it. `replace` when the directory changed.

    At least once: an attempt is written down when it is over, so one that a crash cut off is made again, under the
    same id. `context`: whom to trust in TLS; None: whom the machine trusts. `now`: milliseconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        settings: Webhooks,
        metrics: Metrics,
        *,
        context: ssl.SSLContext | None = None,
        now: Callable[[], int] = now_ms,
    ) -> None:
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._context = context
        self._now = now
        self._webhooks: Mapping[int, Webhook] = {}
        self._lanes: dict[int, Lane] = {}
        self._room = asyncio.Semaphore(TOGETHER)
        self._counted_at = float("-inf")
        self._made: Posting | None = None

    def replace(self, webhooks: Mapping[int, Webhook]) -> None:
        """By their ids, as the directory has them now."""
        for webhook_id, webhook in webhooks.items():
            before = self._webhooks.get(webhook_id)
            if before is None or before.updated_at != webhook.updated_at:
                self._begin(webhook)
        self._webhooks = webhooks
        for webhook_id in self._lanes.keys() - webhooks.keys():
            self._lanes[webhook_id].is_over = True
            if self._lanes[webhook_id].work is None:
                del self._lanes[webhook_id]

    def _begin(self, webhook: Webhook) -> None:
        """Its failures are those that it had when it was read, so that a restart asks for no more than before."""
        known = self._lanes.setdefault(webhook.id, Lane(webhook.failures))
        known.failures, known.rests_until, known.is_over = webhook.failures, 0, not webhook.is_enabled

    async def run(self) -> None:
        """For ever. What goes wrong is logged, and tried again."""
        try:
            while True:
                try:
                    await self.look()
                except Exception as exc:
                    log.trouble("webhooks.failed", exc)
                await asyncio.sleep(EVERY)
        finally:
            await self.close()

    async def look(self) -> list[asyncio.Task[None]]:
        """Begin with whatever is due. Returns what is under way."""
        if not await self._store.own("webhooks"):
            return self._under_way()
        await self._count()
        if self._webhooks:
            now = self._now()
            for webhook_id, due_at in (await self._store.read(outbox.first_due)).items():
                lane = self._lanes.get(webhook_id)
                if lane is None or lane.is_over or lane.work is not None or max(due_at, lane.rests_until) > now:
                    continue
                lane.work = asyncio.create_task(self._drain(webhook_id, lane), name=f"webhook {webhook_id}")
        return self._under_way()

    def _under_way(self) -> list[asyncio.Task[None]]:
        return [lane.work for lane in self._lanes.values() if lane.work is not None]

    async def _count(self) -> None:
        if time.monotonic() - self._counted_at > COUNT_EVERY:
            self._counted_at = time.monotonic()
            self._metrics.webhook_waiting.set(await self._store.read(outbox.waiting))

    async def close(self) -> None:
        """What is under way may end; what does not in time is posted again by the next server."""
        for lane in self._lanes.values():
            lane.is_over = True
        if work := self._under_way():
            _, late = await asyncio.wait(work, timeout=STOP_WITHIN)
            for each in late:
                each.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._made is not None:
            await self._made.close()

    # -- one webhook -------------------------------------------------------------------------------------------------

    async def _drain(self, webhook_id: int, lane: Lane) -> None:
        """Post what is due for it, until nothing is, or it has to rest."""
        is_first = True
        try:
            while not self._rests(lane) and webhook_id in self._webhooks:
                most = AT_ONCE if lane.width > 1 else 1
                now = self._now()
                due = await self._store.read(partial(outbox.take, webhook_id=webhook_id, now=now, most=most))
                if not due:
                    if is_first:  # it is due, and cannot be taken
                        await self._store.write(outbox.line_up, (webhook_id, now), Rank.SWEEP)
                    return
                is_first = False
                await self._post_all(webhook_id, lane, due)
        except Exception as exc:  # the database is away, or a fault of ours: the outbox stays as it is
            log.trouble("webhook.stuck", exc, webhook=shown(webhook_id))
            lane.rests_until = self._now() + REST
        finally:
            lane.work = None

    def _rests(self, lane: Lane) -> bool:
        return lane.is_over or lane.rests_until > self._now()

    async def _post_all(self, webhook_id: int, lane: Lane, due: Sequence[Waiting]) -> None:
        """Some at once, and each written down while the next is posted: a commit takes as long as a post."""
        posts = iter(due)
        writing: list[asyncio.Task[None]] = []

        async def some() -> None:
            for post in posts:
                webhook = self._webhooks.get(webhook_id)
                if webhook is None or self._rests(lane):
                    return
                attempted, answer = await self._post(webhook, lane, post)
                writing.append(asyncio.create_task(self._settle(webhook, lane, attempted, answer)))

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(lane.width):
                    workers.create_task(some())
        finally:  # also where the server stops: what is over is not posted again
            faults = await asyncio.gather(*writing, return_exceptions=True)
        for fault in faults:
            if fault is not None:
                raise fault

    async def _post(self, webhook: Webhook, lane: Lane, post: Waiting) -> tuple[Attempted, Answer | None]:
        """No answer where it could not be made."""
        async with self._room:
            begun = self._now()
            written = self._written(webhook, post, begun)
            if isinstance(written, Attempted):
                return written, None
            answer = await self._posting.post(webhook.url, *written)
        self._note(webhook, lane, answer)
        return self._attempted(webhook, post, begun, answer), answer

    async def _settle(self, webhook: Webhook, lane: Lane, attempted: Attempted, answer: Answer | None) -> None:
        run = await self._store.write(outbox.settle, attempted, Rank.SWEEP)
        self._say(webhook, attempted)
        if run is not None and answer is not None:
            await self._look_at(webhook, lane, answer, run)

    @property
    def _posting(self) -> Posting:
        if self._made is None:
            self._made = Posting(self._settings, self._now, self._context)
        return self._made

    def _written(self, webhook: Webhook, post: Waiting, now: int) -> tuple[dict[str, str], bytes] | Attempted:
        """Headers and body. Else what becomes of a post that cannot be made."""
        try:
            secrets = webhook.secrets(self._store.sealer, now)
            facts = self._store.hooks.open(post.sealed)
            said = rendered(
                webhook.dialect,
                facts,
                tenant=webhook.tenant,
                tenant_id=webhook.tenant_id,
                webhook=shown(webhook.id),
            )
            if said is None:
                return Attempted(post, Fate.UNTOLD, now)
            which = event_id(post.event_id)
            signed = headers(webhook.dialect, said, secrets, event_id=which, at=now // 1000, attempt=post.attempts + 1)
        except SealingError:
            return Attempted(post, Fate.DEAD, now, said=SEALED_ELSEWHERE, is_receivers=False)
        except Exception as exc:  # one event that cannot be written keeps no other back
            log.trouble("webhook.unwritten", exc, webhook=shown(webhook.id), post=shown(post.id), type=post.type)
            return Attempted(post, Fate.DEAD, now, said=OUR_FAULT, is_receivers=False)
        return signed, said.body

    def _attempted(self, webhook: Webhook, post: Waiting, begun: int, answer: Answer) -> Attempted:
        follows = schedule.after(answer, post.failures, webhook.retries, random.random())
        body = answer.body.decode("utf-8", "replace")
        return Attempted(
            post,
            follows.fate,
            begun,
            answer.took,
            answer.status,
            answer.said,
            self._store.sealer.seal_secret(body, ANSWER) if body else None,
            None if follows.wait is None else self._now() + milliseconds(follows.wait),
        )

    def _note(self, webhook: Webhook, lane: Lane, answer: Answer) -> None:
        """At once, before it is written down: what is next in this lane goes by it."""
        if answer.is_taken:
            if lane.failures >= schedule.FAILS_AFTER:
                log.event("webhook.recovered", webhook=shown(webhook.id), failures=lane.failures)
            lane.failures = 0
            return
        lane.failures += 1
        rest = schedule.rest_after(answer, lane.failures)
        lane.rests_until = max(lane.rests_until, self._now() + milliseconds(rest))

    def _say(self, webhook: Webhook, attempted: Attempted) -> None:
        self._metrics.webhook_posts.labels(attempted.fate.value).inc()
        if attempted.fate in {Fate.TAKEN, Fate.UNTOLD}:
            return
        say = log.trouble if attempted.fate is Fate.DEAD else log.event
        post = attempted.seen
        say(
            f"webhook.{attempted.fate.value}",
            webhook=shown(webhook.id),
            post=shown(post.id),
            type=post.type,
            attempt=post.attempts + 1,
            status=attempted.status,
            said=attempted.said,
        )

    async def _look_at(self, webhook: Webhook, lane: Lane, answer: Answer, run: Run) -> None:
        """Whether it is given up."""
        reason = schedule.reason_to_disable(answer, run, self._now())
        if not reason:
            return
        has_disabled = await self._store.change(lambda db: outbox.disable(db, webhook.id, reason))
        lane.is_over = True
        if has_disabled:
            which = shown(webhook.id)
            remedy = f"relay webhook change {which} --enable"
            log.trouble("webhook.disabled", webhook=which, tenant=webhook.tenant, reason=reason, remedy=remedy)
