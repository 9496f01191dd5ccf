"""How an HTTP connection waits, is read by its client, and ends without taking an answer along.

A connection that is closed over octets nobody has read is reset, and the reset may overtake the answer (RFC 9112
section 9.6). So one that has said its last word goes on listening, for a while.
"""

from __future__ import annotations

import asyncio

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from relay.http.patience import Wait, Waiting

UNREAD = 64 << 20  # octets passed over after an answer: more than anybody may send, so that everybody reads it
LEAST_READ = 32 << 10  # octets of a long answer that a client has to read in the time it has


class Leaving(HttpToolsProtocol):
    """uvicorn's connection, with an end."""

    def __init__(self, config: Config, state: ServerState) -> None:
        super().__init__(config, state, {}, asyncio.get_running_loop())
        self._waiting = Waiting(Wait.FIRST, self.loop.time())
        self._is_deaf = False  # what comes is passed over, and no request any more
        self._is_leaving = False  # the last answer is written
        self._is_head = self._is_body = False  # of which part the parser has seen the beginning, and not the end
        self._octets = 0  # of the request that is arriving; of a deaf connection: passed over
        self._written = self._read = 0  # octets of our answers; of those, when the client last got on with them

    @property
    def _is_in_hand(self) -> bool:
        """Whether a request waits for its answer, or for the end of it."""
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self, what: Wait) -> None:
        self._waiting.what, self._waiting.since = what, self.loop.time()

    def write(self, octets: bytes) -> None:
        self._written += len(octets)
        self.transport.write(octets)

    def leave(self) -> None:
        """All is said. While some of a request is still to come, listen on until the client has read that."""
        if self._is_leaving:
            return
        self._is_leaving = True
        is_heard_out = not (self._is_deaf or self._is_head or self._is_body)
        self._is_deaf, self._octets = True, 0
        self._wait(Wait.LEAVING)
        self._waiting.heard_at = self.loop.time()
        if is_heard_out:
            self.transport.close()
            return
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _pass_over(self, octets: int) -> None:
        self._octets += octets
        self._waiting.heard_at = self.loop.time()
        if self._octets > UNREAD:
            self.transport.abort()

    def _look_at_unread(self, now: float) -> None:
        """A client that reads has time; one that reads next to nothing does not."""
        unread = self.transport.get_write_buffer_size()
        if not unread:
            self._waiting.unread_since = None
        elif self._waiting.unread_since is None or self._written - unread >= self._read + LEAST_READ:
            self._waiting.unread_since = now
            self._read = self._written - unread


class Exit:
    """The transport as answers have it: closing it is left to the connection, which knows what is still to come."""

    def __init__(self, connection: Leaving) -> None:
        self._connection = connection

    def write(self, octets: bytes) -> None:
        self._connection.write(octets)

    def is_closing(self) -> bool:
        return self._connection.transport.is_closing()

    def close(self) -> None:
        self._connection.leave()
