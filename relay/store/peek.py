"""How a command looks at the database and leaves everything as it is: it makes no database, no schema and no key."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, create_engine, select
from sqlalchemy.pool import StaticPool

from relay.sealing import KEY_SIZE, MasterKey, Sealer
from relay.settings import Settings
from relay.store import database, files
from relay.store.beside import OLD_SCHEMA, once
from relay.store.database import StoreError
from relay.store.directory.installation import establish
from relay.store.schema import installation, metadata

Answer = TypeVar("Answer")


def peek(settings: Settings, read: Callable[[Connection, Sealer], Answer]) -> Answer:
    """Run `read`, beside a running server if there is one. Of an installation that is not there yet, it reads one that
    is as new, in memory.

    Raises StoreError, or SealingError where the master key is missing.
    """
    url = files.database_url(settings)

    def run(db: Connection) -> Answer:
        if not database.check_revision(db):
            if database.revision_of(db) is not None:
                raise StoreError(OLD_SCHEMA)
            return _of_a_new_one(read)
        wrapped = db.scalar(select(installation.c.wrapped_key))
        return (
            _of_a_new_one(read) if wrapped is None else read(db, Sealer(files.existing_master_key(settings), wrapped))
        )

    if database.is_sqlite(url) and not database.sqlite_path(url).exists():
        return _of_a_new_one(read)
    return once(url, run, is_reading=True)


def _of_a_new_one(read: Callable[[Connection, Sealer], Answer]) -> Answer:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    try:
        with engine.begin() as db:
            metadata.create_all(db)
            return read(db, establish(db, MasterKey(os.urandom(KEY_SIZE))))
    finally:
        engine.dispose()
