"""What is only good while events of mail may come, and goes after that. In slices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, delete, null, or_, select, update

from relay.store.clock import clock, milliseconds
from relay.store.retention import SLICE, id_of
from relay.store.schema import ECHOES, deliveries, heard, messages, probes, recipients

# SQS keeps an event for 14 days at most (facts: SES, section 5.3).
EVENTS_COME_FOR = timedelta(days=15)
PROBES_KEPT_FOR = timedelta(days=30)


def sweep_heard(db: Connection, items: Sequence[int]) -> Sequence[int | None]:
    """Forget which events were counted, of mail that was over long ago. Takes and returns where a slice begins and
    ends, a row's id; None: at the end."""
    return [_sweep_heard(db, after) for after in items]


def _sweep_heard(db: Connection, after: int) -> int | None:
    now = clock(db)
    seen = db.scalars(
        select(heard.c.about)
        .distinct()
        .where(heard.c.about > after, heard.c.about < id_of(now - milliseconds(EVENTS_COME_FOR)))
        .order_by(heard.c.about)
        .limit(SLICE)
    ).all()
    if not seen:
        return None
    last: int = seen[-1]
    theirs = select(recipients.c.delivery_id).where(recipients.c.id.in_(seen))
    fresh = db.execute(
        select(deliveries.c.id, recipients.c.id)
        .join(recipients, recipients.c.delivery_id == deliveries.c.id)
        .where(deliveries.c.id.in_(seen) | deliveries.c.id.in_(theirs), _is_fresh(now))
    )
    kept = {id for row in fresh for id in row}
    db.execute(delete(heard).where(heard.c.about.in_([about for about in seen if about not in kept])))
    return last


def sweep_echoes(db: Connection, items: Sequence[int]) -> Sequence[int | None]:
    """Forget what webhooks were to say of mail that was over long ago. Slices as above."""
    return [_sweep_echoes(db, after) for after in items]


def _sweep_echoes(db: Connection, after: int) -> int | None:
    now = clock(db)
    seen = db.scalars(
        select(messages.c.id)
        .where(ECHOES, messages.c.id > after, messages.c.id < id_of(now - milliseconds(EVENTS_COME_FOR)))
        .order_by(messages.c.id)
        .limit(SLICE)
    ).all()
    if not seen:
        return None
    last: int = seen[-1]
    fresh = db.scalars(select(deliveries.c.message_id).where(deliveries.c.message_id.in_(seen), _is_fresh(now)))
    over = set(seen) - set(fresh)
    db.execute(update(messages).where(messages.c.id.in_(sorted(over))).values(echo=null()))
    return last


def _is_fresh(now: int) -> ColumnElement[bool]:
    """Whether events of a delivery may still come: mail can be scheduled, and wait, for longer than its row is new."""
    return or_(deliveries.c.finished_at.is_(None), deliveries.c.finished_at > now - milliseconds(EVENTS_COME_FOR))


def sweep_probes(db: Connection, items: Sequence[None]) -> Sequence[int]:
    """Delete probes that were sent too long ago. Returns how many."""
    before = clock(db) - milliseconds(PROBES_KEPT_FOR)
    over = delete(probes).where(probes.c.sent_at < before).returning(probes.c.id)
    return [len(db.execute(over).all()) for _ in items]


WALKS = (sweep_heard, sweep_echoes)  # each goes through its table once, a slice at a time, beginning with 0
