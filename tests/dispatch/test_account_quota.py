"""What SES says of an account, and what a running lane makes of it: it waits without attempts, says so, and goes on."""

from __future__ import annotations

import asyncio
import json
import smtplib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from relay.app import Server, running
from relay.dispatch import quota
from relay.dispatch.lane import Lane
from relay.errors import Kind
from relay.message import Stream
from relay.sandbox.faults import read_script
from relay.sandbox.server import Running
from relay.sandbox.server import running as running_sandbox
from relay.ses.wire import Quota
from relay.store.clock import now_ms
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


def post(server: Server, count: int = 1, header: str = "") -> None:
    with smtplib.SMTP("127.0.0.1", server.smtp_ports[2]) as smtp:
        for number in range(count):
            text = f"From: me@byoc.example\r\n{header}Subject: {number}\r\n\r\nx\r\n"
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
