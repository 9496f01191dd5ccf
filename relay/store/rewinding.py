"""After the clock was set back: what waits for a span of time waits no longer. What was set for a moment stays so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Row, and_, bindparam, func, not_, select, tuple_, update

from relay.store.clock import clock
from relay.store.queue import Queue
from relay.store.schema import WAITING, deliveries, messages
from relay.store.sweeping import SLICE

Place = tuple[int, int]  # in a queue: when it is due, and its id
START: Place = (0, 0)


@dataclass(frozen=True, slots=True)
class Rewind:
    """`by`: milliseconds. `after`: how far the one before came; what was moved is behind it, so nothing moves twice."""

    queue: Queue
    by: int
    after: Place = START


# Set for a moment, which is when it is to be sent, whatever the clock said in between.
_SCHEDULED = and_(deliveries.c.due_at == deliveries.c.first_due_at, deliveries.c.first_due_at > messages.c.accepted_at)

_move = (
    update(deliveries)
    .where(
        deliveries.c.id == bindparam("_id"), deliveries.c.state == "queued", deliveries.c.due_at == bindparam("_seen")
    )
    .values(due_at=bindparam("_due_at"), first_due_at=bindparam("_first_due_at"))
)


def rewind(db: Connection, items: Sequence[Rewind]) -> Sequence[Place | None]:
    """Move a slice of a queue. Returns where to go on; None at its end."""
    return [_rewind(db, item, clock(db)) for item in items]


def _rewind(db: Connection, item: Rewind, now: int) -> Place | None:
    domain, stream = item.queue
    rows = db.execute(
        select(deliveries.c.id, deliveries.c.due_at, deliveries.c.first_due_at)
        .join(messages, messages.c.id == deliveries.c.message_id)
        .where(
            deliveries.c.domain == domain,
            deliveries.c.stream == stream.value,
            deliveries.c.state == "queued",
            deliveries.c.due_at > now,
            tuple_(deliveries.c.due_at, deliveries.c.id) > item.after,
            not_(_SCHEDULED),
        )
        .order_by(deliveries.c.due_at, deliveries.c.id)
        .limit(SLICE)
    ).all()
    if rows:
        db.execute(_move, [_moved(row, item.by, now) for row in rows])
    return (rows[-1].due_at, rows[-1].id) if len(rows) == SLICE else None


def _moved(row: Row[int, int, int], by: int, now: int) -> dict[str, int]:
    """Never into the past: each start may move again what was moved before, and no mail is to seem too old by that."""
    due_at = max(row.due_at - by, now)
    first_due_at = min(row.first_due_at, due_at)
    return {"_id": row.id, "_seen": row.due_at, "_due_at": due_at, "_first_due_at": first_due_at}


def rewind_unknown(db: Connection, items: Sequence[int]) -> Sequence[None]:
    """The same, by so many milliseconds, for outcomes that are still to be learnt. There are few: calls under way."""
    for by in items:
        db.execute(
            update(deliveries)
            .where(WAITING, deliveries.c.state == "unknown", deliveries.c.due_at > clock(db))
            .values(due_at=deliveries.c.due_at - by)
        )
    return [None for _ in items]


def newest(db: Connection) -> int:
    """When the last message was accepted, in milliseconds, by the clock as it was then; 0 where there is none."""
    last = select(func.max(messages.c.id)).scalar_subquery()
    return db.scalar(select(messages.c.accepted_at).where(messages.c.id == last)) or 0
