"""The journal: found by what it is about, a page at a time, and nobody's but the tenant's own."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.engine import URL

from relay.errors import Kind, Problem
from relay.message import Ids
from relay.store import journal, schema
from relay.store.clock import now_ms
from relay.store.directory.paging import Asked
from relay.store.events import Event, note
from relay.store.journal import Wanted, outward
from relay.store.store import Store
from tests.store.stories import message, play, put
from tests.store.test_usage import another_tenant

HOUR = 3_600_000


async def types(store: Store, wanted: Wanted, limit: int = 100) -> list[str]:
    return [each.type for each in await store.read(partial(journal.newest, wanted=wanted, count=limit))]


def account_of(db: Any, tenant: int) -> None:
    values = {"id": Ids().next(), "tenant_id": tenant, "name": "theirs", "region": "eu-west-1", "credentials": "{}"}
    values |= {"rate": 1.0, "feedback": "{}", "created_at": 0, "updated_at": 0, "is_declared": False}
    db.execute(insert(schema.ses_accounts).values(values))


def test_who_sees_what(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        other = await store.change(another_tenant)
        await store.change(lambda db: account_of(db, other))
        now = now_ms()
        new = await put(store, message(store, tenant, ("ana@d.example",)))
        (person,) = (row_id for delivery in new.deliveries for row_id, _, _ in delivery.recipients)
        data = {"recipients": [person, 5], "status": "5.1.1"}
        noted = [
            Event("account.held", account="operator", at=now - 9 * HOUR),
            Event("account.held", account="theirs", at=now - 8 * HOUR),
            Event("domain.verified", domain="a.example", tenant_id=other, at=now - 7 * HOUR),
            Event("tenant.warned", tenant_id=tenant, at=now - 6 * HOUR),
            Event(
                "email.bounced",
                account="theirs",
                domain="byoc.example",
                tenant_id=tenant,
                message_id=new.id,
                data=data,
                at=now - 5 * HOUR,
            ),
            Event("email.opened", domain="b.example", tenant_id=tenant, message_id=7, at=now - 4 * HOUR),
        ]
        for each in noted:
            await store.change(lambda db, each=each: note(db, [each]))
        ours, theirs = Wanted(tenant_id=tenant), Wanted(tenant_id=other)
        assert await types(store, Wanted()) == [each.type for each in reversed(noted)]
        assert await types(store, ours) == ["email.opened", "email.bounced", "tenant.warned"]
        assert await types(store, theirs) == ["domain.verified", "account.held"]
        scoped = Wanted(tenant_id=tenant, scope=frozenset({"byoc.example"}))
        assert await types(store, scoped) == ["email.bounced"]
        assert await types(store, Wanted(message=new.public_id)) == ["email.bounced"]
        assert await types(store, Wanted(tenant_id=other, message=new.public_id)) == []
        assert await types(store, Wanted(type="email.*")) == ["email.opened", "email.bounced"]
        assert await types(store, Wanted(type="email.opened", domain="b.example")) == ["email.opened"]
        assert await types(store, Wanted(account="theirs")) == ["email.bounced", "account.held"]
        assert await types(store, Wanted(since=now - 7 * HOUR, until=now - 5 * HOUR)) == [
            "tenant.warned",
            "domain.verified",
        ]
        (bounced,) = await store.read(lambda db: journal.newest(db, Wanted(type="email.bounced"), 5))
        assert (bounced.message, bounced.recipients) == (new.public_id, ("ana@d.example", None))
        assert (bounced.tenant, bounced.at, bounced.data) == ("default", now - 5 * HOUR, {"status": "5.1.1"})
        assert "ana@d.example" not in repr(bounced)

    play(url, story)


@pytest.mark.parametrize("most", [2, 3, 100])
def test_pages_hold_everything_once(url: URL, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(journal, "LOOKED_AT", most)

    async def story(store: Store, tenant: int) -> None:
        await store.change(lambda db: account_of(db, tenant))
        # Those of its account are the newer ones, and every second is of the sort.
        for number in range(24):
            sort = f"account.{'held' if number % 2 else 'released'}"
            own = Event(sort, tenant_id=tenant) if number < 12 else Event(sort, account="theirs")
            await store.change(lambda db, own=own: note(db, [own]))
        held = (
            select(schema.events.c.id).where(schema.events.c.type == "account.held").order_by(schema.events.c.id.desc())
        )
        expected = await store.read(lambda db: [journal.event_id(each) for each in db.scalars(held)])
        wanted, asked, found = Wanted(tenant_id=tenant, type="account.held"), Asked(5), list[str]()
        while True:
            page = await store.read(lambda db, asked=asked: journal.page(db, wanted, asked))
            found += [each.id for each in page.items]
            assert page.total in {12, None}
            if page.next_cursor is None:
                break
            asked = Asked(5, page.next_cursor)
        assert found == expected
        assert len(await types(store, Wanted(tenant_id=tenant))) == 24

    play(url, story)


def test_a_cursor_that_is_none_is_refused(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        with pytest.raises(Problem) as caught:
            await store.read(lambda db: journal.page(db, Wanted(), Asked(5, "!")))
        assert caught.value.kind is Kind.BAD_REQUEST

    play(url, story)


def test_moments_are_told_as_text_and_row_ids_not_at_all() -> None:
    data = {"recipients": [1], "expires_at": 1 << 41, "window": {"since": 1 << 41, "sends": 50}, "scheduled_at": None}
    assert outward(data) == {
        "expires_at": "2039-09-07T15:47:35.552Z",
        "window": {"since": "2039-09-07T15:47:35.552Z", "sends": 50},
        "scheduled_at": None,
    }
