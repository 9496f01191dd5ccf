"""Posts over HTTP to whoever a webhook names, and tells in words of ours what came of it."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus

from aiohttp import (
    ClientConnectionError,
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)

from relay.feedback.webhooks.schedule import Answer, asked_to_wait
from relay.feedback.webhooks.targets import NOT_FOUND, Forbidden, Targets
from relay.following import Webhooks

MOST_READ = 1024  # octets of an answer
IDLE = 3.0  # seconds a connection waits for the next post: less than receivers do, who commonly close after 5


class Posting:
    """One pool of connections, to checked addresses alone. No proxy of the environment, no cookie, no redirect.

    `context` None: the authorities that the machine trusts. It belongs to the event loop that makes it.
    """

    def __init__(self, settings: Webhooks, now: Callable[[], int], context: ssl.SSLContext | None = None) -> None:
        self._now = now
        self._timeout = settings.timeout.total_seconds()
        self._targets = Targets(settings)
        self._session = ClientSession(
            connector=TCPConnector(
                resolver=self._targets.resolver,
                socket_factory=self._targets.socket,
                use_dns_cache=False,
                limit=0,  # who posts says how many go at once
                keepalive_timeout=IDLE,
                ssl=True if context is None else context,
            ),
            timeout=ClientTimeout(total=self._timeout),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Within the time that settings give it. Raises nothing: what goes wrong is an answer, too."""
        started = time.monotonic()
        status, said, answered, asked = None, "", b"", None
        try:
            self._targets.check(url)
            async with self._session.post(
                url, data=body, headers={**headers, "Accept-Encoding": "identity"}, allow_redirects=False
            ) as response:
                status, asked = response.status, response.headers.get("Retry-After")
                answered = await _beginning(response)
        except (ClientError, TimeoutError, OSError, ValueError) as exc:
            said = "" if status is not None else self._words(exc)
        took = int((time.monotonic() - started) * 1000)
        wait = asked_to_wait(asked, self._now())
        return Answer(status, took, said or _of_status(status), wait, answered)

    def _words(self, exc: Exception) -> str:
        """Nothing of the library's own text: there may be an address in it."""
        match exc:
            case Forbidden():
                return f"its URL {exc}"
            case ClientConnectorError() if isinstance(exc.os_error, Forbidden):
                return f"its URL {exc.os_error}"
            case ClientConnectorDNSError():
                return f"its URL {NOT_FOUND}"
            case ClientConnectorCertificateError():
                return "its TLS certificate is not valid"
            case ClientConnectorSSLError():
                return "TLS cannot be agreed on"
            case TimeoutError():
                return f"no answer within {self._timeout:g} s"
            case ClientConnectorError():
                return "no connection"
            case ClientConnectionError() | OSError():
                return "the connection broke off"
            case _:
                return "no valid HTTP answer"

    async def close(self) -> None:
        await self._session.close()
        await self._targets.close()


def _of_status(status: int | None) -> str:
    if status is None or HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return ""
    is_redirect = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
    return "it redirects, which is not followed" if is_redirect else "it was not taken"


async def _beginning(response: ClientResponse) -> bytes:
    """How the body begins. The status stands, whatever becomes of the rest."""
    pieces, room = [], MOST_READ
    with suppress(ClientError, TimeoutError, OSError, asyncio.IncompleteReadError):
        while room and (piece := await response.content.read(room)):
            pieces.append(piece)
            room -= len(piece)
    return b"".join(pieces)
