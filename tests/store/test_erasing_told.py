"""A person is removed from what webhooks are told, were told and answered, and a receiver still misses no event."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.engine import URL

from relay.store import schema
from relay.store.clock import now_ms
from relay.store.erasing import Person
from relay.store.hooks import PURPOSE
from relay.store.retelling import Told
from relay.store.store import Store
from relay.store.webhooks.log import ANSWER
from tests.store.stories import IDS, message, play, put
from tests.store.test_erasing import ANA, erase, rows

FACTS = {"type": "email.bounced", "data": {}, "message": {"to": [ANA, "bo@d.example"], "subject": f"Hi {ANA}"}}


def hook(db: Any, tenant: int) -> int:
    made = IDS.next()
    row = {"id": made, "tenant_id": tenant, "name": "n", "url": "https://x.example/?to=ana%2Bx@dest.example&a=1"}
    row |= {"dialect": "native", "events": "[]", "retries": 8, "sealed_secret": b"", "created_at": 0, "updated_at": 0}
    db.execute(insert(schema.webhooks).values(row))
    return made


def test_nothing_that_is_told_names_the_person_any_more(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        def sealed(facts: Any, purpose: str = PURPOSE) -> bytes:
            return store.sealer.seal_secret(facts if isinstance(facts, str) else json.dumps(facts), purpose)

        def opened(octets: bytes) -> Any:
            return json.loads(store.sealer.open_secret(octets, PURPOSE))

        others = FACTS | {"message": {"to": ["bo@d.example", f"x{ANA}"]}}
        for echo in (FACTS, others):
            await put(store, replace(message(store, tenant, ("bo@d.example",)), echo=sealed(echo)))
        posts = [IDS.next() for _ in range(3)]

        def fill(db: Any) -> None:
            its = {"webhook_id": hook(db, tenant), "event_id": 1, "type": "email.bounced", "at": 0, "attempts": 1}
            its |= {"due_at": now_ms(), "created_at": 0}
            for post_id, facts in zip(posts, (FACTS, others, others), strict=True):
                db.execute(insert(schema.webhook_posts).values(its | {"id": post_id, "sealed": sealed(facts)}))
            for number, said in enumerate((f"no {ANA} here", "ok"), 1):
                row = {"post_id": posts[2], "number": number, "at": 0, "took": 1, "said": ""}
                row |= {"sealed_answer": sealed(said, ANSWER)}
                db.execute(insert(schema.webhook_attempts).values(row))
            its = {"at": 0, "type": "email.unknown", "tenant_id": tenant, "data": "{}", "untold": False}
            for raw in (f'{{"to": "{ANA.lower()}"}}', '{"to": "bo@d.example"}', f"not JSON: {ANA}"):
                db.execute(insert(schema.events).values(its | {"id": IDS.next(), "sealed": sealed(raw)}))

        await store.change(fill)
        found = await erase(store)
        # An echo, two events, and two posts: one for what it tells, one for what was answered.
        assert found.told == 5
        assert {told.value for told in Told} == {"webhook_posts", "events", "messages"}
        mark = Person.of(store.sealer, ANA).mark
        first, *rest = [opened(row.sealed) for row in await rows(store, schema.webhook_posts)]
        assert first == FACTS | {"message": {"to": [mark, "bo@d.example"], "subject": f"Hi {mark}"}}
        assert rest == [others, others]
        assert [row.sealed_answer is None for row in await rows(store, schema.webhook_attempts)] == [True, False]
        raws = [row.sealed for row in await rows(store, schema.events) if row.type == "email.unknown"]
        assert [each is None for each in raws] == [True, False, True]
        assert [row.echo is None for row in await rows(store, schema.messages)] == [True, False]
        assert (await erase(store)).told == 0

    play(url, story)


def test_of_one_tenant_and_where_it_is_somebodys_decision(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        sealed = store.sealer.seal_secret(json.dumps(FACTS), PURPOSE)
        await put(store, replace(message(store, tenant), echo=sealed))
        await store.change(lambda db: hook(db, tenant))
        assert (await erase(store, tenant_id=tenant + 1)).told == 0
        assert await store.read(lambda db: db.scalar(select(schema.messages.c.echo))) == sealed

        def appeal(db: Any) -> None:
            db.execute(schema.tenants.update().values(appeal=json.dumps({"note": f"ask {ANA}"})))

        await store.change(appeal)
        assert (await erase(store)).directory == ("tenant default: appeal",)

    play(url, story)
