"""Splits a delivery that SES refused into two halves, so that one bad recipient does not cost the others their mail.

Where the refusal is surely about a recipient, halves are split until the bad one stands alone. Where it may be about
the whole message, splitting ends when both halves are refused with the same words: then it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, literal, select, update

from relay.delivery import Settlement
from relay.message import Ids
from relay.store.clock import clock, milliseconds
from relay.store.rows import put
from relay.store.schema import deliveries, messages, recipients

_ids = Ids()
OTHER_HALF = timedelta(seconds=5)  # how long one half waits for what becomes of the other, which is due before it
COPIED = ("message_id", "domain", "stream", "failures", "possible_duplicates", "first_due_at", "reports", "delay_at")


@dataclass(frozen=True, slots=True)
class Split:
    """A refusal of several recipients. `settlement`: what it comes to where it is not split.

    `is_certain`: it is about a recipient, and not about the message.
    """

    settlement: Settlement
    is_certain: bool


@dataclass(frozen=True, slots=True)
class Half:
    """What became of it: `due_at` is when the delivery is tried again, in milliseconds since 1970; None: nothing was
    written. `other` is the delivery with the rest; None where it only waits for its other half."""

    due_at: int | None
    other: int | None = None


UNDIVIDED = Half(None)


def split(db: Connection, items: Sequence[Split]) -> Sequence[Half]:
    """Split deliveries whose attempt is still the one that was refused. Burns no failure."""
    now = clock(db)
    return [_split(db, item, now) for item in items]


def _split(db: Connection, item: Split, now: int) -> Half:
    said = item.settlement
    query = select(deliveries).where(
        deliveries.c.id == said.delivery_id,
        deliveries.c.state == "sending",
        deliveries.c.attempts == said.seen_attempt,
    )
    row = db.execute(query.with_for_update()).one_or_none()
    if row is None:
        return UNDIVIDED
    waiting = select(recipients.c.id).where(recipients.c.delivery_id == row.id, recipients.c.state == "queued")
    people = db.scalars(waiting.order_by(recipients.c.id)).all()
    if len(people) < 2:
        return UNDIVIDED
    if not item.is_certain and row.half_of is not None:
        other = _other(db, row)
        if other is not None and (other.kind, other.detail) == (_slug(said), said.detail):
            return UNDIVIDED
        if other is not None and other.detail is None and other.state in ("queued", "sending"):
            return _wait(db, said, now)
    return _halve(db, row, people[len(people) // 2 :], now)


def _other(db: Connection, row: Row[Any]) -> Row[Any] | None:
    """The other half; None where that was split again, so that it was refused otherwise, or for a recipient."""
    same = (deliveries.c.message_id == row.message_id, deliveries.c.half_of == row.half_of)
    return db.execute(select(deliveries).where(*same, deliveries.c.id != row.id)).one_or_none()


def _wait(db: Connection, said: Settlement, now: int) -> Half:
    """Ask again when the other half has been tried: what it is told decides for both."""
    due_at = now + milliseconds(OTHER_HALF)
    values = {"state": "queued", "due_at": due_at, "kind": _slug(said), "detail": said.detail}
    db.execute(update(deliveries).where(deliveries.c.id == said.delivery_id).values(values))
    return Half(due_at)


def _halve(db: Connection, row: Row[Any], rest: Sequence[int], now: int) -> Half:
    """Both are due now. What they were refused with is forgotten: a half that has words has them of its own."""
    other, pair = _ids.next(), _ids.next()
    queued = {"state": "queued", "due_at": now, "kind": None, "detail": None, "half_of": pair}
    put(db, deliveries, [{name: row._mapping[name] for name in COPIED} | queued | {"id": other, "attempts": 0}])
    db.execute(update(deliveries).where(deliveries.c.id == row.id).values(queued))
    db.execute(update(recipients).where(recipients.c.id.in_(rest)).values(delivery_id=other))
    grown = messages.c.open_deliveries + literal(1)
    db.execute(update(messages).where(messages.c.id == row.message_id).values(open_deliveries=grown))
    return Half(now, other)


def _slug(said: Settlement) -> str | None:
    return said.kind.slug if said.kind else None
