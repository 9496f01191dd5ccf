"""The background pass: who is looked at when, which claims end, and that no trouble ends the task."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.engine import URL

from relay.declared import DomainStatus
from relay.management import verification
from relay.management.verification import Verification
from relay.sealing import MasterKey
from relay.store import database
from relay.store.directory import accounts, domains
from relay.store.schema import domains as domain_rows
from relay.store.store import open_store
from tests import databases
from tests.management.scene import ACTOR, OWNED, Scene, check, play, statuses

PENDING, VERIFIED, FAILED = DomainStatus
NAME = "mail.acme.example"
AT_ONCE = timedelta(0)


@pytest.fixture
def url(tmp_path: Path) -> URL:
    return databases.sqlite(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    if request.param == "sqlite":
        return databases.sqlite(tmp_path)
    return databases.postgresql()


def test_from_registered_to_verified_to_failed(either: URL, caplog: pytest.LogCaptureFixture) -> None:
    async def story(scene: Scene) -> None:
        background = Verification(scene.store, scene.desk, AT_ONCE)
        made = await scene.add(NAME)
        assert await background.pass_once() == 0  # it has just been looked at
        await scene.age(NAME, timedelta(seconds=29))
        assert await background.pass_once() == 0
        await scene.age(NAME, timedelta(seconds=1))
        assert await background.pass_once() == 1
        assert (await scene.find(NAME)).misses == 2

        scene.publish(made.records)
        await scene.age(NAME, timedelta(seconds=59))
        assert await background.pass_once() == 0
        await scene.age(NAME, timedelta(seconds=1))
        assert await background.pass_once() == 1
        assert (await scene.find(NAME)).status is VERIFIED

        await scene.age(NAME, timedelta(hours=24))
        scene.withdraw(made.records, "dkim")
        assert await background.pass_once() == 1
        assert (await scene.find(NAME)).status is VERIFIED
        await scene.age(NAME, timedelta(minutes=1))
        assert await background.pass_once() == 1
        assert (await scene.find(NAME)).status is FAILED

    with caplog.at_level("INFO", "relay"):
        play(either, story)
    told = [each for each in caplog.records if each.getMessage().startswith("domain.")]
    assert [each.getMessage() for each in told] == ["domain.verified", "domain.failed"]
    assert told[1].fields == {"domain": NAME, "account": "operator", "missing": "dkim,ownership"}  # type: ignore[attr-defined]


def test_a_claim_that_nobody_proves_ends_after_seven_days(either: URL, caplog: pytest.LogCaptureFixture) -> None:
    async def story(scene: Scene) -> None:
        background = Verification(scene.store, scene.desk, AT_ONCE)
        await scene.tenant("mallory")
        await scene.add(OWNED, "mallory")
        await scene.age(OWNED, timedelta(days=7) - timedelta(seconds=30))
        await background.pass_once()
        assert (await scene.find(OWNED)).status is PENDING
        await scene.age(OWNED, timedelta(seconds=31))
        await background.pass_once()
        ours = await scene.add(OWNED, "acme")
        scene.publish(ours.records, "claim")
        assert (await scene.verify(OWNED)).status is VERIFIED
        await scene.age(OWNED, timedelta(days=8))
        await background.pass_once()
        assert (await scene.find(OWNED)).tenant == "acme"

    with caplog.at_level("INFO", "relay"):
        play(either, story)
    assert [each.getMessage() for each in caplog.records].count("domain.claim_expired") == 1


def test_what_ses_refused_at_first_is_made_good(url: URL) -> None:
    async def story(scene: Scene) -> None:
        background = Verification(scene.store, scene.desk, AT_ONCE)
        scene.fail("CreateEmailIdentity", "ServiceUnavailable", times=2)
        made = await scene.add(NAME)
        assert check(made, "ownership")["status"] == "unknown"
        for _ in range(2):
            await scene.age(NAME, timedelta(minutes=5))
            assert await background.pass_once() == 1
        found = await scene.find(NAME)
        assert statuses(found)["ownership"] == "missing"
        assert len(found.records) == 8

    play(url, story)


def test_what_the_file_no_longer_has_is_left_alone(url: URL) -> None:
    async def story(scene: Scene) -> None:
        declared = await scene.declare(NAME)
        await scene.store.change(lambda db: db.execute(update(domain_rows).values(disabled_at=1)))
        assert await Verification(scene.store, scene.desk, AT_ONCE).pass_once() == 0
        assert (await scene.find(NAME)).checked_at == declared.checked_at

    play(url, story)


def test_no_fault_ends_the_task(url: URL, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "EVERY", 0.01)

    async def set_streams(scene: Scene, text: str) -> None:
        await scene.store.change(lambda db: db.execute(update(domain_rows).values(streams=text)))

    async def story(scene: Scene) -> None:
        made = await scene.declare(OWNED)
        await set_streams(scene, "no JSON")
        task = asyncio.create_task(Verification(scene.store, scene.desk, AT_ONCE).run())
        while "verification.failed" not in [each.getMessage() for each in caplog.records]:
            await asyncio.sleep(0.01)
        await set_streams(scene, "[]")
        while (await scene.find(OWNED)).checked_at is made.checked_at:
            await asyncio.sleep(0.01)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    play(url, story)


def test_an_account_with_thousands_does_not_keep_the_others_waiting(url: URL) -> None:
    async def story(scene: Scene) -> None:
        await scene.account("customer", "acme")
        many = await scene.declare("d0.example")
        await scene.add(NAME, mode="byoc")

        def multiply(db: Connection) -> None:
            row = db.execute(select(domain_rows).where(domain_rows.c.id == many.id)).one()._mapping
            copies = [{**row, "id": number, "name": f"d{number}.example"} for number in range(1, 500)]
            db.execute(insert(domain_rows), copies)

        await scene.store.change(multiply)
        await scene.age(NAME, timedelta(seconds=30))
        due = await scene.store.read(lambda db: domains.due(db, 100, 10))
        assert len(due) == 11
        assert NAME in [each.name for each in due[:2]]

    play(url, story)


def test_ses_is_asked_slowly(url: URL) -> None:
    async def story(scene: Scene) -> None:
        for number in range(4):
            await scene.declare(f"d{number}.example", include_subdomains=True)
        began_at = time.monotonic()
        await Verification(scene.store, scene.desk, timedelta(seconds=0.2)).pass_once()
        assert time.monotonic() - began_at > 0.6

    play(url, story)


def test_of_several_processes_one_does_it() -> None:
    async def story(scene: Scene) -> None:
        await scene.declare(OWNED)
        first = Verification(scene.store, scene.desk, AT_ONCE)
        assert await first.pass_once() == 1
        await scene.age(OWNED, timedelta(days=2))
        async with open_store(shared, MasterKey(bytes(32))) as other:
            assert await Verification(other, scene.desk, AT_ONCE).pass_once() == 0
            assert await first.pass_once() == 1

    shared = databases.postgresql()
    assert not database.is_sqlite(shared)
    play(shared, story)


def test_an_account_that_has_gone_is_no_end(url: URL, caplog: pytest.LogCaptureFixture) -> None:
    """Between reading what is due and looking at it, anything may go."""

    async def story(scene: Scene) -> None:
        made = await scene.add(NAME)
        await scene.store.change(lambda db: domains.remove(db, ACTOR, NAME))
        await scene.store.change(lambda db: accounts.remove(db, ACTOR, "operator"))
        await Verification(scene.store, scene.desk, AT_ONCE)._look_at("operator", [made])

    with caplog.at_level("INFO", "relay"):
        play(url, story)
    assert "domain.check_failed" in [each.getMessage() for each in caplog.records]
