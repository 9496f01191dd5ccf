"""A person is removed from everything there is, beside what goes on, and nobody else with it: on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.engine import URL

from relay.delivery import Settlement, State
from relay.errors import Kind, Problem
from relay.management.erasing import Erased, Erasing
from relay.message import Address, Addressee, Dsn, Mode, Options, Stream
from relay.routing.answers import written
from relay.store import erasing, idempotency, notices, schema, smtp_failures, suppressions
from relay.store.clock import now_ms
from relay.store.directory import audit, tenants
from relay.store.directory.audit import Actor
from relay.store.erasing import Person
from relay.store.queue import Order, take
from relay.store.resting import sealed_parts
from relay.store.settling import settle
from relay.store.smtp_failures import Failure, Reason
from relay.store.store import Store
from relay.store.suppressions import Entry
from relay.store.words import Words
from relay.store.writer import Rank
from tests.store.stories import message, play, put

ANA = "Ana+x@Dest.example"
OPERATOR = Actor("command ops", is_operator=True)
KEPT = timedelta(days=90)


async def rows(store: Store, table: Any) -> Sequence[Any]:
    return await store.read(lambda db: db.execute(select(table).order_by(*table.primary_key.columns)).all())


async def erase(store: Store, address: str = ANA, tenant_id: int | None = None, **options: Any) -> Erased:
    person = Person.of(store.sealer, address, tenant_id)
    return await Erasing(store, person, **options).erase(OPERATOR, timedelta(0))


async def everything(store: Store) -> str:
    """Every row of every table, as text."""

    def whole(db: Any) -> str:
        return "\n".join(repr(row) for table in schema.metadata.sorted_tables for row in db.execute(select(table)))

    return (await store.read(whole)).lower()


async def send_all(store: Store, domain: str) -> None:
    order = Order("customer", ((domain, Stream.TRANSACTIONAL),), 100, 1000)
    for each in (await store.write(take, order, Rank.SETTLE)).started:
        await store.write(settle, Settlement(each.id, 1, State.SENT, "customer", ses_message_id="s"), Rank.SETTLE)


def shared(store: Store, tenant: int, *groups: tuple[str, ...], **more: Any) -> Any:
    return message(store, tenant, *groups, mode=Mode.SHARED, domain="shared.example", keep_for=KEPT, **more)


def test_what_waits_for_the_person_is_cancelled_and_the_others_get_theirs(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        both = await put(store, shared(store, tenant, (ANA, "bo@dest.example")))
        alone = await put(store, shared(store, tenant, ("ana+X@dest.example",), ("cy@dest.example",)))
        byoc = await put(store, message(store, tenant, (ANA,)))
        done = await erase(store)
        assert (done.recipients, done.cancelled, done.contents, done.shared) == (3, 2, 1, 2)
        assert done.kept_until == max(both.keep_until, alone.keep_until)
        assert "ana" not in await everything(store)
        states = {row.message_id: [] for row in await rows(store, schema.deliveries)}
        for row in await rows(store, schema.deliveries):
            states[row.message_id].append(row.state)
        assert states == {both.id: ["queued"], alone.id: ["cancelled", "queued"], byoc.id: ["cancelled"]}
        order = Order("operator", (("shared.example", Stream.TRANSACTIONAL),), 10, 100)
        taken = (await store.write(take, order, Rank.SETTLE)).started
        assert sorted(each.recipients for each in taken) == [("bo@dest.example",), ("cy@dest.example",)]
        found = {row.id: row for row in await rows(store, schema.messages)}
        assert [found[each.id].open_deliveries for each in (both, alone, byoc)] == [1, 1, 0]
        assert found[byoc.id].wrapped_key is None
        assert not (await store.read(lambda db: sealed_parts(db, [byoc.id])))[byoc.id]
        assert await erase(store) == replace(Erased(), shared=0)

    play(url, story)


def test_what_was_sent_to_the_person_alone_is_destroyed(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        said = Options(metadata=(("who", "Ana"),), tag="welcome")
        mine = await put(
            store, replace(shared(store, tenant, (ANA,)), subject="To Ana", dsn=Dsn(envid="e-ana"), options=said)
        )
        others = await put(store, replace(shared(store, tenant, (ANA, "bo@dest.example")), subject="To both"))
        theirs = await put(store, replace(shared(store, tenant, ("bo@dest.example",)), subject="Not hers"))
        about = await put(
            store, replace(shared(store, tenant, ("me@shared.example",)), about=mine.id, protocol="report")
        )
        await send_all(store, "shared.example")
        person = Person.of(store.sealer, ANA)
        planned = await Erasing(store, person).look()
        assert (planned.recipients, planned.contents, planned.shared) == (2, 1, 1)
        done = await erase(store)
        assert (done.recipients, done.contents, done.shared) == (2, 2, 1)  # and the bounce about it
        found = {row.id: row for row in await rows(store, schema.messages)}
        for gone in (mine, about):
            assert (found[gone.id].wrapped_key, found[gone.id].subject, found[gone.id].envid) == (None, None, None)
        assert found[mine.id].metadata is None
        assert found[mine.id].tag == "welcome"
        assert (found[others.id].subject, found[theirs.id].subject) == (None, "Not hers")
        assert found[others.id].wrapped_key
        people = await rows(store, schema.recipients)
        assert [row.address for row in people if row.address_hash == erasing.ERASED] == [None, None]
        assert sorted(row.address for row in people if row.address) == ["bo@dest.example"] * 2 + ["me@shared.example"]

    play(url, story)


def test_a_sender_is_removed_and_what_it_sends_now_forgets_it_then(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        mine = {"mail_from": "Ana@shared.example", "header_from": "ana@SHARED.example".lower(), "subject": "From Ana"}
        first = await put(store, replace(shared(store, tenant, ("bo@d.example",)), **mine))
        await send_all(store, "shared.example")
        second = await put(store, replace(shared(store, tenant, ("cy@d.example",)), **mine, slim_at=1))
        other = await put(store, shared(store, tenant, ("cy@d.example",)))
        done = await erase(store, "ANA@shared.example")
        assert (done.sent, done.waiting, done.contents) == (2, 1, 1)
        found = {row.id: row for row in await rows(store, schema.messages)}
        assert (found[first.id].mail_from, found[first.id].header_from, found[first.id].subject) == (None, None, None)
        assert found[first.id].wrapped_key is None
        assert (found[second.id].mail_from, found[second.id].forgets, found[second.id].slim_at) == (
            mine["mail_from"],
            True,
            None,
        )
        await send_all(store, "shared.example")
        assert "ana@" not in await everything(store)
        found = {row.id: row for row in await rows(store, schema.messages)}
        assert found[second.id].wrapped_key is None
        assert found[other.id].mail_from == "me@shared.example"

    play(url, story)


def test_a_call_under_way_is_waited_for(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await put(store, shared(store, tenant, (ANA,), state=State.SENDING))
        early = await erase(store)
        assert (early.recipients, early.under_way) == (0, 1)
        (row,) = await rows(store, schema.recipients)
        assert row.address == ANA.replace("Dest", "dest")

        async def end() -> None:
            await store.write(
                settle, Settlement(new.deliveries[0].id, 1, State.SENT, "a", ses_message_id="s"), Rank.SETTLE
            )

        person = Person.of(store.sealer, ANA)
        task = asyncio.create_task(Erasing(store, person).erase(OPERATOR, timedelta(seconds=20)))
        await end()
        done = await task
        assert (done.recipients, done.under_way, done.contents) == (1, 0, 1)
        (row,) = await rows(store, schema.recipients)
        assert (row.address, row.state) == (None, "sent")

    play(url, story)


def test_only_of_the_tenant_that_is_named(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        other = (await store.change(lambda db: tenants.create(db, OPERATOR, "other", tenants.TenantFields()))).id
        await put(store, shared(store, tenant, (ANA,)))
        await put(store, shared(store, other, (ANA,)))
        for each in (tenant, other, suppressions.EVERYONE):
            await store.change(lambda db, each=each: suppressions.suppress(db, OPERATOR, each, Entry.parse(ANA)))
        done = await erase(store, tenant_id=other, with_suppressions=True)
        assert (done.recipients, done.suppressions) == (1, 1)
        assert [bool(row.address) for row in await rows(store, schema.recipients)] == [True, False]
        assert {row.tenant_id for row in await rows(store, schema.suppressions)} == {tenant, 0}

    play(url, story)


def failure(at: int, transcript: str) -> Failure:
    return Failure(at, "127.0.0.1:25", "192.0.2.7", None, None, Reason.REFUSED, "refused", transcript)


def test_every_other_place_is_cleared_and_what_is_not_the_persons_stays(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        near = "diana+x@dest.example"  # has the address in it, and is another's
        alias = Addressee(Address.parse("list@dest.example"), orcpt="rfc822;Ana+2Bx@dest.example")
        new = shared(store, tenant)
        [(row_id, _, digest)] = new.deliveries[0].recipients
        aliased = replace(new.deliveries[0], recipients=((row_id, alias, digest),))
        said = Options(metadata=(("who", ANA),), tag=f"for {near}")
        await put(store, replace(new, deliveries=(aliased,), options=said))
        for address in (ANA, near):
            entry = Entry.parse(address, note="called us")
            await store.change(lambda db, entry=entry: suppressions.suppress(db, OPERATOR, tenant, entry))
            await store.change(lambda db, address=address: notices.write(db, tenant, address, "Hi", "text"))
        await store.change(lambda db: notices.write(db, tenant, "ops@a.example", "Hi", f'She is "{ANA}".'))
        sealed = [
            smtp_failures.seal(store.sealer, failure(now_ms(), f"RCPT TO:<{address}>"))
            for address in (ANA, near, "x@y.z")
        ]
        await store.write(smtp_failures.note, sealed, Rank.SWEEP)
        for key, detail in ((b"1", f"{ANA} is suppressed"), (b"2", f"{near} is suppressed")):
            answer = written([Problem(Kind.SUPPRESSED, detail)], store.sealer)
            once = idempotency.Once(tenant, "r", key, b"", answer, now_ms())
            await store.change(lambda db, once=once: idempotency.remember(db, [once]))
        event = {"id": 1, "at": 1, "type": "t", "data": f'{{"said": "Hi\\n{ANA}"}}'}
        await store.change(lambda db: db.execute(schema.events.insert().values(event)))
        await store.change(lambda db: db.execute(update(schema.tenants).values(contact=ANA.lower())))

        done = await erase(store)
        assert replace(done, directory=()) == Erased(described=2, notices=2, sessions=1, answers=1, records=2, listed=1)
        assert done.directory == ("tenant default: contact",)
        assert await erase(store, with_suppressions=True) == replace(Erased(), suppressions=1, directory=done.directory)

        assert [row.address for row in await rows(store, schema.notices)] == [near]
        assert len(await rows(store, schema.smtp_failures)) == 2
        assert [bytes(row.key) for row in await rows(store, schema.idempotency)] == [b"2"]
        assert [row.address for row in await rows(store, schema.suppressions)] == [near]
        (row,) = await rows(store, schema.messages)
        assert (row.metadata, row.tag) == (None, f"for {near}")
        await store.change(lambda db: db.execute(update(schema.tenants).values(contact=None)))
        assert "ana" not in (await everything(store)).replace(near, "")
        mark = Person.of(store.sealer, ANA).mark
        trail = await store.read(lambda db: audit.entries(db, target=f"person {mark}", tenant_id=None, limit=9))
        assert [each.action for each in trail] == ["person.erased", "person.erase"] * 2
        assert trail[2].changes["notices"] == [2, 0]
        assert trail[0].actor == "command ops"

    play(url, story)


def test_a_look_counts_what_erasing_does_and_changes_nothing(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        await put(store, shared(store, tenant, (ANA, "bo@d.example"), (ANA,)))
        await put(store, replace(message(store, tenant, (ANA,)), header_from=ANA.lower()))
        before = await everything(store)
        planned = await Erasing(store, Person.of(store.sealer, ANA)).look()
        assert await everything(store) == before
        assert (planned.recipients, planned.cancelled, planned.sent) == (3, 2, 1)
        done = await erase(store)
        assert (done.recipients, done.cancelled, done.sent, done.shared) == (3, 2, 1, planned.shared)

    play(url, story)


def test_many_are_removed_in_slices(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(store: Store, tenant: int) -> None:
        monkeypatch.setattr(erasing, "SLICE", 3)
        monkeypatch.setattr(erasing, "LOOK", 4)
        for number in range(11):
            await put(store, replace(shared(store, tenant, (ANA, f"u{number}@d.example")), mail_from=ANA.lower()))
        done = await erase(store)
        assert (done.recipients, done.sent, done.waiting) == (11, 11, 11)
        await send_all(store, "shared.example")
        assert "ana" not in await everything(store)

    play(url, story)


@pytest.mark.parametrize(
    ("said", "is_named"),
    [
        ("to <ana+x@dest.example>", True),
        ("ANA+X@DEST.EXAMPLE", True),
        ("see ana+x@dest.example.", True),
        ("mailto:ana+x@dest.example?subject=a", True),
        ("diana+x@dest.example", False),
        ("di.ana+x@dest.example", False),
        ("ana+x@dest.example.org", False),
        ("ana+x@dest.examples", False),
        ("ana+x@dest.example-x.org", False),
        (None, False),
    ],
)  # fmt: skip
def test_an_address_is_not_found_within_another(said: str | None, is_named: bool) -> None:
    words = Words.of(Person(ANA.lower(), b"", "erased-1", None))
    assert words.are_in(said) is is_named
    if said and is_named:
        assert "erased-1" in words.without(said)


def test_the_database_never_says_the_address_in_a_repr() -> None:
    assert "ana" not in repr(Person(ANA.lower(), b"h", "erased-1", None))
    assert "ana" not in repr(Words.of(Person(ANA.lower(), b"h", "erased-1", None)))


def test_the_scan_uses_no_statement_that_a_database_refuses(url: URL) -> None:
    """A quoted local part with what LIKE and JSON take for their own."""

    async def story(store: Store, tenant: int) -> None:
        odd = '"a%_\\\\b\'c"@dest.example'
        await put(store, replace(shared(store, tenant, ("bo@d.example",)), mail_from=odd))
        await store.change(
            lambda db: audit.record(db, OPERATOR, "x", f"suppression {odd}", tenant_id=None, changes={"a": [None, odd]})
        )
        done = await erase(store, odd)
        assert (done.sent, done.records) == (1, 1)
        (first, *_) = await rows(store, schema.audit)
        assert "dest.example" not in first.target + first.changes
        await store.read(lambda db: db.execute(text("select 1")))

    play(url, story)
