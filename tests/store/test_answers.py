"""What is done once: its answer written with it, told to who comes again, and forgotten after a day."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import URL

from relay.errors import Problem
from relay.store import idempotency, schema
from relay.store.accepting import Together, accept
from relay.store.clock import milliseconds, now_ms
from relay.store.idempotency import Answer, Once
from relay.store.store import Store, open_store
from relay.store.writer import Rank
from tests.store.stories import MASTER, message, play

DAY = milliseconds(idempotency.LASTS)


def once(store: Store, tenant: int, answer: str, key: str = "k", *, age: int = 0) -> Together:
    """A message under an idempotency key, accepted some milliseconds ago."""
    row = Once(tenant, "message", store.sealer.hash(key, "idempotency"), None, answer, now_ms() - age)
    return Together((message(store, tenant),), row)


async def accepted(store: Store, new: Together) -> Answer | None:
    return await store.write(accept, new, Rank.ACCEPT, sum(each.size for each in new.messages))


async def count(store: Store) -> int:
    return await store.read(lambda db: db.scalar(select(func.count()).select_from(schema.messages)) or 0)


def test_the_second_gets_the_answer_of_the_first_and_is_not_written(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        key = store.sealer.hash("k", "idempotency")
        assert await store.answered(tenant, "message", key) is None
        assert await accepted(store, once(store, tenant, '"first"')) is None
        assert await accepted(store, once(store, tenant, '"second"')) == Answer(None, '"first"')
        assert await store.answered(tenant, "message", key) == Answer(None, '"first"')
        assert await count(store) == 1
        # Neither another key nor another route or tenant has to do with it.
        assert await accepted(store, once(store, tenant, '"other"', "K")) is None
        assert await store.answered(tenant, "/api/v1/emails", key) is None
        assert await store.answered(tenant + 1, "message", key) is None

    play(url, story)


def test_a_day_later_the_key_is_free(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        key = store.sealer.hash("k", "idempotency")
        assert await accepted(store, once(store, tenant, '"old"', age=DAY)) is None
        assert await store.answered(tenant, "message", key) is None
        assert await accepted(store, once(store, tenant, '"new"', age=DAY - 60_000)) is None
        assert await store.answered(tenant, "message", key) == Answer(None, '"new"')
        assert await count(store) == 2

    play(url, story)


def test_what_is_over_is_swept_and_nothing_else(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        most = idempotency.SLICE
        await asyncio.gather(
            *(accepted(store, once(store, tenant, "1", f"old {n}", age=DAY + n)) for n in range(most + 5))
        )
        await accepted(store, once(store, tenant, '"young"'))
        swept = [await store.write(idempotency.sweep, None, Rank.SWEEP) for _ in range(3)]
        assert swept == [most, 5, 0]
        left = await store.read(lambda db: db.scalars(select(schema.idempotency.c.answer)).all())
        assert list(left) == ['"young"']

    play(url, story)


def test_what_is_not_written_leaves_no_answer(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = once(store, tenant, '"first"')
        spoilt = replace(new, messages=(replace(new.messages[0], size=None),))  # the database refuses it
        with pytest.raises(Problem):
            await store.write(accept, spoilt, Rank.ACCEPT)
        assert await store.answered(tenant, "message", store.sealer.hash("k", "idempotency")) is None
        assert await accepted(store, new) is None

    play(url, story)


def test_in_one_commit_with_others_each_gets_its_own(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        keys = [f"k{n % 5}" if n % 2 else None for n in range(60)]
        news = [
            once(store, tenant, f'"{n}"', key) if key else Together((message(store, tenant),))
            for n, key in enumerate(keys)
        ]
        answers = await asyncio.gather(*(accepted(store, new) for new in news))
        firsts = [keys.index(f"k{n}") for n in range(5)]
        for n, (key, answer) in enumerate(zip(keys, answers, strict=True)):
            is_first = key is None or n in firsts
            assert answer == (None if is_first else Answer(None, f'"{keys.index(key)}"'))
        assert await count(store) == 30 + 5

    play(url, story)


def test_of_several_processes_one_is_first_and_the_others_say_what_it_said(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        if store.is_alone:
            return  # on SQLite no other process takes mail
        async with AsyncExitStack() as stack:
            stores = [await stack.enter_async_context(open_store(url, MASTER)) for _ in range(4)]
            for turn in range(10):
                news = [once(each, tenant, f'"{place} {turn}"', f"k{turn}") for place, each in enumerate(stores)]
                answers = await asyncio.gather(*map(accepted, stores, news))
                assert answers.count(None) == 1
                first = Answer(None, news[answers.index(None)].once.answer)
                assert [answer for answer in answers if answer] == [first] * 3
        assert await count(store) == 10

    play(url, story)


def test_without_the_master_key_a_key_cannot_be_tried_out(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        await accepted(store, once(store, tenant, "1", "order-4711"))
        [row] = await store.read(lambda db: db.execute(select(schema.idempotency)).all())
        assert b"4711" not in row.key
        assert len(row.key) == 32
        assert "4711" not in repr(once(store, tenant, "1", "order-4711"))

    play(url, story)
