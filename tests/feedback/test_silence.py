"""The alarm for events that are missed: when it begins and ends, as a table; and what follows, on both databases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from relay.core import Core, built, take_over
from relay.declared import Via
from relay.feedback.gaps import Cause, Gap, Limits, Sight, judge, words
from relay.feedback.silence import Silence
from relay.following import Feedback
from relay.store import events, feeds
from relay.store.clock import now_ms
from relay.store.directory.snapshot import Snapshot
from relay.store.events import Event
from relay.store.schema import feeds as rows
from relay.store.writer import Rank
from tests.cli.program import relay
from tests.feedback.poller_scene import lines
from tests.support import relay_settings

NOW = 1_800_000_000_000
MINUTE, HOUR = 60_000, 3_600_000
LIMITS = Limits(timedelta(hours=6), 1000)
DAY = timedelta(days=1)
READ: dict[str, Any] = {"via": Via.SQS, "asked_at": NOW - MINUTE}


@pytest.mark.parametrize(
    ("sight", "up_for", "expected"),
    [
        # All is well.
        (Sight(**READ), DAY, Gap()),
        (Sight(**READ, sent_at=NOW - 9 * HOUR, told_at=NOW - 9 * HOUR + 2000), DAY, Gap()),  # a quiet night
        (Sight(**READ, sent_at=NOW - 9 * HOUR, told_at=NOW - 9 * HOUR - 9000), DAY, Gap()),  # by another's clock
        (Sight(**READ, owed_since=NOW - 7 * HOUR, told_at=NOW - HOUR), DAY, Gap()),  # it came late
        (Sight(**READ, owed_since=NOW - 7 * HOUR, told_at=NOW - HOUR, sent_at=NOW), DAY, Gap(NOW)),
        (Sight(Via.NONE, sent_at=NOW - 9 * HOUR, owed_since=NOW - 9 * HOUR, fault="x"), DAY, Gap()),
        # Mail went out, and nothing was heard of it.
        (Sight(**READ, sent_at=NOW - MINUTE), DAY, Gap(NOW - MINUTE)),
        (Sight(**READ, sent_at=NOW, owed_since=NOW - 6 * HOUR + 1), DAY, Gap(NOW - 6 * HOUR + 1)),
        (Sight(**READ, owed_since=NOW - 6 * HOUR), DAY, Gap(NOW - 6 * HOUR, NOW - 6 * HOUR, Cause.SILENCE)),
        (Sight(Via.SNS, owed_since=NOW - 6 * HOUR), DAY, Gap(NOW - 6 * HOUR, NOW - 6 * HOUR, Cause.SILENCE)),
        (
            Sight(**READ, sent_at=NOW, owed_since=NOW - 8 * HOUR, told_at=NOW - 9 * HOUR, silent_since=NOW - 8 * HOUR),
            DAY,
            Gap(NOW - 8 * HOUR, NOW - 8 * HOUR, Cause.SILENCE),
        ),
        (Sight(**READ, owed_since=NOW - 8 * HOUR, told_at=NOW, silent_since=NOW - 8 * HOUR), DAY, Gap()),
        # The server was down: it reads what waited before anybody is alarmed; but an alarm outlives a restart.
        (Sight(**READ, owed_since=NOW - 6 * HOUR), timedelta(minutes=9), Gap(NOW - 6 * HOUR)),
        (
            Sight(**READ, owed_since=NOW - 6 * HOUR, silent_since=NOW - HOUR),
            timedelta(minutes=1),
            Gap(NOW - 6 * HOUR, NOW - HOUR, Cause.SILENCE),
        ),
        # Its queue cannot be read.
        (Sight(Via.SQS, asked_at=NOW - 10 * MINUTE, fault="x"), DAY, Gap()),
        (
            Sight(Via.SQS, asked_at=NOW - 11 * MINUTE, fault="x"),
            DAY,
            Gap(None, NOW - 11 * MINUTE, Cause.UNREAD),
        ),
        (Sight(Via.SQS, asked_at=NOW - 11 * MINUTE), timedelta(minutes=5), Gap()),
        (Sight(Via.SQS), timedelta(minutes=5), Gap()),
        (Sight(Via.SQS), timedelta(minutes=11), Gap(None, NOW - 11 * MINUTE, Cause.UNREAD)),
        (Sight(Via.SNS), DAY, Gap()),  # nobody has to ask
        (Sight(Via.SNS, fault="x"), DAY, Gap(None, NOW - 24 * HOUR, Cause.UNREAD)),
        # It grows.
        (Sight(**READ, waiting=1000), DAY, Gap()),
        (Sight(**READ, waiting=1001), DAY, Gap(None, NOW, Cause.BACKLOG)),
        (Sight(**READ, waiting=501, silent_since=NOW - HOUR), DAY, Gap(None, NOW - HOUR, Cause.BACKLOG)),
        (Sight(**READ, waiting=500, silent_since=NOW - HOUR), DAY, Gap()),
    ],
    ids=map(str, range(25)),
)
def test_when_events_are_missed(sight: Sight, up_for: timedelta, expected: Gap) -> None:
    assert judge(sight, LIMITS, NOW, up_for) == expected


def test_in_words() -> None:
    at = NOW - 6 * HOUR
    silent = "feedback for account acme has been silent since 2027-01-15 02:00 UTC: "
    for sight, cause, said in (
        (Sight(Via.SQS), Cause.SILENCE, f"{silent}mail went out, and of none of it came a Delivery or a Bounce"),
        (Sight(Via.SQS, fault="there is no queue"), Cause.UNREAD, f"{silent}there is no queue"),
        (Sight(Via.SQS), Cause.UNREAD, f"{silent}nobody reads its queue"),
        (
            Sight(Via.SQS, waiting=12345),
            Cause.BACKLOG,
            "feedback for account acme is late: 12,345 events wait in its queue",
        ),
    ):
        assert words("acme", sight, Gap(None, at, cause)) == said


class Watched:
    """The alarm over a real core, whose account `customer` it watches. A server that has been up for an hour."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.store = core.store
        self.silence = self.started()

    def started(self, ago: timedelta = timedelta(hours=1)) -> Silence:
        moments = iter([time.monotonic() - ago.total_seconds()])
        made = Silence(
            self.store, self.core.dispatcher, Feedback(), self.core.metrics, lambda: next(moments, time.monotonic())
        )
        made.replace(self.snapshot("customer"))
        return made

    def snapshot(self, *names: str) -> Snapshot:
        whole = self.core.senders.snapshot
        return replace(whole, accounts={name: whole.accounts[name] for name in names})

    async def row(self, **values: int | None) -> None:
        """Its queue has just been read; further columns."""
        await self.store.write(feeds.note, feeds.Look("customer", asked=timedelta(0)), Rank.SWEEP)
        change = update(rows).where(rows.c.account == "customer").values(account="customer", **values)
        await self.store.change(lambda db: db.execute(change))

    async def column(self, name: str) -> int | None:
        found = await self.store.read(lambda db: db.execute(rows.select()).mappings().all())
        return next(row[name] for row in found if row["account"] == "customer")

    async def told(self) -> None:
        await self.store.change(lambda db: events.note(db, [Event("email.delivered", account="customer")]))

    async def happened(self) -> list[Event]:
        found = await self.store.read(lambda db: events.of_account(db, "customer"))
        return [each.event for each in found if each.event.type.startswith("feedback.")]

    def metric(self) -> str:
        text = self.core.metrics.text().decode()
        start = 'relay_feedback_silent{account="customer"} '
        return next(line.removeprefix(start) for line in text.splitlines() if line.startswith(start))


