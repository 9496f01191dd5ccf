"""What happened to a message: from its rows and from the journal, nothing twice, nothing before what it came of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.engine import URL

from relay.delivery import Settlement, State
from relay.message import Mode, Stream
from relay.store import listing, schema
from relay.store.arriving import NewMessage
from relay.store.clock import now_ms
from relay.store.events import Event as Noted
from relay.store.events import note
from relay.store.journal import event_id
from relay.store.listing import RecipientView
from relay.store.queue import Order, take
from relay.store.settling import settle
from relay.store.store import Store
from relay.store.timeline import Event, merged, timeline
from relay.store.writer import Rank
from tests.store.stories import message, play, put

ANA, BO = (RecipientView(number, f"{number}@d.example", "to", "sent", 0, None, None) for number in (1, 2))


def event(name: str, at: int, *people: RecipientView) -> Event:
    return Event(f"{name}-{at}", f"email.{name}", at, people, {})


def told(events: Sequence[Event]) -> list[tuple[str, list[int]]]:
    return [(each.id, [person.id for person in each.recipients]) for each in events]


@pytest.mark.parametrize(
    ("rows", "journal", "expected"),
    [
        # Of what the queue did, the rows know more.
        ([event("queued", 1, ANA), event("sent", 2, ANA)], [event("queued", 1)], [("queued-1", [1]), ("sent-2", [1])]),
        ([event("sent", 2, ANA, BO)], [event("sent", 3, ANA, BO)], [("sent-2", [1, 2])]),
        # What SES says of the rest is in the journal, as often as it was so, and in the rows for who is not there.
        ([event("delivered", 5, ANA)], [event("delivered", 4, ANA)], [("delivered-4", [1])]),
        ([event("delivered", 5, ANA, BO)], [event("delivered", 4, ANA)], [("delivered-4", [1]), ("delivered-5", [2])]),
        ([], [event("opened", 6, ANA), event("opened", 7, ANA)], [("opened-6", [1]), ("opened-7", [1])]),
        ([event("bounced", 9, ANA)], [event("delivered", 4, ANA)], [("delivered-4", [1]), ("bounced-9", [1])]),
        # SES gives up what the queue had sent: no row says so.
        ([event("sent", 2, ANA)], [event("failed", 3, ANA)], [("sent-2", [1]), ("failed-3", [1])]),
        # It is about nobody who is known.
        ([event("sent", 2, ANA)], [event("complained", 3)], [("sent-2", [1]), ("complained-3", [])]),
        # What was at once is told in the order in which it must have been.
        ([event("queued", 1, ANA), event("sent", 1, ANA)], [event("delivered", 1, ANA)], None),
    ],
)
def test_nothing_is_told_twice(
    rows: list[Event], journal: list[Event], expected: list[tuple[str, list[int]]] | None
) -> None:
    if expected is None:
        expected = told([*rows, *journal])
    assert told(merged(rows, journal)) == expected


async def sent(store: Store, tenant: int, *addresses: str) -> NewMessage:
    new = await put(store, message(store, tenant, addresses, mode=Mode.SHARED, domain="shared.example"))
    order = Order("operator", (("shared.example", Stream.TRANSACTIONAL),), 10, 100)
    (each,) = (await store.write(take, order, Rank.SETTLE)).started
    item = Settlement(each.id, each.attempts, State.SENT, ses_message_id="ses-1", account="operator")
    await store.write(settle, item, Rank.SETTLE)
    return new


def people(new: NewMessage) -> list[int]:
    return [row_id for delivery in new.deliveries for row_id, _, _ in delivery.recipients]


async def lines(store: Store, new: NewMessage) -> list[Event]:
    def read(db: Any) -> list[Event]:
        found = listing.message(db, new.public_id)
        assert found is not None
        return timeline(db, found)

    return await store.read(read)


def test_what_ses_told_stands_beside_what_the_queue_did(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await sent(store, tenant, "ana@d.example", "bo@d.example")
        ana, bo = people(new)
        early = now_ms() - 60_000  # by a clock that is behind ours
        noted = [
            Noted("email.delivered", message_id=new.id, at=early, data={"smtp_response": "250", "recipients": [ana]}),
            Noted("email.opened", message_id=new.id, at=now_ms() + 5, data={"user_agent": "x", "recipients": [ana]}),
            Noted("email.delayed", message_id=new.id, at=early, data={"expires_at": 1 << 41, "recipients": [bo, 7]}),
            Noted("email.clicked", message_id=None, data={"recipients": [ana]}),
        ]
        await store.change(lambda db: note(db, noted))
        moved = update(schema.recipients).where(schema.recipients.c.id == ana).values(state="delivered")
        await store.change(lambda db: db.execute(moved))
        found = await lines(store, new)
        assert [each.name.partition(".")[2] for each in found] == ["queued", "sent", "delivered", "delayed", "opened"]
        assert [each.at for each in found] == sorted(each.at for each in found)
        delivered, delayed = found[2], found[3]
        assert [person.address for person in delivered.recipients] == ["ana@d.example"]
        assert delivered.details == {"smtp_response": "250"}
        assert delivered.id.startswith(event_id(0)[:4])
        assert [person.address for person in delayed.recipients] == ["bo@d.example"]
        assert delayed.details == {"expires_at": "2039-09-07T15:47:35.552Z"}

    play(url, story)


def test_once_the_journal_is_forgotten_the_rows_still_tell(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        new = await sent(store, tenant, "ana@d.example")
        moved = update(schema.recipients).values(state="bounced", updated_at=now_ms() + 9)
        await store.change(lambda db: db.execute(moved))
        assert [each.name for each in await lines(store, new)] == ["email.queued", "email.sent", "email.bounced"]

    play(url, story)
