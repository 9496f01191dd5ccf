"""One SMTP connection: its life, its timer, reading lines and writing replies. The verbs are in verbs.py.

A subclass of aiosmtpd's SMTP. It keeps the connection's set-up and end, Session and Envelope; it owns the read loop,
every verb, DATA, the replies and the timer, because the inherited ones decode encoded words in envelopes, have no
memory bound in DATA and answer our faults as the client's (SMTP facts 0.1 to 0.5).
"""

from __future__ import annotations

import asyncio
import ssl

from aiosmtpd.smtp import SMTP

from relay import log
from relay.errors import Kind, Problem
from relay.routing.senders import Credential
from relay.smtp import replies
from relay.smtp.conversation import Closed, Transaction
from relay.smtp.edge import Edge, Rules
from relay.smtp.paths import Refused
from relay.smtp.replies import Reply
from relay.smtp.verbs import VERBS

COMMAND_LINE = 2048  # octets (SMTP fact 1.6)
ENDLESS = 1 << 20  # octets without a line end before the client is let go
CHUNK = 1 << 16
ERRORS = 20  # commands in a connection that were not understood
LINGER = 5.0  # seconds in which a client that still sends can read why it was refused


class Connection(SMTP):
    """One client. `edge` is the core and the limits, `rules` the listener's."""

    def __init__(self, edge: Edge, rules: Rules) -> None:
        # Not SMTP.__init__: it would look up its own methods by introspection for every connection.
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=4 * CHUNK, loop=loop)
        asyncio.StreamReaderProtocol.__init__(self, reader, self._cb_client_connected, loop=loop)
        self.loop = loop
        self.session = None
        self.envelope = None
        self.transport = None
        self.event_handler = None
        self._timeout_handle: asyncio.TimerHandle | None = None
        self._original_transport = None
        self._tls_protocol = None
        self._handler_coroutine = None
        self.edge = edge
        self.rules = rules
        self.buffer = bytearray()
        self.credential: Credential | None = None
        self.transaction: Transaction | None = None
        self.helo = ""
        self.is_esmtp = False
        self.is_tls = False
        self._is_reading = False
        self._is_stopping = False
        self.logins = 0
        self._errors = 0
        self.client = ""

    # -- the connection ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if peer else ""
        self.is_tls = transport.get_extra_info("sslcontext") is not None
        self.edge.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.edge.connections.discard(self)
        super().connection_lost(error)

    def eof_received(self) -> bool | None:
        """A client that has said all may still listen: what it sent is handled, then the connection is closed."""
        return asyncio.StreamReaderProtocol.eof_received(self)

    def _reset_timeout(self, duration: float | None = None) -> None:
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        self._timeout_handle = self.loop.call_later(duration or self.edge.idle_timeout, self._timeout_cb)

    def _timeout_cb(self) -> None:
        if self._is_reading:  # our own slowness is not the client's
            self._write(Reply.IDLE.line())
            self._writer.close()

    def stop(self) -> None:
        """The server is stopping: a waiting client is told at once, one in hand after its answer."""
        self._is_stopping = True
        if self._is_reading:
            self._write(Reply.SHUTTING_DOWN.line())
            self._writer.close()

    @property
    def reader(self) -> asyncio.StreamReader:
        return self._reader

    @property
    def writer(self) -> asyncio.StreamWriter:
        return self._writer

    def _write(self, line: bytes) -> None:
        if self.transport is not None and not self._writer.is_closing():
            self._writer.write(line)

    async def push(self, status: bytes | str) -> None:
        """Send one whole reply in one write."""
        self._write(status if isinstance(status, bytes) else status.encode("ascii", "replace"))
        await self._writer.drain()

    # -- the conversation --------------------------------------------------------------------------------------------

    async def _handle_client(self) -> None:
        try:
            if len(self.edge.connections) > self.edge.max_connections or self.edge.is_stopping:
                await self.push((Reply.SHUTTING_DOWN if self.edge.is_stopping else Reply.TOO_MANY).line())
                return
            self.credential = self.rules.trusted(self.client)
            await self.push(replies.greeting(self.edge.hostname))
            while not self._is_stopping:
                line = await self.line(COMMAND_LINE)
                await self._command(line)
            await self.push(Reply.SHUTTING_DOWN.line())
        except (Closed, ConnectionError, ssl.SSLError, TimeoutError):
            pass
        finally:
            if not self._writer.is_closing():
                self._writer.close()

    async def _command(self, line: bytes) -> None:
        word, _, argument = line.partition(b" ")
        verb = VERBS.get(word.upper())
        try:
            if verb is None:
                raise Refused(Reply.SYNTAX, "command not known; try HELP")
            await verb(self, argument.strip(b" "))
        except Refused as refused:
            await self.refuse(refused.reply.line(refused.text))
        except Problem as problem:
            await self._refuse_mail(problem)
        except (Closed, ConnectionError, ssl.SSLError, TimeoutError):
            raise
        except Exception as exc:
            self.transaction = None
            await self.push(replies.refusal(self.edge.fault(exc)))

    async def _refuse_mail(self, problem: Problem) -> None:
        if problem.kind is Kind.INTERNAL:
            problem = self.edge.fault(problem)
        else:
            self.edge.refused(problem, self.client)
        await self.push(replies.refusal(problem))
        if problem.kind in {Kind.OVERLOADED, Kind.BLOCKED}:  # its code says that we close (RFC 5321 section 3.8)
            raise Closed from problem

    async def refuse(self, reply: bytes) -> None:
        """A reply to what was not understood. A client that understands nothing is let go."""
        self._errors += 1
        if self._errors >= ERRORS:
            await self.push(Reply.TOO_MANY_ERRORS.line())
            raise Closed
        await self.push(reply)

    async def line(self, limit: int) -> bytes:
        """The next line without its end, which may be a bare LF. An over-long one is passed over and refused."""
        dropped = 0
        while True:
            end = self.buffer.find(b"\n")
            if end >= 0 and dropped + end <= limit:
                line = bytes(self.buffer[:end]).rstrip(b"\r")
                del self.buffer[: end + 1]
                return line
            if end >= 0:
                del self.buffer[: end + 1]
                dropped = 0
                await self.refuse(Reply.LINE_TOO_LONG.line())
                continue
            if len(self.buffer) > limit:
                dropped += len(self.buffer)
                self.buffer.clear()
            if dropped > ENDLESS:
                await self.dismiss(Reply.LINE_TOO_LONG.line())
            await self.fill()

    async def fill(self) -> None:
        """Wait for more. Raises Closed at the end of the connection."""
        self._is_reading = True
        self._reset_timeout()
        try:
            chunk = await self._reader.read(CHUNK)
        finally:
            self._is_reading = False
        if not chunk:
            raise Closed
        if not self.helo and not self.is_tls and chunk.startswith(b"\x16\x03"):
            log.event("smtp.tls_on_plain_port", client=self.client, listener=self.rules.name)
            raise Closed
        self.buffer += chunk

    async def dismiss(self, reply: bytes) -> None:
        """Refuse a client that does not stop sending: answer, let it read that, then close."""
        await self.push(reply)
        if self._writer.can_write_eof():
            self._writer.write_eof()
        try:
            async with asyncio.timeout(LINGER):
                while await self._reader.read(CHUNK):
                    pass
        except TimeoutError:
            pass
        raise Closed
