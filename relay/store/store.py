"""One opened database: write through its writer, read through its readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from relay import log
from relay.errors import Kind, Problem
from relay.judging import SENDFLEET, Policy
from relay.sealing import MasterKey, Sealer
from relay.store import checking, database, idempotency, suppressions, templates
from relay.store.directory.installation import establish
from relay.store.health import is_away
from relay.store.hooks import Hooks, tell_hooks
from relay.store.idempotency import HotAnswers
from relay.store.listing import count_parts, sealed_part
from relay.store.reports import Reporter, Reporting, report_on
from relay.store.standings import judge_by
from relay.store.suppressions import HotSuppressions, Suppression
from relay.store.templates import HotTemplates
from relay.store.webhooks import rows
from relay.store.writer import Item, Rank, Result, TaskWriter, ThreadWriter, Write, Writer

Answer = TypeVar("Answer")
READ_TIMEOUT = 10.0  # seconds: a longer read would keep the write-ahead log from being emptied


class Store:
    """Built by `open_store`. `is_alone`: no other process takes work from this database."""

    def __init__(
        self,
        writer: Writer,
        engine: AsyncEngine,
        reading: Engine | None,
        hot: tuple[HotSuppressions, HotAnswers, HotTemplates] | None,
        sealer: Sealer,
        hooks: Hooks,
        policy: Policy = SENDFLEET,
    ) -> None:
        self._writer = writer
        self._engine = engine
        self._reading = reading
        self._hot = hot
        self.sealer = sealer
        self.hooks = hooks  # who is told of events over HTTP; replaced when the directory changed
        self.policy = policy  # how tenants are judged
        self._locks: AsyncConnection | None = None
        self._owned: set[str] = set()
        self._turn = asyncio.Lock()
        self._reads: set[asyncio.Task[Any]] = set()
        self.is_alone = hot is not None

    @property
    def fault(self) -> str:
        """Why nothing can be written now, for an operator; "" while it can."""
        return self._writer.fault

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for the writer at this moment. PostgreSQL's has room for more in any case."""
        return not isinstance(self._writer, ThreadWriter) or self._writer.is_idle

    async def write(self, write: Write[Item, Result], item: Item, rank: Rank, size: int = 0) -> Result:
        """See Writer.write."""
        return await self._writer.write(write, item, rank, size)

    async def change(self, change: Callable[[Connection], Answer]) -> Answer:
        """Make one change of the directory, in a transaction with others that wait. Raises what it raises."""
        return await self._writer.write(_each, change, Rank.MANAGE)

    def hold_locks_on(self, connection: AsyncConnection) -> None:
        """PostgreSQL: the connection whose session keeps this process's locks."""
        self._locks = connection

    async def give_up_locks(self) -> None:
        """At the end. The connection may be another one by then."""
        if self._locks is not None:
            await self._locks.close()

    async def read(self, read: Callable[[Connection], Answer]) -> Answer:
        """Run a read on a connection of the listing pool, for 10 seconds at most.

        Raises Problem(STORAGE_DOWN | INTERNAL) where the database does not answer, besides what `read` raises.
        """
        reading = asyncio.create_task(self._read(read))
        self._reads.add(reading)
        reading.add_done_callback(self._ended)
        # A reader that goes away in the middle would leave its connection to the garbage collector.
        return await asyncio.shield(reading)

    async def read_whole(self, read: Callable[[Connection], Answer]) -> Answer:
        """The same for a read of very many rows: on SQLite in a thread, so that the loop goes on meanwhile."""
        if self._reading is None:
            return await self.read(read)
        engine = self._reading

        def alone() -> Answer:
            with engine.begin() as db:
                return read(db)

        try:
            return await asyncio.to_thread(alone)
        except DBAPIError as exc:
            log.trouble("store.read_failed", exc)
            raise Problem(Kind.STORAGE_DOWN if is_away(exc) else Kind.INTERNAL) from exc

    async def _read(self, read: Callable[[Connection], Answer]) -> Answer:
        try:
            async with asyncio.timeout(READ_TIMEOUT), self._engine.connect() as db:
                return await db.run_sync(read)
        except (TimeoutError, OSError, DBAPIError) as exc:
            log.trouble("store.read_failed", exc)
            raise Problem(Kind.STORAGE_DOWN if is_away(exc) else Kind.INTERNAL) from exc

    def _ended(self, reading: asyncio.Task[Any]) -> None:
        self._reads.discard(reading)
        if not reading.cancelled():
            reading.exception()  # its caller has seen it, or has gone

    async def end_reads(self) -> None:
        """Wait for reads whose callers have gone: 10 seconds at most."""
        await asyncio.gather(*self._reads, return_exceptions=True)

    async def suppressed(self, tenant_id: int, addresses: Sequence[str]) -> dict[str, Suppression]:
        """Which lower-case addresses are on a tenant's list. On SQLite direct: a thread costs a hundredfold."""
        if self._hot is None:
            return await self.read(lambda db: suppressions.suppressed(db, tenant_id, addresses))
        return self._hot[0].find(tenant_id, addresses)

    async def answered(self, tenant_id: int, route: str, key: bytes) -> idempotency.Answer | None:
        """What was answered under an idempotency key, given as its keyed hash, within the last day."""
        if self._hot is None:
            return await self.read(lambda db: idempotency.find(db, tenant_id, route, key))
        return self._hot[1].answered(tenant_id, route, key)

    async def latest_template(self, tenant_id: int, name: str) -> tuple[int, int] | None:
        """The id of a template, and the number of its newest version: asked each time, so that changes hold at once."""
        if self._hot is None:
            return await self.read(lambda db: templates.latest(db, tenant_id, name))
        return self._hot[2].latest(tenant_id, name)

    async def content(self, message_id: int, wrapped_key: bytes) -> bytes:
        """A message's content in clear. Raises SealingError if it is damaged or gone."""
        return b"".join([part async for part in self.content_parts(message_id, wrapped_key)])

    async def content_parts(self, message_id: int, wrapped_key: bytes) -> AsyncIterator[bytes]:
        """The same, part by part: no more than one of them is in memory at once."""
        opener = self.sealer.opener(message_id, wrapped_key, await self.read(lambda db: count_parts(db, message_id)))
        for number in range(opener.parts):
            sealed = await self.read(partial(sealed_part, message_id=message_id, part=number))
            yield opener.part(number, sealed)

    async def own(self, name: str) -> bool:
        """Whether this process alone does `name`: on SQLite always, on PostgreSQL by an advisory lock kept open."""
        if self._locks is None:
            return True
        async with self._turn:  # a connection takes one question at a time
            self._locks = await self._locked(self._locks, name)
        return name in self._owned

    async def _locked(self, locks: AsyncConnection, name: str) -> AsyncConnection:
        """Try for a lock. Returns the connection that keeps those there are: another one, if that was lost."""
        try:
            if locks.closed or locks.invalidated:
                self._owned.clear()
                locks = await self._engine.connect()
            async with asyncio.timeout(READ_TIMEOUT):
                await locks.execute(select(1))  # a lost connection has lost its locks
                if name not in self._owned:
                    lock = func.pg_try_advisory_lock(func.hashtextextended(f"relay {name}", 0))
                    if (await locks.execute(select(lock))).scalar_one():
                        self._owned.add(name)
                await locks.commit()
        except (DBAPIError, OSError) as exc:  # the latter where there is no connection to be had
            log.trouble("store.locks_lost", exc)
            self._owned.clear()
            if not locks.closed:
                await locks.invalidate()
        return locks

    async def truncate_log(self) -> bool:
        """SQLite: empty the write-ahead log (design: privacy). True where it is empty now, or there is none."""
        return await self._writer.truncate_log() if isinstance(self._writer, ThreadWriter) else True


