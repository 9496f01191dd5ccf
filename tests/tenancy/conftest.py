"""Databases for whole modules: one on SQLite and one on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.engine import URL

from relay.store.database import migrate_postgresql
from tests import databases


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], URL]]:
    with databases.postgresql(tmp_path_factory.mktemp("postgresql")) as fresh:
        yield fresh


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """What `database` of a configuration says: a new, empty one, with its schema where a server does not make it."""
    if request.param == "sqlite":
        return "relay.db"
    fresh: Callable[[], URL] = request.getfixturevalue("postgresql")
    url = fresh()
    asyncio.run(migrate_postgresql(url))
    return url.set(drivername="postgresql").render_as_string(hide_password=False)
