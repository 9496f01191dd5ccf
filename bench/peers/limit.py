"""The limit for this design in this language: a bare SMTP protocol and a bare group commit. A process of its own.

It checks nothing and keeps one row a message, as large as a sealed one, with the durability that Relay promises:
one writer thread, WAL, synchronous=FULL, the answer after the commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from bench.peers.target import Target
from bench.processes import START_WITHIN, free_port, listens, python, started, wait_for

SEAL = bytes(220 + 28)  # the Received header that Relay adds, a nonce and a tag
TOGETHER = 100  # messages a commit at most, as in relay.store.writer


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Target]:
    port = free_port()
    with started(python("bench.peers.limit", port, folder / "limit.db"), folder / "log") as process:
        wait_for("the limit listens", lambda: listens(port), START_WITHIN, process)
        yield Target(smtp_port=port, pid=process.pid)


class Writer(threading.Thread):
    """Commits what waits, together, then answers."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._loop = loop
        self.inbox: queue.SimpleQueue[tuple[bytes, Connection]] = queue.SimpleQueue()

    def run(self) -> None:
        db = sqlite3.connect(self._path, isolation_level=None)
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"):
            db.execute(statement)
        db.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, sealed BLOB NOT NULL)")
        while True:
            batch = [self.inbox.get()]
            while len(batch) < TOGETHER and not self.inbox.empty():
                batch.append(self.inbox.get())
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO messages (sealed) VALUES (?)", [(octets + SEAL,) for octets, _ in batch])
            db.execute("COMMIT")
            self._loop.call_soon_threadsafe(_answer, [connection for _, connection in batch])


def _answer(connections: list[Connection]) -> None:
    for connection in connections:
        connection.transport.write(b"250 2.0.0 Kept\r\n")


class Connection(asyncio.Protocol):
    """Just enough SMTP for a well-behaved client that does not pipeline."""

    transport: asyncio.Transport

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._buffer = bytearray()
        self._is_in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(b"220 limit.bench.example ESMTP\r\n")

    def data_received(self, chunk: bytes) -> None:
        self._buffer += chunk
        if self._is_in_data:
            if self._buffer.endswith(b"\r\n.\r\n"):
                self._is_in_data = False
                self._writer.inbox.put((bytes(self._buffer[:-3]), self))
                self._buffer.clear()
        elif self._buffer.endswith(b"\n"):
            verb = bytes(self._buffer[:4]).upper()
            self._buffer.clear()
            self._command(verb)

    def _command(self, verb: bytes) -> None:
        if verb == b"DATA":
            self._is_in_data = True
            self.transport.write(b"354 Go on\r\n")
        elif verb == b"QUIT":
            self.transport.write(b"221 2.0.0 Bye\r\n")
            self.transport.close()
        else:
            self.transport.write(b"250 2.0.0 Ok\r\n")


async def serve(port: int, path: str) -> None:
    loop = asyncio.get_running_loop()
    writer = Writer(path, loop)
    writer.start()
    server = await loop.create_server(lambda: Connection(writer), "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
