"""Reads requests at the border: bodies bounded in size and memory, JSON, credentials."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from relay.errors import Fault, Kind, Problem
from relay.routing.limits import Share
from relay.values import faults_of

SLOWEST = timedelta(seconds=60)  # for a whole body of usual size
PER_MEGABYTE = timedelta(seconds=10)
MAX_DEPTH = 20

Model = TypeVar("Model", bound=BaseModel)


async def read_body(request: Request, limit: int, share: Share) -> bytes:
    """The body, counted as it arrives. Raises Problem(TOO_LARGE | OVERLOADED | BAD_REQUEST)."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise Problem(Kind.TOO_LARGE, f"the request is over {limit} octets")
    chunks: list[bytes] = []
    size = 0
    patience = SLOWEST + PER_MEGABYTE * (limit >> 20)
    try:
        async with asyncio.timeout(patience.total_seconds()):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise Problem(Kind.TOO_LARGE, f"the request is over {limit} octets")
                share.take(len(chunk))
                chunks.append(chunk)
    except TimeoutError as exc:
        raise Problem(Kind.BAD_REQUEST, "the body took too long to arrive") from exc
    except ClientDisconnect as exc:
        raise Problem(Kind.BAD_REQUEST, "the body was cut off") from exc
    return b"".join(chunks)


def read_json(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises Problem(BAD_REQUEST) for anything else, with where it goes wrong."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise Problem(Kind.BAD_REQUEST, f"the body is not UTF-8 at octet {exc.start}") from exc
    if _depth(text) > MAX_DEPTH:
        raise Problem(Kind.BAD_REQUEST, f"the JSON is nested more than {MAX_DEPTH} deep")
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as exc:
        where = f" at line {exc.lineno}, column {exc.colno}" if isinstance(exc, json.JSONDecodeError) else ""
        raise Problem(Kind.BAD_REQUEST, f"the body is not JSON{where}") from exc
    if not isinstance(value, dict):
        raise Problem(Kind.BAD_REQUEST, "the body must be a JSON object")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _depth(text: str) -> int:
    """No less than the nesting of a JSON text: brackets in strings count, too, which only matters for odd texts."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return 0
    deepest = depth = 0
    is_string = is_escaped = False
    for character in text:
        if is_string:
            if is_escaped:
                is_escaped = False
            elif character == "\\":
                is_escaped = True
            elif character == '"':
                is_string = False
        elif character == '"':
            is_string = True
        elif character in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "}]":
            depth -= 1
    return deepest


def validated(model: type[Model], value: dict[str, Any], together: Callable[[dict[str, Any]], list[Fault]]) -> Model:
    """A body as its model; `together` finds what only shows across fields.

    Raises Problem(BAD_REQUEST) with every fault.
    """
    faults = together(value)
    try:
        found = model.model_validate(value)
    except ValidationError as exc:
        faults = faults_of(exc) + faults
    if faults:
        raise Problem(Kind.BAD_REQUEST, faults=tuple(faults))
    return found


def api_key(request: Request) -> str:
    """The key a request carries: `Authorization: Bearer KEY` or `X-API-Key: KEY`; "" for none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return request.headers.get("x-api-key", "").strip()
