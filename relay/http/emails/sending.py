"""`POST /api/v1/emails`: one message, as JSON, as a form with files, or whole."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from relay.http.dialects.dialect import Single
from relay.http.dialects.native import NATIVE
from relay.http.emails import form, raw
from relay.http.emails.accepted import Accepted, accepted, rehearsed
from relay.http.emails.form import FORM
from relay.http.emails.raw import RAW
from relay.http.emails.request import EmailBody, read
from relay.http.posting import one, posted
from relay.http.table import Endpoint

SEND = Single(
    NATIVE, "/api/v1/emails", "Send a message", EmailBody, Accepted, HTTPStatus.ACCEPTED, read, accepted, rehearsed
)
_as_json = one(SEND)


async def send(request: Request) -> Response:
    """Whatever is no form and no whole message is read as JSON, or refused as none."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == FORM:
        boundary = form.boundary_of(request.headers)
        return await posted(
            request,
            SEND,
            lambda octets, default: form.read(octets, boundary, default),
            lambda octets: octets.replace(b"--" + boundary, b""),  # each attempt has a fresh one
        )
    return await raw.send(request, SEND.path) if media == RAW else await _as_json(request)


endpoints = [Endpoint("POST", mount + SEND.path, send, SEND) for mount in ("", "/sendex")]
