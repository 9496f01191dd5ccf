"""What tests of both databases ask for: each runs twice, on SQLite and on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from tests import databases

BOTH = ["sqlite", "postgresql"]


@pytest.fixture(params=BOTH)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """Of a database without a schema, which on SQLite is not there yet."""
    return databases.sqlite(tmp_path) if request.param == "sqlite" else databases.postgresql()


@pytest.fixture(params=BOTH)
def database(request: pytest.FixtureRequest) -> str:
    """The same as `database` of a configuration says it."""
    return "relay.db" if request.param == "sqlite" else databases.setting(databases.postgresql())
