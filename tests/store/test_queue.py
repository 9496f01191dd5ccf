"""The queue's promises, on both databases: accept, take, settle, recover, expire, by hand."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.engine import URL

from relay.delivery import Delivery, OnUnknown, RetryPolicy, Settlement, State
from relay.errors import Kind, Problem
from relay.message import Dsn, Mode, Options, Stream
from relay.sealing import SealingError
from relay.store import hand, listing, schema, sweeping
from relay.store.clock import milliseconds, now_ms
from relay.store.directory.audit import Actor
from relay.store.hand import Verb
from relay.store.queue import Order, take
from relay.store.settling import Settled, settle
from relay.store.store import Store, open_store
from relay.store.suppressions import Entry, suppress
from relay.store.writer import Rank
from tests.store.stories import MASTER, message, play, put

QUEUE = ("byoc.example", Stream.TRANSACTIONAL)


async def take_some(store: Store, deliveries: int = 10, recipients: int = 500) -> tuple[Delivery, ...]:
    taken = await store.write(take, Order("customer", (QUEUE,), deliveries, recipients), Rank.SETTLE)
    return taken.started


async def sent(store: Store, delivery: Delivery, ses_id: str = "ses-1") -> Settled:
    settlement = Settlement(delivery.id, delivery.attempts, State.SENT, "customer", ses_message_id=ses_id)
    return await store.write(settle, settlement, Rank.SETTLE)


async def decided(store: Store, delivery: Delivery, state: State, kind: Kind = Kind.SES_UNAVAILABLE) -> Settled:
    due_at = None if state.is_final else now_ms()
    failures = delivery.failures + (state is not State.UNKNOWN)  # no wait: the process died
    settlement = Settlement(delivery.id, delivery.attempts, state, "customer", due_at, failures, kind)
    return await store.write(settle, settlement, Rank.SETTLE)


async def look(store: Store, public_id: str) -> listing.MessageView:
    found = await store.read(lambda db: listing.message(db, public_id))
    assert found is not None
    return found


async def sweep(store: Store, policy: RetryPolicy | None = None) -> sweeping.Swept:
    round_ = sweeping.Round(policy or RetryPolicy(), (QUEUE,), store.is_alone)
    return await store.write(sweeping.sweep_waiting, round_, Rank.SWEEP)


def test_what_was_accepted_is_taken_once_with_its_content(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        people = ("ana@dest.example", "Bo@dest.example")
        new = await put(store, message(store, tenant, people, content=b"x" * 3_000_000))
        (delivery,) = await take_some(store)
        assert delivery.recipients == people
        assert (delivery.attempts, delivery.failures, delivery.public_id) == (1, 0, new.public_id)
        assert delivery.wrapped_key is not None
        assert await store.content(delivery.message_id, delivery.wrapped_key) == b"x" * 3_000_000
        assert await take_some(store) == ()
        assert (await look(store, new.public_id)).state == "sending"

    play(url, story)


def test_accepted_as_an_attempt_is_not_taken_again(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        await put(store, message(store, tenant, state=State.SENDING))
        assert await take_some(store) == ()

    play(url, story)


def test_byoc_content_and_addresses_go_when_ses_accepts_the_last_delivery(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant, ("ana@dest.example",), ("bo@dest.example",)))
        first, second = await take_some(store)
        assert (await sent(store, first)).destroyed is None
        assert (await look(store, new.public_id)).destroyed_at is None
        assert (await sent(store, second)).destroyed == new.id
        view = await look(store, new.public_id)
        assert view.destroyed_at is not None
        assert [person.address for each in view.deliveries for person in each.recipients] == [None, None]
        assert (view.mail_from, view.header_from, view.state) == (None, None, "sent")
        await store.write(sweeping.sweep_contents, [new.id], Rank.SWEEP)
        assert await store.read(lambda db: listing.count_parts(db, new.id)) == 0
        with pytest.raises(SealingError):
            await store.content(new.id, new.wrapped_key)

    play(url, story)


@pytest.mark.parametrize("mode", Mode)
def test_what_the_sender_said_of_the_mail_is_kept_with_it(url: URL, mode: Mode) -> None:
    async def story(store: Store, tenant: int) -> None:
        plain = message(store, tenant, mode=mode, accepted_at=now_ms() - 1000)
        [[(row_id, addressee, hashed)]] = [each.recipients for each in plain.deliveries]
        addressee = replace(addressee, notify="SUCCESS,FAILURE", orcpt="rfc822;ana@old.example")
        options = Options(
            tag="welcome",
            metadata=(("order", "4711"), ("who", "J\u00fcrgen \U0001f600")),
            idempotency_key="k",
            track_opens=True,
            track_clicks=False,
        )
        delivery = replace(plain.deliveries[0], recipients=((row_id, addressee, hashed),))
        later = plain.accepted_at + 1
        new = replace(plain, deliveries=(delivery,), dsn=Dsn("hdrs", "QQ314159"), options=options, due_at=later)
        await put(store, new)
        view = await look(store, new.public_id)
        assert (view.ret, view.envid, view.tag, view.track_opens, view.track_clicks) == (
            "hdrs", "QQ314159", "welcome", True, False,
        )  # fmt: skip
        assert view.metadata == dict(options.metadata)
        assert view.scheduled_at == later
        [person] = view.deliveries[0].recipients
        assert (person.notify, person.orcpt) == ("SUCCESS,FAILURE", "rfc822;ana@old.example")

        (started,) = await take_some(store)
        await sent(store, started)
        view = await look(store, new.public_id)
        [person] = view.deliveries[0].recipients
        is_byoc = mode is Mode.BYOC
        assert (view.envid, person.orcpt) == ((None, None) if is_byoc else ("QQ314159", "rfc822;ana@old.example"))
        assert view.metadata == ({} if is_byoc else dict(options.metadata))
        assert (view.ret, view.tag, person.notify) == ("hdrs", "welcome", "SUCCESS,FAILURE")

    play(url, story)


def test_of_most_mail_nothing_is_said(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        view = await look(store, (await put(store, message(store, tenant))).public_id)
        assert (view.ret, view.envid, view.tag, view.track_opens, view.track_clicks) == (None,) * 5
        assert (view.metadata, view.scheduled_at) == ({}, None)

    play(url, story)


def test_shared_content_is_kept_sealed_until_its_time_is_over(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        kept = await put(store, message(store, tenant, mode=Mode.SHARED, keep_for=timedelta(days=90)))
        old = await put(
            store, message(store, tenant, mode=Mode.SHARED, keep_for=timedelta(days=1), accepted_at=now_ms() - 10**9)
        )
        for delivery in await take_some(store):
            await sent(store, delivery)
        assert (await look(store, kept.public_id)).destroyed_at is None
        assert await store.content(kept.id, kept.wrapped_key) == b"Subject: hi\r\n\r\nbody\r\n"
        assert (await look(store, old.public_id)).destroyed_at is not None
        assert await store.write(sweeping.sweep_retention, None, Rank.SWEEP) == set()  # neither due nor left

    play(url, story)


def test_retention_sweep_destroys_what_is_over(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant, mode=Mode.SHARED, keep_for=timedelta(days=1)))
        (delivery,) = await take_some(store)
        await sent(store, delivery)

        def age(db: Connection, items: object) -> list[None]:
            db.execute(update(schema.messages).values(keep_until=now_ms() - 1))
            return [None]

        await store.write(age, None, Rank.SWEEP)
        assert await store.write(sweeping.sweep_retention, None, Rank.SWEEP) == {new.id}
        assert await store.write(sweeping.sweep_retention, None, Rank.SWEEP) == set()

    play(url, story)


def test_a_decision_over_something_else_than_it_saw_is_stale(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant))
        (first,) = await take_some(store)
        await decided(store, first, State.QUEUED)
        (second,) = await take_some(store)
        assert (await decided(store, first, State.FAILED)).is_stale
        assert not (await decided(store, second, State.FAILED, Kind.SES_REJECTED)).is_stale
        assert (await decided(store, second, State.QUEUED)).is_stale  # final stays final
        view = await look(store, new.public_id)
        assert (view.deliveries[0].state, view.deliveries[0].kind) == ("failed", "ses_rejected")
        assert view.deliveries[0].recipients[0].state == "failed"

    play(url, story)


def test_that_ses_took_it_is_a_fact_and_a_later_attempt_a_possible_duplicate(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant))
        (first,) = await take_some(store)
        await decided(store, first, State.UNKNOWN, Kind.SES_UNKNOWN_OUTCOME)
        await sweep(store)
        (second,) = await take_some(store)
        assert second.attempts == 2
        assert second.possible_duplicates == 1
        assert not (await sent(store, first, "late")).is_stale
        view = await look(store, new.public_id)
        (only,) = view.deliveries
        assert (only.state, only.ses_message_id, only.possible_duplicates) == ("sent", "late", 2)
        assert (await sent(store, second, "later")).is_stale

    play(url, story)


@pytest.mark.parametrize(("on_unknown", "state"), [(OnUnknown.RETRY, "queued"), (OnUnknown.FAIL, "failed")])
def test_attempts_of_a_dead_process_become_unknown_and_then_follow_policy(
    url: URL, on_unknown: OnUnknown, state: str
) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant, state=State.SENDING))
        assert await store.write(sweeping.recover, True, Rank.SETTLE) == 1
        assert (await look(store, new.public_id)).state == "unknown"
        swept = await sweep(store, RetryPolicy(on_unknown=on_unknown))
        assert (swept.requeued, swept.failed) == ((1, 0) if state == "queued" else (0, 1))
        view = await look(store, new.public_id)
        assert (view.state, view.deliveries[0].possible_duplicates) == (state, 1)

    play(url, story)


def test_a_lease_protects_the_attempts_of_a_living_process(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        await put(store, message(store, tenant, state=State.SENDING))
        assert await store.write(sweeping.recover, False, Rank.SETTLE) == 0

        def let_it_run_out(db: Connection, items: object) -> list[None]:
            db.execute(update(schema.deliveries).values(due_at=now_ms() - 1000))
            return [None]

        await store.write(let_it_run_out, None, Rank.SWEEP)
        assert await store.write(sweeping.recover, False, Rank.SETTLE) == 1

    play(url, story)


def test_who_was_suppressed_while_waiting_gets_nothing(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        partly = await put(store, message(store, tenant, ("Ana@dest.example", "bo@dest.example")))
        wholly = await put(store, message(store, tenant, ("ANA@dest.example",)))
        await store.write(
            lambda db, items: [suppress(db, Actor("test"), tenant, Entry("ana@dest.example", "bounce"))],
            None,
            Rank.ACCEPT,
        )
        (delivery,) = await take_some(store)
        assert delivery.recipients == ("bo@dest.example",)
        assert (await look(store, wholly.public_id)).state == "failed"
        assert (await look(store, wholly.public_id)).deliveries[0].recipients[0].state == "suppressed"
        people = (await look(store, partly.public_id)).deliveries[0].recipients
        assert [person.state for person in people] == ["suppressed", "queued"]

    play(url, story)


def test_a_lane_is_given_no_more_than_it_asked_for(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        for _ in range(4):
            await put(store, message(store, tenant, ("a@d.example", "b@d.example", "c@d.example")))
        assert len(await take_some(store, deliveries=1)) == 1
        assert len(await take_some(store, recipients=7)) == 2
        assert len(await take_some(store, recipients=1)) == 1  # never stuck on one that is larger

    play(url, story)


def test_nothing_is_taken_before_it_is_due_and_the_next_due_time_is_told(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        later = now_ms() + 60_000
        await put(store, message(store, tenant, accepted_at=later))
        taken = await store.write(take, Order("customer", (QUEUE,), 5, 5), Rank.SETTLE)
        assert (taken.started, taken.next_due) == ((), {QUEUE: later})

    play(url, story)


def test_what_waited_too_long_fails(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        old = await put(store, message(store, tenant, accepted_at=now_ms() - milliseconds(timedelta(hours=25))))
        young = await put(store, message(store, tenant))
        swept = await sweep(store)
        assert (swept.failed, swept.destroyed) == (1, frozenset({old.id}))
        assert (await look(store, old.public_id)).deliveries[0].kind == "expired"
        assert (await look(store, young.public_id)).state == "queued"

    play(url, story)


def test_by_hand(url: URL) -> None:
    async def move(store: Store, public_id: str, verb: Verb) -> int:
        return await store.write(hand.move_by_hand, hand.ByHand(public_id, verb), Rank.SETTLE)

    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant))
        assert await move(store, new.public_id, Verb.HOLD) == 1
        assert await take_some(store) == ()
        assert await move(store, new.public_id, Verb.RELEASE) == 1
        assert await move(store, new.public_id, Verb.RETRY) == 1  # queued already: due now
        (delivery,) = await take_some(store)
        for verb in Verb:
            with pytest.raises(Problem) as caught:
                await move(store, new.public_id, verb)
            assert caught.value.kind is Kind.CONFLICT
        await decided(store, delivery, State.UNKNOWN, Kind.SES_UNKNOWN_OUTCOME)
        assert await move(store, new.public_id, Verb.CANCEL) == 1
        view = await look(store, new.public_id)
        assert view.state == "cancelled"
        assert view.destroyed_at is not None
        with pytest.raises(Problem, match="there is no message"):
            await move(store, "0" * 24, Verb.RETRY)

    play(url, story)


def test_the_database_refuses_states_that_are_not_in_the_list(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant))
        wrong = [
            {"state": "lost"},
            {"state": "sent"},  # without a finishing time
            {"state": "queued", "due_at": None},
            {"stream": "gossip"},
        ]
        for values in wrong:

            def spoil(db: Connection, items: object, values: dict[str, object] = values) -> list[None]:
                db.execute(update(schema.deliveries).values(**values))
                return [None]

            with pytest.raises(Problem) as caught:
                await store.write(spoil, None, Rank.SWEEP)
            assert caught.value.kind is Kind.INTERNAL
        assert (await look(store, new.public_id)).state == "queued"

    play(url, story)


def test_ids_that_clash_are_refused_and_nobody_else_is_harmed(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant))
        others = [message(store, tenant) for _ in range(20)]
        results = await asyncio.gather(
            *(put(store, each) for each in [*others[:10], new, *others[10:]]), return_exceptions=True
        )
        assert [isinstance(result, Problem) for result in results] == [False] * 10 + [True] + [False] * 10
        count = await store.read(lambda db: db.scalar(select(func.count()).select_from(schema.messages)))
        assert count == 21

    play(url, story)


def test_a_commit_outlives_its_caller(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = message(store, tenant)
        task = asyncio.create_task(put(store, new))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await put(store, message(store, tenant))  # the writer is behind the first by now
        assert (await look(store, new.public_id)).state == "queued"

    play(url, story)


def test_many_at_once_share_commits_and_all_are_answered(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        await asyncio.gather(*(put(store, message(store, tenant)) for _ in range(300)))
        seen: set[int] = set()
        while started := await take_some(store, deliveries=37):
            assert not seen & {each.id for each in started}
            seen |= {each.id for each in started}
        assert len(seen) == 300

    play(url, story)


def test_eight_takers_never_start_one_attempt_twice(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        await asyncio.gather(*(put(store, message(store, tenant)) for _ in range(200)))
        if store.is_alone:
            takers = [store] * 8
            starts = await asyncio.gather(*(take_some(taker, 5) for taker in takers for _ in range(8)))
        else:
            from contextlib import AsyncExitStack

            async with AsyncExitStack() as stack:
                takers = [await stack.enter_async_context(open_store(url, MASTER)) for _ in range(8)]
                starts = await asyncio.gather(*(take_some(taker, 5) for taker in takers for _ in range(8)))
        ids = [each.id for started in starts for each in started]
        assert len(ids) == len(set(ids))

    play(url, story)


def test_one_process_owns_a_lane(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        assert await store.own("lane customer")
        assert await store.own("lane customer")
        if not store.is_alone:
            async with open_store(url, MASTER) as other:
                assert not await other.own("lane customer")
                assert await other.own("lane operator")
            assert await store.own("lane operator")

    play(url, story)


def test_rows_that_other_programs_insert_must_fit_too(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        def orphan(db: Connection, items: object) -> list[None]:
            db.execute(insert(schema.contents).values(message_id=1, part=0, sealed=b""))
            return [None]

        with pytest.raises(Problem):
            await store.write(orphan, None, Rank.SWEEP)

    play(url, story)
