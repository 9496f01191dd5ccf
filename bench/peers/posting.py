"""Sends messages to SES with as little work as can be: a signed POST each, over a few connections that are kept.

What it sends is a SendEmail that SES would take: JSON with the message in base64, signed by SigV4. Whatever goes wrong
ends the process.
"""

from __future__ import annotations

import asyncio
import hmac
from base64 import b64encode
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from time import gmtime, strftime

CONNECTIONS = 20
PATH = "/v2/email/outbound-emails"
SCOPE = "eu-west-1/ses/aws4_request"
BEFORE = b'{"Destination":{"ToAddresses":["ana@dest.example"]},"Content":{"Raw":{"Data":"'
AFTER = b'"}},"EmailTags":[{"Name":"relay_id","Value":"1"},{"Name":"attempt","Value":"1"}]}'

Sent = Callable[[], None]


class Poster:
    """One per process. `post` calls back when SES has answered."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._host = f"127.0.0.1:{port}"
        self._waiting: deque[tuple[bytes, Sent]] = deque()
        self._idle: list[_Connection] = []
        self._count = 0
        self._opening: set[asyncio.Task[None]] = set()
        self._day = ""
        self._key = b""

    def post(self, message: bytes, sent: Sent) -> None:
        request = self._request(message)
        if self._idle:
            self._idle.pop().ask(request, sent)
            return
        self._waiting.append((request, sent))
        if self._count < CONNECTIONS:
            self._count += 1
            opening = asyncio.create_task(self._open())
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    def free(self, connection: _Connection) -> None:
        if self._waiting:
            connection.ask(*self._waiting.popleft())
        else:
            self._idle.append(connection)

    async def _open(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: _Connection(self), "127.0.0.1", self._port)

    def _request(self, message: bytes) -> bytes:
        body = BEFORE + b64encode(message) + AFTER
        moment = strftime("%Y%m%dT%H%M%SZ", gmtime())
        digest = sha256(body).hexdigest()
        canonical = f"POST\n{PATH}\n\nhost:{self._host}\nx-amz-date:{moment}\n\nhost;x-amz-date\n{digest}"
        hashed = sha256(canonical.encode()).hexdigest()
        signed = f"AWS4-HMAC-SHA256\n{moment}\n{moment[:8]}/{SCOPE}\n{hashed}"
        signature = hmac.new(self._key_of(moment[:8]), signed.encode(), sha256).hexdigest()
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: {self._host}\r\nX-Amz-Date: {moment}\r\n"
            f"Authorization: AWS4-HMAC-SHA256 Credential=bench/{moment[:8]}/{SCOPE}, SignedHeaders=host;x-amz-date, "
            f"Signature={signature}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _key_of(self, day: str) -> bytes:
        if day != self._day:
            key = b"AWS4bench"
            for part in (day, *SCOPE.split("/")):
                key = hmac.digest(key, part.encode(), sha256)
            self._day, self._key = day, key
        return self._key


class _Connection(asyncio.Protocol):
    """One request after another. An answer is small: it comes in one piece, and begins with its status."""

    transport: asyncio.Transport

    def __init__(self, poster: Poster) -> None:
        self._poster = poster
        self._sent: Sent | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._poster.free(self)

    def ask(self, request: bytes, sent: Sent) -> None:
        self._sent = sent
        self.transport.write(request)

    def data_received(self, chunk: bytes) -> None:
        assert self._sent is not None
        assert chunk.startswith(b"HTTP/1.1 200 ")
        self._sent()
        self._poster.free(self)
