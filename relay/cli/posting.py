"""Posts a message to a running server; or, while none runs, to the same application in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any, TypeAlias

from relay.cli.composing import Request
from relay.config import Settings
from relay.errors import Kind, Problem

PATH = "/api/v1/emails"
PATIENCE = 120  # seconds: a large message takes its time
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - where a server on every interface is from here

Answer: TypeAlias = tuple[int, dict[str, Any]]


def url_of(settings: Settings) -> tuple[str, bool]:
    """Where the server of a configuration is, and whether its certificate is to be checked.

    It is this machine's, and may be self-signed. Raises Problem(NOT_FOUND) where it has no HTTP.
    """
    http = settings.http
    if http is None:
        raise Problem(
            Kind.NOT_FOUND, "the server has no HTTP listener: set `http` in the configuration, or use --local"
        )
    host = EVERYWHERE.get(http.address.host) or str(http.address).rpartition(":")[0]
    return f"{'https' if http.tls else 'http'}://{host}:{http.address.port}", False


async def to_a_server(url: str, is_checked: bool, request: Request, headers: Mapping[str, str]) -> Answer:
    """Raises Problem(OVERLOADED) where no server answers."""
    import aiohttp

    target = f"{url.rstrip('/')}{PATH}"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session,
            session.post(
                target,
                data=BytesIO(request.body),  # in slices
                params=list(request.query),
                headers={"Content-Type": request.content_type, **headers},
                ssl=is_checked,
                allow_redirects=False,
            ) as response,
        ):
            answer: dict[str, Any] = await response.json()
            return response.status, answer
    except aiohttp.ClientConnectorError as exc:
        raise Problem(
            Kind.OVERLOADED, f"nothing answers at {target}: is the server running? --local writes to its queue"
        ) from exc
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        raise Problem(
            Kind.OVERLOADED,
            f"no answer from {target} ({type(exc).__name__}): it may have the message; with --idempotency-key it can "
            "be sent again without a second mail",
        ) from exc


async def into_the_queue(settings: Settings, request: Request, headers: Mapping[str, str]) -> Answer:
    """The same request to the same application, with nothing around it that listens or sends.

    What it accepts waits for the next server, or for the one that owns the lane. Raises StoreError where a server has
    the database to itself.
    """
    from relay import core
    from relay.http.calling import call

    async with core.accepting(settings) as state:
        status, octets = await call(
            state, PATH, request.query, {"Content-Type": request.content_type, **headers}, request.body
        )
    answer: dict[str, Any] = json.loads(octets)
    return status, answer
