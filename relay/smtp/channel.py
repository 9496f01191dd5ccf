"""What comes and goes on one SMTP connection, octet by octet: reading, waiting, replies, the end.

A subclass of aiosmtpd's SMTP. It keeps the connection's set-up and end, Session and Envelope; it owns what arrives,
the replies and the deadlines, because the inherited ones take a coroutine a line, a write a reply and a timer a
command, and have no bound on what a client sends (SMTP facts 0.2, 0.9, 2.3).
"""

from __future__ import annotations

import asyncio
from typing import cast

from aiosmtpd.smtp import SMTP

from relay.smtp.conversation import Closed
from relay.smtp.patience import Wait, Waiting
from relay.smtp.record import Record

# Octets that are read at a time, and that wait here for their turn before the socket is left to fill: outside of the
# budget for messages, and of every connection.
HIGH_WATER = 1 << 16
LINGER = 5.0  # seconds in which a client that still sends can read why it was refused


class _NoTimer:
    """In place of the timer that aiosmtpd cancels at the end: the edge's one clock watches all connections."""

    def cancel(self) -> None:
        return


class Channel(SMTP):
    """One connection as octets. What they mean is for whoever inherits it."""

    def __init__(self, listener: str) -> None:
        # Not SMTP.__init__: it would look up its own methods by introspection for every connection.
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)  # only for the writer: what arrives goes to `buffer`
        asyncio.StreamReaderProtocol.__init__(self, reader, self._cb_client_connected, loop=loop)
        self.loop = loop
        self.session = None
        self.envelope = None
        self.transport = None
        self.event_handler = None
        self._timeout_handle = _NoTimer()  # type: ignore[assignment]
        self._original_transport = None
        self._tls_protocol = None
        self._handler_coroutine = None
        self.buffer = bytearray()
        self.waiting = Waiting()
        self.record = Record(listener, "")
        self.client = ""
        self.tls_version: str | None = None
        self._connected_at = 0.0
        self._closed_at = 0.0
        self._out: list[bytes] = []
        self._arrival: asyncio.Future[None] | None = None
        self._is_ended = False
        self._is_paused = False

    @property
    def is_tls(self) -> bool:
        return self.tls_version is not None

    # -- what arrives ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self.client = self.record.client = peer[0] if peer else ""
        self._connected_at = self.loop.time()
        transport.max_size = HIGH_WATER  # type: ignore[attr-defined]
        super().connection_made(transport)

    def data_received(self, chunk: bytes) -> None:
        self.buffer += chunk
        if self._arrival is not None:
            self._wake()
        elif len(self.buffer) > HIGH_WATER and not self._is_paused:
            self._is_paused = True
            self._transport_of_now().pause_reading()

    def eof_received(self) -> bool | None:
        """A client that has said all may still listen: what it sent is handled, then the connection is closed."""
        self._is_ended = True
        self._wake()
        return not self.is_tls  # of TLS there is no half: it is closed

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _transport_of_now(self) -> asyncio.Transport:
        return cast(asyncio.Transport, self._writer.transport)  # another one under TLS

    def _reset_timeout(self, duration: float | None = None) -> None:
        """aiosmtpd's timer; see _NoTimer."""

    def _timeout_cb(self) -> None:
        """The same."""

    async def fill(self) -> None:
        """Wait for more. Raises Closed at the end of the connection."""
        if self._out:
            await self._flush()
        if self._is_ended:
            raise Closed
        if self._is_paused:
            self._is_paused = False
            self._transport_of_now().resume_reading()
        self._arrival = self.loop.create_future()
        try:
            await self._arrival
        finally:
            self._arrival = None
        if self._is_ended and not self.buffer:
            raise Closed

    # -- the end -----------------------------------------------------------------------------------------------------

    def _close(self) -> None:
        self._write_out()
        if not self._closed_at:
            self._closed_at = self.loop.time()
            self._writer.close()

    async def dismiss(self, reply: bytes) -> None:
        """Refuse a client that does not stop sending: answer, and let it read that. Whoever calls this closes."""
        self.waiting.what = Wait.NOTHING
        self.say(reply)
        await self._flush()
        if self._writer.can_write_eof():
            self._writer.write_eof()
        try:
            async with asyncio.timeout(LINGER):
                while True:
                    self.buffer.clear()
                    await self.fill()
        except TimeoutError:
            pass

    # -- replies -----------------------------------------------------------------------------------------------------

    def say(self, reply: bytes) -> None:
        """A reply, to go out before anything is waited for: those to one group of commands in one write."""
        self._out.append(reply)
        self.record.heard(reply)

    async def push(self, status: bytes | str) -> None:
        """aiosmtpd's way to say something."""
        self.say(status if isinstance(status, bytes) else status.encode("ascii", "replace"))
        await self._flush()

    def _write_out(self) -> None:
        if self._out:
            octets = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            if self.transport is not None and not self._writer.is_closing():
                self._writer.write(octets)

    async def _flush(self) -> None:
        """Write what was said. A client that does not read is waited for, within bounds."""
        self._write_out()
        if self.transport is not None and self._transport_of_now().get_write_buffer_size():
            before, self.waiting = self.waiting, Waiting(Wait.READING, self.loop.time())
            try:
                await self._writer.drain()
            finally:
                self.waiting = before
