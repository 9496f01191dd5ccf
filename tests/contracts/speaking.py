"""The same mail in each dialect's words: what the tests across dialects have in common."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.contracts.scene import Header, Scene
from tests.support import Answer


@dataclass(frozen=True)
class File:
    filename: str
    content: bytes
    media_type: str

    @property
    def base64(self) -> str:
        return base64.b64encode(self.content).decode()


@dataclass(frozen=True)
class Mail:
    """What can be said in several dialects. `hidden` are its bcc."""

    author: str
    to: str = "ana@one.test"
    name: str = ""
    subject: str = "Order 9: grüße"
    text: str = "Hi Ana,\nthanks für all.\n"
    html: str = "<p>Hi Ana,</p>\n<p>thanks für all.</p>\n"
    reply_to: str = ""
    copies: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    files: tuple[File, ...] = ()
    calendar: str = ""


def without_nothing(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value}


def sendfleet(mail: Mail) -> dict[str, Any]:
    assert not any((mail.copies, mail.hidden, mail.headers, mail.files, mail.calendar))  # it has none of these
    return without_nothing(
        {
            "to": mail.to,
            "from_email": mail.author,
            "from_name": mail.name,
            "subject": mail.subject,
            "message": mail.text,
            "html": mail.html,
            "reply_to": mail.reply_to,
        }
    )


def sendex(mail: Mail) -> dict[str, Any]:
    assert not any((mail.headers, mail.calendar))
    return native(mail)


def native(mail: Mail) -> dict[str, Any]:
    files = [{"filename": f.filename, "content": f.base64, "content_type": f.media_type} for f in mail.files]
    return without_nothing(
        {
            "from": mail.author,
            "from_name": mail.name,
            "to": mail.to,
            "cc": list(mail.copies),
            "bcc": list(mail.hidden),
            "subject": mail.subject,
            "text": mail.text,
            "html": mail.html,
            "reply_to": mail.reply_to,
            "headers": dict(mail.headers),
            "attachments": files,
            "ical_event": mail.calendar,
        }
    )


def mailerlogic(mail: Mail) -> dict[str, Any]:
    assert not mail.name
    files = [{"filename": f.filename, "content": f.base64, "contentType": f.media_type} for f in mail.files]
    body = {**native(mail), "attachments": files, "icalEvent": mail.calendar, "ical_event": None}
    return without_nothing(body)


def sendmux(mail: Mail) -> dict[str, Any]:
    assert not mail.calendar
    files = [{"filename": f.filename, "content": f.base64, "type": f.media_type} for f in mail.files]
    return without_nothing(
        {
            "from": without_nothing({"email": mail.author, "name": mail.name}),
            "to": {"email": mail.to},
            "cc": [{"email": each} for each in mail.copies],
            "bcc": [{"email": each} for each in mail.hidden],
            "subject": mail.subject,
            "text_body": mail.text,
            "html_body": mail.html,
            "reply_to": {"email": mail.reply_to} if mail.reply_to else None,
            "custom_headers": dict(mail.headers),
            "attachments": files,
        }
    )


@dataclass(frozen=True)
class Dialect:
    """How one product is spoken to. `told` finds the words for a refusal in its body."""

    name: str
    path: str
    header: Header
    say: Callable[[Mail], dict[str, Any]]
    success: int
    id_of: Callable[[Any], str]
    told: Callable[[Any], Any]

    @property
    def mount(self) -> str:
        return f"/{self.name}" if self.name != "native" else ""

    def send(self, scene: Scene, mail: Mail, key: str = "full", **more: Any) -> Answer:
        """`more`: members in its own words; headers as `Idempotency_Key`."""
        headers = {name.replace("_", "-"): more.pop(name) for name in list(more) if name[0].isupper()}
        body = {**self.say(mail), **more}
        return scene.call("POST", self.path, body, key=key, header=self.header, **headers)


SENDFLEET = Dialect(
    "sendfleet",
    "/api/send/",
    "x-api-key",
    sendfleet,
    200,
    lambda body: body["message_id"],
    lambda body: body.get("error"),
)
SENDEX = Dialect(
    "sendex", "/sendex/api/v1/emails", "authorization", sendex, 202, lambda body: body["id"], lambda body: body["error"]
)
MAILERLOGIC = Dialect(
    "mailerlogic",
    "/api/v1/send",
    "x-api-key",
    mailerlogic,
    200,
    lambda body: body["email_id"],
    lambda body: body["error"],
)
SENDMUX = Dialect(
    "sendmux",
    "/api/v1/emails/send",
    "authorization",
    sendmux,
    200,
    lambda body: body["data"]["message_id"],
    lambda body: body["error"]["code"],
)
NATIVE = Dialect(
    "native", "/api/v1/emails", "authorization", native, 202, lambda body: body["id"], lambda body: body["error"]
)
DIALECTS = (SENDFLEET, SENDEX, MAILERLOGIC, SENDMUX, NATIVE)
