"""How management answers look: one thing with its ETag, a page of a list, something new, or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from relay.store.clock import rfc3339
from relay.store.directory.paging import Page

Item = TypeVar("Item")
View: TypeAlias = dict[str, Any]

ROOT = "/api/v1"
TAG = 32  # hex digits of a hash


def single(request: Request, body: Mapping[str, Any] | str, *, around: Mapping[str, Any] | None = None) -> Response:
    """One thing, as JSON or as text, or 304 to a client that has it as it is (RFC 9110 section 13.1.2).

    `around`: what the answer says besides, as `data` of which the thing stands; it may be new in every answer.
    """
    is_text = isinstance(body, str)
    octets = _octets(body)
    tag = _tag(octets)
    if has(request, tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"etag": tag})
    media_type = "text/plain" if is_text else "application/json"
    said = octets if around is None else _octets({**around, "data": body})
    return Response(said, media_type=media_type, headers={"etag": tag})


def tag_of(body: Mapping[str, Any]) -> str:
    """The ETag that `single` gives a thing."""
    return _tag(_octets(body))


def _tag(octets: bytes) -> str:
    return f'W/"{sha256(octets).hexdigest()[:TAG]}"'


def _octets(body: Mapping[str, Any] | str) -> bytes:
    return body.encode() if isinstance(body, str) else json.dumps(body, separators=(",", ":")).encode()


def has(request: Request, tag: str) -> bool:
    """Compared weakly: what a proxy made of the mark before the tag does not matter."""
    known = [each.strip() for line in request.headers.getlist("if-none-match") for each in line.split(",")]
    return "*" in known or any(each.removeprefix("W/") == tag.removeprefix("W/") for each in known)


def listed(page: Page[Item], view: Callable[[Item], View]) -> Response:
    return JSONResponse(
        {"data": [view(item) for item in page.items], "total": page.total, "next_cursor": page.next_cursor}
    )


def done(body: View) -> Response:
    """What something has become."""
    return JSONResponse(body)


def created(body: View, *path: str, query: str = "") -> Response:
    """Something new, and where it is from now on."""
    location = "/".join([ROOT, *(quote(part, safe="@") for part in path)]) + query
    return JSONResponse(body, HTTPStatus.CREATED, {"location": location})


def gone() -> Response:
    return Response(status_code=HTTPStatus.NO_CONTENT)


def moment(at: int | None) -> str | None:
    return None if at is None else rfc3339(at)
