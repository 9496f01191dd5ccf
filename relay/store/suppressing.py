"""Puts addresses on the suppression list for what SES told of them.

In whatever order events come, the list is the same: the worst of what was said stays, and the first of equals.
What people put on it themselves, and what was mirrored from SES, stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, delete, select

from relay.store.clock import milliseconds
from relay.store.heard import Listing
from relay.store.rows import put
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


_there = select(suppressions).where(
    suppressions.c.tenant_id == bindparam("_tenant"),
    suppressions.c.address.in_(bindparam("_addresses", expanding=True)),
)
_gone = delete(suppressions).where(
    suppressions.c.tenant_id == bindparam("_tenant"),
    suppressions.c.address.in_(bindparam("_addresses", expanding=True)),
)


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
    which = {"_tenant": tenant_id, "_addresses": [each.address for each in items]}
    known = {row.address: row for row in db.execute(_there, which)}
    fresh, replaced = [], []
    for each in items:
        row = known.get(each.address)
        if row is None:
            fresh.append(each)
        elif row.expires_at is not None and row.expires_at <= now:
            replaced.append(each)
        else:
            rank = _rank(row.reason, row.source)
            if rank is not None and each.order < (-rank, row.created_at, row.source):
                replaced.append(each)
    if replaced:
        db.execute(_gone, {"_tenant": tenant_id, "_addresses": [each.address for each in replaced]})
    rows = [
        {
            "tenant_id": tenant_id,
            "address": each.address,
            "reason": each.listing.reason,
            "source": each.listing.source,
            "note": each.note,
            "created_at": each.at,
            "expires_at": None if each.listing.lasts is None else each.at + milliseconds(each.listing.lasts),
        }
        for each in sorted([*fresh, *replaced], key=lambda each: each.address)
    ]
    put(db, suppressions, rows)
    return len(fresh)


def _rank(reason: str, source: str) -> int | None:
    """How bad an entry is that an event made; None for one that it did not."""
    if source in {"ses-account", "ses-tenant"}:
        return 3 if reason == "complaint" else 2
    return RANKS.get((reason, source))
