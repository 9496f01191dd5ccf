"""What time brings, in slices: nobody waits long behind them, and no trouble of one keeps the others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from relay.delivery import RetryPolicy
from relay.dispatch import sweeps
from relay.dispatch.sweeps import Sweeps
from relay.dispatch.unknown import Feedback
from relay.metrics import Metrics
from relay.store import lateness, sweeping
from relay.store.clock import now_ms
from relay.store.schema import deliveries
from relay.store.store import Store
from tests import databases
from tests.store.stories import message, play, put

POLICY = RetryPolicy(max_age=timedelta(hours=24))
FEEDBACK = Feedback(timedelta(0))


async def states(store: Store) -> Counter[str]:
    which = select(deliveries.c.state, func.count()).group_by(deliveries.c.state)
    return Counter(dict(await store.read(lambda db: db.execute(which).all())))


def test_after_a_day_without_ses_what_many_domains_had_waiting_fails_in_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "SLICE", 2)
    monkeypatch.setattr(sweeps, "EVERY", 0.01)
    monkeypatch.setattr(sweeps, "EXPIRE_EVERY", timedelta(seconds=0.5))
    at_once: list[int] = []
    sweep_waiting = sweeping.sweep_waiting

    def watched(db: Connection, items: Sequence[sweeping.Round]) -> Sequence[sweeping.Swept]:
        swept = sweep_waiting(db, items)
        at_once.extend(each.failed for each in swept)
        return swept

    monkeypatch.setattr(sweeping, "sweep_waiting", watched)

    async def story(store: Store, tenant: int) -> None:
        old = now_ms() - 25 * 3_600_000
        for number in range(12):
            await put(store, message(store, tenant, domain=f"d{number % 4}.example", accepted_at=old))
        tasks = Sweeps(store, POLICY, Metrics(), lambda *_: None, list, tuple, FEEDBACK)
        await tasks.start()
        assert (await states(store))["failed"] == 8  # the doors do not wait for all of it
        running = asyncio.create_task(tasks.run())
        async with asyncio.timeout(10):
            while (await states(store))["failed"] < 12:
                await asyncio.sleep(0.01)
        running.cancel()
        assert max(at_once) <= 2

    play(databases.sqlite(tmp_path), story)


def test_a_chore_that_fails_each_time_keeps_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "EVERY", 0.01)

    def broken(db: Connection, items: object) -> Sequence[object]:
        raise ValueError("nobody thought of this")

    monkeypatch.setattr(lateness, "sweep_late", broken)
    monkeypatch.setattr(sweeping, "sweep_waiting", broken)

    async def story(store: Store, tenant: int) -> None:
        given = [[(await put(store, message(store, tenant))).id]]
        retained, loop = asyncio.Event(), asyncio.get_running_loop()

        def retain(db: Connection, items: Sequence[None]) -> Sequence[set[int]]:
            loop.call_soon_threadsafe(retained.set)
            return [set() for _ in items]

        monkeypatch.setattr(sweeping, "sweep_retention", retain)
        running = asyncio.create_task(
            Sweeps(
                store, POLICY, Metrics(), lambda *_: None, lambda: given.pop() if given else [], tuple, FEEDBACK
            ).run()
        )
        async with asyncio.timeout(10):
            await retained.wait()
        assert not given
        running.cancel()

    play(databases.sqlite(tmp_path), story)
