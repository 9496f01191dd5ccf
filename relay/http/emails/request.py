"""What `POST /api/v1/emails` takes: a superset of Sendex's request, as a model and as a letter."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, WithJsonSchema

from relay.errors import Fault, Kind, Problem
from relay.http.fields import (
    LONGEST_NAME,
    Base64,
    Body,
    Calendar,
    ContentId,
    Domain,
    Email,
    FileLimits,
    Headers,
    Line,
    MediaType,
    Metadata,
    Moment,
    People,
    Tag,
    Text,
    header_faults,
    ignored,
    listed,
)
from relay.http.letter import Attachment, Letter, TemplateUse
from relay.http.requests import validated
from relay.message import Address, Options, Stream
from relay.routing import options
from relay.store.clock import now_ms
from relay.values import MB

MAX_RECIPIENTS = 50  # to, cc and bcc together (Sendex)
MAX_FILES = 100
FILES = FileLimits(each=7 * MB, together=10 * MB)  # Sendex
LONGEST_SUBJECT = 998
WRITTEN = ("subject", "text", "html")  # what a template has, and a request without one says itself


Filename = Annotated[Line, Field(min_length=1, max_length=255)]


class AttachmentBody(Body):
    """A file. With a `content_id` it is part of the HTML, which shows it by `cid:`."""

    filename: Filename
    content: Base64 = Field(repr=False)
    content_type: MediaType = "application/octet-stream"
    content_id: ContentId | None = None


class TemplateBody(Body):
    """A stored template. Without `version` the newest."""

    name: Annotated[Line, Field(min_length=1, max_length=200, validation_alias=AliasChoices("name", "id"))]
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None


def _template(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


_TEMPLATE_NAME = {"type": "string", "minLength": 1, "maxLength": 200}
_TEMPLATE = {
    "type": "object",
    "properties": {"name": _TEMPLATE_NAME, "version": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}},
    "required": ["name"],
}


class EmailBody(Body):
    """The request of `POST /api/v1/emails`. Unknown members are ignored, as Sendex does, and named in `warnings`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"from": "news@shared.example", "to": "ana@example.com", "subject": "Hi", "text": "Hi Ana"},
                {
                    "from": "news@shared.example",
                    "from_name": "Example News",
                    "to": [{"email": "ana@example.com", "name": "Ana"}, "bo@example.com"],
                    "reply_to": "desk@shared.example",
                    "subject": "Your order 4711",
                    "text": "Thanks, Ana.",
                    "html": '<p>Thanks, Ana. <img src="cid:logo"></p>',
                    "headers": {"X-Order": "4711"},
                    "attachments": [
                        {
                            "filename": "logo.png",
                            "content": "iVBORw0=",
                            "content_type": "image/png",
                            "content_id": "logo",
                        }
                    ],
                    "tag": "orders",
                    "metadata": {"order": "4711"},
                    "stream_type": "transactional",
                },
            ]
        }
    )

    sender: Email | None = Field(default=None, alias="from")
    from_name: Annotated[Line, Field(max_length=LONGEST_NAME)] = ""
    domain: Domain | None = None
    to: People
    cc: People = Field(default_factory=list)  # a default is copied for each request, and slowly
    bcc: People = Field(default_factory=list)
    reply_to: People = Field(default_factory=list)
    subject: Annotated[Line, Field(min_length=1, max_length=LONGEST_SUBJECT)] | None = None
    text: Text | None = Field(default=None, repr=False)
    html: Text | None = Field(default=None, repr=False)
    headers: Headers = Field(default_factory=dict)
    attachments: Annotated[list[AttachmentBody], Field(max_length=MAX_FILES)] = Field(default_factory=list)
    ical_event: Calendar | None = Field(default=None, repr=False)
    template: Annotated[
        TemplateBody | None, BeforeValidator(_template), WithJsonSchema({"anyOf": [_TEMPLATE_NAME, _TEMPLATE]})
    ] = None
    variables: dict[str, Any] = Field(default={}, repr=False)
    missing: Literal["error", "empty"] | None = None
    tag: Tag | None = None
    metadata: Metadata = ()
    stream_type: Literal["transactional", "shared", "broadcast"] | None = None
    track_opens: bool | None = None
    track_clicks: bool | None = None
    scheduled_at: Moment | None = None
    return_path: Email | None = None
    dry_run: bool = False


