"""Unknown outcomes: how long they wait, what an event says of them, and what becomes of the mail, end to end."""

from __future__ import annotations

import asyncio
import json
import re
import smtplib
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiobotocore.session import get_session
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import URL

from relay.app import Server, running
from relay.delivery import OnUnknown, RetryPolicy, Settlement, State
from relay.dispatch.unknown import LIVE_FOR, Feedback
from relay.errors import Kind
from relay.feedback.hearing import Verdict
from relay.message import Stream
from relay.sandbox.accounts import Account
from relay.sandbox.faults import read_script
from relay.sandbox.server import Running
from relay.sandbox.server import running as running_sandbox
from relay.store import backup, duplicates, hand, listing, searching, sweeping
from relay.store.clock import now_ms
from relay.store.directory.audit import Actor
from relay.store.hand import ByHand, Verb
from relay.store.listing import MessageView
from relay.store.queue import Order, take
from relay.store.searching import Wanted
from relay.store.settling import Settled, settle
from relay.store.store import Store
from relay.store.usage import day_of
from relay.store.writer import Rank
from tests.store.stories import message, play, put
from tests.support import relay_settings

WINDOW = timedelta(seconds=120)
NONE = timedelta(0)
LIVE = LIVE_FOR.total_seconds()
QUEUE = ("byoc.example", Stream.TRANSACTIONAL)

# -- how long: pure --------------------------------------------------------------------------------------------------

# fmt: off
HEARD = [
    # heard at            asked at         window
    ([],                  0.0,             NONE),    # nobody has been heard at a start
    ([0.0],               0.0,             WINDOW),
    ([0.0],               LIVE,            WINDOW),
    ([0.0],               LIVE + 0.001,    NONE),    # it went silent
    ([0.0, LIVE],         LIVE * 2,        WINDOW),
    ([500.0, 10.0],       500.0 + LIVE,    WINDOW),  # told late: what is newer holds
]
# fmt: on


@pytest.mark.parametrize(("heard_at", "now", "window"), HEARD)
def test_a_window_is_open_while_events_are_heard(heard_at: list[float], now: float, window: timedelta) -> None:
    feedback = Feedback(WINDOW)
    for at in heard_at:
        feedback.heard("a", at)
    assert feedback.window("a", now) == window
    assert feedback.silent(["a", "b"], now) == (("b",) if window else ("a", "b"))
    assert feedback.window("b", now) == NONE  # one account's events say nothing of another's


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1e6)), max_size=20),
    st.floats(0, 2e6),
)
def test_an_account_has_a_window_or_is_silent_and_never_both(heard: list[tuple[str, float]], now: float) -> None:
    feedback = Feedback(WINDOW)
    for account, at in heard:
        feedback.heard(account, at)
    silent = feedback.silent("abc", now)
    for account in "abc":
        last = max((at for name, at in heard if name == account), default=None)
        is_live = last is not None and now - last <= LIVE
        assert feedback.is_live(account, now) is is_live
        assert feedback.window(account, now) == (WINDOW if is_live else NONE)
        assert (account in silent) is not is_live


# -- what becomes of it, in both databases ---------------------------------------------------------------------------


async def unknown(store: Store, tenant: int, window: timedelta) -> tuple[str, int]:
    """A message whose only attempt came to nothing known: its id, and its delivery's."""
    new = await put(store, message(store, tenant))
    taken = await store.write(take, Order("customer", (QUEUE,), 9, 99), Rank.SETTLE)
    [delivery] = taken.started
    outcome = RetryPolicy().after(
        Kind.SES_UNKNOWN_OUTCOME, delivery, now_ms(), account="customer", window=window, detail="timeout"
    )
    await store.write(settle, outcome, Rank.SETTLE)
    return new.public_id, delivery.id


def taken_by_ses(delivery_id: int, attempt: int, ses_message_id: str) -> Settlement:
    return Settlement(delivery_id, attempt, State.SENT, "customer", ses_message_id=ses_message_id)


async def look(store: Store, public_id: str) -> MessageView:
    found = await store.read(lambda db: listing.message(db, public_id))
    assert found is not None
    return found


