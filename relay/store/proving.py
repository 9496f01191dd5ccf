"""What of one message is still in the database: its content, its key, and each place that could name somebody."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select

from relay.store.clock import now_ms
from relay.store.erasing import ERASED
from relay.store.schema import contents, deliveries, events, messages, recipients

FIELDS = ("mail_from", "header_from", "subject", "metadata", "envid", "tag", "rfc_message_id", "echo")
PATIENCE = 2000  # milliseconds: how long readers of SQLite's log are waited for

COARSE = 1000  # milliseconds that a file's time may be behind: naming one backup too many does no harm


@dataclass(frozen=True, slots=True)
class Proof:
    """Of one message. `left` and `empty` name columns; `parts` are sealed parts of its content; times in milliseconds.

    `addresses`, `hashes`: of its `recipients`, those with an address in clear, and with a keyed hash of one.
    """

    mode: str
    is_open: bool
    accepted_at: int
    destroyed_at: int | None
    has_key: bool
    parts: int
    keep_until: int | None
    slim_at: int | None
    recipients: int
    addresses: int
    hashes: int
    events: int
    left: tuple[str, ...]
    empty: tuple[str, ...]


def prove(db: Connection, public_id: str) -> Proof | None:
    """None where there is no such message."""
    row = db.execute(select(messages).where(messages.c.public_id == public_id)).one_or_none()
    if row is None:
        return None
    theirs = select(deliveries.c.id).where(deliveries.c.message_id == row.id)
    people = db.execute(
        select(
            func.count(),
            func.count(recipients.c.address),
            func.count().filter(recipients.c.address_hash != ERASED),
            func.count(recipients.c.orcpt),
        ).where(recipients.c.delivery_id.in_(theirs))
    ).one()
    details = db.scalar(select(func.count(deliveries.c.detail)).where(deliveries.c.message_id == row.id))
    there = {f"messages.{name}": row._mapping[name] is not None for name in FIELDS} | {
        "recipients.address": bool(people[1]),
        "recipients.address_hash": bool(people[2]),
        "recipients.orcpt": bool(people[3]),
        "deliveries.detail": bool(details),
    }
    return Proof(
        mode=row.mode,
        is_open=row.open_deliveries > 0,
        accepted_at=row.accepted_at,
        destroyed_at=row.destroyed_at,
        has_key=row.wrapped_key is not None,
        parts=db.scalar(select(func.count()).where(contents.c.message_id == row.id)) or 0,
        keep_until=row.keep_until,
        slim_at=row.slim_at,
        recipients=people[0],
        addresses=people[1],
        hashes=people[2],
        events=db.scalar(select(func.count()).where(events.c.message_id == row.id)) or 0,
        left=tuple(name for name, is_there in there.items() if is_there),
        empty=tuple(name for name, is_there in there.items() if not is_there),
    )


def empty_log(path: Path) -> int | None:
    """Empty SQLite's write-ahead log, beside a server if there is one. Returns when; None if a reader was in the way.

    What was deleted before has then left it, too.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA busy_timeout = {PATIENCE}")
        try:
            (is_busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError:
            return None
        return None if is_busy else now_ms()


def backups(path: Path, since: int, until: int | None) -> list[str]:
    """Backups beside the database that may hold what was there then: made by an upgrade. In milliseconds since 1970."""
    end = now_ms() if until is None else until
    found = sorted(path.parent.glob(f"{path.name}.*.backup"))
    made = {each.name: each.stat().st_mtime_ns // 1_000_000 for each in found}
    return [name for name, at in made.items() if since - COARSE <= at <= end]
