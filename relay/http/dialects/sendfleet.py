"""SendFleet's dialect: `POST /api/send/`."""

from __future__ import annotations

from pydantic import BaseModel

from relay.errors import Problem
from relay.http.dialects.dialect import Asked, Dialect, Told


class Refusal(BaseModel):
    """Why nothing was done."""

    success: bool
    error: str
    detail: str


def refuse(problem: Problem, asked: Asked) -> Told:
    return problem.kind.http, {"success": False, "error": problem.kind.slug, "detail": problem.detail}


SENDFLEET = Dialect("sendfleet", refuse, Refusal, first="x-api-key", needs_type=True)
