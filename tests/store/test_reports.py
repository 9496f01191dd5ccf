"""Reports to senders, on both databases: written with what they are about, or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Row, event, func, select, update
from sqlalchemy.engine import URL

from relay.delivery import Delivery, OnUnknown, Report, RetryPolicy, Settlement, State
from relay.dispatch.reports import compose
from relay.errors import Kind
from relay.message import Mode, Stream
from relay.store import hand, reports, schema, sweeping, usage
from relay.store.arriving import NewMessage
from relay.store.clock import milliseconds, now_ms
from relay.store.directory.audit import Actor
from relay.store.fates import Notice, asked_for
from relay.store.hand import ByHand, Verb
from relay.store.lateness import Late, sweep_late
from relay.store.queue import Order, Taken, take
from relay.store.reports import Outcome, Reporting, Told
from relay.store.settling import Settled, settle
from relay.store.store import Store
from relay.store.suppressions import Entry, suppress
from relay.store.writer import Rank
from tests.store.stories import message, play, put

QUEUE = ("byoc.example", Stream.TRANSACTIONAL)
REPORTING = Reporting(
    partial(compose, hostname="relay.test"), per_hour=3, delay_after=timedelta(hours=4), max_age=timedelta(hours=24)
)
CONTENT = b"From: me@byoc.example\r\nSubject: private\r\n\r\nthe body\r\n"


def reported(
    store: Store,
    tenant: int,
    *groups: tuple[str, ...],
    wanted: Report = Report.FAILURE,
    notify: str | None = None,
    content: bytes = CONTENT,
    **more: Any,
) -> NewMessage:
    """A message whose sender is to be told of it."""
    new = message(store, tenant, *groups, content=content, **more)

    def asking(people: Sequence[Any]) -> tuple[Any, ...]:
        return tuple((number, replace(each, notify=notify), hashed) for number, each, hashed in people)

    each = (replace(one, reports=wanted, recipients=asking(one.recipients)) for one in new.deliveries)
    return replace(new, deliveries=tuple(each))


async def take_all(store: Store) -> Taken:
    return await store.write(take, Order("customer", (QUEUE,), 50, 500), Rank.SETTLE)


async def settled(store: Store, delivery: Delivery, state: State, kind: Kind | None = Kind.SES_REJECTED) -> Settled:
    due_at = None if state.is_final else now_ms()
    kind = None if state is State.SENT else kind
    return await store.write(
        settle, Settlement(delivery.id, delivery.attempts, state, "customer", due_at, 1, kind, "no"), Rank.SETTLE
    )


async def fail_one(store: Store, new: NewMessage) -> Settled:
    await put(store, new)
    [delivery] = [each for each in (await take_all(store)).started if each.message_id == new.id]
    return await settled(store, delivery, State.FAILED)


async def about(store: Store, new: NewMessage) -> Sequence[Row[Any]]:
    """The reports on a message, each with its delivery's state."""
    joined = schema.messages.join(schema.deliveries, schema.deliveries.c.message_id == schema.messages.c.id)
    query = select(schema.messages, schema.deliveries.c.state, schema.deliveries.c.reports).select_from(joined)
    return await store.read(lambda db: db.execute(query.where(schema.messages.c.about == new.id)).all())


async def words(store: Store, report: Row[Any]) -> str:
    return (await store.content(report.id, report.wrapped_key)).decode("ascii")


async def set_rows(store: Store, new: NewMessage, **values: Any) -> None:
    mine = schema.deliveries.c.message_id == new.id
    await store.change(lambda db: db.execute(update(schema.deliveries).where(mine).values(values)))


@pytest.mark.parametrize(
    ("notify", "asked"),
    [
        (None, Report.FAILURE),
        ("never", Report.NONE),
        ("success", Report.SUCCESS),
        ("delay", Report.DELAY),
        ("success,failure,delay", Report.SUCCESS | Report.FAILURE | Report.DELAY),
        ("something else", Report.NONE),
    ],
)
def test_what_notify_asks_for(notify: str | None, asked: Report) -> None:
    assert asked_for(notify) is asked


