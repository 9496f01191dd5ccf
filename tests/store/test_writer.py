"""The one writer: what commits together, in which order, and whose fault is whose."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from relay.errors import Kind, Problem
from relay.store import database, store, writer
from relay.store.store import open_store
from relay.store.writer import MAX_BYTES, MAX_ITEMS, PASSES, Rank, TaskWriter, ThreadWriter, _Job, next_batch
from tests import databases
from tests.store.stories import MASTER


def job(rank: Rank = Rank.ACCEPT, size: int = 0, *, is_bare: bool = False) -> _Job:
    return _Job(rank, lambda db, items: items, None, size, answer=None, is_bare=is_bare)  # type: ignore[arg-type]


def test_a_batch_is_bounded_in_items_and_octets() -> None:
    waiting = deque(job() for _ in range(250))
    assert [len(next_batch(waiting)) for _ in range(4)] == [MAX_ITEMS, MAX_ITEMS, 50, 0]
    waiting = deque([job(size=MAX_BYTES // 2), job(size=MAX_BYTES // 2), job(size=1), job(size=50 << 20), job()])
    assert [len(next_batch(waiting)) for _ in range(4)] == [2, 1, 1, 1]  # a large one alone, and never stuck


def test_small_writes_go_before_a_large_one_but_not_for_ever() -> None:
    waiting = deque([job(size=25 << 20), job(size=25 << 20)])
    sizes = []
    for _ in range(2 * PASSES + 2):
        waiting.append(job(size=1))
        sizes.append([each.size for each in next_batch(waiting)])
    passing = [[1]] * PASSES
    assert sizes == [*passing, [25 << 20], [1, 1], *passing[1:], [25 << 20]]


def test_what_frees_the_queue_goes_first_and_what_needs_no_transaction_alone() -> None:
    waiting = deque([job(Rank.SWEEP), job(Rank.ACCEPT), job(Rank.SETTLE), job(is_bare=True), job(Rank.SETTLE)])
    assert [each.rank for each in next_batch(waiting)] == [Rank.SETTLE, Rank.ACCEPT, Rank.SWEEP]
    assert [each.is_bare for each in next_batch(waiting)] == [True]
    assert len(next_batch(waiting)) == 1


def test_changes_of_the_directory_commit_apart_from_mail() -> None:
    waiting = deque(job(rank) for rank in (Rank.ACCEPT, Rank.SETTLE, Rank.MANAGE, Rank.MANAGE, Rank.ACCEPT))
    batches = [[each.rank for each in next_batch(waiting)] for _ in range(3)]
    assert batches == [[Rank.SETTLE, Rank.ACCEPT], [Rank.MANAGE, Rank.MANAGE], [Rank.ACCEPT]]


def write(tmp_path: Path, *rounds: Any) -> list[Any]:
    """Give the writer all of these at once; what each got."""

    async def story() -> list[Any]:
        one = ThreadWriter(database.writing_engine(databases.sqlite(tmp_path)))
        try:
            await one.write(create, None, Rank.SWEEP)
            return await asyncio.gather(*(one.write(*each) for each in rounds), return_exceptions=True)
        finally:
            await one.close()

    return asyncio.run(story())


def create(db: Connection, items: Sequence[None]) -> list[None]:
    return [db.execute(text("create table t (x integer primary key)")).close() for _ in items]


def insert(db: Connection, items: Sequence[int]) -> list[int]:
    for item in items:
        db.execute(text("insert into t values (:x)"), {"x": item})
    return list(items)


def boom(db: Connection, items: Sequence[int]) -> list[int]:
    db.execute(text("insert into t values (1000)"))
    raise Problem(Kind.CONFLICT, "not this one")


def count(db: Connection, items: Sequence[None]) -> list[int]:
    return [db.execute(text("select count(*) from t")).scalar_one() for _ in items]


def test_only_the_guilty_gets_the_error_and_nothing_of_it_stays(tmp_path: Path) -> None:
    numbers = [(insert, number, Rank.ACCEPT) for number in range(10)]
    results = write(tmp_path, *numbers, (boom, 0, Rank.ACCEPT), (insert, 3, Rank.ACCEPT), (insert, 99, Rank.ACCEPT))
    assert results[:10] == list(range(10))
    assert [problem.kind for problem in results[10:12]] == [Kind.CONFLICT, Kind.INTERNAL]
    assert results[12] == 99
    assert write_count(tmp_path) == 11


def write_count(tmp_path: Path) -> int:
    engine = create_engine(databases.sqlite(tmp_path))
    with engine.connect() as db:
        found: int = count(db, [None])[0]
    engine.dispose()
    return found


def test_a_full_disk_is_temporary_and_named(tmp_path: Path) -> None:
    def fill(db: Connection, items: Sequence[int]) -> list[int]:
        db.exec_driver_sql("pragma max_page_count = 3")
        db.execute(text("create table big as select randomblob(100000) as x"))
        return list(items)

    (problem,) = write(tmp_path, (fill, 0, Rank.ACCEPT))
    assert problem.kind is Kind.STORAGE_FULL


def test_a_writer_that_cannot_write_says_so_to_everyone(tmp_path: Path) -> None:
    async def story() -> None:
        one = ThreadWriter(database.writing_engine(databases.sqlite(tmp_path / "no such folder")))
        for _ in range(3):
            with pytest.raises(Problem) as caught:
                await one.write(insert, 1, Rank.ACCEPT)
            assert caught.value.kind is Kind.STORAGE_DOWN
        await one.close()

    asyncio.run(story())


def test_a_database_that_is_not_there_is_a_trouble_like_others() -> None:
    async def story() -> None:
        one = TaskWriter(database.listing_engine(make_url("postgresql+asyncpg://nobody:x@127.0.0.1:1/none")))
        with pytest.raises(Problem) as caught:
            await one.write(insert, 1, Rank.ACCEPT)
        assert caught.value.kind is Kind.STORAGE_DOWN
        await one.close()

    asyncio.run(story())


@asynccontextmanager
async def passing_on(path: str) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A port that leads to a Unix socket, for as long as the event is set: else nothing comes through, nor ends."""
    goes, ended = asyncio.Event(), asyncio.Queue[None]()
    goes.set()
    begun = 0

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while octets := await reader.read(65536):
            await goes.wait()
            writer.write(octets)
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal begun
        begun += 1
        theirs, out = await asyncio.open_unix_connection(path)
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(copy(reader, out), copy(theirs, writer))
        for each in (out, writer):
            each.transport.abort()
        ended.put_nowait(None)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], goes
        for _ in range(begun):
            await ended.get()


