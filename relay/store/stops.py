"""What SES keeps from being sent, as rows: for commands, other processes, and the next start."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, tuple_

from relay.store.events import Event, note
from relay.store.rows import put
from relay.store.schema import stops


@dataclass(frozen=True, slots=True)
class Stopped:
    """One stop. `domain` "" is the whole account; `kind` is a slug; `since` in milliseconds since 1970."""

    account: str
    domain: str
    kind: str
    said: str
    remedy: str
    since: int

    @property
    def detail(self) -> str:
        return f"{self.said}: {self.remedy}" if self.remedy else self.said


@dataclass(frozen=True, slots=True)
class Change:
    """What begins, changes or goes on one account, and what is said of it."""

    account: str
    written: tuple[Stopped, ...]
    gone: tuple[str, ...]  # domains, "" for the account
    events: tuple[Event, ...]


def change(db: Connection, items: Sequence[Change]) -> Sequence[None]:
    """Write changes down with their events."""
    for item in items:
        keys = sorted({*(each.domain for each in item.written), *item.gone})
        if keys:
            db.execute(delete(stops).where(stops.c.account == item.account, stops.c.domain.in_(keys)))
        put(
            db,
            stops,
            [
                {
                    "account": item.account,
                    "domain": each.domain,
                    "kind": each.kind,
                    "said": each.said,
                    "remedy": each.remedy,
                    "since": each.since,
                }
                for each in sorted(item.written, key=lambda each: each.domain)
            ],
        )
        note(db, item.events)
    return [None] * len(items)


def every(db: Connection) -> list[Stopped]:
    """All stops, by account; a whole account before its domains."""
    rows = db.execute(select(stops).order_by(stops.c.account, stops.c.domain))
    return [Stopped(row.account, row.domain, row.kind, row.said, row.remedy, row.since) for row in rows]


def of_account(db: Connection, account: str) -> list[Stopped]:
    return [each for each in every(db) if each.account == account]


def of_domain(db: Connection, account: str, domain: str) -> Stopped | None:
    """What keeps the mail of a domain that leaves through this account: the account's own stop first."""
    rows = db.execute(
        select(stops)
        .where(tuple_(stops.c.account, stops.c.domain).in_([(account, ""), (account, domain)]))
        .order_by(stops.c.domain)
    ).all()
    return next((Stopped(row.account, row.domain, row.kind, row.said, row.remedy, row.since) for row in rows), None)


def prune(db: Connection, items: Sequence[Collection[str]]) -> Sequence[None]:
    """Forget stops of accounts that are none of these."""
    for accounts in items:
        db.execute(delete(stops).where(stops.c.account.not_in(sorted(accounts))))
    return [None] * len(items)
