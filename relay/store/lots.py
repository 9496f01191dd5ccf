"""Lots of queued mail moved by hand: what a domain or a tenant has, or all of it. In slices, beside a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, null, select, update

from relay.delivery import State
from relay.errors import Kind
from relay.store import duplicates
from relay.store.clock import HELD_AT_MOST, clock, milliseconds
from relay.store.directory import audit
from relay.store.directory.audit import Actor
from relay.store.directory.installation import bump
from relay.store.hand import Verb, words_of_hold
from relay.store.schema import WAITING, deliveries, messages

BY_HAND = (Kind.HELD.slug, Kind.HELD_BY_OPERATOR.slug)
RESTORED = (Kind.RESTORED.slug,)


@dataclass(frozen=True, slots=True)
class Lot:
    """Which mail. None: of every domain, of every tenant. `name` is what the audit calls it.

    `kinds`: released is only what is held for one of these reasons.
    """

    name: str
    domain: str | None = None
    tenant_id: int | None = None
    kinds: tuple[str, ...] = BY_HAND


def found(db: Connection, verb: Verb, lot: Lot) -> list[int]:
    """The deliveries that may be held or released now, oldest first. Reads only."""
    which = select(deliveries.c.id)
    if verb is Verb.HOLD:
        which = which.where(deliveries.c.state == State.QUEUED.value)
    else:
        which = which.where(WAITING, deliveries.c.state == State.HELD.value, deliveries.c.kind.in_(lot.kinds))
    if lot.domain is not None:
        which = which.where(deliveries.c.domain == lot.domain)
    if lot.tenant_id is not None:
        which = which.join(messages, messages.c.id == deliveries.c.message_id)
        which = which.where(messages.c.tenant_id == lot.tenant_id)
    return sorted(db.scalars(which))


def note(db: Connection, verb: Verb, lot: Lot, by: Actor, deliveries_found: int, reason: str) -> None:
    """In the audit, before the first slice: however it ends, it is known who began it."""
    changes = {"deliveries": [None, deliveries_found]} | ({"reason": [None, reason]} if reason else {})
    audit.record(db, by, verb.action, lot.name, tenant_id=lot.tenant_id, changes=changes, is_seen=False)


def moving(verb: Verb, lot: Lot, ids: Sequence[int], by: Actor, reason: str = "") -> Callable[[Connection], int]:
    """Moves some of those found, and tells servers to look. Returns how many still were in a state for it."""
    return lambda db: _move(db, verb, lot, ids, by, reason)


def _move(db: Connection, verb: Verb, lot: Lot, ids: Sequence[int], by: Actor, reason: str) -> int:
    now = clock(db)
    later = func.max if db.dialect.name == "sqlite" else func.greatest
    due_at = later(deliveries.c.first_due_at, now)
    change = update(deliveries).where(deliveries.c.id.in_(ids))
    if verb is Verb.HOLD:
        change = change.where(deliveries.c.state == State.QUEUED.value)
        change = change.values(state=State.HELD.value, due_at=due_at + milliseconds(HELD_AT_MOST))
        change = change.values(words_of_hold(by, reason))
    else:
        doubtful = int(lot.kinds == RESTORED)
        change = change.where(deliveries.c.state == State.HELD.value, deliveries.c.kind.in_(lot.kinds))
        change = change.values(state=State.QUEUED.value, due_at=due_at, first_due_at=due_at, kind=null(), detail=null())
        change = change.values(possible_duplicates=deliveries.c.possible_duplicates + doubtful)
    accounts = db.scalars(change.returning(deliveries.c.account)).all()
    if verb is Verb.RELEASE and lot.kinds == RESTORED:
        duplicates.count(db, accounts, now)
    if accounts:
        bump(db)
    return len(accounts)
