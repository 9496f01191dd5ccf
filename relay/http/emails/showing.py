"""What became of messages, for whoever sent them."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from relay.declared import Permission
from relay.delivery import State as DeliveryState
from relay.errors import Kind, Problem
from relay.http.state import State
from relay.message import public_id_of
from relay.store import listing
from relay.store.clock import rfc3339
from relay.store.listing import MessageView


async def retrieve(request: Request) -> Response:
    """What became of one message of the key's tenant. Needs a `full` key."""
    state: State = request.app.state.relay
    credential = state.authenticate(request)
    credential.require(Permission.FULL)
    public_id = public_id_of(request.path_params["id"])
    if public_id is None:
        raise Problem(Kind.NOT_FOUND, "there is no message with this id")
    found = await state.store.read(lambda db: listing.message(db, public_id, credential.tenant_id))
    if found is None:
        raise Problem(Kind.NOT_FOUND, "there is no message with this id")
    if credential.scope is not None and found.domain not in credential.scope:
        raise Problem(Kind.NOT_FOUND, "there is no message with this id")
    return JSONResponse(view(found, state.held(found.domain)))


def view(message: MessageView, held: tuple[Kind, str] | None) -> dict[str, Any]:
    """A message for its sender. Addresses are null once they are forgotten.

    `held`: what keeps its domain's mail; what is queued shows as held then, with the reason, though no row has moved.
    """
    everyone = [(each, person) for each in message.deliveries for person in each.recipients]

    def named(field: str) -> list[str | None]:
        return [person.address for _, person in everyone if person.field == field]

    answer: dict[str, Any] = {
        "id": message.public_id,
        "message_id": message.rfc_message_id,
        "from": message.header_from,
        "to": named("to"),
        "cc": named("cc"),
        "bcc": named("bcc"),
        "subject": message.subject,
        "created_at": rfc3339(message.accepted_at),
        "status": message.state,
        "mode": message.mode,
        "stream": message.stream,
        "scheduled_at": message.scheduled_at and rfc3339(message.scheduled_at),
        "tag": message.tag,
        "metadata": message.metadata,
        "track_opens": message.track_opens,
        "track_clicks": message.track_clicks,
        "dsn": {"ret": message.ret, "envid": message.envid},
        "content_destroyed_at": message.destroyed_at and rfc3339(message.destroyed_at),
        "changes": list(message.ledger),
        "recipients": [
            {
                "address": person.address,
                "status": person.state,
                "updated_at": rfc3339(person.updated_at),
                "dsn": {"notify": person.notify, "orcpt": person.orcpt},
            }
            for _, person in everyone
        ],
        "deliveries": [
            {
                "status": each.state,
                "attempts": each.attempts,
                "failures": each.failures,
                "possible_duplicates": each.possible_duplicates,
                "next_attempt_at": each.due_at and rfc3339(each.due_at),
                "finished_at": each.finished_at and rfc3339(each.finished_at),
                "ses_message_id": each.ses_message_id,
                "reason": each.kind,
                "detail": each.detail,
            }
            for each in message.deliveries
        ],
    }
    if held is not None and message.state == DeliveryState.QUEUED.value:
        kind, detail = held
        answer |= {"status": "held", "held": {"reason": kind.slug, "detail": detail}}
    return answer
