"""Tells webhooks what the queue itself makes of mail: that it was queued, sent, given up or suppressed.

Nothing is read or written where nobody wants to be told. Whatever makes recipients final calls this in the same
transaction, before anything of the message is forgotten.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, bindparam, select

from relay.delivery import RecipientState
from relay.message import Field
from relay.sealing import SealingError
from relay.store.arriving import NewMessage
from relay.store.events import Event, note
from relay.store.hooks import Hooks, hooks_of
from relay.store.schema import deliveries, messages, recipients

# In each of to, cc and bcc: as many as a message over HTTP has in all. Over SMTP one may have thousands, with an event
# for each: whom that is about is told beside.
MOST_NAMED = 50

_IDS: BindParameter[Any] = bindparam("_ids", expanding=True)
_deliveries = (
    select(
        deliveries.c.id.label("delivery_id"),
        deliveries.c.message_id,
        deliveries.c.account,
        deliveries.c.attempts,
        deliveries.c.possible_duplicates,
        deliveries.c.kind,
        deliveries.c.detail,
        deliveries.c.ses_message_id,
        messages,
    )
    .join(messages, messages.c.id == deliveries.c.message_id)
    .where(deliveries.c.id.in_(_IDS), messages.c.about.is_(None))
    .order_by(deliveries.c.id)
)
_people = select(recipients).where(recipients.c.delivery_id.in_(_IDS)).order_by(recipients.c.id)
_of_messages = (
    select(recipients.c.address, recipients.c.field, deliveries.c.message_id)
    .join(deliveries, deliveries.c.id == recipients.c.delivery_id)
    .where(deliveries.c.message_id.in_(_IDS))
    .order_by(recipients.c.id)
)
TOLD = {
    RecipientState.SENT: "email.sent",
    RecipientState.FAILED: "email.failed",
    RecipientState.SUPPRESSED: "email.suppressed",
}


def announce_queued(db: Connection, items: Sequence[NewMessage]) -> None:
    """Messages that are being accepted."""
    hooks = hooks_of(db)
    if not hooks:
        return
    told = [each for each in items if hooks.wanting(each.tenant_id, "email.queued", each.domain)]
    note(
        db,
        [
            Event(
                "email.queued",
                domain=each.domain,
                tenant_id=each.tenant_id,
                message_id=each.id,
                data={"scheduled_at": each.due_at if each.due_at > each.accepted_at else None},
                letter={"message": _of_new(each, hooks), "recipients": [str(a.address) for a in _addressees(each)]},
            )
            for each in told
        ],
    )


def announce(db: Connection, ids: Sequence[int], state: RecipientState, only: Sequence[str] | None = None) -> None:
    """What the queue made of these deliveries: of their recipients that are in that state, one of TOLD, now.

    SENT: of all that were not suppressed, for an event may have been faster. `only`: of those with these addresses.
    """
    hooks = hooks_of(db)
    if not hooks or not ids:
        return
    type = TOLD[state]
    rows = [
        row for row in db.execute(_deliveries, {"_ids": list(ids)}) if hooks.wanting(row.tenant_id, type, row.domain)
    ]
    if not rows:
        return
    people: dict[int, list[Row[Any]]] = defaultdict(list)
    for person in db.execute(_people, {"_ids": [row.delivery_id for row in rows]}):
        if only is not None and person.address not in only:
            continue
        if person.state == state.value or (
            state is RecipientState.SENT and person.state != RecipientState.SUPPRESSED.value
        ):
            people[person.delivery_id].append(person)
    letters = message_facts(db, hooks, rows)
    note(
        db,
        [
            Event(
                type,
                account=row.account,
                domain=row.domain,
                tenant_id=row.tenant_id,
                message_id=row.message_id,
                data=_data(row, state) | {"recipients": [person.id for person in people[row.delivery_id]]},
                letter={
                    "message": letters[row.message_id] | {"ses_message_id": row.ses_message_id},
                    "recipients": [person.address for person in people[row.delivery_id] if person.address],
                },
            )
            for row in rows
            if people[row.delivery_id]
        ],
    )


def _data(row: Row[Any], state: RecipientState) -> dict[str, Any]:
    if state is RecipientState.SENT:
        return {
            "attempts": row.attempts,
            "possible_duplicates": row.possible_duplicates,
            "ses_message_id": row.ses_message_id,
        }
    return {"reason": row.kind, "detail": row.detail, "attempts": row.attempts}


# -- what a webhook says of a message --------------------------------------------------------------------------------


def message_facts(db: Connection, hooks: Hooks, rows: Iterable[Row[Any]]) -> dict[int, dict[str, Any]]:
    """By id what webhooks are told of messages: rows with all columns of theirs, `message_id` being the id.

    Addresses, subject, metadata and headers come out of the echo, which is there where somebody was to be told when the
    message came; else what is still known of it.
    """
    found: dict[int, Row[Any]] = {row.message_id: row for row in rows}
    echoes = {id: _opened(hooks, row.echo) for id, row in found.items()}
    bare = [id for id, echo in echoes.items() if echo is None]
    people: dict[int, list[Any]] = defaultdict(list)
    if bare:
        for person in db.execute(_of_messages, {"_ids": bare}):
            people[person.message_id].append(person)
    return {
        id: _facts(row) | (_remembered(row, people[id]) if (echo := echoes[id]) is None else echo)
        for id, row in found.items()
    }


def _opened(hooks: Hooks, echo: bytes | None) -> dict[str, Any] | None:
    if echo is None:
        return None
    try:
        return hooks.open(echo)
    except SealingError:  # of another installation's key: what is known otherwise has to do
        return None


def _facts(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.public_id,
        "message_id": row.rfc_message_id,
        "tag": row.tag,
        "stream": row.stream,
        "mode": row.mode,
        "domain": row.domain,
        "created_at": row.accepted_at,
    }


def _remembered(row: Row[Any], people: Sequence[Any]) -> dict[str, Any]:
    return {
        "from": row.header_from,
        "subject": row.subject,
        "metadata": json.loads(row.metadata or "{}"),
        "headers": {},
        **{
            field.value: [each.address for each in people if each.field == field.value and each.address][:MOST_NAMED]
            for field in Field
        },
    }


def _of_new(new: NewMessage, hooks: Hooks) -> dict[str, Any]:
    return {
        "id": new.public_id,
        "message_id": new.rfc_message_id,
        "ses_message_id": None,
        "tag": new.options.tag,
        "stream": new.stream.value,
        "mode": new.mode.value,
        "domain": new.domain,
        "created_at": new.accepted_at,
    } | (_opened(hooks, new.echo) or echo_of(new, None, {}))


def _addressees(new: NewMessage) -> list[Any]:
    return [addressee for delivery in new.deliveries for _, addressee, _ in delivery.recipients]


def echo_of(new: NewMessage, subject: str | None, headers: Mapping[str, str]) -> dict[str, Any]:
    """What webhooks are to say of a message even when it is forgotten here. `headers`: its author's own fields."""
    return {
        "from": new.header_from,
        "subject": subject,
        "metadata": dict(new.options.metadata),
        "headers": dict(headers),
        **{
            field.value: [str(each.address) for each in _addressees(new) if each.field is field][:MOST_NAMED]
            for field in Field
        },
    }
