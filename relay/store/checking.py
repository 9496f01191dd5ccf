"""Looks a SQLite file over for damage: before the start where that is quick, else beside the work."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import Connection

from relay import log

AT_START = 64 << 20  # octets, which take a fifth of a second; mail must not wait while gigabytes are read
LOOK, SOUND = "PRAGMA quick_check(1)", "ok"


def is_small(path: Path) -> bool:
    return path.stat().st_size <= AT_START


def look_over(db: Connection) -> str:
    """SOUND, or what is wrong. It reads the whole file. Raises DBAPIError."""
    found: str = db.exec_driver_sql(LOOK).scalar_one()
    return found


def looked_at(db: sqlite3.Connection) -> str:
    """The same by the driver's own connection. Raises sqlite3.DatabaseError."""
    found: str = db.execute(LOOK).fetchone()[0]
    return found


@asynccontextmanager
async def looked_over(path: Path, distrust: Callable[[str], None]) -> AsyncIterator[None]:
    """While the context is open, the file is read in a thread; `distrust` is told what is wrong with it.

    Meanwhile its write-ahead log cannot be emptied.
    """
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, check_same_thread=False)
    looking = asyncio.create_task(_look(db, distrust), name="look-over")
    try:
        yield
    finally:
        db.interrupt()
        await looking
        db.close()


async def _look(db: sqlite3.Connection, distrust: Callable[[str], None]) -> None:
    found = await asyncio.to_thread(_found, db)
    if found != SOUND:
        log.trouble("store.damaged", found=found, remedy="restore a backup, or salvage the file with `.recover`")
        distrust(found)


def _found(db: sqlite3.Connection) -> str:
    try:
        return looked_at(db)
    except sqlite3.OperationalError:  # interrupted, or it could not be read now, which whoever writes finds out
        return SOUND
    except sqlite3.DatabaseError as exc:
        return str(exc)
