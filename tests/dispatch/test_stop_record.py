"""What is stopped, written down: once at its beginning and once at its end, and seen by other processes."""

from __future__ import annotations

import time

import pytest
from sqlalchemy.engine import URL

from relay.dispatch.record import Record
from relay.dispatch.stops import Stops
from relay.errors import Kind, Problem
from relay.metrics import Metrics
from relay.routing.standing import ACCOUNT
from relay.store import events, stops
from relay.store.store import Store
from relay.store.writer import Rank
from tests.store.stories import play

DOMAINS = {"a.example", "b.example"}


def lane(store: Store) -> tuple[Stops, Record, Metrics]:
    stopped, metrics = Stops(), Metrics()
    return stopped, Record("acme", stopped, lambda: DOMAINS, store, metrics), metrics


async def types(store: Store) -> list[str]:
    return [each.event.type for each in await store.read(lambda db: events.of_account(db, "acme"))]


def test_one_event_each_however_often_it_is_probed(url: URL) -> None:
    async def story(store: Store, _: int) -> None:
        stopped, record, metrics = lane(store)
        await record.look(is_owned=True)
        assert stopped.hold(ACCOUNT, Kind.SES_PAUSED, "paused", time.monotonic(), remedy="ask")
        stopped.hold("a.example", Kind.SES_UNVERIFIED, "unverified", time.monotonic())
        for words in ("paused", "paused", "still paused"):
            stopped.begin_probe(ACCOUNT)
            stopped.hold(ACCOUNT, Kind.SES_PAUSED, words, time.monotonic(), remedy="ask")
            await record.write()
        found = await store.read(stops.every)
        assert [(each.domain, each.kind, each.said) for each in found] == [
            ("", "ses_paused", "still paused"),
            ("a.example", "ses_unverified", "unverified"),
        ]
        assert await types(store) == ["account.held", "domain.held"]
        assert b'relay_domain_held{account="acme",domain="a.example",reason="ses_unverified"} 1.0' in metrics.text()
        stopped.begin_probe(ACCOUNT)
        assert stopped.succeeded("a.example") == [ACCOUNT]
        await record.look(is_owned=True)
        assert await types(store) == ["account.held", "domain.held", "account.released"]
        [*_, released] = await store.read(lambda db: events.of_account(db, "acme"))
        assert released.event.data["said"] == "still paused"
        stopped.forget({})  # the domain sends another way
        await record.look(is_owned=True)
        assert await store.read(stops.every) == []
        assert b"relay_domain_held{" not in metrics.text()

    play(url, story)


def test_another_process_sees_what_the_owner_wrote_and_takes_over_from_there(url: URL) -> None:
    async def story(store: Store, _: int) -> None:
        ours, record, _ = lane(store)
        await record.look(is_owned=True)
        ours.hold("a.example", Kind.SES_DENIED, "denied", time.monotonic(), remedy="allow it")
        await record.write()
        theirs, other, _ = lane(store)
        await other.look(is_owned=False)
        assert theirs.of("a.example") == (Kind.SES_DENIED, "denied: allow it")
        ours.look_again(time.monotonic())
        ours.begin_probe("a.example")
        ours.succeeded("a.example")
        await record.write()
        await other.look(is_owned=False)
        assert theirs.is_open("a.example")
        ours.hold("b.example", Kind.SES_DENIED, "denied", time.monotonic())
        await record.write()
        await other.look(is_owned=True)  # the owner has gone
        assert theirs.due(time.monotonic()) == ["b.example"]  # looked at at once
        assert await types(store) == ["domain.held", "domain.released", "domain.held"]

    play(url, story)


def test_rows_of_domains_and_accounts_that_have_gone_go_too(url: URL) -> None:
    async def story(store: Store, _: int) -> None:
        gone = [stops.Stopped(name, "old.example", "ses_denied", "denied", "", 1) for name in ("acme", "other")]
        for each in gone:
            await store.write(stops.change, stops.Change(each.account, (each,), (), ()), Rank.SETTLE)
        await store.write(stops.prune, ["acme"], Rank.SWEEP)
        stopped, record, _ = lane(store)
        await record.look(is_owned=True)
        assert stopped.by_ses() == {}
        assert await store.read(stops.every) == []

    play(url, story)


def test_what_cannot_be_written_now_is_written_later(url: URL) -> None:
    async def story(store: Store, _: int) -> None:
        stopped, record, _ = lane(store)
        await record.look(is_owned=True)
        stopped.hold(ACCOUNT, Kind.SES_PAUSED, "paused", time.monotonic())
        await store.change(lambda db: db.exec_driver_sql("ALTER TABLE stops RENAME TO away"))
        await record.write()  # the attempt that stopped it has its own settlement to write
        with pytest.raises(Problem):
            await record.look(is_owned=True)
        await store.change(lambda db: db.exec_driver_sql("ALTER TABLE away RENAME TO stops"))
        await record.look(is_owned=True)
        assert await types(store) == ["account.held"]

    play(url, story)
