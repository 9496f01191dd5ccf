"""How a command reaches the database: in one small transaction, beside a running server if there is one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from relay.config import Settings
from relay.sealing import Sealer
from relay.store import database, directory, files
from relay.store.database import StoreError

Answer = TypeVar("Answer")


def with_database(settings: Settings, work: Callable[[Connection, Sealer], Answer]) -> Answer:
    """Run `work` in one small transaction, beside a running server if there is one. Raises StoreError."""
    url = files.database_url(settings)
    master = files.master_key(settings)

    def run(db: Connection) -> Answer:
        if not database.check_revision(db):
            raise StoreError("the database's schema is old: start the server, or run `relay migrate`, first")
        return work(db, directory.establish(db, master))

    if database.is_sqlite(url):
        if not database.sqlite_path(url).exists():
            database.migrate_sqlite(url)
        engine = database.writing_engine(url)
        try:
            with engine.begin() as db:
                return run(db)
        finally:
            engine.dispose()

    async def over_asyncpg() -> Answer:
        engine = database.listing_engine(url)
        try:
            await database.reach(engine)
            async with engine.begin() as db:
                return await db.run_sync(run)
        finally:
            await engine.dispose()

    return asyncio.run(over_asyncpg())
