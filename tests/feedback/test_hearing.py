"""Events written down: whatever their order, however often they come, the same states, counts, lists and events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select
from sqlalchemy.engine import URL

from relay.declared import AccountFields, Credentials, TenantFields
from relay.delivery import RecipientState, Settlement, State
from relay.errors import Kind
from relay.feedback.envelopes import unwrapped
from relay.feedback.reading import read
from relay.message import Mode
from relay.store.arriving import NewMessage
from relay.store.cases import Outcome
from relay.store.directory import accounts, tenants
from relay.store.directory.audit import RELAY
from relay.store.heard import Heard, Person
from relay.store.hearing import Told, hear
from relay.store.queue import Order, take
from relay.store.schema import FATES, events, possible_duplicates, recipients, standings, suppressions, tallies
from relay.store.settling import settle
from relay.store.store import Store
from relay.store.suppressions import Entry, suppress
from relay.store.writer import Rank
from tests.feedback import samples
from tests.store.stories import message, play, put

ANA, BO, CY = "ana@dest.example", "Bo@dest.example", "cy@other.example"
PEOPLE = (ANA, BO, CY)
OURS = "operator"


@pytest.fixture(autouse=True)
def lately(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standings look at the last days."""
    monkeypatch.setattr(samples, "START", datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1))


async def directory(store: Store) -> int:
    """An account of the operator's, one of a tenant's, and that tenant."""
    key = Credentials(access_key_id="k", secret_access_key="s" * 16)  # type: ignore[arg-type]

    def make(db: Connection) -> int:
        tenant = tenants.create(db, RELAY, "acme", TenantFields())
        accounts.add(db, store.sealer, RELAY, OURS, AccountFields(region="eu-west-1", credentials=key))
        fields = AccountFields(region="eu-west-1", tenant="acme", credentials=key)
        accounts.add(db, store.sealer, RELAY, "customer", fields)
        return tenant.id

    return await store.change(make)


async def sent(
    store: Store, tenant_id: int, *people: str, mode: Mode = Mode.SHARED, is_known: bool = True
) -> NewMessage:
    """A message that SES took; `is_known`: and that we heard it did."""
    new = await put(store, message(store, tenant_id, people, state=State.SENDING, mode=mode, account=OURS))
    if is_known:
        fact = Settlement(new.deliveries[0].id, 1, State.SENT, OURS, ses_message_id="0102-a")
        await store.write(settle, fact, Rank.SETTLE)
    return new


def understood(store: Store, found: Sequence[samples.Event]) -> tuple[Heard, ...]:
    def hashed(event: Heard) -> Heard:
        people = tuple(Person(each.address, store.sealer.hash_address(each.address)) for each in event.people)
        return Heard(**{name: getattr(event, name) for name in Heard.__slots__} | {"people": people})

    return tuple(hashed(read(unwrapped(json.dumps(each)))) for each in found)


async def tell(store: Store, *found: samples.Event, account: str = OURS) -> tuple[Outcome, ...]:
    answer = await store.write(hear, Told(account, understood(store, found)), Rank.SETTLE)
    return answer.outcomes


def every_sample(new: NewMessage, *, is_known: bool) -> list[samples.Event]:
    """Of one message to three people, and all that SES may say of it.

    The older form has no tags: where SES's id of the mail is not known yet, nobody can tell which it is of.
    """
    about = samples.mail(new.deliveries[0].id, PEOPLE)
    return [
        samples.send(about),
        samples.delay(about, ANA),
        samples.delivery(about, ANA, BO),
        samples.bounce(about, BO, after=20, feedback_id="b-late"),  # after its delivery
        samples.bounce(about, ANA, type="Transient", feedback_id="b-away", after=30),  # out of office
        samples.complaint(about, CY, after=40),
        samples.complaint(about, ANA, BO, after=41, feedback_id="c-2"),  # of which of them?
        samples.bounce(about, CY, type="Permanent", subtype="EmailValidationSuppressed", feedback_id="b-v", after=5),
        samples.legacy(samples.bounce(about, BO, after=20, feedback_id="b-legacy"))
        if is_known
        else samples.bounce(about, BO, after=20, feedback_id="b-legacy"),
        samples.opened(about),
        samples.clicked(about),
        samples.clicked(about, after=6),
        samples.reject(about),
        samples.rendering_failure(about),
        samples.subscription(about),
        samples.complaint(about, ANA, type="not-spam", feedback_id="c-3"),
        samples.unheard_of(about),
    ]


