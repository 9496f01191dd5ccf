"""How a command reaches the database: in small transactions, beside a running server if there is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.sealing import Sealer
from relay.settings import Settings
from relay.store import database, files
from relay.store.database import StoreError
from relay.store.directory.installation import establish
from relay.store.health import translated

Answer = TypeVar("Answer")
OLD_SCHEMA = "the database's schema is old: start the server, or run `relay migrate`, first"


def with_database(settings: Settings, work: Callable[[Connection, Sealer], Answer]) -> Answer:
    """Run `work` in one small transaction, beside a running server if there is one. Raises StoreError."""
    url = files.database_url(settings)
    master = files.master_key(settings)

    def run(db: Connection) -> Answer:
        _check(db)
        return work(db, establish(db, master))

    if database.is_sqlite(url) and not database.sqlite_path(url).exists():
        database.migrate_sqlite(url)
    return once(url, run)


def once(url: URL, work: Callable[[Connection], Answer], *, is_reading: bool = False) -> Answer:
    """Open a database, run `work` in one transaction, close it. `is_reading`: on SQLite it waits for no writer."""
    if database.is_sqlite(url):
        engine = database.reading_engine(url) if is_reading else database.writing_engine(url)
        try:
            with engine.begin() as db:
                return work(db)
        finally:
            engine.dispose()

    async def over_asyncpg() -> Answer:
        engine = database.listing_engine(url)
        try:
            await database.reach(engine)
            async with engine.begin() as db:
                return await db.run_sync(work)
        finally:
            await engine.dispose()

    return asyncio.run(over_asyncpg())


class Changes(Protocol):
    """What changes the directory in a server (Store) and in a command (Beside) alike."""

    @property
    def sealer(self) -> Sealer: ...

    async def change(self, change: Callable[[Connection], Answer]) -> Answer:
        """Make one change, in a transaction. Raises what it raises, and Problem for the database's own troubles."""

    async def read(self, read: Callable[[Connection], Answer]) -> Answer:
        """Raises as `change`."""


class Beside:
    """The database as a command has it that must not keep a transaction while it waits for others.

    Built by `open_beside`. Each change and each read is a transaction of its own.
    """

    def __init__(self, writing: Engine | AsyncEngine, reading: Engine | AsyncEngine, sealer: Sealer) -> None:
        self._writing = writing
        self._reading = reading
        self.sealer = sealer

    async def change(self, change: Callable[[Connection], Answer]) -> Answer:
        """Make one change. Raises what it raises, and Problem(INTERNAL | STORAGE_FULL) for the database's troubles."""
        return await _translating(self._writing, change)

    async def read(self, read: Callable[[Connection], Answer]) -> Answer:
        """Raises as `change`. On SQLite it waits for no writer, and lets none wait."""
        return await _translating(self._reading, read)


async def _translating(engine: Engine | AsyncEngine, work: Callable[[Connection], Answer]) -> Answer:
    try:
        return await _within(engine, work)
    except DBAPIError as exc:
        raise translated(exc) from exc


@asynccontextmanager
async def open_beside(settings: Settings) -> AsyncIterator[Beside]:
    """The database beside a running server, if there is one. Raises StoreError or SealingError with what to do."""
    url = files.database_url(settings)
    master = files.master_key(settings)

    def establish_checked(db: Connection) -> Sealer:
        _check(db)
        return establish(db, master)

    if database.is_sqlite(url):
        if not database.sqlite_path(url).exists():
            database.migrate_sqlite(url)
        writing, reading = database.writing_engine(url), database.reading_engine(url)
        try:
            sealer = await _within(writing, establish_checked)
            # The last connection to close empties the write-ahead log: one that stays spares that to each transaction.
            with reading.connect():
                yield Beside(writing, reading, sealer)
        finally:
            writing.dispose()
            reading.dispose()
        return
    pool = database.listing_engine(url)
    try:
        await database.reach(pool)
        yield Beside(pool, pool, await _within(pool, establish_checked))
    finally:
        await pool.dispose()


async def _within(engine: Engine | AsyncEngine, work: Callable[[Connection], Answer]) -> Answer:
    """Run `work` in a transaction; on SQLite in a thread, because it may wait for the server's."""
    if isinstance(engine, AsyncEngine):
        async with engine.begin() as pooled:
            return await pooled.run_sync(work)

    def alone() -> Answer:
        with engine.begin() as db:
            return work(db)

    return await asyncio.to_thread(alone)


def _check(db: Connection) -> None:
    if not database.check_revision(db):
        raise StoreError(OLD_SCHEMA)
