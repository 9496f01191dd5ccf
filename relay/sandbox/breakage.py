"""How each scripted fault answers a call. What the faults are called, and what they do, is in `faults`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from relay.sandbox.refusals import Refusal
from relay.sandbox.wire import until_gone, while_connected

Perform = Callable[[], Awaitable[Response]]
Fault = Callable[[Request, Perform], Awaitable[Response]]


def error(code: str, message: str | None, status: int) -> Fault:
    async def play(request: Request, perform: Perform) -> Response:
        raise Refusal(code, message, status)

    return play


def slow(seconds: float) -> Fault:
    async def play(request: Request, perform: Perform) -> Response:
        response = await perform()
        await while_connected(request, asyncio.sleep(seconds))
        return response

    return play


def slow_body(seconds: float) -> Fault:
    async def play(request: Request, perform: Perform) -> Response:
        response = await perform()
        return StreamingResponse(
            _octet_by_octet(bytes(response.body), seconds), response.status_code, dict(response.headers)
        )

    return play


async def _octet_by_octet(body: bytes, seconds: float) -> AsyncIterator[bytes]:
    """Starlette stops asking when the client has gone."""
    for at in range(len(body)):
        yield body[at : at + 1]
        await asyncio.sleep(seconds)


async def hang(request: Request, perform: Perform) -> Response:
    await until_gone(request)
    return Response()


async def close(request: Request, perform: Perform) -> Response:
    request.scope["state"]["hang_up"]()  # put there by the sandbox's own server: ASGI has no way to say it
    await until_gone(request)
    return Response()  # to nobody


async def reset(request: Request, perform: Perform) -> Response:
    request.scope["state"]["reset"]()
    await until_gone(request)
    return Response()  # to nobody


async def accept_then_close(request: Request, perform: Perform) -> Response:
    await perform()
    return await close(request, perform)


async def accept_then_hang(request: Request, perform: Perform) -> Response:
    await perform()
    return await hang(request, perform)


async def half_closed(request: Request, perform: Perform) -> Response:
    response = await perform()
    whole = _octets(response)
    request.scope["state"]["say_last"](whole[: len(whole) - len(response.body) // 2])
    await until_gone(request)
    return Response()  # to nobody


def _octets(response: Response) -> bytes:
    """An answer as it stands on the wire."""
    status = HTTPStatus(response.status_code)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
    lines += [name + b": " + value for name, value in response.raw_headers]
    return b"\r\n".join([*lines, b"", bytes(response.body)])


async def garbage(request: Request, perform: Perform) -> Response:
    return Response("<html>It works!", media_type="text/html")


WORDS: dict[str, Fault] = {
    "hang": hang,
    "close": close,
    "reset": reset,
    "accept_then_close": accept_then_close,
    "accept_then_hang": accept_then_hang,
    "half_closed": half_closed,
    "garbage": garbage,
}
SPANS: dict[str, Callable[[float], Fault]] = {"slow": slow, "slow_body": slow_body}
