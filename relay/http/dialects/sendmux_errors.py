"""How Sendmux says no: its statuses, codes and envelope (Sendmux contract 3 and 5)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, NamedTuple

from pydantic import BaseModel

from relay.errors import Fault, Kind, Problem
from relay.http.dialects.dialect import Asked, Told
from relay.http.dialects.native import DOCS


class Word(NamedTuple):
    """A status, and the code that tells what is meant by it."""

    status: int
    code: str


PARAMETER = Word(HTTPStatus.BAD_REQUEST, "invalid_parameter")  # it cannot be parsed
VALIDATION = Word(HTTPStatus.UNPROCESSABLE_ENTITY, "validation_error")  # it can, and is not what is taken
UNAUTHENTICATED = Word(HTTPStatus.UNAUTHORIZED, "authentication_required")
NOT_PERMITTED = Word(HTTPStatus.FORBIDDEN, "insufficient_permissions")
RESTRICTED = Word(HTTPStatus.FORBIDDEN, "billing_restricted")
NO_CREDITS = Word(HTTPStatus.PAYMENT_REQUIRED, "insufficient_credits")
NOT_FOUND = Word(HTTPStatus.NOT_FOUND, "not_found")
CLASH = Word(HTTPStatus.CONFLICT, "idempotency_conflict")
TOO_MUCH = Word(HTTPStatus.TOO_MANY_REQUESTS, "rate_limit_exceeded")
UNAVAILABLE = Word(HTTPStatus.SERVICE_UNAVAILABLE, "service_unavailable")
NO_PROVIDER = Word(HTTPStatus.SERVICE_UNAVAILABLE, "no_active_providers")

WORDS = {
    Kind.BAD_ADDRESS: VALIDATION,
    Kind.NON_ASCII_ADDRESS: VALIDATION,
    Kind.UNAUTHORIZED: UNAUTHENTICATED,
    Kind.NO_CREDENTIAL: UNAUTHENTICATED,
    Kind.FORBIDDEN: NOT_PERMITTED,
    Kind.NOT_REGISTERED: NOT_FOUND,
    Kind.NOT_VERIFIED: NOT_PERMITTED,
    Kind.NOT_APPROVED: NOT_PERMITTED,
    Kind.SUSPENDED: RESTRICTED,
    Kind.SUPPRESSED: VALIDATION,
    Kind.INVALID_RECIPIENT: VALIDATION,
    Kind.NULL_MX: VALIDATION,
    Kind.TOO_MANY_RECIPIENTS: VALIDATION,
    Kind.TOO_LARGE: Word(Kind.TOO_LARGE.http, "payload_too_large"),
    Kind.RATE_LIMITED: TOO_MUCH,
    Kind.BLOCKED: TOO_MUCH,
    Kind.QUOTA_EXCEEDED: NO_CREDITS,  # a month's; a cap of the day is of devices, which have no HTTP
    Kind.NO_CREDITS: NO_CREDITS,
    Kind.IDEMPOTENCY_BUSY: CLASH,
    Kind.IDEMPOTENCY_CLASH: CLASH,
    Kind.NOT_FOUND: NOT_FOUND,
    Kind.GONE: NOT_FOUND,
    Kind.LOOP: VALIDATION,
    Kind.OVERLOADED: UNAVAILABLE,
    Kind.STORAGE_FULL: UNAVAILABLE,
    Kind.STORAGE_DOWN: UNAVAILABLE,
    Kind.DNS_DOWN: UNAVAILABLE,
    Kind.INTERNAL: Word(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error"),
    Kind.SES_PAUSED: NO_PROVIDER,
    Kind.SES_DENIED: NO_PROVIDER,
    Kind.SES_CONFIG: NO_PROVIDER,
    Kind.SES_UNAVAILABLE: UNAVAILABLE,
}

# The aspects of BAD_REQUEST: what is wrong is the routing hint, and nothing else.
MALFORMED_GROUP = "invalid_delivery_group"
NO_GROUP = "delivery_group_not_found"
ROUTING = {MALFORMED_GROUP, NO_GROUP}

OF_RECIPIENTS = {Kind.SUPPRESSED, Kind.INVALID_RECIPIENT, Kind.NULL_MX, Kind.DNS_DOWN, Kind.FORBIDDEN}


class Issue(BaseModel):
    """One thing wrong with a request. `code` is one of zod's, whose words their service uses."""

    field: str
    code: str
    message: str


class Error(BaseModel):
    """`param` is the field of the first issue."""

    code: str
    message: str
    retryable: bool
    param: str | None = None
    doc_url: str
    errors: list[Issue] | None = None


class Meta(BaseModel):
    """`request_id` is the answer's X-Request-Id."""

    request_id: str


class Refusal(BaseModel):
    """Why nothing was done."""

    ok: bool
    error: Error
    meta: Meta


def word(problem: Problem) -> Word:
    """What their clients know a trouble by. One they have no word for keeps ours."""
    kind = problem.kind
    if kind is Kind.BAD_REQUEST:
        if problem.aspect in ROUTING:
            return Word(VALIDATION.status, problem.aspect)
        return VALIDATION if problem.faults else PARAMETER
    return WORDS.get(kind) or Word(kind.http, kind.slug)


def error(problem: Problem, asked: Asked) -> dict[str, Any]:
    """The `error` of an envelope, and of a message in a batch."""
    status, code = word(problem)
    found: dict[str, Any] = {"code": code, "message": problem.detail, "retryable": is_retryable(status)}
    issues = [_issue(fault, problem.kind) for fault in problem.faults]
    if issues and issues[0]["field"]:
        found["param"] = issues[0]["field"]
    found["doc_url"] = f"{asked.public_url}{DOCS}#{code}"
    if issues:
        found["errors"] = issues
    return found


def is_retryable(status: int) -> bool:
    """Contract 3."""
    return status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def _issue(fault: Fault, kind: Kind) -> dict[str, str]:
    return {"field": field_of(fault, kind), "code": fault.code or "custom", "message": fault.message}


def field_of(fault: Fault, kind: Kind) -> str:
    """Their path of what is at fault. What is wrong with a recipient is wrong with its `email`."""
    return "to.email" if fault.path == "to" and kind in OF_RECIPIENTS else fault.path


def refuse(problem: Problem, asked: Asked) -> Told:
    body = {"ok": False, "error": error(problem, asked), "meta": {"request_id": asked.request_id}}
    return word(problem).status, body
