"""Clients that keep connections and bring nothing, as a process of their own: `python -m tests.faults.crowd`.

It prints a line when all have connected once, and then keeps as many connected as it was asked for: who is let go comes
again, until it is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

FROM_ONE = 40  # connections from one loopback address
ENVELOPE = b"EHLO c.test\r\n", b"MAIL FROM:<me@shared.example>\r\n", b"RCPT TO:<x@one.test>\r\n", b"DATA\r\n"


@contextlib.asynccontextmanager
async def connected(port: int, number: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    source = f"127.1.{number // FROM_ONE // 250}.{number // FROM_ONE % 250 + 1}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        yield reader, writer
    finally:
        writer.close()


Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def idle(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An octet of a message a second."""
    await reader.readline()
    for line in ENVELOPE:
        writer.write(line)
        while (await reader.readline())[3:4] == b"-":
            pass
    while not reader.at_eof():
        writer.write(b"x")
        await writer.drain()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reader.read(100), 1)


async def keeping_alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readline():
        await asyncio.sleep(2)
        writer.write(b"NOOP\r\n")


async def in_a_handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(b"EHLO c.test\r\n")
    while (await reader.readline())[3:4] == b"-":
        pass
    writer.write(b"STARTTLS\r\n")
    await reader.readline()
    writer.write(b"\x16\x03\x01\x02")
    await reader.read()


async def not_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(ENVELOPE[0])
    await asyncio.sleep(0.5)
    writer.write(ENVELOPE[1])
    while True:
        writer.write(b"RCPT TO:<nobody>\r\n" * 100)
        await writer.drain()
        await asyncio.sleep(0.05)


BEHAVIOURS: dict[str, Behaviour] = {
    "idle": idle,
    "dripping": dripping,
    "keeping-alive": keeping_alive,
    "in-a-handshake": in_a_handshake,
    "not-reading": not_reading,
}


async def gather(port: int, behaviour: Behaviour, count: int) -> None:
    came = asyncio.Semaphore(0)

    async def stay(number: int) -> None:
        is_first = True
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                async with connected(port, number) as (reader, writer):
                    if is_first:
                        is_first = False
                        came.release()
                    await behaviour(reader, writer)
            await asyncio.sleep(0.5)

    async with asyncio.TaskGroup() as crowd:
        for number in range(count):
            crowd.create_task(stay(number))
            if number % 50 == 49:
                await asyncio.sleep(0.05)  # a queue of connections that are not accepted yet has an end
        for _ in range(count):
            await came.acquire()
        print("gathered", flush=True)


@contextlib.contextmanager
def gathered(*arguments: object, module: str = "tests.faults.crowd") -> Iterator[None]:
    """A crowd as a process of its own while the context is open; all of it has connected when that begins."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"gathered\n"
            yield
        finally:
            process.kill()


def run(port: int, behaviour: Behaviour, count: int) -> None:
    """Until the process is ended."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(gather(port, behaviour, count))


if __name__ == "__main__":
    run(int(sys.argv[1]), BEHAVIOURS[sys.argv[2]], int(sys.argv[3]))
