"""Makes a MIME message of what an HTTP client gave in parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.policy import SMTP

from relay.errors import Kind, Problem
from relay.message import Address

# RFC 2047 words for headers and 7-bit bodies: SES may rewrite 8-bit content (SES fact 1.2). CR LF throughout.
POLICY = SMTP.clone(cte_type="7bit", max_line_length=78)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file to go with the message."""

    filename: str
    content: bytes = field(repr=False)
    content_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Parts:
    """A message before it is one. `headers` are the client's own, already checked."""

    sender: Address
    sender_name: str
    to: Sequence[Address]
    cc: Sequence[Address]
    reply_to: Sequence[Address]
    subject: str = field(repr=False)
    text: str | None = field(repr=False)
    html: str | None = field(repr=False)
    headers: Sequence[tuple[str, str]] = ()
    attachments: Sequence[Attachment] = ()


def compose(parts: Parts) -> bytes:
    """The message's octets, CRLF throughout, no Bcc. Raises Problem(BAD_REQUEST) for what cannot be a header."""
    message = EmailMessage(policy=POLICY)
    try:
        message["From"] = _mailbox(parts.sender, parts.sender_name)
        if parts.to:
            message["To"] = [_mailbox(each) for each in parts.to]
        if parts.cc:
            message["Cc"] = [_mailbox(each) for each in parts.cc]
        if parts.reply_to:
            message["Reply-To"] = [_mailbox(each) for each in parts.reply_to]
        message["Subject"] = parts.subject
        for name, value in parts.headers:
            message[name] = value
    except ValueError as exc:
        raise Problem(Kind.BAD_REQUEST, "a header has a character or form that no header can have") from exc
    if parts.text is not None:
        message.set_content(parts.text)
        if parts.html is not None:
            message.add_alternative(parts.html, subtype="html")
    else:
        message.set_content(parts.html or "", subtype="html")
    for attachment in parts.attachments:
        main, _, sub = attachment.content_type.partition("/")
        message.add_attachment(attachment.content, maintype=main, subtype=sub, filename=attachment.filename)
    return message.as_bytes()


def _mailbox(address: Address, name: str = "") -> HeaderAddress:
    return HeaderAddress(display_name=name, addr_spec=str(address))