async def sweep(store: Store, silent: Iterable[str] = (), policy: RetryPolicy | None = None) -> sweeping.Swept:
    round_ = sweeping.Round(policy or RetryPolicy(), (), True, tuple(silent))
    swept: sweeping.Swept = await store.write(sweeping.sweep_waiting, round_, Rank.SWEEP)
    return swept


async def counted(store: Store) -> dict[str, int]:
    today = day_of(now_ms())
    rows = await store.read(lambda db: duplicates.since(db, today - 1))
    return {row.account: row.deliveries for row in rows}


def test_a_window_is_waited_for_and_ends_at_once_when_nothing_is_heard_any_more(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        public_id, _ = await unknown(store, tenant, WINDOW)
        assert (await sweep(store)).requeued == 0
        assert (await sweep(store, ["other"])).requeued == 0
        assert (await look(store, public_id)).state == "unknown"
        swept = await sweep(store, ["customer"])
        assert (swept.requeued, swept.woken) == (1, frozenset({QUEUE}))
        [delivery] = (await look(store, public_id)).deliveries
        assert (delivery.state, delivery.possible_duplicates) == ("queued", 1)
        assert await counted(store) == {"customer": 1}

    play(url, story)


@pytest.mark.parametrize("on_unknown", list(OnUnknown))
def test_without_a_window_the_policy_decides_and_is_counted(url: URL, on_unknown: OnUnknown) -> None:
    async def story(store: Store, tenant: int) -> None:
        public_id, _ = await unknown(store, tenant, NONE)
        await sweep(store, policy=RetryPolicy(on_unknown=on_unknown))
        [delivery] = (await look(store, public_id)).deliveries
        assert delivery.state == {OnUnknown.RETRY: "queued", OnUnknown.FAIL: "failed"}[on_unknown]
        assert (delivery.possible_duplicates, await counted(store)) == (1, {"customer": 1})

    play(url, story)


def test_a_fact_within_the_window_makes_it_sent_and_no_duplicate(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        public_id, delivery_id = await unknown(store, tenant, WINDOW)
        fact = taken_by_ses(delivery_id, 1, "0102-x")
        settled: Settled = await store.write(settle, fact, Rank.SETTLE)
        assert not settled.is_stale
        assert settled.destroyed is not None
        found = await look(store, public_id)
        [delivery] = found.deliveries
        assert (delivery.state, delivery.ses_message_id, delivery.possible_duplicates) == ("sent", "0102-x", 0)
        assert (delivery.kind, delivery.detail, delivery.due_at) == (None, None, None)
        assert found.destroyed_at is not None
        assert [each.state for each in delivery.recipients] == ["sent"]
        again: Settled = await store.write(settle, fact, Rank.SETTLE)
        assert again.is_stale
        assert await counted(store) == {}

    play(url, story)


def test_a_fact_after_a_later_attempt_began_is_counted_by_day(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        public_id, delivery_id = await unknown(store, tenant, NONE)
        await sweep(store, policy=RetryPolicy(first=NONE))
        await store.write(take, Order("customer", (QUEUE,), 9, 99), Rank.SETTLE)
        await store.write(settle, taken_by_ses(delivery_id, 1, "late"), Rank.SETTLE)
        [delivery] = (await look(store, public_id)).deliveries
        assert (delivery.state, delivery.attempts, delivery.possible_duplicates) == ("sent", 2, 2)
        assert await counted(store) == {"customer": 2}

    play(url, story)


def test_a_fact_makes_what_a_restore_holds_sent(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant))
        [only] = (await look(store, new.public_id)).deliveries
        await store.change(lambda db: backup.hold_unsent(db, Actor("test"), "a backup"))
        assert (await look(store, new.public_id)).held_because is not None
        await store.write(settle, taken_by_ses(only.id, 1, "0102-y"), Rank.SETTLE)
        found = await look(store, new.public_id)
        # The attempt began after the backup was made: none of it is known here, and none is made.
        assert (found.state, found.deliveries[0].attempts, found.deliveries[0].possible_duplicates) == ("sent", 0, 0)
        assert await counted(store) == {}

    play(url, story)


def test_many_writers_of_one_day_count_every_one(url: URL) -> None:
    async def story(store: Store, _: int) -> None:
        at = now_ms()
        await asyncio.gather(
            *(store.change(lambda db: duplicates.count(db, ["b", "a", None, "a"], at)) for _ in range(20))
        )
        assert await counted(store) == {"a": 40, "b": 20, "none": 20}

    play(url, story)


# -- end to end: a sandbox, a relay, and the sandbox's queue read by an AWS client -------------------------------------

NAME = "events.example"


class Scene:
    """A relay whose domain has a configuration set, so that SES tells events of its mail."""

    def __init__(self, ses: Running, server: Server, queue: Any) -> None:
        self.ses = ses
        self.server = server
        self.dispatcher = server._core.dispatcher
        self._queue = queue

    def script(self, fault: object, **more: object) -> None:
        body = json.dumps({"account": "customer", "fault": fault, **more}).encode()
        self.ses.state.faults.scripts.append(read_script(body, {"customer", "operator"}))

    def post(self, to: str = "ana@dest.example") -> None:
        with smtplib.SMTP("127.0.0.1", self.server.smtp_ports[2]) as smtp:
            smtp.sendmail(f"me@{NAME}", [to], f"From: me@{NAME}\r\nSubject: s\r\n\r\nx\r\n")

    async def end_calls(self) -> None:
        """Close every connection to the sandbox, now."""
        async with aiohttp.ClientSession() as http:
            async with http.post(f"{self.ses.url}/faults", json={"fault": {"refuse": 0}}) as response:
                assert response.status == 201

    def heard(self) -> None:
        self.dispatcher.feedback.heard("customer", time.monotonic())

    async def message(self) -> MessageView | None:
        read = self.server._core.store.read
        found = await read(lambda db: searching.newest(db, Wanted(domain=NAME), 1))
        return found[0] if found else None

    async def becomes(self, *states: str) -> MessageView:
        async with asyncio.timeout(10):
            while (found := await self.message()) is None or found.state not in states:
                await asyncio.sleep(0.02)
        return found

    async def send_events(self) -> list[str]:
        """The Send events in the account's queue, by attempt."""
        url = f"{self.ses.url}/customer/relay-events"
        answer = await self._queue.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5)
        bodies = [each["Body"] for each in answer.get("Messages", [])]
        sends = [each for each in bodies if json.loads(json.loads(each)["Message"])["eventType"] == "Send"]
        return sorted(sends, key=lambda each: json.loads(json.loads(each)["Message"])["mail"]["tags"]["attempt"])

    async def hear(self, event: str) -> None:
        """As who reads the queue does."""
        assert await self.server._core.hearing.hear("customer", [event]) == [Verdict.HEARD]

    async def metric(self, name: str) -> float:
        await self.dispatcher.measure()
        text = self.server._core.metrics.text().decode()
        [value] = re.findall(rf"(?m)^{re.escape(name)} (\S+)$", text)
        return float(value)


@asynccontextmanager
async def scene(folder: Path, **delivery: object) -> AsyncIterator[Scene]:
    known = [Account(name, (NAME,), daily_quota=-1) for name in ("customer", "operator")]
    account = {
        "region": "eu-west-1",
        "endpoint_url": "SANDBOX_URL",
        "rate": 900,
        "feedback": {"via": "none"},  # the stories read the queue themselves
    }
    accounts = {
        name: account | {"credentials": {"access_key_id": name, "secret_access_key": "any"}}
        for name in ("customer", "operator")
    }
    domain = {"mode": "byoc", "account": "customer", "configuration_set": "relay"}
    async with running_sandbox(known) as ses:
        settings = relay_settings(folder, ses.url, ses_accounts=accounts, domains={NAME: domain}, delivery=delivery)
        keys = {"aws_access_key_id": "customer", "aws_secret_access_key": "any"}
        async with running(settings) as server:
            client = get_session().create_client("sqs", region_name="eu-west-1", endpoint_url=ses.url, **keys)
            async with client as queue:
                yield Scene(ses, server, queue)


def test_no_answer_after_the_body_and_then_a_send_event_is_one_mail_sent(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(tmp_path) as stage:
            stage.heard()
            stage.script("accept_then_close")
            await asyncio.to_thread(stage.post)
            assert (await stage.becomes("unknown")).deliveries[0].attempts == 1
            [event] = await stage.send_events()
            await stage.hear(event)
            found = await stage.becomes("sent")
            [delivery] = found.deliveries
            [accepted] = stage.ses.state.mailbox.after("")
            assert (delivery.ses_message_id, delivery.attempts, delivery.possible_duplicates) == (accepted.id, 1, 0)
            assert found.destroyed_at is not None
            await stage.hear(event)  # SQS may hand an event out twice
            assert await stage.metric("relay_possible_duplicates_total") == 0
            assert await stage.metric('relay_possible_duplicates_today{account="customer"}') == 0

    asyncio.run(story())


def test_a_send_event_that_is_faster_than_the_answer_settles_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(tmp_path) as stage:
            stage.script("accept_then_hang")
            await asyncio.to_thread(stage.post)
            assert (await stage.becomes("sending")).deliveries[0].attempts == 1
            [event] = await stage.send_events()
            await stage.hear(event)
            assert (await stage.becomes("sent")).destroyed_at is not None
            await stage.end_calls()  # the call comes to no answer, and that is no news
            async with asyncio.timeout(10):
                while stage.dispatcher.lanes["customer"].is_busy:
                    await asyncio.sleep(0.01)
            [delivery] = (await stage.becomes("sent")).deliveries
            assert (delivery.attempts, delivery.possible_duplicates) == (1, 0)
            assert len(stage.ses.state.mailbox.after("")) == 1
            assert await stage.metric('relay_deliveries_total{account="customer",state="sent"}') == 1

    asyncio.run(story())


def test_no_answer_and_no_event_is_tried_again_and_counted(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(tmp_path) as stage:
            stage.script("accept_then_close")
            await asyncio.to_thread(stage.post)
            await stage.becomes("queued")
            assert await stage.metric("relay_possible_duplicates_total") == 1
            assert await stage.metric('relay_possible_duplicates_today{account="customer"}') == 1
            assert await stage.metric("relay_possible_duplicates_total") == 1  # counted once, however often asked

    asyncio.run(story())


def test_an_attempt_that_began_with_its_message_says_of_which_account_it_is(tmp_path: Path) -> None:
    """Else nobody could tell which account may have had it, were the process to end now."""

    async def story() -> None:
        async with scene(tmp_path) as stage:
            stage.script("accept_then_hang")
            await asyncio.to_thread(stage.post)
            [delivery] = (await stage.becomes("sending")).deliveries
            assert (delivery.attempts, delivery.account) == (1, "customer")
            stage.ses.state.faults.scripts.clear()
            await stage.end_calls()

    asyncio.run(story())


def test_a_retry_by_hand_of_an_unknown_outcome_is_counted_and_in_every_line_of_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "relay")

    async def story() -> None:
        async with scene(tmp_path) as stage:
            stage.heard()
            stage.script("accept_then_close")
            await asyncio.to_thread(stage.post)
            found = await stage.becomes("unknown")
            retry = ByHand(found.public_id, Verb.RETRY)
            # As a command does, beside the server.
            await stage.server._core.store.change(lambda db: hand.move_by_hand(db, [retry]))
            await stage.becomes("sent")
            first, _ = await stage.send_events()  # it did go twice, and that was reported
            await stage.hear(first)
            assert await stage.metric("relay_possible_duplicates_total") == 1
            assert await stage.metric('relay_possible_duplicates_today{account="customer"}') == 1

    asyncio.run(story())
    lines = [(each.getMessage(), getattr(each, "fields", {})) for each in caplog.records]
    told = [(word, fields["attempt"], fields["possible_duplicates"]) for word, fields in lines if "delivery." in word]
    assert told == [
        ("delivery.unknown", 1, 0),
        ("delivery.sending", 2, 1),
        ("delivery.sent", 2, 1),
    ]


def test_a_window_that_ends_without_an_event_is_decided(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(tmp_path, unknown_window="1s") as stage:
            stage.heard()
            stage.script("close")
            await asyncio.to_thread(stage.post)
            first = await stage.becomes("unknown")
            found = await stage.becomes("queued")
            assert found.deliveries[0].possible_duplicates == 1
            assert (first.deliveries[0].due_at or 0) > first.accepted_at + 900

    asyncio.run(story())