def _each(db: Connection, items: Sequence[Callable[[Connection], Answer]]) -> Sequence[Answer]:
    return [item(db) for item in items]


@asynccontextmanager
async def open_store(
    url: URL, master: MasterKey, reporting: Reporting | None = None, *, policy: Policy = SENDFLEET
) -> AsyncIterator[Store]:
    """Open for a server: migrated (SQLite) or checked (PostgreSQL), and the only one on its SQLite file.

    `reporting`: how senders are told what became of their mail; None: they are not. `policy`: how tenants are judged.
    Raises StoreError or SealingError with what to do.
    """
    async with AsyncExitStack() as stack:
        engine = database.listing_engine(url)
        stack.push_async_callback(engine.dispose)
        writer: ThreadWriter | TaskWriter
        hot: tuple[HotSuppressions, HotAnswers, HotTemplates] | None = None
        reading: Engine | None = None
        looking: AbstractAsyncContextManager[None] = nullcontext()
        if database.is_sqlite(url):
            stack.enter_context(database.sole_owner(database.sqlite_path(url)))
            database.migrate_sqlite(url)
            writing = database.writing_engine(url)
            with writing.begin() as db:
                sealer = establish(db, master)
                known = rows.hooks(db)
            hooks = Hooks(sealer, known)
            tell_hooks(writing, hooks)
            judge_by(writing, policy)
            if reporting is not None:
                report_on(writing, Reporter(reporting, sealer))
            reading = database.reading_engine(url)
            stack.callback(reading.dispose)
            hot = HotSuppressions(reading), HotAnswers(reading), HotTemplates(reading)
            for each in hot:
                stack.callback(each.close)
            writer = ThreadWriter(writing)
            if not checking.is_small(database.sqlite_path(url)):
                looking = checking.looked_over(database.sqlite_path(url), writer.distrust)
        else:
            await database.reach(engine)
            async with engine.connect() as connection:
                is_current = await connection.run_sync(database.check_revision)
            if not is_current:
                raise database.StoreError("the database's schema is older than this Relay: run `relay migrate` first")
            async with engine.begin() as connection:
                sealer = await connection.run_sync(establish, master)
                known = await connection.run_sync(rows.hooks)
            hooks = Hooks(sealer, known)
            tell_hooks(engine.sync_engine, hooks)
            judge_by(engine.sync_engine, policy)
            if reporting is not None:
                report_on(engine.sync_engine, Reporter(reporting, sealer))
            writer = TaskWriter(engine)
        store = Store(writer, engine, reading, hot, sealer, hooks, policy)
        if not store.is_alone:
            store.hold_locks_on(await engine.connect())
            stack.push_async_callback(store.give_up_locks)
        try:
            async with looking:
                yield store
        finally:
            await store.end_reads()
            await store.truncate_log()
            await writer.close()
