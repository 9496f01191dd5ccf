"""`POST /api/v1/emails/batch`: up to a hundred native messages, each judged alone, answered in their order."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from relay.errors import Fault, Kind, Problem
from relay.http.dialects.dialect import Asked, Batch
from relay.http.dialects.native import NATIVE, ErrorShown, refuse
from relay.http.emails import request
from relay.http.emails.accepted import Accepted, told
from relay.http.emails.request import EmailBody
from relay.http.fields import Body
from relay.http.letter import Letter, Sent
from relay.http.posting import endpoints_of
from relay.http.refusals import waiting
from relay.message import Address

MOST = 100


class BatchBody(Body):
    """Messages as `POST /api/v1/emails` takes them, but for `dry_run`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "emails": [
                        {"from": "news@shared.example", "to": "ana@example.com", "subject": "Hi", "text": "Hi Ana"},
                        {"from": "news@shared.example", "to": "bo@example.com", "subject": "Hi", "text": "Hi Bo"},
                    ]
                }
            ]
        }
    )

    emails: Annotated[list[EmailBody], Field(min_length=1, max_length=MOST)]


class ItemAccepted(Accepted):
    """What became of the message at `index`, counted from 0."""

    index: int


class ItemRefused(BaseModel):
    index: int
    error: ErrorShown


class BatchAnswer(BaseModel):
    """What became of each message, in their order. At least one was accepted."""

    data: list[ItemAccepted | ItemRefused]
    accepted: int
    refused: int


def read(value: dict[str, Any], default: Address | None) -> list[Letter | Problem]:
    """Raises Problem(BAD_REQUEST) where it is no batch; a bad message is a Problem in its place."""
    emails = value.get("emails")
    if not isinstance(emails, list) or not 0 < len(emails) <= MOST:
        raise Problem(Kind.BAD_REQUEST, faults=(Fault("emails", f"must be a list of 1 to {MOST} messages"),))
    return [_read(each, default) for each in emails]


def _read(value: Any, default: Address | None) -> Letter | Problem:
    if not isinstance(value, dict):
        return Problem(Kind.BAD_REQUEST, "each message must be a JSON object")
    try:
        letter = request.read(value, default)
    except Problem as problem:
        return problem
    if letter.is_rehearsal:
        return Problem(Kind.BAD_REQUEST, faults=(Fault("dry_run", "is for one message at a time"),))
    return letter


def answered(letters: Sequence[Letter | Problem], outcomes: Sequence[Sent | Problem], asked: Asked) -> Response:
    """202 where any was accepted. Where none was it is a refusal, which says what became of each besides."""
    items: list[dict[str, Any]] = []
    refused: list[Problem] = []
    for index, (letter, outcome) in enumerate(zip(letters, outcomes, strict=True)):
        if isinstance(outcome, Problem):
            refused.append(outcome)
            items.append({"index": index, "error": _shown(outcome, asked)})
        elif isinstance(letter, Letter):
            items.append({"index": index, **told(letter, outcome)})
    answer = {"data": items, "accepted": len(items) - len(refused), "refused": len(refused)}
    if len(refused) < len(items):
        return JSONResponse(answer, HTTPStatus.ACCEPTED)
    whole = together(refused)
    status, body = refuse(whole, asked)
    return JSONResponse(body | answer, status, waiting(whole))


def _shown(problem: Problem, asked: Asked) -> dict[str, Any]:
    _, body = refuse(problem, asked)
    return {name: value for name, value in body.items() if name != "request_id"}


def together(refused: Sequence[Problem]) -> Problem:
    """One for all of them: of the kind they share, or else of that of a bad request."""
    kinds = {each.kind for each in refused}
    waits = [each.retry_after for each in refused if each.retry_after is not None]
    return Problem(
        kinds.pop() if len(kinds) == 1 else Kind.BAD_REQUEST,
        f"none of the {len(refused)} messages was accepted; the first: {refused[0].detail}",
        retry_after=max(waits, default=None) if len({each.kind for each in refused}) == 1 else None,
    )


BATCH = Batch(
    NATIVE,
    "/api/v1/emails/batch",
    "Send up to 100 messages, each judged alone",
    BatchBody,
    BatchAnswer,
    HTTPStatus.ACCEPTED,
    read,
    answered,
)
endpoints = endpoints_of(BATCH, "/sendex")
