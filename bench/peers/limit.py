"""The limit for this design in this language: a bare SMTP protocol and a bare group commit. A process of its own.

It checks nothing and keeps one row a message, as large as a sealed one, with the durability that Relay promises:
one writer thread, WAL, synchronous=FULL, the answer after the commit. With the port of the SES stand-in it also sends
what it keeps, by `bench.peers.posting`, and writes down that it did in the next commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.peers.posting import Poster
from bench.peers.stand_in import FAST, StandIn
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


@contextlib.contextmanager
def sending(folder: Path) -> Iterator[Target]:
    port, ses = free_port(), free_port()
    with (
        started(python("bench.ses_stand_in", "--port", ses, "--rate", FAST), folder / "ses.log") as stand_in,
        started(python("bench.peers.limit", port, folder / "limit.db", ses), folder / "log") as process,
    ):
        wait_for("the SES stand-in listens", lambda: listens(ses), START_WITHIN, stand_in)
        wait_for("the limit listens", lambda: listens(port), START_WITHIN, process)
        yield Target(smtp_port=port, far_end=StandIn(ses), pid=process.pid)


class Writer(threading.Thread):
    """Commits what waits, together, then answers. An integer in the inbox is the row of a message that was sent."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop, poster: Poster | None) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._loop = loop
        self._poster = poster
        self._last = 0
        self.inbox: queue.SimpleQueue[int | tuple[bytes, Connection]] = queue.SimpleQueue()

    def run(self) -> None:
        db = sqlite3.connect(self._path, isolation_level=None)
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"):
            db.execute(statement)
        db.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, sealed BLOB)")
        while True:
            batch = [self.inbox.get()]
            while len(batch) < TOGETHER and not self.inbox.empty():
                batch.append(self.inbox.get())
            kept = [each for each in batch if not isinstance(each, int)]
            first, self._last = self._last + 1, self._last + len(kept)
            db.execute("BEGIN IMMEDIATE")
            db.executemany(
                "INSERT INTO messages VALUES (?, ?)",
                [(row, octets + SEAL) for row, (octets, _) in enumerate(kept, first)],
            )
            db.executemany(
                "UPDATE messages SET sealed = NULL WHERE id = ?", [(each,) for each in batch if isinstance(each, int)]
            )
            db.execute("COMMIT")
            self._loop.call_soon_threadsafe(self._committed, first, kept)

    def _committed(self, first: int, kept: list[tuple[bytes, Connection]]) -> None:
        for row, (octets, connection) in enumerate(kept, first):
            connection.transport.write(b"250 2.0.0 Kept\r\n")
            if self._poster is not None:
                self._poster.post(octets, partial(self.inbox.put, row))


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


async def serve(port: int, path: str, ses_port: int | None) -> None:
    loop = asyncio.get_running_loop()
    writer = Writer(path, loop, None if ses_port is None else Poster(ses_port))
    writer.start()
    server = await loop.create_server(lambda: Connection(writer), "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None))
