"""Posts mail over keep-alive HTTP connections, alone or in batches, and times every 202. A process of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from bench import letter
from bench.tally import Tally, arguments, drive


class Session(asyncio.Protocol):
    """One connection, one request at a time, of at most `batch` messages. `request` makes one of so many."""

    def __init__(self, tally: Tally, batch: int, request: Callable[[int], bytes]) -> None:
        self._tally = tally
        self._batch = batch
        self._request = request
        self._asked = 0
        self._buffer = b""
        self._is_waiting = False
        self.is_over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if self._is_waiting:
            self._failed("connection lost")
        if not self.is_over.done():
            self.is_over.set_result(None)

    def data_received(self, chunk: bytes) -> None:
        self._buffer += chunk
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(self._buffer) < head_end + 4 + length:
            return
        is_accepted, answer, self._buffer = head[9:12] == b"202", self._buffer, b""
        self._is_waiting = False
        if is_accepted:
            for _ in range(self._asked):
                self._tally.accepted(time.perf_counter() - self._sent_at)
        else:
            self._failed(answer.decode("utf-8", "replace"))
        self._next()

    def _failed(self, reason: str) -> None:
        for _ in range(self._asked):
            self._tally.failed(reason)

    def _next(self) -> None:
        taken = [self._tally.take() for _ in range(self._batch)]
        self._asked = len(taken) - taken.count(None)
        if not self._asked:
            self._transport.close()
            return
        self._is_waiting = True
        self._sent_at = time.perf_counter()
        self._transport.write(self._request(self._asked))


async def run(port: int, sessions: int, messages: int, key: str, batch: int) -> Tally:
    """Post so many messages, each accepted once."""

    def request(count: int) -> bytes:
        path, body = "/api/v1/emails", letter.http()
        if batch > 1:
            path, body = f"{path}/batch", b'{"emails":[' + b",".join([body] * count) + b"]}"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode("ascii") + body

    made = {count: request(count) for count in range(1, batch + 1)}
    tally = Tally(messages)
    return await drive(tally, port, sessions, lambda: Session(tally, batch, made.__getitem__))


def main() -> None:
    parser = arguments()
    parser.add_argument("--key", default="none")
    parser.add_argument("--batch", type=int, default=1, help="messages in one request")
    given = parser.parse_args()
    print(asyncio.run(run(given.port, given.sessions, given.messages, given.key, given.batch)).as_json())


if __name__ == "__main__":
    main()
