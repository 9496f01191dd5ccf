"""Opens a database, SQLite or PostgreSQL, the way Relay needs it: durable, alone, and at the right schema."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, column, create_engine, event, inspect, select, table
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from relay import log
from relay.errors import Unusable, printable
from relay.store import checking, copying
from relay.store.room import LOG_LIMIT
from relay.store.schema import REVISIONS
from relay.store.writer import BUSY_TIMEOUT

INCREMENTAL = 2  # what SQLite calls it when it is asked for auto_vacuum
ROOM_TO_VACUUM = 2.5  # times the file's size: the new one, and the log by which it takes the old one's place


class StoreError(Unusable):
    """The database cannot be used. The text says why and what to do."""

    exit_code = os.EX_UNAVAILABLE


def parse_url(text: str, relative_to: Path) -> URL:
    """`postgresql://...` as it is; anything else is the path of a SQLite file.

    Raises StoreError, which never quotes a URL: there is a password in it.
    """
    if text.startswith(("postgresql://", "postgres://")):
        try:
            url = make_url(text.replace("postgres://", "postgresql://", 1))
        except (ArgumentError, ValueError):  # the latter for a port that is no number
            raise StoreError(
                "database: cannot be read as postgresql://USER:PASSWORD@HOST:PORT/NAME; write what is special in the "
                "password as %XX"
            ) from None
        # libpq's name for it, which everybody knows; asyncpg's takes the same values.
        query = {"ssl" if name == "sslmode" else name: value for name, value in url.query.items()}
        return url.set(drivername="postgresql+asyncpg", query=query)
    if "://" in text:
        raise StoreError("database: takes the path of a SQLite file, or a URL that begins with postgresql://")
    return URL.create("sqlite", database=str((relative_to / text).resolve()))


def is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def sqlite_path(url: URL) -> Path:
    assert url.database
    return Path(url.database)


def _prepare_sqlite(engine: Engine, *, read_only: bool) -> None:
    @event.listens_for(engine, "connect")
    def _connect(driver: Any, _record: Any) -> None:
        driver.isolation_level = None  # the driver would begin too late, and not IMMEDIATE
        cursor = driver.cursor()
        if not read_only and cursor.execute("PRAGMA auto_vacuum").fetchone() != (INCREMENTAL,):
            # Of a new file: first, for it is laid down with the first page. One that has it would be written to.
            cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")
        for pragma in (
            f"busy_timeout = {BUSY_TIMEOUT}",
            "foreign_keys = ON",
            *(
                ("query_only = ON",)
                if read_only
                # NORMAL loses acknowledged mail in a power cut, FULL does not (SMTP fact 0.7).
                else (
                    "journal_mode = WAL",
                    "synchronous = FULL",
                    "secure_delete = ON",
                    "cache_size = -16000",
                    f"journal_size_limit = {LOG_LIMIT}",
                )
            ),
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(db: Connection) -> None:
        # IMMEDIATE: a transaction that reads first and writes later could not wait for its turn.
        db.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def writing_engine(url: URL) -> Engine:
    """SQLite: for the writer's thread, or for a command that writes beside a server."""
    engine = create_engine(url, poolclass=NullPool, connect_args={"check_same_thread": False})
    _prepare_sqlite(engine, read_only=False)
    return engine


def reading_engine(url: URL) -> Engine:
    """SQLite: for hot look-ups, direct and on the loop's own thread."""
    engine = create_engine(url, connect_args={"check_same_thread": False})
    _prepare_sqlite(engine, read_only=True)
    return engine


def listing_engine(url: URL) -> AsyncEngine:
    """For listings and management reads, and on PostgreSQL for everything. Raises StoreError without its driver."""
    if not is_sqlite(url):
        if find_spec("asyncpg") is None:
            raise StoreError("PostgreSQL needs asyncpg, which is not installed: pip install 'ses-relay[postgres]'")
        return create_async_engine(url, pool_pre_ping=True)
    engine = create_async_engine(url.set(drivername="sqlite+aiosqlite"), pool_size=4, max_overflow=0)
    _prepare_sqlite(engine.sync_engine, read_only=True)
    return engine


@contextmanager
def sole_owner(path: Path) -> Iterator[None]:
    """Hold the database directory for this process. Raises StoreError if another server has it."""
    words = f"another relay is serving {path}: stop it first, or give this one a database of its own"
    with alone(path.with_name(f"{path.name}.lock"), words):
        yield


@contextmanager
def alone(lock: Path, words: str) -> Iterator[None]:
    """Hold a lock file. Raises StoreError with these words if another process has it."""
    file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise StoreError(words) from exc
        yield
    finally:
        os.close(file)


def is_served(path: Path) -> bool:
    """Whether a server has this file at the moment."""
    try:
        with sole_owner(path):
            return False
    except StoreError:
        return True


