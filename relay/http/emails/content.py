"""What a message says, as long as it is kept: as JSON, or whole as it was handed to Amazon SES."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import Literal

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from relay import log
from relay.errors import Kind, Problem
from relay.http.emails import stored
from relay.http.emails.showing import found
from relay.http.management.answers import View, has, single, tag_of
from relay.http.management.asking import Nothing
from relay.http.management.rules import Call
from relay.message import Mode
from relay.routing.limits import Share
from relay.sealing import SLICE, SealingError
from relay.store import listing, retention
from relay.store.clock import rfc3339
from relay.store.listing import MessageView
from relay.values import Section

IN_HAND = 2  # times what is being shown: sealed and in clear, or in clear and read


class Form(Section):
    format: Literal["json", "raw"] = "json"


async def show(call: Call[Form, Nothing]) -> Response:
    """Raises Problem(NOT_FOUND | GONE | OVERLOADED)."""
    message = await found(call)
    if call.query.format == "raw":
        return await _raw(call, message)
    with call.state.memory.share() as share:
        share.take(IN_HAND * message.size)
        pieces = [part async for part in _parts(call, message)]
        raw = b"".join(pieces)
        del pieces
        # In a thread however small it is: strangers wrote it.
        read = await asyncio.to_thread(partial(stored.read, raw))
        return single(call.request, _view(message, read))


async def _raw(call: Call[Form, Nothing], message: MessageView) -> Response:
    """Part by part, so that a large one is never whole in memory."""
    share = call.state.memory.share()
    try:
        share.take(IN_HAND * min(message.size, SLICE))
        parts = _parts(call, message)
        first = await anext(parts)
    except BaseException:
        share.release()
        raise
    size = await call.state.store.read(lambda db: retention.kept_size(db, message.id))
    tag = tag_of({"raw": message.public_id, "size": size})  # it changes once at most: when its attachments are dropped
    if has(call.request, tag):
        share.release()
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"etag": tag})
    return _Raw(message, size, tag, first, parts, share)


class _Raw(StreamingResponse):
    """Holds a share of the memory until it has been sent."""

    def __init__(
        self, message: MessageView, size: int, tag: str, first: bytes, rest: AsyncIterator[bytes], share: Share
    ) -> None:
        self._share = share

        async def every() -> AsyncIterator[bytes]:
            yield first
            async for part in rest:
                yield part

        headers = {
            "etag": tag,
            "content-length": str(size),
            "content-disposition": f'attachment; filename="{message.public_id}.eml"',
        }
        super().__init__(every(), headers=headers, media_type="message/rfc822")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._share:
            await super().__call__(scope, receive, send)


async def _parts(call: Call[Form, Nothing], message: MessageView) -> AsyncIterator[bytes]:
    """The parts in clear. Raises Problem(GONE), or INTERNAL where they cannot be opened.

    OVERLOADED where the content is written anew just now: its attachments are dropped, or its key is wrapped anew.
    """
    store = call.state.store
    key = await store.read(lambda db: listing.wrapped_key(db, message.id))
    if key is None:
        raise await _gone(call)
    is_begun = False
    try:
        async for part in store.content_parts(message.id, key):
            is_begun = True
            yield part
        return
    except SealingError as exc:
        now = await store.read(lambda db: listing.wrapped_key(db, message.id))
        if now is None:
            raise await _gone(call) from exc
        if now != key and is_begun:
            again = "the content is being written anew: ask again"
            raise Problem(Kind.OVERLOADED, again, retry_after=timedelta(seconds=1)) from exc
        if now == key:
            log.trouble("content.unreadable", exc, id=message.public_id)
            raise Problem(Kind.INTERNAL) from exc
    async for part in _parts(call, message):  # it was written anew before any of it was read
        yield part


async def _gone(call: Call[Form, Nothing]) -> Problem:
    message = await found(call)
    when = "" if message.destroyed_at is None else f" at {rfc3339(message.destroyed_at)}"
    kept = "is kept until Amazon SES has it" if message.mode == Mode.BYOC.value else "is kept for a time"
    return Problem(Kind.GONE, f"the content of this message was destroyed{when}: mail of {message.mode} domains {kept}")


def _view(message: MessageView, read: stored.Stored) -> View:
    return {
        "id": message.public_id,
        "message_id": message.rfc_message_id,
        "subject": read.subject,
        "from": read.author,
        "from_name": read.author_name,
        "to": read.to,
        "cc": read.cc,
        "reply_to": read.reply_to,
        "text": read.text,
        "html": read.html,
        "attachments": [asdict(each) for each in read.files],
        "size": message.size,
        "truncated": read.is_cut,
    }
