"""The least of HTTP that a stand-in needs: requests of known length, one after another on a connection."""

from __future__ import annotations

import asyncio
from abc import abstractmethod


class KeepAlive(asyncio.Protocol):
    """Reads requests to their end; `take` gets each, and writes to `transport`."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, chunk: bytes) -> None:
        self._buffer += chunk
        while (head_end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:head_end])
            length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
            end = head_end + 4 + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[head_end + 4 : end])
            del self._buffer[:end]
            self.take(head, body)

    @abstractmethod
    def take(self, head: bytes, body: bytes) -> None:
        """One request, without the empty line between its parts."""
