"""The queue's way out: deliveries that are due are taken, each attempt durably started. Functions for the writer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, bindparam, func, select, tuple_, update

from relay.delivery import Delivery, RecipientState, Report, Settlement, State, Tracking
from relay.errors import Kind
from relay.message import Mode, Stream
from relay.store.clock import LEASE, clock, milliseconds
from relay.store.schema import contents, deliveries, messages, recipients
from relay.store.settling import settle
from relay.store.suppressions import suppressed

Queue = tuple[str, Stream]  # (sender domain, stream)
SMALL = 64 << 10  # octets of content that come along when a delivery is taken


@dataclass(frozen=True, slots=True)
class Order:
    """What a lane asks for: queues in the order to look at them, and how many deliveries and recipients it can
    start."""

    account: str
    queues: tuple[Queue, ...]
    deliveries: int
    recipients: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What a lane was given, each attempt durably started.

    `sealed`: the content of the small ones, by message, as it rests; a large one is read when its call is made.
    `next_due`: of the queues that had fewer due than asked for, when the next is due; None for an empty queue.
    """

    started: tuple[Delivery, ...]
    sealed: Mapping[int, bytes] = field(repr=False)
    next_due: Mapping[Queue, int | None]


def take(db: Connection, items: Sequence[Order]) -> Sequence[Taken]:
    return [_take(db, order) for order in items]


_due = (
    select(deliveries.c.id, deliveries.c.attempts)
    .where(
        deliveries.c.domain == bindparam("domain"),
        deliveries.c.stream == bindparam("stream"),
        deliveries.c.state == "queued",
        deliveries.c.due_at <= bindparam("now"),
    )
    .order_by(deliveries.c.due_at, deliveries.c.id)
    .limit(bindparam("most"))
)


def _take(db: Connection, order: Order) -> Taken:
    now = clock(db)
    found: list[tuple[int, int]] = []
    short: list[Queue] = []
    for domain, stream in order.queues:
        most = order.deliveries - len(found)
        if most <= 0:
            break
        rows = db.execute(_due, {"domain": domain, "stream": stream.value, "now": now, "most": most}).all()
        found += [(row.id, row.attempts) for row in rows]
        if len(rows) < most:
            short.append((domain, stream))
    chosen = _within(db, found, order.recipients)
    started = _start(db, chosen, order.account, now)
    small = [each.message_id for each in started if each.size <= SMALL]
    sealed = dict(
        db.execute(select(contents.c.message_id, contents.c.sealed).where(contents.c.message_id.in_(small))).all()
    )
    return Taken(tuple(started), sealed, {queue: next_due(db, queue) for queue in short})


def next_due(db: Connection, queue: Queue) -> int | None:
    """When the first delivery of a queue is due."""
    domain, stream = queue
    found: int | None = db.scalar(
        select(func.min(deliveries.c.due_at)).where(
            deliveries.c.domain == domain, deliveries.c.stream == stream.value, deliveries.c.state == "queued"
        )
    )
    return found


def _within(db: Connection, found: Sequence[tuple[int, int]], most: int) -> Sequence[tuple[int, int]]:
    """As many of the found, in order, as have `most` recipients together; always the first."""
    if not found:
        return found
    counts: dict[int, int] = dict(
        db.execute(
            select(recipients.c.delivery_id, func.count())
            .where(recipients.c.delivery_id.in_([each[0] for each in found]))
            .group_by(recipients.c.delivery_id)
        ).all()
    )
    total = 0
    for position, (delivery_id, _) in enumerate(found):
        total += counts.get(delivery_id, 0)
        if total > most and position:
            return found[:position]
    return found


def _start(db: Connection, chosen: Sequence[tuple[int, int]], account: str, now: int) -> list[Delivery]:
    if not chosen:
        return []
    seen = tuple_(deliveries.c.id, deliveries.c.attempts).in_(chosen)
    started = db.scalars(
        update(deliveries)
        .where(seen, deliveries.c.state == "queued")
        .values(state="sending", attempts=deliveries.c.attempts + 1, due_at=now + milliseconds(LEASE), account=account)
        .returning(deliveries.c.id)
    ).all()
    loaded = load(db, started)
    return _without_suppressed(db, loaded, now)


def load(db: Connection, ids: Sequence[int]) -> list[Delivery]:
    """Deliveries with the recipients that are still to be sent to, oldest first."""
    addresses: dict[int, list[str]] = defaultdict(list)
    for delivery_id, address in db.execute(
        select(recipients.c.delivery_id, recipients.c.address)
        .where(recipients.c.delivery_id.in_(ids), recipients.c.state == "queued")
        .order_by(recipients.c.id)
    ):
        assert address is not None  # only recipients of final deliveries lose theirs
        addresses[delivery_id].append(address)
    rows = db.execute(
        select(deliveries, messages.c.public_id, messages.c.tenant_id, messages.c.mode)
        .add_columns(messages.c.size, messages.c.wrapped_key, messages.c.track_opens, messages.c.track_clicks)
        .join(messages, messages.c.id == deliveries.c.message_id)
        .where(deliveries.c.id.in_(ids))
        .order_by(deliveries.c.id)
    )
    return [
        Delivery(
            id=row.id,
            message_id=row.message_id,
            public_id=row.public_id,
            tenant_id=row.tenant_id,
            domain=row.domain,
            stream=Stream(row.stream),
            mode=Mode(row.mode),
            recipients=tuple(addresses[row.id]),
            size=row.size,
            attempts=row.attempts,
            failures=row.failures,
            possible_duplicates=row.possible_duplicates,
            first_due_at=row.first_due_at,
            wrapped_key=row.wrapped_key,
            tracking=Tracking(row.track_opens, row.track_clicks),
            reports=Report(row.reports),
        )
        for row in rows
    ]


def _without_suppressed(db: Connection, loaded: Sequence[Delivery], now: int) -> list[Delivery]:
    """Ask the suppression list again: an address may have been put on it while its mail waited."""
    asked: dict[int, list[str]] = defaultdict(list)
    for each in loaded:
        asked[each.tenant_id] += (address.lower() for address in each.recipients)
    listed = {
        (tenant_id, address)
        for tenant_id, addresses in asked.items()
        for address in suppressed(db, tenant_id, addresses)
    }
    if not listed:
        return list(loaded)
    kept: list[Delivery] = []
    for each in loaded:
        out = [address for address in each.recipients if (each.tenant_id, address.lower()) in listed]
        rest = tuple(address for address in each.recipients if address not in out)
        if out:
            db.execute(
                update(recipients)
                .where(recipients.c.delivery_id == each.id, recipients.c.address.in_(out))
                .values(state=RecipientState.SUPPRESSED.value, updated_at=now)
            )
        if rest:
            kept.append(replace(each, recipients=rest))
        else:
            settle(db, [Settlement(each.id, each.attempts, State.FAILED, "", kind=Kind.SUPPRESSED)])
    return kept
