"""What holds for every answer, faults of ours included: a request id, a dialect, and nothing is stored on the way."""

from __future__ import annotations

import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relay.http.dialects.choosing import MOUNTS, dialect_of
from relay.http.refusals import on_fault
from relay.http.requests import api_key
from relay.http.state import State
from relay.routing.rates import headers as rate_headers

COUNTED = ("/api/", *(f"{mount}/" for mount in MOUNTS))  # below these every answer says how many requests are left
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Conventions:
    """The outermost layer: whatever happens further in, this is on the answer."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope)
        wanted = given.get("x-request-id", "")
        request_id = wanted if _REQUEST_ID.fullmatch(wanted) else f"req_{secrets.token_hex(8)}"
        shared = scope.setdefault("state", {})
        shared["request_id"] = request_id
        shared["dialect"] = dialect_of(scope["path"], api_key(given, "x-api-key"))
        is_answered = False

        async def send_with_headers(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                is_answered = True
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers.setdefault("cache-control", "no-store")
                headers.setdefault("x-content-type-options", "nosniff")
                if scope["path"].startswith(COUNTED):
                    headers.update(rate_headers(self._state.allowed(scope)))
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as exc:  # not a handler of Starlette's: it would be called outside of here
            if is_answered:
                raise
            await on_fault(Request(scope), exc)(scope, receive, send_with_headers)
