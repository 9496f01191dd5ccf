"""What is done by hand to queued mail, by an operator or by whoever sent it: retry, hold, cancel, reschedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select, update

from relay.delivery import MOVES, RecipientState, State
from relay.errors import Kind, Problem
from relay.store.clock import HELD_AT_MOST, clock, milliseconds, rfc3339
from relay.store.directory import audit
from relay.store.directory.audit import Actor
from relay.store.directory.installation import bump
from relay.store.schema import deliveries, messages
from relay.store.settling import finish
from relay.store.sweeping import sweep_contents

_VERBS = {State.QUEUED: "retried", State.HELD: "held", State.CANCELLED: "cancelled"}
_ACTIONS = {State.QUEUED: "message.retry", State.HELD: "message.hold", State.CANCELLED: "message.cancel"}


@dataclass(frozen=True, slots=True)
class ByHand:
    """A move of every open delivery of a message. `by`: who is written down to have made it.

    `due_at`, in milliseconds since 1970: it is no retry, but becomes due then, which only what is queued can.
    """

    public_id: str
    to: State  # QUEUED: try again now, or when it is due; CANCELLED; HELD
    due_at: int | None = None
    by: Actor | None = None

    @property
    def verb(self) -> str:
        return "rescheduled" if self.due_at is not None else _VERBS[self.to]

    @property
    def action(self) -> str:
        """As the audit calls it."""
        return "message.reschedule" if self.due_at is not None else _ACTIONS[self.to]


def move_by_hand(db: Connection, items: Sequence[ByHand]) -> Sequence[int]:
    """A command's moves, beside a server, which has to look. Returns how many deliveries moved. Raises as `move`."""
    moved = [move(db, item) for item in items]
    bump(db)
    return moved


def move(db: Connection, item: ByHand) -> int:
    """Returns how many deliveries moved. Raises Problem(NOT_FOUND), or CONFLICT where none is in a state to move."""
    now = clock(db)
    which = select(messages.c.id, messages.c.tenant_id).where(messages.c.public_id == item.public_id)
    message = db.execute(which).one_or_none()
    if message is None:
        raise Problem(Kind.NOT_FOUND, f"there is no message {item.public_id}")
    rows = db.execute(select(deliveries).where(deliveries.c.message_id == message.id)).all()
    movable = _movable(item, rows)
    moved = [row for row in movable if _moved(db, item, row, now)]
    if not moved or (item.due_at is not None and len(moved) < len(movable)):
        states = ", ".join(sorted({row.state for row in rows}))
        raise Problem(Kind.CONFLICT, f"message {item.public_id} is {states}: it cannot be {item.verb}")
    if item.to.is_final:
        # Its bytes are gone with this transaction: nobody else is told of them.
        sweep_contents(db, [sorted(finish(db, [row.id for row in moved], RecipientState.FAILED, now))])
    if item.by is not None:
        _note(db, item, message.tenant_id, moved, now)
    return len(moved)


def _movable(item: ByHand, rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    if item.due_at is not None:
        left = [row for row in rows if not State(row.state).is_final]
        return left if all(row.state == State.QUEUED.value for row in left) else []
    # A queued delivery that is retried stays queued, due now.
    return [
        row
        for row in rows
        if (item.to in MOVES.get(State(row.state), ()) and State(row.state) is not State.SENDING)
        or (item.to, row.state) == (State.QUEUED, State.QUEUED.value)
    ]


def _moved(db: Connection, item: ByHand, row: Row[Any], now: int) -> bool:
    """Whether the delivery was still as it was seen, and is now as it should be."""
    due_at = {State.QUEUED: now, State.HELD: now + milliseconds(HELD_AT_MOST)}.get(item.to)
    values: dict[str, Any] = {}
    if item.due_at is not None:
        due_at = values["first_due_at"] = max(now, item.due_at)
    elif item.to is State.QUEUED:
        values["first_due_at"] = min(now, row.first_due_at)  # what was for later is no longer
    found = db.scalar(
        update(deliveries)
        .where(deliveries.c.id == row.id, deliveries.c.state == row.state, deliveries.c.attempts == row.attempts)
        .values(
            **values,
            state=item.to.value,
            due_at=due_at,
            finished_at=now if item.to.is_final else None,
            possible_duplicates=deliveries.c.possible_duplicates
            + int(row.state == State.UNKNOWN.value and item.to is State.QUEUED),
        )
        .returning(deliveries.c.id)
    )
    return found is not None


def _note(db: Connection, item: ByHand, tenant_id: int, moved: Sequence[Row[Any]], now: int) -> None:
    """In the audit. Servers keep nothing of it in memory: whoever moves mail tells the lane himself."""
    changes: dict[str, Any] = {"state": [", ".join(sorted({row.state for row in moved})), item.to.value]}
    if item.due_at is not None:
        changes = {"due_at": [rfc3339(min(row.due_at for row in moved)), rfc3339(max(now, item.due_at))]}
    target = f"message {item.public_id}"
    audit.record(db, item.by or audit.RELAY, item.action, target, tenant_id=tenant_id, changes=changes, is_seen=False)
