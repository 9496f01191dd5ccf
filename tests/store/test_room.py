"""A database that was full gives its disk back, a little at a time; and its log stays short."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete
from sqlalchemy.engine import URL

from relay.dispatch.upkeep import Upkeep
from relay.metrics import Metrics
from relay.store import database, room, schema
from relay.store.room import MB, Room
from relay.store.store import Store
from relay.store.writer import Rank
from tests import databases
from tests.store.stories import message, play, put


@pytest.mark.parametrize(
    ("size", "free", "spare"),
    [
        (10 * MB, 10 * MB, 0),  # a small file keeps what it has
        (100 * MB, 16 * MB, 0),
        (100 * MB, 90 * MB, 74 * MB),
        (1000 * MB, 90 * MB, 0),
        (1000 * MB, 300 * MB, 230 * MB),
    ],
)
def test_what_is_spare(size: int, free: int, spare: int) -> None:
    assert Room(size, free, 0).spare == spare


def test_a_drained_backlog_gives_its_disk_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "KEPT_FREE", 1 * MB)
    url = databases.sqlite(tmp_path)
    path = database.sqlite_path(url)
    sizes: list[int] = []

    async def story(store: Store, tenant: int) -> None:
        metrics = Metrics()
        upkeep = Upkeep(store, metrics)
        for _ in range(30):
            await put(store, message(store, tenant, content=os.urandom(MB)))
        assert await upkeep.tidy()  # nothing is free yet
        await store.truncate_log()
        sizes.append(path.stat().st_size)
        await store.change(lambda db: db.execute(delete(schema.contents)))
        free = (await store.read(room.room)).free
        assert free > 30 * MB
        while not await upkeep.tidy():
            pass
        await store.truncate_log()
        sizes.append(path.stat().st_size)
        found = await store.read(room.room)
        assert found.spare < MB / 10  # what is used has become less, too: the map of pages went with them
        await upkeep.tidy()
        told = dict(
            line.split() for line in metrics.text().decode().splitlines() if "_bytes " in line and line[0] != "#"
        )
        assert float(told["relay_database_bytes"]) == found.database
        assert float(told["relay_database_free_bytes"]) == found.free
        assert float(told["relay_wal_bytes"]) == found.log

    play(url, story)
    assert sizes[0] > 30 * MB
    assert sizes[1] < 3 * MB
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)


def test_one_step_is_small(tmp_path: Path) -> None:
    async def story(store: Store, tenant: int) -> None:
        for _ in range(8):
            await put(store, message(store, tenant, content=os.urandom(MB)))
        await store.change(lambda db: db.execute(delete(schema.contents)))
        before = await store.read(room.room)
        given = await store.write(room.give_back, room.STEP, Rank.SWEEP)
        after = await store.read(room.room)
        assert given == room.STEP == before.database - after.database == before.free - after.free

    play(databases.sqlite(tmp_path), story)


def test_a_file_that_cannot_shrink_is_left_alone(tmp_path: Path) -> None:
    url = databases.sqlite(tmp_path)

    async def fill(store: Store, tenant: int) -> None:
        for _ in range(20):
            await put(store, message(store, tenant, content=os.urandom(MB)))

    play(url, fill)
    with closing(sqlite3.connect(database.sqlite_path(url), isolation_level=None)) as db:
        db.execute("PRAGMA auto_vacuum = NONE")
        db.execute("VACUUM")

    async def story(store: Store, tenant: int) -> None:
        await store.change(lambda db: db.execute(delete(schema.contents)))
        assert (await store.read(room.room)).spare > 0
        assert await Upkeep(store, Metrics()).tidy()
        assert await store.write(room.give_back, MB, Rank.SWEEP) == 0

    play(url, story)


def test_a_long_log_is_cut_as_soon_as_no_reader_is_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LOG_LIMIT", 2 * MB)
    monkeypatch.setattr(room, "LOG_TROUBLE", 3 * MB)
    url = databases.sqlite(tmp_path)
    log = Path(f"{database.sqlite_path(url)}-wal")

    async def story(store: Store, tenant: int) -> None:
        upkeep = Upkeep(store, Metrics())
        with closing(sqlite3.connect(database.sqlite_path(url), isolation_level=None)) as reader:
            reader.execute("begin")
            reader.execute("select count(*) from messages").fetchone()
            for _ in range(6):
                await put(store, message(store, tenant, content=os.urandom(MB)))
            await upkeep.tidy()
            assert await asyncio.to_thread(lambda: log.stat().st_size) > 6 * MB
        await upkeep.tidy()
        assert log.stat().st_size == 0

    play(url, story)


def test_the_size_of_either_database_is_known(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        found = await store.read(room.room)
        assert found.database > 100_000
        assert await store.write(room.give_back, MB, Rank.SWEEP) == 0
        assert await Upkeep(store, Metrics()).tidy()
        assert isinstance(store.is_idle, bool)

    play(url, story)
