"""SendFleet's dialect: `POST /api/send/` (SendFleet contract)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, ValidationError
from starlette.responses import JSONResponse, Response

from relay.errors import Fault, Kind, Problem
from relay.http.dialects.dialect import Asked, Dialect, Single, Told
from relay.http.fields import Body, Email, Line, Text
from relay.http.letter import Letter, Mailbox, Sent
from relay.http.posting import endpoints_of
from relay.message import Address, Mode, uuid_of
from relay.routing.standing import MODE

LONGEST_NAME = 156  # characters
LONGEST_SUBJECT = 256
NO_SUBJECT = "(no subject)"

# -- refused: contract 5 ---------------------------------------------------------------------------------------------

DKIM = "dkim"  # the aspect of a domain that lacks these records only

# fmt: off
_SLUGS: Mapping[Kind, tuple[HTTPStatus, str]] = {
    Kind.FORBIDDEN:         (HTTPStatus.FORBIDDEN,            "unauthorized"),
    Kind.NOT_APPROVED:      (HTTPStatus.FORBIDDEN,            "unauthorized"),
    Kind.SUSPENDED:         (HTTPStatus.FORBIDDEN,            "sending_suspended"),
    Kind.NOT_REGISTERED:    (HTTPStatus.FORBIDDEN,            "domain_not_registered"),
    Kind.NOT_VERIFIED:      (HTTPStatus.FORBIDDEN,            "domain_not_verified"),
    Kind.SUPPRESSED:        (HTTPStatus.UNPROCESSABLE_ENTITY, "recipient_suppressed"),
    Kind.INVALID_RECIPIENT: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_recipient"),
    Kind.NULL_MX:           (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_recipient"),
    Kind.QUOTA_EXCEEDED:    (HTTPStatus.TOO_MANY_REQUESTS,    "usage_limit_exceeded"),
    Kind.NO_CREDITS:        (HTTPStatus.TOO_MANY_REQUESTS,    "usage_limit_exceeded"),
    Kind.OVERLOADED:        (HTTPStatus.BAD_GATEWAY,          "queue_error"),
    Kind.STORAGE_FULL:      (HTTPStatus.BAD_GATEWAY,          "queue_error"),
    Kind.STORAGE_DOWN:      (HTTPStatus.BAD_GATEWAY,          "queue_error"),
    Kind.DNS_DOWN:          (HTTPStatus.BAD_GATEWAY,          "queue_error"),
    Kind.INTERNAL:          (HTTPStatus.BAD_GATEWAY,          "queue_error"),
    Kind.SES_DENIED:        (HTTPStatus.SERVICE_UNAVAILABLE,  "byoc_not_configured"),
    Kind.SES_CONFIG:        (HTTPStatus.SERVICE_UNAVAILABLE,  "byoc_not_configured"),
    # Not in the contract: what we have beyond it.
    Kind.IDEMPOTENCY_BUSY:  (HTTPStatus.CONFLICT,             "idempotency_busy"),
    Kind.IDEMPOTENCY_CLASH: (HTTPStatus.CONFLICT,             "idempotency_conflict"),
}
# fmt: on
_BY_ASPECT = {
    (Kind.NOT_VERIFIED, DKIM): "dkim_not_verified",
    (Kind.FORBIDDEN, MODE): "domain_mode_mismatch",
}
_FIELDS = {"from": "from_email", "": "non_field_errors"}  # as the contract, and Django, call what we call otherwise


class FieldFaults(RootModel[dict[str, list[str]]]):
    """What is wrong with fields, by field."""


class Detail(BaseModel):
    """Why nothing was done, in words alone."""

    detail: str


class Failure(BaseModel):
    """Why nothing was done. `error` is what to branch on; too many requests within a minute have none."""

    success: Literal[False]
    error: str | None = None
    detail: str


class Refusal(RootModel[Failure | Detail | FieldFaults]):
    """Why nothing was done: the form depends on the status."""


def refuse(problem: Problem, asked: Asked) -> Told:
    """400 for fields is a map of them, 401 and what the framework refuses is `detail` alone, all else has a slug."""
    kind = problem.kind
    if found := _SLUGS.get(kind):
        status, slug = found
        slug = _BY_ASPECT.get((kind, problem.aspect), slug)
        return status, {"success": False, "error": slug, "detail": problem.detail}
    if kind.http == Kind.RATE_LIMITED.http:
        return kind.http, {"success": False, "detail": problem.detail}
    if kind is Kind.BAD_REQUEST and problem.faults:
        return kind.http, _by_field(problem)
    return kind.http, {"detail": problem.detail}


def _by_field(problem: Problem) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for fault in problem.faults:
        name = fault.path.partition(".")[0]
        found.setdefault(_FIELDS.get(name, name), []).append(fault.message)
    return found


SENDFLEET = Dialect("sendfleet", refuse, Refusal, first="x-api-key", needs_type=True)

# -- the request: contract 3 -----------------------------------------------------------------------------------------


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError(BLANK)
    return text


BLANK = "This field may not be blank."


class SendBody(Body):
    """The request of `POST /api/send/`. Unknown members are ignored; null is as good as none where one is optional."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "to": "ana@example.com",
                    "from_email": "billing@mail.example.org",
                    "from_name": "Billing",
                    "subject": "Invoice 77",
                    "message": "Invoice 77 is ready.",
                    "html": "<p>Invoice 77 is ready.</p>",
                    "reply_to": "help@example.org",
                }
            ]
        }
    )

    to: Email = Field(description="the one recipient")
    from_email: Email | None = Field(
        default=None,
        description="at a verified domain; without it, the default sender or noreply@ the first verified domain",
    )
    from_name: Annotated[Line, Field(max_length=LONGEST_NAME)] | None = None
    subject: Annotated[Line, Field(max_length=LONGEST_SUBJECT)] | None = Field(default=None, description=NO_SUBJECT)
    message: Annotated[Text, AfterValidator(_not_blank)] = Field(
        description="the text, even where html is given", json_schema_extra={"pattern": r"\S"}, repr=False
    )
    html: Text | None = Field(default=None, repr=False)
    reply_to: Email | None = None


