"""HTTP clients that keep a server busy and bring nothing, as a process of their own: `python -m tests.faults.http_crowd`.

Arguments: the port, the behaviour, how many, and the key. Each comes from an address that it shares with a few others;
who is let go comes again, until it is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable

from tests.faults import crowd

PATH = "/api/v1/emails"
MB = 1 << 20


def head(*fields: str, target: str = PATH, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: relay.test", *fields, "", ""]).encode()


Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str], Awaitable[None]]


async def idle(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _key: str) -> None:
    await reader.read()


async def slow_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _key: str) -> None:
    """An octet of a header a second."""
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: relay.test\r\nX-Slow: ")
    while not reader.at_eof():
        writer.write(b"x")
        await writer.drain()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reader.read(4096), 1)


async def slow_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """Most of a large body at once, the rest an octet a second: what is held counts."""
    writer.write(head(f"Authorization: Bearer {key}", f"Content-Length: {4 * MB}") + b" " * (2 * MB))
    while not reader.at_eof():
        writer.write(b" ")
        await writer.drain()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reader.read(4096), 1)


async def not_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _key: str) -> None:
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    while True:
        writer.write(head(target="/healthz", method="GET") * 4)
        await writer.drain()
        await asyncio.sleep(0.05)


async def ahead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _key: str) -> None:
    """Requests by the thousand, without waiting for an answer."""
    for _ in range(20):
        writer.write(head(target="/healthz", method="GET") * 1000)
        await writer.drain()
    while await reader.read(MB):
        pass


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """A body without an end, at 4 MB a second."""
    writer.write(head(f"Authorization: Bearer {key}", "Transfer-Encoding: chunked"))
    while not reader.at_eof():
        writer.write(b"100000\r\n" + b" " * MB + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0.25)


async def bombs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """JSON that is much work: thousands of attachments and names."""
    files = b",".join([b'{"filename":"a","content":"YQ=="}'] * 20_000)
    names = b",".join(b'"x%d":"x"' % number for number in range(20_000))
    body = b'{"from":"me@shared.example","to":"a@one.test","attachments":[' + files + b'],"metadata":{' + names + b"}}"
    fields = f"Authorization: Bearer {key}", "Content-Type: application/json", f"Content-Length: {len(body)}"
    writer.write(head(*fields) + body)
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(1)


BEHAVIOURS: dict[str, Behaviour] = {
    "idle": idle,
    "slow-head": slow_head,
    "slow-body": slow_body,
    "not-reading": not_reading,
    "ahead": ahead,
    "endless": endless,
    "bombs": bombs,
}


def with_key(behaviour: Behaviour, key: str) -> crowd.Behaviour:
    return lambda reader, writer: behaviour(reader, writer, key)


if __name__ == "__main__":
    crowd.run(int(sys.argv[1]), with_key(BEHAVIOURS[sys.argv[2]], sys.argv[4]), int(sys.argv[3]))
