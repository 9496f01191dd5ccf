"""What is done by hand to queued mail: only from states that allow it, all written down, and nothing of it lost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import URL

from relay.delivery import State
from relay.errors import Kind, Problem
from relay.message import Mode, Stream
from relay.store import hand, listing, schema
from relay.store.clock import milliseconds, now_ms
from relay.store.directory import audit, installation
from relay.store.directory.audit import Actor
from relay.store.hand import ByHand
from relay.store.queue import Order, take
from relay.store.store import Store
from relay.store.writer import Rank
from tests.store.stories import message, play, put

QUEUE = ("byoc.example", Stream.TRANSACTIONAL)
DAY = milliseconds(timedelta(days=1))
ANA = Actor("key relay_ana", "req_1")


async def move(store: Store, public_id: str, to: State, due_at: int | None = None) -> int:
    return await store.change(lambda db: hand.move(db, ByHand(public_id, to, due_at, ANA)))


async def refused(store: Store, public_id: str, to: State, due_at: int | None = None) -> str:
    with pytest.raises(Problem) as caught:
        await move(store, public_id, to, due_at)
    assert caught.value.kind is Kind.CONFLICT
    return caught.value.detail


async def look(store: Store, public_id: str) -> listing.MessageView:
    found = await store.read(lambda db: listing.message(db, public_id))
    assert found is not None
    return found


async def take_all(store: Store) -> int:
    return len((await store.write(take, Order("customer", (QUEUE,), 10, 100), Rank.SETTLE)).started)


def test_what_is_rescheduled_waits_and_goes_when_it_is_told_to(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant, ("ana@d.example",), ("bo@d.example",)))
        later = now_ms() + DAY
        assert await move(store, new.public_id, State.QUEUED, later) == 2
        seen = await look(store, new.public_id)
        assert seen.scheduled_at == later
        assert {each.due_at for each in seen.deliveries} == {later}
        assert await take_all(store) == 0
        assert await move(store, new.public_id, State.QUEUED, 1) == 2  # long over: now
        assert (await look(store, new.public_id)).deliveries[0].first_due_at > now_ms() - DAY
        await move(store, new.public_id, State.QUEUED, later)
        assert await move(store, new.public_id, State.QUEUED) == 2
        assert ((await look(store, new.public_id)).scheduled_at or 0) <= now_ms()
        assert await take_all(store) == 2

    play(url, story)


def test_only_what_is_queued_as_a_whole_is_rescheduled(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant, ("ana@d.example",), ("bo@d.example",)))
        await store.write(take, Order("customer", (QUEUE,), 1, 100), Rank.SETTLE)
        words = await refused(store, new.public_id, State.QUEUED, now_ms() + DAY)
        assert words == f"message {new.public_id} is queued, sending: it cannot be rescheduled"
        held = await put(store, message(store, tenant))
        await move(store, held.public_id, State.HELD)
        assert "is held: it cannot be rescheduled" in await refused(store, held.public_id, State.QUEUED, now_ms())
        await move(store, held.public_id, State.CANCELLED)
        assert "is cancelled: it cannot be rescheduled" in await refused(store, held.public_id, State.QUEUED, now_ms())
        assert "is cancelled: it cannot be retried" in await refused(store, held.public_id, State.QUEUED)

    play(url, story)


@pytest.mark.parametrize("mode", list(Mode))
def test_what_is_cancelled_leaves_no_content_behind(url: URL, mode: Mode) -> None:
    async def story(store: Store, tenant: int) -> None:
        keep_for = None if mode is Mode.BYOC else timedelta(days=9)
        new = await put(store, message(store, tenant, mode=mode, keep_for=keep_for))
        assert await move(store, new.public_id, State.CANCELLED) == 1
        count = select(func.count()).select_from(schema.contents)
        left = await store.read(lambda db: db.scalars(count).one())
        assert left == (0 if mode is Mode.BYOC else 1)
        assert ((await look(store, new.public_id)).destroyed_at is not None) == (mode is Mode.BYOC)

    play(url, story)


def test_every_move_is_written_down_and_no_server_has_to_read_everything_again(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant))
        before = await store.read(installation.generation)
        later = now_ms() + DAY
        await move(store, new.public_id, State.QUEUED, later)
        await move(store, new.public_id, State.QUEUED)
        await move(store, new.public_id, State.CANCELLED)
        await refused(store, new.public_id, State.CANCELLED)
        target = f"message {new.public_id}"
        rows = await store.read(lambda db: audit.entries(db, target=target, tenant_id=tenant, limit=9))
        assert [row.action for row in rows] == ["message.cancel", "message.retry", "message.reschedule"]
        assert {(row.actor, row.request_id) for row in rows} == {("key relay_ana", "req_1")}
        assert rows[0].changes == {"state": ["queued", "cancelled"]}
        assert rows[2].changes["due_at"][1].endswith("Z")
        assert await store.read(installation.generation) == before
        await store.change(lambda db: installation.bump(db))
        assert await store.read(installation.generation) > before

    play(url, story)
