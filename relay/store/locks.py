"""Whether servers work on a PostgreSQL database, by the locks that they hold on it."""

from __future__ import annotations

from sqlalchemy import Connection, text

from relay.store.database import StoreError

_HELD = text(
    "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
    "WHERE locktype = 'advisory' AND granted AND datname = current_database() AND pid <> pg_backend_pid()"
)


def require_alone(db: Connection) -> None:
    """Raises StoreError while a server owns anything here. Each owns its lanes from its start on."""
    if db.dialect.name != "sqlite" and db.execute(_HELD).scalar_one():
        raise StoreError("a relay is working on this database: stop all of them first")
