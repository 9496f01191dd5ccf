"""What is shown of the queue: messages with their deliveries and recipients, their content, depths. Reads only."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, or_, select, tuple_

from relay.delivery import State
from relay.errors import Kind
from relay.message import Stream
from relay.store.clock import clock
from relay.store.queue import Queue
from relay.store.schema import contents, deliveries, messages, recipients
from relay.store.settling import FINAL_STATES

# A message's state in one word is that of its deliveries which comes first here: the one most in need of a look.
STATES = ("held", "unknown", "sending", "queued", "failed", "cancelled", "sent")


@dataclass(frozen=True, slots=True)
class RecipientView:
    """One recipient; `id` is of its row. `address` is None once it is forgotten. `notify` and `orcpt` are of DSN, as
    they were given."""

    id: int
    address: str | None
    field: str
    state: str
    updated_at: int
    notify: str | None
    orcpt: str | None


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """One delivery; times in milliseconds since 1970."""

    id: int
    state: str
    attempts: int
    failures: int
    possible_duplicates: int
    first_due_at: int
    due_at: int | None
    finished_at: int | None
    account: str | None
    kind: str | None
    detail: str | None
    ses_message_id: str | None
    recipients: tuple[RecipientView, ...]


@dataclass(frozen=True, slots=True)
class MessageView:
    """One message as an operator or its sender may see it. `id` is that of its row."""

    id: int
    public_id: str
    protocol: str
    domain: str
    mode: str
    stream: str
    mail_from: str | None
    header_from: str | None
    subject: str | None
    rfc_message_id: str
    ledger: tuple[str, ...]
    ret: str | None
    envid: str | None
    tag: str | None
    metadata: dict[str, str]
    track_opens: bool | None
    track_clicks: bool | None
    size: int
    accepted_at: int
    destroyed_at: int | None
    deliveries: tuple[DeliveryView, ...]

    @property
    def state(self) -> str:
        """The state of its deliveries in one word."""
        return min((each.state for each in self.deliveries), key=STATES.index)

    @property
    def scheduled_at(self) -> int | None:
        """When it was due for the first time, if that was later than it came: as asked, or because its key's rate
        made it wait."""
        first = min(each.first_due_at for each in self.deliveries)
        return first if first > self.accepted_at else None

    @property
    def held_because(self) -> dict[str, str] | None:
        """Why one of its deliveries is held: `reason`, a slug of the table of troubles, and `detail`, its words."""
        held = next((each for each in self.deliveries if each.state == State.HELD.value), None)
        if held is None:
            return None
        return {"reason": held.kind or Kind.HELD.slug, "detail": held.detail or Kind.HELD.title}


def message(db: Connection, public_id: str, tenant_id: int | None = None) -> MessageView | None:
    """One message, of that tenant only if one is named."""
    which = select(messages).where(messages.c.public_id == public_id)
    if tenant_id is not None:
        which = which.where(messages.c.tenant_id == tenant_id)
    return next(iter(views(db, which)), None)


def views(db: Connection, which: Select[Any]) -> list[MessageView]:
    """The messages that `which` finds, in its order."""
    found = db.execute(which).all()
    rows = db.execute(
        select(deliveries).where(deliveries.c.message_id.in_([each.id for each in found])).order_by(deliveries.c.id)
    ).all()
    people: dict[int, list[RecipientView]] = defaultdict(list)
    for person in db.execute(
        select(recipients).where(recipients.c.delivery_id.in_([row.id for row in rows])).order_by(recipients.c.id)
    ):
        people[person.delivery_id].append(
            RecipientView(
                person.id,
                person.address,
                person.field,
                person.state,
                person.updated_at,
                person.notify,
                person.orcpt,
            )
        )
    parts: dict[int, list[DeliveryView]] = defaultdict(list)
    for row in rows:
        parts[row.message_id].append(_delivery(row, people[row.id]))
    return [
        MessageView(
            id=each.id,
            public_id=each.public_id,
            protocol=each.protocol,
            domain=each.domain,
            mode=each.mode,
            stream=each.stream,
            mail_from=each.mail_from,
            header_from=each.header_from,
            subject=each.subject,
            rfc_message_id=each.rfc_message_id,
            ledger=tuple(json.loads(each.ledger)),
            ret=each.ret,
            envid=each.envid,
            tag=each.tag,
            metadata=json.loads(each.metadata or "{}"),
            track_opens=each.track_opens,
            track_clicks=each.track_clicks,
            size=each.size,
            accepted_at=each.accepted_at,
            destroyed_at=each.destroyed_at,
            deliveries=tuple(parts[each.id]),
        )
        for each in found
    ]


def _delivery(row: Row[Any], people: Sequence[RecipientView]) -> DeliveryView:
    return DeliveryView(
        id=row.id,
        state=row.state,
        attempts=row.attempts,
        failures=row.failures,
        possible_duplicates=row.possible_duplicates,
        first_due_at=row.first_due_at,
        due_at=row.due_at,
        finished_at=row.finished_at,
        account=row.account,
        kind=row.kind,
        detail=row.detail,
        ses_message_id=row.ses_message_id,
        recipients=tuple(people),
    )


@dataclass(frozen=True, slots=True)
class Depth:
    """Open deliveries of one queue in one state, and the oldest due time among them."""

    domain: str
    stream: str
    state: str
    deliveries: int
    oldest_due_at: int


def depths(db: Connection) -> list[Depth]:
    rows = db.execute(
        select(deliveries.c.domain, deliveries.c.stream, deliveries.c.state)
        .add_columns(func.count().label("depth"), func.min(deliveries.c.due_at).label("oldest"))
        .where(deliveries.c.state.not_in(FINAL_STATES))
        .group_by(deliveries.c.domain, deliveries.c.stream, deliveries.c.state)
    )
    return [Depth(row.domain, row.stream, row.state, row.depth, row.oldest) for row in rows]


_next_queue = (
    select(deliveries.c.domain, deliveries.c.stream, deliveries.c.due_at)
    .where(
        deliveries.c.state == "queued",
        tuple_(deliveries.c.domain, deliveries.c.stream) > tuple_(bindparam("domain"), bindparam("stream")),
    )
    .order_by(deliveries.c.domain, deliveries.c.stream, deliveries.c.due_at)
    .limit(1)
)


def waiting(db: Connection) -> dict[Queue, int]:
    """The queues that have something queued, and when its first is due: a step of the index for each, however deep."""
    found: dict[Queue, int] = {}
    at = {"domain": "", "stream": ""}
    while (row := db.execute(_next_queue, at).one_or_none()) is not None:
        found[row.domain, Stream(row.stream)] = row.due_at
        at = {"domain": row.domain, "stream": row.stream}
    return found


def due_counts(db: Connection) -> dict[Queue, int]:
    """How many deliveries are due in each queue: reads all that is queued of their index, some 10 million a second."""
    rows = db.execute(
        select(deliveries.c.domain, deliveries.c.stream, func.count().label("waiting"))
        .where(deliveries.c.state == "queued", deliveries.c.due_at <= clock(db))
        .group_by(deliveries.c.domain, deliveries.c.stream)
    )
    return {(row.domain, Stream(row.stream)): row.waiting for row in rows}


AHEAD_AT_MOST = 100_000  # that are counted


def ahead(db: Connection, queue: Queue, delivery_id: int, due_at: int) -> int:
    """How many deliveries of its queue go before one that is queued there, as far as they are counted."""
    domain, stream = queue
    before = select(deliveries.c.id).where(
        deliveries.c.domain == domain,
        deliveries.c.stream == stream.value,
        deliveries.c.state == "queued",
        deliveries.c.due_at <= due_at,
        or_(deliveries.c.due_at < due_at, deliveries.c.id < delivery_id),
    )
    return db.scalars(select(func.count()).select_from(before.limit(AHEAD_AT_MOST).subquery())).one()


def wrapped_key(db: Connection, message_id: int) -> bytes | None:
    """What opens a message's content; None where it was destroyed."""
    found: bytes | None = db.scalar(select(messages.c.wrapped_key).where(messages.c.id == message_id))
    return found


def count_parts(db: Connection, message_id: int) -> int:
    """How many parts a message's content rests in; 0 where it was destroyed."""
    return db.scalars(select(func.count()).where(contents.c.message_id == message_id)).one()


def sealed_part(db: Connection, message_id: int, part: int) -> bytes:
    """One of them, sealed; b"" where it is not there any more."""
    found: bytes | None = db.scalar(
        select(contents.c.sealed).where(contents.c.message_id == message_id, contents.c.part == part)
    )
    return found or b""