def outcomes(told: Sequence[Told]) -> list[Outcome]:
    return [each.outcome for each in told]


def test_a_report_is_written_with_what_makes_it_final(url: URL) -> None:
    """And reads what the same transaction destroys."""

    async def story(store: Store, tenant: int) -> None:
        new = reported(store, tenant)
        settlement = await fail_one(store, new)
        assert settlement.destroyed == new.id
        [told] = settlement.told
        assert (told.queue, told.about, told.outcome) == (QUEUE, new.public_id, Outcome.QUEUED)
        [report] = await about(store, new)
        assert (report.protocol, report.state, report.reports, report.mail_from) == ("report", "queued", 0, None)
        assert (report.header_from, report.subject, report.key_id) == ("postmaster@byoc.example", None, None)
        assert (report.keep_until, report.forgets, report.tenant_id) == (None, True, tenant)
        text = await words(store, report)
        assert "Final-Recipient: rfc822; ana@dest.example\r\n" in text
        assert "Subject: private\r\n" in text
        assert "the body" not in text
        taken = await take_all(store)
        [delivery] = taken.started
        assert delivery.recipients == ("me@byoc.example",)
        # It is nobody's mail: no quota counts it, and nothing of it is kept once it is sent.
        used = await store.read(lambda db: usage.of_month(db, now_ms()))
        assert used[tenant].recipients == 1
        assert (await settled(store, delivery, State.SENT)).destroyed == report.id
        [report] = await about(store, new)
        assert report.header_from is None

    play(url, story, REPORTING)


def test_a_report_that_cannot_be_made_loses_no_settlement(url: URL, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Notice) -> bytes | None:
        raise RuntimeError("private words")

    async def story(store: Store, tenant: int) -> None:
        new = reported(store, tenant)
        settlement = await fail_one(store, new)
        assert (settlement.is_stale, outcomes(settlement.told)) == (False, [Outcome.BROKEN])
        assert await about(store, new) == []
        mine = select(schema.deliveries.c.state).where(schema.deliveries.c.message_id == new.id)
        assert await store.read(lambda db: db.scalar(mine)) == "failed"

    with caplog.at_level(logging.INFO, "relay"):
        play(url, story, replace(REPORTING, compose=broken))
    assert "report.failed" in [record.getMessage() for record in caplog.records]


