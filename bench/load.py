"""Sends mail by SMTP over many sessions and times every answer after the dot. A process of its own.

Each session waits for each reply, as most clients do. Only a 250 after the dot counts.
"""

from __future__ import annotations

import asyncio
import time

from bench import letter
from bench.tally import Tally, arguments, drive

_ENVELOPE = (f"MAIL FROM:<{letter.SENDER}>\r\n".encode(), f"RCPT TO:<{letter.RECIPIENT}>\r\n".encode())

_WITH_MESSAGE = frozenset({"mail", "rcpt", "data", "dot"})


class Session(asyncio.Protocol):
    """One connection: what it has just said is what the next reply answers."""

    def __init__(self, tally: Tally, *, is_reused: bool) -> None:
        self._tally = tally
        self._is_reused = is_reused
        self._buffer = b""
        self._said = "connect"
        self._dot_at = 0.0
        self.is_over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if self._said != "quit":
            self._tally.failed(f"connection lost after {self._said}", is_taken=self._said in _WITH_MESSAGE)
        if not self.is_over.done():
            self.is_over.set_result(None)

    def data_received(self, chunk: bytes) -> None:
        self._buffer += chunk
        while (end := self._buffer.find(b"\n")) >= 0:
            line, self._buffer = self._buffer[: end + 1], self._buffer[end + 1 :]
            if line[3:4] != b"-":
                self._answered(line)

    def _answered(self, line: bytes) -> None:
        if self._said == "quit":
            self._transport.close()
            return
        if line[:1] not in b"23":
            reason = f"{self._said}: {line.decode('ascii', 'replace').strip()}"
            self._tally.failed(reason, is_taken=self._said in _WITH_MESSAGE)
            self._say("quit", b"QUIT\r\n")
            return
        match self._said:
            case "connect":
                self._say("ehlo", b"EHLO client.example\r\n")
            case "mail":
                self._say("rcpt", _ENVELOPE[1])
            case "rcpt":
                self._say("data", b"DATA\r\n")
            case "data":
                self._say("dot", letter.smtp(self._number) + b".\r\n")
                self._dot_at = time.perf_counter()
            case "dot":
                self._tally.accepted(time.perf_counter() - self._dot_at)
                if self._is_reused:
                    self._next()
                else:
                    self._say("quit", b"QUIT\r\n")
            case _:
                self._next()

    def _next(self) -> None:
        number = self._tally.take()
        if number is None:
            self._say("quit", b"QUIT\r\n")
        else:
            self._number = number
            self._say("mail", _ENVELOPE[0])

    def _say(self, what: str, octets: bytes) -> None:
        self._said = what
        self._transport.write(octets)


async def run(port: int, sessions: int, messages: int, *, is_reused: bool) -> Tally:
    """Send so many messages, each accepted once."""
    tally = Tally(messages)
    return await drive(tally, port, sessions, lambda: Session(tally, is_reused=is_reused))


def main() -> None:
    parser = arguments()
    parser.add_argument("--reuse", action="store_true")
    given = parser.parse_args()
    tally = asyncio.run(run(given.port, given.sessions, given.messages, is_reused=given.reuse))
    print(tally.as_json())


if __name__ == "__main__":
    main()