# -- schema ----------------------------------------------------------------------------------------------------------


def revision_of(db: Connection) -> str | None:
    """The schema a database has; None for an empty one. Alembic itself is only loaded to change it."""
    if not inspect(db).has_table("alembic_version"):
        return None
    found: str | None = db.scalar(select(column("version_num")).select_from(table("alembic_version")))
    return found


def upgrade(db: Connection) -> None:
    """Bring the schema to the newest revision, inside the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = db
    command.upgrade(config, "head")


def check_revision(db: Connection) -> bool:
    """Whether the schema is current; False if it is older or absent. Raises StoreError if it is newer."""
    found = revision_of(db)
    if found is not None and found not in REVISIONS:
        raise StoreError(
            f"the database was written by a newer Relay (schema {found}, this one knows {REVISIONS[-1]}): "
            "install that version, or restore the backup made before its upgrade"
        )
    return found == REVISIONS[-1]


def migrate_sqlite(url: URL, *, has_backup: bool = False) -> None:
    """Create or upgrade a SQLite file. An upgrade takes a backup beside it first, unless there is one.

    Raises StoreError for a file that is damaged, newer, or cannot be opened. A large one is not looked over here.
    """
    path = sqlite_path(url)
    if not path.parent.is_dir():
        raise StoreError(f"the folder of the database, {path.parent}, does not exist: create it first")
    _require_whole(path)
    is_new = not path.exists()
    if is_new:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    engine = writing_engine(url)
    try:
        with engine.connect() as db:
            if not is_new and checking.is_small(path) and checking.look_over(db) != checking.SOUND:
                raise StoreError(f"{path} is damaged: restore a backup, or salvage it with `sqlite3 {path} .recover`")
            is_current = check_revision(db)
            was = revision_of(db)
            db.rollback()
            if is_current:
                return
            if was is not None and not has_backup:
                log.event("store.backup", file=str(_backup(path, was)))
            with db.begin():
                upgrade(db)
            log.event("store.migrated", schema=REVISIONS[-1])
            if was is not None:
                _make_shrinkable(db, path)
    except DBAPIError as exc:
        raise StoreError(
            f"{path} cannot be read as a database ({exc.orig}): restore a backup, or move the file away to start anew"
        ) from exc
    finally:
        engine.dispose()


def _require_whole(path: Path) -> None:
    """That no file of the database was taken away: SQLite would go on without it. Raises StoreError."""
    log_file, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    is_empty = not path.exists() or path.stat().st_size == 0
    if is_empty and log_file.exists() and log_file.stat().st_size:
        raise StoreError(
            f"{log_file} is there, with mail in it, but {path} is not: bring that back, or move the log away to start "
            "anew"
        )
    if index.exists() and not log_file.exists():  # SQLite makes the one after the other, and deletes it before
        raise StoreError(
            f"{log_file} is missing, and the last mail that was acknowledged is in it: bring it back, or delete "
            f"{index} to go on without"
        )


async def reach(engine: AsyncEngine) -> None:
    """Connect once. Raises StoreError, without the password, where the database cannot be had."""
    try:
        async with engine.connect():
            return
    except Exception as exc:  # the driver's own, its dialect's, the network's
        words = printable(str(getattr(exc, "orig", exc)), 300)
        raise StoreError(f"the database cannot be reached: {type(exc).__name__}: {words}") from exc


async def migrate_postgresql(url: URL) -> None:
    """Create or upgrade the schema. Raises StoreError for a newer one."""
    engine = listing_engine(url)
    try:
        await reach(engine)
        async with engine.begin() as db:
            if not await db.run_sync(check_revision):
                await db.run_sync(upgrade)
    finally:
        await engine.dispose()


def _backup(path: Path, revision: str) -> Path:
    copy = path.with_name(f"{path.name}.{revision}.{int(time.time())}.backup")
    copying.copy(path, copy)
    return copy


def _make_shrinkable(db: Connection, path: Path) -> None:
    """Once, of a file that an older Relay made: it can give back free pages from now on."""
    is_shrinkable = bool(db.exec_driver_sql("PRAGMA auto_vacuum").scalar())
    db.rollback()
    if is_shrinkable:
        return
    size = path.stat().st_size
    if shutil.disk_usage(path.parent).free < ROOM_TO_VACUUM * size:
        log.trouble(
            "store.not_vacuumed", octets=size, reason="the disk has no room for a second copy: it cannot shrink"
        )
        return
    driver = db.connection.driver_connection
    assert driver is not None
    try:
        driver.execute("VACUUM")  # outside any transaction; an older layout is what it was if this does not end
        driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        log.event("store.vacuumed", octets=size, now=path.stat().st_size)
    except sqlite3.OperationalError as exc:  # a disk that fills up meanwhile, a temporary folder that is too small
        log.trouble("store.not_vacuumed", octets=size, reason=printable(str(exc)))
