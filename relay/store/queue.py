"""The queue's way out: deliveries that are due are taken, each attempt durably started. Functions for the writer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    CompoundSelect,
    Connection,
    Integer,
    Row,
    Select,
    bindparam,
    func,
    literal,
    select,
    tuple_,
    union_all,
    update,
)

from relay.delivery import Delivery, RecipientState, Report, Settlement, State, Tracking
from relay.errors import Kind
from relay.message import Mode, Stream
from relay.store.announcing import announce
from relay.store.clock import LEASE, clock, milliseconds
from relay.store.reckoning import reckon
from relay.store.reports import tell
from relay.store.schema import contents, deliveries, messages, recipients
from relay.store.settling import Settled, settle
from relay.store.suppressions import suppressed

Queue = tuple[str, Stream]  # (sender domain, stream)
SMALL = 64 << 10  # octets of content that come along when a delivery is taken
TOGETHER = 50  # queues that are looked at by one statement


@dataclass(frozen=True, slots=True)
class Order:
    """What a lane asks for: queues in the order to look at them, and how many deliveries and recipients it can start.

    `shares`: at most so many deliveries of each queue; none: of each as many as there is room for. One delivery may
    have more recipients than there is room for, where nothing goes before it; `ceiling` is one for it, too.
    """

    account: str
    queues: tuple[Queue, ...]
    deliveries: int
    recipients: int
    shares: tuple[int, ...] = ()
    ceiling: int | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """What a lane was given, each attempt durably started.

    `sealed`: the content of the small ones, by message, as it rests; a large one is read when its call is made.
    `next_due`: of the queues that had fewer due than asked for, when the next is due; None for an empty queue.
    `dropped`: what came of those whose recipients were suppressed meanwhile.
    """

    started: tuple[Delivery, ...]
    sealed: Mapping[int, bytes] = field(repr=False)
    next_due: Mapping[Queue, int | None]
    dropped: tuple[Settled, ...] = ()


def take(db: Connection, items: Sequence[Order]) -> Sequence[Taken]:
    return [_take(db, order) for order in items]


def _due(number: int) -> Select[Any]:
    """The first of one queue that are due, by parameters of this number: a walk along its index."""
    return (
        select(literal(number, Integer, literal_execute=True).label("number"), deliveries.c.id, deliveries.c.attempts)
        .where(
            deliveries.c.domain == bindparam(f"domain{number}"),
            deliveries.c.stream == bindparam(f"stream{number}"),
            deliveries.c.state == "queued",
            deliveries.c.due_at <= bindparam("now"),
        )
        .order_by(deliveries.c.due_at, deliveries.c.id)
        .limit(bindparam(f"most{number}", type_=Integer))
    )


def _next(number: int) -> Select[Any]:
    first = select(func.min(deliveries.c.due_at)).where(
        deliveries.c.domain == bindparam(f"domain{number}"),
        deliveries.c.stream == bindparam(f"stream{number}"),
        deliveries.c.state == "queued",
    )
    return select(
        literal(number, Integer, literal_execute=True).label("number"), first.scalar_subquery().label("due_at")
    )


@lru_cache(maxsize=2 * TOGETHER)
def _of_all(one: Callable[[int], Select[Any]], count: int) -> CompoundSelect[Any]:
    """What is asked of each of so many queues, in one statement."""
    return union_all(*(select(one(number).subquery()) for number in range(count)))


def _ask(
    db: Connection, one: Callable[[int], Select[Any]], queues: Sequence[Queue], **given: Sequence[int] | int
) -> Iterator[tuple[Queue, Row[Any]]]:
    """The rows of each queue, some queues at a time."""
    for start in range(0, len(queues), TOGETHER):
        part = queues[start : start + TOGETHER]
        values: dict[str, Any] = {}
        for number, (domain, stream) in enumerate(part):
            values |= {f"domain{number}": domain, f"stream{number}": stream.value}
            for name, each in given.items():
                values |= {name: each} if isinstance(each, int) else {f"{name}{number}": each[start + number]}
        for row in db.execute(_of_all(one, len(part)), values):
            yield part[row.number], row


# Made once: to make a statement anew costs several times what it does.
_SEEN: BindParameter[Any] = bindparam("_seen", expanding=True)
_IDS: BindParameter[Any] = bindparam("_ids", expanding=True)
_small_contents = select(contents.c.message_id, contents.c.sealed).where(contents.c.message_id.in_(_IDS))
_sizes = (
    select(recipients.c.delivery_id, func.count())
    .where(recipients.c.delivery_id.in_(_IDS))
    .group_by(recipients.c.delivery_id)
)
_started = (
    update(deliveries)
    # By their ids: of pairs alone, SQLite would look through everything that is queued.
    .where(deliveries.c.id.in_(_IDS), tuple_(deliveries.c.id, deliveries.c.attempts).in_(_SEEN))
    .where(deliveries.c.state == "queued")
    .values(
        state="sending",
        attempts=deliveries.c.attempts + 1,
        due_at=bindparam("_lease_ends", type_=BigInteger),
        account=bindparam("_account"),
    )
    .returning(deliveries.c.id)
)
_addresses = (
    select(recipients.c.delivery_id, recipients.c.address)
    .where(recipients.c.delivery_id.in_(_IDS), recipients.c.state == "queued")
    .order_by(recipients.c.id)
)
_loaded = (
    select(deliveries, messages.c.public_id, messages.c.tenant_id, messages.c.mode)
    .add_columns(messages.c.size, messages.c.wrapped_key, messages.c.track_opens, messages.c.track_clicks)
    .join(messages, messages.c.id == deliveries.c.message_id)
    .where(deliveries.c.id.in_(_IDS))
    .order_by(deliveries.c.id)
)


def _take(db: Connection, order: Order) -> Taken:
    now = clock(db)
    shares = order.shares or (order.deliveries,) * len(order.queues)
    found: dict[Queue, list[tuple[int, int]]] = {queue: [] for queue in order.queues}
    # One more than is wanted says whether that was all.
    for queue, row in _ask(db, _due, order.queues, now=now, most=[share + 1 for share in shares]):
        found[queue].append((row.id, row.attempts))
    short = [queue for queue, share in zip(order.queues, shares, strict=True) if len(found[queue]) <= share]
    wanted = [each for queue, share in zip(order.queues, shares, strict=True) for each in found[queue][:share]]
    chosen = _within(db, wanted[: order.deliveries], order.recipients, order.ceiling)
    dropped: list[Settled] = []
    started = _start(db, chosen, order.account, now, dropped)
    small = [each.message_id for each in started if each.size <= SMALL]
    sealed = dict(db.execute(_small_contents, {"_ids": small}).all()) if small else {}
    next_due = {queue: row.due_at for queue, row in _ask(db, _next, short)}
    return Taken(tuple(started), sealed, next_due, tuple(dropped))


def _within(
    db: Connection, found: Sequence[tuple[int, int]], most: int, ceiling: int | None
) -> Sequence[tuple[int, int]]:
    """As many of the found, in order, as have `most` recipients together; always the first, up to the ceiling."""
    if not found:
        return found
    counts: dict[int, int] = dict(db.execute(_sizes, {"_ids": [delivery_id for delivery_id, _ in found]}).all())
    total = 0
    for position, (delivery_id, _) in enumerate(found):
        total += counts.get(delivery_id, 0)
        if (total > most and position) or (ceiling is not None and total > ceiling):
            return found[:position]
    return found


def _start(
    db: Connection, chosen: Sequence[tuple[int, int]], account: str, now: int, dropped: list[Settled]
) -> list[Delivery]:
    if not chosen:
        return []
    values = {
        "_ids": [delivery_id for delivery_id, _ in chosen],
        "_seen": chosen,
        "_lease_ends": now + milliseconds(LEASE),
        "_account": account,
    }
    loaded = load(db, db.scalars(_started, values).all())
    return _without_suppressed(db, loaded, now, dropped)


def load(db: Connection, ids: Sequence[int]) -> list[Delivery]:
    """Deliveries with the recipients that are still to be sent to, oldest first."""
    addresses: dict[int, list[str]] = defaultdict(list)
    for delivery_id, address in db.execute(_addresses, {"_ids": ids}):
        assert address is not None  # only recipients of final deliveries lose theirs
        addresses[delivery_id].append(address)
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
        for row in db.execute(_loaded, {"_ids": ids})
    ]


def _without_suppressed(db: Connection, loaded: Sequence[Delivery], now: int, dropped: list[Settled]) -> list[Delivery]:
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
            reckon(db, [each.id], RecipientState.SUPPRESSED, now, only=out)
            db.execute(
                update(recipients)
                .where(recipients.c.delivery_id == each.id, recipients.c.address.in_(out))
                .values(state=RecipientState.SUPPRESSED.value, updated_at=now)
            )
            announce(db, [each.id], RecipientState.SUPPRESSED, only=out)
            if each.reports & Report.FAILURE:
                told = tell(db, [each.id], [RecipientState.SUPPRESSED], now)
                dropped.append(Settled(is_stale=False, told=told))
        if rest:
            kept.append(replace(each, recipients=rest))
        else:
            dropped += settle(db, [Settlement(each.id, each.attempts, State.FAILED, "", kind=Kind.SUPPRESSED)])
    return kept
