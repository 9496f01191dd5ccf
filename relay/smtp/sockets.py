"""Looks at what a client sent before the transport of its connection reads any of it.

asyncio hands over all it reads, and then it is too late to say which octets were a PROXY header or a ClientHello. So
the transport is paused, and the socket beneath it is looked into (MSG_PEEK) through a duplicate of its own.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Self


class Beneath:
    """The socket beneath a transport whose reading is paused; a context manager. Reading stays paused after it.

    Its methods raise ConnectionError where the connection is gone, and OSError where we are out of descriptors.
    """

    def __init__(self, transport: asyncio.BaseTransport, limit: int) -> None:
        """`limit`: the octets to look at, at most."""
        self._transport = transport
        self._limit = limit
        self._seen = 0

    def __enter__(self) -> Self:
        shared = self._transport.get_extra_info("socket")
        if shared is None or self._transport.is_closing():
            raise ConnectionResetError
        # Older asyncios (Python 3.11.2) begin to read after connection_made, whether that has paused them or not.
        assert isinstance(self._transport, asyncio.ReadTransport)
        self._transport.resume_reading()
        self._transport.pause_reading()
        self._socket: socket.socket = shared.dup()
        self._socket.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._wake_at(1)  # the duplicate shares the mark with the transport
        finally:
            self._socket.close()

    async def more(self) -> bytes:
        """All that has come and was not taken, as soon as it is more than at the last call.

        Raises ConnectionResetError where no more will come.
        """
        self._wake_at(self._seen + 1)
        await self._readable()
        found = self._socket.recv(self._limit, socket.MSG_PEEK)
        if len(found) <= self._seen:  # awake, but not for more: it was the end
            raise ConnectionResetError
        self._seen = len(found)
        return found

    def take(self, octets: int) -> None:
        """Remove so many of the octets that were seen, and none after them."""
        while octets:
            octets -= len(self._socket.recv(octets))
        self._seen = 0

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._socket, _wake, waiter)
        try:
            await waiter
        finally:
            loop.remove_reader(self._socket)

    def _wake_at(self, octets: int) -> None:
        """Sleep until so much is there: what is there already would wake us at once, again and again."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, octets)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
