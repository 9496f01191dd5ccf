"""What is only good while events of mail may come: it goes in time, and not before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.engine import URL

from relay.store import forgetting, retention, schema
from relay.store.arriving import NewMessage
from relay.store.clock import now_ms
from relay.store.forgetting import EVENTS_COME_FOR, PROBES_KEPT_FOR, WALKS
from relay.store.schema import FATES
from relay.store.store import Store
from relay.store.usage import DAY
from relay.store.writer import Rank
from tests.store.stories import message, play, put

OLD = EVENTS_COME_FOR + timedelta(days=1)


async def walk(store: Store) -> None:
    for each in WALKS:
        after: int | None = 0
        while after is not None:
            after = await store.write(each, after, Rank.SWEEP)


async def aged(store: Store, tenant: int, *, finished: timedelta | None) -> tuple[NewMessage, set[int]]:
    """A message whose rows are OLD, that was final so long ago; None: it still waits. With what was heard of it."""
    new = await put(store, message(store, tenant, ("ana@d.example", "bo@d.example")))
    (delivery,) = new.deliveries
    by = int(OLD / timedelta(milliseconds=1)) << 21
    ids = [delivery.id - by, *(row_id - by for row_id, _, _ in delivery.recipients)]

    def back(db: Any) -> None:
        db.execute(insert(schema.heard), [{"about": id, "key": key} for id in ids for key in (-5, 1 << 62)])
        state = {"state": "sent", "due_at": None, "finished_at": now_ms() - finished // timedelta(milliseconds=1)}
        rows = (
            db.execute(select(schema.recipients).where(schema.recipients.c.delivery_id == delivery.id)).mappings().all()
        )
        made = db.execute(select(schema.deliveries).where(schema.deliveries.c.id == delivery.id)).mappings().one()
        whole = db.execute(select(schema.messages).where(schema.messages.c.id == new.id)).mappings().one()
        retention.delete_messages(db, [new.id])
        db.execute(insert(schema.messages).values(dict(whole) | {"id": new.id - by, "echo": b"sealed"}))
        changes = {"id": ids[0], "message_id": new.id - by} | state
        db.execute(insert(schema.deliveries).values(dict(made) | changes))
        for row in rows:
            db.execute(insert(schema.recipients).values(dict(row) | {"id": row["id"] - by, "delivery_id": ids[0]}))

    def waits(db: Any) -> None:
        back(db)
        values = {"state": "queued", "due_at": now_ms(), "finished_at": None}
        db.execute(update(schema.deliveries).where(schema.deliveries.c.id == ids[0]).values(values))

    if finished is None:
        finished = timedelta(0)
        await store.change(waits)
    else:
        await store.change(back)
    return new, set(ids)


@pytest.mark.parametrize(
    ("size", "finished", "is_over"), [(1, OLD, True), (500, timedelta(days=1), False), (2, None, False)]
)
def test_it_goes_when_no_event_can_come_any_more(
    url: URL, monkeypatch: pytest.MonkeyPatch, size: int, finished: timedelta | None, is_over: bool
) -> None:
    monkeypatch.setattr(forgetting, "SLICE", size)

    async def story(store: Store, tenant: int) -> None:
        _, about = await aged(store, tenant, finished=finished)
        fresh = await put(store, message(store, tenant))
        await store.change(lambda db: db.execute(insert(schema.heard).values(about=fresh.deliveries[0].id, key=1)))
        await walk(store)
        await walk(store)
        left = await store.read(lambda db: set(db.scalars(select(schema.heard.c.about))))
        assert left == {fresh.deliveries[0].id} | (set() if is_over else about)
        echoes = await store.read(lambda db: db.scalars(select(schema.messages.c.echo)).all())
        assert sorted(each is None for each in echoes) == [is_over, True]

    play(url, story)


def test_what_was_heard_goes_with_its_message(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        one, other = [await put(store, message(store, tenant)) for _ in range(2)]
        rows = [{"about": new.deliveries[0].id, "key": 1} for new in (one, other)]
        rows += [{"about": new.deliveries[0].recipients[0][0], "key": 2} for new in (one, other)]
        await store.change(lambda db: db.execute(insert(schema.heard), rows))
        await store.change(lambda db: retention.delete_messages(db, [one.id]))
        left = await store.read(lambda db: set(db.scalars(select(schema.heard.c.about))))
        assert left == {rows[1]["about"], rows[3]["about"]}

    play(url, story)


def test_figures_and_probes_have_an_end(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "SLICE", 2)

    async def story(store: Store, tenant: int) -> None:
        now = now_ms()
        days = retention.COUNTS_KEPT_FOR // timedelta(days=1)

        def fill(db: Any) -> None:
            for ago in (0, days - 1, *range(days + 1, days + 6)):
                row = {"tenant_id": tenant, "day": now // DAY - ago, "domain": "d", "stream": "shared", "tag": ""}
                db.execute(insert(schema.tallies).values(row | dict.fromkeys(FATES, 1)))
            for number, ago in enumerate((timedelta(0), PROBES_KEPT_FOR + timedelta(hours=1))):
                row = {"id": number, "account": "a", "domain": "d", "expects": "delivered"}
                db.execute(insert(schema.probes).values(row | {"sent_at": now - ago // timedelta(milliseconds=1)}))

        await store.change(fill)
        for sweep in (retention.sweep_counts, forgetting.sweep_probes):
            while await store.write(sweep, None, Rank.SWEEP):
                pass
        counts = [
            len(await store.read(lambda db, table=table: db.execute(select(table)).all()))
            for table in (schema.tallies, schema.probes)
        ]
        assert counts == [2, 1]

    play(url, story)
