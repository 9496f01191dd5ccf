"""Installations for commands: one on SQLite and one on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.engine import URL

from tests import databases


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], URL]]:
    with databases.postgresql(tmp_path_factory.mktemp("postgresql")) as fresh:
        yield fresh


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """What `database` of a configuration says: a new, empty one."""
    if request.param == "sqlite":
        return "relay.db"
    fresh: Callable[[], URL] = request.getfixturevalue("postgresql")
    return fresh().set(drivername="postgresql").render_as_string(hide_password=False)
