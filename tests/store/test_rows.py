"""Rows inserted by few statements: every one as it was given, and no statement for each number of them there may be."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import Connection, delete, select
from sqlalchemy.engine import URL

from relay.errors import Kind, Problem
from relay.store.rows import SIZES, _sizes, put
from relay.store.schema import blocks
from relay.store.store import Store
from tests.store.stories import play

COUNTS = (1, 2, 7, 8, 9, 63, 64, 65, 127, 300)


def rows(count: int) -> list[dict[str, str | int]]:
    return [
        {"address": f"192.0.2.{number}", "prefix": "'; --", "failures": number, "since": 1 << 40, "until": -number}
        for number in range(count)
    ]


@pytest.mark.parametrize("count", [0, *COUNTS, 1000])
def test_a_number_of_rows_is_made_of_few_sizes(count: int) -> None:
    made = list(_sizes(count))
    assert sum(made) == count
    assert set(made) <= set(SIZES)
    assert len(made) <= count // SIZES[0] + 4


def test_every_row_is_there_as_it_was_given(url: URL) -> None:
    def written(db: Connection, count: int) -> list[dict[str, str | int]]:
        db.execute(delete(blocks))
        put(db, blocks, rows(count))
        return [dict(row) for row in db.execute(select(blocks).order_by(blocks.c.failures)).mappings()]

    async def story(store: Store, _tenant_id: int) -> None:
        for count in COUNTS:
            assert await store.change(partial(written, count=count)) == rows(count)

    play(url, story)


def test_a_row_that_cannot_be_is_the_databases_own_trouble(url: URL) -> None:
    async def story(store: Store, _tenant_id: int) -> None:
        with pytest.raises(Problem) as caught:
            await store.change(lambda db: put(db, blocks, [*rows(10), *rows(1)]))
        assert caught.value.kind is Kind.INTERNAL
        assert await store.read(lambda db: db.execute(select(blocks)).all()) == []

    play(url, story)
