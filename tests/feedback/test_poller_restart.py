"""What a restart does to outcomes that are unknown: their events wait in the queue, and are read first."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.engine import URL

from relay.delivery import RetryPolicy, State
from relay.dispatch.sweeps import Sweeps
from relay.dispatch.unknown import LIVE_FOR, Feedback
from relay.metrics import Metrics
from relay.store import feeds
from relay.store.clock import LEASE, milliseconds, now_ms
from relay.store.schema import deliveries
from relay.store.store import Store
from relay.store.writer import Rank
from tests.store.stories import message, play, put

WINDOW = timedelta(seconds=120)
MINUTE = timedelta(minutes=1)


async def attempt(store: Store, tenant: int, ago: timedelta, state: str = "sending") -> int:
    """An attempt of account `customer` that began so long ago, and that nobody has in hand any more."""
    new = await put(store, message(store, tenant, state=State.SENDING))
    [delivery] = new.deliveries
    span = LEASE if state == "sending" else WINDOW
    came = {"state": state, "account": "customer", "due_at": now_ms() + milliseconds(span - ago)}
    await store.change(lambda db: db.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(**came)))
    return delivery.id


async def read_at(store: Store, ago: timedelta | None) -> None:
    """The queue of account `customer` answered so long ago; None: never."""
    await store.write(feeds.note, feeds.Look("customer", asked=ago), Rank.SWEEP)


async def start(store: Store) -> Feedback:
    """What a server does before its doors open. Returns whom it takes to be heard."""
    feedback = Feedback(WINDOW)

    def silent() -> tuple[str, ...]:
        return feedback.silent(["customer"], time.monotonic())

    sweeps = Sweeps(store, RetryPolicy(), Metrics(), lambda *_: None, list, silent, feedback)
    await sweeps.start()
    await sweeps._sweep()
    return feedback


async def waits(store: Store, delivery_id: int) -> tuple[str, float]:
    """Its state, and in how many seconds the queue looks at it."""
    which = select(deliveries.c.state, deliveries.c.due_at).where(deliveries.c.id == delivery_id)
    row = (await store.read(lambda db: db.execute(which).all()))[0]
    return row.state, (row.due_at - now_ms()) / 1000


@pytest.mark.parametrize("down", [timedelta(seconds=5), timedelta(hours=30)], ids=["a moment", "a day"])
@pytest.mark.parametrize("state", ["sending", "unknown"])
def test_a_restart_waits_for_the_events_of_an_account_that_was_heard(url: URL, state: str, down: timedelta) -> None:
    """However long nobody read them: SQS keeps them for days."""

    async def story(store: Store, tenant: int) -> None:
        delivery_id = await attempt(store, tenant, MINUTE + max(down, LEASE), state)
        await read_at(store, down + LEASE)
        feedback = await start(store)
        state_now, due_in = await waits(store, delivery_id)
        assert state_now == "unknown"
        assert 110 < due_in <= 120
        now = time.monotonic()
        assert feedback.is_live("customer", now)
        # Nothing is heard after all: it waits no longer.
        assert not feedback.is_live("customer", now + LIVE_FOR.total_seconds() + 1)

    play(url, story)


@pytest.mark.parametrize("read", [None, timedelta(minutes=90)], ids=["never", "before"])
@pytest.mark.parametrize("state", ["sending", "unknown"])
def test_a_restart_decides_at_once_where_events_were_not_read(url: URL, state: str, read: timedelta | None) -> None:
    async def story(store: Store, tenant: int) -> None:
        delivery_id = await attempt(store, tenant, timedelta(minutes=60), state)
        await read_at(store, read)
        feedback = await start(store)
        assert (await waits(store, delivery_id))[0] == "queued"
        assert not feedback.is_live("customer", time.monotonic())

    play(url, story)


def test_a_row_of_a_feed_says_what_is_known_and_keeps_the_moments_it_had(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        first = feeds.Look("a", asked=MINUTE, heard=2 * MINUTE, waiting=3, dead=1)
        await store.write(feeds.note, first, Rank.SWEEP)
        await store.write(feeds.note, feeds.Look("b"), Rank.SWEEP)
        await store.write(feeds.note, feeds.Look("a", fault="no queue"), Rank.SWEEP)
        a, b = await store.read(feeds.every)
        assert (a.waiting, a.dead, a.fault) == (None, None, "no queue")
        assert a.asked is not None
        assert a.heard is not None
        assert MINUTE <= a.asked < 2 * MINUTE <= a.heard
        assert b == feeds.Look("b")
        await store.write(feeds.prune, {"b", "c"}, Rank.SWEEP)
        assert [each.account for each in await store.read(feeds.every)] == ["b"]

    play(url, story)


def test_a_process_that_begins_beside_others_knows_whom_they_hear(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        await read_at(store, timedelta(seconds=60))
        feedback = await start(store)
        now = time.monotonic()
        assert feedback.is_live("customer", now)
        assert not feedback.is_live("customer", now + 31)

    play(url, story)
