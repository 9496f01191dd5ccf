"""What a MailerLogic mail is made of (MailerLogic contract 3): read into a letter."""

from __future__ import annotations

import email.utils
import json
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from relay.errors import Fault, Kind, Problem
from relay.http.fields import (
    Base64,
    Body,
    Calendar,
    Domain,
    Email,
    FileLimits,
    Headers,
    Line,
    MediaType,
    Metadata,
    Tag,
    Text,
    header_faults,
)
from relay.http.letter import Attachment, Letter, Mailbox
from relay.http.requests import validated
from relay.message import Address, Options, Stream
from relay.routing import options
from relay.values import MB

MAX_RECIPIENTS = 50  # to, cc and bcc together: what Amazon SES takes (SES fact 1.2)
MAX_FILES = 100
FILES = FileLimits(each=10 * MB, together=25 * MB)  # the HTML counts towards the latter
REPLY_TO = "reply-to"


def _as_texts(value: Any) -> Any:
    """Metadata may have any values; we keep texts, so what is none is kept as JSON."""
    if not isinstance(value, dict):
        return value
    if len(value) > options.MAX_ENTRIES:
        return dict.fromkeys(value, "")  # refused for their number
    return {name: each if isinstance(each, str) else json.dumps(each) for name, each in value.items()}


AnyMetadata = Annotated[
    Metadata,
    BeforeValidator(_as_texts),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": options.MAX_ENTRIES,
            "propertyNames": {"minLength": 1, "maxLength": options.MAX_NAME},
        }
    ),
]
Copies = Annotated[list[Email], Field(max_length=MAX_RECIPIENTS)]


class FileBody(Body):
    """A file of a single mail. Their names are in camel case."""

    filename: Annotated[Line, Field(min_length=1, max_length=255)]
    content: Base64 = Field(repr=False)
    content_type: MediaType = Field(alias="contentType")
    encoding: Literal["base64"] = "base64"


class ItemFileBody(FileBody):
    """A file of a mail in a batch, where `contentType` is not known to be required."""

    content_type: MediaType = Field(default="application/octet-stream", alias="contentType")


class MailBody(Body):
    """A mail. Unknown members are ignored; null is as good as none where one is optional."""

    to: Email = Field(description="the one recipient, besides cc and bcc")
    subject: Annotated[Line, Field(min_length=1, max_length=998)]
    html: Text | None = Field(default=None, repr=False)
    text: Text | None = Field(default=None, repr=False)
    domain: Domain | None = Field(default=None, description="without it, and without `from`: the first verified one")
    sender: Email | None = Field(default=None, alias="from", description="without it, noreply@ the domain")
    reply_to: Email | None = None
    cc: Copies | None = None
    bcc: Copies | None = None
    track_opens: bool | None = None
    track_clicks: bool | None = None
    headers: Headers | None = Field(default=None, repr=False)
    tag: Tag | None = None
    stream_type: Literal["transactional", "broadcast", "shared"] | None = None
    metadata: AnyMetadata | None = Field(default=None, repr=False)
    attachments: Annotated[list[FileBody], Field(max_length=MAX_FILES)] | None = None
    calendar: Calendar | None = Field(default=None, alias="icalEvent", repr=False)


class SendBody(MailBody):
    """The request of `POST /api/v1/send`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "from": "hello@mail.example.org",
                    "to": "ana@example.com",
                    "subject": "Order 9",
                    "html": "<p>Thanks</p>",
                    "text": "Thanks",
                    "stream_type": "transactional",
                    "tag": "orders",
                    "metadata": {"order": "9"},
                    "headers": {"X-Order": "9"},
                }
            ]
        }
    )


class ItemBody(MailBody):
    """A mail of a batch."""

    attachments: Annotated[list[ItemFileBody], Field(max_length=MAX_FILES)] | None = None  # type: ignore[assignment]


def read(value: dict[str, Any], model: type[MailBody] = SendBody) -> Letter:
    """Raises Problem(BAD_REQUEST) with every fault."""
    body = validated(model, value, _together)
    files = tuple(Attachment(each.filename, each.content, each.content_type) for each in (body.attachments or ()))
    reply_to, faults = _reply_to(body)
    faults += FILES.faults(files)
    html_size = len(body.html.encode()) if body.html else 0
    if not faults and html_size + sum(len(file.content) for file in files) > FILES.together:
        faults.append(Fault("attachments", f"are over {FILES.together // MB} MB together with the html"))
    if faults:
        raise Problem(Kind.BAD_REQUEST, faults=tuple(faults))
    return Letter(
        to=(Mailbox(body.to),),
        cc=tuple(map(Mailbox, body.cc or ())),
        bcc=tuple(map(Mailbox, body.bcc or ())),
        reply_to=reply_to,
        author=body.sender,
        domain=body.domain,
        subject=body.subject,
        text=body.text,
        html=body.html,
        headers=tuple((name, line) for name, line in (body.headers or {}).items() if name.lower() != REPLY_TO),
        attachments=files,
        calendar=body.calendar,
        options=Options(
            tag=body.tag,
            metadata=body.metadata or (),
            stream=Stream(body.stream_type or Stream.SHARED),
            track_opens=body.track_opens,
            track_clicks=body.track_clicks,
        ),
    )


def _together(value: dict[str, Any]) -> list[Fault]:
    faults: list[Fault] = []
    if value.get("text") is None and value.get("html") is None:
        faults.append(Fault("text", "text or html missing"))
    total = 1 + sum(len(value[name]) for name in ("cc", "bcc") if isinstance(value.get(name), list))
    if total > MAX_RECIPIENTS:
        faults.append(
            Fault("cc", f"to, cc and bcc have {total} recipients together; {MAX_RECIPIENTS} is the most for one mail")
        )
    return faults + header_faults(value.get("headers"))


def _reply_to(body: MailBody) -> tuple[tuple[Mailbox, ...], list[Fault]]:
    """Where answers go: the field, or else what stands in the headers."""
    if body.reply_to is not None:
        return (Mailbox(body.reply_to),), []
    given = next((line for name, line in (body.headers or {}).items() if name.lower() == REPLY_TO), None)
    if given is None:
        return (), []
    try:
        found = tuple(
            Mailbox(Address.parse(address), str(make_header(decode_header(name))))
            for name, address in email.utils.getaddresses([given])
        )
    except (Problem, HeaderParseError, LookupError, UnicodeError):
        found = ()
    return found, [] if found else [Fault("headers.Reply-To", "is not an address, or a list of some")]