def read(value: dict[str, Any], default: Address | None) -> Letter:
    """`default`: whom mail without an author is from. Raises Problem(BAD_REQUEST) with every fault."""
    body = validated(EmailBody, value, partial(together, default=default))
    files = tuple(
        Attachment(each.filename, each.content, each.content_type, each.content_id) for each in body.attachments
    )
    faults = FILES.faults(files)
    if body.scheduled_at is not None:
        try:
            options.require_soon(body.scheduled_at, now_ms())
        except options.Wrong as wrong:
            faults.append(Fault("scheduled_at", str(wrong)))
    if faults:
        raise Problem(Kind.BAD_REQUEST, faults=tuple(faults))
    return Letter(
        to=tuple(body.to),
        cc=tuple(body.cc),
        bcc=tuple(body.bcc),
        reply_to=tuple(body.reply_to),
        author=body.sender,
        author_name=body.from_name,
        domain=body.domain,
        subject=body.subject or "",
        text=body.text,
        html=body.html,
        headers=tuple(body.headers.items()),
        attachments=files,
        calendar=body.ical_event,
        options=Options(
            tag=body.tag,
            metadata=body.metadata,
            stream=Stream(body.stream_type) if body.stream_type else None,
            track_opens=body.track_opens,
            track_clicks=body.track_clicks,
            send_at=body.scheduled_at,
        ),
        return_path=body.return_path,
        template=_use(body),
        is_rehearsal=body.dry_run,
        warnings=ignored(value, EmailBody),
    )


def _use(body: EmailBody) -> TemplateUse | None:
    if body.template is None:
        return None
    return TemplateUse(body.template.name, body.template.version, body.variables, body.missing)


def together(value: dict[str, Any], default: Address | None) -> list[Fault]:
    """What is wrong with fields together, whatever is wrong with each: so that one answer lists every fault."""
    faults: list[Fault] = []
    has_template = value.get("template") is not None
    if value.get("subject") is None and not has_template:
        faults.append(Fault("subject", "is required"))
    if value.get("from") is None and value.get("domain") is None and default is None:
        faults.append(Fault("from", "is required: no domain here has a default sender"))
    if has_template:
        faults += [Fault(each, "comes from the template: leave it out") for each in WRITTEN if value.get(each)]
    elif value.get("text") is None and value.get("html") is None:
        faults.append(Fault("text", "text or html missing"))
    if not has_template:
        faults += [
            Fault(each, "is for a template, and none is named") for each in ("variables", "missing") if value.get(each)
        ]
    faults += _people_faults(value)
    headers = value.get("headers")
    if value.get("reply_to") and isinstance(headers, dict) and any(name.lower() == "reply-to" for name in headers):
        faults.append(Fault("reply_to", "is said by a header, too: leave one of them out"))
    return faults + header_faults(headers)


def _people_faults(value: dict[str, Any]) -> list[Fault]:
    faults: list[Fault] = []
    people = {field: listed(value.get(field)) for field in ("to", "cc", "bcc")}
    total = sum(len(each) for each in people.values() if isinstance(each, list))
    if total > MAX_RECIPIENTS:
        faults.append(Fault("to", too_many(total)))
    if people["to"] == [] and "to" in value:
        faults.append(Fault("to", "must name at least one recipient"))
    return faults


def too_many(total: int) -> str:
    return f"to, cc and bcc have {total} recipients together; {MAX_RECIPIENTS} is the most for one message"
