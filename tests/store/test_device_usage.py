"""What devices sent: counted by key, UTC day and process, with the message or not at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.engine import URL

from relay.declared import KeyFields
from relay.errors import Problem
from relay.store import usage
from relay.store.accepting import Together, accept
from relay.store.arriving import NewMessage
from relay.store.device_usage import KEPT, count, of_day
from relay.store.directory import keys
from relay.store.directory.audit import Actor
from relay.store.schema import device_usage
from relay.store.store import Store
from relay.store.usage import DAY, Used
from relay.store.writer import Rank
from tests.store.stories import message, play

NOON = int(datetime(2031, 5, 10, 12, tzinfo=UTC).timestamp() * 1000)
TOMORROW = NOON + DAY


async def key_of(store: Store, name: str) -> int:
    fields = KeyFields(name=name)
    made, _ = await store.change(lambda db: keys.create(db, store.sealer, Actor("test"), fields))
    return made.id


def days(db: Connection, key_id: int) -> list[int]:
    which = select(device_usage.c.day).where(device_usage.c.key_id == key_id).order_by(device_usage.c.day)
    return list(db.scalars(which))


def test_it_counts_by_day_and_says_what_was_counted_here(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(store: Store, _: int) -> None:
        scanner, printer = [await key_of(store, name) for name in ("scanner", "printer")]
        monkeypatch.setattr(usage, "process", 1)
        await store.change(lambda db: count(db, [(scanner, NOON, 5), (scanner, TOMORROW, 2), (scanner, NOON, 1)]))
        monkeypatch.setattr(usage, "process", 2)
        await store.change(lambda db: count(db, [(scanner, NOON, 10), (printer, NOON, 1)]))
        assert await store.read(lambda db: of_day(db, NOON)) == {scanner: Used(16, 10), printer: Used(1, 1)}
        assert await store.read(lambda db: of_day(db, TOMORROW)) == {scanner: Used(2, 0)}
        assert await store.read(lambda db: of_day(db, NOON - DAY)) == {}

    play(url, story)


def test_days_that_are_long_over_go(url: URL) -> None:
    async def story(store: Store, _: int) -> None:
        scanner, printer = [await key_of(store, name) for name in ("scanner", "printer")]
        for late in range(KEPT + 3):
            await store.change(lambda db, at=NOON + late * DAY: count(db, [(scanner, at, 1)]))  # type: ignore[misc]
        await store.change(lambda db: count(db, [(printer, NOON, 1)]))
        last = NOON // DAY + KEPT + 2
        assert await store.read(lambda db: days(db, scanner)) == list(range(last - KEPT, last + 1))
        assert await store.read(lambda db: days(db, printer)) == [NOON // DAY]

    play(url, story)


def test_it_is_written_with_the_message_or_not_at_all(url: URL) -> None:
    async def story(store: Store, tenant_id: int) -> None:
        scanner = await key_of(store, "scanner")

        def from_scanner(*groups: tuple[str, ...], is_capped: bool) -> NewMessage:
            made = message(store, tenant_id, *groups, accepted_at=NOON)
            return replace(made, key_id=scanner, is_capped=is_capped)

        first = from_scanner(("a@x.example", "b@x.example"), ("c@x.example",), is_capped=True)
        await store.write(accept, Together((first,)), Rank.ACCEPT)
        await store.write(accept, Together((from_scanner(("d@x.example",), is_capped=False),)), Rank.ACCEPT)
        with pytest.raises(Problem):
            await store.write(accept, Together((first,)), Rank.ACCEPT)
        assert await store.read(lambda db: of_day(db, NOON)) == {scanner: Used(3, 3)}

    play(url, story)
