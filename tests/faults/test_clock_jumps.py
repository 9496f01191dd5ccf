"""A clock that jumps by an hour, either way, under a running server: nothing freezes, nothing stampedes, once each."""

from __future__ import annotations

import os
import smtplib
import time
from datetime import timedelta
from glob import glob
from pathlib import Path

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.engine import URL

from relay.dispatch.clock_watch import ClockWatch
from relay.errors import Kind, Problem
from relay.message import Ids, Stream
from relay.store import rewinding, schema
from relay.store.clock import milliseconds, now_ms
from relay.store.queue import Queue
from relay.store.store import Store
from relay.store.writer import Rank
from tests import databases, processes
from tests.faults.load import arrivals, at_rest, counted_duplicates
from tests.processes import Relay, wait_until
from tests.store.stories import message, play, put

HOUR = timedelta(hours=1)
QUEUE = ("byoc.example", Stream.TRANSACTIONAL)
RATE = 4  # recipients a second


def faked(folder: Path) -> dict[str, str]:
    """The environment of a process whose wall clock is as far off as the file says; its steady clock is right."""
    found = glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        pytest.skip("needs libfaketime")
    return {
        "LD_PRELOAD": found[0],
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_TIMESTAMP_FILE": str(off(folder, 0)),
    }


def off(folder: Path, seconds: int) -> Path:
    file, fresh = folder / "clock", folder / "clock.new"
    fresh.write_text(f"{seconds:+d}\n")
    os.replace(fresh, file)  # it is read all the time
    return file


def send(relay: Relay, *subjects: str) -> None:
    with smtplib.SMTP("127.0.0.1", relay.smtp, timeout=20) as smtp:
        for each in subjects:
            text = f"From: me@shared.example\r\nTo: you@dest.example\r\nSubject: {each}\r\n\r\nhi\r\n"
            smtp.sendmail("me@shared.example", ["you@dest.example"], text)


@pytest.mark.soak
def test_a_clock_that_jumps_under_load(tmp_path: Path) -> None:
    with processes.sandbox("--rate", str(RATE)) as sandbox, processes.relay(tmp_path, sandbox.url) as relay:
        relay.environment = faked(tmp_path)
        relay.config.write_text(relay.config.read_text().replace("rate: 900", f"rate: {RATE}"))
        relay.start()
        started = time.monotonic()
        names = [f"{hour}-{number}" for hour in ("now", "later", "earlier") for number in range(8)]
        send(relay, *names[:8])
        off(tmp_path, 3600)
        send(relay, *names[8:16])
        off(tmp_path, -3600)
        send(relay, *names[16:])
        wait_until(lambda: counted_duplicates(tmp_path)[0] == 0, "an empty queue", 40)
        took = time.monotonic() - started
        found = arrivals(sandbox)
        print(f"\n{len(names)} messages at {RATE}/s over jumps of +1 h and -2 h: {took:.1f} s")
        assert found == dict.fromkeys(names, 1)
        assert took > len(names) / RATE - 2  # no stampede
        assert "clock.set_back seconds=7200" in relay.log.read_text()
        assert "TooManyRequests" not in relay.log.read_text()
        ids = at_rest(tmp_path, "select id, public_id from messages order by rowid")
        assert [each for each, _ in ids] == sorted(each for each, _ in ids)
        assert len({public_id for _, public_id in ids}) == len(names)
        assert at_rest(tmp_path, "select max(failures) from deliveries") == [(0,)]
        assert relay.stop() == 0


def waiting(db: Connection) -> dict[int, tuple[int, int]]:
    table = schema.deliveries
    return {row.message_id: (row.first_due_at, row.due_at) for row in db.execute(select(table))}


def test_what_waits_for_a_span_follows_and_what_is_set_for_a_moment_does_not(
    url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewinding, "SLICE", 2)

    async def story(store: Store, tenant: int) -> None:
        hour, now = milliseconds(HOUR), now_ms()
        # As the clock had it, an hour ahead: due at once, and again after a failure, which `retried` is.
        fresh = [await put(store, message(store, tenant, accepted_at=now + hour - 5000)) for _ in range(5)]
        retried = await put(store, message(store, tenant, accepted_at=now + hour - 60_000))
        past = await put(store, message(store, tenant, accepted_at=now - 1000))
        scheduled = await put(store, message(store, tenant, accepted_at=now + hour - 7000))

        def spread(db: Connection, items: object) -> list[None]:
            table = schema.deliveries
            db.execute(table.update().where(table.c.message_id == retried.id).values(due_at=now + hour + 30_000))
            later = {"due_at": now + 2 * hour, "first_due_at": now + 2 * hour}
            db.execute(table.update().where(table.c.message_id == scheduled.id).values(later))
            return [None]

        await store.write(spread, None, Rank.SWEEP)
        place: rewinding.Place | None = rewinding.START
        slices = 0
        while place is not None:
            place = await store.write(rewinding.rewind, rewinding.Rewind(QUEUE, hour, place), Rank.SWEEP)
            slices += 1
        found = await store.read(waiting)
        assert slices == 4
        assert all(now <= first == due <= now_ms() for first, due in (found[each.id] for each in fresh))
        assert found[retried.id] == (now + 30_000, now + 30_000)
        assert found[past.id] == (now - 1000, now - 1000)
        assert found[scheduled.id] == (now + 2 * hour, now + 2 * hour)

    play(url, story)


