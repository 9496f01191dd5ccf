"""What SES says of an account, and what a running lane makes of it: it waits without attempts, says so, and goes on."""

from __future__ import annotations

import asyncio
import json
import smtplib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from relay.app import Server, running
from relay.dispatch import attempt, quota
from relay.dispatch.lane import Lane
from relay.errors import Kind
from relay.message import Stream
from relay.routing.standing import ACCOUNT
from relay.sandbox.faults import read_script
from relay.sandbox.server import Running
from relay.sandbox.server import running as running_sandbox
from relay.ses.errors import Scope, SesProblem
from relay.ses.wire import Quota
from relay.store.clock import now_ms
from relay.store.queue import Order, Taken
from relay.store.schema import deliveries
from tests.support import ACCOUNTS, relay_settings

LIMITS = Quota(rate=1000, daily=None, sent_today=0, is_sending_enabled=True, is_production=True)
QUEUE = ("byoc.example", Stream.TRANSACTIONAL)


@asynccontextmanager
async def scene(folder: Path, **overrides: Any) -> AsyncIterator[tuple[Running, Server, Lane]]:
    """A server whose lane of `customer` has asked for its quota."""
    async with running_sandbox(ACCOUNTS) as ses:
        async with running(relay_settings(folder, ses.url, **overrides)) as server:
            lane = server._core.dispatcher.lanes["customer"]
            await until(lambda: lane.pace.full == 900 and lane.allowance.daily is None)
            await until(lambda: server._core.dispatcher.quotas["customer"]._quota is not None)
            yield ses, server, lane


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.01)


def post(server: Server, count: int = 1, header: str = "", body: str = "x\r\n") -> None:
    with smtplib.SMTP("127.0.0.1", server.smtp_ports[2]) as smtp:
        for number in range(count):
            text = f"From: me@byoc.example\r\n{header}Subject: {number}\r\n\r\n{body}"
            smtp.sendmail("me@byoc.example", [f"p{number}@dest.example"], text)


async def states(server: Server) -> dict[str, tuple[int, int]]:
    """How many deliveries there are in each state, and how many attempts they had together."""

    def counted(db: Connection) -> dict[str, tuple[int, int]]:
        which = select(deliveries.c.state, func.count(), func.sum(deliveries.c.attempts)).group_by(deliveries.c.state)
        return {state: (count, attempts) for state, count, attempts in db.execute(which)}

    return await server._core.store.read(counted)


async def become(server: Server, expected: dict[str, tuple[int, int]]) -> None:
    async with asyncio.timeout(10):
        while (found := await states(server)) != expected:
            await asyncio.sleep(0.02)
            assert found


