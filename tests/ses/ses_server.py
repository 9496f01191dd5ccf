"""A server in SES's place whose every octet a test decides, and what came to it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

TAKEN = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"MessageId":"7"}'
Reaction: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Request:
    """One HTTP request; headers by lower-case name."""

    line: str
    headers: dict[str, str]
    body: bytes

    def is_signed_by(self, key: ReadOnlyCredentials, region: str = "eu-west-1") -> bool:
        """Whether botocore's own signer makes the same signature of what arrived."""
        _, _, parameters = self.headers["authorization"].partition(" ")
        said = dict(each.split("=", 1) for each in parameters.split(", "))
        signed = {name: self.headers[name] for name in said["SignedHeaders"].split(";")}
        url = f"http://{signed.pop('host')}{self.line.split()[1]}"
        request = AWSRequest(method=self.line.split()[0], url=url, data=self.body, headers=signed)
        request.context["timestamp"] = self.headers["x-amz-date"]
        signer = SigV4Auth(key, "ses", region)
        canonical = signer.canonical_request(request)
        scope = f"{key.access_key}/{signer.credential_scope(request)}"
        return said["Credential"] == scope and said["Signature"] == signer.signature(
            signer.string_to_sign(request, canonical), request
        )


@dataclass
class Stage:
    """`react` is asked for each connection once its request has been read; None: the mail is taken."""

    react: Reaction | None = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if task := asyncio.current_task():
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            while True:
                self.requests.append(await _read(reader))
                if self.react is not None:
                    await self.react(reader, writer)
                    break
                writer.write(TAKEN)
                await writer.drain()
        writer.close()

    async def close(self) -> None:
        for task in [*self._serving]:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Request:
    line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
    return Request(line, headers, await reader.readexactly(int(headers.get("content-length", 0))))


@contextlib.asynccontextmanager
async def staged(react: Reaction | None = None, context: ssl.SSLContext | None = None) -> AsyncIterator[Stage]:
    stage = Stage(react)
    server = await asyncio.start_server(stage.serve, "127.0.0.1", 0, ssl=context, limit=1 << 20)
    stage.port = server.sockets[0].getsockname()[1]
    try:
        yield stage
    finally:
        server.close()
        await stage.close()


def answering(octets: bytes) -> Reaction:
    """Answer with these, and close."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(octets)
        await writer.drain()

    return answer


def refusing(status: str, body: bytes, *headers: str, length: int | None = None) -> Reaction:
    """An answer whose body may be shorter than its length says."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body) if length is None else length}", "", ""]
    return answering("\r\n".join(lines).encode("ascii") + body)
