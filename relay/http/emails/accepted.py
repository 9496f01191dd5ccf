"""What is said of a native message that was accepted, or would have been."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from relay.http.dialects.dialect import Asked
from relay.http.letter import Letter, Sent
from relay.message import Addressee
from relay.message import Field as AddressField
from relay.store.clock import rfc3339


class Accepted(BaseModel):
    """A message that is durable and on its way.

    `subject` is null where a template has it. `estimated_send_at` is null where nobody can say, because something holds
    the mail. With `dry_run`, nothing was made: `id`, `message_id` and `created_at` are null.
    """

    model_config = ConfigDict(populate_by_name=True)

    id: str | None
    message_id: str | None
    sender: str = Field(alias="from")
    to: list[str]
    cc: list[str]
    bcc: list[str]
    subject: str | None
    created_at: str | None
    mode: Literal["byoc", "shared"]
    warnings: list[str]
    estimated_send_at: str | None
    dry_run: Literal[True] | None = None


def accepted(letter: Letter, sent: Sent, _asked: Asked) -> Response:
    """202: durable and on its way."""
    return JSONResponse(told(letter, sent), HTTPStatus.ACCEPTED)


def rehearsed(letter: Letter, sent: Sent, _asked: Asked) -> Response:
    """200: it would be accepted now."""
    return rehearsal(told(letter, sent))


def rehearsal(answer: dict[str, Any]) -> Response:
    """What would have been answered, without what there is not."""
    nothing = dict.fromkeys(("id", "message_id", "created_at", "estimated_send_at"))
    return JSONResponse(answer | nothing | {"dry_run": True})


def told(letter: Letter, sent: Sent) -> dict[str, Any]:
    addressees = [
        Addressee(each.address, field)
        for field, people in (
            (AddressField.TO, letter.to),
            (AddressField.CC, letter.cc),
            (AddressField.BCC, letter.bcc),
        )
        for each in people
    ]
    return said_of(sent, addressees, letter.subject or None)


def said_of(sent: Sent, addressees: Iterable[Addressee], subject: str | None) -> dict[str, Any]:
    """The answer of 202."""
    acceptance = sent.acceptance
    people: dict[AddressField, list[str]] = {field: [] for field in AddressField}
    for each in addressees:
        people[each.field].append(str(each.address))
    expected = acceptance.estimated_send_at
    return {
        "id": acceptance.public_id,
        "message_id": acceptance.message_id,
        "from": str(sent.author),
        "to": people[AddressField.TO],
        "cc": people[AddressField.CC],
        "bcc": people[AddressField.BCC],
        "subject": subject,
        "created_at": rfc3339(acceptance.accepted_at),
        "mode": acceptance.mode.value,
        "warnings": list(sent.warnings),
        "estimated_send_at": None if expected is None else rfc3339(expected),
    }