def test_a_used_up_quota_keeps_mail_without_an_attempt_and_lets_it_go_as_the_window_frees_some(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(tmp_path) as (_, server, lane):
            await lane.learn(replace(LIMITS, daily=100, sent_today=90))
            await asyncio.to_thread(
                post, server, 3, "List-Id: <l.byoc.example>\r\n"
            )  # broadcast: the rest is not for it
            await asyncio.to_thread(post, server, 10)
            await become(server, {"sent": (8, 8), "queued": (5, 0)})
            faults = server.readiness().faults
            assert "98 of 100 recipients in 24 hours are used up" in faults["quota of customer"]
            held = server._core.dispatcher.held(*QUEUE)
            assert held is not None
            assert held[0] is Kind.SES_QUOTA
            assert server._core.dispatcher.estimate(QUEUE, now_ms()) is None
            await lane.learn(replace(LIMITS, daily=100, sent_today=90))
            await become(server, {"sent": (10, 10), "queued": (3, 0)})  # the newsletters wait on
            assert "the rest is kept for transactional mail" in server.readiness().faults["quota of customer"]
            await lane.learn(replace(LIMITS, daily=100, sent_today=50))
            await become(server, {"sent": (13, 13)})
            assert "quota of customer" not in server.readiness().faults

    asyncio.run(story())


def test_one_delivery_larger_than_what_is_left_waits_for_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(tmp_path) as (_, server, lane):
            await lane.learn(replace(LIMITS, daily=100, sent_today=90))

            def post_to_many() -> None:
                with smtplib.SMTP("127.0.0.1", server.smtp_ports[2]) as smtp:
                    people = [f"p{number}@dest.example" for number in range(20)]
                    smtp.sendmail("me@byoc.example", people, "From: me@byoc.example\r\nSubject: s\r\n\r\nx\r\n")

            await asyncio.to_thread(post_to_many)
            await until(lambda: lane._stalled_until > 0)
            assert await states(server) == {"queued": (1, 0)}
            await lane.learn(replace(LIMITS, daily=100, sent_today=10))
            await become(server, {"sent": (1, 1)})

    asyncio.run(story())


def test_an_account_that_ses_switched_off_is_stopped_and_probed_once_it_is_on_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(tmp_path) as (_, server, lane):
            await lane.learn(replace(LIMITS, is_sending_enabled=False, enforcement="SHUTDOWN"))
            await asyncio.to_thread(post, server, 3)
            await become(server, {"queued": (3, 0)})
            assert "sending is switched off" in server.readiness().faults["account customer"]
            await lane.learn(LIMITS)
            await become(server, {"sent": (3, 3)})
            assert "account customer" not in server.readiness().faults

    asyncio.run(story())


async def rounds(lane: Lane, seconds: float = 0.5) -> int:
    """How often the lane looks for work in that time."""
    seen, look = 0, lane._round

    async def counted() -> None:
        nonlocal seen
        seen += 1
        await look()

    lane._round = counted  # type: ignore[method-assign]
    lane.wake()
    await asyncio.sleep(seconds)
    lane._round = look  # type: ignore[method-assign]
    return seen


@pytest.mark.parametrize("key", [ACCOUNT, "byoc.example"])
def test_a_probe_for_which_nothing_is_left_today_is_waited_for_in_peace(tmp_path: Path, key: str) -> None:
    async def story() -> None:
        async with scene(tmp_path) as (_, server, lane):
            await lane.learn(replace(LIMITS, daily=100, sent_today=98))
            await asyncio.to_thread(post, server)
            lane.stops.hold(key, Kind.SES_QUOTA, "used up", time.monotonic() - 10_000)
            assert await rounds(lane) < 5
            await lane.learn(replace(LIMITS, daily=100, sent_today=10))
            await become(server, {"sent": (1, 1)})

    asyncio.run(story())


def test_a_probe_that_no_mail_is_due_for_is_waited_for_in_peace(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(tmp_path) as (_, server, lane):
            lane.note(QUEUE, now_ms() + 2000)
            lane.stops.hold(ACCOUNT, Kind.SES_PAUSED, "paused", time.monotonic() - 10_000)
            assert await rounds(lane) < 5
            await asyncio.to_thread(post, server)
            await become(server, {"sent": (1, 1)})

    asyncio.run(story())


def test_a_stop_that_ends_while_another_is_probed_is_probed_no_more(tmp_path: Path) -> None:
    """What two domains are stopped for alike ends with the first probe, perhaps before the second began."""

    async def story() -> None:
        async with scene(tmp_path) as (_, _, lane):
            lane.is_owned = False
            lane.turns.assign({"a.example": 1, "b.example": 1})
            for name in ("a.example", "b.example"):
                lane.turns.note((name, Stream.TRANSACTIONAL), 0)
            both = ["a.example", "b.example"]
            lane.stops.hold_all(both, Kind.SES_PAUSED, "main", time.monotonic() - 100, shared="main")
            probed: list[str | None] = []

            async def take(shares: object, room: object, probe: str | None = None) -> int:
                probed.append(probe)
                lane.stops.succeeded("a.example")
                return 1

            lane._take = take  # type: ignore[assignment]
            lane.is_owned = True
            await lane._round()
            assert probed == ["a.example", None]

    asyncio.run(story())


def test_what_turns_out_not_to_wait_delays_nobody(tmp_path: Path) -> None:
    """It was cancelled, say: then the next in turn goes at once."""

    async def story() -> None:
        async with scene(tmp_path) as (_, _, lane):
            await lane.learn(replace(LIMITS, daily=1000))
            await until(lambda: not lane.turns.is_behind(Stream.BROADCAST, now_ms()))
            lane.note(QUEUE, now_ms())
            await until(lambda: not lane.turns.is_behind(Stream.BROADCAST, now_ms()))
            assert lane._stalled_until < time.monotonic()

    asyncio.run(story())


def test_what_the_database_says_is_not_due_yet_is_not_asked_for_all_the_time(tmp_path: Path) -> None:
    """Its clock may be another than this machine's."""

    async def story() -> None:
        async with scene(tmp_path) as (_, server, lane):
            await asyncio.to_thread(post, server)
            await become(server, {"sent": (1, 1)})

            async def nothing(write: object, order: Order, *_: object) -> Taken:
                return Taken((), {}, {queue: now_ms() - 1 for queue in order.queues})

            lane._store = SimpleNamespace(write=nothing)  # type: ignore[assignment]
            lane.note(QUEUE, now_ms())
            assert await rounds(lane) < 5

    asyncio.run(story())


def test_what_an_account_says_that_was_replaced_meanwhile_stops_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(tmp_path) as (_, server, lane):
            account, called, told = lane.attempts.account, asyncio.Event(), asyncio.Event()

            async def send(*_: object, **__: object) -> str:
                called.set()
                await told.wait()
                raise SesProblem(Kind.SES_DENIED, Scope.ACCOUNT, "the old key was deleted")

            lane.attempts.account = SimpleNamespace(send=send, region="eu-west-1")  # type: ignore[assignment]
            await asyncio.to_thread(post, server)
            await called.wait()
            lane.attempts.account = account
            told.set()
            await become(server, {"sent": (1, 2)})
            assert not lane.stops.by_ses()

    asyncio.run(story())


def test_a_large_message_that_others_are_in_the_way_of_gives_its_attempt_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL its lease would end while it waits, and another attempt begin."""
    monkeypatch.setattr(attempt, "AT_ONCE", 1)
    monkeypatch.setattr(attempt, "TURN_WITHIN", 0.2)

    async def story() -> None:
        async with scene(tmp_path) as (ses, server, lane):
            script = {"account": "customer", "times": 1, "fault": {"slow": 1.5}}
            ses.state.faults.scripts.append(read_script(json.dumps(script).encode(), {"customer", "operator"}))
            await asyncio.to_thread(post, server, 2, "", f"{'x ' * 40}\r\n" * 4000)
            await until(lambda: len(ses.state.mailbox.after("")) == 2 and lane._in_flight == 0)
            which = select(deliveries.c.state, deliveries.c.failures, deliveries.c.possible_duplicates)
            found = await server._core.store.read(lambda db: db.execute(which.add_columns(deliveries.c.attempts)).all())
            assert {tuple(row)[:3] for row in found} == {("sent", 0, 0)}
            assert max(row.attempts for row in found) > 1

    asyncio.run(story())


def test_a_lane_goes_on_after_what_nobody_thought_of(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(tmp_path) as (_, server, lane):
            watch, account = server._core.dispatcher.quotas["customer"], lane.attempts.account
            look, ask = lane._round, account.quota

            async def broken() -> Any:
                raise TypeError("an answer of another form")

            lane._round = broken  # type: ignore[method-assign]
            account.quota = broken  # type: ignore[method-assign]
            lane.trouble.set()
            lane.wake()
            await until(lambda: "quota of customer" in server.readiness().faults)
            lane._round = look  # type: ignore[method-assign]
            account.quota = ask  # type: ignore[method-assign]
            lane.trouble.set()
            await asyncio.to_thread(post, server)
            await become(server, {"sent": (1, 1)})
            await until(lambda: not watch.fault)

    asyncio.run(story())


def test_ses_is_asked_again_after_trouble_but_not_by_a_storm_of_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(tmp_path) as (ses, server, lane):
            watch = server._core.dispatcher.quotas["customer"]
            before = watch._quota
            script = {"account": "customer", "times": 3, "fault": {"error": "TooManyRequestsException"}}
            ses.state.faults.scripts.append(read_script(json.dumps(script).encode(), {"customer", "operator"}))
            await asyncio.to_thread(post, server, 3)
            await until(lambda: lane.pace.throttles == 3)
            await until(lambda: watch._quota is not before)
            asked = watch._quota
            lane.trouble.set()
            await asyncio.sleep(1.5)
            assert watch._quota is asked  # trouble after trouble: not before 10 s
            assert quota.TROUBLED.total_seconds() == 10

    asyncio.run(story())


def test_without_getaccount_the_configured_rate_holds_and_readyz_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_sandbox(ACCOUNTS) as ses:
            script = {"times": None, "operation": "GetAccount", "fault": {"error": "AccessDeniedException"}}
            ses.state.faults.scripts.append(read_script(json.dumps(script).encode(), {"customer", "operator"}))
            async with running(relay_settings(tmp_path, ses.url)) as server:
                await until(lambda: "quota of customer" in server.readiness().faults)
                assert "the configured rate is used" in server.readiness().faults["quota of customer"]
                assert server._core.dispatcher.lanes["customer"].pace.full == 900
                await asyncio.to_thread(post, server, 3)
                await become(server, {"sent": (3, 3)})

    asyncio.run(story())


def test_what_waits_says_when_it_will_go(tmp_path: Path) -> None:
    """At 0.9 a second: as many seconds as wait there, and a ninth more."""

    async def story() -> None:
        async with scene(tmp_path) as (_, server, lane):
            await lane.learn(replace(LIMITS, rate=1))
            await asyncio.to_thread(post, server, 20)
            waiting = lane.turns.waiting(QUEUE)
            assert waiting is not None
            for ahead in (None, 5):
                expected = server._core.dispatcher.estimate(QUEUE, now_ms(), ahead)
                assert expected is not None
                seconds = (1 + (waiting.count if ahead is None else ahead)) / 0.9
                assert abs(expected - now_ms() - 1000 * seconds) < 2000

    asyncio.run(story())
