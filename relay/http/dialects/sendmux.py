"""Sendmux's dialect: `POST /api/v1/emails/send` and `/api/v1/emails/send/batch` (contract 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import JSONResponse, Response

from relay.errors import Fault, Kind, Problem
from relay.http.dialects.dialect import Asked, Batch, Dialect, Single
from relay.http.dialects.sendmux_errors import (
    MALFORMED_GROUP,
    NO_CREDITS,
    NO_GROUP,
    RESTRICTED,
    ROUTING,
    TOO_MUCH,
    UNAVAILABLE,
    VALIDATION,
    Error,
    Meta,
    Refusal,
    error,
    field_of,
    refuse,
    word,
)
from relay.http.dialects.sendmux_fields import (
    EXAMPLE,
    MOST_MEMBERS,
    InlineFile,
    SendBody,
    Strict,
    crowds,
    issues,
    together,
)
from relay.http.letter import Letter, Sent
from relay.http.posting import endpoints_of
from relay.message import PREFIX, Address
from relay.values import MB

MOST_MESSAGES = 100
LARGEST = 25 * MB  # of a message as it is sent
QUEUED, FAILED = "queued", "failed"

# What fails a whole batch where every message in it has this; any other is told message by message (contract 4.3).
WHOLE = {NO_CREDITS, RESTRICTED, TOO_MUCH, UNAVAILABLE, VALIDATION}

SENDMUX = Dialect("sendmux", refuse, Refusal, first="authorization")


# -- one message -----------------------------------------------------------------------------------------------------


def read(value: Any, _default: Address | None = None) -> Letter:
    """Raises Problem(BAD_REQUEST) with every fault."""
    is_object = isinstance(value, dict)
    if is_object and (many := crowds(value)):
        raise Problem(Kind.BAD_REQUEST, faults=tuple(many))
    faults = together(value) if is_object else []
    try:
        body = SendBody.model_validate(value)
    except ValidationError as exc:
        known = {fault.path for fault in faults}
        faults = [fault for fault in issues(exc) if fault.path not in known] + faults
    if faults:
        is_hint = all(fault.path == "delivery_group" for fault in faults)
        raise Problem(Kind.BAD_REQUEST, faults=tuple(faults), aspect=MALFORMED_GROUP if is_hint else "")
    if body.delivery_group:
        said = "names no delivery group: there are none here, leave it out"
        raise Problem(Kind.BAD_REQUEST, faults=(Fault("delivery_group", said, "custom"),), aspect=NO_GROUP)
    return Letter(
        to=(body.to.mailbox,),
        cc=tuple(each.mailbox for each in body.cc),
        bcc=tuple(each.mailbox for each in body.bcc),
        reply_to=() if body.reply_to is None else (body.reply_to.mailbox,),
        author=body.sender.email,
        author_name=body.sender.name or "",
        subject=body.subject,
        text=body.text_body,
        html=body.html_body,
        headers=tuple(body.custom_headers.items()),
        attachments=tuple(each.attachment for each in body.attachments if isinstance(each, InlineFile)),
        return_path=body.return_path,
        max_size=LARGEST,
    )


class Queued(BaseModel):
    """A message that is durable and on its way."""

    message_id: Annotated[str, Field(pattern="^eml_[a-z0-9]{24}$")]
    status: Literal["queued"]


class QueuedAnswer(BaseModel):
    """The envelope of a success."""

    ok: Literal[True]
    data: Queued
    meta: Meta


def enveloped(data: dict[str, Any], asked: Asked) -> dict[str, Any]:
    return {"ok": True, "data": data, "meta": {"request_id": asked.request_id}}


def _queued(sent: Sent) -> dict[str, Any]:
    return {"message_id": PREFIX + sent.acceptance.public_id, "status": QUEUED}


def accepted(_letter: Letter, sent: Sent, asked: Asked) -> Response:
    return JSONResponse(enveloped(_queued(sent), asked))


# -- many ------------------------------------------------------------------------------------------------------------


class BatchBody(Strict):
    """The request of `POST /api/v1/emails/send/batch`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"messages": [EXAMPLE]}]})

    messages: Annotated[list[SendBody], Field(min_length=1, max_length=MOST_MESSAGES)]


class _Frame(Strict):
    """A batch, before its messages are looked at."""

    messages: Annotated[list[Any], Field(min_length=1, max_length=MOST_MESSAGES)]


class Result(BaseModel):
    """What became of the message at `index`. One that failed has no id, and an `error`."""

    index: int
    message_id: Annotated[str, Field(pattern="^eml_[a-z0-9]{24}$")] | None
    status: Literal["queued", "failed"]
    error: Error | None = None


class Summary(BaseModel):
    total: int
    queued: int
    failed: int


class Results(BaseModel):
    results: list[Result]
    summary: Summary


class BatchAnswer(BaseModel):
    """The envelope of a batch of which something was taken, or whose messages failed for reasons of their own."""

    ok: Literal[True]
    data: Results
    meta: Meta


def read_batch(value: dict[str, Any], _default: Address | None = None) -> list[Letter | Problem]:
    if len(value) > MOST_MEMBERS:
        raise Problem(Kind.BAD_REQUEST, faults=tuple(crowds(value)))
    try:
        messages = _Frame.model_validate(value).messages
    except ValidationError as exc:
        raise Problem(Kind.BAD_REQUEST, faults=tuple(issues(exc))) from exc
    return [_read_or_not(each) for each in messages]


def _read_or_not(value: Any) -> Letter | Problem:
    try:
        return read(value)
    except Problem as problem:
        return problem


def answered(_letters: Sequence[Letter | Problem], outcomes: Sequence[Sent | Problem], asked: Asked) -> Response:
    """200 with a result for each; raises a Problem where all have failed for a reason that is about the call."""
    refused = [each for each in outcomes if isinstance(each, Problem)]
    if len(refused) == len(outcomes) and (whole := _as_a_whole(refused)) is not None:
        raise whole
    results = [
        {"index": index, "message_id": None, "status": FAILED, "error": error(each, asked)}
        if isinstance(each, Problem)
        else {"index": index, **_queued(each)}
        for index, each in enumerate(outcomes)
    ]
    summary = {"total": len(outcomes), "queued": len(outcomes) - len(refused), "failed": len(refused)}
    return JSONResponse(enveloped({"results": results, "summary": summary}, asked))


def _as_a_whole(refused: Sequence[Problem]) -> Problem | None:
    """What the whole call is refused with; None where each message has its own answer."""
    words = {word(each) for each in refused}
    if len(words) > 1 or not words <= WHOLE or any(each.aspect in ROUTING for each in refused):
        return None
    first = refused[0]
    if words != {VALIDATION}:
        return first
    faults = tuple(
        replace(fault, path=f"messages.{index}.{field_of(fault, each.kind)}".rstrip("."))
        for index, each in enumerate(refused)
        for fault in (each.faults or (Fault("", each.detail),))
    )
    return Problem(Kind.BAD_REQUEST, f"every one of the {len(refused)} messages is refused", faults=faults)


# -- routes ----------------------------------------------------------------------------------------------------------

SEND = Single(SENDMUX, "/api/v1/emails/send", "Send a message", SendBody, QueuedAnswer, HTTPStatus.OK, read, accepted)
BATCH = Batch(
    SENDMUX,
    "/api/v1/emails/send/batch",
    "Send up to 100 messages",
    BatchBody,
    BatchAnswer,
    HTTPStatus.OK,
    read_batch,
    answered,
)
MOUNT = "/sendmux"
endpoints = [*endpoints_of(SEND, MOUNT), *endpoints_of(BATCH, MOUNT)]
