"""Databases for whole modules: one on SQLite and one on PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest

from relay.store.database import migrate_postgresql
from tests import databases


# On PostgreSQL with `make soak`: what a tenant may see is decided above the store, whose own tests run on both.
@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)])
def database(request: pytest.FixtureRequest) -> str:
    """What `database` of a configuration says: a new, empty one, with its schema where a server does not make it."""
    if request.param == "sqlite":
        return "relay.db"
    url = databases.postgresql()
    asyncio.run(migrate_postgresql(url))
    return databases.setting(url)
