"""Looks at a database as it is, for whoever asks what is wrong: makes nothing, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from relay.sealing import Sealer
from relay.settings import Settings
from relay.store import database, files, stops
from relay.store.beside import OLD_SCHEMA, once
from relay.store.database import StoreError
from relay.store.schema import REVISIONS, installation
from relay.store.stops import Stopped


@dataclass(frozen=True, slots=True)
class Examined:
    """A database that can be read. `wrapped_key` None: no server has started on it yet."""

    schema: str
    wrapped_key: bytes | None
    stops: tuple[Stopped, ...]


def examine(settings: Settings) -> Examined | None:
    """None where there is no database yet. Raises StoreError for one that cannot be used, with what to do."""
    url = files.database_url(settings)
    if database.is_sqlite(url) and not database.sqlite_path(url).exists():
        return None
    try:
        return once(url, _read, is_reading=True)
    except (DBAPIError, OSError) as exc:
        raise StoreError(f"the database does not answer ({type(exc).__name__}): see that it runs and is whole") from exc


def _read(db: Connection) -> Examined:
    if not database.check_revision(db):
        raise StoreError(OLD_SCHEMA)
    wrapped = db.scalar(select(installation.c.wrapped_key))
    return Examined(REVISIONS[-1], wrapped, tuple(stops.every(db)))


def try_master_key(settings: Settings, wrapped_key: bytes) -> None:
    """Raises SealingError where it is missing, or is another installation's."""
    Sealer(files.existing_master_key(settings), wrapped_key)
