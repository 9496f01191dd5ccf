"""What Sendmux serves beside sending: whose a key is, and a clear word about uploads (contract 4.4, 4.5)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from relay.declared import Permission
from relay.errors import Kind, Problem
from relay.http.dialects.sendmux import MOUNT
from relay.http.dialects.sendmux_errors import Meta
from relay.http.management.answers import ROOT, single
from relay.http.management.asking import Nothing
from relay.http.management.rules import Call, Rule, endpoints_of
from relay.http.state import State
from relay.http.table import Endpoint
from relay.store.directory.installation import shown
from relay.values import Section

SENDING = "email.send"  # what every key may do in this dialect, and all that there is to do


class Anything(Section):
    """A query that is not looked at: clients of theirs may say which of their two APIs they mean."""

    model_config = ConfigDict(extra="ignore")


class Team(BaseModel):
    """A tenant."""

    id: str
    name: str


class KeyShown(BaseModel):
    id: str
    type: Literal["api_key"]
    name: str | None


class Mailbox(BaseModel):
    """Theirs; there are none here."""

    id: str
    email: str


class Me(BaseModel):
    """`label` is the key's name too, and its prefix where it has none."""

    team: Team
    credential: KeyShown
    label: str
    permissions: list[str]
    mailboxes: list[Mailbox]


class MeAnswer(BaseModel):
    """The envelope of a success."""

    ok: Literal[True]
    data: Me
    meta: Meta


async def show(call: Call[Anything, Nothing]) -> Response:
    key, tenant = call.key, call.credential.tenant
    data: dict[str, Any] = {
        "team": {"id": shown(tenant.id), "name": tenant.name},
        "credential": {"id": shown(key.id), "type": "api_key", "name": key.name or None},
        "label": key.name or key.prefix,
        "permissions": [SENDING],
        "mailboxes": [],
    }
    around = {"ok": True, "meta": {"request_id": call.request.state.request_id}}
    return single(call.request, data, around=around)


async def no_uploads(request: Request) -> Response:
    """Raises Problem(NOT_FOUND), which says what to do instead."""
    state: State = request.app.state.relay
    state.authenticate(request)
    raise Problem(
        Kind.NOT_FOUND, "files are not uploaded here: give them in `attachments` with `filename` and base64 `content`"
    )


ME = Rule("GET", "/me", Permission.SEND_ONLY, show, "Show whose key it is", query=Anything, answer=MeAnswer)
UPLOADS = (("POST", "/emails/attachments"), ("POST", "/emails/attachment-uploads"))

endpoints = [
    *endpoints_of([ME], MOUNT),
    *(Endpoint(method, mount + ROOT + path, no_uploads) for mount in ("", MOUNT) for method, path in UPLOADS),
]