COUNT = 17
EXPECTED = {
    "delivered": 2, "delayed": 1, "bounced": 2, "soft_bounced": 1, "complained": 2, "rejected": 3, "failed": 3,
    "opened": 3, "clicked": 3, "unsubscribed": 3, "suppressed": 0, "sent": 3,
}  # fmt: skip


@pytest.mark.parametrize("is_known", [True, False], ids=["answered", "unanswered"])
def test_shuffled_doubled_and_delayed_they_come_to_the_same(url: URL, is_known: bool) -> None:
    """The issue's third point. One database, a message for each example; figures are compared for each alone."""

    async def story(store: Store, _: int) -> None:
        await directory(store)
        seen: list[tuple[Any, ...]] = []

        async def run(order: Sequence[int], cuts: Sequence[int]) -> None:
            number = len(seen)
            tenant = await store.change(lambda db: tenants.create(db, RELAY, f"t{number}", TenantFields()).id)
            new = await sent(store, tenant, *PEOPLE, is_known=is_known)
            every = every_sample(new, is_known=is_known)
            batch: list[samples.Event] = []
            for place, which in enumerate(order):
                batch.append(every[which])
                if place in cuts:
                    await tell(store, *batch)
                    batch = []
            await tell(store, *batch)
            seen.append(await store.read(lambda db: of_tenant(db, tenant, new)))
            assert seen[-1] == seen[0], (order, cuts)

        await run(range(COUNT), [])
        people, counted, standing, listed, told = seen[0]
        assert [each[0] for each in people] == ["delivered", "bounced", "complained"]
        assert counted == EXPECTED
        assert standing[:2] == (1, 2)  # bounces and complaints of shared mail
        assert {each[0]: each[1:3] for each in listed} == {
            "bo@dest.example": ("bounce", "ses"),
            CY: ("complaint", "ses"),
        }
        assert len(told) == 16  # that SES took it is told by the queue itself

        @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            st.permutations(range(COUNT)).flatmap(
                lambda order: st.tuples(st.just(order), st.lists(st.sampled_from(order)))
            ),
            st.sets(st.integers(0, 30)),
            st.randoms(use_true_random=False),
        )
        def example(orders: tuple[list[int], list[int]], cuts: set[int], chance: Any) -> None:
            order = [*orders[0]]
            for again in orders[1]:
                order.insert(chance.randint(0, len(order)), again)
            examples.append((order, sorted(cuts)))

        examples: list[tuple[list[int], list[int]]] = []
        await asyncio.to_thread(example)
        for order, cuts in examples:
            await run(order, cuts)

    play(url, story)


def of_tenant(db: Connection, tenant: int, new: NewMessage) -> tuple[Any, ...]:
    ids = [row_id for row_id, _, _ in new.deliveries[0].recipients]
    people = [
        # When it was taken is our own clock's.
        (row.state, row.facts, None if row.state == RecipientState.SENT.value else row.updated_at)
        for row in db.execute(select(recipients).where(recipients.c.id.in_(ids)).order_by(recipients.c.id))
    ]
    sums = db.execute(select(*(func.sum(tallies.c[name]) for name in FATES)).where(tallies.c.tenant_id == tenant)).one()
    stands = db.execute(select(standings).where(standings.c.tenant_id == tenant)).one_or_none()
    listed = db.execute(
        select(suppressions).where(suppressions.c.tenant_id == tenant).order_by(suppressions.c.address)
    ).all()
    told = sorted(
        (row.type, row.at)
        for row in db.execute(select(events).where(events.c.message_id == new.id))
    )  # fmt: skip
    return (
        people,
        dict(zip(FATES, map(int, sums), strict=True)),
        None if stands is None else (stands.bounces, stands.complaints),
        [(row.address, row.reason, row.source, row.created_at, row.expires_at) for row in listed],
        told,
    )


# -- whose events are believed ---------------------------------------------------------------------------------------


def test_nobody_is_believed_of_another_s_mail(url: URL) -> None:
    """Whoever owns an SES account can put anything into its queue, with our tags, too."""

    async def story(store: Store, default: int) -> None:
        acme = await directory(store)
        theirs, own = await sent(store, default, ANA), await sent(store, acme, BO, mode=Mode.BYOC)
        forged = samples.mail(theirs.deliveries[0].id, [ANA], ses_message_id="0102-forged")
        untagged = samples.mail(None, [ANA])  # with SES's own id of the mail
        told = await tell(
            store,
            samples.bounce(forged, ANA),
            samples.complaint(untagged, ANA),
            samples.send(forged),
            account="customer",
        )
        assert told == (Outcome.FOREIGN,) * 3
        assert await tell(store, samples.bounce(forged, ANA), account="gone") == (Outcome.FOREIGN,)
        state = await store.read(lambda db: of_tenant(db, default, theirs))
        assert (state[0][0][0], state[2], state[3], state[4]) == ("sent", (0, 0), [], [])
        mine = samples.mail(own.deliveries[0].id, [BO])
        assert await tell(store, samples.bounce(mine, BO), account="customer") == (Outcome.NEW,)

    play(url, story)


