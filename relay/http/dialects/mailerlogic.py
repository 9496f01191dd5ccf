"""MailerLogic's dialect: how it refuses, and what it calls a message (MailerLogic contract 1, 4)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from pydantic import BaseModel

from relay.errors import Kind, Problem
from relay.http.dialects.dialect import Asked, Dialect, Told
from relay.http.sending import NAMED
from relay.message import uuid_of

# fmt: off
_SLUGS: Mapping[Kind, tuple[HTTPStatus, str]] = {
    Kind.BAD_REQUEST:         (HTTPStatus.BAD_REQUEST,           "validation_error"),
    Kind.BAD_ADDRESS:         (HTTPStatus.BAD_REQUEST,           "validation_error"),
    Kind.NON_ASCII_ADDRESS:   (HTTPStatus.BAD_REQUEST,           "validation_error"),
    Kind.TOO_MANY_RECIPIENTS: (HTTPStatus.BAD_REQUEST,           "validation_error"),
    Kind.INVALID_RECIPIENT:   (HTTPStatus.BAD_REQUEST,           "invalid_recipient"),
    Kind.NULL_MX:             (HTTPStatus.BAD_REQUEST,           "invalid_recipient"),
    Kind.NOT_REGISTERED:      (HTTPStatus.FORBIDDEN,             "domain_not_verified"),
    Kind.NOT_VERIFIED:        (HTTPStatus.FORBIDDEN,             "domain_not_verified"),
    Kind.SUSPENDED:           (HTTPStatus.FORBIDDEN,             "account_suspended"),
    Kind.SUPPRESSED:          (HTTPStatus.FORBIDDEN,             "recipient_suppressed"),
    Kind.RATE_LIMITED:        (HTTPStatus.TOO_MANY_REQUESTS,     "rate_limit_exceeded"),
    Kind.BLOCKED:             (HTTPStatus.TOO_MANY_REQUESTS,     "rate_limit_exceeded"),
    Kind.NO_CREDITS:          (HTTPStatus.TOO_MANY_REQUESTS,     "quota_exceeded"),
}
# fmt: on
_FAULT = (HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error")  # the contract knows no other status from 500 on
_NO_SUCH_DOMAIN = (HTTPStatus.NOT_FOUND, "domain_not_found")


class Refusal(BaseModel):
    """Why nothing was done. `error` is a slug; 401 has no `message`, and only 403 has a `reason`, the same slug."""

    error: str
    message: str | None = None
    reason: str | None = None


def refuse(problem: Problem, asked: Asked) -> Told:
    status, slug = _answer(problem)
    if status == Kind.UNAUTHORIZED.http:
        return status, {"error": slug}
    body = {"error": slug, "message": problem.detail}
    return status, body | ({"reason": slug} if status == Kind.FORBIDDEN.http else {})


def _answer(problem: Problem) -> tuple[int, str]:
    kind = problem.kind
    if kind is Kind.NOT_REGISTERED and problem.aspect == NAMED:
        return _NO_SUCH_DOMAIN
    if kind.http >= Kind.INTERNAL.http:
        return _FAULT
    return _SLUGS.get(kind, (kind.http, kind.slug))


def message_id(public_id: str, domain: str) -> str:
    """The id they give for a message stands in its Message-ID, too."""
    return f"<{uuid_of(public_id)}@{domain}>"


MAILERLOGIC = Dialect("mailerlogic", refuse, Refusal, first="x-api-key", counts="tenant", message_id=message_id)
