"""Collects the octets of DATA: strict end of data, dots unstuffed, memory bounded whatever the client sends."""

from __future__ import annotations

from relay.errors import Kind, Problem
from relay.routing.limits import Share

END = b"\r\n.\r\n"  # RFC 5321 section 4.1.1.4: nothing else ends a message
SLICE = 1 << 20


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
            self._keep(bytes(self._buffer[: end + 2]))
            self._buffer.clear()
            return rest
        if len(self._buffer) >= SLICE or self.problem is not None:
            self._cut()
        return None

    def content(self) -> bytes:
        """The message, once its end was seen. Raises the Problem it was refused for."""
        if self.problem is not None:
            raise self.problem
        whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        return whole[2:]

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
        if at < len(self._buffer) - SLICE // 2 or at == 0:
            at = max(at, len(self._buffer) - len(END) + 1)
        self._keep(bytes(self._buffer[:at]))
        del self._buffer[:at]

    def _keep(self, piece: bytes) -> None:
        if self.problem is None:
            self._parts.append(piece.replace(b"\r\n.", b"\r\n"))
