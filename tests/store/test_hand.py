"""What is done by hand to queued mail: only from states that allow it, all written down, and nothing of it lost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.engine import URL

from relay.delivery import MOVES, RetryPolicy, State
from relay.errors import Kind, Problem
from relay.message import Mode, Stream
from relay.store import duplicates, hand, listing, lots, schema, sweeping
from relay.store.clock import HELD_AT_MOST, milliseconds, now_ms
from relay.store.directory import audit, installation
from relay.store.directory.audit import Actor
from relay.store.hand import ByHand, Verb
from relay.store.lots import Lot
from relay.store.queue import Order, take
from relay.store.store import Store
from relay.store.writer import Rank
from tests.store.stories import message, play, put

QUEUE = ("byoc.example", Stream.TRANSACTIONAL)
DAY = milliseconds(timedelta(days=1))
ANA = Actor("key relay_ana", "req_1")
ROOT = Actor("command root", is_operator=True)


async def move(
    store: Store, public_id: str, verb: Verb, due_at: int | None = None, by: Actor = ANA, reason: str = ""
) -> int:
    return await store.change(lambda db: hand.move(db, ByHand(public_id, verb, due_at, by, reason)))


async def refused(store: Store, public_id: str, verb: Verb, due_at: int | None = None, by: Actor = ANA) -> str:
    with pytest.raises(Problem) as caught:
        await move(store, public_id, verb, due_at, by)
    assert caught.value.kind is Kind.CONFLICT
    return caught.value.detail


async def look(store: Store, public_id: str) -> listing.MessageView:
    found = await store.read(lambda db: listing.message(db, public_id))
    assert found is not None
    return found


async def take_all(store: Store) -> int:
    return len((await store.write(take, Order("customer", (QUEUE,), 10, 100), Rank.SETTLE)).started)


async def put_in(store: Store, tenant: int, state: State) -> str:
    """A message whose only delivery is in that state."""
    new = await put(store, message(store, tenant))
    waits = None if state.is_final else now_ms() + DAY
    values = {
        "account": "customer",
        "state": state.value,
        "due_at": waits,
        "finished_at": now_ms() if state.is_final else None,
    }
    mine = schema.deliveries.c.message_id == new.id
    await store.change(lambda db: db.execute(update(schema.deliveries).where(mine).values(values)))
    return new.public_id


# -- the table: every verb, from every state ---------------------------------------------------------------------------

# fmt: off
ALLOWED = {
    #                 by hand, from           to
    Verb.RETRY:      {State.QUEUED:           State.QUEUED,
                      State.HELD:             State.QUEUED,
                      State.UNKNOWN:          State.QUEUED},
    Verb.RELEASE:    {State.HELD:             State.QUEUED},
    Verb.HOLD:       {State.QUEUED:           State.HELD},
    Verb.CANCEL:     {State.QUEUED:           State.CANCELLED,
                      State.HELD:             State.CANCELLED,
                      State.UNKNOWN:          State.CANCELLED},
    Verb.RESCHEDULE: {State.QUEUED:           State.QUEUED},
}
# fmt: on


def test_moves_by_hand_are_moves_that_there_are() -> None:
    for verb in Verb:
        assert verb.origins == ALLOWED[verb].keys()
        assert all(verb.to is origin or verb.to in MOVES[origin] for origin in verb.origins)
    by_hand = {(origin, verb.to) for verb in Verb for origin in verb.origins if origin is not verb.to}
    assert (State.SENDING, State.CANCELLED) not in by_hand  # until it is claimed, and not after


def test_every_verb_from_every_state(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        for verb in Verb:
            due_at = now_ms() + DAY if verb is Verb.RESCHEDULE else None
            for state in State:
                public_id = await put_in(store, tenant, state)
                to = ALLOWED[verb].get(state)
                if to is None:
                    words = await refused(store, public_id, verb, due_at)
                    assert words == f"message {public_id} is {state.value}: it cannot be {verb.done}"
                    assert (await look(store, public_id)).state == state.value
                else:
                    assert await move(store, public_id, verb, due_at) == 1
                    assert (await look(store, public_id)).state == to.value

    play(url, story)


# -- holding and releasing -------------------------------------------------------------------------------------------


def test_what_is_held_says_by_whom_and_why_and_waits_five_days(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant))
        await move(store, new.public_id, Verb.HOLD, reason="wrong price\x1b[31m")
        seen = await look(store, new.public_id)
        assert seen.held_because == {"reason": "held", "detail": "held by key relay_ana: wrong price\\x1b[31m"}
        assert abs((seen.deliveries[0].due_at or 0) - now_ms() - milliseconds(HELD_AT_MOST)) < 60_000
        assert await take_all(store) == 0
        await move(store, new.public_id, Verb.RELEASE, reason="mended")
        [delivery] = (await look(store, new.public_id)).deliveries
        assert (delivery.kind, delivery.detail) == (None, None)
        assert await take_all(store) == 1
        target = f"message {new.public_id}"
        rows = await store.read(lambda db: audit.entries(db, target=target, tenant_id=tenant, limit=9))
        assert [row.action for row in rows] == ["message.release", "message.hold"]
        assert [row.changes["reason"][1] for row in rows] == ["mended", "wrong price\\x1b[31m"]

    play(url, story)


def test_what_the_operator_holds_only_the_operator_lets_go(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant))
        await move(store, new.public_id, Verb.HOLD, by=ROOT, reason="a look")
        for verb in (Verb.RELEASE, Verb.RETRY):
            words = await refused(store, new.public_id, verb)
            assert words == (
                f"message {new.public_id} is held by the operator: a look: only the operator can release it"
            )
        assert (await look(store, new.public_id)).held_because == {
            "reason": "held_by_operator",
            "detail": "held by the operator: a look",
        }
        assert await move(store, new.public_id, Verb.RELEASE, by=ROOT) == 1
        await move(store, new.public_id, Verb.HOLD, by=ROOT)
        assert await move(store, new.public_id, Verb.CANCEL) == 1  # what is not to be sent at all needs no leave

    play(url, story)


async def age(store: Store, message_id: int) -> None:
    """As if it had been due three days ago."""
    mine = schema.deliveries.c.message_id == message_id
    await store.change(
        lambda db: db.execute(update(schema.deliveries).where(mine).values(first_due_at=now_ms() - 3 * DAY))
    )


def test_the_time_that_mail_is_held_does_not_make_it_old(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        policy = RetryPolicy()
        for verb in (Verb.RELEASE, Verb.RETRY):
            old = await put(store, message(store, tenant, accepted_at=now_ms() - DAY + 60_000))
            await move(store, old.public_id, Verb.HOLD)
            await age(store, old.id)
            await move(store, old.public_id, verb)
            [delivery] = (await look(store, old.public_id)).deliveries
            assert not policy.is_too_old(delivery.first_due_at, now_ms() + 60_000)
            assert delivery.due_at == delivery.first_due_at

    play(url, story)


def test_what_was_for_later_still_is_after_a_release(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant))
        later = now_ms() + DAY
        await move(store, new.public_id, Verb.RESCHEDULE, later)
        await move(store, new.public_id, Verb.HOLD)
        [delivery] = (await look(store, new.public_id)).deliveries
        assert delivery.due_at == later + milliseconds(HELD_AT_MOST)
        await move(store, new.public_id, Verb.RELEASE)
        [delivery] = (await look(store, new.public_id)).deliveries
        assert (delivery.due_at, delivery.first_due_at) == (later, later)
        await move(store, new.public_id, Verb.HOLD)
        await move(store, new.public_id, Verb.RETRY)  # now means now
        assert await take_all(store) == 1

    play(url, story)


def test_what_is_held_for_too_long_fails(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant))
        await move(store, new.public_id, Verb.HOLD)
        over = update(schema.deliveries).where(schema.deliveries.c.message_id == new.id).values(due_at=now_ms())
        await store.change(lambda db: db.execute(over))
        await store.write(sweeping.sweep_waiting, sweeping.Round(RetryPolicy(), (), True), Rank.SWEEP)
        [delivery] = (await look(store, new.public_id)).deliveries
        assert (delivery.state, delivery.kind) == ("failed", "expired")

    play(url, story)


def test_an_unknown_outcome_that_is_retried_is_counted(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        public_id = await put_in(store, tenant, State.UNKNOWN)
        await move(store, public_id, Verb.RETRY)
        await move(store, public_id, Verb.RETRY)
        await move(store, await put_in(store, tenant, State.UNKNOWN), Verb.CANCEL)  # it goes no second time
        assert (await look(store, public_id)).deliveries[0].possible_duplicates == 1
        [counted] = await store.read(lambda db: duplicates.since(db, 0))
        assert (counted.account, counted.deliveries) == ("customer", 1)

    play(url, story)


# -- lots ------------------------------------------------------------------------------------------------------------


async def move_lot(store: Store, verb: Verb, lot: Lot, reason: str = "") -> int:
    ids = await store.read(lambda db: lots.found(db, verb, lot))
    await store.change(lambda db: lots.note(db, verb, lot, ROOT, len(ids), reason))
    return await store.change(lots.moving(verb, lot, ids, ROOT, reason))


def test_lots_are_held_and_released_by_domain_and_tenant(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        here = [await put(store, message(store, tenant)) for _ in range(3)]
        there = await put(store, message(store, tenant, domain="other.example"))
        busy = await put_in(store, tenant, State.SENDING)
        assert await move_lot(store, Verb.HOLD, Lot("domain byoc.example", domain="byoc.example"), "a look") == 3
        assert {(await look(store, each.public_id)).state for each in here} == {"held"}
        assert (await look(store, there.public_id)).state == "queued"
        assert await move_lot(store, Verb.HOLD, Lot("tenant x", tenant_id=tenant + 1)) == 0
        assert await move_lot(store, Verb.HOLD, Lot("tenant default", tenant_id=tenant)) == 1
        assert (await look(store, busy)).state == "sending"
        assert (await look(store, there.public_id)).held_because == {
            "reason": "held_by_operator",
            "detail": "held by the operator",
        }
        assert await move_lot(store, Verb.RELEASE, Lot("all mail", kinds=lots.RESTORED)) == 0
        before = await store.read(installation.generation)
        assert await move_lot(store, Verb.RELEASE, Lot("all mail")) == 4
        assert await store.read(installation.generation) > before
        rows = await store.read(lambda db: audit.entries(db, target="domain byoc.example", tenant_id=None, limit=9))
        assert [(row.action, row.changes) for row in rows] == [
            ("message.hold", {"deliveries": [None, 3], "reason": [None, "a look"]})
        ]

    play(url, story)


def test_a_lot_moves_nothing_that_has_moved_since_it_was_found(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        late, held = await put(store, message(store, tenant)), await put(store, message(store, tenant))
        later = now_ms() + DAY
        await move(store, held.public_id, Verb.RESCHEDULE, later)
        lot = Lot("all mail")
        ids = await store.read(lambda db: lots.found(db, Verb.HOLD, lot))
        assert len(ids) == 2
        await move(store, late.public_id, Verb.CANCEL)
        assert await store.change(lots.moving(Verb.HOLD, lot, ids, ROOT)) == 1
        assert (await look(store, late.public_id)).state == "cancelled"
        assert (await look(store, held.public_id)).deliveries[0].due_at == later + milliseconds(HELD_AT_MOST)
        assert await store.change(lots.moving(Verb.RELEASE, lot, ids, ROOT)) == 1
        assert (await look(store, held.public_id)).deliveries[0].due_at == later  # it still is for later

    play(url, story)


def test_what_was_restored_is_released_as_such_only(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        public_id = await put_in(store, tenant, State.HELD)
        restored = update(schema.deliveries).values(kind="restored")
        await store.change(lambda db: db.execute(restored))
        assert "only the operator" in await refused(store, public_id, Verb.RETRY)
        assert await move_lot(store, Verb.RELEASE, Lot("all mail")) == 0
        assert await move_lot(store, Verb.RELEASE, Lot("all mail", kinds=lots.RESTORED)) == 1
        [delivery] = (await look(store, public_id)).deliveries
        assert (delivery.state, delivery.possible_duplicates) == ("queued", 1)  # it may have gone before
        [counted] = await store.read(lambda db: duplicates.since(db, 0))
        assert (counted.account, counted.deliveries) == ("customer", 1)

    play(url, story)


# -- another time ----------------------------------------------------------------------------------------------------


def test_what_is_rescheduled_waits_and_goes_when_it_is_told_to(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant, ("ana@d.example",), ("bo@d.example",)))
        later = now_ms() + DAY
        assert await move(store, new.public_id, Verb.RESCHEDULE, later) == 2
        seen = await look(store, new.public_id)
        assert seen.scheduled_at == later
        assert {each.due_at for each in seen.deliveries} == {later}
        assert await take_all(store) == 0
        assert await move(store, new.public_id, Verb.RESCHEDULE, 1) == 2  # long over: now
        assert (await look(store, new.public_id)).deliveries[0].first_due_at > now_ms() - DAY
        await move(store, new.public_id, Verb.RESCHEDULE, later)
        assert await move(store, new.public_id, Verb.RETRY) == 2
        assert ((await look(store, new.public_id)).scheduled_at or 0) <= now_ms()
        assert await take_all(store) == 2

    play(url, story)


def test_only_what_is_queued_as_a_whole_is_rescheduled(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant, ("ana@d.example",), ("bo@d.example",)))
        await store.write(take, Order("customer", (QUEUE,), 1, 100), Rank.SETTLE)
        words = await refused(store, new.public_id, Verb.RESCHEDULE, now_ms() + DAY)
        assert words == f"message {new.public_id} is queued, sending: it cannot be rescheduled"
        assert await move(store, new.public_id, Verb.HOLD) == 1  # what has not begun

    play(url, story)


@pytest.mark.parametrize("mode", list(Mode))
def test_what_is_cancelled_leaves_no_content_behind(url: URL, mode: Mode) -> None:
    async def story(store: Store, tenant: int) -> None:
        keep_for = None if mode is Mode.BYOC else timedelta(days=9)
        new = await put(store, message(store, tenant, mode=mode, keep_for=keep_for))
        assert await move(store, new.public_id, Verb.CANCEL) == 1
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
        await move(store, new.public_id, Verb.RESCHEDULE, later)
        await move(store, new.public_id, Verb.RETRY)
        await move(store, new.public_id, Verb.CANCEL)
        await refused(store, new.public_id, Verb.CANCEL)
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
