"""Opens a captured message for reading: text, HTML, attachments. For people, so slow and forgiving."""

from __future__ import annotations

from dataclasses import dataclass, field
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message

from relay.sandbox.mime import Headers, read_headers

_SHOWN = 1_000_000  # characters of a part


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    content_type: str
    size: int


@dataclass(slots=True)
class Opened:
    """A message taken apart: its first text and its first HTML part, the rest by name."""

    headers: Headers
    text: str | None = None
    html: str | None = None
    attachments: list[Attachment] = field(default_factory=list)


def open_mail(raw: bytes) -> Opened:
    """Whatever can be read of a message. One that the parser chokes on is shown as plain text."""
    opened = Opened(read_headers(raw))
    try:
        for part in message_from_bytes(raw).walk():
            if not part.is_multipart():
                _add(opened, part)
    except Exception:  # hostile mail finds new ones, RecursionError among them
        return Opened(opened.headers, text=raw.decode("utf-8", "replace")[:_SHOWN])
    return opened


def decode_words(value: str) -> str:
    """A header value with its encoded words (RFC 2047) decoded, or as it is."""
    try:
        return str(make_header(decode_header(value)))
    except (ValueError, LookupError):
        return value


def _add(opened: Opened, part: Message) -> None:
    payload = part.get_payload(decode=True)
    content = payload if isinstance(payload, bytes) else b""
    kind = part.get_content_type()
    name = part.get_filename()
    is_attached = part.get_content_disposition() == "attachment" or name is not None
    if kind == "text/plain" and opened.text is None and not is_attached:
        opened.text = _decode(content, part)
    elif kind == "text/html" and opened.html is None and not is_attached:
        opened.html = _decode(content, part)
    else:
        opened.attachments.append(Attachment(decode_words(name or "(no name)"), kind, len(content)))


def _decode(content: bytes, part: Message) -> str:
    try:
        text = content.decode(part.get_content_charset("utf-8"), "replace")
    except (LookupError, ValueError):
        text = content.decode("utf-8", "replace")
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "\n[...]"
