"""A tenant that is slowed down has its part of the lane, and nobody else waits for it. By a clock of their own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.app import running
from relay.dispatch.pacing import Pace
from relay.dispatch.slowing import Slowing
from relay.dispatch.turns import Room, Turns
from relay.message import Mode, Stream
from relay.sandbox.accounts import Account
from relay.sandbox.server import running as running_sandbox
from relay.store import windows
from relay.store.clock import now_ms
from relay.store.directory import tenants
from relay.store.directory.audit import Actor
from relay.store.standings import Counted, count
from tests.support import relay_settings

EPOCH = 1_800_000_000_000
MOMENT = 0.02
T, S, B = Stream
OPERATOR = Actor("somebody", is_operator=True)


def had(
    rate: float, slowed: dict[str, int], *others: str, seconds: float = 60.0, part: float = 0.1, size: int = 1
) -> Counter[str]:
    """What each domain has had of a lane in which all of them always wait, as the lane goes about it."""
    turns, slowing, pace = Turns(), Slowing(part), Pace.at_rate(rate, 0.0)
    turns.assign(slowed | {name: 1000 + number for number, name in enumerate(others)})
    slowing.replace(slowed)
    turns.slow(slowed.keys())
    turns.advance(EPOCH)
    for name in (*slowed, *others):
        turns.note((name, T), EPOCH, 100_000)
    went: Counter[str] = Counter()
    for step in range(round(seconds / MOMENT)):
        now = step * MOMENT
        slowing.advance(pace.rate, now)
        turns.stop(slowing.waiting().keys())
        left = pace.startable(now)
        for share in turns.plan(EPOCH + round(now * 1000), Room(50, left)):
            recipients = share.deliveries * size
            turns.took(share, share.deliveries, recipients, EPOCH, is_drained=False)
            pace.spend(recipients)
            slowing.spend(share.queue[0], recipients)
            went[share.queue[0]] += recipients
    return went


@pytest.mark.parametrize(
    ("rate", "size", "expected"),
    [
        (100.0, 1, 10.0),
        (100.0, 50, 10.0),  # a large call is waited off
        (20.0, 1, 2.0),
        (5.0, 1, 1.0),  # never less than one a second
        (1.0, 1, 1.0),
    ],
)
def test_one_who_is_alone_has_a_tenth_of_the_lane(rate: float, size: int, expected: float) -> None:
    assert had(rate, {"bad.example": 1}, size=size)["bad.example"] / 60 == pytest.approx(expected, rel=0.2)


def test_the_others_have_the_rest() -> None:
    went = had(100.0, {"bad.example": 1}, "good.example")
    assert went["bad.example"] == pytest.approx(600, rel=0.05)
    assert went["good.example"] == pytest.approx(5400, rel=0.05)


def test_the_domains_of_a_tenant_share_its_part_and_tenants_do_not() -> None:
    went = had(100.0, {"one.example": 1, "two.example": 1, "other.example": 2})
    assert went["one.example"] + went["two.example"] == pytest.approx(600, rel=0.05)
    assert went["other.example"] == pytest.approx(600, rel=0.05)


def test_in_a_crowd_nobody_has_more_for_being_slow() -> None:
    went = had(20.0, {"bad.example": 1}, *(f"good{number}.example" for number in range(19)))
    assert went["bad.example"] <= 1.1 * min(went[name] for name in went)


def test_who_is_slowed_no_more_has_no_debt() -> None:
    slowing = Slowing(0.1)
    slowing.replace({"bad.example": 1})
    slowing.advance(100.0, 0.0)
    slowing.spend("bad.example", 50)
    slowing.spend("good.example", 50)
    assert slowing.waiting() == {"bad.example": pytest.approx(5.0)}
    assert slowing.seconds("bad.example", 1) == pytest.approx(5.0)
    assert slowing.seconds("good.example", 1) == 0.0
    slowing.replace({})
    assert slowing.waiting() == {}
    slowing.replace({"bad.example": 1})
    slowing.advance(100.0, 1.0)
    assert slowing.waiting() == {}


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.01)


def test_the_lane_goes_by_what_the_directory_says(tmp_path: Path) -> None:
    """Shared mail of a tenant that does badly is queued; its byoc mail, and that of others, is handed over."""
    named = {
        "acme-shared.example": {"mode": "shared", "account": "operator", "tenant": "acme"},
        "acme-byoc.example": {"mode": "byoc", "account": "customer", "tenant": "acme"},
        "good.example": {"mode": "shared", "account": "operator", "tenant": "good"},
    }
    owners = {"acme": {"approved": True}, "good": {"approved": True}}
    known = [Account(name, tuple(named), daily_quota=-1) for name in ("operator", "customer")]

    async def story() -> None:
        async with running_sandbox(known) as ses:
            settings = relay_settings(tmp_path, ses.url, domains=named, tenants=owners)
            async with running(settings) as server:
                store, dispatcher = server._core.store, server._core.dispatcher

                def is_handed_over(domain: str) -> bool:
                    held = dispatcher.reserve((domain, T), 1)
                    if held is not None:
                        held.release()
                    return held is not None

                await until(lambda: all(map(is_handed_over, named)))
                acme = (await store.read(lambda db: tenants.find(db, "acme"))).id
                await store.change(lambda db: count(db, [Counted(acme, Mode.SHARED, now_ms(), 100, 3)]))
                await server.reload()
                await until(lambda: {name for name in named if not is_handed_over(name)} == {"acme-shared.example"})
                assert dispatcher.lanes["operator"].slowing.domains == {"acme-shared.example"}
                assert not dispatcher.lanes["customer"].slowing.domains
                await store.change(lambda db: tenants.suspend(db, OPERATOR, "acme", "a look"))
                await store.change(lambda db: tenants.resume(db, OPERATOR, "acme"))
                assert await store.read(windows.levels) == {}
                await server.reload()
                await until(lambda: all(map(is_handed_over, named)))

    asyncio.run(story())
