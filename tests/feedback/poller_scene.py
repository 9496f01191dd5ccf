"""A poller over a real database and a queue that a test decides: what the tests of reading queues share."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from relay.declared import FeedbackFields
from relay.dispatch.dispatcher import Dispatcher
from relay.feedback.hearing import Hearing
from relay.feedback.poller import Poller
from relay.metrics import Metrics
from relay.ses.access import Access
from relay.ses.clients import Accounts
from relay.store import feeds
from relay.store.store import Store
from tests.feedback import samples
from tests.feedback.sqs_stand import NAME, Stand, access, standing
from tests.support import relay_settings

PATIENCE = 10.0  # seconds


def event(number: int = 0) -> str:
    """About mail that is nobody's."""
    return json.dumps(samples.send(samples.mail(None, ["ana@dest.example"], ses_message_id=f"0102-{number}")))


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Another process has the database to itself."""
    with contextlib.closing(sqlite3.connect(folder / "relay.db", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


class Scene:
    """A server's poller, with one account `acme`, running while the block is."""

    def __init__(self, folder: Path, store: Store, stand: Stand, accounts: Accounts) -> None:
        self.store = store
        self.stand = stand
        self.metrics = Metrics()
        self.dispatcher = Dispatcher(relay_settings(folder, stand.url), store, self.metrics)
        hearing = Hearing(store, self.dispatcher, self.metrics)
        self.poller = Poller(store, accounts, self.dispatcher, hearing, self.metrics)
        self.running: asyncio.Task[None] | None = None

    def start(self, **accounts: FeedbackFields) -> None:
        self.replace(**accounts or {"acme": FeedbackFields()})
        self.running = asyncio.create_task(self.poller.run())

    def replace(self, **accounts: FeedbackFields) -> None:
        rows: Any = SimpleNamespace(accounts={name: SimpleNamespace(feedback=each) for name, each in accounts.items()})
        self.poller.replace(rows, self.accesses(*accounts))

    def accesses(self, *names: str) -> dict[str, Access]:
        return {name: access(self.stand.url, name) for name in names}

    async def stop(self) -> float:
        """How many seconds it took."""
        if self.running is None:
            return 0.0
        began = time.monotonic()
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        self.running = None
        return time.monotonic() - began

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                assert self.running is None or not self.running.done()
                await asyncio.sleep(0.005)

    async def row(self, account: str = "acme") -> feeds.Look | None:
        return next((each for each in await self.store.read(feeds.every) if each.account == account), None)

    async def row_is(self, fits: Callable[[feeds.Look], object]) -> feeds.Look:
        async with asyncio.timeout(PATIENCE):
            while (row := await self.row()) is None or not fits(row):
                await asyncio.sleep(0.01)
        return row

    def metric(self, name: str) -> float | None:
        found = re.findall(rf"(?m)^{re.escape(name)} (\S+)$", self.metrics.text().decode())
        return float(found[0]) if found else None


@contextlib.asynccontextmanager
async def scene(folder: Path, store: Store) -> AsyncIterator[Scene]:
    async with standing() as stand, Accounts() as accounts:
        stage = Scene(folder, store, stand, accounts)
        try:
            yield stage
        finally:
            await stage.stop()


def lines(caplog: pytest.LogCaptureFixture, word: str) -> list[dict[str, Any]]:
    return [getattr(each, "fields", {}) for each in caplog.records if each.getMessage() == word]


__all__ = ["NAME", "Scene", "event", "lines", "locked", "scene"]
