"""Tells, once a month, that a tenant has used up what its plan has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from relay.store import notices
from relay.store.directory import audit
from relay.store.directory.audit import RELAY
from relay.store.events import Event, note
from relay.store.retention import id_of
from relay.store.schema import audit as entries
from relay.store.schema import tenants
from relay.store.usage import DAY, date_of

REACHED = "tenant.limit_reached"


@dataclass(frozen=True, slots=True)
class Reached:
    """A tenant that had so many recipients accepted in a month, which is all of its plan.

    `month`: its first day and that of the next, counted from 1970.
    """

    tenant_id: int
    used: int
    monthly: int
    month: tuple[int, int]


def tell_reached(db: Connection, items: Sequence[Reached]) -> Sequence[bool]:
    """By an event and a notice. False where that was told this month."""
    told = {item: _tell(db, item) for item in sorted(items, key=lambda item: item.tenant_id)}
    return [told[item] for item in items]


def _tell(db: Connection, item: Reached) -> bool:
    # Locked: another process may have counted the same.
    row = db.execute(select(tenants).where(tenants.c.id == item.tenant_id).with_for_update()).one()
    target, (first, following) = f"tenant {row.name}", item.month
    told = select(entries.c.id).where(entries.c.target == target, entries.c.id >= id_of(first * DAY))
    if db.execute(told.where(entries.c.action == REACHED)).first() is not None:
        return False
    month, anew = f"{date_of(first):%Y-%m}", date_of(following).isoformat()
    figures = {"month": month, "used": item.used, "monthly": item.monthly}
    changes = {f"limit of {month}": [None, f"{item.used} of {item.monthly}"]}
    audit.record(db, RELAY, REACHED, target, tenant_id=item.tenant_id, changes=changes, is_seen=False)
    note(db, [Event(REACHED, tenant_id=item.tenant_id, data=figures)])
    notices.write(
        db,
        item.tenant_id,
        row.contact,
        "The month's recipients are used up",
        f"The plan of {row.name} has {item.monthly:,} recipients a month, and all of them are used in {month}. New "
        f"mail is refused until {anew}, 00:00 UTC, unless the plan is changed before.",
    )
    return True
