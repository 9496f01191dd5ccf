"""MailerLogic's dialect: `POST /api/v1/send` and `/api/v1/batch`."""

from __future__ import annotations

from pydantic import BaseModel

from relay.errors import Problem
from relay.http.dialects.dialect import Asked, Dialect, Told
from relay.message import uuid_of


class Refusal(BaseModel):
    """Why nothing was done."""

    error: str
    message: str


def refuse(problem: Problem, asked: Asked) -> Told:
    return problem.kind.http, {"error": problem.kind.slug, "message": problem.detail}


def message_id(public_id: str, domain: str) -> str:
    """The id they give for a message stands in its Message-ID, too."""
    return f"<{uuid_of(public_id)}@{domain}>"


MAILERLOGIC = Dialect("mailerlogic", refuse, Refusal, first="x-api-key", counts="tenant", message_id=message_id)
