"""Mail to the mailbox simulator that proves the way of events: what was sent, and which of it was heard of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from relay.store.clock import clock
from relay.store.rows import put
from relay.store.schema import probes


@dataclass(frozen=True, slots=True)
class Probe:
    """One mail. `expects`: the event that proves it, one of delivered, bounced and complained, without its noun."""

    id: int
    account: str
    domain: str
    expects: str


def add(db: Connection, items: Sequence[Probe]) -> None:
    """Before they are sent: an event may be faster than a second write. Retention deletes them."""
    now = clock(db)
    put(
        db,
        probes,
        [
            {"id": each.id, "account": each.account, "domain": each.domain, "expects": each.expects, "sent_at": now}
            for each in items
        ],
    )


def heard(db: Connection, ids: Collection[int]) -> Mapping[int, float]:
    """Of those whose event came, after how many seconds it did."""
    rows = db.execute(select(probes).where(probes.c.id.in_(sorted(ids)), probes.c.heard_at.is_not(None)))
    return {row.id: max(0, row.heard_at - row.sent_at) / 1000 for row in rows}
