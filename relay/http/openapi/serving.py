"""Where the document and what is made of it are served: open to everyone, and cached for an hour."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from relay.http.dialects.choosing import MOUNTS
from relay.http.dialects.native import DOCS, NATIVE
from relay.http.management.answers import ROOT, TAG, has
from relay.http.openapi.document import document
from relay.http.openapi.postman import collection
from relay.http.openapi.reference import POLICY, page
from relay.http.state import State
from relay.http.table import About, Endpoint, Handle

KEPT = {"cache-control": "public, max-age=3600"}
SPECIFICATION = f"{ROOT}/openapi.json"


def endpoints_of(described: Sequence[Endpoint]) -> list[Endpoint]:
    """The document's own routes, which it has, too."""
    own = [
        Endpoint("GET", mount + SPECIFICATION, _none, _public(f"This document, as OpenAPI 3.1{_of(mount)}"))
        for mount in ("", *MOUNTS)
    ]
    own += [
        Endpoint("GET", DOCS, _none, _public("The reference, to be read", "text/html")),
        Endpoint("GET", f"{DOCS}/postman.json", _none, _public("A Postman collection of every route")),
    ]
    served = _Served([*described, *own])
    handles: dict[str, Handle] = {mount + SPECIFICATION: served.specification(mount) for mount in ("", *MOUNTS)}
    handles |= {DOCS: served.reference, f"{DOCS}/postman.json": served.postman}
    return [each._replace(handle=handles[each.path]) for each in own]


def _of(mount: str) -> str:
    return f", of the paths below {mount}" if mount else ""


def _public(summary: str, media_type: str = "application/json") -> About:
    return About(summary, NATIVE, media_type=media_type, is_public=True, is_tagged=True)


async def _none(_request: Request) -> Response:
    raise NotImplementedError


class _Served:
    """Each text is made once, when it is first asked for: beside the loop, for it takes long."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._document = cache(lambda public_url, mount: document(endpoints, public_url, mount))
        self._specification = cache(lambda public_url, mount: _json(self._document(public_url, mount)))
        self._reference = cache(lambda public_url: page(self._document(public_url, "")).encode())
        self._postman = cache(lambda public_url: _json(collection(self._document(public_url, ""))))

    def specification(self, mount: str) -> Handle:
        async def answer(request: Request) -> Response:
            octets = await asyncio.to_thread(self._specification, _public_url(request), mount)
            return _answer(request, octets, "application/json")

        return answer

    async def reference(self, request: Request) -> Response:
        answer = _answer(request, await asyncio.to_thread(self._reference, _public_url(request)), "text/html")
        answer.headers["content-security-policy"] = POLICY
        return answer

    async def postman(self, request: Request) -> Response:
        return _answer(request, await asyncio.to_thread(self._postman, _public_url(request)), "application/json")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _public_url(request: Request) -> str:
    state: State = request.app.state.relay
    return state.public_url


def _answer(request: Request, octets: bytes, media_type: str) -> Response:
    headers = KEPT | {"etag": f'W/"{sha256(octets).hexdigest()[:TAG]}"'}
    if has(request, headers["etag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(octets, media_type=media_type, headers=headers)