def test_a_database_that_says_nothing_any_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its machine lost its power, say: no packet will ever tell."""
    monkeypatch.setattr(writer, "COMMIT_TIMEOUT", 0.3)

    async def story() -> None:
        url = databases.postgresql()
        folder = str(url.query["host"])
        async with passing_on(f"{folder}/.s.PGSQL.{url.port or 5432}") as (port, goes):
            engine = database.listing_engine(url.set(host="127.0.0.1", port=port, query={}))
            one = TaskWriter(engine)
            assert await one.write(select_all, 1, Rank.SETTLE) == 1
            goes.clear()
            async with asyncio.timeout(10):
                with pytest.raises(Problem) as caught:
                    await one.write(select_all, 2, Rank.SETTLE)
            assert caught.value.kind is Kind.STORAGE_DOWN
            assert one.fault
            goes.set()
            assert await one.write(select_all, 3, Rank.SETTLE) == 3
            assert not one.fault
            await one.close()
            await engine.dispose()

    asyncio.run(story())


def test_locks_in_a_database_that_says_nothing_are_not_relied_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "READ_TIMEOUT", 0.3)

    async def story() -> None:
        url = databases.postgresql()
        await database.migrate_postgresql(url)
        async with passing_on(f"{url.query['host']}/.s.PGSQL.{url.port or 5432}") as (port, goes):
            async with open_store(url.set(host="127.0.0.1", port=port, query={}), MASTER) as opened:
                assert await opened.own("lane a")
                goes.clear()
                async with asyncio.timeout(10):
                    assert not await opened.own("lane a")
                goes.set()
                async with asyncio.timeout(10):
                    while not await opened.own("lane a"):
                        await asyncio.sleep(0.01)

    asyncio.run(story())


def select_all(db: Connection, items: Sequence[int]) -> Sequence[int]:
    return [db.execute(text(f"select {item}")).scalar_one() for item in items]


def test_what_comes_while_the_loop_is_busy_commits_together_and_whoever_is_alone_waits_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[list[int]] = []

    def note(db: Connection, items: Sequence[int]) -> list[None]:
        batches.append(list(items))
        return [None] * len(items)

    monkeypatch.setattr(writer, "PATIENCE", 3600.0)
    monkeypatch.setattr(writer, "MAX_ITEMS", 3)

    async def story(quiet: float) -> None:
        monkeypatch.setattr(writer, "QUIET", quiet)
        batches.clear()
        one = ThreadWriter(database.writing_engine(databases.sqlite(tmp_path)))
        jobs = []
        for number in range(3):  # one in each turn of the loop
            jobs.append(asyncio.create_task(one.write(note, number, Rank.ACCEPT)))
            await asyncio.sleep(0)
        await asyncio.gather(*jobs)
        await one.close()

    asyncio.run(story(quiet=3600.0))  # no turn is ever busy
    assert batches[0] == [0]
    asyncio.run(story(quiet=0.0))  # every turn is
    assert batches == [[0, 1, 2]]


def test_a_writer_closes_after_what_was_given_to_it(tmp_path: Path) -> None:
    async def story() -> None:
        one = ThreadWriter(database.writing_engine(databases.sqlite(tmp_path)))
        jobs = [asyncio.create_task(one.write(count_nothing, number, Rank.ACCEPT)) for number in range(250)]
        await asyncio.sleep(0)
        await one.close()
        assert [await job for job in jobs] == list(range(250))

    asyncio.run(story())


def count_nothing(db: Connection, items: Sequence[int]) -> list[int]:
    return list(items)


class Disk:
    """Writes that meet what SQLite says of a disk, in SQLite's own error."""

    def __init__(self, code: int) -> None:
        self.code: int | None = code
        self.connections: list[object] = []

    def write(self, db: Connection, items: Sequence[int]) -> list[int]:
        self.connections.append(db.connection.driver_connection)
        insert(db, items)
        if self.code is not None:
            fault = sqlite3.OperationalError("disk I/O error")
            fault.sqlite_errorcode = self.code
            raise OperationalError("", None, fault)
        return list(items)


