"""What may go wrong around events: receivers that name others, people who are erased, servers that race, old outboxes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.engine import URL

from relay.declared import WebhookFields
from relay.delivery import Settlement, State
from relay.errors import Kind
from relay.feedback.reading import BOUNCED, COMPLAINED
from relay.message import Mode
from relay.store import database
from relay.store.announcing import MOST_NAMED, echo_of
from relay.store.arriving import NewMessage
from relay.store.backup import hold_unsent
from relay.store.cases import Outcome
from relay.store.directory import installation
from relay.store.directory.installation import shown
from relay.store.erasing import Person, forget_received
from relay.store.events import Event, note, tell_left
from relay.store.queue import Order, take
from relay.store.schema import events, messages, recipients, standings, suppressions, tallies, webhook_posts
from relay.store.settling import settle
from relay.store.store import Store, open_store
from relay.store.suppressing import Listed, suppress_heard
from relay.store.suppressions import Entry, suppress
from relay.store.webhooks import outbox, rows
from relay.store.webhooks.outbox import Attempted, Fate
from relay.store.webhooks.replay import replay
from relay.store.writer import Rank
from tests import databases
from tests.feedback import samples
from tests.feedback.test_hearing import ANA, BO, CY, OURS, RELAY, directory, of_tenant, sent, tell
from tests.feedback.test_hearing import lately as lately  # samples of the last hour
from tests.feedback.webhook_scene import ACTOR, Scene, staged
from tests.store.stories import MASTER, message, play, put

VICTIM = "victim@bank.example"


async def hooked(store: Store, **fields: Any) -> int:
    """A webhook of the default tenant, which the server knows. Returns its id."""
    given = WebhookFields.model_validate({"url": "https://hook.example/x"} | fields)
    made, _ = await store.change(lambda db: rows.create(db, store.sealer, ACTOR, given))
    store.hooks.replace(each.hook for each in await store.read(rows.every) if each.is_enabled)
    return made.id


async def posted(store: Store) -> list[dict[str, Any]]:
    """What is in the outbox, opened, the oldest first."""
    found = await store.read(lambda db: db.scalars(select(webhook_posts.c.sealed).order_by(webhook_posts.c.id)).all())
    return [store.hooks.open(each) for each in found]


# -- whose address it is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [Mode.SHARED, Mode.BYOC])
def test_a_receiver_that_names_somebody_else_puts_nobody_else_on_the_list(url: URL, mode: Mode) -> None:
    """SES takes the address of a bounce out of the bounce itself (Final-Recipient), which any receiver can write."""

    async def story(store: Store, default: int) -> None:
        await directory(store)
        await hooked(store)
        new = await sent(store, default, ANA, mode=mode)
        about = samples.mail(new.deliveries[0].id, [f"Ana <{ANA}>"])
        assert await tell(store, samples.bounce(about, VICTIM)) == (Outcome.NEW,)
        people, counted, stands, listed, _ = await store.read(lambda db: of_tenant(db, default, new))
        assert (people[0][0], counted["bounced"], stands) == ("bounced", 1, (1, 0))
        assert [each[0] for each in listed] == [ANA]
        assert [each["recipients"] for each in await posted(store) if each["type"] == "email.bounced"] == [[ANA]]

    play(url, story)


def test_where_nobody_knows_whom_it_went_to_nobody_is_listed(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        await directory(store)
        new = await sent(store, default, ANA)
        about = samples.mail(new.deliveries[0].id, [ANA])
        del about["destination"]
        await tell(store, samples.bounce(about, VICTIM))
        people, *_, listed, _ = await store.read(lambda db: of_tenant(db, default, new))
        assert (people[0][0], listed) == ("bounced", [])

    play(url, story)


def test_who_was_erased_is_named_by_no_event_that_comes_later(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        await directory(store)
        await hooked(store)
        alone, among = await sent(store, default, ANA), await sent(store, default, ANA, BO)
        person = Person.of(store.sealer, ANA)
        while (await store.change(lambda db: forget_received(db, person))).recipients:
            pass
        before = len(await posted(store))
        await tell(store, samples.complaint(samples.mail(alone.deliveries[0].id, [ANA]), ANA))
        to_both = samples.mail(among.deliveries[0].id, [ANA, BO], ses_message_id="0102-b")
        await tell(store, samples.complaint(to_both, ANA, BO, feedback_id="c-9"))
        told = (await posted(store))[before:]
        assert [each["type"] for each in told] == ["email.complained"] * 2
        assert [each["recipients"] for each in told] == [[], [BO]]
        assert ANA not in json.dumps(told)
        assert await store.read(lambda db: db.scalar(select(func.count()).select_from(suppressions))) == 0

    play(url, story)


def test_a_customer_s_account_does_not_tell_of_mail_that_was_shared(url: URL) -> None:
    """Its owner could make shared mail seem sent that never was, and stand better by it."""

    async def story(store: Store, default: int) -> None:
        acme = await directory(store)
        new = await sent(store, acme, BO, mode=Mode.SHARED, is_known=False)
        own = await sent(store, acme, BO, mode=Mode.BYOC, is_known=False)
        for each, outcome in ((new, Outcome.FOREIGN), (own, Outcome.NEW)):
            about = samples.mail(each.deliveries[0].id, [BO], ses_message_id=f"0102-{each.id}")
            assert await tell(store, samples.send(about), account="customer") == (outcome,)

    play(url, story)


# -- what counts, and who is told ------------------------------------------------------------------------------------


def test_a_bounce_beside_the_simulator_s_counts_whatever_came_before(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        await directory(store)
        pretended = "bounce@simulator.amazonses.com"
        new = await sent(store, default, pretended, BO)
        about = samples.mail(new.deliveries[0].id, [pretended, BO])
        await tell(store, samples.bounce(about, pretended, feedback_id="b-1"))
        await tell(store, samples.bounce(about, pretended, BO, feedback_id="b-2"))
        _, counted, stands, *_ = await store.read(lambda db: of_tenant(db, default, new))
        assert (counted["bounced"], stands) == (2, (1, 0))

    play(url, story)


def test_of_a_report_to_a_sender_no_webhook_is_told(url: URL) -> None:
    """It is mail of the relay's own, which whoever is told has never heard of."""

    async def story(store: Store, default: int) -> None:
        await directory(store)
        await hooked(store)
        new = await sent(store, default, ANA)
        await store.change(lambda db: db.execute(update(messages).where(messages.c.id == new.id).values(about=7)))
        before = len(await posted(store))
        about = samples.mail(new.deliveries[0].id, [ANA])
        assert await tell(store, samples.delivery(about, ANA), samples.bounce(about, ANA)) == (Outcome.NEW,) * 2
        assert len(await posted(store)) == before
        kept = await store.read(lambda db: db.scalars(select(events.c.type).where(events.c.message_id == new.id)).all())
        assert {"email.delivered", "email.bounced"} <= set(kept)

    play(url, story)


