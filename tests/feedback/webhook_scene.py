"""A store with a webhook, a poster whose clock can be put forward, and a receiver on this machine."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from sqlalchemy.engine import URL

from relay.declared import WebhookChange, WebhookFields
from relay.feedback.webhooks.poster import Poster
from relay.following import Webhooks
from relay.message import Ids
from relay.metrics import Metrics
from relay.store.clock import now_ms
from relay.store.directory.audit import Actor
from relay.store.directory.installation import shown
from relay.store.directory.paging import Asked
from relay.store.events import Event, note
from relay.store.store import Store
from relay.store.webhooks import log, replay, rows
from relay.store.webhooks.log import Post, PostState
from relay.store.webhooks.rows import Webhook
from tests.store.stories import play

ACTOR = Actor("test")
HERE = Webhooks(allow_networks=("127.0.0.0/8", "::1/128"), allow_plain=True)
ids = Ids()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Got:
    """A post as it came."""

    headers: dict[str, str] = field(repr=False)
    body: bytes
    path: str

    @property
    def event(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """Answers with `status` and `headers`, or as `handler` does."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.got: list[Got] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = b"thank you"
        self.most_at_once = self._at_once = 0
        self.handler: Handler | None = None
        self._context = context
        self.port = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await self.open()
        return self

    async def open(self) -> None:
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._context, reuse_address=True)
        await site.start()
        self._site = site
        self.port = self._runner.addresses[0][1]

    async def shut(self) -> None:
        """Nobody is there: a connection is refused."""
        await self._site.stop()

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http{'s' if self._context else ''}://127.0.0.1:{self.port}/hook?token=very-secret"

    async def _take(self, request: web.Request) -> web.StreamResponse:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            headers = {name.lower(): value for name, value in request.headers.items()}
            self.got.append(Got(headers, await request.read(), request.path_qs))
            if self.handler is not None:
                return await self.handler(request)
            return web.Response(status=self.status, headers=self.headers, body=self.body)
        finally:
            self._at_once -= 1


class Scene:
    """What a story is told with."""

    def __init__(self, store: Store, tenant_id: int, receiver: Receiver) -> None:
        self.store = store
        self.tenant_id = tenant_id
        self.receiver = receiver
        self.metrics = Metrics()
        self.ahead = 0  # milliseconds that the poster's clock is ahead
        self.poster = self.new_poster()

    def new_poster(self, settings: Webhooks = HERE, context: ssl.SSLContext | None = None) -> Poster:
        return Poster(self.store, settings, self.metrics, context=context, now=lambda: now_ms() + self.ahead)

    async def hook(self, **fields: Any) -> Webhook:
        """A new one, which the server knows."""
        given = WebhookFields.model_validate({"url": self.receiver.url} | fields)
        made, _ = await self.store.change(lambda db: rows.create(db, self.store.sealer, ACTOR, given))
        await self.reload()
        return made

    async def change(self, webhook: Webhook, **fields: Any) -> Webhook:
        given = WebhookChange.model_validate(fields)
        changed = await self.store.change(lambda db: rows.change(db, ACTOR, shown(webhook.id), given))
        await self.reload()
        return changed

    async def reload(self) -> None:
        """As a server does when the directory changed."""
        found = {each.id: each for each in await self.store.read(rows.every)}
        self.store.hooks.replace(each.hook for each in found.values() if each.is_enabled)
        self.poster.replace(found)

    async def found(self, webhook: Webhook) -> Webhook:
        return await self.store.read(lambda db: rows.find(db, shown(webhook.id)))

    async def happen(self, type: str = "email.delivered", *, message_id: int | None = None, **data: Any) -> None:
        event = Event(
            type,
            domain="byoc.example",
            tenant_id=self.tenant_id,
            message_id=message_id,
            data=data,
            letter={
                "message": {"id": "0" * 24, "created_at": now_ms(), "subject": "Hi"},
                "recipients": ["a@b.example"],
            },
        )
        await self.store.change(lambda db: note(db, [event]))

    async def post_all(self) -> None:
        """Whatever is due now, and what becomes due meanwhile."""
        while work := await self.poster.look():
            await asyncio.gather(*work)

    async def later(self, milliseconds: int) -> None:
        """So much time passes, and what is due by then is posted."""
        self.ahead += milliseconds
        await self.post_all()

    async def posts(self, webhook: Webhook, state: PostState | None = None) -> list[Post]:
        """The oldest first."""
        page = await self.store.read(lambda db: log.posts(db, Asked(1000), webhook.id, state))
        return [*reversed(page.items)]

    async def replay(self, webhook: Webhook, **which: Any) -> int:
        return await self.store.change(lambda db: replay.replay(db, ACTOR, shown(webhook.id), **which))


def staged(url: URL, story: Callable[[Scene], Awaitable[None]], context: ssl.SSLContext | None = None) -> None:
    """Run a story on a fresh database, with a receiver that takes everything."""

    async def whole(store: Store, tenant_id: int) -> None:
        async with AsyncExitStack() as stack:
            scene = Scene(store, tenant_id, await stack.enter_async_context(Receiver(context)))
            stack.push_async_callback(scene.poster.close)
            await story(scene)

    play(url, whole)
