"""What time brings: attempts that died, unknown outcomes, mail that waited too long, content whose time is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, select, update

from relay.delivery import RetryPolicy, State
from relay.errors import Kind
from relay.message import Stream
from relay.store import duplicates
from relay.store.clock import LEASE, clock, milliseconds
from relay.store.queue import Queue
from relay.store.reports import Told
from relay.store.schema import WAITING, contents, deliveries, feeds, messages
from relay.store.settling import destroy, fail

READ_BEFORE = timedelta(minutes=10)  # so long before an attempt, at most, the events of its account were last read
SLICE = 500  # rows a sweep moves in one transaction, so that nobody waits long behind it
_ENDED = {"state": "unknown", "kind": Kind.SES_UNKNOWN_OUTCOME.slug, "detail": "the process ended first"}


def sweep_contents(db: Connection, items: Sequence[Sequence[int]]) -> Sequence[int]:
    """Delete the sealed bytes of messages whose key is gone."""
    return [
        db.execute(
            delete(contents).where(
                contents.c.message_id.in_(
                    select(messages.c.id).where(messages.c.id.in_(ids), messages.c.wrapped_key.is_(None))
                )
            )
        ).rowcount
        for ids in items
    ]


def orphans(db: Connection, after: int) -> tuple[list[int], int | None]:
    """Messages whose key is gone but whose bytes are not, for a crash came between, in a slice behind message `after`.

    Returns those it found, and behind which to look next; None at the end.
    """
    behind = select(contents.c.message_id).where(contents.c.message_id > after).order_by(contents.c.message_id)
    seen = db.scalars(behind.limit(SLICE)).all()
    if not seen:
        return [], None
    gone = select(messages.c.id).where(messages.c.id.in_(seen), messages.c.wrapped_key.is_(None))
    return list(db.scalars(gone)), seen[-1]


def sweep_retention(db: Connection, items: Sequence[None]) -> Sequence[set[int]]:
    """Destroy kept content whose time is over, one slice. Returns what was destroyed; a message still open waits."""
    return [_sweep_retention(db, clock(db)) for _ in items]


def _sweep_retention(db: Connection, now: int) -> set[int]:
    over = (
        select(messages.c.id)
        .where(
            messages.c.keep_until <= now,
            messages.c.keep_until.is_not(None),
            messages.c.wrapped_key.is_not(None),
            messages.c.open_deliveries == 0,
        )
        .order_by(messages.c.keep_until)
        .limit(SLICE)
    )
    return destroy(db, messages.c.id.in_(over), now)


@dataclass(frozen=True, slots=True)
class Start:
    """Of a process that takes work. `is_alone`: no other one does. `window`: for how long an outcome is waited for."""

    is_alone: bool
    window: timedelta


@dataclass(frozen=True, slots=True)
class Awaited:
    """How many attempts a dead process had in hand, and how many outcomes the events of `accounts` may still tell."""

    ended: int = 0
    deliveries: int = 0
    accounts: frozenset[str] = frozenset()


def await_events(db: Connection, items: Sequence[Start]) -> Sequence[Awaited]:
    """At start, before `recover`: outcomes that a dead process left open have their window, and from now on.

    It counts only while events are read, and those that came meanwhile wait in their queue, for days. So it matters
    whether they were read when the attempt began, and not for how long they were not since.
    """
    return [_await_events(db, clock(db), item) for item in items]


def _await_events(db: Connection, now: int, start: Start) -> Awaited:
    until = now + milliseconds(start.window)
    ended, unknown = Counter[str](), Counter[str]()
    for account, asked_at in db.execute(select(feeds.c.account, feeds.c.asked_at).where(feeds.c.asked_at.is_not(None))):
        theirs = and_(WAITING, deliveries.c.account == account)
        began_by = asked_at + milliseconds(READ_BEFORE)
        due = deliveries.c.due_at <= min(until, began_by + milliseconds(start.window))
        unknown[account] = _wait(db, and_(theirs, deliveries.c.state == "unknown", due), {"due_at": until})
        lease_by = began_by + milliseconds(LEASE)
        dead = deliveries.c.due_at <= (lease_by if start.is_alone else min(lease_by, now))
        ended[account] = _wait(db, and_(theirs, deliveries.c.state == "sending", dead), {"due_at": until, **_ENDED})
    return Awaited(ended.total(), (ended + unknown).total(), frozenset(ended + unknown))


def _wait(db: Connection, which: ColumnElement[bool], values: Mapping[str, object]) -> int:
    return len(db.execute(update(deliveries).where(which).values(values).returning(deliveries.c.id)).all())


def recover(db: Connection, items: Sequence[bool]) -> Sequence[int]:
    """At start: attempts that a dead process left open become unknown, at once (True: we are alone) or by lease."""
    return [_expire_attempts(db, clock(db), is_alone) for is_alone in items]


def _expire_attempts(db: Connection, now: int, is_alone: bool) -> int:
    over = and_(WAITING, deliveries.c.state == "sending")
    if not is_alone:
        over = and_(over, deliveries.c.due_at <= now)
    return len(db.execute(update(deliveries).where(over).values(due_at=now, **_ENDED).returning(deliveries.c.id)).all())


@dataclass(frozen=True, slots=True)
class Swept:
    """What waited too long: how many were resolved and failed, the queues that have work again, content to sweep.

    `told`: reports to the senders of what failed.
    """

    requeued: int
    failed: int
    woken: frozenset[Queue]
    destroyed: frozenset[int]
    told: tuple[Told, ...] = ()


@dataclass(frozen=True, slots=True)
class Round:
    """One look at what waits: by which policy, in which queues, and whether attempts of others may have died.

    `silent`: accounts whose events are not heard. Nothing is to be learnt of their unknown outcomes: no window is kept.
    """

    policy: RetryPolicy
    queues: tuple[Queue, ...]
    is_alone: bool
    silent: tuple[str, ...] = ()


def sweep_waiting(db: Connection, items: Sequence[Round]) -> Sequence[Swept]:
    """Unknown outcomes whose window is over are decided; what was held or queued too long fails. One slice."""
    return [_sweep_waiting(db, item.policy, item.queues, item.is_alone, item.silent) for item in items]


def _sweep_waiting(
    db: Connection, policy: RetryPolicy, queues: Sequence[Queue], is_alone: bool, silent: Sequence[str]
) -> Swept:
    now = clock(db)
    if not is_alone:
        _expire_attempts(db, now, is_alone=False)
    rows = db.execute(
        select(deliveries)
        .where(WAITING, deliveries.c.state.in_(("unknown", "held")), deliveries.c.due_at <= now)
        .order_by(deliveries.c.id)
        .limit(SLICE)
    ).all()
    rows = [*rows, *_unheard(db, silent, now)]
    woken: set[Queue] = set()
    failed: list[int] = []
    doubtful: list[str | None] = []  # the accounts that may have got something twice
    requeued = 0
    for row in rows:
        state, due_at, kind = State.FAILED, None, Kind.EXPIRED.slug
        if row.state == State.UNKNOWN.value:
            state, due_at = policy.resolve(row.failures, row.first_due_at, now)
            kind = row.kind
        moved = db.scalar(
            update(deliveries)
            .where(deliveries.c.id == row.id, deliveries.c.state == row.state, deliveries.c.attempts == row.attempts)
            .values(
                state=state.value,
                due_at=due_at,
                finished_at=now if state.is_final else None,
                kind=kind,
                possible_duplicates=deliveries.c.possible_duplicates + int(row.state == State.UNKNOWN.value),
            )
            .returning(deliveries.c.message_id)
        )
        if moved is not None and row.state == State.UNKNOWN.value:
            doubtful.append(row.account)
        if moved is not None and state is State.QUEUED:
            requeued += 1
            woken.add((row.domain, Stream(row.stream)))
        elif moved is not None:
            failed.append(row.id)
    duplicates.count(db, doubtful, now)
    for domain, stream in queues:
        failed += _expire_queued(db, domain, stream, now - milliseconds(policy.max_age), now)
    destroyed, told = fail(db, failed, now)
    return Swept(requeued, len(failed), frozenset(woken), frozenset(destroyed), told)


def _unheard(db: Connection, silent: Sequence[str], now: int) -> Sequence[Row[Any]]:
    """Unknown outcomes that still have time, of accounts whose events went silent."""
    if not silent:
        return []
    return db.execute(
        select(deliveries)
        .where(WAITING, deliveries.c.state == "unknown", deliveries.c.due_at > now, deliveries.c.account.in_(silent))
        .order_by(deliveries.c.id)
        .limit(SLICE)
    ).all()


def _expire_queued(db: Connection, domain: str, stream: Stream, before: int, now: int) -> list[int]:
    """Fail what was queued too long. A row's first due time is never after its last, so the index bounds the search."""
    too_old = (
        select(deliveries.c.id)
        .where(
            deliveries.c.domain == domain,
            deliveries.c.stream == stream.value,
            deliveries.c.state == "queued",
            deliveries.c.due_at <= before,
        )
        .limit(SLICE)
    )
    return list(
        db.scalars(
            update(deliveries)
            .where(deliveries.c.id.in_(too_old), deliveries.c.state == "queued")
            .values(state="failed", due_at=None, finished_at=now, kind=Kind.EXPIRED.slug)
            .returning(deliveries.c.id)
        )
    )
