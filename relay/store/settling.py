"""What attempts came to, written: decisions compare-and-set, facts not; and content destroyed when all is final."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, bindparam, null, or_, select, update

from relay.delivery import FINAL, MOVES, RecipientState, Settlement, State
from relay.store.clock import clock
from relay.store.schema import deliveries, messages, recipients

FINAL_STATES = tuple(state.value for state in FINAL)


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settlement did. `is_stale`: the row had moved on and nothing was written. `destroyed`: the message whose
    content can be swept."""

    is_stale: bool
    destroyed: int | None = None


def settle(db: Connection, items: Sequence[Settlement]) -> Sequence[Settled]:
    """Write what attempts came to."""
    now = clock(db)
    written: dict[int, int] = {}  # delivery -> message
    facts = [item for item in items if item.state is State.SENT]
    if facts:
        written |= _settle_sent(db, facts, now)
    for item in items:
        if item.state is not State.SENT:
            written |= _settle_decision(db, item, now)
    finished = {item.delivery_id for item in items if item.delivery_id in written and item.state.is_final}
    destroyed = close_messages(db, [written[delivery] for delivery in finished], now)
    return [
        Settled(
            is_stale=item.delivery_id not in written,
            destroyed=written[item.delivery_id] if written.get(item.delivery_id) in destroyed else None,
        )
        for item in items
    ]


def _settle_sent(db: Connection, facts: Sequence[Settlement], now: int) -> dict[int, int]:
    ids = [fact.delivery_id for fact in facts]
    rows = db.execute(
        update(deliveries)
        .where(deliveries.c.id.in_(ids), deliveries.c.state.not_in(FINAL_STATES))
        .values(state="sent", due_at=None, finished_at=now, kind=None, detail=None)
        .returning(deliveries.c.id, deliveries.c.message_id, deliveries.c.attempts)
    ).all()
    attempts = {row.id: row.attempts for row in rows}
    if not attempts:
        return {}
    db.execute(
        update(deliveries)
        .where(deliveries.c.id == bindparam("_id"))
        .values(
            ses_message_id=bindparam("_ses"),
            account=bindparam("_account"),
            possible_duplicates=deliveries.c.possible_duplicates + bindparam("_later"),
        ),
        [
            {
                "_id": fact.delivery_id,
                "_ses": fact.ses_message_id,
                "_account": fact.account,
                # A later attempt had begun: SES may get the message from that one, too.
                "_later": int(attempts[fact.delivery_id] > fact.seen_attempt),
            }
            for fact in facts
            if fact.delivery_id in attempts
        ],
    )
    move_recipients(db, list(attempts), RecipientState.SENT, now)
    return {row.id: row.message_id for row in rows}


def _settle_decision(db: Connection, item: Settlement, now: int) -> dict[int, int]:
    assert item.state in MOVES[State.SENDING]
    message_id = db.scalar(
        update(deliveries)
        .where(
            deliveries.c.id == item.delivery_id,
            deliveries.c.state == "sending",
            deliveries.c.attempts == item.seen_attempt,
        )
        .values(
            state=item.state.value,
            due_at=None if item.state.is_final else item.due_at,
            finished_at=now if item.state.is_final else None,
            failures=item.failures,
            account=item.account or None,
            kind=item.kind.slug if item.kind else None,
            detail=item.detail or None,
        )
        .returning(deliveries.c.message_id)
    )
    if message_id is None:
        return {}
    if item.state is State.FAILED:
        move_recipients(db, [item.delivery_id], RecipientState.FAILED, now)
    return {item.delivery_id: message_id}


def move_recipients(db: Connection, delivery_ids: Sequence[int], state: RecipientState, now: int) -> None:
    """Move the recipients that still wait; an event that was faster is not undone."""
    db.execute(
        update(recipients)
        .where(recipients.c.delivery_id.in_(delivery_ids), recipients.c.state == "queued")
        .values(state=state.value, updated_at=now)
    )


def close_messages(db: Connection, message_ids: Sequence[int], now: int) -> set[int]:
    """Count finished deliveries; where none is left open, destroy what is not to be kept.

    Returns the messages whose content key is gone: their sealed bytes can be swept.
    """
    if not message_ids:
        return set()
    db.execute(
        update(messages)
        .where(messages.c.id == bindparam("_id"))
        .values(open_deliveries=messages.c.open_deliveries - 1),
        [{"_id": message_id} for message_id in sorted(message_ids)],
    )
    closed = and_(messages.c.id.in_(sorted(set(message_ids))), messages.c.open_deliveries == 0)
    is_over = or_(messages.c.keep_until.is_(None), messages.c.keep_until <= now)
    return destroy(db, and_(closed, is_over), now)


def destroy(db: Connection, which: ColumnElement[bool], now: int) -> set[int]:
    """Forget content keys and, of mail that is not to be remembered, the addresses and what its sender said of it.

    What stays of a recipient is a keyed hash (design: privacy).
    """
    rows = db.execute(
        update(messages)
        .where(which, messages.c.wrapped_key.is_not(None))
        .values(wrapped_key=null(), destroyed_at=now)
        .returning(messages.c.id, messages.c.forgets)
    ).all()
    forgetful = [row.id for row in rows if row.forgets]
    if forgetful:
        forgotten = dict.fromkeys(("mail_from", "header_from", "subject", "envid", "metadata"))
        db.execute(update(messages).where(messages.c.id.in_(forgetful)).values(forgotten))
        theirs = select(deliveries.c.id).where(deliveries.c.message_id.in_(forgetful))
        db.execute(update(recipients).where(recipients.c.delivery_id.in_(theirs)).values(address=None, orcpt=None))
    return {row.id for row in rows}


def finish(db: Connection, ids: Sequence[int], state: RecipientState, now: int) -> set[int]:
    """After deliveries became final: their recipients and messages follow. Returns the messages to sweep."""
    if not ids:
        return set()
    move_recipients(db, ids, state, now)
    finished = db.scalars(select(deliveries.c.message_id).where(deliveries.c.id.in_(ids))).all()
    return close_messages(db, finished, now)
