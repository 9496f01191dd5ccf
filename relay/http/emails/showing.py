"""What became of messages, for whoever sent them: one of them, found by any form of its id."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from relay.delivery import State as DeliveryState
from relay.errors import Kind, Problem
from relay.http.management.answers import View, moment, single
from relay.http.management.asking import Nothing
from relay.http.management.rules import Call
from relay.message import Stream, public_id_of
from relay.store import listing
from relay.store.clock import rfc3339
from relay.store.listing import MessageView

Held = tuple[Kind, str] | None  # what keeps a domain's queued mail, and in which words


async def retrieve(call: Call[Nothing, Nothing]) -> Response:
    return single(call.request, await told(call, await found(call)))


async def told(call: Call[Any, Any], message: MessageView) -> View:
    """A message, and when it will be tried."""
    return shown(call, message) | {"estimated_send_at": moment(await _expected(call, message))}


async def found(call: Call[Any, Any]) -> MessageView:
    """The message of the path, if it is one of the key's tenant and domains. Raises Problem(NOT_FOUND)."""
    credential = call.credential
    public_id = public_id_of(call.named("id"))
    if public_id is not None:
        message = await call.state.store.read(lambda db: listing.message(db, public_id, credential.tenant_id))
        if message is not None and (credential.scope is None or message.domain in credential.scope):
            return message
    raise Problem(Kind.NOT_FOUND, "there is no message with this id")


def shown(call: Call[Any, Any], message: MessageView) -> View:
    return view(message, call.state.held(message.domain, Stream(message.stream)))


async def _expected(call: Call[Any, Any], message: MessageView) -> int | None:
    """When the first of its deliveries that wait will be tried, about, in milliseconds since 1970; None if nobody can
    say, and where none waits."""
    queue = (message.domain, Stream(message.stream))
    waiting = [(each.due_at, each.id) for each in message.deliveries if each.state == DeliveryState.QUEUED.value]
    if not waiting:
        return None
    due_at, delivery_id = min((due_at or 0, delivery_id) for due_at, delivery_id in waiting)
    ahead = await call.state.store.read(lambda db: listing.ahead(db, queue, delivery_id, due_at))
    return call.state.estimate(queue, due_at, ahead)


def status(message: MessageView, held: Held) -> str:
    """Its state in one word. What is queued shows as held where its domain's mail is, though no row has moved."""
    is_held = held is not None and message.state == DeliveryState.QUEUED.value
    return DeliveryState.HELD.value if is_held else message.state


def brief(message: MessageView, held: Held) -> View:
    """A message in a list. Addresses are null once they are forgotten."""
    everyone = [person for each in message.deliveries for person in each.recipients]

    def named(field: str) -> list[str | None]:
        return [person.address for person in everyone if person.field == field]

    return {
        "id": message.public_id,
        "message_id": message.rfc_message_id,
        "from": message.header_from,
        "to": named("to"),
        "cc": named("cc"),
        "bcc": named("bcc"),
        "subject": message.subject,
        "created_at": rfc3339(message.accepted_at),
        "status": status(message, held),
        "mode": message.mode,
        "stream": message.stream,
        "scheduled_at": moment(message.scheduled_at),
        "tag": message.tag,
    }


def view(message: MessageView, held: Held) -> View:
    """A message for its sender, with all that is known of it."""
    answer: View = brief(message, held) | {
        "metadata": message.metadata,
        "track_opens": message.track_opens,
        "track_clicks": message.track_clicks,
        "dsn": {"ret": message.ret, "envid": message.envid},
        "content_destroyed_at": moment(message.destroyed_at),
        "changes": list(message.ledger),
        "recipients": [
            {
                "address": person.address,
                "status": person.state,
                "updated_at": rfc3339(person.updated_at),
                "dsn": {"notify": person.notify, "orcpt": person.orcpt},
            }
            for each in message.deliveries
            for person in each.recipients
        ],
        "deliveries": [
            {
                "status": each.state,
                "attempts": each.attempts,
                "failures": each.failures,
                "possible_duplicates": each.possible_duplicates,
                "next_attempt_at": moment(each.due_at),
                "finished_at": moment(each.finished_at),
                "ses_message_id": each.ses_message_id,
                "reason": each.kind,
                "detail": each.detail,
            }
            for each in message.deliveries
        ],
    }
    if message.held_because is not None:
        answer["held"] = message.held_because
    elif held is not None and message.state == DeliveryState.QUEUED.value:
        kind, detail = held
        answer["held"] = {"reason": kind.slug, "detail": detail}
    return answer
