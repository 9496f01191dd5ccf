"""What people must be told about their account, kept until it is sent. Written in the transaction of what it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Connection, delete, insert, select, update

from relay.message import Ids
from relay.store.clock import clock, milliseconds
from relay.store.schema import notices

OPERATOR = ""  # the address that stands for whoever the configuration names
_ids = Ids()


@dataclass(frozen=True, slots=True)
class Notice:
    """One mail to a person. `address` OPERATOR: to `notices.to` of the configuration."""

    id: int
    tenant_id: int
    address: str = field(repr=False)
    subject: str
    text: str = field(repr=False)
    failures: int
    due_at: int
    created_at: int


def write(db: Connection, tenant_id: int, contact: str | None, subject: str, text: str) -> None:
    """To the tenant's contact, if it has one; the operator's copy is made when it is sent."""
    _insert(db, tenant_id, contact or OPERATOR, subject, text)


def write_to_operator(db: Connection, tenant_id: int, subject: str, text: str) -> None:
    _insert(db, tenant_id, OPERATOR, subject, text)


def _insert(db: Connection, tenant_id: int, address: str, subject: str, text: str) -> None:
    now = clock(db)
    db.execute(
        insert(notices).values(
            id=_ids.next(),
            tenant_id=tenant_id,
            address=address,
            subject=subject,
            text=text,
            failures=0,
            due_at=now,
            created_at=now,
        )
    )


def due(db: Connection, limit: int, *, with_operators: bool) -> list[Notice]:
    """Those to be sent now, oldest first; the operator's own only where there is an address for them."""
    which = select(notices).where(notices.c.due_at <= clock(db)).order_by(notices.c.id).limit(limit)
    if not with_operators:
        which = which.where(notices.c.address != OPERATOR)
    rows = db.execute(which)
    return [Notice(r.id, r.tenant_id, r.address, r.subject, r.text, r.failures, r.due_at, r.created_at) for r in rows]


def forget(db: Connection, keep_for: timedelta, *, only_operators: bool) -> int:
    """Drop what waits for longer and cannot be sent. Returns how many."""
    over = delete(notices).where(notices.c.created_at <= clock(db) - milliseconds(keep_for))
    if only_operators:
        over = over.where(notices.c.address == OPERATOR)
    return len(db.execute(over.returning(notices.c.id)).all())


def remove(db: Connection, items: Sequence[int]) -> Sequence[None]:
    """Sent, or given up."""
    db.execute(delete(notices).where(notices.c.id.in_(items)))
    return [None] * len(items)


@dataclass(frozen=True, slots=True)
class Later:
    """A notice that could not be sent, and when to try again."""

    id: int
    due_at: int


def postpone(db: Connection, items: Sequence[Later]) -> Sequence[None]:
    for item in items:
        db.execute(
            update(notices).where(notices.c.id == item.id).values(due_at=item.due_at, failures=notices.c.failures + 1)
        )
    return [None] * len(items)
