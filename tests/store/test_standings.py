"""Standings as the database has them: sums that depend on nothing but what was counted, and what follows from them."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select
from sqlalchemy.engine import URL

from relay.declared import TenantFields, TenantStatus
from relay.errors import Problem
from relay.judging import SENDEX, SENDFLEET, Counts, Enforce, Level, Policy
from relay.message import Mode
from relay.sealing import MasterKey
from relay.store import standings, usage, windows
from relay.store.clock import now_ms
from relay.store.directory import installation, snapshot, tenants
from relay.store.directory.audit import Actor
from relay.store.limits import Reached, tell_reached
from relay.store.schema import audit, events, notices, standing_hours
from relay.store.schema import standings as table
from relay.store.schema import tenants as rows
from relay.store.standings import Counted, count, count_at, sweep_at
from relay.store.store import Store, open_store
from relay.store.windows import HOUR, look
from tests.store.stories import MASTER, play
from tests.store.test_machine import memory

OPERATOR = Actor("somebody", is_operator=True)
WEEK = 168 * HOUR
DAY = 24 * HOUR


def acme(db: Connection, name: str = "acme", contact: str | None = "ana@acme.example") -> int:
    return tenants.create(db, OPERATOR, name, TenantFields(contact=contact), is_approved=True).id


def counted(tenant: int, at: int, sends: int = 0, bounces: int = 0, complaints: int = 0) -> Counted:
    return Counted(tenant, Mode.SHARED, at, sends, bounces, complaints)


def seen(db: Connection, tenant: int, policy: Policy = SENDFLEET) -> tuple[Counts, Level]:
    window = look(db, [tenant], policy.window)[tenant][Mode.SHARED]
    return window.counts, window.level


def types(db: Connection) -> list[str]:
    return list(db.scalars(select(events.c.type).where(events.c.type.like("tenant.%")).order_by(events.c.id)))


def actions(db: Connection) -> list[str]:
    return list(db.scalars(select(audit.c.action).where(audit.c.actor == "relay").order_by(audit.c.id)))


def subjects(db: Connection) -> list[str]:
    return list(db.scalars(select(notices.c.subject).order_by(notices.c.id)))


# -- the sums --------------------------------------------------------------------------------------------------------


def expected(items: Sequence[tuple[int, Counted]], now: int, since: int = 0) -> Counts:
    """What should be in the window at the end, by looking at everything."""
    first = windows.first_hour(now, SENDFLEET.window)
    inside = [each for _, each in items if each.at // HOUR >= first and each.at >= since]
    return Counts(*(sum(getattr(each, name) for each in inside) for name in ("sends", "bounces", "complaints")))


def summed(db: Connection, tenant: int) -> Counts:
    """The running sums, as `count` keeps them."""
    row = db.execute(select(table).where(table.c.tenant_id == tenant)).one()
    return Counts(row.sends, row.bounces, row.complaints)


START = 500_000 * HOUR
_item = st.tuples(
    st.integers(0, 20 * 24),  # hours from the start to when it comes
    st.integers(0, 10 * 24 * 60),  # minutes by which it is late
    st.integers(0, 3),
    st.integers(0, 2),
    st.integers(0, 1),
)


@given(st.lists(_item, min_size=1, max_size=30), st.integers(1, 6), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_sums_are_those_of_the_window_whatever_the_order_and_the_batches(
    drawn: list[tuple[int, int, int, int, int]], size: int, dice: random.Random
) -> None:
    with memory().begin() as db:
        installation.establish(db, MasterKey(bytes(32)))
        one, other = acme(db, "one"), acme(db, "other")
        end = START + 21 * DAY
        arrivals = sorted((START + hours * HOUR, minutes * 60_000, *what) for hours, minutes, *what in drawn)
        items = [(came, counted(one, came - late, *what)) for came, late, *what in arrivals]
        for came, each in items:
            count_at(db, [each], came)
        shuffled = [replace(each, tenant_id=other) for _, each in items]
        dice.shuffle(shuffled)
        for at in range(0, len(shuffled), size):  # all of it at the end
            count_at(db, shuffled[at : at + size], end)
        while sweep_at(db, end):
            pass
        assert summed(db, one) == summed(db, other) == expected(items, end)
        assert not db.execute(
            select(standing_hours).where(standing_hours.c.hour < windows.first_hour(end, SENDFLEET.window))
        ).all()


def test_many_writers_in_any_order_come_to_the_same(url: URL) -> None:
    """Batches of several tenants at once, in different orders, on PostgreSQL from four processes: no deadlock that is
    not got over, and nothing lost."""

    async def story(store: Store, default: int) -> None:
        ids = [await store.change(partial(acme, name=f"t{number}")) for number in range(4)]
        now, dice = now_ms(), random.Random(7)
        items = [
            counted(tenant, now - dice.randrange(9 * DAY), dice.randrange(5), dice.randrange(2))
            for tenant in ids
            for _ in range(60)
        ]
        dice.shuffle(items)
        parts = [items[at : at + 7] for at in range(0, len(items), 7)]
        async with AsyncExitStack() as stack:
            stores = [store]
            if not store.is_alone:
                stores += [await stack.enter_async_context(open_store(url, MASTER)) for _ in range(3)]
            await asyncio.gather(
                *(
                    each.change(partial(count_at, items=part, now=now))
                    for part, each in zip(parts, itertools.cycle(stores), strict=False)
                )
            )
        for tenant in ids:
            mine = [(now, each) for each in items if each.tenant_id == tenant]
            assert await store.read(partial(summed, tenant=tenant)) == expected(mine, now)

    play(url, story)


def test_hours_leave_the_window_one_by_one(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        tenant = await store.change(acme)
        now = START

        def step(db: Connection) -> None:
            count_at(db, [counted(tenant, now, 100, 1)], now)
            count_at(db, [counted(tenant, now + HOUR, 10)], now + HOUR)
            assert summed(db, tenant) == Counts(110, 1)
            count_at(db, [counted(tenant, now + WEEK - HOUR, 1)], now + WEEK - HOUR)
            assert summed(db, tenant) == Counts(111, 1)
            sweep_at(db, now + WEEK)
            assert summed(db, tenant) == Counts(11)
            sweep_at(db, now + WEEK + HOUR)
            assert summed(db, tenant) == Counts(1)
            count_at(db, [counted(tenant, now, 1000, 1000)], now + WEEK + HOUR)  # a week late
            assert summed(db, tenant) == Counts(1)
            sweep_at(db, now + 3 * WEEK)
            assert summed(db, tenant) == Counts()
            assert db.execute(select(standing_hours)).all() == []
            assert sweep_at(db, now + 4 * WEEK) == 0  # nothing is left to look at

        await store.change(step)

    play(url, story)


def test_a_clock_that_was_ahead_takes_nothing_away(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        tenant = await store.change(acme)

        def step(db: Connection) -> None:
            count_at(db, [counted(tenant, START, 5)], START)
            count_at(db, [counted(tenant, START + WEEK, 3)], START - HOUR)  # an event from the future is of now
            sweep_at(db, START + WEEK)
            assert summed(db, tenant) == Counts()

        await store.change(step)

    play(url, story)


# -- what follows ----------------------------------------------------------------------------------------------------


def test_fifty_sends_with_two_bounces_suspend_at_once(url: URL) -> None:
    """Exactly at the limit, with all that follows, in the transaction that counts."""

    async def story(store: Store, default: int) -> None:
        tenant = await store.change(acme)
        before = await store.read(installation.generation)
        now = now_ms()
        await store.change(lambda db: count(db, [counted(tenant, now, 49, 2)]))
        assert (await store.read(lambda db: tenants.find(db, "acme"))).is_active  # too few to judge by
        assert await store.read(types) == []
        await store.change(lambda db: count(db, [counted(tenant, now, 1)]))
        acme_now = await store.read(lambda db: tenants.find(db, "acme"))
        assert acme_now.status is TenantStatus.SUSPENDED
        assert acme_now.status_by == "relay"
        assert acme_now.status_reason == "2 of 50 recipients in 7 days bounced (4 %; fewer than 4 % may)"
        assert await store.read(types) == ["tenant.suspended"]
        told = json.loads(await store.read(lambda db: db.scalars(select(events.c.data)).one()))
        assert told == {
            "reason": acme_now.status_reason,
            "mode": "shared",
            "window": "7 days",
            "sends": 50,
            "bounces": 2,
            "complaints": 0,
            "bounce_rate": 0.04,
            "complaint_rate": 0.0,
        }
        assert await store.read(actions) == ["tenant.suspend"]
        assert await store.read(subjects) == ["Sending is suspended"]
        text = await store.read(lambda db: db.scalars(select(notices.c.text)).one())
        assert "2 of 50 recipients in 7 days bounced" in text
        assert await store.read(installation.generation) > before
        assert (await store.read(snapshot.read)).levels == {tenant: Level.SUSPENDED}
        # What was under way comes in all the same, and says nothing new.
        await store.change(lambda db: count(db, [counted(tenant, now, 0, 5), counted(tenant, now, 500)]))
        assert await store.read(types) == ["tenant.suspended"]
        assert await store.read(lambda db: seen(db, tenant)) == (Counts(550, 7), Level.SUSPENDED)

    play(url, story)


def test_a_tenant_that_is_resumed_begins_anew(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        tenant = await store.change(acme)
        now = now_ms()
        await store.change(lambda db: count(db, [counted(tenant, now, 50, 2)]))
        await store.change(lambda db: tenants.appeal(db, Actor("key"), "acme", "we removed them"))
        await store.change(lambda db: tenants.resume(db, OPERATOR, "acme", "lists are clean now"))
        acme_now = await store.read(lambda db: tenants.find(db, "acme"))
        assert acme_now.is_active
        assert acme_now.appeal is None
        assert await store.read(lambda db: seen(db, tenant)) == (Counts(), Level.GOOD)
        assert (await store.read(snapshot.read)).levels == {}
        # An event of before comes late: it was judged already.
        await store.change(lambda db: count(db, [counted(tenant, now, 0, 10)]))
        assert await store.read(lambda db: seen(db, tenant)) == (Counts(), Level.GOOD)
        again = now_ms() + 1
        await store.change(lambda db: count_at(db, [counted(tenant, again, 50, 1)], again))
        assert await store.read(lambda db: seen(db, tenant)) == (Counts(50, 1), Level.WARNED)
        await store.change(lambda db: count_at(db, [counted(tenant, again, 0, 1)], again))
        assert not (await store.read(lambda db: tenants.find(db, "acme"))).is_active
        kept = ["tenant.suspended", "tenant.appealed", "tenant.resumed", "tenant.warned", "tenant.suspended"]
        assert await store.read(types) == kept

    play(url, story)


def test_levels_rise_at_once_and_fall_after_a_rest(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        tenant = await store.change(acme)

        def step(db: Connection) -> None:
            count_at(db, [counted(tenant, START, 100, 2)], START)
            assert seen_at(db, tenant) is Level.WARNED
            count_at(db, [counted(tenant, START + HOUR, 0, 1)], START + HOUR)
            assert seen_at(db, tenant) is Level.SLOWED
            count_at(db, [counted(tenant, START + 2 * HOUR, 900)], START + 2 * HOUR)  # 0.3 %
            assert seen_at(db, tenant) is Level.SLOWED
            assert snapshot.read(db).levels == {tenant: Level.SLOWED}
            sweep_at(db, START + 24 * HOUR)
            assert seen_at(db, tenant) is Level.SLOWED
            sweep_at(db, START + 25 * HOUR)
            assert seen_at(db, tenant) is Level.GOOD
            assert snapshot.read(db).levels == {}
            # Good mail leaves the window before the bad of the days after it: time alone can make it worse.
            count_at(db, [counted(tenant, START + 3 * DAY, 50, 2)], START + 3 * DAY)
            assert seen_at(db, tenant) is Level.GOOD
            sweep_at(db, START + WEEK + 3 * HOUR)
            assert not tenants.find(db, "acme").is_active
            sweep_at(db, START + 3 * WEEK)  # and all of it has gone: a suspension stays until somebody ends it
            assert seen_at(db, tenant) is Level.SUSPENDED
            assert not tenants.find(db, "acme").is_active
            assert types(db) == ["tenant.warned", "tenant.slowed", "tenant.suspended"]
            assert actions(db) == ["tenant.warn", "tenant.slow", "tenant.relieve", "tenant.suspend"]
            assert subjects(db) == ["Too much mail comes back", "Sending is slowed down", "Sending is suspended"]

        await store.change(step)

    def seen_at(db: Connection, tenant: int) -> Level:
        return Level(db.scalars(select(table.c.level).where(table.c.tenant_id == tenant)).one())

    play(url, story)


def test_byoc_mail_and_the_default_tenant_are_only_warned(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        tenant, now = await store.change(acme), now_ms()
        await store.change(
            lambda db: count(db, [counted(default, now, 50, 50), Counted(tenant, Mode.BYOC, now, 50, 50, 50)])
        )
        assert await store.read(types) == ["tenant.warned"] * 2
        every = await store.read(tenants.every)
        assert all(each.is_active for each in every)
        assert (await store.read(snapshot.read)).levels == {default: Level.WARNED}
        texts = await store.read(lambda db: list(db.scalars(select(notices.c.text))))
        assert all("Nothing is stopped for that here" in text for text in texts)

    play(url, story)


def test_a_tenant_that_is_suspended_by_hand_is_not_suspended_twice(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        tenant, now = await store.change(acme), now_ms()
        await store.change(lambda db: tenants.suspend(db, OPERATOR, "acme", "a look"))
        await store.change(lambda db: count(db, [counted(tenant, now, 50, 50)]))
        assert (await store.read(lambda db: tenants.find(db, "acme"))).status_reason == "a look"
        assert await store.read(types) == ["tenant.suspended"]
        await store.change(lambda db: tenants.resume(db, OPERATOR, "acme"))
        assert await store.read(lambda db: seen(db, tenant)) == (Counts(), Level.GOOD)

    play(url, story)


@pytest.mark.parametrize(
    ("policy", "bounces", "complaints", "is_active"),
    [(SENDEX, 2, 0, True), (SENDEX, 2, 1, False), (replace(SENDFLEET, enforce=Enforce.WARN), 50, 50, True)],
    ids=["at the limit", "above", "warnings only"],
)
def test_the_policy_is_the_stores(url: URL, policy: Policy, bounces: int, complaints: int, is_active: bool) -> None:
    async def story(store: Store, default: int) -> None:
        tenant, now = await store.change(acme), now_ms()
        # Two weeks old: in the window of one preset only.
        await store.change(lambda db: count(db, [counted(tenant, now - 6 * DAY, 50, bounces, complaints)]))
        assert (await store.read(lambda db: tenants.find(db, "acme"))).is_active is is_active

    play(url, story, policy=policy)


# -- appeals, and what is done by hand -------------------------------------------------------------------------------


def test_an_appeal_is_heard_once_a_day(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        await store.change(acme)
        with pytest.raises(Problem, match="not suspended"):
            await store.change(lambda db: tenants.appeal(db, OPERATOR, "acme", "why"))
        await store.change(lambda db: tenants.suspend(db, OPERATOR, "acme", "bounces"))
        found = await store.change(lambda db: tenants.appeal(db, OPERATOR, "acme", "they asked for it"))
        assert found.appeal is not None
        assert found.appeal["note"] == "they asked for it"
        with pytest.raises(Problem, match="appealed already"):
            await store.change(lambda db: tenants.appeal(db, OPERATOR, "acme", "hello?"))
        aged: dict[str, Any] = {"note": "they asked for it", "appealed_at": found.appeal["appealed_at"] - DAY}
        await store.change(lambda db: db.execute(rows.update().values(appeal=json.dumps(aged))))
        again = await store.change(lambda db: tenants.appeal(db, OPERATOR, "acme", "hello?"))
        assert again.appeal is not None
        assert again.appeal["note"] == "hello?"
        operators = select(notices.c.text).where(notices.c.address == "")
        texts = await store.read(lambda db: list(db.scalars(operators.order_by(notices.c.id))))
        assert [("they asked for it" in text, "hello?" in text) for text in texts] == [(True, False), (False, True)]

    play(url, story)


def test_what_is_done_by_hand_is_told_as_well(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        await store.change(acme)
        await store.change(lambda db: tenants.decide(db, OPERATOR, "acme", is_approved=False, note="no"))
        await store.change(lambda db: tenants.decide(db, OPERATOR, "acme", is_approved=True))
        await store.change(lambda db: tenants.suspend(db, OPERATOR, "acme", "a look"))
        await store.change(lambda db: tenants.resume(db, OPERATOR, "acme"))
        assert await store.read(types) == ["tenant.declined", "tenant.approved", "tenant.suspended", "tenant.resumed"]

    play(url, story)


def test_a_month_that_is_used_up_is_told_once(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        tenant, month = await store.change(acme), usage.month_of(now_ms())
        found = [Reached(tenant, 100, 100, month), Reached(default, 5, 5, month)]
        assert await store.change(lambda db: tell_reached(db, found)) == [True, True]
        assert await store.change(lambda db: tell_reached(db, found)) == [False, False]
        assert await store.read(types) == ["tenant.limit_reached"] * 2
        assert await store.read(subjects) == ["The month's recipients are used up"] * 2
        following = replace(found[0], month=usage.month_of((month[1] + 40) * usage.DAY))
        assert await store.change(lambda db: tell_reached(db, [following])) == [True]

    play(url, story)


def test_nobody_else_is_concerned() -> None:
    """A store without a policy, as commands open it, judges as the usual preset does."""
    with memory().begin() as db:
        assert standings.policy_of(db) == SENDFLEET
    assert SENDFLEET.window == timedelta(days=7)
