"""Reading queues: heard first and then taken off, whatever fails in between, and never in the way of mail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection

from relay.declared import FeedbackFields, Via
from relay.feedback import feed, pace, poller
from relay.store import database, feeds, hearing
from relay.store.store import Store, open_store
from relay.store.writer import Rank
from tests import databases
from tests.feedback.poller_scene import Scene, event, lines, locked, scene
from tests.feedback.sqs_stand import DENIED, MISSING
from tests.store.stories import MASTER, play

NOTICE = "Successfully validated SNS topic for Amazon SES event publishing."


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "backoff", lambda failures: 0.02)
    monkeypatch.setattr(poller, "TRY_EVERY", 0.05)
    monkeypatch.setattr(poller, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 20)


@pytest.fixture
def tell(tmp_path: Path) -> Callable[[Callable[[Scene], Awaitable[None]]], None]:
    """A story of one scene over SQLite."""

    def told(story: Callable[[Scene], Awaitable[None]]) -> None:
        async def whole(store: Store, _: int) -> None:
            async with scene(tmp_path, store) as stage:
                await story(stage)

        play(databases.sqlite(tmp_path), whole)

    return told


Tell = Callable[[Callable[[Scene], Awaitable[None]]], None]


def test_what_was_heard_is_taken_off_and_what_nobody_can_read_stays(
    tell: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(stage: Scene) -> None:
        stage.stand.put(event(), NOTICE, "ana@dest.example is no event")
        stage.start()
        await stage.until(lambda: len(stage.stand.deleted) == 2)
        assert sorted(stage.stand.deleted) == sorted([event(), NOTICE])
        stage.stand.show_again()
        await stage.until(lambda: stage.metric('relay_feedback_events_total{account="acme",verdict="broken"}') == 2)
        assert len(stage.stand.in_flight) == 1
        assert stage.metric('relay_feedback_events_total{account="acme",verdict="foreign"}') == 1
        assert stage.metric('relay_feedback_events_total{account="acme",verdict="heard"}') == 1
        assert 29 < (stage.metric('relay_feedback_age_seconds{account="acme"}') or 0) < 60
        assert stage.poller.faults() == {}
        assert stage.dispatcher.feedback.is_live("acme", time.monotonic())

    tell(story)
    [said] = lines(caplog, "feed.broken")  # once, however often it comes
    assert said["account"] == "acme"
    assert "ana@" not in caplog.text


def test_while_the_database_is_away_nothing_is_taken_off_nor_worn_out(
    tell: Tell, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(stage: Scene) -> None:
        stage.start()
        await stage.row_is(lambda row: row.asked is not None)
        with locked(tmp_path):
            stage.stand.put(event(1))
            await stage.until(stage.poller.faults)
            assert stage.poller.faults() == {
                "feedback of acme": "its events wait in their queue: The server's database cannot be written now: "
                "try again later"
            }
            stage.stand.put(event(2))
            await stage.until(lambda: len(stage.stand.in_flight) == 2)
            received = stage.stand.calls["ReceiveMessage"]
            stage.stand.put(event(3))
            await asyncio.sleep(0.2)  # some tries, and none of the queue
            assert stage.stand.calls["ReceiveMessage"] == received
            assert not stage.stand.deleted
        await stage.until(lambda: len(stage.stand.deleted) == 3)
        assert stage.poller.faults() == {}

    tell(story)
    assert len(lines(caplog, "feed.failed")) == 1


def test_an_event_that_is_more_than_we_can_take_keeps_no_other(
    tell: Tell, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hear = hearing.hear

    def broken(db: Connection, items: object) -> object:
        if "0102-3" in str(items):
            raise ValueError("nobody thought of this")
        return hear(db, items)  # type: ignore[arg-type]

    monkeypatch.setattr("relay.feedback.hearing.hear", broken)

    async def story(stage: Scene) -> None:
        stage.stand.put(*map(event, range(8)))
        stage.start()
        await stage.until(lambda: len(stage.stand.deleted) == 7)
        assert [*stage.stand.in_flight.values()] == [event(3)]

    tell(story)
    assert len(lines(caplog, "feed.event_failed")) == 1


@pytest.mark.parametrize("operation", ["GetQueueUrl", "ReceiveMessage"])
@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (MISSING, "there is no queue relay-events in eu-west-1: run `relay account setup acme`, which makes it"),
        (DENIED, "`relay account setup acme --dry-run` prints a policy for reading events"),
    ],
    ids=["missing", "denied"],
)
def test_a_queue_that_cannot_be_read_is_said_until_it_can(
    tell: Tell, caplog: pytest.LogCaptureFixture, refused: tuple[str, str], said: str, operation: str
) -> None:
    caplog.set_level("INFO", "relay")

    async def story(stage: Scene) -> None:
        stage.stand.refused[operation] = refused
        stage.stand.put(event())
        stage.start()
        await stage.until(lambda: stage.stand.calls[operation] > 3)
        assert stage.poller.faults()["feedback of acme"].endswith(said)
        row = await stage.row_is(lambda row: row.fault)
        assert row.fault.endswith(said)
        assert row.asked is None
        assert not stage.dispatcher.feedback.is_live("acme", time.monotonic())
        stage.stand.refused.clear()
        await stage.until(lambda: stage.stand.deleted)
        assert stage.poller.faults() == {}
        await stage.row_is(lambda row: not row.fault and row.asked is not None)

    tell(story)
    assert [each["work"] for each in lines(caplog, "feed.failed")] == ["reading"]
    assert [each["work"] for each in lines(caplog, "feed.mended")] == ["reading"]


def test_what_cannot_be_taken_off_is_said_and_a_receipt_that_is_old_is_not(tell: Tell) -> None:
    async def story(stage: Scene) -> None:
        stage.stand.kept = "ReceiptHandleIsInvalid"
        stage.stand.put(event(1))
        stage.start()
        await stage.until(lambda: stage.stand.calls["DeleteMessageBatch"] == 1)
        stage.stand.kept = "InternalError"
        stage.stand.show_again()
        await stage.until(lambda: "SQS did not delete 1 of 1 messages" in str(stage.poller.faults()))
        assert stage.stand.calls["DeleteMessageBatch"] == 2
        stage.stand.kept = ""
        stage.stand.show_again()
        await stage.until(lambda: stage.stand.deleted == [event(1)])
        await stage.until(lambda: not stage.poller.faults())

    tell(story)


def test_a_full_queue_is_drained_by_four_receives_at_once_and_an_empty_one_watched_by_one(tell: Tell) -> None:
    async def story(stage: Scene) -> None:
        stage.stand.put(*map(event, range(500)))
        stage.start()
        await stage.until(lambda: len(stage.stand.deleted) == 500)
        assert stage.stand.most_at_once == 4
        await stage.until(lambda: stage.stand.waits[-1] == 20)
        calls = stage.stand.calls.total()
        await asyncio.sleep(0.1)
        assert stage.stand.calls.total() == calls
        assert len(set(stage.stand.deleted)) == 500

    tell(story)


def test_while_others_write_it_leaves_them_most_of_the_time(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[float] = []
    hear = feed.Hearing.hear

    async def timed(*args: object) -> object:
        began = time.monotonic()
        try:
            return await hear(*args)  # type: ignore[arg-type]
        finally:
            worked.append(time.monotonic() - began)

    monkeypatch.setattr(feed.Hearing, "hear", timed)

    async def story(stage: Scene) -> None:
        async def write() -> None:
            while True:
                await stage.store.write(feeds.prune, {"acme"}, Rank.ACCEPT)

        writing = [asyncio.create_task(write()) for _ in range(4)]
        stage.stand.put(*map(event, range(20_000)))
        stage.start()
        await stage.until(lambda: len(worked) > 2)
        worked.clear()
        began = time.monotonic()
        await stage.until(lambda: len(worked) > 10)
        share = sum(worked[:-1]) / (time.monotonic() - began)  # what follows the last has not been waited for
        for task in writing:
            task.cancel()
        assert share < pace.SHARE + 0.03

    tell(story)


def test_it_stops_at_once_in_a_long_poll_and_finishes_what_it_hears(tell: Tell, tmp_path: Path) -> None:
    async def story(stage: Scene) -> None:
        stage.start()
        await stage.until(lambda: stage.stand.waits[-1:] == [20])
        assert await stage.stop() < 1
        stage.stand.put(event(1))
        with locked(tmp_path):
            stage.start()
            await stage.until(stage.poller.faults)  # it has it in hand
            stopping = asyncio.create_task(stage.stop())
            await asyncio.sleep(0.1)
        assert await stopping < 1.5
        assert stage.stand.deleted == [event(1)]
        with locked(tmp_path):
            stage.stand.put(event(2))
            stage.start()
            await stage.until(stage.poller.faults)
            assert await stage.stop() < 2  # it waits no longer, and the event is there again in two minutes
            assert stage.stand.deleted == [event(1)]

    tell(story)


def test_how_it_goes_is_in_its_row_and_in_the_metrics(tell: Tell) -> None:
    async def story(stage: Scene) -> None:
        stage.stand.put(NOTICE)
        stage.start()
        row = await stage.row_is(lambda row: row.dead is not None)
        assert (row.waiting, row.dead, row.fault) == (0, 2, "")
        assert stage.metric('relay_feedback_dead{account="acme"}') == 2
        assert stage.metric('relay_feedback_waiting{account="acme"}') == 0

    tell(story)


def test_counts_that_are_denied_are_said_and_events_are_heard_all_the_same(tell: Tell) -> None:
    async def story(stage: Scene) -> None:
        stage.stand.refused["GetQueueAttributes"] = DENIED
        stage.start()
        await stage.until(stage.poller.faults)
        stage.stand.put(event())
        await stage.until(lambda: stage.stand.deleted)
        row = await stage.row_is(lambda row: row.fault and row.asked is not None)
        assert (row.waiting, row.dead) == (None, None)

    tell(story)


def test_accounts_come_change_and_go(tell: Tell) -> None:
    async def story(stage: Scene) -> None:
        def polled() -> set[str]:
            return {task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("feed-read-")}

        stage.start(acme=FeedbackFields(), other=FeedbackFields(), pushed=FeedbackFields(via=Via.SNS))
        await stage.until(lambda: polled() == {"feed-read-acme", "feed-read-other"})
        await stage.row_is(lambda row: row.asked is not None)
        acme = stage.poller._tasks["acme"][1]
        stage.replace(acme=FeedbackFields(), other=FeedbackFields(via=Via.NONE))
        await stage.until(lambda: polled() == {"feed-read-acme"})
        assert stage.poller._tasks["acme"][1] is acme  # it is not disturbed
        stage.stand.refused["GetQueueUrl"] = MISSING
        stage.replace(acme=FeedbackFields(queue="another"))
        await stage.until(stage.poller.faults)
        assert "there is no queue another" in stage.poller.faults()["feedback of acme"]
        await stage.row_is(lambda row: row.fault)
        stage.replace(acme=FeedbackFields(via=Via.NONE))
        await stage.row_is(lambda row: not row.fault)
        assert stage.poller.faults() == {}
        stage.replace(other=FeedbackFields(via=Via.NONE))
        async with asyncio.timeout(5):
            while await stage.row():
                await asyncio.sleep(0.01)

    tell(story)


def test_on_postgresql_one_process_reads_and_the_others_know_how_that_goes(tmp_path: Path) -> None:
    url = databases.postgresql()

    async def story(store: Store, _: int) -> None:
        async with (
            open_store(url, MASTER) as beside,
            scene(tmp_path, store) as first,
            scene(tmp_path, beside) as second,
        ):
            first.stand.put(event())
            first.start()
            await first.until(lambda: first.stand.deleted)
            await first.row_is(lambda row: row.asked is not None)
            second.start()
            await second.until(lambda: second.dispatcher.feedback.is_live("acme", time.monotonic()))
            first.stand.refused["ReceiveMessage"] = MISSING
            first.stand.put(event(2))
            await second.until(second.poller.faults)
            assert not second.stand.calls

    play(url, story)
