"""What an operator does by hand to queued mail: retry, hold, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from relay.delivery import MOVES, RecipientState, State
from relay.errors import Kind, Problem
from relay.store.clock import HELD_AT_MOST, clock, milliseconds
from relay.store.directory.installation import bump
from relay.store.schema import deliveries, messages
from relay.store.settling import finish


@dataclass(frozen=True, slots=True)
class ByHand:
    """An operator's move of every open delivery of a message."""

    public_id: str
    to: State  # QUEUED: try again now; CANCELLED; HELD


def move_by_hand(db: Connection, items: Sequence[ByHand]) -> Sequence[int]:
    """Returns how many deliveries moved. Raises Problem(NOT_FOUND), or CONFLICT where none is in a state to move."""
    moved = [_move_by_hand(db, item) for item in items]
    bump(db)  # a command does this beside a server, which has to look
    return moved


def _move_by_hand(db: Connection, item: ByHand) -> int:
    now = clock(db)
    message_id = db.scalar(select(messages.c.id).where(messages.c.public_id == item.public_id))
    if message_id is None:
        raise Problem(Kind.NOT_FOUND, f"there is no message {item.public_id}")
    rows = db.execute(select(deliveries).where(deliveries.c.message_id == message_id)).all()
    # A queued delivery that is retried stays queued, due now.
    movable = [
        row
        for row in rows
        if (item.to in MOVES.get(State(row.state), ()) and State(row.state) is not State.SENDING)
        or (item.to, row.state) == (State.QUEUED, State.QUEUED.value)
    ]
    moved: list[int] = []
    for row in movable:
        due_at = {State.QUEUED: now, State.HELD: now + milliseconds(HELD_AT_MOST)}.get(item.to)
        moved += db.scalars(
            update(deliveries)
            .where(deliveries.c.id == row.id, deliveries.c.state == row.state, deliveries.c.attempts == row.attempts)
            .values(
                state=item.to.value,
                due_at=due_at,
                finished_at=now if item.to.is_final else None,
                possible_duplicates=deliveries.c.possible_duplicates
                + int(row.state == State.UNKNOWN.value and item.to is State.QUEUED),
            )
            .returning(deliveries.c.id)
        ).all()
    if not moved:
        states = ", ".join(sorted({row.state for row in rows}))
        raise Problem(Kind.CONFLICT, f"message {item.public_id} is {states}: it cannot become {item.to.value}")
    if item.to.is_final:
        finish(db, moved, RecipientState.FAILED, now)
    return len(moved)
