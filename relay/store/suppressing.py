"""Puts addresses on the suppression list for what SES told of them.

In whatever order events come, the list is the same: the worst of what was said stays, and the first of equals.
What people put on it themselves, and what was mirrored from SES, stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.store.clock import milliseconds
from relay.store.heard import Listing
from relay.store.schema import suppressions

RANKS = {("validation", "ses-validation"): 1, ("bounce", "ses"): 2, ("complaint", "ses"): 3}


@dataclass(frozen=True, slots=True)
class Listed:
    """An address that gets no more mail from a tenant. `at` in milliseconds since 1970; `note`: what was said."""

    tenant_id: int
    address: str = field(repr=False)
    listing: Listing
    at: int
    note: str | None = field(default=None, repr=False)

    @property
    def order(self) -> tuple[int, int, str]:
        """The first of several in this order is the one that stays."""
        return -self.listing.rank, self.at, self.listing.source


_there = (
    select(suppressions)
    .where(
        suppressions.c.tenant_id == bindparam("_tenant"),
        suppressions.c.address.in_(bindparam("_addresses", expanding=True)),
    )
    .order_by(suppressions.c.address)
    .with_for_update()  # PostgreSQL: another process may have something to say of the same address
)
_SAID = ("reason", "source", "note", "created_at", "expires_at")  # columns
_replaced = (
    update(suppressions)
    .where(suppressions.c.tenant_id == bindparam("_tenant"), suppressions.c.address == bindparam("_address"))
    .values({name: bindparam(f"_{name}") for name in _SAID})
)
_added = {
    "sqlite": sqlite.insert(suppressions).on_conflict_do_nothing().returning(suppressions.c.address),
    "postgresql": postgresql.insert(suppressions).on_conflict_do_nothing().returning(suppressions.c.address),
}


def suppress_heard(db: Connection, items: Iterable[Listed], now: int) -> int:
    """In the transaction of the events. Returns how many addresses are new on a list."""
    worst: dict[tuple[int, str], Listed] = {}
    for each in items:
        key = (each.tenant_id, each.address)
        if key not in worst or each.order < worst[key].order:
            worst[key] = each
    added = 0
    for tenant_id in sorted({tenant_id for tenant_id, _ in worst}):
        theirs = [worst[key] for key in sorted(worst) if key[0] == tenant_id]
        added += _suppress(db, tenant_id, theirs, now)
    return added


def _suppress(db: Connection, tenant_id: int, items: Sequence[Listed], now: int) -> int:
    """`items` in the order of their addresses."""
    rows = [{"tenant_id": tenant_id, "address": each.address, **_said(each)} for each in items]
    fresh = set(db.scalars(_added[db.dialect.name], rows))
    known = {each.address: each for each in items if each.address not in fresh}
    if not known:
        return len(fresh)
    there = db.execute(_there, {"_tenant": tenant_id, "_addresses": sorted(known)}).all()
    replaced = [known[row.address] for row in there if _gives_way(row, known[row.address], now)]
    if replaced:
        values = [{f"_{name}": value for name, value in _said(each).items()} for each in replaced]
        whose = [{"_tenant": tenant_id, "_address": each.address} for each in replaced]
        db.execute(_replaced, [which | said for which, said in zip(whose, values, strict=True)])
    return len(fresh)


def _said(each: Listed) -> dict[str, Any]:
    lasts = each.listing.lasts
    return {
        "reason": each.listing.reason,
        "source": each.listing.source,
        "note": each.note,
        "created_at": each.at,
        "expires_at": None if lasts is None else each.at + milliseconds(lasts),
    }


def _gives_way(row: Row[Any], to: Listed, now: int) -> bool:
    """Whether an entry does: one that is over, or that an event made which had less to say."""
    if row.expires_at is not None and row.expires_at <= now:
        return True
    rank = _rank(row.reason, row.source)
    return rank is not None and to.order < (-rank, row.created_at, row.source)


def _rank(reason: str, source: str) -> int | None:
    """How bad an entry is that an event made; None for one that it did not."""
    if source in {"ses-account", "ses-tenant"}:
        return 3 if reason == "complaint" else 2
    return RANKS.get((reason, source))
