"""Reads the queues of all SES accounts whose events come by one, each for itself, and says which cannot be read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from relay import log
from relay.declared import Via
from relay.dispatch.dispatcher import Dispatcher
from relay.errors import Problem
from relay.feedback.feed import Feed
from relay.feedback.hearing import Hearing
from relay.feedback.pace import Courtesy
from relay.metrics import Metrics
from relay.ses.access import Access
from relay.ses.clients import Accounts
from relay.ses.remedies import Place
from relay.ses.sqs import EventQueue
from relay.store import feeds
from relay.store.directory.snapshot import Snapshot
from relay.store.store import Store
from relay.store.writer import Rank

TRY_EVERY = 1.0  # seconds: how soon a feed that nobody reads any more is
LOOK_EVERY = 10.0  # seconds: how soon it is seen that somebody else reads one, and how that goes


@dataclass(frozen=True, slots=True)
class _Source:
    access: Access
    queue: str


class Poller:
    """One per server. On PostgreSQL one process reads an account's queue; the others see from its row how that goes."""

    def __init__(
        self, store: Store, accounts: Accounts, dispatcher: Dispatcher, hearing: Hearing, metrics: Metrics
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._dispatcher = dispatcher
        self._hearing = hearing
        self._metrics = metrics
        self._courtesy = Courtesy()
        self._wanted: dict[str, _Source] = {}
        self._known: frozenset[str] = frozenset()  # every account there is
        self._pruned: frozenset[str] | None = None  # of which there are rows at most
        self._changed = asyncio.Event()
        self._tasks: dict[str, tuple[_Source, asyncio.Task[None]]] = {}
        self._feeds: dict[str, Feed] = {}  # those that are read here
        self._elsewhere: dict[str, str] = {}  # the faults of others

    def replace(self, snapshot: Snapshot, accesses: Mapping[str, Access]) -> None:
        """Take over the accounts as they are now; `run` sees to it. Those that stay as they are go on being read."""
        self._known = frozenset(snapshot.accounts)
        self._wanted = {
            name: _Source(accesses[name], account.feedback.queue)
            for name, account in snapshot.accounts.items()
            if account.feedback.via is Via.SQS and name in accesses
        }
        self._changed.set()

    def faults(self) -> dict[str, str]:
        """What keeps events from being heard now, by whose they are, each with what to do."""
        found = {name: feed.fault for name, feed in self._feeds.items()}
        said = {name: fault for name, fault in {**self._elsewhere, **found}.items() if name in self._wanted}
        return {f"feedback of {name}": fault for name, fault in sorted(said.items()) if fault}

    async def run(self) -> None:
        """Until cancelled: it ends within a second then."""
        try:
            while True:
                self._changed.clear()
                try:
                    await self._take_over()
                    if not self._store.is_alone:
                        await self._look()
                except Problem:  # the store has said so
                    pass
                except Exception as exc:  # the next round tries again: the feeds that are read go on
                    log.trouble("poller.failed", exc)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY):
                        await self._changed.wait()
        finally:
            await self._stop(list(self._tasks))

    # -- which are read ----------------------------------------------------------------------------------------------

    async def _take_over(self) -> None:
        left = [name for name, (source, _) in self._tasks.items() if self._wanted.get(name) != source]
        await self._stop(left)
        for name, source in self._wanted.items():
            if name not in self._tasks:
                self._tasks[name] = (source, asyncio.create_task(self._serve(source), name=f"feed-{name}"))
        for name in left:
            if name in self._known and name not in self._wanted:
                await self._store.write(feeds.note, feeds.Look(name), Rank.SWEEP)
        if self._known != self._pruned:
            await self._store.write(feeds.prune, self._known, Rank.SWEEP)
            self._pruned = self._known

    async def _stop(self, names: Collection[str]) -> None:
        tasks = [self._tasks[name][1] for name in names]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for name in names:
            del self._tasks[name]

    async def _serve(self, source: _Source) -> None:
        """Read this one whenever nobody else does."""
        while True:
            try:
                await self._read(source)
            except Exception as exc:  # a fault of ours: the next round tries again
                log.trouble("feed.ended", exc, account=source.access.name)
            await asyncio.sleep(TRY_EVERY)

    async def _read(self, source: _Source) -> None:
        name = source.access.name
        if not await self._store.own(f"feed {name}"):
            return
        self._feeds[name] = feed = self._feed(source)
        reading = asyncio.create_task(feed.run(), name=f"feed-read-{name}")
        try:
            while await self._store.own(f"feed {name}"):
                await asyncio.wait([reading], timeout=LOOK_EVERY)
                if reading.done():
                    reading.result()
                    return
            log.trouble("feed.lost", account=name)  # with the connection that kept the lock
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            del self._feeds[name]

    def _feed(self, source: _Source) -> Feed:
        access, feedback = source.access, self._dispatcher.feedback
        queue = EventQueue(self._accounts.beside("sqs", access), Place(access.name, access.region), source.queue)

        def answered() -> None:
            feedback.heard(access.name, time.monotonic())

        return Feed(access.name, queue, self._store, self._hearing, self._metrics, self._courtesy, answered)

    # -- which others read -------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """What another process hears counts for the lanes of this one."""
        rows = await self._store.read(feeds.every)
        now = time.monotonic()
        for row in rows:
            if row.asked is not None and row.account not in self._feeds:
                self._dispatcher.feedback.heard(row.account, now - row.asked.total_seconds())
        self._elsewhere = {row.account: row.fault for row in rows}