def play(folder: Path, database: str, story: Callable[[Watched], Awaitable[None]]) -> None:
    settings = relay_settings(folder, "http://127.0.0.1:9", via="sqs", database=database)
    relay(folder, "migrate")

    async def whole() -> None:
        async with built(settings) as core:
            await take_over(core, core.senders.snapshot)
            await story(Watched(core))

    asyncio.run(whole())


def test_silence_is_told_once_and_so_is_its_end(
    tmp_path: Path, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "relay")

    async def story(watched: Watched) -> None:
        silence = watched.silence
        since = now_ms() - 7 * HOUR
        await watched.row(owed_since=since)
        for _ in range(2):
            await silence.look()
        assert await watched.column("silent_since") == since
        assert (watched.metric(), [each.type for each in await watched.happened()]) == ("1.0", ["feedback.silent"])
        [begun] = await watched.happened()
        assert (begun.data["since"], begun.data["reason"]) == (since, "silence")
        assert silence.faults()["events of customer"].endswith(
            "`relay doctor --account customer` finds out where they are lost"
        )
        [line] = lines(caplog, "feedback.silent")
        assert line["reason"].startswith("feedback for account customer has been silent since ")

        again = watched.started(timedelta(minutes=1))  # a restart neither forgets nor repeats it
        await again.look()
        assert list(again.faults()) == ["events of customer"]
        assert len(await watched.happened()) == 1

        await watched.told()
        await again.look()
        assert (again.faults(), watched.metric()) == ({}, "0.0")
        assert [each.type for each in await watched.happened()] == ["feedback.silent", "feedback.resumed"]
        assert (await watched.column("silent_since"), await watched.column("owed_since")) == (None, None)
        assert [each["account"] for each in lines(caplog, "feedback.resumed")] == ["customer"]

    play(tmp_path, database, story)


def test_what_is_owed_outlives_a_restart_and_a_quiet_night_owes_nothing(tmp_path: Path, database: str) -> None:
    async def story(watched: Watched) -> None:
        allowance = watched.core.dispatcher.lanes["customer"].allowance
        await watched.row()
        allowance.begin(1)
        allowance.end(1, time.monotonic() - 60, is_sent=True)
        await watched.silence.look()
        owed = await watched.column("owed_since")
        assert owed is not None
        assert 60_000 <= now_ms() - owed < 90_000
        allowance.sent_at = None
        await watched.started().look()
        assert await watched.column("owed_since") == owed
        await watched.told()
        await watched.started().look()
        assert await watched.column("owed_since") is None
        assert await watched.happened() == []

    play(tmp_path, database, story)


def test_an_account_that_goes_takes_its_alarm_with_it(tmp_path: Path) -> None:
    async def story(watched: Watched) -> None:
        await watched.row(waiting=20_000)
        await watched.silence.look()
        assert "20,000 events wait" in watched.silence.faults()["events of customer"]
        watched.silence.replace(watched.snapshot())
        assert watched.silence.faults() == {}
        assert 'relay_feedback_silent{account="customer"}' not in watched.core.metrics.text().decode()
        await watched.silence.look()
        assert watched.silence.faults() == {}

    play(tmp_path, "relay.db", story)
