"""What is kept for a time: attachments that are to be dropped, and rows of the log that are to go. In slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Connection, Table, delete, func, select, tuple_, update

from relay.store.clock import clock, milliseconds
from relay.store.rows import put
from relay.store.schema import (
    SLIMS,
    contents,
    deliveries,
    events,
    heard,
    messages,
    possible_duplicates,
    recipients,
    tallies,
    tenants,
    usage,
)
from relay.store.usage import DAY

SLICE = 500  # rows a sweep looks at in one transaction, so that nobody waits long behind it
AGAIN = timedelta(days=1)  # when content is looked at again that could not be read
COUNTS_KEPT_FOR = timedelta(days=800)  # figures by day: two years back can be compared with, and no person is in them
SEALED_BY = 16  # octets that sealing adds to a part


# -- attachments -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slim:
    """Kept content whose attachments are due to go. `size`: of the message, in octets."""

    id: int
    public_id: str
    size: int
    wrapped_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Slimmed:
    """What is kept of it, sealed under a key of its own. None: there was nothing to drop, and it stays as it is.

    It is written only over the content it was made of, which `seen_key` opens.
    """

    id: int
    seen_key: bytes = field(repr=False)
    wrapped_key: bytes | None = field(default=None, repr=False)
    parts: tuple[bytes, ...] = field(default=(), repr=False)


def due_to_slim(db: Connection, most: int) -> list[Slim]:
    """The first of those that are due, of messages of which nothing is open."""
    rows = db.execute(
        select(messages.c.id, messages.c.public_id, messages.c.size, messages.c.wrapped_key)
        .where(SLIMS, messages.c.slim_at <= clock(db), messages.c.wrapped_key.is_not(None))
        .order_by(messages.c.slim_at)
        .limit(most)
    )
    return [Slim(*row) for row in rows]


def slim(db: Connection, items: Sequence[Slimmed]) -> Sequence[bool]:
    """Put what is left in the place of what was there; the old key goes with it. False where it had changed by then."""
    return [_slim(db, item) for item in items]


def _slim(db: Connection, item: Slimmed) -> bool:
    key = item.wrapped_key or item.seen_key
    written = db.scalar(
        update(messages)
        .where(messages.c.id == item.id, messages.c.wrapped_key == item.seen_key)
        .values(slim_at=None, wrapped_key=key)
        .returning(messages.c.id)
    )
    if written is None:
        return False
    if item.wrapped_key is not None:
        db.execute(delete(contents).where(contents.c.message_id == item.id))
        put(
            db,
            contents,
            [{"message_id": item.id, "part": part, "sealed": sealed} for part, sealed in enumerate(item.parts)],
        )
    return True


def postpone(db: Connection, items: Sequence[int]) -> Sequence[None]:
    """Content that could not be read is looked at again a day later."""
    later = clock(db) + milliseconds(AGAIN)
    db.execute(update(messages).where(messages.c.id.in_(items), messages.c.slim_at.is_not(None)).values(slim_at=later))
    return [None] * len(items)


def kept_size(db: Connection, message_id: int) -> int:
    """Octets of the content as it is kept now, which is less than the message had once its attachments are gone."""
    parts, octets = db.execute(
        select(func.count(), func.coalesce(func.sum(func.length(contents.c.sealed)), 0)).where(
            contents.c.message_id == message_id
        )
    ).one()
    return int(octets) - SEALED_BY * int(parts)


# -- the log ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """One slice of the log: what is older than `keep_for`, after the row id where the last one ended."""

    keep_for: timedelta
    after: int = 0


@dataclass(frozen=True, slots=True)
class Gone:
    """How many messages went, and where the slice ended. None: at the end."""

    messages: int
    after: int | None


def sweep_log(db: Connection, items: Sequence[Look]) -> Sequence[Gone]:
    """Delete messages with their deliveries and recipients. What is open, or has content that is kept, stays."""
    return [_sweep_log(db, item) for item in items]


def _sweep_log(db: Connection, item: Look) -> Gone:
    before = id_of(clock(db) - milliseconds(item.keep_for))
    seen = db.execute(
        select(messages.c.id, messages.c.open_deliveries, messages.c.wrapped_key.is_not(None).label("is_kept"))
        .where(messages.c.id > item.after, messages.c.id < before)
        .order_by(messages.c.id)
        .limit(SLICE)
    ).all()
    over = _few_rows(db, [row.id for row in seen if not row.open_deliveries and not row.is_kept])
    delete_messages(db, over)
    done = [row.id for row in seen if row.id <= over[-1]] if over else [row.id for row in seen]
    return Gone(len(over), done[-1] if done else None)


def id_of(at: int) -> int:
    """The least id a row can have that was made then (message.Ids)."""
    return max(0, at) << 21


def _few_rows(db: Connection, ids: Sequence[int]) -> Sequence[int]:
    """As many of the messages, in order, as have SLICE deliveries together; always the first."""
    if not ids:
        return ids
    counts: dict[int, int] = dict(
        db.execute(
            select(deliveries.c.message_id, func.count())
            .where(deliveries.c.message_id.in_(ids))
            .group_by(deliveries.c.message_id)
        ).all()
    )
    total = 0
    for place, message_id in enumerate(ids):
        total += counts.get(message_id, 0)
        if total > SLICE and place:
            return ids[:place]
    return ids


def delete_messages(db: Connection, ids: Sequence[int]) -> None:
    """All rows of messages of which nothing is open."""
    if not ids:
        return
    theirs = select(deliveries.c.id).where(deliveries.c.message_id.in_(ids))
    people = select(recipients.c.id).where(recipients.c.delivery_id.in_(theirs))
    db.execute(delete(heard).where(heard.c.about.in_(theirs)))
    db.execute(delete(heard).where(heard.c.about.in_(people)))
    db.execute(delete(recipients).where(recipients.c.delivery_id.in_(theirs)))
    db.execute(delete(deliveries).where(deliveries.c.message_id.in_(ids)))
    db.execute(delete(contents).where(contents.c.message_id.in_(ids)))
    db.execute(delete(messages).where(messages.c.id.in_(ids)))


def sweep_events(db: Connection, items: Sequence[timedelta]) -> Sequence[int]:
    """Delete events that are older than each span, one slice. Returns how many."""
    return [_sweep_events(db, item) for item in items]


def _sweep_events(db: Connection, keep_for: timedelta) -> int:
    before = id_of(clock(db) - milliseconds(keep_for))
    over = select(events.c.id).where(events.c.id < before).order_by(events.c.id).limit(SLICE)
    return len(db.execute(delete(events).where(events.c.id.in_(over)).returning(events.c.id)).all())


def sweep_counts(db: Connection, items: Sequence[None]) -> Sequence[int]:
    """Delete figures of days that are too long ago, one slice of each. Returns how many rows that were."""
    day = (clock(db) - milliseconds(COUNTS_KEPT_FOR)) // DAY
    return [
        _before(db, possible_duplicates, "day", day)
        + sum(_before(db, table, "day", day, of_tenants=True) for table in (usage, tallies))
        for _ in items
    ]


def _before(db: Connection, table: Table, column: str, end: int, *, of_tenants: bool = False) -> int:
    """`of_tenants`: the key begins with the tenant, and each has a range of its own to look at."""
    key = tuple(table.primary_key.columns)
    over = select(*key).where(table.c[column] < end).limit(SLICE)
    if of_tenants:
        over = over.where(table.c.tenant_id.in_(select(tenants.c.id)))
    return len(db.execute(delete(table).where(tuple_(*key).in_(over)).returning(table.c[column])).all())
