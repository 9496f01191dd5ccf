"""A refused group is split until the bad recipients stand alone: on the store itself, with SES's part as a function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from math import ceil, log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select, update
from sqlalchemy.engine import URL

from relay.delivery import RecipientState, Settlement, State
from relay.errors import Kind
from relay.message import Mode
from relay.store.accepting import Together, accept
from relay.store.database import is_sqlite
from relay.store.schema import deliveries, messages, recipients
from relay.store.settling import settle
from relay.store.splitting import UNDIVIDED, Split, split
from relay.store.store import Store
from tests.store.stories import message, play

Says = Callable[[Sequence[str]], tuple[str, bool] | None]  # SES's words, and whether they are about a recipient
ADDRESS = "BadRequestException: Missing final '@domain'"
CONTENT = "MessageRejected: Illegal content"


class Call:
    """One attempt, as `dispatch.attempt` makes it."""

    def __init__(self, db: Connection, delivery_id: int) -> None:
        started = update(deliveries).where(deliveries.c.id == delivery_id, deliveries.c.state == "queued")
        values = {"state": "sending", "attempts": deliveries.c.attempts + 1}
        self.id = delivery_id
        self.attempt = db.execute(started.values(values).returning(deliveries.c.attempts)).scalar_one()
        waiting = select(recipients.c.address).where(recipients.c.delivery_id == delivery_id)
        self.people = [
            address
            for address in db.scalars(waiting.where(recipients.c.state == "queued").order_by(recipients.c.id))
            if address
        ]

    def refused(self, detail: str) -> Settlement:
        return Settlement(self.id, self.attempt, State.FAILED, "a", kind=Kind.SES_REJECTED, detail=detail)

    def end(self, db: Connection, said: tuple[str, bool] | None) -> None:
        if said is None:
            settle(db, [Settlement(self.id, self.attempt, State.SENT, "a", ses_message_id=f"ses-{self.id}")])
            return
        detail, is_certain = said
        if len(self.people) > 1 and split(db, [Split(self.refused(detail), is_certain)]) != [UNDIVIDED]:
            return
        settle(db, [self.refused(detail)])


class Played:
    """One message, tried until nothing of it waits."""

    def __init__(self, db: Connection, store: Store, tenant_id: int, says: Says, *groups: tuple[str, ...]) -> None:
        new = message(store, tenant_id, *groups, mode=Mode.SHARED, keep_for=timedelta(days=1))
        accept(db, [Together((new,))])
        self.calls = 0
        self.sent: Counter[str] = Counter()
        waiting = select(deliveries.c.id).where(deliveries.c.message_id == new.id, deliveries.c.state == "queued")
        while (
            first := db.scalars(waiting.order_by(deliveries.c.due_at, deliveries.c.id).limit(1)).first()
        ) is not None:
            self.calls += 1
            assert self.calls < 500
            call = Call(db, first)
            said = says(call.people)
            if said is None:
                self.sent.update(call.people)
            call.end(db, said)
        theirs = select(deliveries.c.id).where(deliveries.c.message_id == new.id)
        rows = db.execute(select(recipients.c.address, recipients.c.state).where(recipients.c.delivery_id.in_(theirs)))
        self.states: dict[str, str] = dict(rows.all())
        self.failures = set(db.scalars(select(deliveries.c.failures).where(deliveries.c.message_id == new.id)))
        self.left = db.scalar(select(messages.c.open_deliveries).where(messages.c.id == new.id))

    def named(self, state: RecipientState) -> set[str]:
        return {address for address, each in self.states.items() if each == state.value}


def people(count: int) -> tuple[str, ...]:
    return tuple(f"p{number}@dest.example" for number in range(count))


def refusing(bad: set[str], detail: str = ADDRESS, *, is_certain: bool = True) -> Says:
    return lambda asked: (detail, is_certain) if bad & set(asked) else None


BAD = st.integers(1, 50).flatmap(lambda count: st.tuples(st.just(count), st.sets(st.integers(0, count - 1))))


def test_whoever_is_bad_exactly_they_fail_and_the_others_get_it_once(url: URL) -> None:
    async def story(store: Store, tenant_id: int) -> None:
        def every(db: Connection) -> None:
            @settings(max_examples=40 if is_sqlite(url) else 6)
            @given(BAD)
            def holds(which: tuple[int, set[int]]) -> None:
                count, numbers = which
                everyone = people(count)
                bad = {everyone[number] for number in numbers}
                with db.begin_nested() as undo:
                    played = Played(db, store, tenant_id, refusing(bad), everyone)
                    undo.rollback()
                assert played.named(RecipientState.FAILED) == bad
                assert played.sent == Counter(each for each in everyone if each not in bad)
                assert played.named(RecipientState.SENT) == set(played.sent)
                assert (played.left, played.failures) == (0, {0})
                assert played.calls <= 1 + 2 * len(bad) * ceil(log2(count) if count > 1 else 0)

            holds()

        await store.change(every)

    play(url, story)


@pytest.mark.parametrize("count", [2, 3, 50])
def test_a_message_that_ses_refuses_to_everybody_is_not_split_to_the_last(url: URL, count: int) -> None:
    async def story(store: Store, tenant_id: int) -> Played:
        says = refusing(set(people(count)), CONTENT, is_certain=False)
        return await store.change(lambda db: Played(db, store, tenant_id, says, people(count)))

    played = play(url, story)
    assert played.named(RecipientState.FAILED) == set(people(count))
    assert played.calls <= 4  # the whole, a half, the other, and the first half once more
    assert played.left == 0


def test_words_that_may_mean_one_recipient_find_that_one(url: URL) -> None:
    async def story(store: Store, tenant_id: int) -> Played:
        says = refusing({"p7@dest.example"}, CONTENT, is_certain=False)
        return await store.change(lambda db: Played(db, store, tenant_id, says, people(16)))

    played = play(url, story)
    assert played.named(RecipientState.FAILED) == {"p7@dest.example"}
    assert played.sent == Counter(set(people(16)) - {"p7@dest.example"})
    assert played.calls <= 1 + 3 * 4


def test_groups_of_one_message_are_split_apart_from_each_other(url: URL) -> None:
    async def story(store: Store, tenant_id: int) -> Played:
        says = refusing({"p1@dest.example", "q2@dest.example"}, CONTENT, is_certain=False)
        other = tuple(f"q{number}@dest.example" for number in range(4))
        return await store.change(lambda db: Played(db, store, tenant_id, says, people(4), other))

    played = play(url, story)
    assert played.named(RecipientState.FAILED) == {"p1@dest.example", "q2@dest.example"}
    assert len(played.sent) == 6


def test_only_the_attempt_that_was_refused_is_split(url: URL) -> None:
    async def story(store: Store, tenant_id: int) -> None:
        def late(db: Connection) -> None:
            new = message(store, tenant_id, people(4))
            accept(db, [Together((new,))])
            call = Call(db, new.deliveries[0].id)
            stale = Split(Settlement(call.id, call.attempt + 1, State.FAILED, "a", detail=ADDRESS), True)
            assert split(db, [stale]) == [UNDIVIDED]
            settle(db, [Settlement(call.id, call.attempt, State.SENT, "a", ses_message_id="x")])  # an event was faster
            assert split(db, [Split(call.refused(ADDRESS), True)]) == [UNDIVIDED]
            assert db.scalar(select(messages.c.open_deliveries).where(messages.c.id == new.id)) == 0

        await store.change(late)

    play(url, story)


def test_who_was_suppressed_meanwhile_is_not_tried_again(url: URL) -> None:
    async def story(store: Store, tenant_id: int) -> None:
        def suppressed(db: Connection) -> None:
            new = message(store, tenant_id, people(3))
            accept(db, [Together((new,))])
            call = Call(db, new.deliveries[0].id)
            gone = [row_id for row_id, _, _ in new.deliveries[0].recipients[:2]]
            db.execute(update(recipients).where(recipients.c.id.in_(gone)).values(state="suppressed"))
            assert split(db, [Split(call.refused(ADDRESS), True)]) == [UNDIVIDED]  # one is left: it stands alone

        await store.change(suppressed)

    play(url, story)
