"""What answers about messages look like, for the reference. The views make them; tests hold the two to each other."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field, RootModel

from relay.delivery import RecipientState, State
from relay.http.dialects.mailerlogic_events import MailerLogicEvents as MailerLogicEvents
from relay.http.management.shown import Id, Listed, Shown
from relay.message import Mode, Stream


class MessageBrief(Shown):
    """A message in a list. An address is null once it is forgotten."""

    id: Id
    message_id: str
    sender: str | None = Field(alias="from")
    to: list[str | None]
    cc: list[str | None]
    bcc: list[str | None]
    subject: str | None
    created_at: datetime
    status: State
    mode: Mode
    stream: Stream
    scheduled_at: datetime | None
    tag: str | None


class BounceOptions(Shown):
    """What the sender said of bounces (RFC 3461)."""

    ret: str | None
    envid: str | None


class RecipientOptions(Shown):
    """What the sender said of bounces for one recipient (RFC 3461)."""

    notify: str | None
    orcpt: str | None


class RecipientShown(Shown):
    """What became of one address, which is null once it is forgotten."""

    address: str | None
    status: RecipientState
    updated_at: datetime
    dsn: RecipientOptions


class DeliveryShown(Shown):
    """One call to Amazon SES, for up to 50 recipients."""

    status: State
    attempts: int
    failures: int
    possible_duplicates: int
    next_attempt_at: datetime | None
    finished_at: datetime | None
    ses_message_id: str | None
    reason: str | None
    detail: str | None


class HeldShown(Shown):
    """What keeps the message, or its domain's mail."""

    reason: str
    detail: str


class MessageShown(MessageBrief):
    """A message, with all that is known of it. `estimated_send_at`: of what waits, where nothing holds it."""

    metadata: dict[str, str]
    track_opens: bool | None
    track_clicks: bool | None
    dsn: BounceOptions
    content_destroyed_at: datetime | None
    changes: list[str]
    recipients: list[RecipientShown]
    deliveries: list[DeliveryShown]
    held: HeldShown | None = None
    estimated_send_at: datetime | None = None


class EventShown(Shown):
    """Something that happened to recipients of a message."""

    id: str
    event: str = Field(pattern=r"^email\.[a-z_]+$")
    created_at: datetime
    recipients: list[str | None]
    data: dict[str, Any]


class FileShown(Shown):
    """A file in a message. `size`: in octets, decoded. `dropped`: it was there, and is not kept any more."""

    filename: str | None
    content_type: str
    size: int
    content_id: str | None
    dropped: bool


class ContentShown(Shown):
    """What a message says. `truncated`: its texts are longer, or its files more, than is shown. `size`: as it was sent,
    whatever has been dropped of it since.
    """

    id: Id
    message_id: str
    subject: str
    sender: str | None = Field(alias="from")
    from_name: str
    to: list[str]
    cc: list[str]
    reply_to: list[str]
    text: str | None
    html: str | None
    attachments: list[FileShown]
    size: int
    truncated: bool


class EventsShown(RootModel[Listed[EventShown] | MailerLogicEvents]):
    """What happened to a message; as MailerLogic tells it where the id was a UUID."""
