"""Collects the octets of DATA: strict end of data, dots unstuffed, memory bounded whatever the client sends."""

from __future__ import annotations

from relay.errors import Kind, Problem
from relay.routing.limits import Share

END = b"\r\n.\r\n"  # RFC 5321 section 4.1.1.4: nothing else ends a message
SLICE = 15 << 16  # octets in a piece: with what a read brings, 1 MB


class Body:
    """Feed it what arrives. Once it refuses, it keeps nothing more, but still looks for the end."""

    def __init__(self, limit: int, share: Share) -> None:
        self._limit = limit
        self._share = share
        # The CRLF of the DATA command line: a dot on the very first line ends the message, too.
        self._buffer = bytearray(b"\r\n")
        self._parts: list[bytes] = []
        self.received = 0
        self.problem: Problem | None = None

    def feed(self, chunk: bytes) -> bytes | None:
        """Take what arrived. Returns what came after the end of data, or None while it has not been seen."""
        before = len(self._buffer)
        self._buffer += chunk
        self.received += len(chunk)
        self._account(len(chunk))
        end = self._buffer.find(END, max(0, before - len(END) + 1))
        if end >= 0:
            rest = bytes(self._buffer[end + len(END) :])
            self._put_away(end + 2)
            self._buffer = bytearray()
            return rest
        if len(self._buffer) >= SLICE or self.problem is not None:
            self._cut()
        return None

    def content(self) -> bytes | list[bytes]:
        """The message, once its end was seen; a large one in pieces. Raises the Problem it was refused for."""
        if self.problem is not None:
            raise self.problem
        pieces, self._parts = self._parts, []
        pieces[0] = pieces[0][2:]
        return pieces if len(pieces) > 1 else pieces[0]

    def _account(self, octets: int) -> None:
        if self.problem is not None:
            return
        try:
            if self.received > self._limit + len(END) - len(b"\r\n"):  # the CRLF before the dot belongs to the message
                raise Problem(Kind.TOO_LARGE, f"the message is over {self._limit} octets")
            self._share.take(octets)
        except Problem as problem:
            self.problem = problem
            self._parts.clear()
            self._share.release()

    def _cut(self) -> None:
        """Put away what cannot be part of the end. What stays begins with a CRLF, so that its dot is recognised."""
        at = self._buffer.rfind(b"\r\n")
        if at < len(self._buffer) - SLICE // 2 or at == 0 or self.problem is not None:
            at = max(at, len(self._buffer) - len(END) + 1)
        self._put_away(at)
        self._buffer = self._buffer[at:]  # a bytearray that has been longer keeps its memory

    def _put_away(self, until: int) -> None:
        if self.problem is None:
            with memoryview(self._buffer) as view:
                self._parts.append(bytes(view[:until]).replace(b"\r\n.", b"\r\n"))
