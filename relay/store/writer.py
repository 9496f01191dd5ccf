"""The one way to write: plain functions of a Connection, committed in groups, each caller answered after its commit.

On SQLite the writer is one thread with a synchronous engine; on PostgreSQL one task runs the same functions on asyncpg.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from relay.errors import Kind, Problem
from relay.store.checking import SOUND, look_over
from relay.store.health import BROKEN, Health, is_away, sqlite_code, translated

Item = TypeVar("Item")
Result = TypeVar("Result")
# A write takes every item of its sort that commits together, and answers each, in order.
Write = Callable[[Connection, Sequence[Item]], Sequence[Result]]

MAX_ITEMS = 100
MAX_BYTES = 4 << 20
PASSES = 8  # batches of small writes that go before a large one
# PostgreSQL: serialization_failure, deadlock_detected. Always safe to run again: nothing was committed.
TRY_AGAIN = {"40001", "40P01"}
ATTEMPTS = 5
QUIET = 50e-6  # seconds: a turn of the loop that took less had nothing to do
PATIENCE = 0.004  # seconds for which a batch gathers more while the loop is busy
COMMIT_TIMEOUT = 120.0  # seconds of a batch on PostgreSQL: nobody says so where its machine is gone
BUSY_TIMEOUT = 5000  # milliseconds a SQLite connection waits for another process's lock
REOPEN_EVERY = 1.0  # seconds between tries to have a SQLite file back that failed


class Rank(IntEnum):
    """In one commit, what frees the queue goes before what fills it."""

    SETTLE = 0
    ACCEPT = 1
    MANAGE = 2
    SWEEP = 3


@dataclass(slots=True, eq=False)
class _Job:
    rank: Rank
    write: Write[Any, Any]
    item: Any
    size: int
    answer: asyncio.Future[Any]
    outcome: Any = None
    fault: BaseException | None = None
    is_bare: bool = False  # runs by itself, outside a transaction
    passed: int = 0  # batches of small ones that went first


class Writer(Protocol):
    """What a store writes through."""

    async def write(self, write: Write[Item, Result], item: Item, rank: Rank, size: int = 0) -> Result:
        """Run `write` on `item` in a transaction shared with whatever else waits; return after its commit.

        Cancelling the caller does not undo or stop the write. Raises what the write raised, or
        Problem(STORAGE_FULL | STORAGE_DOWN | INTERNAL) for the database's own troubles.
        """

    @property
    def fault(self) -> str:
        """Why nothing can be written now; "" while it can."""

    async def close(self) -> None:
        """Commit what is in hand, then stop."""


def next_batch(waiting: deque[_Job]) -> list[_Job]:
    """Take from the front what commits together: at most 100 items or 4 MB, a larger one alone; ranks in order.

    A large one lets small ones go first, some times, for it takes as long as hundreds of them. Changes of the directory
    commit apart from mail: one that is refused would make all that share its batch begin anew.
    """
    large: list[_Job] = []
    while waiting and waiting[0].size > MAX_BYTES and (large or waiting[0].passed < PASSES):
        large.append(waiting.popleft())
    if large and waiting:
        large[0].passed += 1
        batch = _from_the_front(waiting)
        waiting.extendleft(reversed(large))
        return batch
    waiting.extendleft(reversed(large))
    return _from_the_front(waiting)


def _from_the_front(waiting: deque[_Job]) -> list[_Job]:
    batch: list[_Job] = []
    size = 0
    while waiting and len(batch) < MAX_ITEMS and (not batch or size + waiting[0].size <= MAX_BYTES):
        if batch and (waiting[0].is_bare or _is_change(waiting[0]) != _is_change(batch[0])):
            break
        job = waiting.popleft()
        size += job.size
        batch.append(job)
        if job.is_bare:
            break
    batch.sort(key=lambda job: job.rank)
    return batch


def _is_change(job: _Job) -> bool:
    return job.rank is Rank.MANAGE


def run_together(db: Connection, batch: Sequence[_Job]) -> None:
    """Run a batch in the transaction of `db`, each sort of write once with all its items."""
    for _, group in itertools.groupby(batch, key=lambda job: job.rank):
        sorts: dict[Write[Any, Any], list[_Job]] = {}
        for job in group:
            sorts.setdefault(job.write, []).append(job)
        for write, jobs in sorts.items():
            for job, outcome in zip(jobs, write(db, [job.item for job in jobs]), strict=True):
                job.outcome = outcome


def _answer(batch: Sequence[_Job]) -> None:
    for job in batch:
        if job.answer.done():  # its caller was cancelled; the commit stands
            continue
        if job.fault is not None:
            job.answer.set_exception(translated(job.fault))
        else:
            job.answer.set_result(job.outcome)


class ThreadWriter:
    """SQLite: one thread, one connection. Another writer would only wait for the same lock.

    The loop makes the batches, and the thread has one at a time: that they change places, under one interpreter lock,
    costs more than a row. So the thread wakes once a batch, and what comes in meanwhile waits together.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._db: Connection | None = None
        self._health = Health()
        self._reopen_at = 0.0  # after a failure: when to try again
        self._damage = ""  # of the file: nothing is written any more
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Job] = deque()
        self._is_idle = asyncio.Event()  # nothing waits, and the thread has no batch
        self._is_idle.set()
        self._gathering_since = self._looked_at = 0.0
        self._batches: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    @property
    def fault(self) -> str:
        return self._health.fault

    async def write(self, write: Write[Item, Result], item: Item, rank: Rank, size: int = 0) -> Result:
        answer: asyncio.Future[Result] = self._loop.create_future()
        self._put(_Job(rank, write, item, size, answer))
        return await answer

    async def truncate_log(self) -> bool:
        """Move the write-ahead log into the file and empty it, so that what was destroyed is gone from it too.

        False if a reader was in the way, or nothing can be written; nothing is lost then, and a later call will do it.
        """
        answer: asyncio.Future[bool] = self._loop.create_future()
        self._put(_Job(Rank.SWEEP, _truncate_log, None, 0, answer, is_bare=True))
        try:
            return await answer
        except Problem:
            return False

    def distrust(self, damage: str) -> None:
        """Write nothing more: what is in the file cannot be relied on."""
        self._damage = damage
        self._health.failed(OSError(f"the database is damaged: {damage}"))

    @property
    def is_idle(self) -> bool:
        return self._is_idle.is_set()

    async def close(self) -> None:
        await self._is_idle.wait()
        self._batches.put(None)
        await asyncio.to_thread(self._thread.join)

    # -- on the loop -------------------------------------------------------------------------------------------------

    def _put(self, job: _Job) -> None:
        self._waiting.append(job)
        if self._is_idle.is_set():
            self._is_idle.clear()
            self._gather()

    def _gather(self) -> None:
        self._gathering_since = self._looked_at = time.perf_counter()
        self._loop.call_soon(self._look)

    def _look(self) -> None:
        """Once a turn of the loop: hand over when the loop has nothing else to do that more could come from.

        So whoever is alone waits for nobody, and where many write, each turn makes the commit worth more.
        """
        now = time.perf_counter()
        if now - self._looked_at < QUIET or now - self._gathering_since > PATIENCE or len(self._waiting) >= MAX_ITEMS:
            self._batches.put(next_batch(self._waiting))
        else:
            self._looked_at = now
            self._loop.call_soon(self._look)

    def _committed(self, batch: Sequence[_Job]) -> None:
        _answer(batch)
        if self._waiting:
            self._gather()
        else:
            self._is_idle.set()

    # -- in the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            self._commit(batch)
            self._loop.call_soon_threadsafe(self._committed, batch)
        self._drop()

    def _commit(self, batch: Sequence[_Job]) -> None:
        try:
            db = self._connected()
            if batch[0].is_bare:
                run_together(db, batch)
            else:
                with db.begin():
                    run_together(db, batch)
            self._health.wrote()
        except BaseException as exc:
            self._blame(batch, exc)

    def _blame(self, batch: Sequence[_Job], fault: BaseException) -> None:
        if is_away(fault):
            self._lose(fault)
            fault = translated(fault)  # once, not for each
        if len(batch) == 1 or is_away(fault):
            for job in batch:
                job.fault = fault
            return
        for job in batch:
            job.outcome = None
            self._commit([job])

    def _connected(self) -> Connection:
        """The connection; after a failure another one, over a file that was checked. Raises Problem(STORAGE_DOWN)."""
        if self._damage:
            self._health.failed(OSError(f"the database is damaged: {self._damage}"))
            raise Problem(Kind.STORAGE_DOWN)
        if self._db is None:
            if self._health.fault and time.monotonic() < self._reopen_at:
                raise Problem(Kind.STORAGE_DOWN)
            db = self._engine.connect()
            try:
                if self._health.fault:
                    _check(db)
            except BaseException:
                db.close()
                raise
            self._db = db
        return self._db

    def _lose(self, fault: BaseException) -> None:
        """Trust nothing of a connection that met a failing disk. A lock of another process is waited for again."""
        if isinstance(fault, Problem):  # said before, and not tried since
            return
        self._health.failed(fault)
        if sqlite_code(fault) in BROKEN:
            self._drop()
        self._reopen_at = time.monotonic() + REOPEN_EVERY

    def _drop(self) -> None:
        if self._db is not None:
            with contextlib.suppress(DBAPIError):
                self._db.close()
            self._db = None


