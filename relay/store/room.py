"""What the database takes of the disk, and how it gives back what it does not need. For reads and for the writer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select

MB = 1 << 20
STEP = 1 * MB  # given back in one transaction: it is written twice, and nobody should wait for more
KEPT_FREE = 16 * MB  # stays in the file whatever is free: new mail fills it soon
KEPT_SHARE = 0.1  # of what is used, if that is more
LOG_LIMIT = 64 * MB  # of SQLite's write-ahead log: what it shrinks to after a checkpoint, and above which one is forced
LOG_TROUBLE = 1024 * MB  # above which the operator is told: something reads and does not end


@dataclass(frozen=True, slots=True)
class Room:
    """In octets: the database, what of it holds nothing, SQLite's write-ahead log. On PostgreSQL only the first."""

    database: int
    free: int
    log: int

    @property
    def spare(self) -> int:
        """How much of what is free should go back to the disk."""
        return max(0, self.free - max(KEPT_FREE, int((self.database - self.free) * KEPT_SHARE)))


def room(db: Connection) -> Room:
    if db.dialect.name != "sqlite":
        return Room(db.scalar(select(func.pg_database_size(func.current_database()))) or 0, 0, 0)
    page, pages, free = (_pragma(db, name) for name in ("page_size", "page_count", "freelist_count"))
    return Room(pages * page, free * page, _size(Path(f"{db.engine.url.database}-wal")))


def give_back(db: Connection, items: Sequence[int]) -> Sequence[int]:
    """Cut so many octets of free pages off the end of the file, moving there what is used. Returns how many it were.

    None on PostgreSQL, where vacuum does it, nor of a file that was made without `auto_vacuum`.
    """
    return [_give_back(db, octets) for octets in items]


def _give_back(db: Connection, octets: int) -> int:
    if db.dialect.name != "sqlite" or not _pragma(db, "auto_vacuum"):
        return 0
    page, before = _pragma(db, "page_size"), _pragma(db, "page_count")
    driver = db.connection.driver_connection
    assert driver is not None
    for _ in range(min(max(1, octets // page), _pragma(db, "freelist_count"))):
        # One at a time: for several it has a row without columns for each, of which this driver reads only the first.
        driver.execute("PRAGMA incremental_vacuum(1)")
    return (before - _pragma(db, "page_count")) * page


def _pragma(db: Connection, name: str) -> int:
    found: int = db.exec_driver_sql(f"PRAGMA {name}").scalar_one()
    return found


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):  # there is none until the first write
        return path.stat().st_size
    return 0
