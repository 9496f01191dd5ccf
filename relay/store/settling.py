"""What attempts came to, written: decisions compare-and-set, facts not; and content destroyed when all is final."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, BindParameter, ColumnElement, Connection, Row, bindparam, null, or_, select, update

from relay.delivery import FINAL, MOVES, RecipientState, Report, Settlement, State
from relay.store import duplicates
from relay.store.announcing import announce
from relay.store.clock import clock
from relay.store.reckoning import reckon
from relay.store.reports import Told, tell
from relay.store.schema import deliveries, messages, recipients

FINAL_STATES = tuple(state.value for state in FINAL)
ENDS = (RecipientState.FAILED, RecipientState.SENT)
DECIDED = ("state", "due_at", "finished_at", "failures", "account", "kind", "detail")  # columns
FORGOTTEN = ("mail_from", "header_from", "subject", "envid", "metadata")


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settlement did. `is_stale`: the row had moved on and nothing was written. `destroyed`: the message whose
    content can be swept. `told`: reports of it to its sender."""

    is_stale: bool
    destroyed: int | None = None
    told: tuple[Told, ...] = ()


# Made once: to make a statement anew costs several times what it does.
_IDS: BindParameter[Any] = bindparam("_ids", expanding=True)
_NOW = bindparam("_now", type_=BigInteger)
_taken_by_ses = (
    update(deliveries)
    .where(deliveries.c.id.in_(_IDS), deliveries.c.state.not_in(FINAL_STATES))
    .values(state="sent", due_at=None, finished_at=_NOW, kind=None, detail=None, delay_at=None)
    .returning(deliveries.c.id, deliveries.c.message_id, deliveries.c.attempts, deliveries.c.reports)
)
_named_by_ses = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("_id"))
    .values(
        ses_message_id=bindparam("_ses"),
        account=bindparam("_account"),
        possible_duplicates=deliveries.c.possible_duplicates + bindparam("_later"),
    )
)
_decided = (
    update(deliveries)
    .where(
        deliveries.c.id == bindparam("_id"),
        deliveries.c.state == "sending",
        deliveries.c.attempts == bindparam("_seen"),
    )
    .values({name: bindparam(f"_{name}") for name in DECIDED})
    .returning(deliveries.c.message_id, deliveries.c.reports)
)
_moved = (
    update(recipients)
    .where(recipients.c.delivery_id.in_(_IDS), recipients.c.state == "queued")
    .values(state=bindparam("_state"), updated_at=_NOW)
)
_counted = (
    update(messages).where(messages.c.id == bindparam("_id")).values(open_deliveries=messages.c.open_deliveries - 1)
)
_closed = (
    update(messages)
    .where(messages.c.id.in_(_IDS), messages.c.open_deliveries == 0, messages.c.wrapped_key.is_not(None))
    .where(or_(messages.c.keep_until.is_(None), messages.c.keep_until <= _NOW))
    .values(wrapped_key=null(), destroyed_at=_NOW)
    .returning(messages.c.id, messages.c.forgets)
)
_forgotten = update(messages).where(messages.c.id.in_(_IDS)).values(dict.fromkeys(FORGOTTEN))
_anonymous = (
    update(recipients)
    .where(recipients.c.delivery_id.in_(select(deliveries.c.id).where(deliveries.c.message_id.in_(_IDS))))
    .values(address=None, orcpt=None)
)


def settle(db: Connection, items: Sequence[Settlement]) -> Sequence[Settled]:
    """Write what attempts came to."""
    now = clock(db)
    written: dict[int, int] = {}  # delivery -> message
    owed: list[int] = []  # deliveries that somebody may want to be told of
    facts = [item for item in items if item.state is State.SENT]
    if facts:
        written |= _settle_sent(db, facts, now, owed)
    for item in items:
        if item.state is not State.SENT:
            written |= _settle_decision(db, item, now, owed)
    finished = {item.delivery_id for item in items if item.delivery_id in written and item.state.is_final}
    told = {each.message_id: each for each in tell(db, owed, ENDS, now, is_tried=True)} if owed else {}
    announce(db, sorted({each.delivery_id for each in facts if each.delivery_id in written}), RecipientState.SENT)
    failed = {each.delivery_id for each in items if each.state is State.FAILED and each.delivery_id in written}
    announce(db, sorted(failed), RecipientState.FAILED)
    destroyed = close_messages(db, [written[delivery] for delivery in finished], now)
    return [_settled(written.get(item.delivery_id), destroyed, told) for item in items]


