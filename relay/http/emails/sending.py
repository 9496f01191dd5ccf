"""`POST /api/v1/emails`: the native request, a superset of Sendex's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from relay.errors import Fault, Kind, Problem
from relay.http.dialects.dialect import Asked, Single
from relay.http.dialects.native import NATIVE
from relay.http.fields import Base64, Body, Email, Emails, FileLimits, Line, MediaType, Text, header_faults, listed
from relay.http.letter import Attachment, Letter, Mailbox, Sent
from relay.http.posting import endpoints_of
from relay.http.requests import validated
from relay.message import Address
from relay.store.clock import rfc3339
from relay.values import MB

MAX_RECIPIENTS = 50  # to, cc and bcc together (Sendex)
FILES = FileLimits(each=7 * MB, together=10 * MB)  # Sendex


class AttachmentBody(Body):
    filename: Annotated[Line, Field(min_length=1, max_length=255)]
    content: Base64 = Field(repr=False)
    content_type: MediaType = "application/octet-stream"


class EmailBody(Body):
    """The request of `POST /api/v1/emails`. Unknown members are ignored, as Sendex does."""

    sender: Email | None = Field(default=None, alias="from")
    from_name: Line = ""
    to: Emails
    cc: Emails = []
    bcc: Emails = []
    reply_to: Emails = []
    subject: Annotated[Line, Field(min_length=1, max_length=998)]
    text: Text | None = None
    html: Text | None = None
    headers: dict[str, Line] = {}
    attachments: list[AttachmentBody] = []


def together(value: dict[str, Any], default: Address | None) -> list[Fault]:
    """What is wrong with fields together, whatever is wrong with each: so that one answer lists every fault.

    `default`: whom the mail is from where it does not say.
    """
    faults: list[Fault] = []
    if value.get("from") is None and default is None:
        faults.append(Fault("from", "is required: no domain here has a default sender"))
    if value.get("text") is None and value.get("html") is None:
        faults.append(Fault("text", "text or html missing"))
    people = {field: listed(value.get(field)) for field in ("to", "cc", "bcc")}
    total = sum(len(each) for each in people.values() if isinstance(each, list))
    if total > MAX_RECIPIENTS:
        faults.append(
            Fault(
                "to", f"to, cc and bcc have {total} recipients together; {MAX_RECIPIENTS} is the most for one message"
            )
        )
    if people["to"] == [] and "to" in value:
        faults.append(Fault("to", "must name at least one recipient"))
    return faults + header_faults(value.get("headers"))


def read(value: dict[str, Any], default: Address | None) -> Letter:
    body = validated(EmailBody, value, partial(together, default=default))
    files = tuple(Attachment(each.filename, each.content, each.content_type) for each in body.attachments)
    if faults := FILES.faults(files):
        raise Problem(Kind.BAD_REQUEST, faults=tuple(faults))
    return Letter(
        to=mailboxes(body.to),
        cc=mailboxes(body.cc),
        bcc=mailboxes(body.bcc),
        reply_to=mailboxes(body.reply_to),
        author=body.sender,
        author_name=body.from_name,
        subject=body.subject,
        text=body.text,
        html=body.html,
        headers=tuple(body.headers.items()),
        attachments=files,
    )


def mailboxes(addresses: Sequence[Address]) -> tuple[Mailbox, ...]:
    return tuple(map(Mailbox, addresses))


def accepted(letter: Letter, sent: Sent, asked: Asked) -> Response:
    """202: durable and on its way."""
    acceptance = sent.acceptance
    answer: dict[str, Any] = {
        "id": acceptance.public_id,
        "message_id": acceptance.message_id,
        "from": str(sent.author),
        "to": [str(each.address) for each in letter.to],
        "cc": [str(each.address) for each in letter.cc],
        "bcc": [str(each.address) for each in letter.bcc],
        "subject": letter.subject,
        "created_at": rfc3339(acceptance.accepted_at),
    }
    return JSONResponse(answer | ({"warnings": list(sent.warnings)} if sent.warnings else {}), HTTPStatus.ACCEPTED)


class Accepted(BaseModel):
    """A message that is durable and on its way."""

    model_config = ConfigDict(populate_by_name=True)

    id: str
    message_id: str
    sender: str = Field(alias="from")
    to: list[str]
    cc: list[str]
    bcc: list[str]
    subject: str
    created_at: str
    warnings: list[str] | None = None


SEND = Single(NATIVE, "/api/v1/emails", "Send a message", EmailBody, Accepted, HTTPStatus.ACCEPTED, read, accepted)
endpoints = endpoints_of(SEND, "/sendex")
