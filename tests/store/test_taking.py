"""Taking from many queues at once, by shares; and what is counted of them. On both databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from relay.message import Stream
from relay.store import listing
from relay.store.clock import now_ms
from relay.store.queue import TOGETHER, Order, Queue, Taken, take
from relay.store.store import Store
from relay.store.writer import Rank
from tests import databases
from tests.store.stories import message, play, put

LATER = 60_000  # milliseconds


async def taken(
    store: Store, queues: Sequence[Queue], shares: Sequence[int], recipients: int = 500, **more: int
) -> Taken:
    order = Order("customer", tuple(queues), sum(shares), recipients, tuple(shares), **more)
    return await store.write(take, order, Rank.SETTLE)


def queue(number: int) -> Queue:
    return f"d{number}.example", Stream.TRANSACTIONAL


async def fill(store: Store, tenant: int, number: int, count: int, *people: str, at: int | None = None) -> None:
    new = [
        message(store, tenant, people or ("a@dest.example",), domain=queue(number)[0], accepted_at=at)
        for _ in range(count)
    ]
    await asyncio.gather(*(put(store, each) for each in new))


def test_each_queue_gives_its_share_and_says_whether_it_has_more(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        for number, count in enumerate((5, 2, 3)):
            await fill(store, tenant, number, count)
        later = now_ms() + LATER
        await fill(store, tenant, 1, 1, at=later)
        found = await taken(store, [queue(0), queue(1), queue(2)], [3, 3, 3])
        started = Counter(each.domain for each in found.started)
        assert started == {"d0.example": 3, "d1.example": 2, "d2.example": 3}
        assert found.next_due == {queue(1): later, queue(2): None}

    play(url, story)


def test_more_queues_than_one_statement_asks_for(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        queues = [queue(number) for number in range(TOGETHER + 7)]
        for number in range(len(queues)):
            await fill(store, tenant, number, 2)
        found = await taken(store, queues, [1] * len(queues))
        assert Counter(each.domain for each in found.started) == {domain: 1 for domain, _ in queues}
        assert found.next_due == {}
        found = await taken(store, queues, [1] * len(queues))
        assert found.next_due == dict.fromkeys(queues)

    play(url, story)


def test_a_ceiling_holds_for_the_first_delivery_too(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        await fill(store, tenant, 0, 2, "a@d.example", "b@d.example", "c@d.example")
        assert (await taken(store, [queue(0)], [2], recipients=2, ceiling=2)).started == ()
        assert len((await taken(store, [queue(0)], [2], recipients=2, ceiling=3)).started) == 1
        assert len((await taken(store, [queue(0)], [2], recipients=2)).started) == 1

    play(url, story)


def test_what_goes_before_a_delivery_and_what_is_due_are_counted(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        at = now_ms() - LATER
        for step in range(3):
            await fill(store, tenant, 0, 2, at=at + step)
        await fill(store, tenant, 0, 1, at=at + 10 * LATER)
        await fill(store, tenant, 1, 1)
        assert await store.read(listing.due_counts) == {queue(0): 6, queue(1): 1}
        new = message(store, tenant, domain=queue(0)[0], accepted_at=at + 1)
        await put(store, new)
        delivery_id = new.deliveries[0].id
        assert await store.read(lambda db: listing.ahead(db, queue(0), delivery_id, at + 1)) == 4
        assert await store.read(lambda db: listing.ahead(db, queue(1), delivery_id, at + 1)) == 0

    play(url, story)


def test_taking_costs_the_same_however_much_is_queued(tmp_path: Path) -> None:
    """Counted in steps of SQLite's machine, which do not depend on how busy this one is."""

    def steps(count: int, folder: Path) -> int:
        async def story(store: Store, tenant: int) -> int:
            await fill(store, tenant, 0, count)
            spent = 0

            def counting(db: Connection, items: Sequence[Order]) -> Sequence[Taken]:
                def step() -> None:
                    nonlocal spent
                    spent += 1

                driver = db.connection.driver_connection
                assert driver is not None
                driver.set_progress_handler(step, 1)
                try:
                    return take(db, items)
                finally:
                    driver.set_progress_handler(None, 0)

            order = Order("customer", (queue(0),), 20, 20)
            assert len((await store.write(counting, order, Rank.SETTLE)).started) == 20
            return spent

        folder.mkdir()
        return play(databases.sqlite(folder), story)

    assert steps(2000, tmp_path / "many") < 1.2 * steps(100, tmp_path / "few")