async def refused(one: ThreadWriter, disk: Disk, numbers: Sequence[int]) -> set[Kind]:
    results = await asyncio.gather(
        *(one.write(disk.write, number, Rank.ACCEPT) for number in numbers), return_exceptions=True
    )
    return {result.kind for result in results if isinstance(result, Problem)}


def test_after_an_io_error_nothing_is_written_until_the_file_was_opened_anew_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[object] = []
    check = writer._check
    monkeypatch.setattr(writer, "_check", lambda db: (checked.append(db.connection.driver_connection), check(db)))
    monkeypatch.setattr(writer, "REOPEN_EVERY", 0.2)

    async def story() -> None:
        one = ThreadWriter(database.writing_engine(databases.sqlite(tmp_path)))
        await one.write(create, None, Rank.SWEEP)
        disk = Disk(sqlite3.SQLITE_IOERR | 4 << 8)  # SQLITE_IOERR_FSYNC
        assert await refused(one, disk, range(20)) == {Kind.STORAGE_DOWN}
        assert one.fault == "disk I/O error"
        assert len(disk.connections) == 1  # not each by itself
        disk.code = None
        assert await refused(one, disk, [1]) == {Kind.STORAGE_DOWN}  # too soon: nothing was tried
        assert (len(disk.connections), checked) == (1, [])
        while await refused(one, disk, [1]):
            await asyncio.sleep(0.05)
        assert one.fault == ""
        assert disk.connections[1] is not disk.connections[0]
        assert checked == disk.connections[1:]
        await one.close()

    asyncio.run(story())
    assert write_count(tmp_path) == 1


def test_a_lock_of_another_process_is_waited_for_once_and_by_the_same_connection(tmp_path: Path) -> None:
    async def story() -> None:
        one = ThreadWriter(database.writing_engine(databases.sqlite(tmp_path)))
        await one.write(create, None, Rank.SWEEP)
        disk = Disk(sqlite3.SQLITE_BUSY)
        assert await refused(one, disk, range(20)) == {Kind.STORAGE_DOWN}
        assert one.fault
        disk.code = None
        assert await refused(one, disk, range(20)) == set()
        assert one.fault == ""
        assert len(set(map(id, disk.connections))) == 1
        assert len(disk.connections) == 2
        await one.close()

    asyncio.run(story())


def test_a_file_that_came_back_damaged_stays_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "REOPEN_EVERY", 0.0)

    async def story() -> None:
        one = ThreadWriter(database.writing_engine(databases.sqlite(tmp_path)))
        await one.write(create, None, Rank.SWEEP)
        assert await one.truncate_log()
        disk = Disk(sqlite3.SQLITE_IOERR)
        assert await refused(one, disk, [1])
        with (tmp_path / "relay.db").open("r+b") as file:
            file.write(b"x" * 100)
        disk.code = None
        for _ in range(3):
            assert await refused(one, disk, [1]) == {Kind.STORAGE_DOWN}
            assert "not a database" in one.fault
        await one.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("fault", "is_away"),
    [
        (Problem(Kind.STORAGE_DOWN), True),
        (Problem(Kind.CONFLICT), False),
        (OSError("no route"), True),
        (ValueError("ours"), False),
        (OperationalError("", None, sqlite3.OperationalError("no such table")), False),
        (OperationalError("", None, sqlite3.OperationalError("x"), connection_invalidated=True), True),
    ],
    ids=["said before", "a refusal", "network", "our own", "a statement", "connection lost"],
)
def test_what_is_nobodys_fault_here(fault: BaseException, is_away: bool) -> None:
    assert writer.is_away(fault) is is_away
