"""What is late, for the senders who asked to be told: looked for from time to time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, select, update

from relay.delivery import RecipientState, State
from relay.store.clock import clock, milliseconds
from relay.store.reports import Told, reporter_of, tell
from relay.store.schema import DELAYS, deliveries

SLICE = 500  # deliveries looked at in one transaction, so that nobody waits long behind it
LOOK_AGAIN = timedelta(minutes=1)  # at what is late, but is being sent at the moment


@dataclass(frozen=True, slots=True)
class Late:
    """One slice of what was to be looked at: how many deliveries, and what was told of them."""

    seen: int
    told: tuple[Told, ...]


def sweep_late(db: Connection, items: Sequence[None]) -> Sequence[Late]:
    """Tell senders who asked for it that their mail is late, once."""
    now = clock(db)
    return [_sweep_late(db, now) for _ in items]


def _sweep_late(db: Connection, now: int) -> Late:
    rows = db.execute(
        select(*deliveries.c["id", "state", "first_due_at", "delay_at"])
        .where(DELAYS, deliveries.c.delay_at <= now)
        .order_by(deliveries.c.delay_at)
        .limit(SLICE)
    ).all()
    late = [row.id for row in rows if _is_late(db, row, now)]
    return Late(len(rows), tell(db, late, [RecipientState.QUEUED], now))


def _is_late(db: Connection, row: Row[Any], now: int) -> bool:
    """Whether it is to be told now. What was put off by hand, or is being sent, is looked at again."""
    again = _again(db, row, now)
    same = and_(deliveries.c.id == row.id, deliveries.c.state == row.state, deliveries.c.delay_at == row.delay_at)
    found = db.scalar(update(deliveries).where(same).values(delay_at=again).returning(deliveries.c.id))
    return found is not None and again is None and not State(row.state).is_final


def _again(db: Connection, row: Row[Any], now: int) -> int | None:
    reporter = reporter_of(db)
    if State(row.state).is_final or reporter is None:
        return None
    due_at: int = row.first_due_at + milliseconds(reporter.reporting.delay_after)
    if due_at > now:
        return due_at
    return now + milliseconds(LOOK_AGAIN) if row.state == State.SENDING.value else None
