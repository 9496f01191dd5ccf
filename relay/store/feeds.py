"""How the feedback of each SES account goes, as rows: for commands, other processes, and the next start.

Moments are of the database's clock, and processes name spans: their own clocks may differ.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from relay.store.clock import clock, milliseconds
from relay.store.schema import feeds


@dataclass(frozen=True, slots=True)
class Look:
    """What whoever reads the events of an account sees. Spans since its queue last answered, and since an event came.

    None: it has not, since the process began. `waiting`, `dead`: events in its queue, and in the dead-letter queue.
    `fault` "": there is none.
    """

    account: str
    asked: timedelta | None = None
    heard: timedelta | None = None
    waiting: int | None = None
    dead: int | None = None
    fault: str = ""


def note(db: Connection, items: Sequence[Look]) -> Sequence[None]:
    """Write down how feeds go. Moments that a process does not know stay as they were."""
    now = clock(db)
    insert = sqlite.insert if db.dialect.name == "sqlite" else postgresql.insert
    for item in sorted(items, key=lambda item: item.account):  # in one order: two writers never wait for each other
        new = insert(feeds).values(
            account=item.account,
            asked_at=None if item.asked is None else now - milliseconds(item.asked),
            heard_at=None if item.heard is None else now - milliseconds(item.heard),
            waiting=item.waiting,
            dead=item.dead,
            fault=item.fault or None,
        )
        said = {
            "asked_at": func.coalesce(new.excluded.asked_at, feeds.c.asked_at),
            "heard_at": func.coalesce(new.excluded.heard_at, feeds.c.heard_at),
            "waiting": new.excluded.waiting,
            "dead": new.excluded.dead,
            "fault": new.excluded.fault,
        }
        db.execute(new.on_conflict_do_update(index_elements=["account"], set_=said))
    return [None] * len(items)


def every(db: Connection) -> list[Look]:
    """All feeds, by account."""
    now = clock(db)

    def since(at: int | None) -> timedelta | None:
        return None if at is None else timedelta(milliseconds=max(0, now - at))

    return [
        Look(row.account, since(row.asked_at), since(row.heard_at), row.waiting, row.dead, row.fault or "")
        for row in db.execute(select(feeds).order_by(feeds.c.account))
    ]


def prune(db: Connection, items: Sequence[Collection[str]]) -> Sequence[None]:
    """Forget the feeds of accounts that are none of these."""
    for accounts in items:
        db.execute(delete(feeds).where(feeds.c.account.not_in(sorted(accounts))))
    return [None] * len(items)