def read(value: dict[str, Any], default: Address | None) -> Letter:
    """Raises Problem(BAD_REQUEST) with every fault, in the words of the Django REST framework."""
    try:
        body = SendBody.model_validate(value)
    except ValidationError as exc:
        raise Problem(Kind.BAD_REQUEST, faults=_faults(exc)) from exc
    return Letter(
        to=(Mailbox(body.to),),
        author=body.from_email or default,
        author_name=body.from_name or "",
        subject=body.subject or NO_SUBJECT,
        text=body.message,
        html=body.html or None,
        reply_to=(Mailbox(body.reply_to),) if body.reply_to else (),
    )


def _faults(exc: ValidationError) -> tuple[Fault, ...]:
    return tuple(Fault(str(error["loc"][0]), _said(error)) for error in exc.errors(include_url=False))


def _said(error: Mapping[str, Any]) -> str:
    given = error["input"]
    if error["type"] == "missing":
        return "This field is required."
    if given is None:
        return "This field may not be null."
    if not isinstance(given, str):
        return "Not a valid string."
    if error["type"] in {"string_too_long", "too_long"}:
        return f"Ensure this field has no more than {error['ctx']['max_length']} characters."
    if error["loc"][0] in {"to", "from_email", "reply_to"}:
        return "Enter a valid email address." if given.strip() else BLANK
    return str(error["msg"]).removeprefix("Value error, ")


# -- accepted: contract 4 --------------------------------------------------------------------------------------------

_SAID = {Mode.BYOC: "Queued through your SES account.", Mode.SHARED: "Queued."}


class Accepted(BaseModel):
    """A message that is durable and on its way. `warnings` on shared sends only, and only where there are any."""

    success: Literal[True]
    message: str
    message_id: str = Field(json_schema_extra={"format": "uuid"})
    mode: Literal["byoc", "shared"]
    warnings: list[str] | None = None


def accepted(letter: Letter, sent: Sent, asked: Asked) -> Response:
    mode = sent.acceptance.mode
    answer: dict[str, Any] = {
        "success": True,
        "message": _SAID[mode],
        "message_id": uuid_of(sent.acceptance.public_id),
        "mode": mode.value,
    }
    if mode is Mode.SHARED and sent.warnings:
        answer["warnings"] = list(sent.warnings)
    return JSONResponse(answer)


SEND = Single(SENDFLEET, "/api/send/", "Send a message", SendBody, Accepted, HTTPStatus.OK, read, accepted)
endpoints = endpoints_of(SEND, "/sendfleet")
