"""MailerLogic's send routes: `POST /api/v1/send` and `/api/v1/batch` (MailerLogic contract 3 to 5)."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from relay.errors import Fault, Kind, Problem
from relay.http.dialects import mailerlogic_fields as fields
from relay.http.dialects.dialect import Asked, Batch, Single
from relay.http.dialects.mailerlogic import MAILERLOGIC, refuse
from relay.http.fields import Body
from relay.http.letter import Letter, Sent
from relay.http.posting import endpoints_of, many, one
from relay.http.table import Endpoint
from relay.message import Address, uuid_of
from relay.store.clock import rfc3339

MOUNT = "/mailerlogic"
MOST = 500  # mails in a batch
LONGEST_ECHO = 320  # characters of a `to` that is no address
QUEUED, FAILED = "queued", "failed"


class Accepted(BaseModel):
    """A mail that is durable and on its way. `message_id` is `<email_id@domain>`."""

    to: str
    submitted_at: str = Field(json_schema_extra={"format": "date-time"})
    message_id: str
    email_id: str = Field(json_schema_extra={"format": "uuid"})
    status: Literal["queued"]
    message: str


def read(value: dict[str, Any], default: Address | None) -> Letter:
    """Raises Problem(BAD_REQUEST) with every fault."""
    return fields.read(value)


def accepted(letter: Letter, sent: Sent, asked: Asked) -> Response:
    acceptance = sent.acceptance
    return JSONResponse(
        {
            "to": str(letter.to[0].address),
            "submitted_at": rfc3339(acceptance.accepted_at, "seconds"),
            "message_id": acceptance.message_id,
            "email_id": uuid_of(acceptance.public_id),
            "status": QUEUED,
            "message": "Queued",
        }
    )


# -- many ------------------------------------------------------------------------------------------------------------


class BatchBody(Body):
    """The request of `POST /api/v1/batch`. Each mail is judged alone."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "emails": [
                        {"from": "a@mail.example.org", "to": "ana@example.com", "subject": "a", "text": "a"},
                        {"from": "a@mail.example.org", "to": "bo@example.com", "subject": "b", "text": "b"},
                    ]
                }
            ]
        }
    )

    emails: list[fields.ItemBody] = Field(min_length=1, max_length=MOST)


class Result(BaseModel):
    """What became of one mail: the ids where it is queued, else why it is not, as a single one would be told."""

    index: int
    to: str
    status: Literal["queued", "failed"]
    email_id: str | None = None
    message_id: str | None = None
    error: str | None = None
    message: str | None = None
    reason: str | None = None


class Told(BaseModel):
    """What became of a batch."""

    total: int
    queued: int
    failed: int
    results: list[Result]


class Misread(Problem):
    """What is wrong with one mail of a batch. `to`: what it has there, "" where that is no text."""

    def __init__(self, problem: Problem, to: str) -> None:
        super().__init__(problem.kind, problem.detail, faults=problem.faults)
        self.to = to


def read_all(value: dict[str, Any], default: Address | None) -> list[Letter | Problem]:
    """Raises Problem(BAD_REQUEST) for what is wrong with the batch as a whole."""
    mails = value.get("emails")
    if not isinstance(mails, list) or not 0 < len(mails) <= MOST:
        raise Problem(Kind.BAD_REQUEST, faults=(Fault("emails", f"must be a list of 1 to {MOST} mails"),))
    return [_read_item(each) for each in mails]


def _read_item(value: Any) -> Letter | Problem:
    if not isinstance(value, dict):
        return Misread(Problem(Kind.BAD_REQUEST, "a mail must be a JSON object"), "")
    try:
        return fields.read(value, fields.ItemBody)
    except Problem as problem:
        return Misread(problem, _echo(value.get("to")))


def _echo(to: Any) -> str:
    """Half of a surrogate pair, which JSON can carry and UTF-8 cannot, as a question mark."""
    return to[:LONGEST_ECHO].encode("utf-8", "replace").decode() if isinstance(to, str) else ""


def answered(letters: Sequence[Letter | Problem], outcomes: Sequence[Sent | Problem], asked: Asked) -> Response:
    results = [
        _result(index, letter, outcome, asked)
        for index, (letter, outcome) in enumerate(zip(letters, outcomes, strict=True))
    ]
    queued = sum(each["status"] == QUEUED for each in results)
    total = len(results)
    return JSONResponse({"total": total, "queued": queued, "failed": total - queued, "results": results})


def _result(index: int, letter: Letter | Problem, outcome: Sent | Problem, asked: Asked) -> dict[str, Any]:
    to = letter.to if isinstance(letter, Misread) else ""
    if isinstance(letter, Letter):
        to = str(letter.to[0].address)
    if isinstance(outcome, Problem):
        return {"index": index, "to": to, "status": FAILED, **refuse(outcome, asked)[1]}
    ids = {"email_id": uuid_of(outcome.acceptance.public_id), "message_id": outcome.acceptance.message_id}
    return {"index": index, "to": to, "status": QUEUED, **ids}


SEND = Single(MAILERLOGIC, "/api/v1/send", "Send a mail", fields.SendBody, Accepted, HTTPStatus.OK, read, accepted)
BATCH = Batch(MAILERLOGIC, "/api/v1/batch", "Send up to 500", BatchBody, Told, HTTPStatus.OK, read_all, answered)

# The older paths of the product. `/api/send` is SendFleet's, too: relay/http/dialects/sharing.py.
_V0 = [
    Endpoint("POST", f"{MOUNT}/api/send", one(SEND), SEND),
    Endpoint("POST", "/api/batch", many(BATCH), BATCH),
    Endpoint("POST", f"{MOUNT}/api/batch", many(BATCH), BATCH),
]
endpoints = [*endpoints_of(SEND, MOUNT), *endpoints_of(BATCH, MOUNT), *_V0]
