"""What is known of missing events, as rows: what was last heard of an account's mail, and since when nothing was."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from relay.store.clock import clock
from relay.store.events import Event, note
from relay.store.schema import events, feeds, probes

# They say what became of mail. Opens and clicks go on where nobody is told of deliveries.
TELLING = (
    "email.delivered",
    "email.delayed",
    "email.bounced",
    "email.soft_bounced",
    "email.complained",
    "email.rejected",
)
_COUNTER_BITS = 21  # of a row's id, which is made of its moment


@dataclass(frozen=True, slots=True)
class Seen:
    """The feedback of an account, in milliseconds since 1970 by the database's clock. See the table `feeds`.

    `told_at`: when the last event came that says what became of mail.
    """

    account: str
    told_at: int | None = None
    owed_since: int | None = None
    asked_at: int | None = None
    waiting: int | None = None
    fault: str = ""
    silent_since: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What is new of an account; `event`: that the alarm begins or is over."""

    account: str
    owed_since: int | None
    silent_since: int | None
    event: Event | None = None


def look(db: Connection, accounts: Collection[str], since: int | None) -> tuple[int, list[Seen]]:
    """The database's clock, and each account. Events heard before `since` are not looked for; None: none are."""
    names = sorted(accounts)
    rows = {row.account: row for row in db.execute(select(feeds).where(feeds.c.account.in_(names)))}
    return clock(db), [
        _seen(name, rows.get(name), None if since is None else _told_at(db, name, since)) for name in names
    ]


def _seen(account: str, row: Any, told_at: int | None) -> Seen:
    if row is None:  # nobody has read its events yet
        return Seen(account, told_at)
    return Seen(account, told_at, row.owed_since, row.asked_at, row.waiting, row.fault or "", row.silent_since)


def _told_at(db: Connection, account: str, since: int) -> int | None:
    """When it was heard here, which the row's id tells: the event's own moment is by the clock of SES."""
    last = db.scalar(
        select(events.c.id)
        .where(events.c.account == account, events.c.type.in_(TELLING), events.c.id >= since << _COUNTER_BITS)
        .order_by(events.c.id.desc())
        .limit(1)
    )
    probed = db.scalar(select(func.max(probes.c.heard_at)).where(probes.c.account == account))
    moments = [each for each in (last and last >> _COUNTER_BITS, probed) if each is not None]
    return max(moments, default=None)


def change(db: Connection, items: Sequence[Change]) -> Sequence[None]:
    """Write changes down, with their events."""
    insert = sqlite.insert if db.dialect.name == "sqlite" else postgresql.insert
    for item in sorted(items, key=lambda item: item.account):  # in one order: two writers never wait for each other
        said = {"owed_since": item.owed_since, "silent_since": item.silent_since}
        new = insert(feeds).values(account=item.account, **said)
        db.execute(new.on_conflict_do_update(index_elements=["account"], set_=said))
        if item.event is not None:
            note(db, [item.event])
    return [None] * len(items)
