"""What every AWS call on the sandbox shares: the caller, the bounded body, the client that may go away.

Callers are recognised by the credential scope of their Signature Version 4 header; the signature is not verified, so
any secret does. Temporary credentials (AWS STS: an access key id ASIA... that comes with a session token) belong to the
one account that takes them, whichever role they are of.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from relay.sandbox.accounts import Account
from relay.sandbox.refusals import Refusal

MAX_BODY_BYTES = 60 * 1024 * 1024  # 40 MB of MIME in base64, and the rest of the request

_SIGNED = "%Y%m%dT%H%M%SZ"
_SKEW = timedelta(minutes=5)
_SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/\d{8}/([a-z0-9-]{1,32})/[a-z]+/aws4_request,")
T = TypeVar("T")
Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and the region it signed for."""

    account: Account
    region: str


def caller_of(request: Request, accounts: Mapping[str, Account]) -> Caller:
    """The account whose name is the access key id, or that takes temporary credentials. Raises Refusal."""
    authorization = request.headers.get("authorization")
    if authorization is None:
        raise Refusal("MissingAuthenticationTokenException")
    scope = _SCOPE.match(authorization)
    if scope is None:
        raise Refusal("IncompleteSignatureException")
    account = accounts.get(scope[1])
    if account is None and scope[1].startswith("ASIA") and request.headers.get("x-amz-security-token"):
        account = next((each for each in accounts.values() if each.takes_temporary), None)
    if account is None:
        raise Refusal("UnrecognizedClientException")
    return Caller(account, scope[2])


def check_time(request: Request, clock: float) -> None:
    """Raise Refusal for a signature more than 5 minutes off AWS's clock, which differs by so many seconds from ours."""
    signed, now = request.headers.get("x-amz-date", ""), datetime.now(UTC) + timedelta(seconds=clock)
    try:
        at = datetime.strptime(signed, _SIGNED).replace(tzinfo=UTC)
    except ValueError:
        raise Refusal("IncompleteSignatureException") from None
    shown, early, late = (f"{each:{_SIGNED}}" for each in (now, now - _SKEW, now + _SKEW))
    if at < now - _SKEW:
        text = f"Signature expired: {signed} is now earlier than {early} ({shown} - 5 min.)"
        raise Refusal("InvalidSignatureException", text)
    if at > now + _SKEW:
        text = f"Signature not yet current: {signed} is still later than {late} ({shown} + 5 min.)"
        raise Refusal("InvalidSignatureException", text)


async def read_body(request: Request) -> bytes:
    """The whole body. Raises Refusal when it is too large, ClientDisconnect when the client gives up."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_BODY_BYTES:
        raise Refusal("RequestEntityTooLargeException")
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise Refusal("RequestEntityTooLargeException")
        chunks.append(chunk)
    return b"".join(chunks)


def read_object(body: bytes) -> Json:
    """The JSON object in a body. Raises Refusal."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refusal("SerializationException", "The body is not a JSON object.")
    return value


def read_listing(request: Request, body: bytes) -> Json:
    """What a List operation asks for: a body's object, or the query of a GET. Raises Refusal."""
    return dict(request.query_params) if request.method == "GET" else read_object(body)


def member(source: Json, name: str, kind: type[T]) -> T | None:
    """A member of an object, None where it is absent. Raises Refusal when it is of another type."""
    value = source.get(name)
    if value is None or (isinstance(value, kind) and not isinstance(value, bool)):
        return value
    raise Refusal("SerializationException", f"{name} is not of the expected type.")


def answer(content: object, status: int = 200, media_type: str = "application/json", **headers: str) -> Response:
    """A JSON answer with the request id that every AWS answer has."""
    headers["x-amzn-RequestId"] = str(uuid4())
    return Response(json.dumps(content), status, headers, media_type)


async def until_gone(request: Request) -> None:
    """Wait until the client has closed the connection. The body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def while_connected(request: Request, work: Coroutine[None, None, None]) -> bool:
    """Wait for the work. False when the client went away first; the work is cancelled then."""
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(until_gone(request))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return not tasks[1].done()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