def _settled(message_id: int | None, destroyed: set[int], told: dict[int, Told]) -> Settled:
    """`told` is taken from: of the deliveries of one message, the first gets its report."""
    if message_id is None:
        return Settled(is_stale=True)
    report = told.pop(message_id, None)
    return Settled(
        is_stale=False,
        destroyed=message_id if message_id in destroyed else None,
        told=() if report is None else (report,),
    )


def _settle_sent(db: Connection, facts: Sequence[Settlement], now: int, owed: list[int]) -> dict[int, int]:
    ids = [fact.delivery_id for fact in facts]
    rows = db.execute(_taken_by_ses, {"_ids": ids, "_now": now}).all()
    attempts = {row.id: row.attempts for row in rows}
    if not attempts:
        return {}
    db.execute(
        _named_by_ses,
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
    later = [fact.account for fact in facts if attempts.get(fact.delivery_id, 0) > fact.seen_attempt]
    duplicates.count(db, later, now)
    reckon(db, list(attempts), RecipientState.SENT, now)
    move_recipients(db, list(attempts), RecipientState.SENT, now)
    owed += [row.id for row in rows if row.reports & Report.SUCCESS]
    return {row.id: row.message_id for row in rows}


def _settle_decision(db: Connection, item: Settlement, now: int, owed: list[int]) -> dict[int, int]:
    assert item.state in MOVES[State.SENDING]
    values = {
        "_id": item.delivery_id,
        "_seen": item.seen_attempt,
        "_state": item.state.value,
        "_due_at": None if item.state.is_final else item.due_at,
        "_finished_at": now if item.state.is_final else None,
        "_failures": item.failures,
        "_account": item.account or None,
        "_kind": item.kind.slug if item.kind else None,
        "_detail": item.detail or None,
    }
    row = db.execute(_decided, values).one_or_none()
    if row is None:
        return {}
    if item.state is State.FAILED:
        reckon(db, [item.delivery_id], RecipientState.FAILED, now)
        move_recipients(db, [item.delivery_id], RecipientState.FAILED, now)
        if row.reports & Report.FAILURE:
            owed.append(item.delivery_id)
    return {item.delivery_id: row.message_id}


def move_recipients(db: Connection, delivery_ids: Sequence[int], state: RecipientState, now: int) -> None:
    """Move the recipients that still wait; an event that was faster is not undone."""
    db.execute(_moved, {"_ids": delivery_ids, "_state": state.value, "_now": now})


def close_messages(db: Connection, message_ids: Sequence[int], now: int) -> set[int]:
    """Count finished deliveries; where none is left open, destroy what is not to be kept.

    Returns the messages whose content key is gone: their sealed bytes can be swept.
    """
    if not message_ids:
        return set()
    db.execute(_counted, [{"_id": message_id} for message_id in sorted(message_ids)])
    return _forget(db, db.execute(_closed, {"_ids": sorted(set(message_ids)), "_now": now}).all())


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
    return _forget(db, rows)


def _forget(db: Connection, rows: Sequence[Row[Any]]) -> set[int]:
    """Messages whose key is gone just now, each with whether it forgets."""
    forgetful = [row.id for row in rows if row.forgets]
    if forgetful:
        db.execute(_forgotten, {"_ids": forgetful})
        db.execute(_anonymous, {"_ids": forgetful})
    return {row.id for row in rows}


def fail(db: Connection, ids: Sequence[int], now: int) -> tuple[set[int], tuple[Told, ...]]:
    """After deliveries failed by themselves: the same as `finish`, and their senders are told."""
    if not ids:
        return set(), ()
    reckon(db, ids, RecipientState.FAILED, now)
    move_recipients(db, ids, RecipientState.FAILED, now)
    told = tell(db, ids, [RecipientState.FAILED], now)
    announce(db, ids, RecipientState.FAILED)
    return _close_messages_of(db, ids, now), told


def finish(db: Connection, ids: Sequence[int], state: RecipientState, now: int) -> set[int]:
    """After deliveries became final: their recipients and messages follow. Returns the messages to sweep."""
    if not ids:
        return set()
    move_recipients(db, ids, state, now)
    return _close_messages_of(db, ids, now)


def _close_messages_of(db: Connection, ids: Sequence[int], now: int) -> set[int]:
    finished = db.scalars(select(deliveries.c.message_id).where(deliveries.c.id.in_(ids))).all()
    return close_messages(db, finished, now)
