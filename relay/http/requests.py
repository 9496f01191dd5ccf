"""Reads requests at the border: bodies bounded in size and memory, JSON, credentials."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from relay.errors import Fault, Kind, Problem, printable
from relay.http.dialects.dialect import Dialect
from relay.routing.limits import LARGE, Share
from relay.values import MB, faults_of

PATIENCE = timedelta(seconds=30)  # for a body, and so much more for what has come of it:
PER_MEGABYTE = timedelta(seconds=20)
MAX_DEPTH = 20
MOST_MARKS = 300_000  # brackets, commas and strings: an object of one member takes 200 octets, and five to be written
VALUE = 32  # octets of one long text that are read as fast as one value
MOST_FAULTS = 100  # told of one request: a hostile one has any number
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

Model = TypeVar("Model", bound=BaseModel)


async def read_body(request: Request, limit: int, share: Share) -> bytes:
    """The body, counted as it arrives. Raises Problem(TOO_LARGE | OVERLOADED | TOO_SLOW | BAD_REQUEST).

    Time is earned by what has come, not by what was promised: who sends nothing more is let go soon.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise Problem(Kind.TOO_LARGE, f"the request is over {limit} octets")
    chunks: list[bytes] = []
    size = 0
    until = asyncio.get_running_loop().time() + PATIENCE.total_seconds()
    try:
        async with asyncio.timeout_at(until) as deadline:
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise Problem(Kind.TOO_LARGE, f"the request is over {limit} octets")
                share.take(len(chunk))
                chunks.append(chunk)
                if len(chunks) > 1:  # most bodies come whole, and need no clock set
                    deadline.reschedule(until + PER_MEGABYTE.total_seconds() * size / MB)
    except TimeoutError as exc:
        raise Problem(Kind.TOO_SLOW, "the body took too long to arrive") from exc
    except ClientDisconnect as exc:
        raise Problem(Kind.BAD_REQUEST, "the body was cut off") from exc
    return b"".join(chunks)


def json_body(request: Request, body: bytes, dialect: Dialect) -> dict[str, Any]:
    """The JSON object that a request carries. Raises Problem(UNSUPPORTED_MEDIA | BAD_REQUEST)."""
    require_json(request.headers, body, is_strict=dialect.needs_type)
    return read_json(body)


def require_json(headers: Headers, body: bytes, *, is_strict: bool = False) -> None:
    """Raises Problem(UNSUPPORTED_MEDIA) for a body that says it is something else, or is compressed.

    A form that begins with a brace is none: curl and others call so whatever they send, unless they are told better.
    `is_strict`: that is refused, too, and what does not say what it is.
    """
    require_plain(headers)
    given = headers.get("content-type")
    if given is None and not is_strict:
        return
    media, _, parameters = (given or "none").partition(";")
    media = media.strip().lower()
    if media == FORM and not is_strict and body.lstrip().startswith(b"{"):
        return
    if media != JSON and not (media.startswith("application/") and media.endswith("+json")):
        raise Problem(
            Kind.UNSUPPORTED_MEDIA, f"the Content-Type is {printable(media, 80)}: send JSON, with Content-Type: {JSON}"
        )
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "charset" and value.strip('"').lower() not in {"utf-8", "utf8"}:
            raise Problem(Kind.UNSUPPORTED_MEDIA, "the charset is not UTF-8, which is all that JSON has (RFC 8259)")


def require_plain(headers: Headers) -> None:
    """Raises Problem(UNSUPPORTED_MEDIA) for a body that is compressed: what it would be is not known before."""
    if (encoding := headers.get("content-encoding", "identity").strip().lower()) not in {"", "identity"}:
        raise Problem(
            Kind.UNSUPPORTED_MEDIA,
            f"the body is compressed ({printable(encoding, 40)}): send it as it is, uncompressed",
        )


def read_json(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises Problem(BAD_REQUEST) for anything else, with where it goes wrong."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise Problem(Kind.BAD_REQUEST, f"the body is not UTF-8 at octet {exc.start}") from exc
    _require_bounded(text)
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
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise Problem(Kind.BAD_REQUEST, f"the name {printable(twice, 40)} stands twice in one JSON object")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def weight_of(body: bytes) -> int:
    """How much work a body is to read, in octets of one long text: each of its values is as much as some of those."""
    return len(body) if len(body) > LARGE else len(body) + VALUE * sum(map(body.count, (b",", b"[", b"{")))


def _require_bounded(text: str) -> None:
    """Raises Problem(BAD_REQUEST) for JSON that would take much more memory than its octets, or too many calls.

    Strings, the most of a large text, are passed over.
    """
    brackets = text.count("{") + text.count("[")
    if brackets <= MAX_DEPTH and brackets + text.count(",") + text.count('"') <= MOST_MARKS:
        return
    depth = 0
    for count, match in enumerate(_MARK.finditer(text)):
        if count >= MOST_MARKS:
            raise Problem(Kind.BAD_REQUEST, "the JSON has too many values: send fewer messages in one request")
        match text[match.start()]:
            case "{" | "[":
                depth += 1
                if depth > MAX_DEPTH:
                    raise Problem(Kind.BAD_REQUEST, f"the JSON is nested more than {MAX_DEPTH} deep")
            case "}" | "]":
                depth -= 1


_MARK = re.compile(r'[{}\[\],]|"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)  # never goes back


def validated(model: type[Model], value: dict[str, Any], together: Callable[[dict[str, Any]], list[Fault]]) -> Model:
    """A body as its model; `together` finds what only shows across fields.

    Raises Problem(BAD_REQUEST) with every fault, up to a hundred.
    """
    faults = together(value)
    try:
        found = model.model_validate(value)
    except ValidationError as exc:
        faults = faults_of(exc) + faults
    if faults:
        raise Problem(Kind.BAD_REQUEST, faults=tuple(dict.fromkeys(faults))[:MOST_FAULTS])
    return found


def api_key(headers: Headers, first: Literal["authorization", "x-api-key"]) -> str:
    """The key a request carries: `Authorization: Bearer KEY` or `X-API-Key: KEY`; "" for none.

    Where both are there, the `first` counts and the other is not looked at.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    bare = headers.get("x-api-key", "").strip()
    return (bearer or bare) if first == "authorization" else (bare or bearer)
