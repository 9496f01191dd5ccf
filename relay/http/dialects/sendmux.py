"""Sendmux's dialect: `POST /api/v1/emails/send` and `/batch`, `GET /api/v1/me`."""

from __future__ import annotations

from pydantic import BaseModel

from relay.errors import Problem
from relay.http.dialects.dialect import Asked, Dialect, Told


class Refusal(BaseModel):
    """Why nothing was done."""

    ok: bool
    error: dict[str, object]
    meta: dict[str, object]


def refuse(problem: Problem, asked: Asked) -> Told:
    error = {"code": problem.kind.slug, "message": problem.detail, "retryable": problem.kind.is_temporary}
    return problem.kind.http, {"ok": False, "error": error, "meta": {"request_id": asked.request_id}}


SENDMUX = Dialect("sendmux", refuse, Refusal, first="authorization")
