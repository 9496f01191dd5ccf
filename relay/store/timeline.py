"""What happened to a message, in order: what its rows say now, and what was written down as it happened."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, select

from relay.delivery import RecipientState, State
from relay.store.clock import rfc3339
from relay.store.journal import event_id, outward
from relay.store.listing import DeliveryView, MessageView, RecipientView
from relay.store.schema import events

MOST = 5000  # events of one message that are read: whoever opens it once more is not counted for ever

FINISHED = {
    State.SENT.value: "email.sent",
    State.FAILED.value: "email.failed",
    State.CANCELLED.value: "email.cancelled",
}
TOLD = {  # recipients' states that say more than that of their delivery
    each.value: f"email.{each.value}"
    for each in (
        RecipientState.DELAYED,
        RecipientState.SUPPRESSED,
        RecipientState.REJECTED,
        RecipientState.SOFT_BOUNCED,
        RecipientState.DELIVERED,
        RecipientState.BOUNCED,
        RecipientState.COMPLAINED,
    )
}
# What the queue itself does is in the rows of every message, but written down only where a webhook is told of it.
OF_QUEUE = {"email.queued", "email.scheduled", "email.suppressed", *FINISHED.values()}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to recipients of a message. `at` in milliseconds since 1970."""

    id: str
    name: str
    at: int
    recipients: tuple[RecipientView, ...]
    details: Mapping[str, Any]


def timelines(db: Connection, messages: Sequence[MessageView]) -> dict[int, list[Event]]:
    """By the id of its row what happened to each, the oldest first.

    What was overtaken (an attempt that failed before one that did not) is not there. An event that the rows and the
    journal both tell is there once.
    """
    noted: dict[int, list[Row[Any]]] = defaultdict(list)
    which = select(events).where(events.c.message_id.in_([each.id for each in messages]))
    for row in db.execute(which.order_by(events.c.id).limit(MOST * max(1, len(messages)))):
        if len(noted[row.message_id]) < MOST:
            noted[row.message_id].append(row)
    return {each.id: _timeline(each, noted[each.id]) for each in messages}


def timeline(db: Connection, message: MessageView) -> list[Event]:
    return timelines(db, [message])[message.id]


def _timeline(message: MessageView, noted: Sequence[Row[Any]]) -> list[Event]:
    return merged(list(_of_rows(message)), list(_of_journal(message, noted)))


def merged(of_rows: Sequence[Event], of_journal: Sequence[Event]) -> list[Event]:
    """Both, without what one only repeats: of what the queue did the rows know more, of the rest the journal."""
    queue = _without([each for each in of_journal if each.name in OF_QUEUE], of_rows)
    heard = [each for each in of_journal if each.name not in OF_QUEUE]
    return sorted([*_without(of_rows, heard), *queue, *heard], key=lambda event: event.at)


def _without(told: Iterable[Event], others: Sequence[Event]) -> list[Event]:
    """What is told, of the recipients of whom the others do not tell the same. What names nobody is of all."""
    names = {each.name for each in others}
    known = {(each.name, person.id) for each in others for person in each.recipients}
    found = []
    for each in told:
        left = tuple(person for person in each.recipients if (each.name, person.id) not in known)
        if left or (not each.recipients and each.name not in names):
            found.append(replace(each, recipients=left))
    return found


# -- what the rows say -----------------------------------------------------------------------------------------------


def _of_rows(message: MessageView) -> Iterator[Event]:
    everyone = tuple(person for each in message.deliveries for person in each.recipients)

    def event(number: int, name: str, at: int, people: Sequence[RecipientView], **details: str | int | None) -> Event:
        return Event(f"{message.public_id}-{number}-{name.partition('.')[2]}", name, at, tuple(people), details)

    yield event(0, "email.queued", message.accepted_at, everyone)
    if message.scheduled_at is not None:
        yield event(0, "email.scheduled", message.accepted_at, everyone, scheduled_at=rfc3339(message.scheduled_at))
    for number, each in enumerate(message.deliveries, 1):
        if each.finished_at is not None:
            yield event(number, FINISHED[each.state], each.finished_at, _asked(each), **_details(each))
        later: dict[tuple[str, int], list[RecipientView]] = defaultdict(list)
        for person in each.recipients:
            if person.state in TOLD:
                later[person.state, person.updated_at].append(person)
        for (state, at), people in later.items():
            yield event(number, TOLD[state], at, people, ses_message_id=each.ses_message_id)


def _asked(delivery: DeliveryView) -> list[RecipientView]:
    """Those whom SES was to send it to, or was not any more."""
    return [person for person in delivery.recipients if person.state != RecipientState.SUPPRESSED.value]


def _details(delivery: DeliveryView) -> dict[str, str | int | None]:
    return {
        "attempts": delivery.attempts,
        "possible_duplicates": delivery.possible_duplicates,
        "ses_message_id": delivery.ses_message_id,
        "reason": delivery.kind,
        "detail": delivery.detail,
    }


# -- what was written down -------------------------------------------------------------------------------------------


def _of_journal(message: MessageView, rows: Iterable[Row[Any]]) -> Iterator[Event]:
    people = {person.id: person for each in message.deliveries for person in each.recipients}
    sent_at = {
        person.id: each.finished_at
        for each in message.deliveries
        if each.state == State.SENT.value and each.finished_at is not None
        for person in each.recipients
    }
    for row in rows:
        data = json.loads(row.data)
        named = [people[id] for id in data.pop("recipients", []) if id in people]
        # The clocks of SES and of this machine differ, and SES may tell before its answer is written down: nothing is
        # shown before what it followed from.
        at = max([row.at, message.accepted_at, *(sent_at[each.id] for each in named if each.id in sent_at)])
        yield Event(event_id(row.id), row.type, at, tuple(named), outward(data))
