"""Both databases, for tests that run twice, on SQLite and on PostgreSQL; and a look at every SMTP reply of all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy.engine import URL

from relay.smtp.channel import Channel
from tests import databases
from tests.wire import is_sound

BOTH = ["sqlite", "postgresql"]

# `make test` tries the same examples every time, so that a red run is about what was changed. `make soak` looks for new
# ones. Neither minds how long one takes: machines differ.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


@pytest.fixture(params=BOTH)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """Of a database without a schema, which on SQLite is not there yet."""
    return databases.sqlite(tmp_path) if request.param == "sqlite" else databases.postgresql()


@pytest.fixture(params=BOTH)
def database(request: pytest.FixtureRequest) -> str:
    """The same as `database` of a configuration says it."""
    return "relay.db" if request.param == "sqlite" else databases.setting(databases.postgresql())


@pytest.fixture(scope="session", autouse=True)
def every_smtp_reply() -> Iterator[None]:
    """Each reply of each server in this process is of the form that RFC 2034 and RFC 5321 give it, whoever reads it."""
    unsound: list[bytes] = []
    say = Channel.say

    def noted(channel: Channel, reply: bytes) -> None:
        if not all(is_sound(line) for line in reply.decode("latin-1").removesuffix("\r\n").split("\r\n")):
            unsound.append(reply)
        say(channel, reply)

    Channel.say = noted  # type: ignore[method-assign]
    yield
    Channel.say = say  # type: ignore[method-assign]
    assert not unsound
