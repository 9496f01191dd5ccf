"""How many deliveries SES may have got twice, by UTC day and account: counted where that comes to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from relay.store.schema import possible_duplicates
from relay.store.usage import day_of

NOBODY = "none"  # where no account is written down


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Of one day, counted from 1970, and one account."""

    day: int
    account: str
    deliveries: int


def count(db: Connection, accounts: Iterable[str | None], now: int) -> None:
    """Add a delivery of each of these accounts, in the transaction that makes it a possible duplicate."""
    counted = Counter(account or NOBODY for account in accounts)
    insert = sqlite.insert if db.dialect.name == "sqlite" else postgresql.insert
    for account, deliveries in sorted(counted.items()):  # in one order: two writers never wait for each other
        new = insert(possible_duplicates).values(day=day_of(now), account=account, deliveries=deliveries)
        added = possible_duplicates.c.deliveries + new.excluded.deliveries
        db.execute(new.on_conflict_do_update(index_elements=["day", "account"], set_={"deliveries": added}))


def since(db: Connection, day: int) -> list[Duplicates]:
    """From that day on, by day and account."""
    which = select(possible_duplicates).where(possible_duplicates.c.day >= day)
    rows = db.execute(which.order_by(possible_duplicates.c.day, possible_duplicates.c.account))
    return [Duplicates(row.day, row.account, row.deliveries) for row in rows]