@pytest.mark.parametrize(
    ("jump", "followed"),
    [(-3600.0, True), (-6.0, True), (-4.0, False), (0.0, False), (3600.0, False)],
)
def test_which_jumps_are_followed(tmp_path: Path, jump: float, followed: bool) -> None:
    async def story(store: Store, tenant: int) -> None:
        noted: list[tuple[Queue, int]] = []
        times = {"wall": 1e9, "steady": 50.0}
        watch = ClockWatch(store, lambda *each: noted.append(each), lambda: times["wall"], lambda: times["steady"])
        await put(store, message(store, tenant, accepted_at=now_ms() + 3_600_000))
        times["wall"] += 10 + jump
        times["steady"] += 10
        await watch.look()
        assert bool(noted) is followed
        noted.clear()
        await watch.look()
        assert noted == []  # once each

    play(databases.sqlite(tmp_path), story)


def test_a_clock_that_was_set_back_while_no_server_ran_is_noticed_at_the_start(tmp_path: Path) -> None:
    async def story(store: Store, tenant: int) -> None:
        noted: list[tuple[Queue, int]] = []
        await put(store, message(store, tenant, accepted_at=now_ms() + 3_600_000))
        await ClockWatch(store, lambda *each: noted.append(each)).start()
        [(queue, due)] = noted
        assert queue == QUEUE
        assert due <= now_ms()
        noted.clear()
        await ClockWatch(store, lambda *each: noted.append(each)).start()
        assert all(due <= now_ms() for _, due in noted)

    play(databases.sqlite(tmp_path), story)


def test_each_start_after_a_clock_that_was_a_month_ahead_lets_mail_keep_its_time(tmp_path: Path) -> None:
    """What was accepted then is the newest there is, for a month: mail that waits must not seem a month old by it."""

    async def story(store: Store, tenant: int) -> None:
        month, now = 30 * 24 * milliseconds(HOUR), now_ms()
        later = await put(store, message(store, tenant, accepted_at=now - 60_000))
        ahead = await put(store, message(store, tenant, accepted_at=now + month))  # its id, too, would be the greater
        due = {ahead.id: now + month + 600_000, later.id: now + 600_000}  # each failed once

        def fail(db: Connection, items: object) -> list[None]:
            table = schema.deliveries
            for each, due_at in due.items():
                db.execute(table.update().where(table.c.message_id == each).values(due_at=due_at))
            return [None]

        await store.write(fail, None, Rank.SWEEP)
        for _ in range(3):
            await ClockWatch(store, lambda *each: None).start()
            found = await store.read(waiting)
            assert found[later.id][0] == now - 60_000
            assert all(now <= due_at <= now + 610_000 for _, due_at in found.values())
            assert found[ahead.id][0] >= now

    play(databases.sqlite(tmp_path), story)


def test_a_jump_that_the_database_was_not_there_for_is_followed_when_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(store: Store, tenant: int) -> None:
        noted: list[tuple[Queue, int]] = []
        times = {"wall": 1e9, "steady": 50.0}
        watch = ClockWatch(store, lambda *each: noted.append(each), lambda: times["wall"], lambda: times["steady"])
        await put(store, message(store, tenant, accepted_at=now_ms() + 3_600_000))
        times["wall"] -= 3600
        with monkeypatch.context() as patched:
            patched.setattr(rewinding, "rewind_unknown", broken)
            with pytest.raises(Problem):
                await watch.look()
        await watch.look()
        [(_, due)] = noted
        assert due <= now_ms()

    play(databases.sqlite(tmp_path), story)


def broken(db: Connection, items: object) -> list[None]:
    raise Problem(Kind.STORAGE_DOWN)


def test_ids_go_on_whatever_the_clock_does(monkeypatch: pytest.MonkeyPatch) -> None:
    at = [1_800_000_000_000_000_000]
    monkeypatch.setattr("time.time_ns", lambda: at[0])
    ids, made = Ids(), []
    for jump in (0, 1, -3600, 0, 3600, 7200, -7200):
        at[0] += jump * 10**9
        made += [ids.next() for _ in range(1000)]
    assert made == sorted(set(made))
