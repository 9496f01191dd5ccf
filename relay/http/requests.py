"""Reads requests at the border: bodies bounded in size and memory, JSON, credentials."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from relay.errors import Fault, Kind, Problem, printable
from relay.http.dialects.dialect import Dialect
from relay.routing.limits import Share
from relay.values import faults_of

SLOWEST = timedelta(seconds=60)  # for a whole body of usual size
PER_MEGABYTE = timedelta(seconds=10)
MAX_DEPTH = 20
JSON = "application/json"

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
        raise Problem(Kind.TOO_SLOW, "the body took too long to arrive") from exc
    except ClientDisconnect as exc:
        raise Problem(Kind.BAD_REQUEST, "the body was cut off") from exc
    return b"".join(chunks)


def json_body(request: Request, body: bytes, dialect: Dialect) -> dict[str, Any]:
    """The JSON object that a request carries. Raises Problem(UNSUPPORTED_MEDIA | BAD_REQUEST)."""
    require_json(request.headers, is_needed=dialect.needs_type)
    return read_json(body)


def require_json(headers: Headers, *, is_needed: bool = False) -> None:
    """Raises Problem(UNSUPPORTED_MEDIA) for a body that says it is something else, or is compressed.

    `is_needed`: one that does not say what it is, too.
    """
    if (encoding := headers.get("content-encoding", "identity").strip().lower()) not in {"", "identity"}:
        raise Problem(
            Kind.UNSUPPORTED_MEDIA,
            f"the body is compressed ({printable(encoding, 40)}): send it as it is, uncompressed",
        )
    given = headers.get("content-type")
    if given is None and not is_needed:
        return
    media, _, parameters = (given or "none").partition(";")
    media = media.strip().lower()
    if media != JSON and not (media.startswith("application/") and media.endswith("+json")):
        raise Problem(
            Kind.UNSUPPORTED_MEDIA, f"the Content-Type is {printable(media, 80)}: send JSON, with Content-Type: {JSON}"
        )
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "charset" and value.strip('"').lower() not in {"utf-8", "utf8"}:
            raise Problem(Kind.UNSUPPORTED_MEDIA, "the charset is not UTF-8, which is all that JSON has (RFC 8259)")


def read_json(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises Problem(BAD_REQUEST) for anything else, with where it goes wrong."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise Problem(Kind.BAD_REQUEST, f"the body is not UTF-8 at octet {exc.start}") from exc
    if _depth(text) > MAX_DEPTH:
        raise Problem(Kind.BAD_REQUEST, f"the JSON is nested more than {MAX_DEPTH} deep")
    try:
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_object)
    except ValueError as exc:
        where = f" at line {exc.lineno}, column {exc.colno}" if isinstance(exc, json.JSONDecodeError) else ""
        raise Problem(Kind.BAD_REQUEST, f"the body is not JSON{where}") from exc
    if not isinstance(value, dict):
        raise Problem(Kind.BAD_REQUEST, "the body must be a JSON object")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises Problem(BAD_REQUEST) for a name that stands twice: what reads the first would differ from what reads the
    last (RFC 8259 section 4)."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Problem(Kind.BAD_REQUEST, f"the name {printable(twice, 40)} stands twice in one JSON object")
    return found


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


def api_key(headers: Headers, first: Literal["authorization", "x-api-key"]) -> str:
    """The key a request carries: `Authorization: Bearer KEY` or `X-API-Key: KEY`; "" for none.

    Where both are there, the `first` counts and the other is not looked at.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    bare = headers.get("x-api-key", "").strip()
    return (bearer or bare) if first == "authorization" else (bare or bearer)
