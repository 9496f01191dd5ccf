"""What is done by hand to queued mail, by an operator or its sender: retry, hold, release, cancel, reschedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from typing import Any

from sqlalchemy import Connection, Row, null, select, update

from relay.delivery import RecipientState, State
from relay.errors import Kind, Problem, printable
from relay.store import duplicates
from relay.store.clock import HELD_AT_MOST, clock, milliseconds, rfc3339
from relay.store.directory import audit
from relay.store.directory.audit import Actor
from relay.store.directory.installation import bump
from relay.store.schema import deliveries, messages
from relay.store.settling import finish
from relay.store.sweeping import sweep_contents

FREE = frozenset({None, Kind.HELD.slug})  # what is held for these reasons is its sender's to move; else the operator's
MOST_WORDS = 500  # characters of a reason that are kept
_OPEN = frozenset({State.QUEUED, State.HELD, State.UNKNOWN})


@unique
class Verb(Enum):
    """What may be done, to deliveries in which states, and which they are in then. Never to one that is being sent."""

    # fmt: off
    #             done            what the audit calls it  from                        to
    RETRY      = ("retried",      "message.retry",         _OPEN,                      State.QUEUED)
    RELEASE    = ("released",     "message.release",       frozenset({State.HELD}),    State.QUEUED)
    HOLD       = ("held",         "message.hold",          frozenset({State.QUEUED}),  State.HELD)
    CANCEL     = ("cancelled",    "message.cancel",        _OPEN,                      State.CANCELLED)
    RESCHEDULE = ("rescheduled",  "message.reschedule",    frozenset({State.QUEUED}),  State.QUEUED)
    # fmt: on

    def __init__(self, done: str, action: str, origins: frozenset[State], to: State) -> None:
        self.done = done
        self.action = action
        self.origins = origins
        self.to = to


@dataclass(frozen=True, slots=True)
class ByHand:
    """A move of every delivery of a message that is in a state for it.

    `by`: who is written down to have made it. `due_at`: when, in milliseconds since 1970, what is rescheduled is due.
    `reason`: why it is held or released, in the mover's words.
    """

    public_id: str
    verb: Verb
    due_at: int | None = None
    by: Actor | None = None
    reason: str = ""


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
    moved = _move_rows(db, item, movable, now)
    if not moved or (item.verb is Verb.RESCHEDULE and len(moved) < len(movable)):
        states = ", ".join(sorted({row.state for row in rows}))
        raise Problem(Kind.CONFLICT, f"message {item.public_id} is {states}: it cannot be {item.verb.done}")
    if item.by is not None:
        _note(db, item, message.tenant_id, moved, now)
    return len(moved)


def _move_rows(db: Connection, item: ByHand, rows: Sequence[Row[Any]], now: int) -> list[Row[Any]]:
    """Move deliveries as they were seen, with all that follows. Returns those that still were as they were seen."""
    moved = [row for row in rows if _moved(db, item, row, now)]
    duplicates.count(db, [row.account for row in moved if _is_doubtful(item, row)], now)
    if item.verb.to.is_final:
        # Its bytes are gone with this transaction: nobody else is told of them.
        sweep_contents(db, [sorted(finish(db, [row.id for row in moved], RecipientState.FAILED, now))])
    return moved


def _movable(item: ByHand, rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    if item.verb is Verb.RESCHEDULE:  # as a whole, or not at all
        left = [row for row in rows if not State(row.state).is_final]
        return left if all(row.state == State.QUEUED.value for row in left) else []
    movable = [row for row in rows if State(row.state) in item.verb.origins]
    if item.verb.to is State.QUEUED and item.by is not None and not item.by.is_operator:
        _require_free(item, movable)
    return movable


def _require_free(item: ByHand, rows: Sequence[Row[Any]]) -> None:
    """Raises Problem(CONFLICT) where someone above its sender holds it."""
    kept = next((row for row in rows if row.state == State.HELD.value and row.kind not in FREE), None)
    if kept is not None:
        said = kept.detail or "held by the operator"
        raise Problem(Kind.CONFLICT, f"message {item.public_id} is {said}: only the operator can release it")


def _moved(db: Connection, item: ByHand, row: Row[Any], now: int) -> bool:
    """Whether the delivery was still as it was seen, and is now as it should be."""
    found = db.scalar(
        update(deliveries)
        .where(deliveries.c.id == row.id, deliveries.c.state == row.state, deliveries.c.attempts == row.attempts)
        .values(
            **_due(item, row, now),
            **_words(item, row),
            state=item.verb.to.value,
            finished_at=now if item.verb.to.is_final else None,
            possible_duplicates=deliveries.c.possible_duplicates + int(_is_doubtful(item, row)),
        )
        .returning(deliveries.c.id)
    )
    return found is not None


def _is_doubtful(item: ByHand, row: Row[Any]) -> bool:
    """Whether it is sent again by this, though SES may have had it."""
    may_have = row.state == State.UNKNOWN.value or (row.state, row.kind) == (State.HELD.value, Kind.RESTORED.slug)
    return may_have and item.verb.to is State.QUEUED


def _due(item: ByHand, row: Row[Any], now: int) -> Mapping[str, int | None]:
    """When it is looked at again. How long it was held does not count towards its age."""
    match item.verb:
        case Verb.CANCEL:
            return {"due_at": None}
        case Verb.HOLD:
            return {"due_at": max(now, row.first_due_at) + milliseconds(HELD_AT_MOST)}
        case Verb.RESCHEDULE:
            due_at = max(now, item.due_at or now)
        case Verb.RELEASE:
            due_at = max(now, row.first_due_at)  # what was for later still is
        case _:
            return {"due_at": now, "first_due_at": now if row.state == State.HELD.value else min(now, row.first_due_at)}
    return {"due_at": due_at, "first_due_at": due_at}


def _words(item: ByHand, row: Row[Any]) -> Mapping[str, Any]:
    """Why it is held; or nothing, where that is over."""
    if item.verb is Verb.HOLD:
        return words_of_hold(item.by, item.reason)
    return {"kind": null(), "detail": null()} if row.state == State.HELD.value else {}


def words_of_hold(by: Actor | None, reason: str) -> dict[str, str]:
    """What stands on a delivery that is held: whose hand it is, and why."""
    is_free = by is not None and not by.is_operator
    who = f"held by {by.name}" if by is not None and is_free else "held by the operator"
    return {
        "kind": (Kind.HELD if is_free else Kind.HELD_BY_OPERATOR).slug,
        "detail": f"{who}: {printable(reason, MOST_WORDS)}" if reason else who,
    }


def _note(db: Connection, item: ByHand, tenant_id: int, moved: Sequence[Row[Any]], now: int) -> None:
    """In the audit. Servers keep nothing of it in memory: whoever moves mail tells the lane himself."""
    changes: dict[str, Any] = {"state": [", ".join(sorted({row.state for row in moved})), item.verb.to.value]}
    if item.verb is Verb.RESCHEDULE:
        due_at = max(now, item.due_at or now)
        changes = {"due_at": [rfc3339(min(row.due_at for row in moved)), rfc3339(due_at)]}
    if item.reason:
        changes["reason"] = [None, printable(item.reason, MOST_WORDS)]
    target = f"message {item.public_id}"
    audit.record(
        db, item.by or audit.RELAY, item.verb.action, target, tenant_id=tenant_id, changes=changes, is_seen=False
    )
