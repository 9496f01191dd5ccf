"""Tallies: the same figures in whatever order and batches they come, and no table of somebody's serial numbers."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from sqlalchemy import Connection, delete, select
from sqlalchemy.engine import URL

from relay.store import tallies as module
from relay.store.schema import FATES, tallies
from relay.store.store import Store
from relay.store.tallies import MOST_TAGS, Tallied, tally
from relay.store.usage import DAY
from tests.store.stories import play
from tests.store.test_usage import another_tenant

Figures = Counter[tuple[int, int, str, str, str, str]]


def written(db: Connection) -> Figures:
    return Counter(
        {
            (row.tenant_id, row.day, row.domain, row.stream, row.tag, fate): count
            for row in db.execute(select(tallies))
            for fate in FATES
            if (count := getattr(row, fate))
        }
    )


def expected(items: Sequence[Tallied]) -> Figures:
    found: Figures = Counter()
    for each in items:
        found[each.tenant_id, each.at // DAY, each.domain, each.stream, each.tag, each.fate] += each.recipients
    return found


def some(rng: random.Random, tenants: Sequence[int]) -> list[Tallied]:
    return [
        Tallied(
            tenant_id=rng.choice(tenants),
            at=20_000 * DAY + rng.choice([-1, 0, DAY - 1, DAY]),
            domain=rng.choice(["a.example", "b.example"]),
            stream=rng.choice(["transactional", "broadcast"]),
            tag=rng.choice(["", "orders", "'; --", "zoë"]),
            fate=rng.choice(FATES),
            recipients=rng.choice([1, 1, 50]),
        )
        for _ in range(rng.randrange(120))
    ]


def test_any_order_and_any_batches_give_the_same_figures(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        tenants = (tenant, await store.change(another_tenant))
        for seed in range(12):
            rng = random.Random(seed)
            items = some(rng, tenants)
            for _ in range(2):
                await store.change(lambda db: db.execute(delete(tallies)))
                left = rng.sample(items, len(items))
                while left:
                    size = rng.randrange(1, 70)
                    batch, left = left[:size], left[size:]
                    await store.change(lambda db, batch=batch: tally(db, batch))
                assert await store.read(written) == expected(items)

    play(url, story)


def test_batches_at_once_lose_nothing(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        rng = random.Random(1)
        batches = [some(rng, (tenant,)) for _ in range(8)]
        await asyncio.gather(*(store.change(lambda db, batch=batch: tally(db, batch)) for batch in batches))
        assert await store.read(written) == expected([each for batch in batches for each in batch])

    play(url, story)


def tagged(tenant: int, *tags: object, domain: str = "a.example", day: int = 20_000) -> list[Tallied]:
    return [Tallied(tenant, day * DAY, domain, "shared", str(tag), "sent") for tag in tags]


def test_of_too_many_tags_the_first_are_kept_and_no_recipient_is_lost(
    url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_TAGS", 3)

    async def story(store: Store, tenant: int) -> None:
        async def counted(*items: Tallied) -> dict[tuple[str, str], int]:
            await store.change(lambda db: tally(db, items))
            rows = await store.read(lambda db: db.execute(select(tallies).where(tallies.c.day == 20_000)).all())
            return {(row.domain, row.tag): row.sent for row in rows}

        a, b = "a.example", "b.example"
        assert await counted(*tagged(tenant, 1, 2)) == {(a, "1"): 1, (a, "2"): 1}
        full = {(a, ""): 1, (a, "1"): 2, (a, "2"): 1, (a, "3"): 1}
        assert await counted(*tagged(tenant, 1, 3, 4)) == full
        assert await counted(*tagged(tenant, 4, 5, "", 3)) == full | {(a, ""): 4, (a, "3"): 2}
        # A tag that is there is good for other domains, and another day begins anew.
        there = await counted(*tagged(tenant, 1, 6, domain=b), *tagged(tenant, 7, day=20_001))
        assert there == full | {(a, ""): 4, (a, "3"): 2, (b, "1"): 1, (b, ""): 1}
        monkeypatch.setattr(module, "MOST_ROWS", 4)
        again = await counted(*tagged(tenant, 2, domain=b))
        assert again == there | {(b, ""): 2}

    play(url, story)


def test_a_tag_for_each_message_makes_no_more_rows_than_may_be(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        for start in range(0, 1500, 300):
            await store.change(lambda db, start=start: tally(db, tagged(tenant, *range(start, start + 300))))
        rows = await store.read(lambda db: db.execute(select(tallies)).all())
        assert len(rows) == MOST_TAGS + 1
        assert {row.tag: row.sent for row in rows}[""] == 500

    play(url, story)


def test_nothing_is_tallied_by_a_word_that_is_none(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        await store.change(lambda db: tally(db, []))
        with pytest.raises(AssertionError):
            await store.change(lambda db: tally(db, [Tallied(tenant, 0, "a.example", "shared", "", "lost")]))

    play(url, story)
