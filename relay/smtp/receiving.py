"""Reads the message that follows DATA, to its end, whether it is taken or not."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from relay.routing.limits import Share
from relay.smtp import replies
from relay.smtp.body import Body
from relay.smtp.conversation import Closed
from relay.smtp.patience import Wait, Waiting

if TYPE_CHECKING:
    from relay.smtp.protocol import Connection

TURN = 1.0  # seconds in which what is left of a message that was refused is read on
ENDLESS = 3  # times the largest message, and no end: the client is let go
BARE_ENDS = (b"\n.\n", b"\n.\r\n", b"\r.\r")  # what some take for the end of data (SMTP fact 1.4)
TAIL = 4  # octets in which one of them shows


async def message(c: Connection, share: Share) -> bytes | list[bytes]:
    """The content; that of a large one in pieces. Raises the Problem it is refused for, after its end."""
    body = Body(c.edge.max_message_size, share)
    now = c.loop.time()
    c.waiting = Waiting(Wait.DATA, since=now, started_at=now, heard_at=now)
    rest: bytes | None = None
    while rest is None and body.problem is None:
        rest = await _more(c, body)
    if rest is None:
        rest = await _pass_over(c, body)
    c.waiting.what = Wait.NOTHING
    c.buffer[:] = rest
    c.record.carried(body.received)
    return body.content()


async def _more(c: Connection, body: Body) -> bytes | None:
    """Another piece of it. Returns what came after the end, or None while that has not been seen."""
    if not c.buffer:
        await c.fill()
    chunk = bytes(c.buffer)
    c.buffer.clear()
    waiting = c.waiting
    waiting.octets += len(chunk)
    waiting.heard_at = c.loop.time()
    waiting.tail = (waiting.tail + chunk[-TAIL:])[-TAIL:]
    waiting.is_bare_end = waiting.tail.endswith(BARE_ENDS)
    return body.feed(chunk)


async def _pass_over(c: Connection, body: Body) -> bytes:
    """Read to the end of a message that was refused on its way: few clients hear what is said before that.

    Some at a time and in turns: hundreds of large ones at once would hold up everybody else's mail.
    """
    assert body.problem is not None
    most = ENDLESS * c.edge.max_message_size
    while body.received <= most:
        c.waiting.what = Wait.NOTHING
        async with c.edge.passing_over:
            c.waiting.what, c.waiting.since, c.waiting.octets = Wait.DATA, c.loop.time(), 0
            with suppress(TimeoutError):
                async with asyncio.timeout(TURN):
                    while body.received <= most:
                        if (rest := await _more(c, body)) is not None:
                            return rest
    c.edge.refused(body.problem, c.client)
    c.record.refused(body.problem)
    await c.dismiss(replies.refusal(body.problem))
    raise Closed
