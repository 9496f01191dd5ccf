"""The one path that two products share: `POST /api/send`, SendFleet's without its slash, and an old MailerLogic's."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from relay.http.dialects.mailerlogic import MAILERLOGIC
from relay.http.dialects.mailerlogic_routes import SEND as MAILERLOGIC_SEND
from relay.http.dialects.sendfleet import SEND as SENDFLEET_SEND
from relay.http.posting import one
from relay.http.state import dialect_of_request
from relay.http.table import Endpoint

PATH = "/api/send"

_sendfleet, _mailerlogic = one(SENDFLEET_SEND), one(MAILERLOGIC_SEND)


async def _send(request: Request) -> Response:
    """The form of its key decided whose request it is (choosing.py)."""
    send = _mailerlogic if dialect_of_request(request.scope) is MAILERLOGIC else _sendfleet
    return await send(request)


endpoints = [
    Endpoint("POST", PATH, _send, (SENDFLEET_SEND, MAILERLOGIC_SEND)),
    Endpoint("POST", f"/sendfleet{PATH}", _sendfleet, SENDFLEET_SEND),
]