class TaskWriter:
    """PostgreSQL: one task, one connection at a time, the same functions through `run_sync`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._health = Health()
        self._waiting: deque[_Job] = deque()
        self._wake = asyncio.Event()
        self._is_open = True
        self._task = asyncio.create_task(self._run(), name="store-writer")

    @property
    def fault(self) -> str:
        return self._health.fault

    async def write(self, write: Write[Item, Result], item: Item, rank: Rank, size: int = 0) -> Result:
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Job(rank, write, item, size, answer))
        self._wake.set()
        return await answer

    async def close(self) -> None:
        self._is_open = False
        self._wake.set()
        await self._task

    async def _run(self) -> None:
        while self._is_open or self._waiting:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = next_batch(self._waiting)
            await self._commit(batch)
            _answer(batch)

    async def _commit(self, batch: Sequence[_Job]) -> None:
        for attempt in itertools.count(1):
            try:
                async with asyncio.timeout(COMMIT_TIMEOUT), self._engine.begin() as db:
                    await db.run_sync(run_together, batch)
                self._health.wrote()
            except DBAPIError as exc:
                if getattr(exc.orig, "sqlstate", None) in TRY_AGAIN and attempt < ATTEMPTS:
                    continue
                await self._blame(batch, exc)
            except Exception as exc:
                await self._blame(batch, exc)
            return

    async def _blame(self, batch: Sequence[_Job], fault: BaseException) -> None:
        if is_away(fault):
            self._health.failed(fault)
            fault = translated(fault)
        if len(batch) == 1 or is_away(fault):
            for job in batch:
                job.fault = fault
            return
        for job in batch:
            job.outcome = None
            await self._commit([job])


def _check(db: Connection) -> None:
    """That the file is sound as far as SQLite can see. Raises DatabaseError."""
    found = look_over(db)
    db.rollback()
    if found != SOUND:
        raise OSError(f"the database is damaged: {found}")


def _truncate_log(db: Connection, items: Sequence[None]) -> Sequence[bool]:
    driver = db.connection.driver_connection
    assert driver is not None
    driver.execute("PRAGMA busy_timeout = 100")  # a slow reader must not keep every writer waiting
    try:
        is_busy, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError:  # a statement of this connection is still open
        is_busy = True
    driver.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT}")
    return [not is_busy for _ in items]
