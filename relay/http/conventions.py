"""What holds for every answer, faults of ours included: a request id, a dialect, and nothing is stored on the way."""

from __future__ import annotations

import random
import re
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relay.http.connection import REFUSED
from relay.http.dialects.choosing import MOUNTS, dialect_of
from relay.http.proxies import Proxies
from relay.http.refusals import on_fault, on_problem
from relay.http.requests import api_key
from relay.http.state import State
from relay.routing.rates import headers as rate_headers

COUNTED = ("/api/", *(f"{mount}/" for mount in MOUNTS))  # below these every answer says how many requests are left
# Nothing here is a page to be framed, or to run anything; one that is says so itself.
POLICY = "default-src 'none'; frame-ancestors 'none'"
SECURITY = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": POLICY,
    "cross-origin-resource-policy": "same-origin",
}
STAY_SECURE = "max-age=31536000"  # RFC 6797; whoever came by TLS, and nobody else on this host's other names
# What a page of another origin may read and send, where it may call us at all.
RATES = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
EXPOSED = ("X-Request-Id", "ETag", "Location", "Retry-After", *RATES)
SENT = ("Authorization", "X-API-Key", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "X-Request-Id")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Conventions:
    """The outermost layer: whatever happens further in, this is on the answer."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state
        self._proxies = Proxies(state.trusted_proxies)
        self._inner: ASGIApp = self._faultless
        if state.cors_origins:
            self._inner = CORSMiddleware(
                self._faultless,
                allow_origins=state.cors_origins,
                allow_methods=METHODS,
                allow_headers=SENT,
                expose_headers=EXPOSED,
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        shared = scope.setdefault("state", {})
        shared["is_local"] = self._proxies.is_local(scope)
        self._proxies.settle(scope)
        given = Headers(scope=scope)
        wanted = given.get("x-request-id", "")
        request_id = wanted if _REQUEST_ID.fullmatch(wanted) else f"req_{random.getrandbits(64):016x}"
        shared["request_id"] = request_id
        shared["dialect"] = dialect_of(scope["path"], api_key(given, "x-api-key"))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._complete(scope, message, request_id)
            await send(message)

        await self._inner(scope, receive, send_with_headers)

    def _complete(self, scope: Scope, message: MutableMapping[str, Any], request_id: str) -> None:
        headers = MutableHeaders(scope=message)
        headers["x-request-id"] = request_id
        own = {name for name, _ in headers.raw}
        headers.raw.extend(line for line in _SECURITY if line[0] not in own)
        if scope["scheme"] == "https":
            headers["strict-transport-security"] = STAY_SECURE
        if scope["path"].startswith(COUNTED):
            headers.update(rate_headers(self._state.allowed(scope)))

    async def _faultless(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what the connection found fault with, and answer for faults of ours."""
        is_answered = False

        async def noting(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            if (problem := scope["state"].get(REFUSED)) is not None:
                answer = await on_problem(Request(scope), problem)
                await answer(scope, receive, noting)
            else:
                await self._app(scope, receive, noting)
        except Exception as exc:  # not a handler of Starlette's: it would be called outside of here
            if is_answered:
                raise
            await on_fault(Request(scope), exc)(scope, receive, send)


_SECURITY = [(name.encode("ascii"), value.encode("ascii")) for name, value in SECURITY.items()]
