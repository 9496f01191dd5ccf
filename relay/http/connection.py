"""One HTTP connection: uvicorn's, with an end to everything that a client could do without end.

uvicorn bounds neither heads nor the framing of bodies nor requests sent ahead, waits for ever for clients that do not
read, and closes a connection over a body that it has not read, which takes the answer along. What is refused here is
answered by the application as all else, so that it is in the words of the client's dialect.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import httptools
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from relay.errors import Kind, Problem
from relay.http import heads
from relay.http.leaving import Exit, Leaving
from relay.http.patience import Overdue, Wait, overdue

if TYPE_CHECKING:
    from relay.http.hall import Hall, Place

REFUSED = "refused"  # in the state of a request: the Problem to answer it with
AHEAD = 16  # requests that wait for their turn; who sends more ahead is served these, and may come again
FRAMING = 128 << 10  # octets of a request that are neither body nor as many as its body: chunk sizes, trailers
_CUT_OFF: Message = {"type": "http.disconnect"}


class Connection(Leaving):
    """`hall` is what it shares with the others of its listener, `place` what it takes there."""

    def __init__(self, config: Config, state: ServerState, hall: Hall, place: Place) -> None:
        super().__init__(config, state)
        self._hall = hall
        self._place = place
        self._is_cut_off = False  # the body in hand will never be whole
        self._body_octets = 0  # of the request that is arriving
        self._refusal: Problem | None = None
        self._is_going_on = False  # a new parser is told what the last one has heard

    # -- what asyncio calls ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._hall.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._hall.connections.discard(self)
        self._place.leave()

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            self._pass_over(len(data))
            return
        if not (self._is_head or self._is_body):
            self._octets = 0
        self._octets += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._go_on(data[offer.args[0] :])
        except httptools.HttpParserError:
            self._give_up(self._refusal or Problem(Kind.BAD_REQUEST, "this is not HTTP/1.1"))
        else:
            if self._is_head and self._octets > heads.MOST_OCTETS:
                self._give_up(Problem(Kind.HEADERS_TOO_LARGE))
            elif self._is_body and self._octets > FRAMING + 2 * self._body_octets:
                self._give_up(Problem(Kind.BAD_REQUEST, "the body is framed in too small chunks"))

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """A client that has said all may still listen. TLS has no such thing."""
        if self._is_deaf or self._is_head or self._is_body or not self._is_in_hand:
            return None
        self._hear_no_more()
        return bool(self.transport.can_write_eof())

    # -- what the parser calls ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_going_on:
            return
        super().on_message_begin()
        self._is_head = True
        if not self._is_in_hand:
            self._wait(Wait.HEAD)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_body:  # a trailer (RFC 9110 section 6.5.1): the request is being answered without it
            return
        if len(self.headers) >= heads.MOST_FIELDS:
            self._refusal = Problem(Kind.HEADERS_TOO_LARGE, f"the request has more than {heads.MOST_FIELDS} headers")
            return
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """What it raises comes out of the parser as an error of httptools, and ends the connection."""
        if self._is_going_on:
            return
        if len(self.pipeline) >= AHEAD:
            raise ValueError("too many requests ahead")
        if self._octets > heads.MOST_OCTETS and heads.is_too_large(self.url, self.headers):
            self._refusal = Problem(Kind.HEADERS_TOO_LARGE)
            raise ValueError("too large")
        super().on_headers_complete()
        self._is_head, self._is_body, self._body_octets = False, True, 0
        cycle = self.cycle
        cycle.transport = cast(asyncio.Transport, Exit(self))
        if (problem := self._judged()) is not None:
            self.scope["state"][REFUSED] = problem
            cycle.keep_alive = False
        self._wait(Wait.NOTHING)

    def on_body(self, body: bytes) -> None:
        self._body_octets += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade() and self._framing():
            return
        self._is_body = False
        self._octets = 0
        super().on_message_complete()

    def _go_on(self, rest: bytes) -> None:
        """Pass over an offer to speak another protocol (RFC 9110 section 7.8), but not over the body that follows it.

        Java's client makes it with each first request. httptools takes all that follows for the other protocol's; so
        another parser goes on, that has heard how the body is framed.
        """
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        if framing := self._framing():
            self._is_going_on = True
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n")
            self._is_going_on = False
        self._octets -= len(rest)
        if rest:
            self.data_received(rest)

    def _framing(self) -> list[bytes]:
        return [b"%b: %b\r\n" % line for line in self.headers if line[0] in (b"content-length", b"transfer-encoding")]

    def _judged(self) -> Problem | None:
        if self._place.crowded is not None:
            return Problem(Kind.OVERLOADED, self._place.crowded.value)
        return self._refusal or heads.refusal_of(self.scope["http_version"], self.url, self.scope["path"], self.headers)

    # -- what uvicorn calls ------------------------------------------------------------------------------------------

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, cast(Any, partial(self._answer, cycle, app)))

    def on_response_complete(self) -> None:
        """In place of uvicorn's, whose timer is the hall's watch here."""
        if self._is_leaving or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self._is_head:
            self._wait(Wait.HEAD)
        else:
            self._wait(Wait.NEXT)

    def shutdown(self) -> None:
        """The server stops: what is in hand is answered."""
        if self._is_leaving:
            self.transport.abort()
        else:
            super().shutdown()

    # -- answering ---------------------------------------------------------------------------------------------------

    async def _answer(
        self, cycle: RequestResponseCycle, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        async def heard() -> Message:
            message = await receive()
            is_this = cycle is self.cycle and self._is_cut_off
            return _CUT_OFF if is_this else message

        async def said(message: Message) -> None:
            if message["type"] == "http.response.start" and cycle.more_body:
                # The rest of the body would have to be heard before the next request is (RFC 9112 section 9.3).
                cycle.keep_alive = False
            await send(message)

        await app(scope, heard, said)
        if "credential" in scope["state"]:
            self._place.remember()

    def _give_up(self, problem: Problem) -> None:
        """Hear nothing more of a request that cannot be understood, and say so unless something was said already."""
        is_new = not self._is_in_hand
        self._hear_no_more()
        if is_new:
            self._refuse(problem)
        elif self._is_body and self.cycle.more_body:
            self._is_cut_off = True
            self.cycle.message_event.set()

    def _hear_no_more(self) -> None:
        self._is_deaf = True
        self._octets = 0
        if self._is_in_hand:
            self.cycle.keep_alive = False

    def _refuse(self, problem: Problem) -> None:
        """Answer a request of which there is no head."""
        if not self._is_head:
            super().on_message_begin()
        self._is_head = False
        path = self._path()
        self.scope["method"], self.scope["path"] = "GET", path
        self.scope["raw_path"], self.scope["query_string"] = path.encode("ascii"), b""
        self.scope["state"][REFUSED] = problem
        self.cycle = RequestResponseCycle(
            scope=self.scope,
            transport=cast(asyncio.Transport, Exit(self)),
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )
        self._wait(Wait.NOTHING)
        self._start_asgi_task(self.cycle, self.app)

    def _path(self) -> str:
        """As far as it is known: its dialect is that of the answer."""
        try:
            return (httptools.parse_url(self.url).path or b"/").decode("ascii")
        except httptools.HttpParserInvalidURLError:
            return "/"

    def expire(self, now: float, *, is_crowded: bool) -> None:
        """Let go of a client that took too long."""
        self._look_at_unread(now)
        is_turned_away = self._place.crowded is not None
        match overdue(self._waiting, now, is_crowded=is_crowded, is_turned_away=is_turned_away):
            case Overdue.CLOSE:
                self.leave()
            case Overdue.TELL:
                self._give_up(Problem(Kind.TOO_SLOW, "the head of the request took too long to arrive"))
            case Overdue.ABORT:
                self.transport.abort()
