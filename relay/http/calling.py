"""Calls the application in its own process, with no network between: one request, one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from starlette.types import Message, Scope

from relay.errors import Kind
from relay.http.app import create_app
from relay.http.state import State


async def call(
    state: State, path: str, query: Sequence[tuple[str, str]], headers: Mapping[str, str], body: bytes
) -> tuple[int, bytes]:
    """POST it. Returns the status and what was said."""
    fields = {"Host": "localhost", "Content-Length": str(len(body)), **headers}
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("ascii"),
        "root_path": "",
        "query_string": urlencode(query).encode("ascii"),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()],
        "client": ("127.0.0.1", 0),
        "server": ("localhost", 80),
    }
    status = Kind.INTERNAL.http
    said = bytearray()

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            said.extend(message.get("body", b""))

    await create_app(state)(scope, receive, send)
    return status, bytes(said)