def test_mail_that_is_not_ours_is_foreign(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        await directory(store)
        about = samples.mail(7, [ANA], ses_message_id="0102-other")
        assert await tell(store, samples.delivery(about, ANA), samples.send(about)) == (Outcome.FOREIGN,) * 2
        assert await store.read(lambda db: db.scalar(select(func.count()).select_from(events))) == 0

    play(url, story)


# -- single rules ----------------------------------------------------------------------------------------------------


def test_of_forgotten_mail_the_address_is_known_by_its_hash(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        await directory(store)
        new = await sent(store, default, ANA, CY, mode=Mode.BYOC)
        about = samples.mail(new.deliveries[0].id, [ANA, CY])
        assert await tell(store, samples.bounce(about, CY.upper())) == (Outcome.NEW,)
        people, counted, stands, listed, _ = await store.read(lambda db: of_tenant(db, default, new))
        assert [each[0] for each in people] == ["sent", "bounced"]
        assert (counted["bounced"], stands, [each[0] for each in listed]) == (1, (1, 0), [CY])

    play(url, story)


def test_the_simulator_s_mail_is_listed_and_counts_towards_nobody_s_standing(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        await directory(store)
        address = "bounce+a@simulator.amazonses.com"
        new = await sent(store, default, address)
        about = samples.mail(new.deliveries[0].id, [address])
        complaint = samples.complaint(about, address)
        await tell(store, samples.bounce(about, address), complaint)
        people, counted, stands, listed, _ = await store.read(lambda db: of_tenant(db, default, new))
        assert people[0][0] == "complained"
        assert (counted["sent"], counted["bounced"], counted["complained"]) == (1, 1, 1)
        assert stands in {None, (0, 0)}
        assert [each[:3] for each in listed] == [(address, "complaint", "ses")]

    play(url, story)


def test_copies_of_one_send_event_in_one_batch_count_one_duplicate(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        await directory(store)
        new = await sent(store, default, ANA, is_known=False)
        delivery_id = new.deliveries[0].id
        await store.write(
            settle, Settlement(delivery_id, 1, State.QUEUED, OURS, due_at=0, kind=Kind.SES_THROTTLED), Rank.SETTLE
        )
        queue = ("byoc.example", new.stream)
        await store.write(take, Order(OURS, (queue,), 9, 99), Rank.SETTLE)
        first = samples.send(samples.mail(delivery_id, [ANA], attempt=1))
        assert await tell(store, first, first, first) == (Outcome.NEW, Outcome.KNOWN, Outcome.KNOWN)
        assert await store.read(lambda db: db.scalar(select(func.sum(possible_duplicates.c.deliveries)))) == 1
        second = samples.send(samples.mail(delivery_id, [ANA], attempt=2, ses_message_id="0102-b"))
        await tell(store, second)
        assert await store.read(lambda db: db.scalar(select(func.sum(possible_duplicates.c.deliveries)))) == 1

    play(url, story)


def test_what_nobody_understands_is_kept_sealed(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        await directory(store)
        new = await sent(store, default, ANA)
        await tell(store, samples.unheard_of(samples.mail(new.deliveries[0].id, [ANA])))
        row = await store.read(lambda db: db.execute(select(events).where(events.c.type == "ses.teleported")).one())
        assert ANA.encode() not in row.sealed
        assert ANA not in row.data
        raw = json.loads(store.sealer.open_secret(row.sealed, "webhook"))
        assert raw["teleported"]["to"] == ANA

    play(url, story)


def test_what_people_listed_themselves_stays_as_it_is(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        await directory(store)
        entry = Entry.parse(ANA, "manual", "api", "asked to")
        await store.change(lambda db: suppress(db, RELAY, default, entry))
        new = await sent(store, default, ANA)
        await tell(store, samples.complaint(samples.mail(new.deliveries[0].id, [ANA]), ANA))
        *_, listed, _ = await store.read(lambda db: of_tenant(db, default, new))
        assert [each[:3] for each in listed] == [(ANA, "manual", "api")]

    play(url, story)