def test_nobody_is_told_where_reports_are_off(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = reported(store, tenant)
        assert (await fail_one(store, new)).told == ()
        assert await about(store, new) == []

    play(url, story)


def test_what_is_sent_costs_no_statement_more(url: URL) -> None:
    def run(reporting: Reporting | None, asked: Report) -> list[str]:
        seen: list[str] = []

        async def story(store: Store, tenant: int) -> None:
            await put(store, reported(store, tenant, wanted=asked))
            [delivery] = (await take_all(store)).started

            def note(_db: Any, _cursor: Any, statement: str, *_: Any) -> None:
                seen.append(statement)

            event.listen(Engine, "before_cursor_execute", note)
            try:
                await settled(store, delivery, State.SENT)
            finally:
                event.remove(Engine, "before_cursor_execute", note)

        play(url, story, reporting)
        return seen

    run(None, Report.NONE)  # with a tenant's first its window begins
    run(None, Report.NONE)  # the first mail of a tenant makes the rows that count it
    plain = run(None, Report.NONE)
    assert len(plain) > 3
    assert run(REPORTING, Report.FAILURE | Report.DELAY) == plain
    assert len(run(REPORTING, Report.SUCCESS)) > len(plain)


def test_two_deliveries_of_a_message_are_told_of_together(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, reported(store, tenant, ("a@x.example",), ("b@x.example", "c@x.example")))
        first, second = (await take_all(store)).started
        ends = [
            Settlement(each.id, each.attempts, State.FAILED, "customer", kind=Kind.SES_REJECTED)
            for each in (first, second)
        ]
        results = await store.change(lambda db: settle(db, ends))
        assert [len(each.told) for each in results] == [1, 0]
        [report] = await about(store, new)
        text = await words(store, report)
        assert [text.count(f"Final-Recipient: rfc822; {name}@x.example\r\n") for name in "abc"] == [1, 1, 1]

    play(url, story, REPORTING)


def expired(policy: RetryPolicy) -> tuple[State, dict[str, Any], str]:
    return State.QUEUED, {"due_at": now_ms() - milliseconds(policy.max_age) - 1000}, "5.4.7"


def held_too_long(_: RetryPolicy) -> tuple[State, dict[str, Any], str]:
    return State.HELD, {"state": "held", "due_at": now_ms() - 1}, "5.4.7"


def given_up(_: RetryPolicy) -> tuple[State, dict[str, Any], str]:
    kind = Kind.SES_UNKNOWN_OUTCOME.slug
    return State.UNKNOWN, {"state": "unknown", "due_at": now_ms() - 1, "kind": kind, "attempts": 1}, "5.4.2"


@pytest.mark.parametrize("how", [expired, held_too_long, given_up])
def test_what_time_makes_final_is_told(url: URL, how: Callable[[RetryPolicy], Any]) -> None:
    async def story(store: Store, tenant: int) -> None:
        policy = RetryPolicy(on_unknown=OnUnknown.FAIL)
        new = await put(store, reported(store, tenant, ("a@x.example",), ("b@x.example",)))
        _, values, status = how(policy)
        await set_rows(store, new, **values)
        round_ = sweeping.Round(policy, (QUEUE,), store.is_alone)
        swept = await store.write(sweeping.sweep_waiting, round_, Rank.SWEEP)
        assert (swept.failed, outcomes(swept.told), swept.destroyed) == (2, [Outcome.QUEUED], frozenset({new.id}))
        [report] = await about(store, new)
        text = await words(store, report)
        assert text.count(f"Status: {status}\r\n") == 2
        assert "Last-Attempt-Date" not in text

    play(url, story, REPORTING)


def test_what_is_cancelled_is_not_told(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, reported(store, tenant))
        assert await store.write(hand.move_by_hand, ByHand(new.public_id, Verb.CANCEL), Rank.MANAGE) == 1
        assert await about(store, new) == []

    play(url, story, REPORTING)


def listed(db: Connection, tenant: int, address: str) -> bool:
    return suppress(db, Actor("test"), tenant, Entry(address, "bounced"))


def test_recipients_suppressed_meanwhile_are_told_of_once(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        some = await put(store, reported(store, tenant, ("a@x.example", "b@x.example")))
        everyone = await put(store, reported(store, tenant, ("a@x.example",)))
        await store.change(lambda db: listed(db, tenant, "a@x.example"))
        taken = await take_all(store)
        assert [each.recipients for each in taken.started] == [("b@x.example",)]
        assert outcomes([told for each in taken.dropped for told in each.told]) == [Outcome.QUEUED] * 2
        assert [each.destroyed for each in taken.dropped if each.destroyed] == [everyone.id]
        for new in (some, everyone):
            [report] = await about(store, new)
            assert "rfc822; a@x.example\r\nAction: failed\r\nStatus: 5.1.1\r\n" in await words(store, report)
        # It goes round again, and then it fails: that is about the other one.
        [delivery] = taken.started
        await settled(store, delivery, State.QUEUED, Kind.SES_UNAVAILABLE)
        again = await take_all(store)
        [delivery] = [each for each in again.started if each.message_id == some.id]
        assert again.dropped == ()
        assert outcomes((await settled(store, delivery, State.FAILED)).told) == [Outcome.QUEUED]
        _, second = await about(store, some)
        text = await words(store, second)
        assert "b@x.example" in text
        assert "a@x.example" not in text

    play(url, story, REPORTING)


def test_recipients_suppressed_one_after_the_other_are_told_of_each_once(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, reported(store, tenant, ("a@x.example", "b@x.example", "c@x.example")))
        for name, others in (("a", "bc"), ("b", "ac")):
            await store.change(lambda db, name=name: listed(db, tenant, f"{name}@x.example"))  # type: ignore[misc]
            [delivery] = (await take_all(store)).started[:1]
            assert delivery.message_id == new.id
            text = await words(store, (await about(store, new))[-1])
            assert f"rfc822; {name}@x.example\r\n" in text
            assert not [other for other in others if f"{other}@x.example" in text]
            await settled(store, delivery, State.QUEUED, Kind.SES_UNAVAILABLE)

    play(url, story, REPORTING)


# -- what is late ----------------------------------------------------------------------------------------------------


async def late(store: Store) -> Late:
    return await store.write(sweep_late, None, Rank.SWEEP)


def test_who_asked_is_told_once_that_it_is_late(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        flags = Report.DELAY | Report.FAILURE
        new = await put(store, reported(store, tenant, wanted=flags, notify="failure,delay"))
        assert (await late(store)).seen == 0  # none is to be told at any time
        old = now_ms() - milliseconds(timedelta(hours=4))
        await set_rows(store, new, delay_at=old, first_due_at=old)
        assert outcomes((await late(store)).told) == [Outcome.QUEUED]
        assert (await late(store)) == Late(0, ())
        [report] = await about(store, new)
        assert "Action: delayed\r\nStatus: 4.0.0\r\nWill-Retry-Until: " in await words(store, report)

    play(url, story, REPORTING)


def test_what_was_put_off_or_is_under_way_is_looked_at_again(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        now = now_ms()
        old = now - milliseconds(timedelta(hours=5))
        putting = (put(store, reported(store, tenant, wanted=Report.DELAY, notify="delay")) for _ in range(3))
        off, under_way, over = [await each for each in putting]
        await set_rows(store, off, delay_at=old, first_due_at=now, due_at=now)
        await set_rows(store, under_way, delay_at=old, first_due_at=old, state="sending", due_at=now)
        await set_rows(store, over, delay_at=old, first_due_at=old, state="cancelled", finished_at=now, due_at=None)
        assert (await late(store)) == Late(3, ())

        async def next_look(new: NewMessage) -> int | None:
            query = select(schema.deliveries.c.delay_at).where(schema.deliveries.c.message_id == new.id)
            return await store.read(lambda db: db.scalar(query))

        assert await next_look(off) == now + milliseconds(REPORTING.delay_after)
        assert abs((await next_look(under_way) or 0) - now - 60_000) < 10_000
        assert await next_look(over) is None

    play(url, story, REPORTING)


def test_what_is_sent_is_not_late_any_more(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, reported(store, tenant, wanted=Report.DELAY, notify="delay"))
        await set_rows(store, new, delay_at=now_ms() - 1)
        [delivery] = (await take_all(store)).started
        await settled(store, delivery, State.SENT)
        assert await late(store) == Late(0, ())

    play(url, story, REPORTING)


# -- how many --------------------------------------------------------------------------------------------------------


def test_an_address_is_told_so_often_an_hour(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        def another(sender: str = "me@byoc.example") -> NewMessage:
            return replace(reported(store, tenant), mail_from=sender)

        senders = ["me@byoc.example", "ME@byoc.example", "me@BYOC.example", "me@byoc.example"]
        came = [outcomes((await fail_one(store, another(sender))).told) for sender in senders]
        assert came == [[Outcome.QUEUED]] * 3 + [[Outcome.TOO_MANY]]
        assert outcomes((await fail_one(store, another("else@byoc.example"))).told) == [Outcome.QUEUED]
        # An hour later: ids begin with their time.
        an_hour = milliseconds(timedelta(hours=1)) << 21
        mine = schema.recipients.c.address.ilike("me@byoc.example")
        await store.change(
            lambda db: db.execute(update(schema.recipients).where(mine).values(id=schema.recipients.c.id - an_hour))
        )
        assert outcomes((await fail_one(store, another())).told) == [Outcome.QUEUED]

    play(url, story, REPORTING)


def test_what_fails_together_counts_together(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        for _ in range(5):
            await put(store, reported(store, tenant))
        round_ = sweeping.Round(RetryPolicy(max_age=timedelta(microseconds=-1)), (QUEUE,), store.is_alone)
        swept = await store.write(sweeping.sweep_waiting, round_, Rank.SWEEP)
        assert outcomes(swept.told) == [Outcome.QUEUED] * 3 + [Outcome.TOO_MANY] * 2

    play(url, story, REPORTING)


def test_ordinary_mail_to_an_address_is_no_report(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        for _ in range(5):
            await put(store, message(store, tenant, ("me@byoc.example",), domain="other.example"))
        assert outcomes((await fail_one(store, reported(store, tenant))).told) == [Outcome.QUEUED]

    play(url, story, REPORTING)


def test_a_suppressed_sender_and_one_that_is_no_address_get_none(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        await store.change(lambda db: listed(db, tenant, "me@byoc.example"))
        assert outcomes((await fail_one(store, reported(store, tenant))).told) == [Outcome.SUPPRESSED]
        for sender, came in (("no address", [Outcome.BROKEN]), (None, [])):
            new = replace(reported(store, tenant), mail_from=sender)
            assert outcomes((await fail_one(store, new)).told) == came

    play(url, story, REPORTING)


# -- what comes back -------------------------------------------------------------------------------------------------


def test_content_that_is_damaged_does_not_keep_its_sender_from_knowing(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = reported(store, tenant)
        new = replace(new, parts=tuple(part[:-1] + b"?" for part in new.parts))
        assert outcomes((await fail_one(store, new)).told) == [Outcome.QUEUED]
        [report] = await about(store, new)
        assert "It cannot be returned" in await words(store, report)

    play(url, story, REPORTING)


@pytest.mark.parametrize(("size", "media"), [(1 << 20, "message/rfc822"), (3 << 20, "text/rfc822-headers")])
def test_a_whole_message_comes_back_up_to_a_size(url: URL, size: int, media: str) -> None:
    async def story(store: Store, tenant: int) -> None:
        line = b"x" * 70 + b"\r\n"
        content = (CONTENT + line * (size // len(line)))[: size - 2] + b"\r\n"
        new = reported(store, tenant, content=content, mode=Mode.SHARED, keep_for=timedelta(days=1))
        new = replace(new, dsn=replace(new.dsn, ret="full"))
        settlement = await fail_one(store, new)
        assert (settlement.destroyed, outcomes(settlement.told)) == (None, [Outcome.QUEUED])
        [report] = await about(store, new)
        text = await words(store, report)
        assert f"Content-Type: {media}" in text
        assert (content.decode() in text) is (media == "message/rfc822")
        assert (report.keep_until, report.forgets) == (None, False)

    play(url, story, REPORTING)


def test_of_many_that_fail_at_once_some_come_back_whole(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long behind them, nor is there much of them in memory."""
    monkeypatch.setattr(reports, "RETURNED", 250_000)

    async def story(store: Store, tenant: int) -> None:
        content = CONTENT + (b"x" * 70 + b"\r\n") * 1400  # 100 KB
        for number in range(4):
            new = reported(store, tenant, content=content)
            await put(store, replace(new, mail_from=f"{number}@byoc.example", dsn=replace(new.dsn, ret="full")))
        policy = RetryPolicy(max_age=timedelta(microseconds=-1))
        round_ = sweeping.Round(policy, (QUEUE,), store.is_alone)
        swept = await store.write(sweeping.sweep_waiting, round_, Rank.SWEEP)
        assert outcomes(swept.told) == [Outcome.QUEUED] * 4
        rows = await store.read(lambda db: db.execute(select(schema.messages)).all())
        texts = [await words(store, row) for row in rows if row.about is not None]
        assert sorted("message/rfc822" in text for text in texts) == [False, False, True, True]

    play(url, story, REPORTING)


def test_nothing_is_written_where_the_settlement_is_stale(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, reported(store, tenant))
        [delivery] = (await take_all(store)).started
        await settled(store, delivery, State.SENT)
        settlement = await settled(store, delivery, State.FAILED)
        assert (settlement.is_stale, settlement.told) == (True, ())
        count = select(func.count()).select_from(schema.messages).where(schema.messages.c.about == new.id)
        assert await store.read(lambda db: db.scalar(count)) == 0

    play(url, story, REPORTING)
