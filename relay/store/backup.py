"""Backups of a SQLite database, and what a database that comes out of a backup may still send: nothing by itself.

What was unsent when the backup was made may have been sent since. So it is held, until a Send event says that it was,
or someone lets it go.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, and_, delete, func, null, select, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from relay.delivery import FINAL, State
from relay.errors import Kind
from relay.sealing import MasterKey, Sealer
from relay.store import copying, database
from relay.store.clock import HELD_AT_MOST, clock, milliseconds, rfc3339
from relay.store.copying import Progress
from relay.store.database import StoreError
from relay.store.directory import audit
from relay.store.directory.audit import Actor
from relay.store.schema import WAITING_POSTS, deliveries, installation, messages, notices, stops, webhook_posts

UNSENT = tuple(state for state in State if state not in FINAL)


@dataclass(frozen=True, slots=True)
class Found:
    """What a backup holds. `unsent`: deliveries by state."""

    schema: str
    octets: int
    messages: int
    unsent: Mapping[State, int]


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore came to. `held`: deliveries that were unsent. `aside`: where the database is that was there."""

    schema: str
    messages: int
    held: int
    aside: Path | None


def back_up(path: Path, target: Path, progress: Progress) -> Found:
    """Copy the database at `path`, beside a running server if there is one.

    Raises StoreError where there is none, it is damaged, or the target is taken. A backup that is cut off leaves
    nothing under the target's name.
    """
    if not path.exists():
        raise StoreError(f"there is no database at {path}")
    if not target.parent.is_dir():
        raise StoreError(f"the folder {target.parent} does not exist: create it first")
    try:
        copying.copy(path, target, progress)
    except FileExistsError as exc:
        raise StoreError(f"{target} exists already: a backup never takes the place of another file") from exc
    except sqlite3.DatabaseError as exc:
        raise StoreError(f"{path} cannot be backed up ({exc}); what is at {target.parent} before stays") from exc
    return look(target)


def look(file: Path) -> Found:
    """What is in a backup, which stays as it is. Raises StoreError for what is none, damaged, or from a newer Relay."""
    if not file.is_file():
        raise StoreError(f"there is no backup at {file}")
    try:
        copying.check(file)
        engine = database.reading_engine(_url(file))
        try:
            with engine.begin() as db:
                return _found(db, file)
        finally:
            engine.dispose()
    except (sqlite3.DatabaseError, DBAPIError) as exc:
        raise StoreError(f"{file} is no backup, or a damaged one ({getattr(exc, 'orig', exc)})") from exc


def _found(db: Connection, file: Path) -> Found:
    schema = database.revision_of(db)
    if schema is None:
        raise StoreError(f"{file} is no backup of a Relay database")
    database.check_revision(db)
    counted = select(deliveries.c.state, func.count()).where(_is_unsent()).group_by(deliveries.c.state)
    unsent = {State(state): count for state, count in db.execute(counted).all()}
    return Found(schema, file.stat().st_size, db.scalar(select(func.count()).select_from(messages)) or 0, unsent)


def restore(path: Path, file: Path, master: MasterKey, by: Actor) -> Restored:
    """Put a backup in the place of the database at `path`, which is kept aside. All that is unsent in it is held.

    The caller has the database to itself. Until the last step nothing has changed; that step is a rename. Raises
    StoreError, or SealingError where the master key is not the backup's.
    """
    found = look(file)
    with copying.growing(path) as part:
        shutil.copyfile(file, part)
        url = _url(part)
        _require_key(url, master)
        database.migrate_sqlite(url, has_backup=True)
        engine = database.writing_engine(url)
        try:
            with engine.begin() as db:
                held = hold_unsent(db, by, f"backup {file.name}")
        finally:
            engine.dispose()
        _make_plain(part)
        copying.flush(part)
        aside = _set_aside(path)
        part.replace(path)
        copying.flush(path.parent)
    return Restored(found.schema, found.messages, held, aside)


def hold_unsent(db: Connection, by: Actor, what: str) -> int:
    """Hold whatever is unsent, for 5 days from now, or from when it is due if that is later. Returns how many it were.

    It is no move of a running queue: nobody else may be at work on this database. Mail to people about their accounts
    is dropped, for it was sent within the hour; what waited for webhooks can be replayed; and what had stopped SES
    accounts is asked of SES again.
    """
    now = clock(db)
    said = f"it was unsent when the database was restored on {rfc3339(now, 'seconds')}, and may have been sent since"
    later = func.max if db.dialect.name == "sqlite" else func.greatest
    held = db.execute(
        update(deliveries)
        .where(_is_unsent())
        .values(
            state=State.HELD.value,
            kind=Kind.RESTORED.slug,
            detail=said,
            due_at=later(deliveries.c.first_due_at, now) + milliseconds(HELD_AT_MOST),
            delay_at=null(),
        )
    ).rowcount
    db.execute(delete(notices))
    db.execute(delete(stops))
    # Given up, and not gone: a replay posts it, under the id by which a receiver knows what it has.
    db.execute(update(webhook_posts).where(WAITING_POSTS).values(due_at=null(), dead_at=now))
    audit.record(db, by, "database.restore", what, tenant_id=None, changes={"held": [None, held]})
    return held


def _is_unsent() -> ColumnElement[bool]:
    return and_(deliveries.c.finished_at.is_(None), deliveries.c.state.in_([state.value for state in UNSENT]))


def _require_key(url: URL, master: MasterKey) -> None:
    """Raises SealingError, or StoreError for a database that was never started."""
    engine = database.reading_engine(url)
    try:
        with engine.begin() as db:
            wrapped = db.scalar(select(installation.c.wrapped_key))
    finally:
        engine.dispose()
    if wrapped is None:
        raise StoreError("the backup is of a database that no server has used yet: there is nothing to restore")
    Sealer(master, wrapped)


def _set_aside(path: Path) -> Path | None:
    """Keep the database that is there under another name, and leave it where it is until the new one replaces it."""
    if not path.exists():
        return None
    aside = path.with_name(f"{path.name}.{int(time.time())}.replaced")
    # Links first: SQLite deletes the log of a file that it takes for no database, and that may be all that is left.
    linked = [ending for ending in ("", "-wal") if Path(f"{path}{ending}").exists()]
    for ending in linked:
        os.link(f"{path}{ending}", f"{aside}{ending}")
    try:
        is_plain = _make_plain(path)
    except StoreError:
        for ending in linked:
            Path(f"{aside}{ending}").unlink()
        raise
    if is_plain:
        Path(f"{aside}-wal").unlink(missing_ok=True)
    copying.flush(path.parent)
    for ending in ("-wal", "-shm"):  # they belong to what is aside now, and would be read as the new one's
        Path(f"{path}{ending}").unlink(missing_ok=True)
    return aside


def _make_plain(path: Path) -> bool:
    """Move the write-ahead log into the file: then the file alone is the database. False where it is too damaged.

    Raises StoreError where another process has it open.
    """
    try:
        with closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as db:
            return bool(db.execute("PRAGMA journal_mode = DELETE").fetchone()[0] == "delete")
    except sqlite3.OperationalError as exc:
        if "locked" in str(exc):
            raise StoreError(f"another process has {path} open, a command perhaps: wait for its end") from exc
        return False
    except sqlite3.DatabaseError:
        return False


def _url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))
