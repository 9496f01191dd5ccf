"""Eight processes' worth of workers on one PostgreSQL: whatever they do at once, no attempt is started twice.

They take, settle early, late or never, die with attempts in hand, and sweep up after each other, really at once, each
on connections of its own. What SES was given is counted beside it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select, update

from relay.delivery import Delivery, RetryPolicy, Settlement, State
from relay.errors import Kind
from relay.message import Stream
from relay.store import database, schema, sweeping
from relay.store.clock import now_ms
from relay.store.directory import installation
from relay.store.queue import Order, take
from relay.store.settling import settle
from relay.store.store import Store, open_store
from relay.store.writer import Rank
from tests import databases
from tests.store.stories import MASTER, message, put

WORKERS = 8
QUEUE = ("byoc.example", Stream.TRANSACTIONAL)
POLICY = RetryPolicy(max_failures=10_000)


class Ses:
    """Every attempt that was started, and every call that was taken, by delivery."""

    def __init__(self) -> None:
        self.started: Counter[tuple[int, int]] = Counter()
        self.took: Counter[int] = Counter()


class Worker:
    """One process. `hands`: the attempts it believes to be its own."""

    def __init__(self, store: Store, ses: Ses) -> None:
        self.store = store
        self.ses = ses
        self.hands: list[Delivery] = []

    async def take(self, pick: int) -> None:
        order = Order("customer", (QUEUE,), 1 + pick % 7, 50)
        taken = await self.store.write(take, order, Rank.SETTLE)
        self.ses.started.update((each.id, each.attempts) for each in taken.started)
        self.hands += taken.started

    async def settle(self, pick: int) -> None:
        if self.hands:
            await self._settle(self.hands.pop(pick % len(self.hands)), pick)

    async def _settle(self, each: Delivery, pick: int) -> None:
        state = (State.SENT, State.QUEUED, State.UNKNOWN)[pick % 3]
        if state is State.SENT or pick % 6 == 2:  # SES may have taken what did not answer
            self.ses.took[each.id] += 1
        due_at = None if state.is_final else now_ms()
        kind = None if state is State.SENT else Kind.SES_UNAVAILABLE
        settlement = Settlement(each.id, each.attempts, state, "customer", due_at, each.failures, kind)
        await self.store.write(settle, settlement, Rank.SETTLE)

    async def die(self, pick: int) -> None:
        """With calls under way, of which SES takes some. Another one is started in its place."""
        self.ses.took.update(each.id for each in self.hands if (each.id + pick) % 2)
        self.hands = []

    async def lapse(self, _pick: int) -> None:
        """The leases of all that is under way run out: of the dead, and of the slow who know nothing of it."""
        await self.store.write(lapse, None, Rank.SWEEP)

    async def sweep(self, _pick: int) -> None:
        await self.store.write(sweeping.sweep_waiting, sweeping.Round(POLICY, (QUEUE,), False), Rank.SWEEP)

    async def follow(self, script: Sequence[tuple[str, int]]) -> None:
        for verb, pick in script:
            await getattr(self, verb)(pick)


def lapse(db: Connection, items: Sequence[None]) -> Sequence[None]:
    db.execute(update(schema.deliveries).where(schema.deliveries.c.state == "sending").values(due_at=now_ms() - 1000))
    return [None for _ in items]


@asynccontextmanager
async def eight() -> AsyncIterator[list[Store]]:
    url = databases.postgresql()
    await database.migrate_postgresql(url)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_store(url, MASTER)) for _ in range(WORKERS)]


@pytest.fixture(scope="module")
def stores() -> Iterator[tuple[asyncio.Runner, list[Store]]]:
    with asyncio.Runner() as runner:
        context = eight()
        yield runner, runner.run(context.__aenter__())
        runner.run(context.__aexit__(None, None, None))


ACTIONS = st.tuples(st.sampled_from(["take", "take", "settle", "settle", "die", "lapse", "sweep"]), st.integers(0, 20))
SCRIPTS = st.lists(st.lists(ACTIONS, min_size=3, max_size=12), min_size=WORKERS, max_size=WORKERS)


QUICK = settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
SCENE = given(st.integers(1, 15), SCRIPTS)


@QUICK
@SCENE
def test_whatever_eight_workers_do_at_once_no_attempt_is_started_twice(
    stores: tuple[asyncio.Runner, list[Store]], messages: int, scripts: list[list[tuple[str, int]]]
) -> None:
    runner, opened = stores
    runner.run(story(opened, messages, scripts))


@pytest.mark.soak
@settings(QUICK, max_examples=200)
@SCENE
def test_the_same_200_times(
    stores: tuple[asyncio.Runner, list[Store]], messages: int, scripts: list[list[tuple[str, int]]]
) -> None:
    runner, opened = stores
    runner.run(story(opened, messages, scripts))


async def story(stores: list[Store], messages: int, scripts: list[list[tuple[str, int]]]) -> None:
    ses = Ses()
    workers = [Worker(store, ses) for store in stores]
    tenant = await stores[0].read(installation.default_tenant)
    mine = {(await put(stores[0], message(stores[0], tenant))).id for _ in range(messages)}
    await asyncio.gather(*(worker.follow(script) for worker, script in zip(workers, scripts, strict=True)))
    await finish(workers)

    table = schema.deliveries
    rows = await stores[0].read(lambda db: db.execute(select(table).where(table.c.message_id.in_(mine))).all())
    assert len(rows) == messages
    assert set(ses.started.values()) <= {1}  # each attempt by one worker, once
    for row in rows:
        assert row.state == "sent"
        attempts = sorted(attempt for delivery, attempt in ses.started if delivery == row.id)
        assert attempts == list(range(1, row.attempts + 1))
        assert 1 <= ses.took[row.id] <= 1 + row.possible_duplicates  # nothing lost; every duplicate was reported


async def finish(workers: list[Worker]) -> None:
    """Whoever is left brings all to an end: what is in hands is settled, late or not, and the rest sent."""
    await asyncio.gather(*(worker.settle(0) for worker in workers for _ in list(worker.hands)))
    last = workers[0]
    await last.lapse(0)
    while await last.store.read(is_open):
        await last.sweep(0)
        await last.take(6)
        await asyncio.gather(*(last.settle(0) for _ in list(last.hands)))


def is_open(db: Connection) -> bool:
    return (
        db.scalar(select(schema.deliveries.c.id).where(schema.deliveries.c.finished_at.is_(None)).limit(1)) is not None
    )
