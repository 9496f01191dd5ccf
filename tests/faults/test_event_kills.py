"""Killed again and again while it hears events: none is lost, and none counts twice."""

from __future__ import annotations

import asyncio
import random
import smtplib
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from relay.sandbox.accounts import Account
from relay.sandbox.server import Running
from relay.sandbox.server import running as running_sandbox
from tests import processes
from tests.processes import Relay, wait_until

OUTCOMES = ("success", "bounce", "complaint", "ooto", "suppressionlist")  # of the mailbox simulator
# fmt: off
STATES = {"success": "delivered", "bounce": "bounced", "complaint": "complained", "ooto": "delivered", "suppressionlist": "bounced"}
# fmt: on


class Cloud:
    """A sandbox in a thread of its own, so that time can be made to pass in its queue."""

    def __init__(self, running: Running, loop: asyncio.AbstractEventLoop) -> None:
        self.url = running.url
        self._state = running.state
        self._loop = loop

    def call(self, work: Any) -> Any:
        async def run() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def waiting(self) -> int:
        """Events that were not taken off the queue."""
        return int(self.call(lambda: sum(self._queue().counts())))

    def hand_out_again(self) -> None:
        """As after the visibility timeout, which is two minutes."""

        def release() -> None:
            queue = self._queue()
            for item in list(queue._in_flight.values()):
                queue.change_visibility(item.receipt, 0)

        self.call(release)

    def _queue(self) -> Any:
        return self._state.region_of("operator", "eu-west-1").queues.get("relay-events").queue


@contextmanager
def cloud() -> Iterator[Cloud]:
    ready: list[Cloud] = []
    started, stop = threading.Event(), threading.Event()

    async def live() -> None:
        known = [Account("operator", ("shared.example",), rate=100_000, daily_quota=-1), Account("customer", ())]
        async with running_sandbox(known) as running:
            ready.append(Cloud(running, asyncio.get_running_loop()))
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    started.wait(10)
    try:
        yield ready[0]
    finally:
        stop.set()
        thread.join()


def send(relay: Relay, first: int, count: int) -> None:
    """So many to each of the simulator's addresses, all different."""
    with smtplib.SMTP("127.0.0.1", relay.smtp) as smtp:
        for number in range(first, first + count):
            for who in OUTCOMES:
                to = f"{who}+{number}@simulator.amazonses.com"
                smtp.sendmail("me@shared.example", [to], f"From: me@shared.example\r\nTo: {to}\r\n\r\nx\r\n")


def ask(relay: Relay, question: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{relay.folder / 'relay.db'}?mode=ro", uri=True, timeout=30)) as db:
        return db.execute(question).fetchall()


def kill_while_hearing(folder: Path, kills: int, each: int) -> None:
    chance = random.Random(7)
    extra = "delivery: {unknown_window: 2s}\n"  # what the event of a call is waited for, when the call did not arrive
    with cloud() as sandbox, processes.relay(folder, sandbox.url, extra=extra, via="sqs") as relay:
        text = relay.config.read_text()
        relay.config.write_text(
            text.replace("{mode: shared, account: operator}", "{mode: shared, account: operator, configuration_set: s}")
        )
        sent = 0
        for _ in range(kills):
            relay.start()
            send(relay, sent, each)
            sent += each
            time.sleep(chance.uniform(0, 0.4))  # somewhere in the hearing
            relay.kill()
            sandbox.hand_out_again()
        relay.start()
        unsent = "select count(*) from deliveries where state not in ('sent', 'failed')"
        wait_until(lambda: ask(relay, unsent) == [(0,)], "sending")

        def heard() -> bool:
            sandbox.hand_out_again()
            return sandbox.waiting() == 0

        wait_until(heard, "hearing", 60)
        assert relay.stop() == 0
        known = dict(ask(relay, "select address, state from recipients"))
        expected = {
            f"{who}+{number}@simulator.amazonses.com": STATES[who] for number in range(sent) for who in OUTCOMES
        }
        assert known == expected
        sums = "sum(sent), sum(delivered), sum(bounced), sum(soft_bounced), sum(complained)"
        assert ask(relay, f"select {sums} from tallies") == [(5 * sent, 3 * sent, 2 * sent, sent, sent)]
        duplicates = ask(relay, "select coalesce(sum(possible_duplicates), 0) from deliveries")[0][0]
        told = dict(ask(relay, "select type, count(*) from events group by type"))
        wanted = {"email.delivered": 3, "email.bounced": 2, "email.soft_bounced": 1, "email.complained": 1}
        for type, times in wanted.items():  # a mail that went twice has events of its own
            assert times * sent <= told[type] <= times * (sent + duplicates)
        listed = ask(relay, "select count(*) from suppressions")[0][0]
        assert listed == 3 * sent
        print(f"\nkills {kills}  recipients {5 * sent}  events {sum(told.values())}  possible duplicates {duplicates}")


@pytest.mark.soak
def test_fifty_kills_while_events_are_heard(tmp_path: Path) -> None:
    kill_while_hearing(tmp_path, 50, 20)


def test_a_few_kills_while_events_are_heard(tmp_path: Path) -> None:
    kill_while_hearing(tmp_path, 3, 10)
