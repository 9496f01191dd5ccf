"""Sessions that failed, as both databases keep them: listed, found, sealed, and gone after a week."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from ipaddress import ip_network
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.engine import URL

from relay.declared import KeyFields
from relay.errors import Kind, Problem
from relay.sealing import SealingError
from relay.store import smtp_failures
from relay.store.clock import milliseconds, now_ms
from relay.store.directory import keys
from relay.store.directory.audit import Actor
from relay.store.directory.paging import Asked
from relay.store.schema import smtp_failures as table
from relay.store.smtp_failures import Failure, Kept, Reason
from relay.store.store import Store
from relay.store.writer import Rank
from tests.store.stories import play

TRANSCRIPT = "C: EHLO scanner\nC: MAIL FROM:<ann@one.test>"


def failure(client: str = "192.0.2.7", reason: Reason = Reason.REFUSED, **fields: Any) -> Failure:
    usual: dict[str, Any] = {
        "at": now_ms(),
        "listener": "587",
        "tenant_id": None,
        "key_id": None,
        "sentence": "From is foreign",
    }
    return Failure(client=client, reason=reason, transcript=TRANSCRIPT, **(usual | fields))


async def note(store: Store, *failures: Failure) -> list[int]:
    """Their ids."""
    sealed = [smtp_failures.seal(store.sealer, each) for each in failures]
    await store.write(smtp_failures.note, sealed, Rank.SWEEP)
    return [each.id for each in sealed]


async def listed(store: Store, limit: int = 100, **filters: Any) -> list[Kept]:
    return list((await store.read(lambda db: smtp_failures.listed(db, Asked(limit), **filters))).items)


def test_one_is_written_down_listed_and_found(url: URL) -> None:
    async def story(store: Store, tenant_id: int) -> None:
        key, _ = await store.change(lambda db: keys.create(db, store.sealer, Actor("test"), KeyFields(name="a")))
        at = now_ms()
        [row_id] = await note(store, failure(at=at, tenant_id=tenant_id, key_id=key.id))
        expected = Kept(row_id, at, "587", "192.0.2.7", "default", key.prefix, Reason.REFUSED, "From is foreign")
        assert await listed(store) == [expected]
        assert await store.read(lambda db: smtp_failures.find(db, store.sealer, row_id)) == (expected, TRANSCRIPT)

    play(url, story)


def test_none_is_found_where_there_is_none(url: URL) -> None:
    async def story(store: Store, _: int) -> None:
        for absent in (7, None):
            with pytest.raises(Problem) as problem:
                await store.read(partial(smtp_failures.find, sealer=store.sealer, row_id=absent))
            assert problem.value.kind is Kind.NOT_FOUND
        assert await listed(store) == []

    play(url, story)


def test_the_transcript_is_sealed_each_to_its_row(url: URL) -> None:
    async def story(store: Store, _: int) -> None:
        first, second = await note(store, failure(), failure())
        sealed = await store.read(lambda db: db.scalar(select(table.c.transcript).where(table.c.id == first)))
        assert isinstance(sealed, bytes)
        assert b"ann" not in sealed
        move = update(table).where(table.c.id == second).values(transcript=sealed)
        await store.change(lambda db: db.execute(move).rowcount)
        with pytest.raises(SealingError):
            await store.read(lambda db: smtp_failures.find(db, store.sealer, second))

    play(url, story)


def test_filters(url: URL) -> None:
    mine, mapped, near, six, odd = "192.0.2.7", "::ffff:192.0.2.7", "192.0.2.200", "2001:db8::7", "unknown"
    now = now_ms()

    async def story(store: Store, _: int) -> None:
        for age, client in enumerate((mine, mapped, near, six, odd)):
            reason = Reason.TLS if client == near else Reason.AUTH
            await note(store, failure(client, reason, at=now - age * 1000))

        async def clients(**filters: Any) -> list[str]:
            return [each.client for each in await listed(store, **filters)]

        assert await clients() == [odd, six, near, mapped, mine]
        assert await clients(within=ip_network("192.0.2.7")) == [mapped, mine]
        assert await clients(within=ip_network("192.0.2.0/24")) == [near, mapped, mine]
        assert await clients(within=ip_network("2001:db8::/32")) == [six]
        assert await clients(reason=Reason.TLS) == [near]
        assert await clients(reason=Reason.CUT) == []
        assert await clients(since=now - 1000) == [mapped, mine]
        assert await clients(within=ip_network("192.0.2.0/24"), reason=Reason.AUTH, since=now) == [mine]

    play(url, story)


@pytest.mark.parametrize("within", [None, ip_network("192.0.2.0/24")])
@pytest.mark.parametrize("limit", [1, 3, 7, 8])
def test_the_pages_together_are_the_list(url: URL, limit: int, within: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp_failures, "SLICE", 2)

    async def story(store: Store, _: int) -> None:
        ids = await note(store, *(failure("192.0.2.7" if n % 3 else "10.0.0.1") for n in range(21)))
        expected = [row_id for n, row_id in enumerate(ids) if n % 3 or within is None][::-1]
        found: list[int] = []
        asked = Asked(limit)
        while True:
            page = await store.read(partial(smtp_failures.listed, asked=asked, within=within))
            found += [each.id for each in page.items]
            assert len(page.items) <= limit
            if page.next_cursor is None:
                break
            assert len(page.items) == limit
            asked = Asked(limit, page.next_cursor)
        assert found == expected

    play(url, story)


def test_a_week_later_it_is_gone(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp_failures, "SLICE", 2)
    over = now_ms() - milliseconds(timedelta(days=7)) - 1

    async def story(store: Store, _: int) -> None:
        await note(store, *(failure(at=over) for _ in range(5)))
        ids = await note(store, failure(at=over + 60_000), failure())
        assert [await store.write(smtp_failures.sweep, None, Rank.SWEEP) for _ in range(4)] == [2, 2, 1, 0]
        assert [each.id for each in await listed(store)] == ids[::-1]

    play(url, story)


def test_the_newest_stay_where_there_are_too_many(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp_failures, "MOST_KEPT", 3)

    async def story(store: Store, _: int) -> None:
        ids = await note(store, *(failure() for _ in range(5)))
        # Two servers may sweep at the same time.
        both = await asyncio.gather(*(store.write(smtp_failures.sweep, None, Rank.SWEEP) for _ in range(2)))
        assert sum(both) == 2
        assert [each.id for each in await listed(store)] == ids[:1:-1]

    play(url, story)


def test_a_failed_session_makes_nobody_read_the_directory_again(url: URL) -> None:
    async def story(store: Store, _: int) -> None:
        generation = text("SELECT generation FROM installation")
        before = await store.read(lambda db: db.scalar(generation))
        await note(store, failure())
        assert await store.read(lambda db: db.scalar(generation)) == before

    play(url, story)


@pytest.mark.parametrize("wrong", ["", "here", "192.0.2.", "192.0.2.0/33", "one.test"])
def test_what_is_no_address(wrong: str) -> None:
    with pytest.raises(ValueError, match="write it as an IP address or a network"):
        smtp_failures.clients(wrong)


def test_what_is_an_address() -> None:
    assert str(smtp_failures.clients(" 192.0.2.7")) == "192.0.2.7/32"
    assert str(smtp_failures.clients("192.0.2.7/24")) == "192.0.2.0/24"
    assert str(smtp_failures.clients("2001:db8::7")) == "2001:db8::7/128"