def test_a_suppressed_recipient_is_told_of_once(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        await hooked(store, events=("email.suppressed",))
        new = await put(store, message(store, default, (ANA, BO, CY)))
        queue = ("byoc.example", new.stream)
        for address in (ANA, CY):
            entry = Entry.parse(address)
            await store.change(lambda db, entry=entry: suppress(db, RELAY, default, entry))  # type: ignore[misc]
            [started] = (await store.write(take, Order(OURS, (queue,), 9, 99), Rank.SETTLE)).started
            back = Settlement(started.id, started.attempts, State.QUEUED, OURS, due_at=0, kind=Kind.SES_THROTTLED)
            await store.write(settle, back, Rank.SETTLE)
        assert [each["recipients"] for each in await posted(store)] == [[ANA], [CY]]

    play(url, story)


# -- before a server is ready, and after it was stopped ---------------------------------------------------------------


def test_an_opened_store_knows_its_webhooks(url: URL) -> None:
    """What is accepted or declared before the directory is in memory, or by a command, is told like the rest."""

    async def first(store: Store, default: int) -> None:
        await hooked(store, events=("email.queued", "tenant.warned"))
        off = await hooked(store, name="off")
        await store.change(
            lambda db: db.execute(
                update(rows.webhooks).where(rows.webhooks.c.id == off).values(disabled_at=1, disabled_reason="x")
            )
        )

    async def second(store: Store, default: int) -> None:
        await put(store, message(store, default))
        await store.change(lambda db: note(db, [Event("tenant.warned", tenant_id=default)]))
        assert [each["type"] for each in await posted(store)] == ["email.queued", "tenant.warned"]

    play(url, first)
    play(url, second)


def test_what_waited_in_a_backup_s_outbox_goes_only_when_it_is_asked_for(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        hook = await hooked(store)
        await put(store, message(store, default))
        await store.change(lambda db: hold_unsent(db, ACTOR, "test"))
        assert await store.read(outbox.first_due) == {}
        assert await store.change(lambda db: replay(db, ACTOR, shown(hook))) == 1

    play(url, story)


# -- the outbox ------------------------------------------------------------------------------------------------------


def test_what_cannot_be_said_any_more_is_not_tried_for_ever(url: URL) -> None:
    async def story(scene: Scene) -> None:
        hook = await scene.hook()
        scene.receiver.status = 500
        await scene.happen()
        await scene.post_all()
        now = scene.poster._now() + 10**9
        [seen] = await scene.store.read(lambda db: outbox.take(db, hook.id, now, 9))
        assert seen.attempts == 1
        await scene.store.write(outbox.settle, Attempted(seen, Fate.UNTOLD, now), Rank.SWEEP)
        assert await scene.store.read(lambda db: outbox.take(db, hook.id, now, 9)) == []
        [post] = await scene.posts(hook)
        assert (post.state.value, len(post.attempts)) == ("dead", 1)

    staged(url, story)


def test_a_disabled_webhook_keeps_what_it_was_to_be_told_of_another(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        a = await hooked(store, events=("webhook.*",), name="a")
        b = await hooked(store, events=("email.*",), name="b")
        assert await store.change(lambda db: outbox.disable(db, b, "it is gone"))
        await asyncio.sleep(0.002)  # the clock is of milliseconds
        assert await store.change(lambda db: outbox.disable(db, a, "it is gone, too"))
        assert [each["data"]["name"] for each in await posted(store)] == ["b"]

    play(url, story)


# -- two servers on one database -------------------------------------------------------------------------------------


def together(story: Callable[[Store, Store], Awaitable[None]]) -> None:
    """Two servers on a PostgreSQL database."""

    async def whole() -> None:
        url = databases.postgresql()
        await database.migrate_postgresql(url)
        async with open_store(url, MASTER) as one, open_store(url, MASTER) as two:
            await story(one, two)

    asyncio.run(whole())


def test_two_servers_tell_once_of_what_a_command_wrote() -> None:
    async def story(one: Store, two: Store) -> None:
        await hooked(one, events=("tenant.*",))
        two.hooks.replace(each.hook for each in await two.read(rows.every))
        default = await one.read(lambda db: db.scalar(select(rows.webhooks.c.tenant_id)))
        ids = range(1, 301)
        for start in ids[::10]:
            rows_of = [
                {"id": start + n, "at": 1, "type": "tenant.warned", "tenant_id": default, "data": "{}", "untold": True}
                for n in range(10)
            ]
            await one.change(lambda db, rows_of=rows_of: db.execute(insert(events), rows_of))  # type: ignore[misc]
            await asyncio.gather(one.write(tell_left, None, Rank.SWEEP), two.write(tell_left, None, Rank.SWEEP))
        told = await one.read(lambda db: db.scalars(select(webhook_posts.c.event_id)).all())
        assert sorted(told) == list(ids)

    together(story)


def test_two_servers_list_one_address_at_once_and_the_worst_stays() -> None:
    async def story(one: Store, two: Store) -> None:
        tenant = 5
        for number in range(40):
            address = f"a{number}@dest.example"

            def listed(db: Connection, items: Sequence[Any]) -> list[int]:
                return [suppress_heard(db, [item], 9_000) for item in items]

            bounce, complaint = Listed(tenant, address, BOUNCED, 7), Listed(tenant, address, COMPLAINED, 8)
            await asyncio.gather(one.write(listed, bounce, Rank.SETTLE), two.write(listed, complaint, Rank.SETTLE))
        found = await one.read(lambda db: db.execute(select(suppressions.c.reason)).scalars().all())
        assert found == ["complaint"] * 40

    together(story)


def test_two_servers_settle_and_hear_of_the_same_mail_at_once() -> None:
    """One owns the lane, the other reads the events: nothing is lost, nothing counted twice, and no one waits long."""

    async def story(one: Store, two: Store) -> None:
        acme = await directory(one)
        default = await one.read(installation.default_tenant)
        every: list[NewMessage] = []
        for tenant in (default, acme):
            for _ in range(15):
                every.append(await sent(one, tenant, ANA, BO, is_known=False))

        async def settled(store: Store, new: NewMessage) -> None:
            fact = Settlement(new.deliveries[0].id, 1, State.SENT, OURS, ses_message_id=f"0102-{new.id}")
            await store.write(settle, fact, Rank.SETTLE)

        async def heard(store: Store, some: Sequence[NewMessage]) -> None:
            told = []
            for each in some:
                about = samples.mail(each.deliveries[0].id, [ANA, BO], ses_message_id=f"0102-{each.id}")
                told += [samples.send(about), samples.delivery(about, ANA), samples.bounce(about, BO)]
            await tell(store, *told)

        async with asyncio.timeout(30):
            await asyncio.gather(
                *(settled(one, each) for each in every),
                *(heard(two, every[at : at + 3]) for at in range(0, len(every), 3)),
                *(heard(one, every[at : at + 3]) for at in range(len(every) - 3, -1, -3)),
            )
        sums = await one.read(
            lambda db: db.execute(
                select(*(func.sum(tallies.c[name]) for name in ("sent", "delivered", "bounced")))
            ).one()
        )
        assert tuple(map(int, sums)) == (60, 30, 30)
        stands = await one.read(
            lambda db: db.execute(select(func.sum(standings.c.sends), func.sum(standings.c.bounces))).one()
        )
        assert tuple(map(int, stands)) == (60, 30)
        states = await one.read(lambda db: sorted(db.scalars(select(recipients.c.state))))
        assert states == ["bounced"] * 30 + ["delivered"] * 30

    together(story)


# -- how much it is --------------------------------------------------------------------------------------------------


def test_mail_to_very_many_does_not_fill_the_outbox_with_all_of_them_again_and_again(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        await directory(store)
        await hooked(store)
        groups = [tuple(f"somebody.{group}.{n}@dest.example" for n in range(50)) for group in range(20)]
        new = message(store, default, *groups, state=State.SENDING, account=OURS)
        new = replace(new, echo=store.hooks.seal(echo_of(new, "s", {})))
        await put(store, new)
        for number, group in enumerate(groups[:2]):
            delivery_id = new.deliveries[number].id
            about = samples.mail(delivery_id, group, ses_message_id=f"0102-{number}")
            await tell(store, samples.delivery(about, group[0]), samples.complaint(about, group[1], group[2]))
        told = await posted(store)
        assert [len(each["recipients"]) for each in told] == [1000, 50, 1, 2, 50, 1, 2]
        assert all(len(each["message"]["to"]) == MOST_NAMED for each in told)

    play(url, story)
