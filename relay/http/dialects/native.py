"""The native dialect's refusals: Sendex's `error` and `message`, and what is needed to mend a request by program."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from relay.errors import Problem
from relay.http.dialects.dialect import Asked, Dialect, Told

DOCS = "/docs"  # the reference page; it explains each reason under its slug


class FaultShown(BaseModel):
    """One thing wrong with a request. `param`: the path of the member, or the parameter, it is about."""

    param: str
    message: str


class ErrorShown(BaseModel):
    """Why something was refused. `error` is Sendex's word for it, `reason` ours, which says more."""

    error: str
    reason: str
    message: str
    param: str | None = None
    errors: list[FaultShown] | None = None
    retryable: bool
    doc_url: str


class Refusal(ErrorShown):
    """Why nothing was done."""

    request_id: str


def refuse(problem: Problem, asked: Asked) -> Told:
    """`error` is the word Sendex has for it, `reason` the slug of the table of troubles."""
    kind = problem.kind
    body: dict[str, Any] = {"error": kind.error, "reason": kind.slug, "message": problem.detail}
    if problem.faults:
        body["param"] = problem.faults[0].path
        body["errors"] = [{"param": fault.path, "message": fault.message} for fault in problem.faults]
    body |= {
        "retryable": kind.is_temporary,
        "doc_url": f"{asked.public_url}{DOCS}#{kind.slug}",
        "request_id": asked.request_id,
    }
    return kind.http, body


NATIVE = Dialect("native", refuse, Refusal, first="authorization")
