"""HTTP connections to SES, one pool per way out: shared by all accounts that use the same proxy and authorities."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from botocore.httpsession import ProxyConfiguration, get_cert_path

from relay.ses.sessions import CONNECT_TIMEOUT, IDLE_CONNECTION, READ_TIMEOUT, tls_context
from relay.ses.slices import Body

ACQUIRE_TIMEOUT = 20  # seconds for a connection: DNS, TCP to each address of the host, proxy, TLS
ANSWER_LIMIT = 64 << 10  # octets; SES's answers are smaller than 1,000
_TIMEOUT = ClientTimeout(total=None, connect=ACQUIRE_TIMEOUT, sock_connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT)
_Key: TypeAlias = tuple[str | None, str | None, int]


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer; `headers` do not mind case. A body that breaks off or is too long is there as far as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outgoing(Payload):
    """A request's body that knows whether an octet of the request may have left: aiohttp sends the head with it."""

    _autoclose = True  # nothing to close

    def __init__(self, body: bytes | Body) -> None:
        super().__init__(body, content_type="application/json")
        self._body = body
        self._size = len(body) if isinstance(body, bytes) else body.size
        self.has_left = False

    async def write(self, writer: AbstractStreamWriter) -> None:
        self.has_left = True
        if isinstance(self._body, bytes):
            await writer.write(self._body)
            return
        async for piece in self._body:
            await writer.write(piece)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise TypeError("a body that is only written")


class Egress:
    """One pool. A connection that was idle for over 5 s is not used again, and no redirect is followed."""

    def __init__(self, session: ClientSession, proxy: str | None, proxy_headers: Mapping[str, str] | None) -> None:
        self._session = session
        self._proxy = proxy
        self._proxy_headers = proxy_headers

    async def post(self, url: str, headers: Mapping[str, str], body: Outgoing) -> Reply:
        """Raises aiohttp's ClientError, TimeoutError or OSError where no answer's head came."""
        async with self._session.post(
            url,
            data=body,
            headers=headers,
            allow_redirects=False,
            proxy=self._proxy,
            proxy_headers=self._proxy_headers,
        ) as response:
            return await _read(response)

    async def close(self) -> None:
        await self._session.close()


async def _read(response: ClientResponse) -> Reply:
    """The status stands, whatever becomes of the body."""
    pieces, size = [], 0
    with suppress(ClientError, TimeoutError, OSError):
        while piece := await response.content.readany():
            size += len(piece)
            if size > ANSWER_LIMIT:
                break
            pieces.append(piece)
    return Reply(response.status, response.headers, b"".join(pieces))


class Egresses:
    """The ways out that are in use. They belong to the event loop that makes them."""

    def __init__(self) -> None:
        self._made: dict[_Key, Egress] = {}

    async def towards(self, url: str, verify: bool | str | None, proxies: Mapping[str, str] | None) -> Egress:
        """The way that botocore would go to this URL, by what it gives its own HTTP sessions."""
        chosen = ProxyConfiguration(proxies=dict(proxies or {}))
        proxy = chosen.proxy_url_for(url)
        authorities = get_cert_path(verify) if verify else None
        changed_at = 0 if authorities is None else (await asyncio.to_thread(Path(authorities).stat)).st_mtime_ns
        key = (proxy, authorities, changed_at)
        if key not in self._made:
            context = None if authorities is None else await asyncio.to_thread(tls_context, authorities, changed_at)
            if key in self._made:  # somebody was faster
                return self._made[key]
            connector = TCPConnector(
                limit=0,  # lanes say how many calls go at once
                keepalive_timeout=IDLE_CONNECTION,
                ssl=True if context is None else context,
            )
            session = ClientSession(
                connector=connector, timeout=_TIMEOUT, cookie_jar=DummyCookieJar(), auto_decompress=False
            )
            self._made[key] = Egress(session, proxy, chosen.proxy_headers_for(url) if proxy else None)
        return self._made[key]

    async def close(self) -> None:
        made, self._made = [*self._made.values()], {}
        await asyncio.gather(*(each.close() for each in made))
