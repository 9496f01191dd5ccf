"""Fetches a certificate of SNS: one GET, which follows no redirect and reads little (SES fact 5.2)."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from aiohttp.abc import AbstractResolver

from relay.ses.access import Access
from relay.ses.sessions import trusting

WITHIN = 5.0  # seconds for all of it
LIMIT = 16 << 10  # octets; SNS's certificates are smaller than 2,500
_AT_ONCE = 4


class NotFetched(Exception):
    """The text says why. `is_ours`: the server was not reached, whatever was asked of it."""

    def __init__(self, why: str, *, is_ours: bool) -> None:
        super().__init__(why)
        self.is_ours = is_ours


class Fetcher:
    """Goes out as the calls of the SES account do: through its proxy, and believing its authorities.

    Belongs to the event loop of its first fetch. `resolver`: where the hosts are; None: as the machine says.
    """

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver
        self._session: ClientSession | None = None

    async def fetch(self, url: str, access: Access) -> bytes:
        """What is there. Raises NotFetched."""
        try:
            context = await asyncio.to_thread(trusting, access.ca_bundle)
            async with self._opened().get(url, allow_redirects=False, proxy=access.proxy, ssl=context) as answer:
                if answer.status != HTTPStatus.OK:
                    raise NotFetched(f"the answer was {answer.status}", is_ours=False)
                pieces = bytearray()
                while piece := await answer.content.readany():
                    pieces += piece
                    if len(pieces) > LIMIT:
                        raise NotFetched(f"it is over {LIMIT} octets", is_ours=False)
                return bytes(pieces)
        except (ClientError, TimeoutError, OSError, ValueError) as exc:  # ValueError: a proxy that is no URL
            raise NotFetched(f"no answer: {type(exc).__name__}", is_ours=True) from exc

    def _opened(self) -> ClientSession:
        if self._session is None:
            # Seldom more than one a year: no connection is worth keeping.
            connector = TCPConnector(limit=_AT_ONCE, force_close=True, resolver=self._resolver)
            self._session = ClientSession(
                connector=connector,
                timeout=ClientTimeout(total=WITHIN),
                cookie_jar=DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
