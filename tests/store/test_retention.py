"""What is kept goes in its time: attachments, contents, the log. Nothing that is open does. On both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.engine import URL

from relay.delivery import Settlement, State
from relay.dispatch import dropping
from relay.dispatch.dropping import Dropping
from relay.message import Mode, Stream
from relay.routing.slimming import Slimming
from relay.sealing import SLICE, SealingError
from relay.store import listing, resting, retention, schema, sweeping
from relay.store.clock import now_ms
from relay.store.events import Event, note
from relay.store.queue import Order, take
from relay.store.retention import Look
from relay.store.settling import settle
from relay.store.store import Store
from relay.store.usage import DAY
from relay.store.writer import Rank
from tests.store.stories import IDS, message, play, put

KEPT = timedelta(days=90)
FILE = b"SECRET" * 100
NOTE = b"[An attachment was dropped here: "


def mixed(file: bytes = FILE, text: bytes = b"Hello") -> bytes:
    return (
        b"Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + text
        + b"\r\n--b\r\nContent-Type: a/b\r\n\r\n" + file + b"\r\n--b--\r\n"
    )  # fmt: skip


def shared(store: Store, tenant: int, *groups: tuple[str, ...], slim_at: int | None = 0, **more: Any) -> Any:
    new = message(store, tenant, *groups, mode=Mode.SHARED, domain="shared.example", **{"keep_for": KEPT} | more)
    return replace(new, slim_at=slim_at)


async def send(store: Store, most: int = 100) -> None:
    order = Order("operator", (("shared.example", Stream.TRANSACTIONAL),), most, 1000)
    for each in (await store.write(take, order, Rank.SETTLE)).started:
        await store.write(settle, Settlement(each.id, 1, State.SENT, "operator", ses_message_id="s"), Rank.SETTLE)


async def row_of(store: Store, message_id: int) -> Any:
    which = select(schema.messages).where(schema.messages.c.id == message_id)
    return await store.read(lambda db: db.execute(which).one())


async def count(store: Store, table: Any) -> int:
    return await store.read(lambda db: db.scalar(select(func.count()).select_from(table)) or 0)


async def content(store: Store, message_id: int) -> bytes:
    return await store.content(message_id, (await row_of(store, message_id)).wrapped_key)


# -- attachments -----------------------------------------------------------------------------------------------------


def test_attachments_go_with_the_key_they_were_sealed_under(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, shared(store, tenant, ("ana@d.example",), ("bo@d.example",), content=mixed()))
        plain = await put(store, shared(store, tenant, content=b"Subject: s\r\n\r\nHello\r\n"))
        work = Dropping(store)
        assert await work.look() == 0
        await send(store, 1)
        assert await work.look() == 0  # one of two is still open
        before = await store.read(lambda db: resting.sealed_parts(db, [new.id]))
        await send(store)
        assert await work.look() == 2
        seen = await row_of(store, new.id)
        assert (seen.slim_at, seen.size) == (None, len(mixed()))
        assert seen.wrapped_key != new.wrapped_key
        kept = await content(store, new.id)
        assert b"Hello" in kept
        assert NOTE in kept
        assert b"SECRET" not in kept
        assert await store.read(lambda db: retention.kept_size(db, new.id)) == len(kept)
        with pytest.raises(SealingError):  # the new key does not open what was there, nor the old one what is
            store.sealer.opener(new.id, seen.wrapped_key, 1).part(0, before[new.id][0])
        assert (await row_of(store, plain.id)).wrapped_key == plain.wrapped_key
        assert (await row_of(store, plain.id)).slim_at is None
        assert await content(store, plain.id) == b"Subject: s\r\n\r\nHello\r\n"
        assert await work.look() == 0

    play(url, story)


def test_a_large_message_loses_its_attachments_a_part_at_a_time(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        text = bytes(65 + n % 26 for n in range(1000)) * 2100
        new = await put(store, shared(store, tenant, content=mixed(b"SECRET" * (SLICE // 2), text)))
        await send(store)
        assert await store.read(lambda db: listing.count_parts(db, new.id)) == 6
        assert await Dropping(store).look() == 1
        kept = await content(store, new.id)
        assert text in kept
        assert b"SECRET" not in kept
        assert await store.read(lambda db: retention.kept_size(db, new.id)) == len(kept)

    play(url, story)


def test_a_large_message_that_nobody_thought_of_keeps_no_other(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    class Strange(Slimming):
        def feed(self, octets: bytes) -> bytes:
            if b"strange" in octets:
                raise RecursionError
            return super().feed(octets)

    monkeypatch.setattr(dropping, "Slimming", Strange)
    monkeypatch.setattr(dropping, "SMALL", 100)

    async def story(store: Store, tenant: int) -> None:
        strange = await put(store, shared(store, tenant, content=mixed(b"strange")))
        other = await put(store, shared(store, tenant, content=mixed()))
        await send(store)
        for _ in range(2):
            await Dropping(store).look()
        assert b"SECRET" not in await content(store, other.id)
        slim_at = (await row_of(store, strange.id)).slim_at
        assert slim_at is not None
        assert slim_at > now_ms() + DAY - 60_000

    play(url, story)


def test_only_what_is_due_and_is_still_what_was_seen(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        later = await put(store, shared(store, tenant, content=mixed(), slim_at=now_ms() + DAY))
        gone = await put(store, shared(store, tenant, content=mixed()))
        anew = await put(store, shared(store, tenant, content=mixed()))
        await send(store)
        due = await store.read(lambda db: retention.due_to_slim(db, 10))
        assert [each.id for each in due] == [gone.id, anew.id]
        values = {"wrapped_key": None, "destroyed_at": 1}
        await store.change(
            lambda db: db.execute(update(schema.messages).where(schema.messages.c.id == gone.id).values(values))
        )
        rewrapped = store.sealer.seal(anew.id, b"")[0]  # stands for the same key, wrapped anew
        await store.change(
            lambda db: db.execute(
                update(schema.messages).where(schema.messages.c.id == anew.id).values(wrapped_key=rewrapped)
            )
        )
        written = [
            await store.write(retention.slim, retention.Slimmed(each.id, each.wrapped_key, b"k", (b"p",)), Rank.SWEEP)
            for each in due
        ]
        assert written == [False, False]
        assert (await row_of(store, anew.id)).wrapped_key == rewrapped
        assert await content(store, later.id) == mixed()

    play(url, story)


def test_damaged_content_keeps_nobody_waiting_and_is_tried_again_a_day_later(
    url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(store: Store, tenant: int) -> None:
        bad = await put(store, shared(store, tenant, content=mixed()))
        large = await put(store, shared(store, tenant, content=mixed(bytes(dropping.SMALL + 1))))
        good = await put(store, shared(store, tenant, content=mixed()))
        await send(store)
        damaged = schema.contents.c.message_id.in_([bad.id, large.id])
        await store.change(lambda db: db.execute(update(schema.contents).where(damaged).values(sealed=b"x" * 99)))
        assert await Dropping(store).look() == 3
        assert b"SECRET" not in await content(store, good.id)
        for each in (bad, large):
            seen = await row_of(store, each.id)
            assert seen.slim_at > now_ms() + DAY - 60_000
            assert seen.wrapped_key == each.wrapped_key
        assert [record.getMessage().split()[0] for record in caplog.records] == ["attachments.unreadable"] * 2
        assert await Dropping(store).look() == 0

    play(url, story)


def test_what_waits_in_the_queue_costs_the_look_nothing(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        due = select(schema.messages.c.id).where(schema.SLIMS, schema.messages.c.slim_at <= 1)
        text = str(due.order_by(schema.messages.c.slim_at).compile(compile_kwargs={"literal_binds": True}))
        plan = await store.read(
            lambda db: repr(
                db.exec_driver_sql(("EXPLAIN QUERY PLAN " if db.dialect.name == "sqlite" else "EXPLAIN ") + text).all()
            )
        )
        assert "ix_messages_slim_at" in plan

    play(url, story)


# -- the log ---------------------------------------------------------------------------------------------------------


async def sweep(store: Store, keep_for: timedelta = timedelta(0)) -> int:
    total, look = 0, Look(keep_for)
    while (gone := await store.write(retention.sweep_log, look, Rank.SWEEP)).after is not None:
        total, look = total + gone.messages, Look(keep_for, gone.after)
    return total


def test_the_log_goes_but_for_what_is_open_or_kept(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(store: Store, tenant: int) -> None:
        monkeypatch.setattr(retention, "SLICE", 3)
        groups = tuple((f"u{n}@d.example",) for n in range(5))
        over = [await put(store, shared(store, tenant, *groups[: n % 5 + 1], keep_for=None)) for n in range(9)]
        kept = await put(store, shared(store, tenant))
        late = [await put(store, shared(store, tenant, keep_for=None)) for _ in range(2)]
        await send(store)
        waiting = await put(store, shared(store, tenant, *groups, keep_for=None))
        assert await sweep(store, timedelta(hours=1)) == 0
        assert await sweep(store) == len(over) + len(late)
        left = await store.read(lambda db: set(db.scalars(select(schema.messages.c.id))))
        assert left == {kept.id, waiting.id}
        assert await count(store, schema.deliveries) == await count(store, schema.recipients) == 6
        assert await count(store, schema.contents) == 2
        assert await sweep(store) == 0

    play(url, story)


def test_the_log_of_kept_content_goes_once_that_is_destroyed(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        over = await put(store, shared(store, tenant, slim_at=None))
        await put(store, shared(store, tenant))
        await send(store)
        assert await sweep(store) == 0
        which = update(schema.messages).where(schema.messages.c.id == over.id).values(keep_until=1)
        await store.change(lambda db: db.execute(which))
        await store.write(sweeping.sweep_retention, None, Rank.SWEEP)
        await sweep(store)
        assert await count(store, schema.messages) == 1
        assert await count(store, schema.contents) == 1  # its bytes go with the rows, if they had not gone before

    play(url, story)


def test_ids_are_made_of_the_time_that_the_log_goes_by() -> None:
    at = now_ms()
    assert abs(retention.id_of(at) - IDS.next()) < 5000 << 21


def test_events_and_figures_have_an_end(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        await store.change(lambda db: note(db, [Event("account.held", account="a")] * 2))
        hour = timedelta(hours=1)
        assert await store.write(retention.sweep_events, hour, Rank.SWEEP) == 0
        assert await store.write(retention.sweep_events, -hour, Rank.SWEEP) == 2
        today, span = now_ms() // DAY, retention.COUNTS_KEPT_FOR // timedelta(days=1)

        def figures(db: Any) -> None:
            for day in (today, today - span + 1, today - span - 1):
                db.execute(schema.usage.insert().values(tenant_id=tenant, day=day, process=1, messages=1, recipients=1))
                db.execute(schema.possible_duplicates.insert().values(day=day, account="a", deliveries=1))

        await store.change(figures)
        assert await store.write(retention.sweep_counts, None, Rank.SWEEP) == 2
        assert await store.write(retention.sweep_counts, None, Rank.SWEEP) == 0
        assert await count(store, schema.usage) == await count(store, schema.possible_duplicates) == 2

    play(url, story)


def test_a_batch_is_no_longer_than_others_wait(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        for _ in range(dropping.BATCH + 3):
            await put(store, shared(store, tenant, content=mixed()))
        await send(store)
        work = Dropping(store)
        assert [await work.look() for _ in range(3)] == [dropping.BATCH, 3, 0]

    play(url, story)
